"""Take back what a library's rounding did to perturbed images, and nothing that it got wrong by more."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.engine.norms import per_sample, per_sample_norm

if TYPE_CHECKING:
    from torch import Tensor

    from harness.contract import Norm

BOUNDS_ROUNDING = 1e-3
"""How far beyond the bounds a pixel is still brought back, as a fraction of their range."""

EPS_ROUNDING = 0.02
"""How far beyond eps a norm is still scaled back, as a fraction of eps."""


def undo_rounding(
    perturbed: Tensor, images: Tensor, *, norm: Norm, bounds: tuple[float, float], eps: float | None = None
) -> Tensor:
    """Return ``perturbed`` (N, C, H, W) with pixels put back onto the bounds, and perturbations of ``images`` onto the eps-ball.

    Detached, in the precision of ``images``. What is within both comes back bit for bit, and so does what is not finite, or beyond
    them by more than rounding: the harness refuses that by name, which clipping would hide. A perturbation that is scaled down may
    still exceed eps by a few units in the last place, since its norm is a sum of rounded numbers. An L0 norm counts entries:
    nothing is scaled.
    """
    perturbed = _onto_bounds(perturbed.detach().to(images.dtype), bounds)
    return perturbed if eps is None or norm == "l0" else _onto_ball(perturbed, images, eps, norm)


def _onto_bounds(perturbed: Tensor, bounds: tuple[float, float]) -> Tensor:
    low, high = bounds
    clamped = perturbed.clamp(low, high)
    return clamped.where((perturbed - clamped).abs() <= BOUNDS_ROUNDING * (high - low), perturbed)


def _onto_ball(perturbed: Tensor, images: Tensor, eps: float, norm: Norm) -> Tensor:
    sizes = per_sample_norm(perturbed - images, norm)
    rounded = (sizes > eps) & (sizes <= eps * (1 + EPS_ROUNDING))
    scaled = images + (perturbed - images) * per_sample(eps / sizes.clamp(min=eps), images)
    return scaled.where(per_sample(rounded, images), perturbed)
