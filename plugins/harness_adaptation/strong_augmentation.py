"""Strong augmentation: crops after padding, brightness, contrast and cutout (DeVries and Taylor, 2017, arXiv:1708.04552).

No flips: whether a mirrored image keeps its label is the data set's matter. Draws come from torch's generator of the CPU, so that
they are the same on every device.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import pad

from harness.api import moved


def shifted(images: Tensor, padding: float) -> Tensor:
    """Crop each of the images (N, C, H, W) at a place of its own, after padding each side by a share of it with zeros."""
    height, width = images.shape[-2:]
    down, across = round(padding * height), round(padding * width)
    padded = pad(images, (across, across, down, down))
    rows = torch.randint(2 * down + 1, (len(images), 1)) + torch.arange(height)
    columns = torch.randint(2 * across + 1, (len(images), 1)) + torch.arange(width)
    samples = torch.arange(len(images), device=images.device)[:, None, None]
    picked = padded.permute(0, 2, 3, 1)[
        samples, moved(rows, images.device)[:, :, None], moved(columns, images.device)[:, None, :]
    ]
    return picked.permute(0, 3, 1, 2)


def relit(images: Tensor, brightness: float, contrast: float) -> Tensor:
    """Scale each of the images (N, C, H, W), then its distance from its mean, by factors of 1 ± a drawn share; in [0, 1]."""
    light, spread = (1 + share * (2 * torch.rand(len(images), 1, 1, 1) - 1) for share in (brightness, contrast))
    lit = images * moved(light, images.device)
    mean = lit.mean((1, 2, 3), keepdim=True)
    return (mean + (lit - mean) * moved(spread, images.device)).clamp(0, 1)


def cut_out(images: Tensor, side: float) -> Tensor:
    """Fill a rectangle of a share of each side, centred anywhere, of each of the images (N, C, H, W) with its mean."""
    height, width = images.shape[-2:]
    rows, columns = _span(len(images), height, side), _span(len(images), width, side)
    hole = moved((rows[:, :, None] & columns[:, None, :])[:, None], images.device)
    return torch.where(hole, images.mean((1, 2, 3), keepdim=True), images)


def _span(count: int, length: int, share: float) -> Tensor:
    """Return which of ``length`` places (count, length) lie in a span around a drawn one; it may reach over the edge."""
    span = round(share * length)
    start = torch.randint(length, (count, 1)) - span // 2
    places = torch.arange(length)
    return (places >= start) & (places < start + span)
