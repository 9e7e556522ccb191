"""Compare a run with a published table, row by row: what `harness compare RESULTS --published TABLE` answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.corrections import counts_of
from harness.counterparts import QUANTIZED, check_adapter, choose_adapter, find, subjects_of
from harness.errors import UsageError, did_you_mean
from harness.printed_settings import compared_settings, measure_wanted
from harness.published_figures import compared_figures
from harness.published_records import distinct
from harness.published_remarks import remarks

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from harness.corrections import CorrectionCounts
    from harness.counterparts import Counterpart, Subject
    from harness.printed_settings import ComparedSetting
    from harness.published import Figure, PublishedRow, PublishedTable
    from harness.published_figures import ComparedFigure
    from harness.records import CellRecord
    from harness.rows import RowKey

COUNTS = ("train", "valid", "test")


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

    ``part`` says how many images ours has, where it is called as theirs and has others or fewer. ``beside`` are rows of ours that
    the table does not have, ``remarks`` what the reader should know of the figures.
    """

    model: str
    dataset: str
    subject: Subject
    exact: bool
    part: str
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
    """Compare records, of one results folder or of several, with a table.

    ``stand_ins`` says which model or data set of theirs one of ours stands for, beside what the paper's card says. Raises
    ``UsageError`` where a name of ``stand_ins`` or ``adapter`` is unknown, or where nothing can be compared.
    """
    subjects = subjects_of(distinct(records, measure_wanted(table)), table)
    if not subjects:
        quantized = any(table.paper.approaches[row.approach] in QUANTIZED for row in table.rows)
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
    part = _part(subject, table) if dataset == subject.dataset else ""
    return Comparison(
        model=model,
        dataset=dataset,
        subject=subject,
        exact=(table.paper.models[model], dataset) == (subject.model, subject.dataset) and not part,
        part=part,
        rows=rows,
        settings=tuple(compared_settings(table, model, dataset, _with_presets(rows, table))),
        beside=tuple(key for key in subject.rows if key not in keys),
        remarks=tuple(remarks(rows, subject, table, adapter)),
    )


def _part(subject: Subject, table: PublishedTable) -> str:
    """Say how many images a data set has where these are not as many as theirs: then it is another one, or a part.

    How many of the training images are held out is a setting and makes no other data set.
    """
    printed = {setting.key.partition("counts.")[2]: setting.value for setting in table.settings}
    theirs = [value for name in COUNTS if isinstance(value := printed.get(name), int)]
    for record in subject.records:
        ours = [record.counts[name] for name in COUNTS]
        if len(theirs) == len(COUNTS) and (sum(ours[:2]), ours[2]) != (sum(theirs[:2]), theirs[2]):
            return (
                f"{sum(ours[:2]):,} training and {ours[2]:,} test images, theirs {sum(theirs[:2]):,} and {theirs[2]:,}"
            )
    return ""


def _with_presets(rows: Iterable[ComparedRow], table: PublishedTable) -> list[tuple[str | None, Iterable[CellRecord]]]:
    found = [(row.published.attack, row.ours.records.values()) for row in rows if row.ours]
    return [(table.paper.correctors[attack] if attack else None, records) for attack, records in found]


def _row(row: PublishedRow, ours: Counterpart | None, table: PublishedTable) -> ComparedRow:
    counts = counts_of(ours.records) if ours and "rate" in row.figures else None
    return ComparedRow(published=row, ours=ours, figures=compared_figures(row, ours, table, counts), counts=counts)
