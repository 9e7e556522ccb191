"""Published numbers: a paper's tables as it prints them, each a CSV file, beside one card with the paper's settings and slips."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

from harness.catalogue import BrokenCardError, PrintedSetting
from harness.errors import SpecError, UsageError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from harness.catalogue import Catalogue, CorrectorCard, PaperCard

Figure = Literal[
    "rate",
    "source_size",
    "source",
    "train",
    "valid",
    "test",
    "delta",
    "clean",
    "autoattack",
    "loss_target",
    "loss_source",
    "size",
]
FIGURES: tuple[Figure, ...] = get_args(Figure)
"""What a table can print, in the order of ours: in percent (``rate``: of the wrong, ``source_size``: of the training set), but
for the mean cross-entropy over ``T`` and ``T'`` in nats and the ``size`` in MB of 2**20 bytes."""
Unit = Literal["percent", "nats", "MB"]
UNITS: Mapping[Figure, Unit] = {"loss_target": "nats", "loss_source": "nats", "size": "MB"}
"""The figures that are no percentages."""

NAMES = ("model", "approach", "attack", "dataset", "note")
COUNTS = ("corrected", "wrong", "wrong_meant", "source_size")


@dataclass(frozen=True)
class Printed:
    """A number as it is printed, in the unit of its figure, with its std where there is one."""

    mean: float
    std: float | None = None


@dataclass(frozen=True, kw_only=True)
class PublishedRow:
    """One row for one data set, as printed.

    ``attack`` is None for a baseline. ``wrong_meant`` stands where the printed ``wrong`` is a slip; ``note`` says so.
    """

    model: str
    dataset: str
    approach: str
    attack: str | None
    figures: Mapping[Figure, Printed]
    corrected: int | None = None
    wrong: int | None = None
    wrong_meant: int | None = None
    source_size: int | None = None
    note: str = ""

    @property
    def label(self) -> str:
        """What the paper calls the row: ``BL-IST, LL``."""
        return ", ".join(filter(None, (self.approach, self.attack)))


@dataclass(frozen=True, kw_only=True)
class PublishedTable:
    """A table with its paper's card, the settings that hold for it, and what is known to be wrong with it.

    ``presets`` are the cards of the correctors that its rows name, by our names.
    """

    name: str
    title: str
    paper: PaperCard
    presets: Mapping[str, CorrectorCard]
    rows: tuple[PublishedRow, ...]
    settings: tuple[PrintedSetting, ...]
    slips: tuple[str, ...]

    @property
    def figures(self) -> tuple[Figure, ...]:
        """The figures that some row has."""
        return tuple(name for name in FIGURES if any(name in row.figures for row in self.rows))

    @property
    def pairs(self) -> tuple[tuple[str, str], ...]:
        """Every (model, data set) of the table, in its order."""
        return tuple(dict.fromkeys((row.model, row.dataset) for row in self.rows))

    def rows_of(self, model: str, dataset: str) -> tuple[PublishedRow, ...]:
        """Return the rows of one model on one data set."""
        return tuple(row for row in self.rows if (row.model, row.dataset) == (model, dataset))


def table_names(catalogue: Catalogue) -> dict[str, str]:
    """Return the published tables, each with the card of its paper."""
    cards = {card: catalogue.paper(card) for card in catalogue.paths("published")}
    return {table: card for card, paper in cards.items() for table in paper.tables}


def read_published(name: str, catalogue: Catalogue) -> PublishedTable:
    """Read a published table.

    Raises ``UsageError`` with the nearest name where there is none, ``BrokenCardError`` where its files do not fit.
    """
    known = table_names(catalogue)
    if name not in known:
        expected = f"expected one of {', '.join(known)}" if known else "no table is installed"
        raise UsageError(f'--published: unknown table "{name}"{did_you_mean(name, known) or ";"} {expected}')
    paper = catalogue.paper(known[name])
    card = paper.tables[name]
    settings = {setting.key: setting for setting in (*paper.settings, *card.settings)}
    path = catalogue.paths("published")[known[name]].with_name(f"{name}.csv")
    total = settings["counts.train"].value if "counts.train" in settings else None
    rows = tuple(_read_rows(path, paper, total if isinstance(total, int) else None))
    return PublishedTable(
        name=name,
        title=card.title,
        paper=paper,
        presets=_presets(rows, known[name], catalogue),
        rows=rows,
        settings=tuple(settings.values()),
        slips=card.slips,
    )


def _presets(rows: tuple[PublishedRow, ...], card: str, catalogue: Catalogue) -> dict[str, CorrectorCard]:
    correctors = catalogue.paper(card).correctors
    try:
        return {
            name: catalogue.corrector(name) for name in {correctors[row.attack]: None for row in rows if row.attack}
        }
    except SpecError as error:
        raise BrokenCardError(f"{catalogue.paths('published')[card]}: correctors: {error}") from error


def _read_rows(path: Path, paper: PaperCard, total: int | None) -> list[PublishedRow]:
    try:
        with path.open(encoding="utf-8", newline="") as file:
            reader = csv.DictReader(file)
            columns = list(reader.fieldnames or [])
            lines = [(reader.line_num, line) for line in reader]
    except OSError as error:
        raise BrokenCardError(f"{path}: {error.strerror}; the card of its paper names this table") from error
    allowed = {*NAMES, *COUNTS, *FIGURES, *(f"{figure}_std" for figure in FIGURES)}
    for column in columns:
        if column not in allowed:
            raise BrokenCardError(f'{path}:1: unknown column "{column}"{did_you_mean(column, allowed)}')
    return [_row(f"{path}:{number}", line, paper, total) for number, line in lines]


def _row(where: str, line: dict[str, Any], paper: PaperCard, total: int | None) -> PublishedRow:
    for column, known in (("model", paper.models), ("approach", paper.approaches), ("attack", paper.correctors)):
        written = line.get(column) or ""
        if written not in known and (written or column != "attack"):
            raise BrokenCardError(f'{where}: {column} "{written}"{did_you_mean(written, known)} is not in the card')
    if not line.get("attack") and paper.approaches[line["approach"]] not in {"baseline", "quantized baseline"}:
        expected = f"expected one of {', '.join(paper.correctors)}"
        raise BrokenCardError(f'{where}: attack is empty, and "{line["approach"]}" is no baseline; {expected}')
    numbers = {column: _number(where, column, line.get(column)) for column in line if column not in NAMES}
    counts = {column: None if (count := numbers.get(column)) is None else int(count) for column in COUNTS}
    figures = {
        figure: Printed(mean, numbers.get(f"{figure}_std"))
        for figure in FIGURES
        if figure not in {"rate", "source_size"} and (mean := numbers.get(figure)) is not None
    }
    return PublishedRow(
        model=line["model"],
        dataset=line["dataset"],
        approach=line["approach"],
        attack=line["attack"] or None,
        figures={**_shares(counts, total), **figures},
        note=line["note"],
        **counts,
    )


def _shares(counts: Mapping[str, int | None], total: int | None) -> dict[Figure, Printed]:
    shares: dict[Figure, Printed] = {}
    wrong = counts["wrong_meant"] or counts["wrong"]
    if counts["corrected"] is not None and wrong:
        shares["rate"] = Printed(100 * counts["corrected"] / wrong)
    if counts["source_size"] is not None and total:
        shares["source_size"] = Printed(100 * counts["source_size"] / total)
    return shares


def _number(where: str, column: str, written: str | None) -> float | None:
    if not written:
        return None
    try:
        return float(written)
    except ValueError as error:
        raise BrokenCardError(f'{where}: {column}: got "{written}", expected a number') from error
