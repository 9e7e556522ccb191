"""Show a plan: cells, stages, what is stored, what would run."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from rich import box
from rich.table import Table as Grid

from harness.cli.watching import cell_label, stage_label
from harness.stages.jobs import SearchJob
from harness.validation import alternatives

if TYPE_CHECKING:
    from rich.console import Console

    from harness.launch import Prepared
    from harness.run_state import RunState
    from harness.stages.jobs import StageKind
    from harness.stages.stage import Stage

ORDER: tuple[StageKind, ...] = (
    "baseline",
    "split",
    "correct",
    "sham",
    "transfer",
    "adapt",
    "search",
    "evaluate",
    "measure",
    "figure",
)


def render_plan(prepared: Prepared, state: RunState, console: Console) -> None:
    """Print the cells with what they wait for, and the stages by kind."""
    done = {cell.key for cell in prepared.plan.cells} - state.pending_cells.keys()
    cells = Grid(
        box=box.SIMPLE_HEAD, title=f"{prepared.plan.experiment}: {len(prepared.plan.cells)} cells", title_justify="left"
    )
    for heading in ("Cell", "State", "Stages to run"):
        cells.add_column(heading, overflow="fold")
    for cell in prepared.plan.cells:
        waiting = (
            [] if cell.key in done else list({s.key: s for s in cell.stages() if s.key not in state.done}.values())
        )
        kinds = Counter(stage.kind for stage in waiting)
        cells.add_row(
            cell_label(cell.name, cell.comparable.dataset if len(prepared.plan.datasets) > 1 else ""),
            "recorded" if cell.key in done else "to do" if waiting else "stored",
            ", ".join(kind if count == 1 else f"{count} {kind}" for kind in ORDER if (count := kinds[kind])) or "–",
        )
    console.print(cells)
    console.print(_stage_grid(state))
    if searches := [stage.job for stage in state.stages.values() if isinstance(stage.job, SearchJob)]:
        asked = dict.fromkeys(f"{job.trials} trials ({job.sampler})" for job in searches)
        adaptations = sum(job.trials for job in searches)
        console.print(f"Each search is {alternatives(list(asked))}: {adaptations:,} adaptations in all.")


def _stage_grid(state: RunState) -> Grid:
    distinct, stored = (Counter(stage.kind for stage in stages) for stages in (state.stages.values(), _stored(state)))
    grid = Grid(box=box.SIMPLE_HEAD, title="Distinct stages of the cells to do", title_justify="left")
    for heading in ("Stage", "Stored", "To run"):
        grid.add_column(heading, justify="left" if heading == "Stage" else "right")
    for kind in ORDER:
        grid.add_row(kind, str(stored[kind]), str(distinct[kind] - stored[kind]))
    return grid


def _stored(state: RunState) -> list[Any]:
    return [stage for key, stage in state.stages.items() if key in state.done]


def _trials(stage: Stage) -> dict[str, Any]:
    """Return what is tuned and in how many trials, nothing for a stage that tunes nothing."""
    job = stage.job
    if not isinstance(job, SearchJob):
        return {}
    return {"sampler": job.sampler, "trials": job.trials, "space": job.space.written()}


def plan_as_json(prepared: Prepared, state: RunState) -> dict[str, Any]:
    """Return the plan as a versioned object."""
    pending = state.pending_cells.keys()
    return {
        "version": 1,
        "experiment": prepared.plan.experiment,
        "device": prepared.setting.device,
        "threads": prepared.setting.threads,
        "workers": prepared.workers,
        "cells": [
            {**cell.name.model_dump(), "key": cell.key, "recorded": cell.key not in pending}
            for cell in prepared.plan.cells
        ],
        "stages": [
            {"stage": stage.kind, "name": stage_label(stage), "key": key, "stored": key in state.done, **_trials(stage)}
            for key, stage in state.stages.items()
        ],
    }
