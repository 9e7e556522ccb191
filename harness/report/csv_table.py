"""Tables as CSV: one flat line a row, exact and unrounded."""

from __future__ import annotations

import csv
import io
import json
from typing import TYPE_CHECKING

from harness.claims import CLAIM_WORDS
from harness.corrections import SURVIVALS
from harness.figures import names_of
from harness.leaderboard import COLUMNS
from harness.report.notation import reference_columns

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from harness.averages import Statistic
    from harness.claims import Claim, Reference
    from harness.corrections import Work
    from harness.leaderboard import Row, Table

Value = str | int | float | None


def to_csv(tables: Sequence[Table]) -> str:
    """Return a header and a line for every row of every table.

    Accuracies are shares in [0, 1], differences are points; what does not exist is empty. Lists (seeds, values per seed, best
    columns) are separated by spaces, flags by semicolons. What a corrector did stands in the rows that train on its corrections.
    """
    diagnostics = names_of("diagnostics", [row.figures for table in tables for row in table.rows])
    lines = [flat_row(table, row) for table in tables for row in table.rows]
    text = io.StringIO()
    rows = [row for table in tables for row in table.rows]
    measures = dict.fromkeys(name for row in rows for name in (*_measures(row), *_quantized(row), *_tuning(row)))
    names = [*_header(), *map(_diagnostic, diagnostics), *measures]
    writer = csv.DictWriter(text, fieldnames=names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    return text.getvalue()


def flat_row(table: Table, row: Row) -> dict[str, Value]:
    """Return a row's values by column name."""
    counts = row.correction
    flat: dict[str, Value] = {
        "comparable_key": table.comparable.key if table.comparable else None,
        "dataset": table.comparable.dataset if table.comparable else None,
        "model": row.key.model,
        "experiments": " ".join(table.experiments),
        "label": row.key.label,
        "control": row.key.control,
        "corrector": row.key.corrector,
        "adapter": row.key.adapter,
        "target_labels": row.uses.target_labels,
        "source_free": row.uses.source_free,
        "n": len(row.seeds),
        "seeds": _joined(row.seeds),
    }
    for name in ("wrong", "corrected", "kept"):
        statistic: Statistic | None = getattr(counts, name, None)
        flat[f"{name}_mean"] = statistic.mean if statistic else None
        flat[f"{name}_per_seed"] = _joined(statistic.per_seed.values()) if statistic else None
    for column in COLUMNS:
        flat |= _statistic(column, row.column(column))
    flat |= _statistic("loss_target", row.loss_target) | _statistic("loss_source", row.loss_source)
    flat |= {"best": " ".join(name for name in COLUMNS if name in row.best), "flags": "; ".join(row.flags)}
    for index, (_, reference_name) in enumerate(reference_columns()):
        flat |= _reference(reference_name, row.claims.references[index] if row.claims else None)
    for claim_name in CLAIM_WORDS:
        flat |= _claim(claim_name, getattr(row.claims, claim_name, None))
    flat |= _work(row.work) | _measures(row) | _quantized(row) | _tuning(row)
    return flat | {_diagnostic(name): value.mean for name, value in row.figures.diagnostics.items()}


def _header() -> list[str]:
    names = [
        "comparable_key",
        "dataset",
        "model",
        "experiments",
        "label",
        "control",
        "corrector",
        "adapter",
        "target_labels",
        "source_free",
        "n",
        "seeds",
    ]
    names += [f"{name}_{part}" for name in ("wrong", "corrected", "kept") for part in ("mean", "per_seed")]
    for column in (*COLUMNS, "loss_target", "loss_source"):
        names += _statistic(column, None)
    names += ["best", "flags"]
    for _, reference in reference_columns():
        names += _reference(reference, None)
    for claim in CLAIM_WORDS:
        names += _claim(claim, None)
    return [*names, *_work(None)]


def _statistic(name: str, statistic: Statistic | None) -> dict[str, Value]:
    return {
        f"{name}_mean": statistic.mean if statistic else None,
        f"{name}_std": statistic.std if statistic else None,
        f"{name}_per_seed": _joined(statistic.per_seed.values()) if statistic else None,
    }


def _reference(name: str, reference: Reference | None) -> dict[str, Value]:
    found = reference.difference if reference else None
    prefix = f"versus_{name.replace('-', '_')}"
    tests: Mapping[int, tuple[int, int, float]] = reference.mcnemar if reference else {}
    return {
        f"{prefix}_n": found.n if found else None,
        f"{prefix}_points": found.mean if found else None,
        f"{prefix}_points_low": found.low if found else None,
        f"{prefix}_points_high": found.high if found else None,
        f"{prefix}_p": found.p if found else None,
        f"{prefix}_wilcoxon_p": found.wilcoxon_p if found else None,
        f"{prefix}_mcnemar_p_per_seed": _joined(p for _, _, p in tests.values()) if tests else None,
        f"{prefix}_missing": reference.missing if reference else None,
    }


def _claim(name: str, claim: Claim | None) -> dict[str, Value]:
    return {f"{name}_helps": claim.verdict if claim else None, f"{name}_holm_p": claim.holm_p if claim else None}


def _work(work: Work | None) -> dict[str, Value]:
    shares: dict[str, Value] = {f"survived_{name}": work.survived.get(name) if work else None for name in SURVIVALS}
    return {
        "norm": work.norm if work else None,
        "median_norm": work.median_norm.mean if work and work.median_norm else None,
        **shares,
        "forward_per_image": work.forward if work else None,
        "backward_per_image": work.backward if work else None,
        "initial_loss_target": work.loss_target.mean if work and work.loss_target else None,
        "initial_loss_source": work.loss_source.mean if work and work.loss_source else None,
    }


def _measures(row: Row) -> dict[str, Value]:
    """Return what evaluators found: a column each for clean and robust accuracy and for every figure."""
    flat: dict[str, Value] = {}
    for name, one in row.measures.items():
        flat |= {
            f"measure_{name}_samples": one.samples,
            f"measure_{name}_threat": one.threat,
            f"measure_{name}_clean": one.clean.mean,
            f"measure_{name}_robust": one.robust.mean if one.robust else None,
        }
        own = {**one.shares, **one.figures}
        flat |= {f"measure_{name}_{figure}": value.mean for figure, value in own.items()}
    return flat


def _quantized(row: Row) -> dict[str, Value]:
    """Return a quantized row before and after: accuracies before, MB and images/s of both."""
    if row.quantized is None:
        return {}
    before, after = row.quantized.before, row.quantized.after
    accuracies: dict[str, Statistic | None] = {
        name: getattr(before, name) for name in ("source", "train", "valid", "test")
    }
    flat: dict[str, Value] = {
        f"before_quantizing_{name}": one.mean if one else None for name, one in accuracies.items()
    }
    for precision, found in (("full_precision", before), ("quantized", after)):
        speed = found.images_per_second
        flat |= {
            f"{precision}_megabytes": found.megabytes,
            f"{precision}_images_per_second": speed.mean if speed else None,
            f"{precision}_simulated": found.simulated,
        }
    return flat


def _tuning(row: Row) -> dict[str, Value]:
    """Return how a row was tuned: trials of each seed, the winners' validation accuracies, each dimension's value per seed."""
    if row.tuning is None:
        return {}
    flat: dict[str, Value] = {
        "search_sampler": row.tuning.sampler,
        "search_trials": row.tuning.trials,
        "search_distinct_per_seed": _joined(row.tuning.distinct.values()),
        "search_failed": row.tuning.failed,
        "search_valid_per_seed": _joined(row.tuning.valid.per_seed.values()),
        "search_repetition_per_seed": _joined(row.tuning.repetitions.values()),
    }
    chosen = {name: [json.dumps(value) for value in one.values()] for name, one in row.tuning.chosen.items()}
    return flat | {f"search_chosen_{name}_per_seed": " ".join(values) for name, values in chosen.items()}


def _diagnostic(name: str) -> str:
    return f"diagnostic_{name}"


def _joined(values: Iterable[float]) -> str:
    return " ".join(map(repr, values))
