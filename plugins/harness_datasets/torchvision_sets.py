"""CIFAR-10, CIFAR-100, Fashion-MNIST, MNIST and SVHN, from local files or by torchvision's downloader."""

from __future__ import annotations

from abc import abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from harness.api import DataError, DatasetProvider, ImageData, Options
from harness_datasets.cifar_layouts import CIFAR10, CIFAR100, CifarLayout
from harness_datasets.sources import NEXT_STEP, RemoteFile, download, fetching, place_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np


class TorchvisionOptions(Options):
    """Where the files are, and whether they may be fetched."""

    root: Path | None = Field(
        default=None,
        description="Folder that holds the files as distributed; else the environment variable HARNESS_DATA "
        "names it, else it is ~/.cache/adcorda-harness/data.",
    )
    download: bool = Field(default=True, description="Fetch files that are found nowhere.")


class TorchvisionSet(DatasetProvider[TorchvisionOptions]):
    """A data set of a few files. Files found locally are read as they are: subsets are welcome."""

    name: ClassVar[str]
    expected: ClassVar[str]
    remote: ClassVar[Mapping[str, RemoteFile]]
    subfolders: ClassVar[tuple[str, ...]] = ()

    @abstractmethod
    def read(self, found: Mapping[str, Path]) -> ImageData:
        """Read the files, by the names that ``find`` gives them."""

    def find(self, folder: Path) -> dict[str, Path]:
        """Return those of the files that lie in ``folder``, unpacked or as distributed."""
        candidates = ((name, folder / file) for name, remote in self.remote.items() for file in (remote.name, name))
        return {name: path for name, path in candidates if path.is_file()}

    def missing(self, found: Mapping[str, Path]) -> list[str]:
        """Name the files that are wanting beside ``found``."""
        return [name for name in self.remote if name not in found]

    def load(self) -> ImageData:
        """Read the local files, after fetching those that are found nowhere, if that is allowed."""
        return self.read(self._complete())

    def listing(self) -> list[list[str | int]] | None:
        """Return each file's path, size and time of change; None where some have yet to be fetched."""
        found, _ = self._search()
        if self.missing(found):
            return None
        stats = [(path.resolve(), path.stat()) for path in found.values()]
        return [[str(path), stat.st_size, stat.st_mtime_ns] for path, stat in stats]

    def _search(self) -> tuple[dict[str, Path], Path]:
        """Return the files of the first folder that has all, else of the first that has some, and that folder."""
        place = place_of(self.name, self.options.root, self.subfolders)
        finds = [(found, folder) for folder in place.folders if (found := self.find(folder))]
        complete = [find for find in finds if not self.missing(find[0])]
        return next(iter(complete or finds), ({}, place.download_folder))

    def _complete(self) -> dict[str, Path]:
        found, folder = self._search()
        missing = self.missing(found)
        if not missing:
            return found
        files = [self.remote[name] for name in missing if name in self.remote]
        if len(files) < len(missing):
            raise DataError(
                f"{self.name}: {folder} lacks {', '.join(missing)}; expected {self.expected}. "
                f"Unpack the archive again, or {NEXT_STEP}"
            )
        if not self.options.download:
            raise DataError(
                f"{self.name}: {folder} lacks {', '.join(file.name for file in files)}, and downloading is off; "
                f'expected {self.expected}. {fetching(files, folder)}; or {NEXT_STEP}; or set "download" to true'
            )
        download(files, folder, self.name)
        return {**found, **self.find(folder)}


