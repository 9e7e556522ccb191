"""Quantized twins: made of a copy by a quantizer plugin, checked, and put before attacks with gradients to follow."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from harness.engine.networks import PixelClassifier, frozen_copy
from harness.engine.randomness import isolated_generators
from harness.errors import ContractError

if TYPE_CHECKING:
    from harness.adapting import Domain
    from harness.contract import Options
    from harness.measuring import Quantizer
    from harness.references import Gradients


def quantized(
    quantizer: Quantizer[Options], network: PixelClassifier, calibration: Domain, *, name: str, seed: int
) -> PixelClassifier:
    """Return the quantized twin of ``network``. Raises ``ContractError`` where what the plugin returns classifies nothing."""
    with isolated_generators(seed):
        made = quantizer.quantize(frozen_copy(network), calibration)
    remarks = quantizer.remarks
    if not isinstance(remarks, tuple) or not all(isinstance(remark, str) for remark in remarks):
        raise ContractError(f'quantizer "{name}" has remarks = {remarks!r}; expected a tuple of sentences')
    if not isinstance(made, nn.Module):
        raise ContractError(f'quantizer "{name}" returned a {type(made).__name__}; return a torch module')
    if any(module.training for module in made.modules()):
        raise ContractError(
            f'quantizer "{name}" returned a network in train mode; expected eval mode: call eval() on it'
        )
    twin = PixelClassifier(made, mean=[0.0], std=[1.0], num_classes=network.num_classes).to(network.device)
    twin.training = False  # not eval(), which exported programs refuse
    twin.requires_grad_(requires_grad=False)
    images = next(iter(calibration.batches(2)))
    with torch.inference_mode():
        logits = twin(images)
    expected = (len(images), network.num_classes)
    if not isinstance(logits, Tensor) or tuple(logits.shape) != expected:
        shape = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        raise ContractError(
            f'quantizer "{name}" made a network that gives {shape} for {len(images)} images; expected logits {expected}'
        )
    if not bool(torch.isfinite(logits).all()):
        raise ContractError(
            f'quantizer "{name}" made a network whose logits are not finite; expected numbers: is a scale zero?'
        )
    return twin


def attackable(twin: PixelClassifier, judge: PixelClassifier, gradients: Gradients) -> Attackable:
    """Return what an attack on the quantized ``judge`` gets: its logits, in float32 to the last bit, with either one's gradients.

    ``twin`` is its counterpart in full precision. Straight-through gradients are what the judge's own rounding lets through.
    """
    return judge if gradients == "straight-through" else FullPrecisionGradients(twin, judge)


class FullPrecisionGradients(nn.Module):
    """The logits of a quantized classifier, with the gradients of its counterpart in full precision."""

    def __init__(self, twin: PixelClassifier, judge: PixelClassifier) -> None:
        super().__init__()
        self.twin = twin
        self.judge = judge
        self.bounds = twin.bounds
        self.num_classes = twin.num_classes
        self.training = False

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits (N, K)."""
        with torch.no_grad():
            judged: Tensor = self.judge(images)
        if not (torch.is_grad_enabled() and images.requires_grad):
            return judged
        full: Tensor = self.twin(images)
        return judged + (full - full.detach())  # in this order the values are the judge's to the last bit


Attackable = PixelClassifier | FullPrecisionGradients
"""What an attack may be given."""
