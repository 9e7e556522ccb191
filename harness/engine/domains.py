"""One step over two domains: the forward passes under a batch-norm policy, the samples an adapter passes itself."""

from __future__ import annotations

from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING

import torch
from torch import nn

from harness.adapting import Outputs
from harness.engine.networks import batch_norms, has_batch_norm
from harness.engine.precision import LoopNetwork
from harness.engine.together import OnePass

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor

    from harness.budget import BatchNormPolicy, Precision
    from harness.engine.images import ImageSet
    from harness.engine.networks import PixelClassifier


class TwoDomainForward:
    """Pass a source and a target batch through a network in train mode.

    The batch-norm policy is the same for every arm: an arm that does not use the target still shows it to the
    batch-norm layers (without gradients), or the arms would differ in their running statistics too. To a source-free arm
    there is no source.
    """

    def __init__(
        self,
        network: PixelClassifier,
        policy: BatchNormPolicy,
        *,
        target_gradients: bool,
        source_seen: bool = True,
        precision: Precision = "float32",
        compiled: bool = False,
    ) -> None:
        self.network = network
        self.passing = LoopNetwork(network, precision, compiled=compiled)
        self._is_compiled = compiled
        self.one_pass = OnePass(network)
        self.policy = policy
        self.target_gradients = target_gradients
        self.source_seen = source_seen
        self._modes: list[bool] | None = None
        self._modules = list(network.modules())
        # Some networks do more on a change of mode: adapters of low rank merge and unmerge their weights.
        self._modes_are_flags = all(type(module).train is nn.Module.train for module in self._modules)
        self.target_seen = target_gradients or (policy != "frozen" and has_batch_norm(network))

    def train_mode(self) -> None:
        """Put the network in train mode; batch-norm stays in eval mode where it is frozen."""
        if self._modes_are_flags and self._modes == self._modes_now():
            return
        self.network.train()
        if self.policy == "frozen":
            for layer in batch_norms(self.network):
                layer.eval()
        self._modes = self._modes_now()

    def _modes_now(self) -> list[bool]:
        return [module.training for module in self._modules]

    def __call__(self, source: Tensor, target: Tensor) -> tuple[Outputs | None, Outputs | None]:
        """Return the outputs of both batches (N, C, H, W); None for a source or a target that nothing looks at."""
        if self.policy == "joint" and self.source_seen and self.target_seen:
            return self._joint(source, target)
        # Without gradients for the target a pass of its own costs less.
        separate = self.policy == "separate" and self.source_seen and self.target_gradients
        # Layers that are made to tell domains apart are not compiled.
        if separate and not self._is_compiled and self.one_pass.allowed(source, target):
            both = self.one_pass.attempt(lambda: self._joint(source, target), (len(source), len(target)))
            if both is not None:
                return both
        source_outputs = self._source(source) if self.source_seen else None
        if not self.target_seen:
            return source_outputs, None
        with torch.set_grad_enabled(self.target_gradients):
            return source_outputs, self.passing.outputs(target)

    def _joint(self, source: Tensor, target: Tensor) -> tuple[Outputs, Outputs]:
        both = self.passing.outputs(torch.cat([source, target]))
        cut = len(source)
        return Outputs(both.features[:cut], both.logits[:cut]), Outputs(both.features[cut:], both.logits[cut:])

    def _source(self, source: Tensor) -> Outputs:
        with running_statistics_kept(self.network) if self.policy == "target-only" else nullcontext():
            return self.passing.outputs(source)


@contextmanager
def running_statistics_kept(network: nn.Module) -> Iterator[None]:
    """Normalize with the batch's statistics, but do not let them enter the running ones."""
    layers = [layer for layer in batch_norms(network) if layer.track_running_stats]
    for layer in layers:
        layer.track_running_stats = False
    try:
        yield
    finally:
        for layer in layers:
            layer.track_running_stats = True


def no_outputs(images: Tensor) -> Outputs:
    """Return the outputs of a domain that nothing looks at: of width 0, for as many images (N, …)."""
    nothing = images.new_empty((len(images), 0))
    return Outputs(nothing, nothing)


class DomainView:
    """A set of images, as an adapter that owns its passes sees it."""

    def __init__(self, images: ImageSet) -> None:
        self._images = images

    def __len__(self) -> int:
        return len(self._images)

    def batches(self, batch_size: int) -> Iterator[Tensor]:
        """Yield the images (n, C, H, W) in batches of a fixed order."""
        for pixels, _ in self._images.batches(batch_size):
            yield pixels