class Cifar(TorchvisionSet):
    """A CIFAR: its archive, or the folder extracted from it."""

    layout: ClassVar[CifarLayout]

    def find(self, folder: Path) -> dict[str, Path]:
        """Return the extracted files where all are there, else the archive, else what there is of the files."""
        layout = self.layout
        extracted = self._extracted(folder / layout.folder)
        if folder.name == layout.folder or not self.missing(self._extracted(folder)):
            extracted = extracted or self._extracted(folder)
        archive = folder / layout.archive
        if archive.is_file() and self.missing(extracted):
            return {layout.archive: archive}
        return extracted

    def missing(self, found: Mapping[str, Path]) -> list[str]:
        """Name the archive where nothing was found, else the files that the extracted folder lacks."""
        if not found:
            return [self.layout.archive]
        return [] if self.layout.archive in found else [name for name in self.layout.files if name not in found]

    def read(self, found: Mapping[str, Path]) -> ImageData:
        """Read the archive or the extracted files."""
        from harness_datasets.cifar_files import read_cifar

        return read_cifar(found, self.layout)

    def _extracted(self, folder: Path) -> dict[str, Path]:
        return {name: folder / name for name in self.layout.files if (folder / name).is_file()}


class Cifar10(Cifar):
    """CIFAR-10: 50,000 + 10,000 color images (3, 32, 32) of 10 classes (Krizhevsky, 2009)."""

    name = "cifar10"
    expected = "cifar-10-python.tar.gz or the folder cifar-10-batches-py"
    layout = CIFAR10
    remote: ClassVar[Mapping[str, RemoteFile]] = {
        CIFAR10.archive: RemoteFile(
            CIFAR10.archive,
            "c58f30108f718f92721af3b95e74349a",
            ("https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz",),
        )
    }


class Cifar100(Cifar):
    """CIFAR-100: 50,000 + 10,000 color images (3, 32, 32), with the 100 fine labels (Krizhevsky, 2009)."""

    name = "cifar100"
    expected = "cifar-100-python.tar.gz or the folder cifar-100-python"
    layout = CIFAR100
    remote: ClassVar[Mapping[str, RemoteFile]] = {
        CIFAR100.archive: RemoteFile(
            CIFAR100.archive,
            "eb9058c3a382ffc7106e4002c42a8d85",
            ("https://www.cs.toronto.edu/~kriz/cifar-100-python.tar.gz",),
        )
    }


TRAIN_IMAGES, TRAIN_LABELS = "train-images-idx3-ubyte", "train-labels-idx1-ubyte"
TEST_IMAGES, TEST_LABELS = "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"

# MNIST and Fashion-MNIST name their files alike; the published training labels begin with these
FIRST_LABELS = {"mnist": (5, 0, 4, 1, 9, 2, 1, 3, 1, 4), "fashion-mnist": (9, 0, 0, 3, 0, 2, 7, 2, 5, 5)}


class MnistLike(TorchvisionSet):
    """A data set in MNIST's four files, gzipped or unpacked."""

    classes: ClassVar[tuple[str, ...]]

    def read(self, found: Mapping[str, Path]) -> ImageData:
        """Read the four idx files. Raises ``DataError`` where they are damaged, do not agree or are a namesake's."""
        from harness_datasets.checks import check_same_shape

        train_images, train_labels = self._read_split(found[TRAIN_IMAGES], found[TRAIN_LABELS])
        test_images, test_labels = self._read_split(found[TEST_IMAGES], found[TEST_LABELS])
        check_same_shape(train_images, test_images, where=f"{self.name}: {found[TRAIN_IMAGES].parent}")
        for name, first in FIRST_LABELS.items():
            if name != self.name and tuple(train_labels[: len(first)].tolist()) == first:
                raise DataError(
                    f"{self.name}: {found[TRAIN_LABELS]} holds the labels of {name}, whose files have the same names; "
                    f"keep each data set in a folder of its own name, or {NEXT_STEP}"
                )
        return ImageData(train_images, train_labels, test_images, test_labels, self.classes)

    def _read_split(self, images_path: Path, labels_path: Path) -> tuple[np.ndarray, np.ndarray]:
        import numpy as np

        from harness_datasets.checks import check_split
        from harness_datasets.idx import read_idx

        images, labels = read_idx(images_path, dims=3)[:, None], read_idx(labels_path, dims=1).astype(np.int64)
        check_split(images, labels, num_classes=len(self.classes), where=f"{images_path} and {labels_path.name}")
        return images, labels


