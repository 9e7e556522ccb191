"""Pull each original towards its own corrected image, by distillation (Hinton et al., 2015, arXiv:1503.02531)."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from harness.api import Adapter, AdapterCapabilities, Batch, FractionalFloat, Options

if TYPE_CHECKING:
    from collections.abc import Iterable

    from torch import Tensor


class PairedOptions(Options):
    """Options of the pairing."""

    on: Literal["features", "outputs"] = Field(
        "features",
        description="What is pulled: features by their squared distance, or outputs by the KL divergence of the predictions.",
    )
    weight: FractionalFloat = Field(1, ge=0, allow_inf_nan=False, description="Weight of the pull.")
    keep: FractionalFloat = Field(
        1,
        ge=0,
        allow_inf_nan=False,
        description="Weight of the cross-entropy on samples that were right from the start.",
    )
    temperature: FractionalFloat = Field(
        2, gt=0, allow_inf_nan=False, description="τ, which divides the logits on both sides of the KL divergence."
    )


class Paired(Adapter[PairedOptions]):
    """Give each original x the answer that the classifier, as it was, gives to its corrected image x+δ.

    The pull is ‖f_θ0(x+δ) − f_θ(x)‖², or τ²·KL(p_θ0(x+δ) ‖ p_θ(x)), over the samples that the classifier got wrong; the rest are
    kept right by the cross-entropy on their true labels. f_θ0 is in eval mode: under batch-norm policies other than ``frozen``,
    batch statistics set the two apart even where x+δ is x, which the floor among the diagnostics tells.
    """

    capabilities: ClassVar = AdapterCapabilities(target_labels=True, sampling="paired")

    def remarks(self, num_features: int, num_classes: int) -> Iterable[str]:  # noqa: ARG002 (the corrections count)
        """Tell of a source without corrected samples."""
        if not self.loop.corrections:
            yield "no sample was corrected: there is nothing to pull, and the rest is cross-entropy on what was right"

    def losses(self, source: Batch, target: Batch) -> dict[str, Tensor]:
        """Return the weighted cross-entropy on the source's right samples and the weighted pull, 0 where there are none."""
        from torch.nn.functional import cross_entropy

        wrong = self._wrong(source)
        kept = cross_entropy(source.logits[~wrong], source.labels[~wrong], reduction="sum")  # type: ignore[index]
        return {
            "cross-entropy": self.options.keep * kept / (~wrong).sum().clamp(min=1),
            "pull": self.options.weight * self._pull(source, target, wrong),
        }

    def diagnostics(self, source: Batch, target: Batch) -> dict[str, float]:
        """Return the unweighted pull over the corrected samples and, as its floor, over those that were never changed."""
        wrong = self._wrong(source)
        return {
            name: float(self._pull(source, target, which).detach())
            for name, which in (("pull", wrong), ("pull-noise-floor", ~wrong))
            if bool(which.any())
        }

    def _pull(self, source: Batch, target: Batch, which: Tensor) -> Tensor:
        """Return the mean pull over some samples, bool (N,); 0 over none."""
        if not bool(which.any()):
            return target.features[which].sum() + target.logits[which].sum()
        teacher = self.loop.initial.outputs(source.images[which])
        if self.options.on == "features":
            return (teacher.features.detach() - target.features[which]).square().sum(1).mean()
        return distillation(teacher.logits.detach(), target.logits[which], self.options.temperature)

    @staticmethod
    def _wrong(source: Batch) -> Tensor:
        assert source.wrong is not None  # noqa: S101 (target_labels shows it; this tells the type checker)
        return source.wrong


def distillation(teacher: Tensor, student: Tensor, temperature: float) -> Tensor:
    """Return τ²·KL(p_teacher ‖ p_student), the mean over logits (N, K) that are divided by τ."""
    from torch.nn.functional import kl_div

    ours, theirs = (student / temperature).log_softmax(1), (teacher / temperature).log_softmax(1)
    return temperature**2 * kl_div(ours, theirs, reduction="batchmean", log_target=True)
