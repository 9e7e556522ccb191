"""Compare a run with a published table, row by row: what `harness compare RESULTS --published TABLE` answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.averages import Statistic, if_all_have, statistic
from harness.corrections import counts_of
from harness.counterparts import QUANTIZED, check_adapter, choose_adapter, find, subjects_of
from harness.errors import UsageError, did_you_mean
from harness.printed_settings import ComparedSetting, compared_settings, measure_wanted, other_measures, robust_measure

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from harness.corrections import CorrectionCounts
    from harness.counterparts import Counterpart, Subject
    from harness.published import Figure, Printed, PublishedRow, PublishedTable
    from harness.records import Accuracies, CellRecord
    from harness.rows import RowKey

ACCURACIES: frozenset[Figure] = frozenset({"source", "train", "valid", "test"})


@dataclass(frozen=True, kw_only=True)
class ComparedFigure:
    """One number of a row, theirs beside ours, in percent or points; None where there is none."""

    figure: Figure
    theirs: Printed | None
    ours: Statistic | None

    @property
    def difference(self) -> float | None:
        """Ours minus theirs, in points."""
        return self.ours.mean - self.theirs.mean if self.ours and self.theirs else None

    @property
    def in_their_std(self) -> float | None:
        """The difference as a multiple of their printed std, None where they print none."""
        difference = self.difference
        return difference / self.theirs.std if difference is not None and self.theirs and self.theirs.std else None


@dataclass(frozen=True, kw_only=True)
class ComparedRow:
    """A published row and ours that answers it, None where nothing does."""

    published: PublishedRow
    ours: Counterpart | None
    figures: tuple[ComparedFigure, ...]
    counts: CorrectionCounts | None = None

    def figure(self, name: Figure) -> ComparedFigure:
        """Return one of its figures."""
        return next(one for one in self.figures if one.figure == name)


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """A model on a data set of theirs, and what we have of it or of what stands for it (``exact`` is False then).

    ``beside`` are rows of ours that the table does not have, ``remarks`` what the reader should know of the figures.
    """

    model: str
    dataset: str
    subject: Subject
    exact: bool
    rows: tuple[ComparedRow, ...]
    settings: tuple[ComparedSetting, ...]
    beside: tuple[RowKey, ...]
    remarks: tuple[str, ...]

    @property
    def theirs(self) -> str:
        """Their model and data set in a sentence."""
        return f"{self.model} on {self.dataset}"


@dataclass(frozen=True, kw_only=True)
class PublishedComparison:
    """A whole table: every pair of theirs is compared or ``missing``, every subject of ours compared or ``left_out``."""

    table: PublishedTable
    comparisons: tuple[Comparison, ...]
    missing: tuple[tuple[str, str], ...]
    left_out: tuple[Subject, ...]


def compare_published(
    records: Sequence[CellRecord],
    table: PublishedTable,
    *,
    stand_ins: Mapping[str, str],
    adapter: str | None = None,
) -> PublishedComparison:
    """Compare records with a table.

    ``stand_ins`` says which model or data set of theirs one of ours stands for, beside what the paper's card says. Raises
    ``UsageError`` where a name of ``stand_ins`` or ``adapter`` is unknown, or where nothing can be compared.
    """
    quantized = any(table.paper.approaches[row.approach] in QUANTIZED for row in table.rows)
    subjects = subjects_of(records, quantized=quantized)
    if not subjects:
        needs = "a quantized classifier" if quantized else "a full-precision classifier"
        raise UsageError(f'--published: the rows of "{table.name}" need {needs}, and the records have none')
    _check_stand_ins(stand_ins, subjects, table)
    check_adapter(subjects, adapter)
    pairs = {index: _pair(subject, table, stand_ins) for index, subject in enumerate(subjects)}
    found = [_comparison(subjects[index], pair, table, adapter) for index, pair in pairs.items() if pair in table.pairs]
    left_out = tuple(subjects[index] for index, pair in pairs.items() if pair not in table.pairs)
    if not found:
        raise UsageError(_nothing(left_out, table))
    order = {pair: place for place, pair in enumerate(table.pairs)}
    found.sort(key=lambda one: order[one.model, one.dataset])
    compared = {(one.model, one.dataset) for one in found}
    missing = tuple(pair for pair in table.pairs if pair not in compared)
    return PublishedComparison(table=table, comparisons=tuple(found), missing=missing, left_out=left_out)


def _check_stand_ins(stand_ins: Mapping[str, str], subjects: Sequence[Subject], table: PublishedTable) -> None:
    models, datasets = {subject.model for subject in subjects}, {subject.dataset for subject in subjects}
    for ours, theirs in stand_ins.items():
        if ours not in models | datasets:
            known = sorted(models | datasets)
            raise UsageError(
                f'--as {ours}={theirs}: no model or data set "{ours}" in the records{did_you_mean(ours, known) or ";"} '
                f"expected one of {', '.join(known)}"
            )
        known = list(dict.fromkeys(pair[ours not in models] for pair in table.pairs))
        if theirs not in known:
            kind = "model" if ours in models else "data set"
            raise UsageError(
                f'--as {ours}={theirs}: {table.name} has no {kind} "{theirs}"{did_you_mean(theirs, known) or ";"} '
                f"expected one of {', '.join(known)}"
            )


def _pair(subject: Subject, table: PublishedTable, stand_ins: Mapping[str, str]) -> tuple[str | None, str | None]:
    """Return the model and the data set that a subject is or stands for; what was asked for first, then its own name."""
    paper = table.paper
    own = {card: printed for printed, card in paper.models.items()} | {name: name for _, name in table.pairs}
    means = {**paper.stand_ins, **own, **stand_ins}
    return means.get(subject.model), means.get(subject.dataset)


def _nothing(subjects: Sequence[Subject], table: PublishedTable) -> str:
    models, datasets = (list(dict.fromkeys(names)) for names in zip(*table.pairs, strict=True))
    return (
        f"--published: nothing in the records is in {table.name} or stands for what is: "
        f"{', '.join(subject.label for subject in subjects)}; say what they stand for with --as OURS=THEIRS, "
        f"where THEIRS is one of {', '.join(models)} for a model, {', '.join(datasets)} for a data set"
    )


def _comparison(
    subject: Subject, pair: tuple[str | None, str | None], table: PublishedTable, asked: str | None
) -> Comparison:
    model, dataset = str(pair[0]), str(pair[1])
    adapter = choose_adapter(subject, table, asked)
    rows = tuple(_row(row, find(row, subject, table, adapter), table) for row in table.rows_of(model, dataset))
    keys = {row.ours.key for row in rows if row.ours}
    records = [record for row in rows if row.ours for record in row.ours.records.values()]
    return Comparison(
        model=model,
        dataset=dataset,
        subject=subject,
        exact=(table.paper.models[model], dataset) == (subject.model, subject.dataset),
        rows=rows,
        settings=tuple(compared_settings(table, model, dataset, records)),
        beside=tuple(key for key in subject.rows if key not in keys),
        remarks=tuple(_remarks(rows, records, table)),
    )


def _row(row: PublishedRow, ours: Counterpart | None, table: PublishedTable) -> ComparedRow:
    counts = counts_of(ours.records) if ours and "rate" in row.figures else None
    figures = tuple(
        ComparedFigure(
            figure=figure,
            theirs=row.figures.get(figure),
            ours=_ours(figure, ours, row, table, counts) if ours else None,
        )
        for figure in table.figures
    )
    return ComparedRow(published=row, ours=ours, figures=figures, counts=counts)


def _ours(
    figure: Figure, ours: Counterpart, row: PublishedRow, table: PublishedTable, counts: CorrectionCounts | None
) -> Statistic | None:
    if figure == "rate":
        return _rate(counts)
    if figure in {"delta", "source_size"} and figure not in row.figures:
        return None  # a baseline has no gain over itself, and no T'
    return _percent(ours, lambda record: _share(figure, record, table, before=ours.before))


def _share(figure: Figure, record: CellRecord, table: PublishedTable, *, before: bool) -> float | None:
    if figure in ACCURACIES:
        share: float | None = getattr(_accuracies(record, before=before), figure)
        return share
    if figure == "delta":
        return record.delta
    if figure == "source_size":
        return record.counts["source"] / record.counts["train"]
    measure = robust_measure(record, measure_wanted(table))
    if figure == "clean":  # on the samples that were attacked, where these are not all
        return measure.clean if measure else record.accuracy.test
    return measure.robust if measure else None


def _accuracies(record: CellRecord, *, before: bool) -> Accuracies:
    return record.quantized.before if before and record.quantized else record.accuracy


def _percent(ours: Counterpart, share: Callable[[CellRecord], float | None]) -> Statistic | None:
    found = if_all_have(ours.records, share)
    return statistic({seed: 100 * value for seed, value in found.per_seed.items()}) if found else None


def _rate(counts: CorrectionCounts | None) -> Statistic | None:
    """Return the rate over all seeds' wrong samples, as the leaderboard has it; its spread is not theirs to compare with."""
    if counts is None or counts.rate is None or counts.tried is None:
        return None
    tried = counts.tried.per_seed
    per_seed = {seed: 100 * done / tried[seed] for seed, done in counts.corrected.per_seed.items() if tried[seed]}
    return Statistic(mean=100 * counts.rate, std=None, per_seed=per_seed)


def _remarks(rows: Sequence[ComparedRow], records: Sequence[CellRecord], table: PublishedTable) -> list[str]:
    wanted = measure_wanted(table)
    said = []
    if wanted and not any(row.figure("autoattack").ours for row in rows):
        run = other_measures(records, wanted)
        but = f"; they have it with {', '.join(run)}" if run else ""
        said.append(f"No AutoAttack with {wanted['norm']} {wanted['eps']:.4g} in these records{but}.")
    return said
