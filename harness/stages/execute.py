"""Serve a stage from the store, or run it and store what it made."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from harness.errors import StoreError
from harness.stages import adapt, baseline, correct, evaluate, measure, sham, split
from harness.stages.context import Context
from harness.store import Artifact

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from harness.stages.context import Workshop
    from harness.stages.jobs import StageKind
    from harness.stages.stage import Stage

_RUN: dict[StageKind, Callable[[Any, Mapping[str, Artifact], Context], Artifact]] = {
    "baseline": baseline.run,
    "split": split.run,
    "correct": correct.run,
    "sham": sham.run,
    "adapt": adapt.run,
    "evaluate": evaluate.run,
    "measure": measure.run,
}


def execute(stage: Stage, workshop: Workshop, progress: Callable[[int, int], None]) -> None:
    """Run a stage unless the store holds it. Its inputs must be stored."""
    if workshop.store.load_or_discard(stage.kind, stage.key) is not None:
        return
    inputs = {role: _input(source, workshop) for role, source in stage.inputs}
    partial = workshop.store.partial(stage.key, every_seconds=workshop.checkpoint_seconds)
    context = Context(workshop, stage.job.subject, partial, progress)
    start = time.perf_counter()
    artifact = _RUN[stage.kind](stage.job, inputs, context)
    times = {**artifact.times, "seconds": time.perf_counter() - start}
    workshop.store.save(stage.kind, stage.key, Artifact(artifact.tensors, artifact.meta, times))
    partial.clear()


def _input(stage: Stage, workshop: Workshop) -> Artifact:
    artifact = workshop.store.load_or_discard(stage.kind, stage.key)
    if artifact is None:
        folder = workshop.store.folder(stage.kind, stage.key)
        raise StoreError(f"{folder}: was damaged or removed while the run went on; start it again, the rest is kept")
    return artifact
