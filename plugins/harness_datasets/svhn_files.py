"""SVHN's cropped digits in MATLAB files (Netzer et al., 2011, http://ufldl.stanford.edu/housenumbers)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from harness.api import DataError

if TYPE_CHECKING:
    from pathlib import Path

LABEL_OF_ZERO = 10


def read_svhn(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Return images (N, 3, H, W) and labels (N,); the file's label 10 stands for the digit 0 and becomes 0.

    Raises ``DataError`` for a file that is no MATLAB file or lacks ``X`` (H, W, 3, N) or ``y`` (N, 1) in 1..10.
    """
    from scipy.io import loadmat

    try:
        content = loadmat(path, variable_names=["X", "y"])
    except Exception as error:  # damaged files raise whatever the reader stumbles over
        raise DataError(
            f"{path}: cannot be read as a MATLAB file ({error or type(error).__name__}); fetch the file again"
        ) from error
    if "X" not in content or "y" not in content:
        raise DataError(f"{path}: expected the variables X and y; this is not one of SVHN's 32x32 files")
    pixels, labels = np.asarray(content["X"]), np.asarray(content["y"]).astype(np.int64).ravel()
    if pixels.dtype != np.uint8 or pixels.ndim != 4 or pixels.shape[2] != 3:
        raise DataError(
            f"{path}: X holds {pixels.dtype} values of shape {pixels.shape}, expected uint8 of shape (32, 32, 3, N); "
            "this is not one of SVHN's 32x32 files"
        )
    if labels.size and (labels.min() < 1 or labels.max() > LABEL_OF_ZERO):
        raise DataError(
            f"{path}: y holds labels {labels.min()} to {labels.max()}, expected 1 to 10 (10 for the digit 0); "
            "fetch the file as it is distributed"
        )
    return np.ascontiguousarray(pixels.transpose(3, 2, 0, 1)), labels % LABEL_OF_ZERO
