"""Which samples a step sees, and how they are augmented: functions of (seed, purpose, step), so that a loop resumes anywhere."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.nn.functional import pad

from harness.engine.images import moved
from harness.engine.randomness import generator

if TYPE_CHECKING:
    from torch import Tensor


class BatchOrder:
    """Endless shuffled passes over some rows of a training set, in batches of equal size.

    Each pass shuffles *all* rows and then leaves out those that are not ``chosen``: arms that differ in a few
    samples see the others in the same order. A batch may straddle two passes; none is short.
    """

    def __init__(self, all_rows: Tensor, chosen: Tensor, *, batch_size: int, key: tuple[object, ...]) -> None:
        self.all_rows = all_rows
        self.batch_size = batch_size
        self.key = key
        self.length = len(chosen)
        self._is_chosen = torch.zeros(int(all_rows.max()) + 1, dtype=torch.bool)
        self._is_chosen[chosen] = True
        self._passes: dict[int, Tensor] = {}

    def batch(self, step: int) -> Tensor:
        """Return the rows (batch_size,) of a step, counted from 0."""
        start, stop = step * self.batch_size, (step + 1) * self.batch_size
        parts = []
        while start < stop:
            number, offset = divmod(start, self.length)
            part = self._pass(number)[offset : offset + stop - start]
            parts.append(part)
            start += len(part)
        return torch.cat(parts) if len(parts) > 1 else parts[0]

    def _pass(self, number: int) -> Tensor:
        if number not in self._passes:
            order = torch.randperm(len(self.all_rows), generator=generator(*self.key, number))
            shuffled = self.all_rows[order]
            self._passes = {number: shuffled[self._is_chosen[shuffled]], **_newest(self._passes)}
        return self._passes[number]


def _newest(passes: dict[int, Tensor]) -> dict[int, Tensor]:
    """Keep one earlier pass: a batch that straddles two needs both."""
    return dict([max(passes.items())]) if passes else {}


def augment(images: Tensor, kind: str, *, key: tuple[object, ...]) -> Tensor:
    """Flip and crop images (N, C, H, W) at random; ``kind`` is none, flip or flip-crop."""
    if kind == "none":
        return images
    draws = generator(*key)
    flipped = torch.rand(len(images), generator=draws) < 0.5
    images = torch.where(moved(flipped, images.device).reshape(-1, 1, 1, 1), images.flip(3), images)
    return images if kind == "flip" else _crop(images, draws)


def _crop(images: Tensor, draws: torch.Generator) -> Tensor:
    height, width = images.shape[-2:]
    margin = max(height // 8, 1)
    padded = pad(images, (margin, margin, margin, margin))
    offsets = torch.randint(0, 2 * margin + 1, (2, len(images)), generator=draws)
    top, left = moved(offsets, images.device)
    rows = (top[:, None] + torch.arange(height, device=images.device))[:, None, :, None]
    columns = (left[:, None] + torch.arange(width, device=images.device))[:, None, None, :]
    samples = torch.arange(len(images), device=images.device)[:, None, None, None]
    channels = torch.arange(images.shape[1], device=images.device)[None, :, None, None]
    return padded[samples, channels, rows, columns]
