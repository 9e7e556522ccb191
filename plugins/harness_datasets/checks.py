"""What every reader checks of the arrays that it has read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.api import DataError

if TYPE_CHECKING:
    import numpy as np


def check_split(images: np.ndarray, labels: np.ndarray, *, num_classes: int, where: str) -> None:
    """Raise ``DataError`` unless images (N, C, H, W) and labels (N,) agree, N > 0 and labels lie in 0..num_classes-1."""
    if len(images) != len(labels):
        raise DataError(
            f"{where}: got {len(images)} images and {len(labels)} labels, expected as many of the one as of the other; "
            "fetch the files again from one source"
        )
    if not len(labels):
        raise DataError(f"{where}: got no images, expected at least one; fetch the files again")
    lowest, highest = int(labels.min()), int(labels.max())
    if lowest < 0 or highest >= num_classes:
        raise DataError(
            f"{where}: got labels {lowest} to {highest}, expected 0 to {num_classes - 1}; "
            "these look like another data set's files"
        )


def check_same_shape(train: np.ndarray, test: np.ndarray, *, where: str) -> None:
    """Raise ``DataError`` unless training and test images (N, C, H, W) have one size."""
    if train.shape[1:] != test.shape[1:]:
        raise DataError(
            f"{where}: got training images of shape {train.shape[1:]} and test images of shape {test.shape[1:]}, "
            "expected one shape; these files belong to different data sets"
        )
