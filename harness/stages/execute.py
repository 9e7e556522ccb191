"""Serve a stage from the store, or run it and store what it made."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from harness.engine.compiling import forget_compiled
from harness.errors import StoreError
from harness.stages import adapt, baseline, correct, evaluate, figure, measure, search, sham, split, transfer
from harness.stages.context import Context

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from harness.stages.context import Workshop
    from harness.stages.jobs import StageKind
    from harness.stages.stage import Stage
    from harness.store import Artifact

_RUN: dict[StageKind, Callable[[Any, Mapping[str, Artifact], Context], Artifact]] = {
    "baseline": baseline.run,
    "split": split.run,
    "correct": correct.run,
    "sham": sham.run,
    "transfer": transfer.run,
    "adapt": adapt.run,
    "search": lambda job, inputs, context: search.run(job, inputs, context, execute=execute),
    "evaluate": evaluate.run,
    "measure": measure.run,
    "figure": figure.run,
}


def execute(stage: Stage, workshop: Workshop, progress: Callable[[int, int], None]) -> None:
    """Run a stage unless the store holds it. Its inputs must be stored.

    Of processes that come to the same stage at once one runs it, and the others wait for it.
    """
    if _is_stored(stage, workshop):
        return
    with workshop.store.claim(stage.key):
        # Looked for again: another may have stored it while this one waited.
        if not _is_stored(stage, workshop):
            _make(stage, workshop, progress)


def _is_stored(stage: Stage, workshop: Workshop) -> bool:
    return workshop.store.load_or_discard(stage.kind, stage.key) is not None


def _make(stage: Stage, workshop: Workshop, progress: Callable[[int, int], None]) -> None:
    inputs = {role: _input(source, workshop) for role, source in stage.inputs}
    weights = dict(stage.inputs).get("weights")
    if stage.kind == "evaluate" and weights is not None and weights.kind == "search":
        inputs |= search.chosen_perturbed(inputs["weights"], weights.key, workshop)
    partial = workshop.store.partial(stage.key, every_seconds=workshop.checkpoint_seconds)
    context = Context(workshop, stage.job.subject, partial, progress)
    start = time.perf_counter()
    try:
        artifact = _RUN[stage.kind](stage.job, inputs, context)
    finally:
        forget_compiled()
    times = {**artifact.times, "seconds": time.perf_counter() - start}
    workshop.store.save(stage.kind, stage.key, replace(artifact, times=times))
    partial.clear()


def _input(stage: Stage, workshop: Workshop) -> Artifact:
    artifact = workshop.store.load_or_discard(stage.kind, stage.key)
    if artifact is None:
        folder = workshop.store.folder(stage.kind, stage.key)
        raise StoreError(f"{folder}: was damaged or removed while the run went on; start it again, the rest is kept")
    return artifact
