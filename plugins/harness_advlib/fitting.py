"""Make what the library returns fit the contract, without hiding what it got wrong by more than rounding."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.api import per_sample, per_sample_norm

if TYPE_CHECKING:
    from torch import Tensor

    from harness.api import Norm

BOUNDS_ROUNDING = 1e-3
"""How far beyond the bounds a pixel is still brought back, as a fraction of their range."""

EPS_ROUNDING = 0.02
"""How far beyond eps a norm is still scaled back, as a fraction of eps."""


def fitted(perturbed: Tensor, images: Tensor, *, bounds: tuple[float, float], eps: float | None, norm: Norm) -> Tensor:
    """Return (N, C, H, W) with what rounding did taken back: beyond ``bounds``, and beyond ``eps``.

    Larger violations, and values that are not finite, are left for the harness to see: no attack of the library is known for
    them.
    """
    perturbed = _clamped(perturbed.detach().to(images.dtype), bounds)
    return perturbed if eps is None else _scaled(perturbed, images, eps, norm)


def _clamped(perturbed: Tensor, bounds: tuple[float, float]) -> Tensor:
    low, high = bounds
    clamped = perturbed.clamp(low, high)
    return clamped.where((perturbed - clamped).abs() <= BOUNDS_ROUNDING * (high - low), perturbed)


def _scaled(perturbed: Tensor, images: Tensor, eps: float, norm: Norm) -> Tensor:
    sizes = per_sample_norm(perturbed - images, norm)
    rounded = (sizes > eps) & (sizes <= eps * (1 + EPS_ROUNDING))
    scaled = images + (perturbed - images) * per_sample(eps / sizes.clamp(min=eps), images)
    return scaled.where(per_sample(rounded, images), perturbed)
