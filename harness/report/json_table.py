"""Tables as one versioned JSON object."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from harness.leaderboard import COLUMNS, figure_lines, summaries, verdicts

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from harness.averages import Statistic
    from harness.claims import Claim, Reference
    from harness.compare import PairedDifference
    from harness.corrections import CorrectionCounts, Work
    from harness.leaderboard import Row, Table
    from harness.measures import Measured
    from harness.quantization import BeforeAfter, Precision
    from harness.searches import Tuning

VERSION = 1


def to_json(tables: Sequence[Table]) -> dict[str, Any]:
    """Return plain dicts, lists, strings and numbers: shares in [0, 1], differences in points, null for what does not exist."""
    return {"version": VERSION, "tables": [_table(table) for table in tables]}


def _table(table: Table) -> dict[str, Any]:
    return {
        "title": table.title,
        "note": table.note,
        "experiments": list(table.experiments),
        "comparable": table.comparable.model_dump(mode="json") if table.comparable else None,
        "rows": [_row(row) for row in table.rows],
        "correctors": [_work(work) for work in table.works],
        "summaries": summaries(table),
        "verdicts": verdicts(table),
        "diagnostics": figure_lines(table),
        "failures": [
            failure.model_dump(mode="json", include={"experiment", "key", "cell", "stage", "reason"})
            for failure in table.failures
        ],
    }


def _row(row: Row) -> dict[str, Any]:
    return {
        "label": row.key.label,
        "control": row.key.control,
        "corrector": row.key.corrector,
        "adapter": row.key.adapter,
        "target_labels": row.uses.target_labels,
        "source_free": row.uses.source_free,
        "seeds": list(row.seeds),
        "correction": _counts(row.correction),
        "accuracy": {name: _statistic(row.column(name)) for name in COLUMNS},
        "loss": {"target": _statistic(row.loss_target), "source": _statistic(row.loss_source)},
        "adaptation": {
            "losses": {name: _statistic(value) for name, value in row.figures.losses.items()},
            "diagnostics": {name: _statistic(value) for name, value in row.figures.diagnostics.items()},
        },
        "measures": {
            name: _measured(one) | {"claims": _robust_claims(row, name)} for name, one in row.measures.items()
        },
        "quantized": _before_after(row.quantized),
        "search": _tuning(row.tuning),
        "best": [name for name in COLUMNS if name in row.best],
        "flags": list(row.flags),
        "versus_finetune": _difference(row.versus_finetune),
        "claims": {claim.name: _claim(claim) for claim in row.claims} if row.claims else None,
    }


def _measured(one: Measured) -> dict[str, Any]:
    return {
        "samples": one.samples,
        "threat": one.threat,
        "setting": one.setting.words(),
        "clean": _statistic(one.clean),
        "robust": _statistic(one.robust),
        "figures": {name: _statistic(value) for name, value in one.figures.items()},
        "shares": {name: _statistic(value) for name, value in one.shares.items()},
    }


def _tuning(tuning: Tuning | None) -> dict[str, Any] | None:
    if tuning is None:
        return None
    return {
        "sampler": tuning.sampler,
        "trials": tuning.trials,
        "distinct": _by_seed(tuning.distinct),
        "failed": tuning.failed,
        "valid": _statistic(tuning.valid),
        "chosen": {name: {str(seed): value for seed, value in one.items()} for name, one in tuning.chosen.items()},
        "repetitions": _by_seed(tuning.repetitions),
    }


def _robust_claims(row: Row, name: str) -> dict[str, Any] | None:
    """Judge the row in robust accuracy, None where the evaluator perturbed nothing or the row is a control."""
    claims = row.robust_claims.get(name)
    return {claim.name: _claim(claim) for claim in claims} if claims else None


def _before_after(found: BeforeAfter | None) -> dict[str, Any] | None:
    if found is None:
        return None
    return {
        "before": _precision(found.before),
        "after": _precision(found.after),
        "timed": found.timed.model_dump() if found.timed else None,
    }


def _precision(found: Precision) -> dict[str, Any]:
    accuracies = {name: _statistic(getattr(found, name)) for name in ("source", "train", "valid", "test")}
    speed = _statistic(found.images_per_second)
    return {
        "accuracy": accuracies,
        "megabytes": found.megabytes,
        "images_per_second": speed,
        "simulated": found.simulated,
    }


def _counts(counts: CorrectionCounts | None) -> dict[str, Any] | None:
    if counts is None:
        return None
    statistics = {name: _statistic(getattr(counts, name)) for name in ("wrong", "corrected", "kept")}
    return statistics | {"rate": counts.rate}


def _work(work: Work) -> dict[str, Any]:
    return {
        "corrector": work.corrector,
        "attack": work.attack,
        "objective": work.objective,
        "select": work.select,
        "correction": _counts(work.counts),
        "norm": work.norm,
        "median_norm": _statistic(work.median_norm),
        "survived": dict(work.survived),
        "forward_per_image": work.forward,
        "backward_per_image": work.backward,
        "seconds_per_image": work.seconds,
        "loss": {"target": _statistic(work.loss_target), "source": _statistic(work.loss_source)},
    }


def _statistic(statistic: Statistic | None) -> dict[str, Any] | None:
    if statistic is None:
        return None
    return {
        "mean": _finite(statistic.mean),
        "std": _finite(statistic.std),
        "per_seed": _by_seed(statistic.per_seed),
    }


def _claim(claim: Claim) -> dict[str, Any]:
    return {
        "verdict": claim.verdict,
        "p": claim.p,
        "holm_p": claim.holm_p,
        "references": {reference.name: _reference(reference) for reference in claim.references},
    }


def _reference(reference: Reference) -> dict[str, Any]:
    return {
        "difference": _difference(reference.difference),
        "mcnemar": {str(seed): test._asdict() for seed, test in reference.mcnemar.items()},
        "missing": reference.missing,
    }


def _difference(difference: PairedDifference | None) -> dict[str, Any] | None:
    if difference is None:
        return None
    return {
        "n": difference.n,
        "points": difference.mean,
        "low": difference.low,
        "high": difference.high,
        "p": difference.p,
        "wilcoxon_p": difference.wilcoxon_p,
        "per_seed": _by_seed(difference.per_seed),
    }


def _by_seed(values: Mapping[int, float]) -> dict[str, float | None]:
    return {str(seed): _finite(value) for seed, value in values.items()}


def _finite(value: float | None) -> float | None:
    """Return None for what JSON has no number for: a diverged loss."""
    return value if value is None or math.isfinite(value) else None
