"""Budget curves as data: every point as a line of CSV, and all of it as one versioned JSON object."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING, Any

from harness.report.curves import reach_words

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from harness.averages import Statistic
    from harness.correction_curves import CorrectorCurve
    from harness.curves import MeanPoint, Reach, RowCurve, TableCurves

VERSION = 1
_NAMES = (
    "comparable_key",
    "table",
    "curve",
    "row",
    "target_labels",
    "source_free",
    "seed",
    "step",
    "seconds",
    "valid",
    "kept",
    "passes",
    "corrected",
    "wrong",
)


def to_csv(tables: Sequence[TableCurves]) -> str:
    """Return a header and a line for every point of every seed, exact and unrounded; what does not exist is empty.

    ``curve`` says whose a point is: of an ``adaptation`` (step, seconds, valid, kept) or of a ``correction`` (passes, corrected of
    wrong). Accuracies are shares in [0, 1].
    """
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=_NAMES, lineterminator="\n")
    writer.writeheader()
    for curves in tables:
        table = {"comparable_key": curves.key, "table": curves.title}
        writer.writerows(table | line for line in (*_adaptation_lines(curves), *_correction_lines(curves)))
    return text.getvalue()


def to_json(tables: Sequence[TableCurves], *, share: float = 1) -> dict[str, Any]:
    """Return plain dicts, lists, strings and numbers: shares in [0, 1], null for what does not exist.

    ``share``: how much of ``finetune-target``'s gain is to be reached.
    """
    return {"version": VERSION, "share": share, "tables": [_table(curves, share) for curves in tables]}


def _adaptation_lines(curves: TableCurves) -> Iterator[dict[str, Any]]:
    for row in curves.rows:
        for seed, points in row.per_seed.items():
            for point in points:
                yield {
                    "curve": "adaptation",
                    "row": row.key.label,
                    "target_labels": row.uses.target_labels,
                    "source_free": row.uses.source_free,
                    "seed": seed,
                    "step": point.step,
                    "seconds": point.seconds,
                    "valid": point.valid,
                    "kept": point.kept,
                }


def _correction_lines(curves: TableCurves) -> Iterator[dict[str, Any]]:
    for one in curves.correctors:
        for seed, made in one.per_seed.items():
            told = {"curve": "correction", "row": one.corrector, "seed": seed, "wrong": made.wrong}
            yield from (told | {"passes": passes, "corrected": corrected} for passes, corrected in made.points)


def _table(curves: TableCurves, share: float) -> dict[str, Any]:
    return {
        "title": curves.title,
        "note": curves.note,
        "comparable_key": curves.key,
        "full_precision": curves.precise,
        "rows": [_row(row, curves.reach(row, share=share)) for row in curves.rows],
        "correctors": [_corrector(one) for one in curves.correctors],
        "correctors_without_curve": list(curves.untold),
    }


def _row(row: RowCurve, reach: Reach | None) -> dict[str, Any]:
    return {
        "label": row.key.label,
        "control": row.key.control,
        "corrector": row.key.corrector,
        "adapter": row.key.adapter,
        "target_labels": row.uses.target_labels,
        "source_free": row.uses.source_free,
        "seeds": list(row.per_seed),
        "trained": row.is_trained,
        "points": [_point(point) for point in row.means()],
        "reach": _reach(reach),
    }


def _point(point: MeanPoint) -> dict[str, Any]:
    accuracies = {"valid": _statistic(point.valid), "kept": _statistic(point.kept)}
    return {"step": point.step, "seconds": point.seconds, **accuracies}


def _statistic(statistic: Statistic) -> dict[str, Any]:
    per_seed = {str(seed): value for seed, value in statistic.per_seed.items()}
    return {"mean": statistic.mean, "std": statistic.std, "per_seed": per_seed}


def _reach(reach: Reach | None) -> dict[str, Any] | None:
    if reach is None:
        return None
    return {
        "level": reach.level,
        "step": reach.step,
        "seconds": reach.seconds,
        "times_the_steps": reach.steps_ratio,
        "times_the_seconds": reach.seconds_ratio,
        "seeds_reached": reach.seeds_reached,
        "seeds": reach.seeds,
        "sentence": reach_words(reach),
    }


def _corrector(one: CorrectorCurve) -> dict[str, Any]:
    return {
        "corrector": one.corrector,
        "attack": one.attack,
        "passes_per_image": one.spent,
        "points": [{"passes": passes, "rate": rate} for passes, rate in one.points()],
        "per_seed": {
            str(seed): {"wrong": made.wrong, "points": [list(point) for point in made.points]}
            for seed, made in one.per_seed.items()
        },
    }
