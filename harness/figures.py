"""What was measured while adapting: losses and an adapter's own diagnostics, averaged over checkpoints and seeds."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING, Literal

from harness.averages import statistic

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from harness.averages import Statistic
    from harness.records import CellRecord

FLOOR = "-noise-floor"
NEAR = 0.25  # a loss within this share of its noise floor is said to be at it

_Kind = Literal["losses", "diagnostics"]


@dataclass(frozen=True, kw_only=True)
class Figures:
    """A row's losses as they were summed, weights included, and its adapter's diagnostics: means over checkpoints."""

    losses: Mapping[str, Statistic]
    diagnostics: Mapping[str, Statistic]


def figures_of(records: Mapping[int, CellRecord]) -> Figures:
    """Average a row's history over checkpoints, then over seeds; seeds or checkpoints that lack a figure are left out."""
    return Figures(losses=_averages(records, "losses"), diagnostics=_averages(records, "diagnostics"))


def names_of(kind: _Kind, rows: Sequence[Figures]) -> list[str]:
    """Return the names of the rows' losses or diagnostics, each once, in the order met."""
    return list(dict.fromkeys(name for figures in rows for name in getattr(figures, kind)))


def summary_sentence(adapter: str, rows: Sequence[Figures]) -> str:
    """Give the means over an adapter's rows, and say which losses are at or below their noise floors (``NAME-noise-floor``)."""
    means = {
        name: fmean(figures.diagnostics[name].mean for figures in rows if name in figures.diagnostics)
        for name in names_of("diagnostics", rows)
    }
    listed = ", ".join(f"{name} {mean:.3g}" for name, mean in means.items())
    verdicts = ", ".join(words for name in means if (words := _against_floor(name, means)))
    return f"{adapter}: {listed} (means over rows, checkpoints and seeds){verdicts and ': '}{verdicts}"


def _averages(records: Mapping[int, CellRecord], kind: _Kind) -> dict[str, Statistic]:
    per_seed: dict[str, dict[int, float]] = {}
    for seed, record in records.items():
        points: list[dict[str, float]] = [getattr(checkpoint, kind) for checkpoint in record.adaptation.history]
        for name in dict.fromkeys(name for point in points for name in point):
            per_seed.setdefault(name, {})[seed] = fmean(point[name] for point in points if name in point)
    return {name: statistic(values) for name, values in per_seed.items()}


def _against_floor(name: str, means: Mapping[str, float]) -> str:
    floor = means.get(name + FLOOR, 0.0)
    if floor <= 0 or not means[name] <= (1 + NEAR) * floor:
        return ""
    return f"{name} is {'below' if means[name] < (1 - NEAR) * floor else 'at'} its noise floor"
