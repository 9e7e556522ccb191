"""What evaluators found, averaged over a row's seeds."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, NamedTuple, Self

from harness.averages import if_all_have, over_seeds, where_any_has

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from harness.averages import Statistic
    from harness.records import CellRecord, Measure


class MeasureSetting(NamedTuple):
    """What must agree before findings may stand in one table or be compared: how was measured, and on which test images.

    ``options`` is JSON; ``batch_size`` is None where a record does not tell it, ``rows`` for the whole test split.
    """

    name: str
    evaluator: str
    options: str
    batch_size: int | None
    samples: int
    rows: tuple[int, ...] | None

    @classmethod
    def of(cls, measure: Measure) -> Self:
        """Return the setting of a record's measure."""
        options = json.dumps(measure.options, sort_keys=True)
        rows = None if measure.rows is None else tuple(measure.rows)
        return cls(measure.name, measure.evaluator, options, measure.batch_size, measure.samples, rows)

    def words(self) -> dict[str, object]:
        """Return what a reader can be told of it, by name."""
        return {**json.loads(self.options), "evaluator": self.evaluator, "batch_size": self.batch_size}


@dataclass(frozen=True, kw_only=True)
class Measured:
    """One evaluator's findings: shares in [0, 1] of its samples labelled true, unperturbed and perturbed; its own figures."""

    name: str
    setting: MeasureSetting
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


def measure_settings(rows: Iterable[Mapping[str, Measured]]) -> list[MeasureSetting]:
    """Return how a table's rows were measured, each once: by evaluator in the order of the spec, then as the rows have it."""
    settings = list(dict.fromkeys(one.setting for row in rows for one in row.values()))
    names = list(dict.fromkeys(setting.name for setting in settings))
    return sorted(settings, key=lambda setting: names.index(setting.name))


def _averaged(found: Mapping[int, Measure]) -> Measured:
    one = next(iter(found.values()))
    return Measured(
        name=one.name,
        setting=MeasureSetting.of(one),
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
