"""Which of our rows answers which row of a published table: by what a row is, not by what it is called."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from harness.errors import UsageError, did_you_mean
from harness.leaderboard import build
from harness.printed_settings import same
from harness.rows import RowKey

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from harness.catalogue import CorrectorCard, Role
    from harness.published import PublishedRow, PublishedTable
    from harness.records import CellRecord

BySeed = dict[int, "CellRecord"]

QUANTIZED: frozenset[Role] = frozenset({"quantized baseline", "refined before quantizing", "refined and quantized"})
FULL_PRECISION: frozenset[Role] = frozenset({"refined", "refined keeping all"})
"""What only full-precision rows answer; a baseline is both, since a quantized record tells of its counterpart too."""


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

    @property
    def quantized(self) -> bool:
        """Whether it is a quantized classifier."""
        return any(record.quantized for record in self.records)


@dataclass(frozen=True, kw_only=True)
class Counterpart:
    """The records of ours that answer a published row.

    ``before``: by their figures before quantizing. ``sized`` are the records that know the row's full-precision size, where these
    are others.
    """

    key: RowKey
    records: BySeed
    before: bool = False
    sized: BySeed | None = None


def subjects_of(records: Sequence[CellRecord], table: PublishedTable) -> list[Subject]:
    """Group records by subject: those whose rows the table has, quantized classifiers, the others or both.

    Raises ``StoreError`` where records contradict each other.
    """
    # Seeds of one row may come from folders that measured different things.
    build([record.model_copy(update={"measures": []}) for record in records])
    groups: dict[str, list[CellRecord]] = {}
    for record in records:
        groups.setdefault(record.comparable.key, []).append(record)
    plain = [group for group in groups.values() if group[0].quantized is None]
    roles = {table.paper.approaches[row.approach] for row in table.rows}
    if not roles & QUANTIZED:
        found = [_subject(group, group[0].comparable.model) for group in plain]
    else:
        found = [_quantized(group, plain) for group in groups.values() if group[0].quantized is not None]
        if roles & FULL_PRECISION:
            found += [_subject(group, group[0].comparable.model) for group in _alone(plain, found)]
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
    """Return what answers a published row among a subject's rows, None where nothing does.

    A corrector answers by its attack, objective, iterate and steps, and by whether it kept what it did not correct; where several
    do, the one that is called after the preset or else has the most of its options.
    """
    role = table.paper.approaches[row.approach]
    if role == "baseline":
        return _baseline(subject)
    rows = _rows_for(role, subject)
    if role == "quantized baseline":
        return _first(rows, [key for key in rows if key.control == "none"])
    name = table.paper.correctors[str(row.attack)]
    preset = table.presets[name]
    chosen = [
        key
        for key, records in rows.items()
        if key.is_method
        and key.adapter == adapter
        and not any(differences(preset, record) for record in records.values())
        and _keeps_all(key, records) == (role == "refined keeping all")
    ]
    chosen.sort(key=lambda key: (key.corrector != name, _changed(preset, rows[key])))
    return _first(rows, chosen, before=role == "refined before quantizing")


def differences(preset: CorrectorCard, record: CellRecord) -> list[str]:
    """Say in what makes a corrector another one a record's differs from a preset; nothing where it is the preset's."""
    made = record.correction
    if made is None or made.attack is None or preset.attack is None:
        ours = made.attack if made else None
        alike = made is not None and ours is None and preset.attack is None
        return [] if alike else [_not(_attack_words(ours), _attack_words(preset.attack))]
    pairs: list[tuple[str, object, object]] = [
        ("attack", made.attack if "/" in preset.attack else made.attack.rpartition("/")[2], preset.attack)
    ]
    pairs += [
        (name, getattr(made, name), wanted)
        for name in ("objective", "select")
        if (wanted := getattr(preset, name)) is not None
    ]
    if "steps" in preset.options:
        pairs.append(("steps", made.options.get("steps"), preset.options["steps"]))
    return [_not(f"{name} {ours}", str(wanted)) for name, ours, wanted in pairs if not same(ours, wanted)]


def _not(ours: str, wanted: str) -> str:
    return f"{ours}, not {wanted}"


def _attack_words(attack: str | None) -> str:
    return f"attack {attack}" if attack else "no attack"


def _subject(group: Sequence[CellRecord], model: str, full_precision: Sequence[CellRecord] | None = None) -> Subject:
    comparable = group[0].comparable
    return Subject(
        dataset=comparable.dataset,
        name=comparable.model,
        model=model,
        rows=_rows(group),
        full_precision=None if full_precision is None else _rows(full_precision),
    )


def _alone(plain: Iterable[Sequence[CellRecord]], quantized: Iterable[Subject]) -> list[Sequence[CellRecord]]:
    """Return the full-precision groups that are no quantized subject's counterpart."""
    rows = [row for subject in quantized for row in (subject.full_precision or {}).values()]
    beside = {record.comparable.key for row in rows for record in row.values()}
    return [group for group in plain if group[0].comparable.key not in beside]


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


def _rows_for(role: Role, subject: Subject) -> Mapping[RowKey, BySeed]:
    """Return the rows of the precision that a role is of."""
    if subject.quantized and role in FULL_PRECISION:
        return subject.full_precision or {}
    return {} if role in QUANTIZED and not subject.quantized else subject.rows


def _baseline(subject: Subject) -> Counterpart | None:
    """Return the full-precision baseline, which each quantized record also tells."""
    own = _first(subject.rows, [key for key in subject.rows if key.control == "none"], before=subject.quantized)
    rows = subject.full_precision or {}
    found = _first(rows, [key for key in rows if key.control == "none"])
    return replace(found, sized=own.records) if found and own else found or own


def _keeps_all(key: RowKey, records: BySeed) -> bool:
    """Whether a corrector kept what it did not correct. Where it corrected everything, only its name can tell."""
    done = [record.correction for record in records.values() if record.correction]
    telling = [made for made in done if made.corrected < made.wrong and made.attack is not None]
    if telling:
        return all(made.kept == made.wrong for made in telling)
    return "all" in re.split(r"[^a-z0-9]+", str(key.corrector).lower())


def _changed(preset: CorrectorCard, records: BySeed) -> int:
    """Count the options in which a row differs from its preset."""
    made = [record.correction.options for record in records.values() if record.correction]
    return sum(any(not same(options.get(name), value) for options in made) for name, value in preset.options.items())


def _plugin(record: CellRecord) -> str:
    return record.adaptation.adapter.rpartition("/")[2]


def _first(rows: Mapping[RowKey, BySeed], keys: Sequence[RowKey], *, before: bool = False) -> Counterpart | None:
    return Counterpart(key=keys[0], records=rows[keys[0]], before=before) if keys else None
