"""The logarithm of a symmetric positive definite matrix, with a gradient that equal eigenvalues do not spoil.

Differentiating through eigenvectors divides by differences of eigenvalues. The Fréchet derivative of the logarithm itself does
not: in the eigenbasis it multiplies each entry by a divided difference, 1/λ where two eigenvalues meet (Daleckii and Krein, 1965).
"""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


def matrix_logarithm(matrix: Tensor) -> Tensor:
    """Return U diag(log λ) Uᵀ of a symmetric positive definite matrix U diag(λ) Uᵀ (D, D); not finite where an entry is not."""
    if not bool(matrix.isfinite().all()):
        return matrix * torch.nan  # an eigendecomposition would raise, where the loop tells of the divergence
    return cast("Tensor", _Logarithm.apply(matrix))  # type: ignore[no-untyped-call]


def divided_differences(eigenvalues: Tensor) -> Tensor:
    """Return (log λ_i − log λ_j)/(λ_i − λ_j) of positive eigenvalues (D,), 1/λ_i where both are equal: (D, D)."""
    lesser = torch.minimum(eigenvalues[:, None], eigenvalues[None, :])
    excess = (eigenvalues[:, None] - eigenvalues[None, :]).abs() / lesser
    # log1p keeps its precision however small the excess; at zero alone the quotient has to be given.
    apart = torch.where(excess > 0, excess, 1)
    return torch.where(excess > 0, apart.log1p() / apart, 1) / lesser


class _Logarithm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, matrix: Tensor) -> Tensor:
        eigenvalues, vectors = torch.linalg.eigh(matrix)
        ctx.save_for_backward(eigenvalues, vectors)
        logarithm: Tensor = (vectors * eigenvalues.log()) @ vectors.T
        return logarithm

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        eigenvalues, vectors = ctx.saved_tensors
        within: Tensor = divided_differences(eigenvalues) * (vectors.T @ gradient @ vectors)
        return cast("Tensor", vectors @ within @ vectors.T)
