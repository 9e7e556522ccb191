"""Where a data set's files lie: a folder of the user's, ``HARNESS_DATA``, the cache; and how they get there."""

from __future__ import annotations

import os
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from harness.api import DataError

if TYPE_CHECKING:
    from collections.abc import Sequence

DATA_VARIABLE = "HARNESS_DATA"
NEXT_STEP = f'name a folder that holds the files by the option "root" or by {DATA_VARIABLE}'


@dataclass(frozen=True)
class RemoteFile:
    """A file as it is distributed: its name, md5 and addresses, the first of which is tried first."""

    name: str
    md5: str
    urls: tuple[str, ...]


@dataclass(frozen=True)
class Place:
    """Folders to search for a data set's files, and the one that downloads go to."""

    folders: tuple[Path, ...]
    download_folder: Path


def place_of(dataset: str, root: Path | None, subfolders: Sequence[str] = ()) -> Place:
    """Tell where to search: in ``root``, else in ``HARNESS_DATA``, else in the cache.

    In each, a folder of the data set's name comes before the folder itself, which may hold a namesake's files. Raises
    ``DataError`` for a folder that was named and is none.
    """
    variable = os.environ.get(DATA_VARIABLE)
    if root is not None:
        base = _existing(root, f'{dataset}: the option "root"')
        download_folder = base
    else:
        base = _existing(Path(variable), f"{dataset}: {DATA_VARIABLE}") if variable else _cache()
        download_folder = base / dataset
    folders = [home / name for home in (base / dataset, base) for name in ("", *subfolders)]
    return Place(tuple(folders), download_folder)


def download(files: Sequence[RemoteFile], folder: Path, dataset: str) -> None:
    """Fetch ``files`` into ``folder`` and check their md5; a file is there whole or not at all.

    Raises ``DataError`` that says what to fetch, from where, and where to put it.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(prefix=".download-", dir=folder) as partial:
            for file in files:
                _fetch(file, Path(partial))
                (Path(partial) / file.name).replace(folder / file.name)
    except _FETCH_ERRORS as error:
        raise DataError(
            f"{dataset}: the download into {folder} failed ({error}). {fetching(files, folder)}; or {NEXT_STEP}"
        ) from error


def fetching(files: Sequence[RemoteFile], folder: Path) -> str:
    """Say what to fetch by hand, from where, and where to put it."""
    urls = ", ".join(file.urls[0] for file in files)
    return f"Fetch {urls} and put {'it' if len(files) == 1 else 'them'} in {folder}"


# torchvision raises RuntimeError for a wrong md5 and passes on what urllib raises
_FETCH_ERRORS = (OSError, RuntimeError, HTTPException)


def _fetch(file: RemoteFile, folder: Path) -> None:
    from harness.api import import_torchvision

    download_url = import_torchvision().datasets.utils.download_url
    for url in file.urls[:-1]:
        try:
            download_url(url, folder, file.name, file.md5)
        except _FETCH_ERRORS:
            continue
        return
    download_url(file.urls[-1], folder, file.name, file.md5)


def _existing(folder: Path, what: str) -> Path:
    folder = folder.expanduser()
    if not folder.is_dir():
        found = "a file" if folder.exists() else "nothing there"
        raise DataError(f"{what} is {folder}: got {found}, expected a folder; create it or correct the path")
    return folder


def _cache() -> Path:
    return Path.home() / ".cache" / "adcorda-harness" / "data"
