"""Cross-entropy on the source alone: from T' it is λ = 0, from T it is more training and no method."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from harness.api import Adapter, AdapterCapabilities, Batch, NoOptions
from harness_adaptation.batches import label_loss

if TYPE_CHECKING:
    from torch import Tensor


class FineTune(Adapter[NoOptions]):
    """Train on the source; the target is not looked at."""

    capabilities: ClassVar = AdapterCapabilities(target=False)

    def losses(self, source: Batch, target: Batch) -> dict[str, Tensor]:  # noqa: ARG002 (that is the point)
        """Return the source's cross-entropy."""
        return {"cross-entropy": label_loss(source)}
