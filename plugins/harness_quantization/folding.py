"""Fold batch normalization in networks whose graph cannot be traced: by watching which layer reads which (Jacob et al., 2018).

What passes do not show, such as another reader of a convolution, is found by comparing the logits of the folded network.
"""

from __future__ import annotations

import copy
from collections import Counter
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

_TOLERANCE = 1e-3
"""The largest change of a logit that rounding excuses, as a share of the largest logit."""


def fold_observed(network: nn.Module, images: Callable[[], Iterable[Tensor]]) -> tuple[nn.Module, int]:
    """Return the network with each batch-norm folded into the convolution that it alone reads, and how many are not folded.

    ``images`` gives batches (N, C, H, W) that show its passes. Where folding changes its logits, it is returned as it was.
    """
    watch = _Watch(network)
    if not watch.batch_norms:
        return network, 0
    with watch.hung_on(network):
        before = _logits(network, images, watch.written.clear)
    pairs = watch.pairs()
    folded = copy.deepcopy(network)
    for convolution, batch_norm in pairs:
        _fold(folded, convolution, batch_norm)
    change = (_logits(folded, images) - before).abs().max()
    if change > _TOLERANCE * before.abs().max():
        return network, len(watch.batch_norms)
    return folded, len(watch.batch_norms) - len(pairs)


class _Watch:
    """Sees which batch-norm layer reads what which convolution wrote, and how often each is called."""

    def __init__(self, network: nn.Module) -> None:
        self.convolutions = _of_type(network, nn.Conv2d)
        self.batch_norms = _of_type(network, nn.BatchNorm2d)
        self.written: dict[int, tuple[Tensor, int, str]] = {}  # the tensor too, so that its id is no other's
        self.calls: Counter[str] = Counter()
        self.reads: Counter[tuple[str, str]] = Counter()

    @contextmanager
    def hung_on(self, network: nn.Module) -> Iterator[None]:
        """Watch the passes of a network."""
        handles = [network.get_submodule(name).register_forward_hook(self._wrote(name)) for name in self.convolutions]
        handles += [
            network.get_submodule(name).register_forward_pre_hook(self._read(name)) for name in self.batch_norms
        ]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def pairs(self) -> list[tuple[str, str]]:
        """Return the convolutions, each with the batch-norm layer that read it whenever either was called."""
        return [pair for pair, count in self.reads.items() if count == self.calls[pair[0]] == self.calls[pair[1]]]

    def _wrote(self, name: str) -> Callable[[nn.Module, Any, Tensor], None]:
        def hook(_module: nn.Module, _inputs: Any, output: Tensor) -> None:
            self.calls[name] += 1
            self.written[id(output)] = (output, output._version, name)  # noqa: SLF001 (tells of changes in place)

        return hook

    def _read(self, name: str) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
        def hook(_module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            self.calls[name] += 1
            _, version, convolution = self.written.get(id(inputs[0]), (None, None, ""))
            if version == inputs[0]._version:  # noqa: SLF001 (as above)
                self.reads[convolution, name] += 1

        return hook


def _of_type(network: nn.Module, kind: type[nn.Module]) -> list[str]:
    """Return the names of layers that are of a type exactly, without hooks, and in one place."""
    places = Counter(id(module) for _, module in network.named_modules(remove_duplicate=False))
    return [
        name
        for name, module in network.named_modules()
        if type(module) is kind and places[id(module)] == 1 and not (module._forward_hooks or module._forward_pre_hooks)  # noqa: SLF001 (no other way to ask)
    ]


def _logits(
    network: nn.Module, images: Callable[[], Iterable[Tensor]], after_each: Callable[[], None] | None = None
) -> Tensor:
    logits = []
    with torch.no_grad():
        for batch in images():
            logits.append(network(batch))
            if after_each:
                after_each()
    return torch.cat(logits)


def _fold(network: nn.Module, convolution: str, batch_norm: str) -> None:
    layers: Any = (network.get_submodule(convolution), network.get_submodule(batch_norm))
    fused: nn.Module = fuse_conv_bn_eval(*layers)
    _put(network, convolution, fused.requires_grad_(requires_grad=False))
    _put(network, batch_norm, nn.Identity().eval())


def _put(network: nn.Module, name: str, module: nn.Module) -> None:
    parent, _, own = name.rpartition(".")
    setattr(network.get_submodule(parent), own, module)
