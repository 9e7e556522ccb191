"""Covariances of samples: shrunk, compared, and how far sampling alone sets two of them apart."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor

    from harness.api import Shrinkage

    Share = float | Tensor

FEWEST = 3


def covariance(features: Tensor, shrinkage: Share = 0.0) -> Tensor:
    """Return the sample covariance (D, D) of features (N, D): (XᵀX − n·x̄x̄ᵀ)/(n−1), computed from centred features.

    The share ``shrinkage`` of it is replaced by tr(C)/d times the identity.
    """
    centred = features - features.mean(0, keepdim=True)
    sampled = centred.T @ centred / (len(features) - 1)
    if isinstance(shrinkage, float) and shrinkage == 0:
        return sampled
    width = features.shape[1]
    spherical = sampled.new_ones(width).diag() * (sampled.trace() / width)
    return (1 - shrinkage) * sampled + shrinkage * spherical


def coral_loss(source: Tensor, target: Tensor, shrinkage: Share = 0.0) -> Tensor:
    """Return ‖C_S − C_T‖²_F / (4 d²) of features (N, D) and (M, D)."""
    width = source.shape[1]
    return (covariance(source, shrinkage) - covariance(target, shrinkage)).square().sum() / (4 * width**2)


def domainbed_loss(source: Tensor, target: Tensor, shrinkage: Share = 0.0) -> Tensor:
    """Return mean((C_S − C_T)²) + mean((x̄_S − x̄_T)²) of features (N, D) and (M, D) (Gulrajani and Lopez-Paz, 2020)."""
    means = (source.mean(0) - target.mean(0)).square().mean()
    return 4 * coral_loss(source, target, shrinkage) + means


def common_share(source: Tensor, target: Tensor, shrinkage: Shrinkage) -> Share:
    """Return the share that both domains' covariances are shrunk by.

    It is one for both, the mean of Ledoit and Wolf's two where they are asked for: two shares would set equal covariances apart.
    """
    if isinstance(shrinkage, str):
        return (ledoit_wolf_share(source) + ledoit_wolf_share(target)) / 2
    return float(shrinkage)


def ledoit_wolf_share(features: Tensor) -> Tensor:
    """Estimate from features (N, D) the share () whose shrunk covariance is nearest the true one (Ledoit and Wolf, 2004).

    The lesser of the matrices (N, N) and (D, D) is computed, in float64. What comes of it stays on the device: nobody waits for it.
    """
    centred = (features - features.mean(0, keepdim=True)).detach().double()
    count, width = centred.shape
    trace, square = _spectral_sums(centred, count)
    apart = square - trace.square() / width
    sampling = (centred.square().sum(1).square().sum() / count - square) / count
    return (sampling / apart).clamp(0, 1).where(apart > 0, 0.0)


def noise_floor(features: Tensor, shrinkage: Share = 0.0) -> Tensor:
    """Estimate the CORAL loss expected between two batches of one distribution, from one batch (N, D).

    For Gaussian features with covariance C it is 2·[tr(C)² + tr(C²)] / (4 d² (n−1)); of a shrunk difference, (1−s)² of the bracket
    remain, and 1 − (1−s)² of 2·tr(C²)/d, the part along the identity. With ν = n − 1 and Ĉ the sample covariance, tr(C²) and
    tr(C)² are estimated without bias (Wishart moments) by ν²/((ν−1)(ν+2)) times tr(Ĉ²) − tr(Ĉ)²/ν and
    (1 + 1/ν)·tr(Ĉ)² − (2/ν)·tr(Ĉ²). Raises ``ValueError`` below three samples, which do not tell.
    """
    if len(features) < FEWEST:
        raise ValueError(f"the noise floor needs at least {FEWEST} samples, got {len(features)}")
    width, degrees = features.shape[1], len(features) - 1
    trace, square = _spectral_sums(features - features.mean(0, keepdim=True), degrees)
    scale = degrees**2 / ((degrees - 1) * (degrees + 2))
    true_square = scale * (square - trace.square() / degrees)
    squared_trace = scale * ((1 + 1 / degrees) * trace.square() - 2 / degrees * square)
    kept = (1 - shrinkage) ** 2
    bracket = kept * (squared_trace + true_square) + (1 - kept) * 2 * true_square / width
    return bracket / (2 * width**2 * degrees)


def domainbed_floor(features: Tensor, shrinkage: Share = 0.0) -> Tensor:
    """Estimate DomainBed's loss expected between two batches of one distribution, from one batch (N, D).

    To four times the floor of the covariances the means add 2·tr(C)/(n d). Raises ``ValueError`` below three samples.
    """
    count, width = features.shape
    return 4 * noise_floor(features, shrinkage) + 2 * features.var(0).sum() / (count * width)


def rank_remark(samples: int, width: int, shrinkage: Shrinkage) -> Iterator[str]:
    """Say where covariances of so few samples are singular and not shrunk, if so."""
    if samples <= width and shrinkage == 0:
        yield (
            f"covariances of {samples} samples in {width} dimensions have rank {samples - 1} at most, and what sets them apart "
            f"is mostly sampling noise: expected more than {width} samples; take a larger batch_size, a queue of earlier "
            'batches, or shrinkage "ledoit-wolf"'
        )


def _spectral_sums(centred: Tensor, degrees: int) -> tuple[Tensor, Tensor]:
    """Return tr(C) and tr(C²) of C = XᵀX/degrees, from the lesser of XᵀX and XXᵀ."""
    count, width = centred.shape
    product = centred @ centred.T if count < width else centred.T @ centred
    return product.trace() / degrees, product.square().sum() / degrees**2
