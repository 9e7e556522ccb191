"""Sets of images: uint8 in a file that processes share, resized and scaled to [0, 1] on the device in batches.

``T'`` is such a set too: rows of the training images, some of them replaced by corrected images kept as float, in a file likewise.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from torch.nn.functional import interpolate

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor


_RESIDENT = 0.25
"""Of a GPU's free memory: what a data set may take of it, so that networks and batches have theirs."""


@dataclass(frozen=True)
class ImageSet:
    """Some rows of a stored data set, as a classifier sees them.

    ``stored``: uint8 (M, C, H, W), on the CPU or on the device; ``all_labels``: int64 (M,); ``rows``: the samples of this set,
    int64 (N,).
    ``replaced`` (M,): for each stored row, its row in ``replacements`` (R, C, S, S) float32 in [0, 1], or -1.
    """

    stored: Tensor
    all_labels: Tensor
    rows: Tensor
    image_size: int
    device: torch.device
    replacements: Tensor | None = None
    replaced: Tensor | None = None

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def labels(self) -> Tensor:
        """The labels (N,) on the CPU."""
        return self.all_labels[self.rows]

    def subset(self, rows: Tensor) -> ImageSet:
        """Return the set of other rows of the same stored images."""
        return replace(self, rows=rows)

    def with_replacements(self, rows: Tensor, images: Tensor, *, places: Tensor | None = None) -> ImageSet:
        """Return this set with the stored rows ``rows`` (R,) shown as ``images[places]`` (R, C, S, S), as ``images`` by default.

        Nothing is copied: ``images`` may be mapped from a file.
        """
        replaced = torch.full((len(self.stored),), -1, dtype=torch.int64)
        replaced[rows] = torch.arange(len(rows)) if places is None else places
        return replace(self, replacements=images, replaced=replaced)

    def gather(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Return images (n, C, S, S) in [0, 1] and labels (n,) of stored rows, on the device."""
        # A row at a time: indexing goes byte by byte and takes thrice as long.
        stored = torch.index_select(self.stored, 0, moved(rows, self.stored.device))
        images = to_pixels(moved(stored, self.device), self.image_size)
        if self.replacements is not None and self.replaced is not None:
            where = self.replaced[rows]
            mine = (where >= 0).nonzero().flatten()
            if len(mine):
                images[moved(mine, self.device)] = moved(self.replacements[where[mine]], self.device)
        return images, moved(self.all_labels[rows], self.device)

    def batches(self, batch_size: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield (images, labels) in the order of ``rows``: even batches, as ``even_batches`` splits."""
        for rows in even_batches(self.rows, batch_size):
            yield self.gather(rows)


def moved(tensor: Tensor, device: torch.device) -> Tensor:
    """Return a tensor on a device. From the CPU to a GPU it goes by way of pinned memory, so that nobody waits for the GPU.

    The GPU works through what it was given before while the next batch is gathered and sent.
    """
    if tensor.device.type == "cpu" and device.type == "cuda":
        # Pinned memory takes over a tensor's strides, and cannot be written where several places are one.
        return tensor.contiguous().pin_memory().to(device, non_blocking=True)
    return tensor.to(device)


def stays_on(device: torch.device, stored: Tensor) -> bool:
    """Whether a stored data set is to lie on a device: on a GPU, where it takes no more than ``_RESIDENT`` of the free memory."""
    return device.type == "cuda" and stored.nbytes <= _RESIDENT * torch.cuda.mem_get_info(device)[0]


def to_pixels(stored: Tensor, image_size: int) -> Tensor:
    """Scale uint8 (N, C, H, W) to float32 in [0, 1] and resize to ``image_size`` (bilinear, antialiased)."""
    pixels = stored.to(torch.float32).div_(255)
    if pixels.shape[-2:] == (image_size, image_size):
        return pixels
    size = (image_size, image_size)
    return interpolate(pixels, size, mode="bilinear", antialias=True, align_corners=False).clamp_(0, 1)


def even_batches(rows: Tensor, batch_size: int) -> tuple[Tensor, ...]:
    """Split rows into the fewest batches of at most ``batch_size`` that differ by one sample at most.

    So no batch of one sample is left over from batches of three or more.
    """
    if len(rows) == 0:
        return ()
    count = -(-len(rows) // batch_size)
    return torch.tensor_split(rows, count)
