"""Make what the library returns fit the contract, without hiding what it got wrong by more than rounding."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.api import per_sample, per_sample_norm

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from harness.api import Norm

BOUNDS_ROUNDING = 1e-3
"""How far beyond the bounds a pixel is still brought back, as a fraction of their range."""

EPS_ROUNDING = 0.02
"""How far beyond eps a norm is still scaled back, as a fraction of eps."""

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
    perturbed = perturbed.clamp(*bounds) if target in OUT_OF_BOUNDS else _clamped(perturbed, bounds)
    return perturbed if eps is None else _scaled(perturbed, images, eps, norm)


def _finite(perturbed: Tensor, images: Tensor) -> Tensor:
    """Put back the samples that are not finite."""
    finite = perturbed.flatten(1).isfinite().all(1)
    return perturbed.where(per_sample(finite, images), images)


def _clamped(perturbed: Tensor, bounds: tuple[float, float]) -> Tensor:
    low, high = bounds
    clamped = perturbed.clamp(low, high)
    return clamped.where((perturbed - clamped).abs() <= BOUNDS_ROUNDING * (high - low), perturbed)


def _scaled(perturbed: Tensor, images: Tensor, eps: float, norm: Norm) -> Tensor:
    sizes = per_sample_norm(perturbed - images, norm)
    rounded = (sizes > eps) & (sizes <= eps * (1 + EPS_ROUNDING))
    scaled = images + (perturbed - images) * per_sample(eps / sizes.clamp(min=eps), images)
    return scaled.where(per_sample(rounded, images), perturbed)
