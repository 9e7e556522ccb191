"""How CIFAR-10 and CIFAR-100 are distributed for Python (Krizhevsky, 2009, https://www.cs.toronto.edu/~kriz/cifar.html)."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class CifarLayout:
    """Names of a CIFAR's folder, archive and batches, and of the entries to read in them."""

    folder: str
    archive: str
    train: tuple[str, ...]
    test: str
    meta: str
    labels_key: str
    classes_key: str
    num_classes: int

    @property
    def files(self) -> tuple[str, ...]:
        """The names of all the files that are read."""
        return (*self.train, self.test, self.meta)


CIFAR10 = CifarLayout(
    folder="cifar-10-batches-py",
    archive="cifar-10-python.tar.gz",
    train=("data_batch_1", "data_batch_2", "data_batch_3", "data_batch_4", "data_batch_5"),
    test="test_batch",
    meta="batches.meta",
    labels_key="labels",
    classes_key="label_names",
    num_classes=10,
)

CIFAR100 = CifarLayout(
    folder="cifar-100-python",
    archive="cifar-100-python.tar.gz",
    train=("train",),
    test="test",
    meta="meta",
    labels_key="fine_labels",
    classes_key="fine_label_names",
    num_classes=100,
)
