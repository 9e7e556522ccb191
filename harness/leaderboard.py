"""Leaderboards: records averaged over seeds, in tables of comparable rows alone."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

from harness.averages import if_all_have, over_seeds
from harness.claims import (
    REFERENCES,
    Claims,
    claim_sentence,
    claims_of,
    difference_between,
    power_summary,
    robust_claims_of,
    summary_sentence,
)
from harness.comparability import notes, title
from harness.corrections import counts_of, work_of, works_of
from harness.errors import StoreError
from harness.figures import figures_of
from harness.figures import summary_sentences as figures_sentences
from harness.marks import Uses, uses_of
from harness.measures import MeasureSetting, measured_of
from harness.quantization import before_after_of
from harness.row_patterns import check_patterns, matches
from harness.rows import RowKey
from harness.searches import tuning_of, untuned

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from harness.averages import Statistic
    from harness.compare import PairedDifference
    from harness.corrections import CorrectionCounts, Work
    from harness.figures import Figures
    from harness.measures import Measured
    from harness.quantization import BeforeAfter
    from harness.records import CellFailure, CellRecord, Comparable
    from harness.searches import Tuning

Column = Literal["source", "train", "valid", "test", "delta"]
COLUMNS: tuple[Column, ...] = ("source", "train", "valid", "test", "delta")
RANKED: tuple[Column, ...] = ("train", "valid", "test", "delta")
"""The columns that have a best row: T' is another set in each row, and no contest."""

_TIE = 1e-12
_SHORT = 8  # letters of a record's key that are shown


@dataclass(frozen=True, kw_only=True)
class Row:
    """One approach, averaged over its seeds. Accuracies are shares in [0, 1]; ``delta`` is the gain over the baseline.

    ``source`` and ``loss_source`` are None where there is no ``T'``; ``claims`` for controls. ``best`` names the columns in
    which no row has a higher mean, among rows that have every seed of the table and do not all tie. ``versus_finetune`` is in
    points, None without such a row or a seed in common. ``work`` is None where ``T'`` holds no attacked samples, ``quantized``
    for a full-precision subject, ``tuning`` where no search chose the settings. ``robust_claims`` judge the row by each evaluator
    that perturbed the test images. ``uses``: what its adapter uses.
    """

    key: RowKey
    seeds: tuple[int, ...]
    correction: CorrectionCounts | None
    source: Statistic | None
    train: Statistic
    valid: Statistic
    test: Statistic
    delta: Statistic
    loss_target: Statistic
    loss_source: Statistic | None
    flags: tuple[str, ...]
    claims: Claims | None
    versus_finetune: PairedDifference | None
    work: Work | None
    figures: Figures
    measures: Mapping[str, Measured] = field(default_factory=dict)
    quantized: BeforeAfter | None = None
    robust_claims: Mapping[str, Claims] = field(default_factory=dict)
    tuning: Tuning | None = None
    best: frozenset[Column] = frozenset()
    uses: Uses = field(default_factory=Uses)

    @property
    def label(self) -> str:
        """The row's name as it is shown, with its marks."""
        return self.key.label + self.uses.mark

    @property
    def adapter_label(self) -> str:
        """How the classifier was adapted, as it is shown; empty for the baseline."""
        return self.key.adapter_label + self.uses.mark

    def column(self, name: Column) -> Statistic | None:
        """Return an accuracy column."""
        value: Statistic | None = getattr(self, name)
        return value


@dataclass(frozen=True, kw_only=True)
class Table:
    """Comparable rows, the best of each column flagged, and what each of their correctors did.

    ``note`` says in which fields the table differs from the others, None for the only one. ``comparable`` is None for a
    table of failed cells alone. ``of``: how many rows there are, where only some were asked for.
    """

    title: str
    note: str | None
    comparable: Comparable | None
    experiments: tuple[str, ...]
    rows: tuple[Row, ...]
    failures: tuple[CellFailure, ...]
    works: tuple[Work, ...] = ()
    of: int | None = None

    @property
    def claims(self) -> tuple[Claims, ...]:
        """The claims of the table's method rows."""
        return tuple(row.claims for row in self.rows if row.claims)

    @property
    def measured(self) -> tuple[Row, ...]:
        """The rows whose adapter has diagnostics."""
        return tuple(row for row in self.rows if row.figures.diagnostics)


