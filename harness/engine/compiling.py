"""Networks as torch.compile makes them: an option, since before the first pass it takes seconds, of a large network minutes.

What is compiled is kept on the disk by torch, so that other arms and other runs take less. Random numbers are those of the plain
network.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from harness.engine.networks import hung_on, last_linear
from harness.engine.passes import PassCount
from harness.errors import HarnessError

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor, nn

    from harness.engine.networks import PixelClassifier

BACKEND = "inductor"
THREADS = "TORCHINDUCTOR_COMPILE_THREADS"


class CompileError(HarnessError):
    """Torch cannot compile here, or not this network."""


class Compiled:
    """A function as torch.compile makes it, when it is first called.

    Where torch cannot, the plain function's own error is raised, or ``CompileError`` where that has none.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function
        self._call = torch.compile(function, backend=BACKEND, options=_inductor_options())

    def __call__(self, *given: Tensor) -> Any:
        """Return what the function returns."""
        from torch._dynamo.exc import TorchDynamoException

        try:
            return self._call(*given)
        except TorchDynamoException as error:
            self._function(*given)
            raise CompileError(
                f"torch.compile cannot make anything of the network: {_said(error)}; expected one that it can compile; leave "
                '"attack_compile" and "compile" out of the spec'
            ) from error


class CompiledTwin:
    """A frozen network that is compiled for passes of an attack; ``passes`` counts the images that went through it.

    Hooks that an attack hangs on the network are none of what was compiled: with them it is passed as it is.
    """

    def __init__(self, network: nn.Module, passes: PassCount | None = None) -> None:
        self.network = network
        self.passes = passes or PassCount()
        self._compiled = Compiled(network)
        self._hung = hung_on(network)
        self._warmed: set[object] = set()

    def __call__(self, images: Tensor) -> Tensor:
        """Return the logits (N, K) of images (N, C, H, W)."""
        if hung_on(self.network) != self._hung:
            plain: Tensor = self.network(images)
            return plain
        self.passes.forward += len(images)
        logits: Tensor = self._compiled(images)
        return logits

    def warm(self, images: Tensor, *, kind: object, gradients: bool) -> None:
        """Compile for images of this size, and this ``kind`` of pass, before an attack: what fails is none of its doing."""
        if (len(images), kind) in self._warmed:
            return
        leaf = images.clone().requires_grad_(gradients)
        with torch.set_grad_enabled(gradients):
            logits = self._compiled(leaf)
            if logits.requires_grad:
                torch.autograd.grad(logits.sum(), leaf)
        self._warmed.add((len(images), kind))


@dataclass(frozen=True)
class CompiledParts:
    """Parts of ``size`` images go through the compiled network: it would be made anew for others."""

    network: CompiledTwin
    size: int


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

    def _catch(self, _head: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        self._caught.append(inputs[0])


def check_compiler(device: str) -> None:
    """Compile a sum, in a process that is gone afterwards. Raises ``CompileError`` where torch cannot."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        said = pool.submit(_compile_a_sum, device).result()
    if said is not None:
        raise CompileError(
            f"torch.compile does not work here: {said}; expected a C++ compiler (g++ or clang++, or the one that CXX names), on "
            'a GPU triton; install it, or leave "attack_compile" and "compile" out of the spec'
        )


def forget_compiled() -> None:
    """Let torch forget what this process compiled: it keeps but a few networks, and the next stage has others."""
    if "torch._dynamo" in sys.modules:
        torch.compiler.reset()


def _compile_a_sum(device: str) -> str | None:
    from torch._dynamo.exc import TorchDynamoException

    try:
        torch.compile(_doubled, options=_inductor_options())(torch.ones(8, device=device))
    except TorchDynamoException as error:
        return _said(error)
    return None


def _doubled(values: Tensor) -> Tensor:
    return values + values


def _inductor_options() -> dict[str, Any] | None:
    if BACKEND != "inductor":
        return None
    if THREADS not in os.environ:
        from torch._inductor import config

        # As many as this process computes in: other workers have the other cores.
        config.compile_threads = torch.get_num_threads()
    return {"fallback_random": True}


def _said(error: Exception) -> str:
    """Return the first line of what torch says, of what caused it where that is known."""
    cause = getattr(error, "inner_exception", None) or error
    return next((line for line in str(cause).splitlines() if line.strip()), type(cause).__name__)
