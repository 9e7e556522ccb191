"""Re-estimate batch-norm statistics on the target, without gradients (Li et al., 2016, arXiv:1603.04779)."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from harness.api import Adapter, AdapterCapabilities, Domain, Options

if TYPE_CHECKING:
    from collections.abc import Iterable

    from torch import nn


class RecalibrateOptions(Options):
    """Options of the recalibration."""

    batch_size: int = Field(500, ge=3, description="Images of a pass; the statistics are averaged over the batches.")


class RecalibrateBatchNorm(Adapter[RecalibrateOptions]):
    """Reset the running statistics and average them over one pass over the target in train mode.

    A network without batch-norm stays as it is.
    """

    capabilities: ClassVar = AdapterCapabilities(source=False)

    def remarks(self, num_features: int, num_classes: int) -> Iterable[str]:  # noqa: ARG002 (its layers alone count)
        """Say where there is nothing to re-estimate."""
        if not self.loop.has_batch_norm:
            yield "the network has no batch-norm: it is left as it was"

    def adapt(self, network: nn.Module, source: Domain, target: Domain) -> None:  # noqa: ARG002 (the target alone counts)
        """Change the batch-norm buffers of ``network`` in place; all other layers stay in eval mode."""
        from harness_adaptation.batch_norms import reestimate_statistics

        reestimate_statistics(network, target.batches(self.options.batch_size))
