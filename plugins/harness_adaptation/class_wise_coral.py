"""Deep CORAL within each class, told by the target's labels (after Sun and Saenko, 2016, arXiv:1607.01719)."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from harness.api import Adapter, AdapterCapabilities, Batch, FractionalFloat, Options
from harness_adaptation.batches import Layer, label_loss, outputs
from harness_adaptation.moments import FEWEST, common_share, coral_loss, noise_floor

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from torch import Tensor

    from harness_adaptation.moments import Share

SMALLEST_CLASS = 2


class ClassWiseCoralOptions(Options):
    """Options of class-wise CORAL."""

    weight: FractionalFloat = Field(
        1 / 750, ge=0, allow_inf_nan=False, description="λ between classification and the classes' mean CORAL loss."
    )
    on: Layer = Field(
        "logits", description="Whose covariance is aligned: the last classification layer's output or its input."
    )


class ClassWiseCoral(Adapter[ClassWiseCoralOptions]):
    """Add λ times the mean CORAL loss of the classes that both batches have twice at least.

    Remembered outputs have no part in it: their labels are not remembered.
    """

    capabilities: ClassVar = AdapterCapabilities(target_labels=True, sampling="class-balanced")

    def losses(self, source: Batch, target: Batch) -> dict[str, Tensor]:
        """Return the source's cross-entropy and the weighted CORAL loss, zero where no class can be compared."""
        import torch

        apart = [coral_loss(*one, self._share(*one)) for one in self._classes(source, target)]
        mean = torch.stack(apart).mean() if apart else source.logits.new_zeros(())
        return {"cross-entropy": label_loss(source), "class-wise-coral": self.options.weight * mean}

    def diagnostics(self, source: Batch, target: Batch) -> dict[str, float]:
        """Return how many classes were compared, their mean CORAL loss, and what sampling alone would make of that.

        The floor is left out where a class has fewer than three samples, which do not tell.
        """
        classes = list(self._classes(source, target))
        figures = {"classes-compared": float(len(classes))}
        if not classes:
            return figures
        shares = [self._share(*one) for one in classes]
        pairs = list(zip(classes, shares, strict=True))
        figures["class-wise-coral"] = sum(float(coral_loss(*one, share)) for one, share in pairs) / len(pairs)
        if min(len(domain) for one in classes for domain in one) >= FEWEST:
            floors = [float(noise_floor(domain, share)) for one, share in pairs for domain in one]
            figures["class-wise-coral-noise-floor"] = sum(floors) / len(floors)
        return figures

    def remarks(self, num_features: int, num_classes: int) -> Iterable[str]:
        """Say where a class's share of a batch leaves its covariance singular."""
        samples, width = self.loop.batch_size, num_classes if self.options.on == "logits" else num_features
        if samples <= num_classes * width and self.loop.shrinkage == 0:
            yield (
                f"a batch of {samples} samples is shared by several of {num_classes} classes: the covariance of one class in "
                f"{width} dimensions rests on a few samples, is singular, and what sets two apart is mostly sampling noise; "
                'take a larger batch_size, or shrinkage "ledoit-wolf"'
            )

    def _share(self, source: Tensor, target: Tensor) -> Share:
        return common_share(source, target, self.loop.shrinkage)

    def _classes(self, source: Batch, target: Batch) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield each class's source and target outputs."""
        import torch

        for label in torch.unique(source.labels):
            ours = outputs(source, self.options.on)[source.labels == label]
            theirs = outputs(target, self.options.on)[target.labels == label]
            if min(len(ours), len(theirs)) >= SMALLEST_CLASS:
                yield ours, theirs
