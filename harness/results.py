"""An experiment's results folder: which one is meant, and the records in it. What the commands that read results share."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.errors import UsageError
from harness.records import read_failures, read_records

if TYPE_CHECKING:
    from pathlib import Path

    from harness.records import CellFailure, CellRecord

RECORDS = "records"


def results_folder(named: Path) -> Path:
    """Return the results folder that a user names, be it by the folder of its records: nothing else may be written in there."""
    if named.resolve().name != RECORDS or (named / RECORDS).is_dir():
        return named
    return named.parent if named.name == RECORDS else named.resolve().parent


def experiment_name(named: Path) -> str:
    """Return what the results in a folder are called."""
    return results_folder(named).resolve().name


def records_in(named: Path) -> list[CellRecord]:
    """Read a folder's records. Raises ``UsageError`` where there are none."""
    records = read_records(results_folder(named) / RECORDS)
    if not records:
        raise _nothing(named)
    return records


def cells_in(named: Path) -> tuple[list[CellRecord], list[CellFailure]]:
    """Read a folder's records and failures. Raises ``UsageError`` where there is neither."""
    folder = results_folder(named)
    records, failures = read_records(folder / RECORDS), read_failures(folder / "failures")
    if not records and not failures:
        raise _nothing(named)
    return records, failures


def _nothing(named: Path) -> UsageError:
    what = "holds no records" if named.is_dir() else "is no folder"
    return UsageError(f'{named}: {what}; expected a results folder such as results/digits-demo, made by "harness run"')
