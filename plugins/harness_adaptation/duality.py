"""Least-change weight updates that do what changed inputs did, from second moments (Feng and Tu, 2022, arXiv:2203.10736).

A linear layer gives Wx. Inputs X (d × n) that become X + ΔX change its outputs by WΔX; the weight update of least Frobenius norm
that changes them so on X itself is ΔW = WΔX·X⁺, for one input (WΔx)xᵀ/‖x‖². With other inputs X_c kept in place it is the minimum
of ‖ΔW·X − WΔX‖² + β‖ΔW·X_c‖² + ρ‖ΔW‖², ΔW = WΔX·Xᵀ (XXᵀ + βX_cX_cᵀ + ρI)⁻¹: moments of d × d numbers tell it, whatever n is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.nn.functional import pad, unfold

if TYPE_CHECKING:
    from torch import Tensor, nn


class Moments:
    """Second moments (d, d) of the inputs of a layer, summed in float64 over the batches that are added.

    Of n changed inputs x: ``inputs`` is Σxxᵀ, ``cross`` is ΣΔx·xᵀ, ``changes`` is ΣΔxΔxᵀ. Of the others, ``kept`` is Σxxᵀ.
    """

    def __init__(self, width: int, device: torch.device | None = None) -> None:
        self.width = width
        self.inputs, self.cross, self.changes, self.kept = (
            torch.zeros(width, width, dtype=torch.float64, device=device) for _ in range(4)
        )
        self.num_kept = 0

    def add_changed(self, inputs: Tensor, changed: Tensor) -> None:
        """Add inputs (n, d) and what became of them (n, d)."""
        rows = inputs.double()
        changes = changed.double() - rows
        self.inputs += rows.T @ rows
        self.cross += changes.T @ rows
        self.changes += changes.T @ changes

    def add_kept(self, inputs: Tensor) -> None:
        """Add inputs (n, d) whose outputs are to stay."""
        rows = inputs.double()
        self.kept += rows.T @ rows
        self.num_kept += len(rows)


def least_update(weight: Tensor, moments: Moments, *, beta: float, ridge: float) -> Tensor:
    """Return ΔW (k, d), float64, for weights (k, d).

    ``ridge`` is ρ in units of the mean eigenvalue of Σxxᵀ, so that it means the same at every scale and number of inputs. Where the
    bracket is singular its pseudo-inverse is taken, which is the limit of ρ → 0.
    """
    rho = ridge * moments.inputs.trace() / moments.width
    bracket = moments.inputs + beta * moments.kept
    bracket = bracket + rho * torch.eye(moments.width, dtype=bracket.dtype, device=bracket.device)
    values, vectors = torch.linalg.eigh(bracket)
    smallest = values[-1] * moments.width * torch.finfo(values.dtype).eps
    inverse = torch.where(values > smallest, values.reciprocal(), 0.0)
    update: Tensor = (weight.double() @ moments.cross @ vectors * inverse) @ vectors.T
    return update


def unmatched_share(weight: Tensor, update: Tensor, moments: Moments) -> float:
    """Return ‖ΔW·X − WΔX‖ / ‖WΔX‖: 0 where the update does all that the changed inputs did, 1 where it does nothing of it."""
    wanted = _quadratic(weight.double(), moments.changes)
    crossed = ((weight.double() @ moments.cross) * update).sum()
    left = _quadratic(update, moments.inputs) - 2 * crossed + wanted
    return float((left.clamp(min=0) / wanted).sqrt()) if wanted > 0 else 0.0


def kept_shift(update: Tensor, moments: Moments) -> float:
    """Return the root mean square over kept inputs x of ‖ΔW·x‖, by how much their outputs move; 0 without any."""
    return float((_quadratic(update, moments.kept).clamp(min=0) / max(moments.num_kept, 1)).sqrt())


def with_one(inputs: Tensor) -> Tensor:
    """Return inputs (n, d) as [x; 1] (n, d + 1), on which weights [W, b] act as W and a bias b do."""
    return pad(inputs, (0, 1), value=1.0)


def patches(convolution: nn.Conv2d, images: Tensor) -> Tensor:
    """Return what a convolution without groups multiplies its weights (k, C·h·w) with: patches (N·L, C·h·w) of images (N, C, H, W).

    An image has L patches, one for each place of the output.
    """
    mode = "constant" if convolution.padding_mode == "zeros" else convolution.padding_mode
    columns = unfold(
        pad(images, _margins(convolution), mode=mode),
        kernel_size=convolution.kernel_size,
        dilation=convolution.dilation,
        stride=convolution.stride,
    )
    return columns.transpose(1, 2).flatten(0, 1)


def _margins(convolution: nn.Conv2d) -> list[int]:
    """Return the padding as (left, right, top, bottom); "same" puts what is odd on the right and at the bottom."""
    if not isinstance(convolution.padding, str):
        vertical, horizontal = convolution.padding
        return [horizontal, horizontal, vertical, vertical]
    if convolution.padding == "valid":
        return [0, 0, 0, 0]
    sizes = zip(convolution.kernel_size, convolution.dilation, strict=True)
    vertical, horizontal = (dilation * (size - 1) for size, dilation in sizes)
    return [horizontal // 2, horizontal - horizontal // 2, vertical // 2, vertical - vertical // 2]


def _quadratic(matrix: Tensor, moment: Tensor) -> Tensor:
    """Return tr(M·S·Mᵀ)."""
    return ((matrix @ moment) * matrix).sum()