def _gzipped(urls: tuple[str, ...], md5_of: Mapping[str, str]) -> dict[str, RemoteFile]:
    return {
        name: RemoteFile(f"{name}.gz", md5, tuple(f"{url}{name}.gz" for url in urls)) for name, md5 in md5_of.items()
    }


class Mnist(MnistLike):
    """MNIST: 60,000 + 10,000 gray handwritten digits (1, 28, 28) (LeCun, Bottou, Bengio and Haffner, 1998)."""

    name = "mnist"
    expected = "the four *-ubyte.gz files or their unpacked *-ubyte, in the folder itself or in MNIST/raw"
    subfolders = ("MNIST/raw",)
    classes = tuple("0123456789")
    remote: ClassVar[Mapping[str, RemoteFile]] = _gzipped(
        ("https://ossci-datasets.s3.amazonaws.com/mnist/", "http://yann.lecun.com/exdb/mnist/"),
        {
            TRAIN_IMAGES: "f68b3c2dcbeaaa9fbdd348bbdeb94873",
            TRAIN_LABELS: "d53e105ee54ea40749a09fcbcd1e9432",
            TEST_IMAGES: "9fb629c4189551a2d022fa330f9573f3",
            TEST_LABELS: "ec29112dd5afa0611ce80d1b7f02629c",
        },
    )


class FashionMnist(MnistLike):
    """Fashion-MNIST: 60,000 + 10,000 gray images (1, 28, 28) of 10 kinds of clothing (Xiao et al., 2017, arXiv:1708.07747)."""

    name = "fashion-mnist"
    expected = "the four *-ubyte.gz files or their unpacked *-ubyte, in the folder itself or in FashionMNIST/raw"
    subfolders = ("FashionMNIST/raw",)
    classes = (
        "T-shirt/top",
        "Trouser",
        "Pullover",
        "Dress",
        "Coat",
        "Sandal",
        "Shirt",
        "Sneaker",
        "Bag",
        "Ankle boot",
    )
    remote: ClassVar[Mapping[str, RemoteFile]] = _gzipped(
        ("http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",),
        {
            TRAIN_IMAGES: "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
            TRAIN_LABELS: "25c81989df183df01b3e8a0aad5dffbe",
            TEST_IMAGES: "bef4ecab320f06d8554ea6380940ec79",
            TEST_LABELS: "bb300cfdad3c16e7a12a480ee83cd310",
        },
    )


class Svhn(TorchvisionSet):
    """SVHN: 73,257 + 26,032 color house-number digits (3, 32, 32), cropped (Netzer et al., 2011)."""

    name = "svhn"
    expected = "train_32x32.mat and test_32x32.mat"
    remote: ClassVar[Mapping[str, RemoteFile]] = {
        file: RemoteFile(file, md5, (f"http://ufldl.stanford.edu/housenumbers/{file}",))
        for file, md5 in (
            ("train_32x32.mat", "e26dedcc434d2e4c54c9b2d4a06d8373"),
            ("test_32x32.mat", "eb5a983be6a315427106f1b164d9cef3"),
        )
    }

    def read(self, found: Mapping[str, Path]) -> ImageData:
        """Read the two MATLAB files; labels are the digits. Raises ``DataError`` where they are damaged or do not agree."""
        from harness_datasets.checks import check_same_shape, check_split
        from harness_datasets.svhn_files import read_svhn

        splits = [read_svhn(path) for path in found.values()]
        for path, (images, labels) in zip(found.values(), splits, strict=True):
            check_split(images, labels, num_classes=10, where=str(path))
        (train_images, train_labels), (test_images, test_labels) = splits
        check_same_shape(train_images, test_images, where=f"{self.name}: {next(iter(found.values())).parent}")
        return ImageData(train_images, train_labels, test_images, test_labels, tuple("0123456789"))
