"""What evaluators found, averaged over a row's seeds."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from harness.averages import if_all_have, over_seeds, where_any_has

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from harness.averages import Statistic
    from harness.records import CellRecord, Measure


@dataclass(frozen=True, kw_only=True)
class Measured:
    """One evaluator's findings: shares in [0, 1] of its samples labelled true, unperturbed and perturbed; its own figures."""

    name: str
    samples: int
    threat: str | None
    clean: Statistic
    robust: Statistic | None
    figures: Mapping[str, Statistic]
    shares: Mapping[str, Statistic]


def measured_of(records: Mapping[int, CellRecord]) -> dict[str, Measured]:
    """Average what each evaluator found that every seed of a row has."""
    by_seed = {seed: {one.name: one for one in record.measures} for seed, record in records.items()}
    first = next(iter(by_seed.values()))
    shared = [name for name in first if all(name in found for found in by_seed.values())]
    return {name: _averaged({seed: found[name] for seed, found in by_seed.items()}) for name in shared}


def measure_names(rows: Iterable[Mapping[str, Measured]]) -> list[str]:
    """Return the evaluators of a table's rows, each once, in the order of the spec."""
    return list(dict.fromkeys(name for row in rows for name in row))


def _averaged(found: Mapping[int, Measure]) -> Measured:
    one = next(iter(found.values()))
    return Measured(
        name=one.name,
        samples=one.samples,
        threat=None if one.eps is None else f"{one.norm} {one.eps:.4g}",
        clean=over_seeds(found, lambda made: made.clean),
        robust=if_all_have(found, lambda made: made.robust),
        figures=_averages(found, lambda made: made.figures),
        shares=_averages(found, lambda made: made.shares),
    )


def _averages(found: Mapping[int, Measure], figures: Callable[[Measure], Mapping[str, float]]) -> dict[str, Statistic]:
    """Average each figure over the seeds that have it."""
    names = dict.fromkeys(name for made in found.values() for name in figures(made))
    averaged = {name: where_any_has(found, partial(_figure, figures, name)) for name in names}
    return {name: value for name, value in averaged.items() if value is not None}


def _figure(figures: Callable[[Measure], Mapping[str, float]], name: str, made: Measure) -> float | None:
    return figures(made).get(name)
