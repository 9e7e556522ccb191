"""Re-estimate batch-norm statistics on the target, without gradients (Li et al., 2016, arXiv:1603.04779)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from harness.api import Adapter, Domain, Options

if TYPE_CHECKING:
    from torch import nn


class RecalibrateOptions(Options):
    """Options of the recalibration."""

    batch_size: int = Field(500, ge=3, description="Images of a pass; the statistics are averaged over the batches.")


class RecalibrateBatchNorm(Adapter[RecalibrateOptions]):
    """Reset the running statistics and average them over one pass over the target in train mode."""

    def adapt(self, network: nn.Module, source: Domain, target: Domain) -> None:  # noqa: ARG002 (the target alone counts)
        """Change the batch-norm buffers of ``network`` in place; all other layers stay in eval mode."""
        import torch
        from torch.nn.modules.batchnorm import _BatchNorm

        layers = [layer for layer in network.modules() if isinstance(layer, _BatchNorm) and layer.track_running_stats]
        momenta = [layer.momentum for layer in layers]
        network.eval()
        for layer in layers:
            layer.reset_running_stats()
            layer.momentum = None  # a cumulative average over the batches
            layer.train()
        with torch.no_grad():
            for images in target.batches(self.options.batch_size) if layers else ():
                network(images)
        for layer, momentum in zip(layers, momenta, strict=True):
            layer.momentum = momentum
