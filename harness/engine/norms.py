"""Norms per sample, for tensors of any shape (N, …)."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

    from harness.contract import Norm


def per_sample(values: Tensor, like: Tensor) -> Tensor:
    """Reshape ``values`` (N,) to (N, 1, …) so that it broadcasts against ``like`` (N, …)."""
    return values.reshape(-1, *([1] * (like.ndim - 1)))


def per_sample_norm(perturbations: Tensor, norm: Norm) -> Tensor:
    """Return the norm (N,) of each perturbation (N, …). L0 counts changed entries."""
    flat = perturbations.flatten(1)
    if norm == "l0":
        return (flat != 0).sum(1).to(flat.dtype)
    if norm == "l1":
        return flat.abs().sum(1)
    if norm == "l2":
        return flat.square().sum(1).sqrt()
    return flat.abs().amax(1)
