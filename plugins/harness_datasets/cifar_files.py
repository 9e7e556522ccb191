"""CIFAR's pickled batches (Krizhevsky, 2009), from the extracted folder or straight from the archive.

They are read without torchvision, whose reader refuses every file that is not the published one to the byte, such as a
subset; and with an unpickler that can build arrays, lists and strings and call nothing else.
"""

from __future__ import annotations

import pickle
import tarfile
from pathlib import PurePosixPath
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from harness.api import DataError, ImageData
from harness_datasets.checks import check_split

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from harness_datasets.cifar_layouts import CifarLayout

IMAGE_SHAPE = (3, 32, 32)


def read_cifar(found: Mapping[str, Path], layout: CifarLayout) -> ImageData:
    """Read a CIFAR from its archive alone or from all of its files, by name.

    Raises ``DataError`` for what cannot be read, is missing in the archive or does not fit.
    """
    where = str(found[layout.archive] if layout.archive in found else found[layout.meta].parent)
    entries = dict(_archived(found[layout.archive], layout) if layout.archive in found else _extracted(found))
    missing = [name for name in layout.files if name not in entries]
    if missing:
        raise DataError(
            f"{where}: got no {', '.join(missing)} in {layout.folder}, expected {', '.join(layout.files)}; "
            "fetch the archive again"
        )
    train_images, train_labels = _split(entries, layout.train, layout, where)
    test_images, test_labels = _split(entries, (layout.test,), layout, where)
    classes = tuple(_text(name) for name in _entry(entries, layout.meta, layout.classes_key, where))
    if len(classes) != layout.num_classes:
        raise DataError(
            f"{where}: {layout.meta} names {len(classes)} classes, expected {layout.num_classes}; "
            "this looks like another data set's folder"
        )
    return ImageData(train_images, train_labels, test_images, test_labels, classes)


def _archived(path: Path, layout: CifarLayout) -> Iterator[tuple[str, dict[str, Any]]]:
    try:
        # as a stream: going back in a gzipped file means to unpack it again from its start
        with tarfile.open(path, "r|*") as archive:
            for member in archive:
                name = PurePosixPath(member.name)
                if member.isfile() and name.parent.name == layout.folder and name.name in layout.files:
                    content = archive.extractfile(member)
                    if content is not None:
                        yield name.name, _unpickled(content, f"{path}: {member.name}")
    except (tarfile.TarError, EOFError, OSError) as error:
        raise DataError(f"{path}: the archive cannot be read ({error}); fetch it again") from error


def _extracted(found: Mapping[str, Path]) -> Iterator[tuple[str, dict[str, Any]]]:
    for name, path in found.items():
        try:
            content = path.open("rb")
        except OSError as error:
            raise DataError(f"{path}: the file cannot be read ({error.strerror}); fetch the archive again") from error
        with content:
            yield name, _unpickled(content, str(path))


def _split(
    entries: Mapping[str, dict[str, Any]], names: Sequence[str], layout: CifarLayout, where: str
) -> tuple[np.ndarray, np.ndarray]:
    images, labels = [], []
    for name in names:
        pixels = np.asarray(_entry(entries, name, "data", where))
        if pixels.dtype != np.uint8 or pixels.ndim != 2 or pixels.shape[1] != np.prod(IMAGE_SHAPE):
            raise DataError(
                f"{where}: {name} holds {pixels.dtype} data of shape {pixels.shape}, expected uint8 of shape (N, 3072); "
                "fetch the archive again"
            )
        batch_labels = np.asarray(_entry(entries, name, layout.labels_key, where), np.int64)
        batch_images = pixels.reshape(-1, *IMAGE_SHAPE)
        check_split(batch_images, batch_labels, num_classes=layout.num_classes, where=f"{where}: {name}")
        images.append(batch_images)
        labels.append(batch_labels)
    return np.concatenate(images), np.concatenate(labels)


def _entry(entries: Mapping[str, dict[str, Any]], name: str, key: str, where: str) -> Any:
    if key not in entries[name]:
        raise DataError(
            f'{where}: {name} has the entries {sorted(entries[name])}, expected "{key}" among them; '
            "this looks like another data set's folder"
        )
    return entries[name][key]


def _unpickled(content: IO[bytes], where: str) -> dict[str, Any]:
    try:
        value = _CifarUnpickler(content, encoding="latin1").load()
    except Exception as error:  # damaged pickles raise whatever the opcode at hand raises
        raise DataError(
            f"{where}: cannot be read as one of CIFAR's files ({error or type(error).__name__}); fetch the archive again"
        ) from error
    if not isinstance(value, dict):
        raise DataError(f"{where}: got a {type(value).__name__}, expected a dictionary; fetch the archive again")
    return {_text(key): entry for key, entry in value.items()}


def _text(value: Any) -> str:
    return value.decode("latin1") if isinstance(value, bytes) else str(value)


class _CifarUnpickler(pickle.Unpickler):
    """Builds numpy arrays and plain values; refuses any other global by its name."""

    def find_class(self, module: str, name: str) -> Any:
        # numpy 2 renamed its core, and both names are found in files
        known = _GLOBALS.get((module.replace("numpy._core", "numpy.core"), name))
        if known is None:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which no CIFAR file needs")
        return known


def _dtype(kind: str, align: object = False, copy: object = False) -> np.dtype[Any]:  # noqa: FBT002 (pickle's call)
    # files written by Python 2 hold 0 and 1 here, which numpy 2.4.0 to 2.4.4 warn of
    return np.dtype(kind, align=bool(align), copy=bool(copy))


def _encode(text: str, encoding: str) -> bytes:
    # how Python 3 writes bytes in protocol 2; other codecs have no business here
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"it asks for the codec {encoding}, which no CIFAR file needs")
    return text.encode(encoding)


def _no_bytes() -> bytes:
    # how Python 3 writes empty bytes in protocol 2
    return b""


def _rebuilder(value: Any, protocol: int) -> Callable[..., Any]:
    # what numpy itself names for its pickles: the functions' homes differ between versions
    reduced: tuple[Callable[..., Any], ...] = value.__reduce_ex__(protocol)
    return reduced[0]


_GLOBALS: Mapping[tuple[str, str], Any] = {
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): _dtype,
    ("numpy.core.multiarray", "_reconstruct"): _rebuilder(np.zeros(1), 2),
    ("numpy.core.multiarray", "scalar"): _rebuilder(np.int64(0), 2),
    ("numpy.core.numeric", "_frombuffer"): _rebuilder(np.zeros(1), 5),
    ("_codecs", "encode"): _encode,
    ("__builtin__", "bytes"): _no_bytes,
}
