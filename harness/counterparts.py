"""Which of our rows answers which row of a published table: by what a row is, not by what it is called."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.errors import UsageError, did_you_mean
from harness.leaderboard import build
from harness.rows import RowKey

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from harness.catalogue import Role
    from harness.published import PublishedRow, PublishedTable
    from harness.records import CellRecord

BySeed = dict[int, "CellRecord"]

QUANTIZED: frozenset[Role] = frozenset({"quantized baseline", "refined before quantizing", "refined and quantized"})


@dataclass(frozen=True, kw_only=True)
class Subject:
    """One of our classifiers on one data set with one budget, and its rows.

    ``name`` is what tables call it; ``model`` leaves the quantizer out. ``full_precision`` holds the rows of a quantized subject's
    counterpart where it was run too.
    """

    dataset: str
    name: str
    model: str
    rows: Mapping[RowKey, BySeed]
    full_precision: Mapping[RowKey, BySeed] | None = None

    @property
    def label(self) -> str:
        """Classifier and data set in a sentence."""
        return f"{self.name} on {self.dataset}"

    @property
    def records(self) -> list[CellRecord]:
        """All records of its rows."""
        return [record for row in self.rows.values() for record in row.values()]


@dataclass(frozen=True, kw_only=True)
class Counterpart:
    """The records of ours that answer a published row; ``before``: by their figures before quantizing."""

    key: RowKey
    records: BySeed
    before: bool = False


def subjects_of(records: Sequence[CellRecord], *, quantized: bool) -> list[Subject]:
    """Group records by subject: the quantized ones, or the others.

    Raises ``StoreError`` where records contradict each other.
    """
    build(records)
    groups: dict[str, list[CellRecord]] = {}
    for record in records:
        groups.setdefault(record.comparable.key, []).append(record)
    plain = [group for group in groups.values() if group[0].quantized is None]
    if not quantized:
        found = [_subject(group, group[0].comparable.model) for group in plain]
    else:
        found = [_quantized(group, plain) for group in groups.values() if group[0].quantized is not None]
    return sorted(found, key=lambda subject: (subject.dataset, subject.name))


def choose_adapter(subject: Subject, table: PublishedTable, asked: str | None) -> str | None:
    """Return the name of the adapter whose rows are compared: ``asked``, or the paper's; None where there is no row of it.

    Raises ``UsageError`` where several variants of the paper's adapter were run and none is called as it is.
    """
    run = {key.adapter: row for key, row in subject.rows.items() if key.is_method}
    if asked is not None:
        return asked if asked in run else None
    ours = [name for name, row in run.items() if _plugin(next(iter(row.values()))) == table.paper.adapter]
    if table.paper.adapter in ours:
        return table.paper.adapter
    if len(ours) > 1:
        raise UsageError(
            f"{subject.label}: has {', '.join(sorted(ours))}; say which one to compare with --adapter NAME"
        )
    return ours[0] if ours else None


def check_adapter(subjects: Iterable[Subject], asked: str | None) -> None:
    """Raise ``UsageError`` where ``asked`` is the name of no adapter of a method's row."""
    known = sorted({key.adapter for subject in subjects for key in subject.rows if key.is_method})
    if asked is not None and asked not in known:
        raise UsageError(
            f'--adapter: no row of "{asked}"{did_you_mean(asked, known) or ";"} expected one of {", ".join(known) or "none"}'
        )


def find(row: PublishedRow, subject: Subject, table: PublishedTable, adapter: str | None) -> Counterpart | None:
    """Return what answers a published row among a subject's rows, None where nothing does."""
    role = table.paper.approaches[row.approach]
    if role == "baseline" and any(record.quantized for record in subject.records):
        return _full_precision_baseline(subject)
    if role in {"baseline", "quantized baseline"}:
        return _first(subject.rows, [key for key in subject.rows if key.control == "none"])
    preset = table.paper.correctors[row.attack or "None"]
    keys = [key for key in subject.rows if key.is_method and key.adapter == adapter]
    chosen = (
        _keeping_all(preset, keys, subject) if role == "refined keeping all" else [k for k in keys if _is(preset, k)]
    )
    return _first(subject.rows, chosen, before=role == "refined before quantizing")


def _subject(group: Sequence[CellRecord], model: str, full_precision: Sequence[CellRecord] | None = None) -> Subject:
    comparable = group[0].comparable
    return Subject(
        dataset=comparable.dataset,
        name=comparable.model,
        model=model,
        rows=_rows(group),
        full_precision=None if full_precision is None else _rows(full_precision),
    )


def _quantized(group: Sequence[CellRecord], plain: Iterable[Sequence[CellRecord]]) -> Subject:
    """Make the subject of a quantized classifier, called after its full-precision counterpart and its quantizer."""
    ours = group[0].comparable
    counterparts = [
        other
        for other in plain
        if ours.model.startswith(f"{other[0].comparable.model} ")
        and (other[0].comparable.dataset, other[0].comparable.budget) == (ours.dataset, ours.budget)
    ]
    longest = max(counterparts, key=lambda other: len(other[0].comparable.model), default=None)
    model = longest[0].comparable.model if longest else ours.model.partition(" ")[0]
    return _subject(group, model, longest)


def _rows(group: Iterable[CellRecord]) -> dict[RowKey, BySeed]:
    rows: dict[RowKey, BySeed] = {}
    for record in group:
        rows.setdefault(RowKey.of(record.cell), {})[record.cell.seed] = record
    ordered = sorted(rows, key=lambda key: key.order)
    return {key: dict(sorted(rows[key].items())) for key in ordered}


def _full_precision_baseline(subject: Subject) -> Counterpart | None:
    """Return the full-precision baseline, which each quantized record also tells."""
    for rows, before in ((subject.full_precision or {}, False), (subject.rows, True)):
        found = _first(rows, [key for key in rows if key.control == "none"], before=before)
        if found:
            return found
    return None


def _is(preset: str, key: RowKey) -> bool:
    return key.is_curriculum if preset == "none" else key.corrector == preset


def _keeping_all(preset: str, keys: Iterable[RowKey], subject: Subject) -> list[RowKey]:
    """Return the rows that a preset's attack made and that kept what it did not correct, whatever they are called."""
    made = {_attack(record) for key in subject.rows if key.corrector == preset for record in subject.rows[key].values()}
    found = []
    for key in keys:
        records = subject.rows[key].values()
        alike = all(_attack(record) in made for record in records) or (key.corrector or "").startswith(f"{preset}(")
        if key.corrector != preset and alike and all(_kept_all(record) for record in records):
            found.append(key)
    return found


def _kept_all(record: CellRecord) -> bool:
    done = record.correction
    return done is not None and done.attack is not None and done.kept == done.wrong


def _attack(record: CellRecord) -> str:
    done = record.correction
    return repr(done and (done.attack, done.objective, done.select, sorted(done.options.items())))


def _plugin(record: CellRecord) -> str:
    return record.adaptation.adapter.rpartition("/")[2]


def _first(rows: Mapping[RowKey, BySeed], keys: Sequence[RowKey], *, before: bool = False) -> Counterpart | None:
    return Counterpart(key=keys[0], records=rows[keys[0]], before=before) if keys else None
