"""Two domains in one forward pass, each normalized by its own batch statistics: what two passes compute, source first."""

from __future__ import annotations

import copy
import random
from contextlib import contextmanager
from functools import partial
from math import prod
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import torch
from torch import nn

from harness.engine.networks import HOOKS, batch_norms
from harness.engine.randomness import isolated_generators

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from torch import Tensor

    from harness.engine.networks import PixelClassifier

Passed = TypeVar("Passed")
PlainNorm = nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d
"""The batch-norm layers whose normalization is known here."""
_PLAIN = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
_TOLERANCE = 1e-6
"""Of the largest value: far above what rounding makes of float64, far below what samples that depend on each other do."""
_FEW_PIXELS = 32 * 32 * 32
"""Of both domains' images together, where one pass stops paying: measured with a ResNet-20 on two threads."""


def one_pass_pays(source: Tensor, target: Tensor) -> bool:
    """Whether one pass over both domains (N, C, H, W) is faster than two.

    So it is for small batches, where a layer's work is shared out to threads. Others only lose by it: behind each batch-norm layer
    the gradients of both domains are copied into one tensor.
    """
    if source.device.type != "cpu":
        return True
    pixels = (len(source) + len(target)) * prod(source.shape[2:])
    return torch.get_num_threads() > 1 and pixels <= _FEW_PIXELS


class OnePass:
    """Whether a network can pass two domains at once, and its batch-norm layers while it does."""

    def __init__(self, network: PixelClassifier) -> None:
        self.network = network
        self._modules = list(network.modules())
        self._layers = batch_norms(network)
        self._proved: bool | None = None

    def allowed(self, source: Tensor, target: Tensor) -> bool:
        """Whether one pass is faster, and gives and leaves behind what two would; tried out once, on a few of the images."""
        if min(len(source), len(target)) < 2 or not one_pass_pays(source, target) or self._watched():
            return False
        if self._proved is None:
            self._proved = all(type(layer) in _PLAIN for layer in self._layers) and _alike(
                self.network, source[:3], target[:2]
            )
        return self._proved

    def attempt(self, passing: Callable[[], Passed], sizes: tuple[int, int]) -> Passed | None:
        """Return what one pass over so many source and target samples gives; None for a network that cuts them into other batches.

        Such a network leaves no trace, and is not asked again.
        """
        kept = [buffer.clone() for buffer in self.network.buffers()]
        try:
            with domains_apart(self._layers, *sizes):
                return passing()
        except DividedBatchError:
            with torch.no_grad():
                for buffer, before in zip(self.network.buffers(), kept, strict=True):
                    buffer.copy_(before)
            self._proved = False
            return None

    def _watched(self) -> bool:
        """Whether something hangs on a module that expects one domain at a time, or stands for its forward function."""
        return any(any(getattr(one, kind) for kind in HOOKS) or "forward" in vars(one) for one in self._modules)


class DividedBatchError(Exception):
    """A batch-norm layer was given other samples than the pass was."""


@contextmanager
def domains_apart(layers: Sequence[Any], source: int, target: int) -> Iterator[None]:
    """Let plain batch-norm layers normalize the first ``source`` samples, and the ``target`` others, by statistics of their own.

    Running statistics take in the first part, then the second, as in two passes. A layer in eval mode is left alone. Raises
    ``DividedBatchError`` where a layer gets another number of samples: ghost batch-norm cuts a batch into several.
    """
    try:
        for layer in layers:
            layer.forward = partial(_normalized, layer, source, target)
        yield
    finally:
        for layer in layers:
            vars(layer).pop("forward", None)


def _normalized(layer: PlainNorm, source: int, target: int, values: Tensor) -> Tensor:
    if not layer.training and layer.running_mean is not None:
        return type(layer).forward(layer, values)
    if len(values) != source + target:
        raise DividedBatchError
    normalized: Tensor = _Apart.apply(values, layer.weight, layer.bias, (layer, source))  # type: ignore[no-untyped-call]
    return normalized