def build(records: Sequence[CellRecord], failures: Sequence[CellFailure] = ()) -> list[Table]:
    """Make one table per comparable key.

    Raises ``StoreError`` where two records claim one row and seed, or one row's seeds were run with different options.
    """
    by_key: dict[str, list[CellRecord]] = {}
    for record in records:
        by_key.setdefault(record.comparable.key, []).append(record)
    groups = sorted(by_key.values(), key=lambda group: (title(group[0].comparable), group[0].comparable.key))
    differences = notes([group[0].comparable for group in groups])
    homes = _homes([(group[0].comparable.dataset, group[0].comparable.model) for group in groups], failures)
    tables = [_table(group, note, home) for group, note, home in zip(groups, differences, homes, strict=False)]
    return tables + [_failed_table(home) for home in homes[len(groups) :]]


def verdicts(table: Table) -> list[str]:
    """Say every claim of every method row in a sentence each."""
    return [
        claim_sentence(claim, row.label)
        for row in table.rows
        for claim in row.claims or ()
        if claim.verdict != "not applicable"
    ]


def summaries(table: Table) -> list[str]:
    """Say for each claim in how many rows it is shown, and once what the table's seeds could have shown."""
    if not table.claims:
        return []
    power = power_summary(table.claims)
    return [*(summary_sentence(name, table.claims) for name in REFERENCES), *([power] if power else [])]


def figure_lines(table: Table) -> list[str]:
    """Give each of an adapter's diagnostics in a sentence, beside what ``T``→``T`` measures."""
    return [line for lines in lines_by_adapter(table).values() for line in lines]


def lines_by_adapter(table: Table) -> dict[str, list[str]]:
    """Give for each adapter its diagnostics, in a sentence each, beside what ``T``→``T`` measures."""
    groups: dict[str, tuple[list[Figures], list[Figures]]] = {}
    for row in table.measured:
        group = groups.setdefault(row.key.adapter, ([], []))
        group[row.key.control == "target-to-target"].append(row.figures)
    return {adapter: figures_sentences(adapter, *found) for adapter, found in groups.items()}


def narrowed(tables: Sequence[Table], patterns: Sequence[str]) -> list[Table]:
    """Keep the rows whose labels match a pattern, in tables that have any; what each row says is still of the whole table.

    Raises ``UsageError`` for a pattern that matches no row.
    """
    check_patterns(patterns, [row.key.label for table in tables for row in table.rows])
    found = [
        replace(table, rows=tuple(row for row in table.rows if matches(row.key.label, patterns)), of=len(table.rows))
        for table in tables
    ]
    return [table for table in found if table.rows]


def ordered(table: Table, column: Column) -> Table:
    """Return the table with the highest means of a column first."""
    return replace(table, rows=tuple(sorted(table.rows, key=lambda row: _mean(row, column), reverse=True)))


def _mean(row: Row, column: Column) -> float:
    value = row.column(column)
    return -math.inf if value is None else value.mean


def _table(records: Sequence[CellRecord], note: str | None, failures: Sequence[CellFailure]) -> Table:
    groups = _by_row(records)
    claims, robust = claims_of(groups), robust_claims_of(groups)
    all_seeds = {record.cell.seed for record in records}
    finetuned = [key for key in groups if key.control == "finetune-target"]
    rows = [
        _row(key, groups, claims.get(key), all_seeds, finetuned) for key in sorted(groups, key=lambda key: key.order)
    ]
    return Table(
        title=title(records[0].comparable),
        note=note,
        comparable=records[0].comparable,
        experiments=tuple(sorted({record.experiment for record in records})),
        rows=tuple(_with_robust_claims(row, robust) for row in _flag_best(rows, all_seeds)),
        failures=tuple(failures),
        works=tuple(works_of(records)),
    )


def _with_robust_claims(row: Row, judged: Mapping[str, Mapping[RowKey, Claims]]) -> Row:
    return replace(row, robust_claims={name: found[row.key] for name, found in judged.items() if row.key in found})


def _failed_table(failures: Sequence[CellFailure]) -> Table:
    return Table(
        title=f"{' · '.join(filter(None, (failures[0].dataset, failures[0].cell.model)))}: no finished cell",
        note=None,
        comparable=None,
        experiments=tuple(sorted({failure.experiment for failure in failures})),
        rows=(),
        failures=tuple(failures),
    )


def _by_row(records: Sequence[CellRecord]) -> dict[RowKey, dict[int, CellRecord]]:
    groups: dict[RowKey, dict[int, CellRecord]] = {}
    for record in records:
        cell = record.cell
        row = groups.setdefault(RowKey.of(cell), {})
        other = row.setdefault(cell.seed, record)
        first = next(iter(row.values()))
        if other is not record:
            raise StoreError(_clash(record, other, f"are both its seed {cell.seed}"))
        if _settings(first) != _settings(record):
            raise StoreError(_clash(record, first, "were run with different options"))
    return {key: dict(sorted(row.items())) for key, row in groups.items()}


