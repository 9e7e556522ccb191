"""Gradient reversal: minimizing one loss makes its inputs maximize it (Ganin et al., 2016, arXiv:1505.07818)."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor


def reverse(inputs: Tensor, strength: float) -> Tensor:
    """Return ``inputs`` as they are; the gradient that comes back through them is multiplied by ``-strength``."""
    reversed_inputs: Tensor = _Reversal.apply(inputs, strength)  # type: ignore[no-untyped-call]  # torch's stubs lack it
    return reversed_inputs


def warm_up(progress: float, gamma: float) -> float:
    """Return λ = 2/(1 + e^(−γt)) − 1 after the share t = ``progress`` of the loop: 0 at its start, near 1 at its end."""
    return math.tanh(gamma * progress / 2)


class _Reversal(torch.autograd.Function):
    """The identity whose derivative is a negative number."""

    @staticmethod
    def forward(ctx: Any, inputs: Tensor, strength: float) -> Tensor:
        ctx.strength = strength
        return inputs.view_as(inputs)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return -ctx.strength * gradients[0], None
