"""What a record tells of a search: all trials, the one chosen, and what the cell comes to with its settings."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from harness.records import Search, Trial
from harness.stages.jobs import SearchJob

if TYPE_CHECKING:
    from collections.abc import Mapping

    from harness.cells import Cell
    from harness.search_space import Dimension
    from harness.store import Artifact

FEWEST_VALUES = 3  # of two, one always is the largest
NEAR = 0.02  # of a range's width


@dataclass(frozen=True)
class Chosen:
    """A search's part of the record, the cell with the settings that it chose, and what is to be said of it.

    ``correct`` and ``shown`` (a substitute's, such as the sham's) are what these stages told, where the search tuned the
    corrector; otherwise they are the cell's own.
    """

    search: Search
    cell: Cell
    warnings: tuple[str, ...]
    correct: Mapping[str, Any] | None
    shown: Mapping[str, Any] | None
    versions: Mapping[str, str]


def chosen_of(cell: Cell, artifact: Artifact | None) -> Chosen | None:
    """Return what a cell's search chose, None where nothing was tuned."""
    if cell.adapt is None or artifact is None or not isinstance(cell.adapt.job, SearchJob):
        return None
    job, found = cell.adapt.job, artifact.meta["search"]
    search = Search(
        sampler=job.sampler,
        space=job.space.written(),
        trials=[Trial(**trial) for trial in found["trials"]],
        chosen=found["chosen"],
        training=found["training"],
    )
    settings = search.winner.settings
    parts = job.space.tuned(settings, adaptation=job.adaptation, adapter=job.arm.adapter, corrector=job.arm.corrector)
    tuned = replace(cell, adapter=parts.adapter, corrector=parts.corrector)
    warnings = (*_lost(search), *filter(None, (_at_an_end(one, settings[one.name]) for one in job.space.dimensions)))
    return Chosen(search, tuned, warnings, found.get("correct"), found.get("shown"), job.versions)


def _lost(search: Search) -> list[str]:
    reasons = [trial.failed for trial in search.trials if trial.failed is not None]
    if not reasons:
        return []
    return [f"search: {len(reasons)} of {len(search.trials)} trials came to nothing: {reasons[0]}"]


def _at_an_end(dimension: Dimension, value: Any) -> str | None:
    """Say that the best of some numbers is the smallest or the largest: the search may have stopped short of a better one."""
    ends = _ends(dimension)
    if ends is None:
        return None
    low, high = ends
    scale = math.log if dimension.bounds and dimension.bounds.log else float
    margin = NEAR * (scale(high) - scale(low)) if dimension.bounds else 0.0
    if scale(low) + margin < scale(value) < scale(high) - margin:
        return None
    end = "lower" if scale(value) - scale(low) < scale(high) - scale(value) else "upper"
    return f"search: the best {dimension.name} is at the {end} end of what was tried; a better one may lie beyond"


def _ends(dimension: Dimension) -> tuple[float, float] | None:
    """Return the smallest and the largest of a dimension's numbers, None where they are few or no numbers."""
    if dimension.bounds:
        return dimension.bounds.low, dimension.bounds.high
    numbers = [value for value in dimension.choices if isinstance(value, int | float) and not isinstance(value, bool)]
    if len(numbers) < len(dimension.choices) or len(numbers) < FEWEST_VALUES:
        return None
    return min(numbers), max(numbers)
