"""Handwritten digits, 8x8 and gray, that scikit-learn carries (Alpaydin and Kaynak, 1998, UCI optdigits)."""

from __future__ import annotations

from harness.api import DatasetProvider, ImageData, NoOptions

# The data come without an official split, so this one is ours. It is fixed: a spec's seed must not move the test set.
TEST_SHARE = 0.2
SPLIT_SEED = 0

LARGEST_VALUE = 16


class Digits(DatasetProvider[NoOptions]):
    """1,797 digits (1, 8, 8), split 80/20 by class with seed 0: our choice, for there is no official test set."""

    def load(self) -> ImageData:
        """Return 1,437 training and 360 test images; the values 0..16 are spread over 0..255 and rounded."""
        import numpy as np
        from sklearn.datasets import load_digits
        from sklearn.model_selection import train_test_split

        digits = load_digits()
        images = np.rint(digits.images * (255 / LARGEST_VALUE)).astype(np.uint8)[:, None]
        labels = digits.target.astype(np.int64)
        train, test = train_test_split(
            np.arange(len(labels)), test_size=TEST_SHARE, stratify=labels, random_state=SPLIT_SEED
        )
        # sorted, so that images keep the order that their source gives them
        train, test = np.sort(train), np.sort(test)
        classes = tuple(str(digit) for digit in digits.target_names)
        return ImageData(images[train], labels[train], images[test], labels[test], classes)

    def listing(self) -> object:
        """Return scikit-learn's and numpy's versions: they carry the images and make the split."""
        from importlib.metadata import version

        return {package: version(package) for package in ("scikit-learn", "numpy")}
