"""The figures of a results folder: picture, table and record of each, under ``figures/``.

``<name>--<model>--seed<k>`` with ``.png``, ``.svg``, ``.csv`` (what is plotted) and ``.json`` (caption, numbers, how it was made;
or why there is none).
"""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, ValidationError

from harness.records import SCHEMA_VERSION, Frozen, dump
from harness.store import atomic_write

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

FOLDER = "figures"
SUFFIXES = (".png", ".svg", ".csv", ".json")


class DrawingName(Frozen):
    """Which figure of which classifier, for which seed; ``stem`` is what its files are called."""

    figure: str
    model: str
    seed: int
    stem: str

    @property
    def title(self) -> str:
        """What a person reads."""
        return f"{self.figure} · {self.model} · seed {self.seed}"


class DrawingRecord(Frozen):
    """How a figure was made and what it says; ``failure`` is why there is none, None where there is one."""

    schema_version: Literal[1] = SCHEMA_VERSION
    experiment: str
    key: str
    name: DrawingName
    plugin: str
    options: dict[str, Any]
    correctors: list[str]
    dataset: str
    dpi: int
    caption: str = ""
    numbers: dict[str, float] = Field(default_factory=dict)
    flags: list[str] = Field(default_factory=list)
    versions: dict[str, str] = Field(default_factory=dict)
    failure: str | None = None


def write_drawing(
    results: Path, record: DrawingRecord, pictures: Mapping[str, bytes], table: Sequence[Sequence[object]]
) -> None:
    """Write a figure's files, the record last, so that one with a record is whole.

    ``pictures`` are by suffix; the first row of ``table`` names its columns.
    """
    folder, stem = results / FOLDER, record.name.stem
    for suffix, data in pictures.items():
        atomic_write(folder / f"{stem}{suffix}", data)
    atomic_write(folder / f"{stem}.csv", _csv(table).encode())
    atomic_write(folder / f"{stem}.json", dump(record).encode())


def write_failed_drawing(results: Path, record: DrawingRecord) -> None:
    """Write why there is no figure; an earlier picture of that name would belong to something else, and is removed."""
    for suffix in SUFFIXES:
        (results / FOLDER / f"{record.name.stem}{suffix}").unlink(missing_ok=True)
    atomic_write(results / FOLDER / f"{record.name.stem}.json", dump(record).encode())


def is_drawn(results: Path, stem: str, key: str) -> bool:
    """Whether a figure's files are there, and are those of the key."""
    files = [results / FOLDER / f"{stem}{suffix}" for suffix in SUFFIXES]
    record = _read(files[-1])
    return record is not None and record.key == key and record.failure is None and all(file.is_file() for file in files)


def read_drawings(results: Path) -> list[DrawingRecord]:
    """Read the records of a folder's figures, by name; what is no such record is left out."""
    records = (_read(path) for path in sorted((results / FOLDER).glob("*.json")))
    return [record for record in records if record is not None]


def picture_of(results: Path, record: DrawingRecord) -> bytes | None:
    """Return the PNG, None where it is missing."""
    path = results / FOLDER / f"{record.name.stem}.png"
    return path.read_bytes() if record.failure is None and path.is_file() else None


def _read(path: Path) -> DrawingRecord | None:
    try:
        return DrawingRecord.model_validate_json(path.read_bytes())
    except (OSError, ValidationError):
        return None


def _csv(table: Sequence[Sequence[object]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(table)
    return text.getvalue()
