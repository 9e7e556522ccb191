"""Maximum mean discrepancy: kernel matrices of two domains, its unbiased estimate, and the error of that by chance alone.

Nothing here is larger than the matrix of all pairs (Gretton et al., 2012, JMLR 13).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

FEWEST = 4


def squared_distances(ours: Tensor, theirs: Tensor) -> Tensor:
    """Return ‖x_i − y_j‖² (N, M) of points (N, D) and (M, D)."""
    centre = theirs.detach().mean(0)  # distances stay as they are, and less is lost between large squares
    ours, theirs = ours - centre, theirs - centre
    squares = ours.square().sum(1)[:, None] + theirs.square().sum(1)[None, :]
    return (squares - 2 * ours @ theirs.T).clamp_min(0)


def gaussians(distances: Tensor, multiples: Sequence[float]) -> Tensor:
    """Return Σ_u exp(−D/2σ_u²) of squared distances D (N, N), with σ_u² = ``multiples[u]`` times their mean.

    The mean is over pairs of different points, which does not depend on how many there are, and carries no gradient.
    """
    count = len(distances)
    mean = distances.detach().sum() / (count * (count - 1))
    scaled = distances / (2 * mean.clamp_min(torch.finfo(distances.dtype).tiny))
    return torch.stack([(-scaled / multiple).exp() for multiple in multiples]).sum(0)


def unbiased_mmd(kernel: Tensor, first: int) -> Tensor:
    """Return the unbiased squared MMD between the ``first`` points and the others, from their kernel matrix (N, N).

    Its expectation is 0 where both are of one distribution; it may be negative. Each side needs two points.
    """
    across = kernel[:first, first:].mean()
    return _mean_of_pairs(kernel[:first, :first]) + _mean_of_pairs(kernel[first:, first:]) - 2 * across


def chance_error(kernel: Tensor, first: int) -> Tensor:
    """Estimate the standard error of ``unbiased_mmd`` where both sides are of one distribution, from the same matrix.

    The variance is then E[k̃²]·(2/n(n−1) + 2/m(m−1) + 4/nm) for the kernel k̃ centred on that distribution. E[k̃²] is estimated
    without bias by U-centring (Székely and Rizzo, 2014). Raises ``ValueError`` below four points in all.
    """
    count = len(kernel)
    if count < FEWEST:
        raise ValueError(f"the error by chance needs at least {FEWEST} points, got {count}")
    ours, theirs = first, count - first
    pairs = 2 / (ours * (ours - 1)) + 2 / (theirs * (theirs - 1)) + 4 / (ours * theirs)
    centred = _u_centred(kernel)
    return (centred.square().sum() / (count * (count - 3)) * pairs).sqrt()


def _mean_of_pairs(kernel: Tensor) -> Tensor:
    count = len(kernel)
    return (kernel.sum() - kernel.trace()) / (count * (count - 1))


def _u_centred(kernel: Tensor) -> Tensor:
    count = len(kernel)
    apart = kernel - kernel.diagonal().diag()
    rows = apart.sum(1) / (count - 2)
    centred = apart - rows[:, None] - rows[None, :] + apart.sum() / ((count - 1) * (count - 2))
    return centred - centred.diagonal().diag()
