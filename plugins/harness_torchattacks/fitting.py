"""Make what the library returns fit the contract, without hiding what it got wrong by more than rounding."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.api import per_sample, undo_rounding

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from harness.api import Norm

OUT_OF_BOUNDS: Mapping[str, str] = {
    "EADEN": "takes its first step on the image itself, in place, and then takes that for the original, unclipped",
    "EADL1": "takes its first step on the image itself, in place, and then takes that for the original, unclipped",
}
"""The classes whose results are known to leave the bounds by more than rounding, and why: they are clipped."""

NOT_FINITE: Mapping[str, str] = {
    "DeepFool": "divides by the gradient's norm",
    "SparseFool": "walks to DeepFool's boundary, and so divides by the gradient's norm",
}
"""The classes that are known to return NaN where a sample's gradient vanishes, and why: that sample stays unperturbed."""


def fitted(
    target: str,
    perturbed: Tensor,
    images: Tensor,
    *,
    bounds: tuple[float, float],
    eps: float | None,
    norm: Norm,
) -> Tensor:
    """Return (N, C, H, W) with what rounding did taken back: beyond ``bounds``, and beyond ``eps``.

    Larger violations are left for the harness to see, but for those that the class ``target`` is known for.
    """
    perturbed = perturbed.detach().to(images.dtype)
    if target in NOT_FINITE:
        perturbed = _finite(perturbed, images)
    if target in OUT_OF_BOUNDS:
        perturbed = perturbed.clamp(*bounds)
    return undo_rounding(perturbed, images, norm=norm, bounds=bounds, eps=eps)


def _finite(perturbed: Tensor, images: Tensor) -> Tensor:
    """Put back the samples that are not finite."""
    finite = perturbed.flatten(1).isfinite().all(1)
    return perturbed.where(per_sample(finite, images), images)
