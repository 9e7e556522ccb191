"""A stated part of a data set: some training and test samples, drawn once by their number alone, for whoever has less time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.contract import ImageData
from harness.errors import DataError
from harness.tensor_files import row_chunks, scratch_array

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np

SEED = 0
VERSION = 1
"""Raised whenever other samples are drawn: part of what a data set is known by in a store."""


def subset(
    images: ImageData, *, train_samples: int | None, test_samples: int | None, scratch: Path, name: str
) -> ImageData:
    """Return ``train_samples`` and ``test_samples`` of a data set's images in their order; None stands for all of them.

    Which they are depends on how many there are and how many are wanted, on no experiment's seed. Raises ``DataError`` where
    there are fewer.
    """
    train = _drawn(len(images.train_images), train_samples, f'data set "{name}": train_samples')
    test = _drawn(len(images.test_images), test_samples, f'data set "{name}": test_samples')
    return ImageData(
        train_images=_rows(images.train_images, train, scratch),
        train_labels=images.train_labels if train is None else images.train_labels[train],
        test_images=_rows(images.test_images, test, scratch),
        test_labels=images.test_labels if test is None else images.test_labels[test],
        classes=images.classes,
    )


def _drawn(total: int, wanted: int | None, what: str) -> np.ndarray | None:
    import numpy as np

    if wanted is None:
        return None
    if wanted > total:
        raise DataError(
            f"{what}: asks for {wanted} of {total} images; ask for at most {total}, or leave it out for all"
        )
    return np.sort(np.random.default_rng(SEED).permutation(total)[:wanted])


def _rows(images: np.ndarray, rows: np.ndarray | None, scratch: Path) -> np.ndarray:
    """Copy some rows, piece by piece where they are many."""
    if rows is None:
        return images
    chosen = scratch_array((len(rows), *images.shape[1:]), scratch)
    filled = 0
    for piece in row_chunks(chosen):
        piece[:] = images[rows[filled : filled + len(piece)]]
        filled += len(piece)
    return chosen
