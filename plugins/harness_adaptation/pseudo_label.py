"""Pseudo-labels: certain predictions label strongly augmented images (Sohn et al., 2020, arXiv:2001.07685)."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from harness.api import Adapter, AdapterCapabilities, Batch, FractionalFloat, Options
from harness_adaptation.batches import label_loss

if TYPE_CHECKING:
    from collections.abc import Iterable

    from torch import Tensor


class PseudoLabelOptions(Options):
    """Options of pseudo-labelling."""

    weight: FractionalFloat = Field(1, ge=0, allow_inf_nan=False, description="Weight of the pseudo-label loss.")
    threshold: FractionalFloat = Field(
        0.9, ge=0, lt=1, description="τ: the probability above which a prediction labels."
    )
    padding: FractionalFloat = Field(1 / 8, ge=0, le=1, description="Padding before the random crop, in sides.")
    brightness: FractionalFloat = Field(0.4, ge=0, le=1, description="Brightness is scaled by 1 ± up to this.")
    contrast: FractionalFloat = Field(0.4, ge=0, le=1, description="Contrast is scaled by 1 ± up to this.")
    cutout: FractionalFloat = Field(0.5, ge=0, le=1, description="Side of the part that is cut out, in sides.")


class PseudoLabel(Adapter[PseudoLabelOptions]):
    """Add CE(z_strong, argmax p_weak)·1[max p_weak > τ] on the target to the cross-entropy on the source.

    The weak view is the target batch as it is, the strong one a pass of its own. A negative
    control: the classifier was wrong on ``T`` just where ``T'`` was corrected, and there its own labels undo the
    correction.
    """

    capabilities: ClassVar = AdapterCapabilities()

    def remarks(self, num_features: int, num_classes: int) -> Iterable[str]:  # noqa: ARG002 (the same for all)
        """Tell that it is a negative control."""
        yield "a negative control: where the classifier is wrong on T, so are the labels that it gives itself"

    def losses(self, source: Batch, target: Batch) -> dict[str, Tensor]:
        """Return the source's cross-entropy and the weighted loss of the target's certain samples, averaged over all."""
        from torch.nn.functional import cross_entropy

        strong = self.loop.network.outputs(self.strengthened(target.images)).logits
        guessed = cross_entropy(strong, target.logits.detach().argmax(1), reduction="none")
        return {
            "cross-entropy": label_loss(source),
            "pseudo-label": self.options.weight * (guessed * self._certain(target)).mean(),
        }

    def diagnostics(self, source: Batch, target: Batch) -> dict[str, float]:  # noqa: ARG002 (the target is labelled)
        """Return the share of the target's batch that is certain enough to be labelled."""
        return {"certain": float(self._certain(target).float().mean())}

    def strengthened(self, images: Tensor) -> Tensor:
        """Return images (N, C, H, W) strongly augmented, in [0, 1]."""
        from harness_adaptation.strong_augmentation import cut_out, relit, shifted

        options = self.options
        return cut_out(relit(shifted(images, options.padding), options.brightness, options.contrast), options.cutout)

    def _certain(self, target: Batch) -> Tensor:
        return target.logits.detach().softmax(1).amax(1) > self.options.threshold