class _Apart(torch.autograd.Function):
    """Batch-norm of two parts of a batch: torch's own kernels, both parts written into one tensor."""

    @staticmethod
    def forward(
        ctx: Any, values: Tensor, weight: Tensor | None, bias: Tensor | None, how: tuple[PlainNorm, int]
    ) -> Tensor:
        layer, cut = how
        made = torch.empty_like(values)
        tracked = layer.training and layer.track_running_stats
        running = (layer.running_mean, layer.running_var) if tracked else (None, None)
        shares = _shares(layer, 2) if tracked else (0.0, 0.0)
        given = next((one for one in (weight, running[0]) if one is not None), values)
        statistics = given.new_empty(4, values.shape[1]).unbind()
        parts = zip(
            values.tensor_split((cut,)),
            made.tensor_split((cut,)),
            shares,
            statistics[::2],
            statistics[1::2],
            strict=True,
        )
        for part, out, share, mean, scale in parts:
            torch.ops.aten.native_batch_norm.out(
                part, weight, bias, *running, True, share, layer.eps, out=out, save_mean=mean, save_invstd=scale
            )  # fmt: skip
        ctx.save_for_backward(values, weight, *statistics)
        ctx.cut, ctx.eps = cut, layer.eps
        return made

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        values, weight, *statistics = ctx.saved_tensors
        parts = []
        for number, part in enumerate((slice(None, ctx.cut), slice(ctx.cut, None))):
            mean, scale = statistics[2 * number : 2 * number + 2]
            parts.append(
                torch.ops.aten.native_batch_norm_backward(
                    gradient[part], values[part], weight, None, None, mean, scale, True, ctx.eps, ctx.needs_input_grad[:3]
                )
            )  # fmt: skip
        (first, *own), (second, *others) = parts
        entering = torch.cat([first, second]) if ctx.needs_input_grad[0] else None
        summed = [
            a.add_(b) if needed else None for a, b, needed in zip(own, others, ctx.needs_input_grad[1:3], strict=True)
        ]
        return entering, *summed, None


def _shares(layer: PlainNorm, batches: int) -> list[float]:
    """Count batches, and return their shares in the running statistics: the momentum, or what makes them a plain average."""
    tracked = layer.num_batches_tracked
    if tracked is not None:
        tracked.add_(batches)
    if layer.momentum is not None or tracked is None:
        return [layer.momentum or 0.0] * batches
    return [1 / (int(tracked) - batches + number) for number in range(1, batches + 1)]


def _alike(network: PixelClassifier, source: Tensor, target: Tensor) -> bool:
    """Whether one pass gives and leaves behind what two do, in float64, where rounding does not blur the answer.

    Not so where samples depend on each other elsewhere than in batch-norm layers, where a layer is used twice in a pass or
    changes with each pass, or where passes are computed anew for their gradients. Nor where random numbers are drawn: arms that
    pass their target apart would draw others for the source.
    """
    try:
        one, two = (copy.deepcopy(network).double() for _ in range(2))
        batches = source.double(), target.double()
        with torch.enable_grad():
            with isolated_generators(0):
                expected = _next_draws(source.device)
            with isolated_generators(0):
                apart = torch.cat([two(batch) for batch in batches])
                drawn = _next_draws(source.device) != expected
            with isolated_generators(0), domains_apart(batch_norms(one), len(source), len(target)):
                together = one(torch.cat(batches))
            gradients = [_gradients(*passed) for passed in ((one, together), (two, apart))]
    except Exception:  # noqa: BLE001 (a network's own code may raise anything: of float64, of so few images, of a second look)
        return False
    alike = _close(together, apart) and all(map(_close, one.buffers(), two.buffers()))
    return not drawn and alike and _close(*gradients)


def _gradients(network: PixelClassifier, logits: Tensor) -> Tensor:
    """Return all parameters' gradients of the logits' squares, in a row: of the largest of them all, noise is what is small."""
    parameters = [one for one in network.parameters() if one.requires_grad]
    if not parameters:
        return logits.new_zeros(0)
    found = torch.autograd.grad(logits.square().sum(), parameters, allow_unused=True, materialize_grads=True)
    return torch.cat([one.flatten() for one in found])


def _next_draws(device: torch.device) -> tuple[float, ...]:
    """Return what the global generators give next, which tells whether something was drawn from them."""
    theirs = random.random(), float(np.random.random())  # noqa: NPY002 (the global one)
    return *theirs, torch.rand(()).item(), torch.rand((), device=device).item()


def _close(one: Tensor, other: Tensor) -> bool:
    if not other.is_floating_point():
        return torch.equal(one, other)
    return bool(((one - other).abs() <= _TOLERANCE * other.abs().amax()).all()) if other.numel() else True