def _clash(record: CellRecord, other: CellRecord, what: str) -> str:
    return (
        f'leaderboard: row "{RowKey.of(record.cell).label}" of {record.cell.model}: records {other.key[:_SHORT]} and '
        f"{record.key[:_SHORT]} {what}, expected one record a seed and the same options for all; "
        "delete the outdated one, or give the variants names of their own"
    )


def _settings(record: CellRecord) -> Mapping[str, Any]:
    """Return what must agree between the seeds of one row."""
    correction = record.correction
    attack = untuned(correction.options, record.search, "correctors") if correction else {}
    made = (correction.attack, correction.objective, correction.select, attack) if correction else None
    measured = [MeasureSetting.of(one) for one in record.measures]
    adaptation = record.adaptation
    options = untuned(adaptation.options, record.search, "adapters")
    space = record.search.space if record.search else None
    tuned = {"space": space, "correction": made, "adapter": adaptation.adapter, "options": options}
    return {**tuned, "measured": measured}


def _row(
    key: RowKey,
    groups: Mapping[RowKey, Mapping[int, CellRecord]],
    claims: Claims | None,
    all_seeds: Iterable[int],
    finetuned: Sequence[RowKey],
) -> Row:
    records = groups[key]
    return Row(
        key=key,
        seeds=tuple(records),
        correction=counts_of(records),
        source=if_all_have(records, lambda record: record.accuracy.source),
        train=over_seeds(records, lambda record: record.accuracy.train),
        valid=over_seeds(records, lambda record: record.accuracy.valid),
        test=over_seeds(records, lambda record: record.accuracy.test),
        delta=over_seeds(records, lambda record: record.delta),
        loss_target=over_seeds(records, lambda record: record.loss.target),
        loss_source=if_all_have(records, lambda record: record.loss.source),
        flags=_flags(records, all_seeds),
        claims=claims,
        versus_finetune=_versus_finetune(key, groups, finetuned),
        work=work_of(records),
        figures=figures_of(records),
        measures=measured_of(records),
        quantized=before_after_of(records),
        tuning=tuning_of(records),
        uses=uses_of(records.values()),
    )


def _flags(records: Mapping[int, CellRecord], all_seeds: Iterable[int]) -> tuple[str, ...]:
    said = [
        flag
        for record in records.values()
        for flag in [
            *(record.correction.flags if record.correction else []),
            *record.warnings,
            *(f"{measure.name}: {said}" for measure in record.measures for said in measure.flags),
        ]
    ]
    absent = sorted(set(all_seeds) - set(records))
    if absent:
        said.append(f"not run, or failed, for seed {', '.join(map(str, absent))}: its mean is over fewer seeds")
    return tuple(dict.fromkeys(said))


def _versus_finetune(
    key: RowKey, groups: Mapping[RowKey, Mapping[int, CellRecord]], finetuned: Iterable[RowKey]
) -> PairedDifference | None:
    found = [other for other in finetuned if other.model == key.model]
    if len(found) != 1 or found[0] == key or not groups[key].keys() & groups[found[0]].keys():
        return None
    return difference_between(groups[key], groups[found[0]])


def _flag_best(rows: Sequence[Row], all_seeds: set[int]) -> list[Row]:
    # A mean over the easier seeds alone must not win.
    complete = [row for row in rows if set(row.seeds) == all_seeds]
    leaders = {name: _leaders(complete, name) for name in RANKED}
    return [replace(row, best=frozenset(name for name in RANKED if row.key in leaders[name])) for row in rows]


def _leaders(rows: Sequence[Row], name: Column) -> set[RowKey]:
    """Return the rows of the highest mean, none where all rows share it: a mark would tell them from nothing."""
    means = {row.key: value.mean for row in rows if (value := row.column(name))}
    best = max(means.values(), default=0.0)
    leading = {key for key, mean in means.items() if math.isclose(mean, best, rel_tol=0, abs_tol=_TIE)}
    return leading if len(leading) < len(means) else set()


def _homes(subjects: Sequence[tuple[str, str]], failures: Sequence[CellFailure]) -> list[list[CellFailure]]:
    """Give each failed cell to the first table of its data set and model; those without a table come after, in order."""
    failed = [(failure.dataset, failure.cell.model) for failure in failures]
    places = [*subjects, *sorted(set(failed) - set(subjects))]
    homes: list[list[CellFailure]] = [[] for _ in places]
    for subject, failure in zip(failed, failures, strict=True):
        homes[places.index(subject)].append(failure)
    return homes
