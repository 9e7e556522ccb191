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

FLOOR = "-noise-floor"  # ``NAME-noise-floor``: what its adapter takes ``NAME`` to be by chance

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


def summary_sentences(adapter: str, rows: Sequence[Figures], no_gap: Sequence[Figures]) -> list[str]:
    """Give each diagnostic's mean over an adapter's ``rows``, over its ``T``→``T`` rows (``no_gap``), and by chance.

    No verdict is drawn: each adapter estimates chance its own way, and what ``T``→``T`` measures is no estimate.
    """
    names = names_of("diagnostics", [*rows, *no_gap])
    measures = dict.fromkeys(name.removesuffix(FLOOR) for name in names)
    return [
        f"{adapter}: {measure} {'; '.join(_parts(measure, rows, no_gap))} (means over rows, checkpoints and seeds)"
        for measure in measures
    ]


def _parts(measure: str, rows: Sequence[Figures], no_gap: Sequence[Figures]) -> list[str]:
    floor = _mean(measure + FLOOR, rows)
    parts = {
        "{}": _mean(measure, rows),
        "{} in T→T, where there is no gap": _mean(measure, no_gap),
        "{} by chance": _mean(measure + FLOOR, no_gap) if floor is None else floor,
    }
    return [words.format(f"{mean:.3g}") for words, mean in parts.items() if mean is not None]


def _mean(name: str, rows: Sequence[Figures]) -> float | None:
    means = [figures.diagnostics[name].mean for figures in rows if name in figures.diagnostics]
    return fmean(means) if means else None


def _averages(records: Mapping[int, CellRecord], kind: _Kind) -> dict[str, Statistic]:
    per_seed: dict[str, dict[int, float]] = {}
    for seed, record in records.items():
        points: list[dict[str, float]] = [getattr(checkpoint, kind) for checkpoint in record.adaptation.history]
        for name in dict.fromkeys(name for point in points for name in point):
            per_seed.setdefault(name, {})[seed] = fmean(point[name] for point in points if name in point)
    return {name: statistic(values) for name, values in per_seed.items()}
