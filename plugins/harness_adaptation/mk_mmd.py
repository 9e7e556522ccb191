"""Align the features' distributions by several kernels at once (Long et al., 2015, arXiv:1502.02791: DAN's MK-MMD)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field

from harness.api import Adapter, AdapterCapabilities, Batch, FractionalFloat, Options
from harness_adaptation.batches import Layer, label_loss, remembered

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from torch import Tensor

ENOUGH = 64

Multiple = Annotated[FractionalFloat, Field(gt=0, allow_inf_nan=False)]
Bandwidths = Annotated[tuple[Multiple, ...], Field(min_length=1)]
"""Each kernel's σ², as a multiple of the mean squared distance between two samples of a step."""

BANDWIDTHS = "σ² of each Gaussian kernel, as multiples of the mean squared distance between two samples' features."


class MkMmdOptions(Options):
    """Options of MK-MMD."""

    weight: FractionalFloat = Field(
        1.0, ge=0, allow_inf_nan=False, description="Weight of the squared MMD beside the classification loss."
    )
    on: Layer = Field(
        "features", description="Whose distribution is aligned: the last linear layer's output or its input."
    )
    bandwidths: Bandwidths = Field((1 / 8, 1 / 4, 1 / 2, 1.0, 2.0), description=BANDWIDTHS)


class MkMmd(Adapter[MkMmdOptions]):
    """Add the unbiased squared MMD to the cross-entropy on the source.

    The remembered outputs are further points on both sides: the estimate of the same quantity is less noisy with them.
    """

    capabilities: ClassVar = AdapterCapabilities()

    def losses(self, source: Batch, target: Batch) -> dict[str, Tensor]:
        """Return the source's cross-entropy and the weighted squared MMD, which may be negative."""
        from harness_adaptation.kernels import unbiased_mmd

        apart = unbiased_mmd(*self._kernel(source, target))
        return {"cross-entropy": label_loss(source), "mk-mmd": self.options.weight * apart}

    def diagnostics(self, source: Batch, target: Batch) -> dict[str, float]:
        """Return the unweighted squared MMD and its standard error by chance: how far from zero it is where there is no gap."""
        return mmd_figures("mk-mmd", *self._kernel(source, target))

    def remarks(self, num_features: int, num_classes: int) -> Iterable[str]:  # noqa: ARG002 (samples alone count)
        """Say where a batch is too small for the estimate."""
        return few_samples(self.loop.batch_size)

    def _kernel(self, source: Batch, target: Batch) -> tuple[Tensor, int]:
        """Return the kernel matrix of both domains' points, and how many of them are the source's."""
        import torch

        from harness_adaptation.kernels import gaussians, squared_distances

        ours = remembered(source, self.options.on)
        points = torch.cat([ours, remembered(target, self.options.on)])
        return gaussians(squared_distances(points, points), self.options.bandwidths), len(ours)


def mmd_figures(name: str, kernel: Tensor, first: int) -> dict[str, float]:
    """Return an unweighted squared MMD by its name, with its standard error by chance."""
    from harness_adaptation.kernels import FEWEST, chance_error, unbiased_mmd

    figures = {name: float(unbiased_mmd(kernel, first))}
    if len(kernel) >= FEWEST:
        figures[f"{name}-noise-floor"] = float(chance_error(kernel, first))
    return figures


def few_samples(samples: int) -> Iterator[str]:
    """Say where so few samples a domain leave an unbiased MMD to chance, if so."""
    if samples < ENOUGH:
        yield (
            f"an unbiased MMD from {samples} samples a domain is mostly chance: expected {ENOUGH} or more; take a larger "
            "batch_size, or a queue of earlier batches"
        )
