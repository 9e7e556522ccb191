"""What each corrector did to the wrongly classified samples: how many, how far, for how long, and what survives."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.averages import if_all_have, over_seeds, where_any_has
from harness.controls import SUBSTITUTES
from harness.rows import RowKey
from harness.searches import corrector_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from harness.averages import Statistic
    from harness.records import CellRecord, Correction

SURVIVALS = ("uint8", "float16", "flip")


@dataclass(frozen=True, kw_only=True)
class CorrectionCounts:
    """How many training samples were wrong, corrected, and kept in ``T'`` beside the right ones.

    A sham's ``corrected`` are those of the moved samples that are labelled true. ``tried`` is what the rate is a share of: the
    wrong samples, a sham's moved ones, None where nothing was attacked.
    """

    wrong: Statistic
    corrected: Statistic
    kept: Statistic
    tried: Statistic | None

    @property
    def rate(self) -> float | None:
        """The share of the tried samples that were corrected, None where there was none."""
        return self.corrected.mean / self.tried.mean if self.tried and self.tried.mean else None


@dataclass(frozen=True, kw_only=True)
class Work:
    """What a corrector did, over seeds.

    ``median_norm`` averages, over the seeds that have corrections, the median norm of these. ``survived`` are shares in [0, 1]
    of the corrected: still labelled true after rounding to uint8, to float16 and after a horizontal flip; empty where nothing
    was corrected. Passes and seconds are per attacked image, None where there was none or it was not timed. ``loss_target`` and
    ``loss_source`` are the baseline's mean losses on ``T`` and on the ``T'`` that the corrector made.
    """

    corrector: str
    attack: str
    objective: str | None
    select: str | None
    norm: str | None
    counts: CorrectionCounts
    median_norm: Statistic | None
    survived: Mapping[str, float]
    forward: float | None
    backward: float | None
    seconds: float | None
    loss_target: Statistic | None = None
    loss_source: Statistic | None = None


def counts_of(records: Mapping[int, CellRecord]) -> CorrectionCounts | None:
    """Count over a row's seeds, None for a row without a corrector."""
    done = {seed: record.correction for seed, record in records.items() if record.correction}
    if len(done) < len(records):
        return None
    return _counts(done, sham=any(record.cell.control in SUBSTITUTES for record in records.values()))


def work_of(records: Mapping[int, CellRecord]) -> Work | None:
    """Say what the corrector of a row's records did, None for rows without an attack and for shams."""
    done = {seed: made for seed, record in records.items() if (made := _attacked(record))}
    first = next(iter(done.values()), None)
    if first is None or first.attack is None or len(done) < len(records):
        return None
    attacked = sum(made.wrong for made in done.values())
    return Work(
        corrector=corrector_name(records.values()),
        attack=first.attack,
        objective=first.objective,
        select=first.select,
        norm=first.norm,
        counts=_counts(done),
        median_norm=where_any_has(done, lambda made: made.median_norm),
        survived=_survived(done.values()),
        forward=_each(sum(made.forward for made in done.values()), attacked),
        backward=_each(sum(made.backward for made in done.values()), attacked),
        seconds=_seconds(records.values()),
        loss_target=if_all_have(done, lambda made: made.loss_target),
        loss_source=if_all_have(done, lambda made: made.loss_source),
    )


def works_of(records: Iterable[CellRecord]) -> list[Work]:
    """Say what each corrector of a table did, whichever of its rows holds the record of a seed."""
    by_corrector: dict[tuple[str, ...], dict[int, CellRecord]] = {}
    # The stage is shared: a row whose own cell failed may still be known by its controls.
    for record in sorted(records, key=lambda record: (*RowKey.of(record.cell).order, record.cell.seed)):
        if made := _attacked(record):
            kept = by_corrector.setdefault((str(record.cell.corrector), *_made(made)), {})
            kept.setdefault(record.cell.seed, record)
    works = [work_of(dict(sorted(kept.items()))) for kept in by_corrector.values()]
    return [work for work in works if work]


def _attacked(record: CellRecord) -> Correction | None:
    """Return what an attack did; a sham's counts are of its own random moves."""
    made = record.correction
    return made if made and made.attack is not None and record.cell.control not in SUBSTITUTES else None


def _made(made: Correction) -> tuple[str, ...]:
    """Return what tells two variants of one name apart."""
    return str(made.attack), str(made.objective), str(made.select), json.dumps(made.options, sort_keys=True)


def _counts(done: Mapping[int, Correction], *, sham: bool = False) -> CorrectionCounts:
    wrong, kept = over_seeds(done, lambda made: made.wrong), over_seeds(done, lambda made: made.kept)
    attacked = all(made.attack is not None for made in done.values())
    return CorrectionCounts(
        wrong=wrong,
        corrected=over_seeds(done, lambda made: made.corrected),
        kept=kept,
        tried=(kept if sham else wrong) if attacked else None,
    )


def _survived(done: Iterable[Correction]) -> dict[str, float]:
    """Pool the seeds, as the correction rate does: a seed with few corrections weighs little."""
    made = [one for one in done if one.corrected]
    shares = {}
    for name in SURVIVALS:
        tried = [one for one in made if name in one.survived]
        if tried:
            shares[name] = sum(one.survived[name] for one in tried) / sum(one.corrected for one in tried)
    return shares


def _seconds(records: Iterable[CellRecord]) -> float | None:
    timed = [(record.times["correct"], record.correction) for record in records if "correct" in record.times]
    return _each(sum(seconds for seconds, _ in timed), sum(made.wrong for _, made in timed if made))


def _each(total: float, count: int) -> float | None:
    return total / count if count else None
