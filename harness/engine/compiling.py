"""Networks as torch.compile makes them: an option, since before the first pass it takes seconds, of a large network minutes.

What is compiled is kept on the disk by torch, so that other arms and other runs take less.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

import torch

from harness.engine.networks import last_linear
from harness.errors import HarnessError

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from harness.engine.networks import PixelClassifier

BACKEND = "inductor"


class Compiled:
    """A function as torch.compile makes it, when it is first called. Raises ``HarnessError`` where torch cannot."""

    def __init__(self, function: Callable[..., Any]) -> None:
        # As many as this process computes in: other workers have the other cores.
        os.environ.setdefault("TORCHINDUCTOR_COMPILE_THREADS", str(torch.get_num_threads()))
        self._call = torch.compile(function, backend=BACKEND)

    def __call__(self, *given: Tensor) -> Any:
        """Return what the function returns."""
        from torch._dynamo.exc import TorchDynamoException

        try:
            return self._call(*given)
        except TorchDynamoException as error:
            cause = getattr(error, "inner_exception", None) or error
            said = next((line for line in str(cause).splitlines() if line.strip()), type(cause).__name__)
            raise HarnessError(
                f"torch.compile failed: {said}; expected a C++ compiler (g++ or clang++, or the one that CXX names), on a GPU "
                'triton; install it, or leave "attack_compile" and "compile" out of the spec'
            ) from error


class CompiledOutputs:
    """The features and logits of a classifier, compiled as one: ``PixelClassifier.outputs``, whose hook comes and goes."""

    def __init__(self, network: PixelClassifier) -> None:
        self._network = network
        self._head = last_linear(network.net)
        self._caught: list[Tensor] = []
        self._both = Compiled(self._features_and_logits)

    def __call__(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return the features (N, D) and logits (N, K) of images (N, C, H, W)."""
        if self._head is None:
            logits: Tensor = self._both(images)[1]
            return logits, logits
        handle = self._head.register_forward_pre_hook(self._catch)
        try:
            found: tuple[Tensor, Tensor] = self._both(images)
        finally:
            handle.remove()
            self._caught.clear()
        return found

    def _features_and_logits(self, images: Tensor) -> tuple[Tensor, Tensor]:
        logits: Tensor = self._network(images)
        return (self._caught[-1].flatten(1) if self._caught else logits), logits

    def _catch(self, _head: torch.nn.Module, inputs: tuple[Tensor, ...]) -> None:
        self._caught.append(inputs[0])


def check_compiler(device: str) -> None:
    """Compile a sum. Raises ``HarnessError`` where torch cannot."""
    Compiled(_summed)(torch.ones(8, device=device))


def forget_compiled() -> None:
    """Let torch forget what this process compiled: it keeps but a few networks, and the next stage has others."""
    if "torch._dynamo" in sys.modules:
        torch.compiler.reset()


def _summed(values: Tensor) -> Tensor:
    return values + values
