"""One's own images, laid out as ``train/<class>/*`` and ``test/<class>/*``."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import Field

from harness.api import DataError, DatasetProvider, ImageData, Options

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".ppm", ".pgm", ".tif", ".tiff")
SPLITS = ("train", "test")
LAYOUT = "train/<class>/<image> and test/<class>/<image>"


class ImageFolderOptions(Options):
    """Where the images are and what they are brought to."""

    root: Path = Field(description="Folder that holds train/<class>/* and test/<class>/*.")
    image_size: int | None = Field(
        default=None,
        gt=0,
        description="Resize the shorter side to this many pixels and crop the center to a square; "
        "without it, all images must have one size.",
    )
    channels: Literal[1, 3] = Field(default=3, description="3 reads every image as RGB, 1 as gray.")


@dataclass(frozen=True)
class ImageFile:
    """An image file found: its split, class and name, its size in bytes and the nanosecond of its last change."""

    split: str
    class_name: str
    name: str
    size: int
    mtime_ns: int

    @property
    def relative_path(self) -> str:
        """The path under the root, with forward slashes."""
        return f"{self.split}/{self.class_name}/{self.name}"


class ImageFolder(DatasetProvider[ImageFolderOptions]):
    """A folder of image files; classes are its subfolders' names, sorted, and images are sorted by class, then name.

    Hidden files and files of other kinds are ignored. Transparency is dropped; of several frames the first is read.
    """

    def load(self) -> ImageData:
        """Decode the images. Raises ``DataError`` that names what is missing, unreadable or of another size."""
        import numpy as np

        from harness_datasets.decoding import decode_images

        root = self.options.root.expanduser()
        files = scan(root)
        classes = tuple(sorted({file.class_name for file in files}))
        number = {name: index for index, name in enumerate(classes)}
        labels = np.array([number[file.class_name] for file in files], np.int64)
        # both splits at once, so that one message tells of all that cannot be read
        images = decode_images(
            [root / file.relative_path for file in files],
            channels=self.options.channels,
            image_size=self.options.image_size,
            empty=self.empty,
        )
        train = sum(file.split == "train" for file in files)
        return ImageData(images[:train], labels[:train], images[train:], labels[train:], classes)

    def listing(self) -> dict[str, str | int]:
        """Return the folder, the number of image files and a sha256 of their names, sizes and times of change."""
        root = self.options.root.expanduser()
        files = scan(root)
        entries = [[file.relative_path, file.size, file.mtime_ns] for file in files]
        digest = hashlib.sha256(json.dumps(entries).encode()).hexdigest()
        return {"root": str(root.resolve()), "files": len(files), "sha256": digest}


def scan(root: Path) -> list[ImageFile]:
    """List the image files under ``root``: training before test, by class, then by name.

    Raises ``DataError`` for a folder or split that is missing, classes without images, and classes of one split alone.
    """
    root = root.expanduser()
    if not root.is_dir():
        found = "a file" if root.exists() else "nothing there"
        raise DataError(f'{root}: got {found}, expected a folder with {LAYOUT}; correct the option "root"')
    absent = [split for split in SPLITS if not (root / split).is_dir()]
    if absent:
        got = ", ".join(entry.name + "/" * entry.is_dir() for entry in _visible(root)[:NAMED_AT_MOST]) or "nothing"
        raise DataError(
            f"{root}: has no folder {' and no folder '.join(f'{split}/' for split in absent)} (got {got}); "
            f"expected {LAYOUT}; make both, the test split from images that the training split does not hold"
        )
    class_names = {split: _class_names(root / split) for split in SPLITS}
    _check_agreement(root, set(class_names["train"]), set(class_names["test"]))
    return [file for split in SPLITS for name in class_names[split] for file in _class_files(root, split, name)]


NAMED_AT_MOST = 5


def _visible(folder: Path) -> list[os.DirEntry[str]]:
    with os.scandir(folder) as entries:
        return sorted((entry for entry in entries if not entry.name.startswith(".")), key=lambda entry: entry.name)


def _class_names(folder: Path) -> list[str]:
    entries = _visible(folder)
    names = [entry.name for entry in entries if entry.is_dir()]
    if not names:
        images = sum(_is_image(entry.name) for entry in entries)
        got = f"{images} images beside one another" if images else "nothing of the kind"
        raise DataError(
            f"{folder}: got {got}, expected a folder for each class with its images in it; "
            f"arrange them as {folder.name}/<class>/<image>"
        )
    return names


def _check_agreement(root: Path, train: set[str], test: set[str]) -> None:
    differences = [
        f"only {split}/ has {', '.join(sorted(names)[:NAMED_AT_MOST])}"
        + (f" and {len(names) - NAMED_AT_MOST} more" if len(names) > NAMED_AT_MOST else "")
        for split, names in (("train", train - test), ("test", test - train))
        if names
    ]
    if differences:
        raise DataError(
            f"{root}: the classes differ: {'; '.join(differences)}; expected the same class folders in train/ and test/; "
            "rename, add or remove folders"
        )


def _class_files(root: Path, split: str, class_name: str) -> list[ImageFile]:
    folder = root / split / class_name
    entries = _visible(folder)
    inner = [entry.name for entry in entries if entry.is_dir()]
    if inner:
        raise DataError(
            f"{folder}: got a folder {inner[0]}/ in it, expected images alone; move its images up to {folder}, or remove it"
        )
    images = [entry for entry in entries if _is_image(entry.name)]
    if not images:
        got = f"{len(entries)} files of other kinds ({entries[0].name} …)" if entries else "an empty folder"
        raise DataError(
            f"{folder}: got {got}, expected images ({', '.join(suffix[1:] for suffix in SUFFIXES)}); "
            "add images, or remove the class from train/ and test/"
        )
    return [_image_file(entry, split, class_name) for entry in images]


def _image_file(entry: os.DirEntry[str], split: str, class_name: str) -> ImageFile:
    try:
        stat = entry.stat()
    except OSError as error:
        raise DataError(
            f"{entry.path}: cannot be read ({error.strerror}); it may be a link to nothing: replace or remove it"
        ) from error
    return ImageFile(split, class_name, entry.name, stat.st_size, stat.st_mtime_ns)


def _is_image(name: str) -> bool:
    return name.lower().endswith(SUFFIXES)
