"""A run beside a published table, as a versioned object."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from harness.published import UNITS

if TYPE_CHECKING:
    from harness.published_comparison import ComparedRow, Comparison, PublishedComparison
    from harness.published_figures import ComparedFigure

JSON_VERSION = 1


def published_as_json(compared: PublishedComparison) -> dict[str, Any]:
    """Return every comparison with its settings.

    Figures are in their ``unit``, percentages' differences in points; every difference also in their std where they print one.
    """
    table = compared.table
    return {
        "version": JSON_VERSION,
        "published": table.name,
        "title": table.title,
        "source": table.paper.source,
        "comparisons": [_comparison(one) for one in compared.comparisons],
        "missing": [
            {"model": model, "dataset": dataset, "rows": [row.label for row in table.rows_of(model, dataset)]}
            for model, dataset in compared.missing
        ],
        "left_out": [{"model": subject.name, "dataset": subject.dataset} for subject in compared.left_out],
        "slips": list(table.slips),
    }


def _comparison(one: Comparison) -> dict[str, Any]:
    return {
        "theirs": {"model": one.model, "dataset": one.dataset},
        "ours": {"model": one.subject.name, "dataset": one.subject.dataset},
        "exact": one.exact,
        "part": one.part or None,
        "rows": [_row(row) for row in one.rows],
        "beside": [key.label for key in one.beside],
        "settings": [asdict(setting) for setting in one.settings],
        "remarks": list(one.remarks),
    }


def _row(row: ComparedRow) -> dict[str, Any]:
    published, ours = row.published, row.ours
    return {
        "approach": published.approach,
        "attack": published.attack,
        "note": published.note or None,
        "ours": ours and {"row": ours.key.label, "before_quantizing": ours.before, "seeds": list(ours.records)},
        "figures": {cell.figure: _figure(cell) for cell in row.figures if cell.theirs or cell.ours},
        "corrected": published.corrected,
        "wrong": published.wrong,
        "wrong_meant": published.wrong_meant,
        "source_size": published.source_size,
    }


def _figure(cell: ComparedFigure) -> dict[str, Any]:
    theirs, ours = cell.theirs, cell.ours
    return {
        "unit": UNITS.get(cell.figure, "percent"),
        "samples": cell.samples,
        "theirs": theirs and {"mean": theirs.mean, "std": theirs.std},
        "ours": ours
        and {
            "mean": ours.mean,
            "std": ours.std,
            "per_seed": {str(seed): value for seed, value in ours.per_seed.items()},
        },
        "difference": cell.difference,
        "in_their_std": cell.in_their_std,
    }
