"""From a cell's artifacts to its record."""

from __future__ import annotations

import platform
import sys
from functools import cache
from importlib import metadata
from typing import TYPE_CHECKING, Any

from harness.controls import SUBSTITUTES
from harness.recording_search import chosen_of
from harness.records import (
    SPEEDS,
    Accuracies,
    Adaptation,
    CellRecord,
    Correction,
    Losses,
    Measure,
    Quantized,
    TestPredictions,
    step_time,
)
from harness.rivals import rival_name
from harness.stages.jobs import TransferJob

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from harness.cells import Cell, Setting
    from harness.recording_search import Chosen
    from harness.resolved import ResolvedEvaluator
    from harness.stages.stage import Stage
    from harness.store import Artifact, Store

FEW_SAMPLES = 30
RECORDED_PACKAGES = ("adcorda-harness", "numpy", "torch", "torchvision")


def record_cell(cell: Cell, store: Store, *, experiment: str, setting: Setting) -> CellRecord:
    """Make a finished cell's record. Raises ``StoreError`` when one of its artifacts is damaged."""
    evaluation, baseline = _meta(store, cell.evaluate), _meta(store, cell.baseline_evaluate)
    adaptation = _meta(store, cell.adapt) if cell.adapt else None
    split = _meta(store, cell.split)
    chosen = chosen_of(cell, adaptation)
    cell = chosen.cell if chosen else cell
    correction = _correction(cell, store, chosen, split=split.meta)
    found = evaluation.meta["test"]
    return CellRecord(
        experiment=experiment,
        key=cell.key,
        cell=cell.name,
        comparable=cell.comparable,
        counts=_counts(cell, split.meta, evaluation.meta),
        correction=correction,
        accuracy=Accuracies(**evaluation.meta["accuracy"]),
        baseline=Accuracies(**baseline.meta["accuracy"]),
        loss=Losses(**evaluation.meta["loss"]),
        adaptation=_adaptation(cell, adaptation),
        test=TestPredictions(labels=found["labels"], predictions=found["predictions"]),
        measures=[_measure(asked, _meta(store, stage)) for asked, stage in cell.measures],
        quantized=_quantized(cell, evaluation.meta),
        search=chosen.search if chosen else None,
        warnings=[
            *_warnings(correction, cell),
            *_remarks(cell, evaluation.meta),
            *_adapters_remarks(cell, adaptation),
            *_rivals_remark(cell),
            *(chosen.warnings if chosen else ()),
        ],
        versions=_versions(cell) | dict(chosen.versions if chosen else {}),
        environment=_environment(setting),
        times=_times(cell, store),
    )


def _quantized(cell: Cell, evaluation: Mapping[str, Any]) -> Quantized | None:
    """Tell of a quantized subject before and after: the paper's two rows."""
    asked = cell.evaluate.job.subject.quantizer
    if asked is None:
        return None
    plugin = asked.quantizer
    return Quantized(
        quantizer=plugin.plugin.qualified,
        options=plugin.options.model_dump(mode="json"),
        gradients=asked.gradients,
        **evaluation["quantized"],
    )


def _remarks(cell: Cell, evaluation: Mapping[str, Any]) -> list[str]:
    """Return what the subject's quantizer has to say of its work."""
    asked = cell.evaluate.job.subject.quantizer
    return [] if asked is None else [f"{asked.quantizer.plugin.name}: {remark}" for remark in evaluation["remarks"]]


def _rivals_remark(cell: Cell) -> list[str]:
    """Return for whom a transferred row's samples were corrected."""
    perturbed = dict(cell.evaluate.inputs).get("perturbed")
    job = perturbed.job if perturbed else None
    return [f"corrected for {rival_name(job.rival)}"] if isinstance(job, TransferJob) else []


def _adapters_remarks(cell: Cell, adaptation: Artifact | None) -> list[str]:
    """Return what the adapter has to say of its work."""
    if adaptation is None or cell.adapter is None:
        return []
    return [f"{cell.adapter.name}: {remark}" for remark in adaptation.meta["remarks"]]


def _measure(asked: ResolvedEvaluator, found: Artifact) -> Measure:
    plugin = asked.evaluator
    options = plugin.options.model_dump(mode="json")
    return Measure(name=asked.name, evaluator=plugin.plugin.qualified, options=options, **found.meta)


def _meta(store: Store, stage: Stage) -> Artifact:
    return store.load_meta(stage.kind, stage.key)


def _warnings(correction: Correction | None, cell: Cell) -> list[str]:
    """Return what a reader of the table should know of this cell."""
    said = list(correction.flags) if correction else []
    held_out = cell.comparable.validation
    if held_out < FEW_SAMPLES:
        said.append(f"selection looks at {held_out} validation samples: too few to tell checkpoints apart")
    return said


def _counts(cell: Cell, split: Mapping[str, Any], evaluation: Mapping[str, Any]) -> dict[str, int]:
    return {
        "train": split["right"] + split["wrong"],
        "valid": cell.comparable.validation,
        "test": len(evaluation["test"]["labels"]),
        "right": split["right"],
        "wrong": split["wrong"],
        "source": evaluation["source_size"],
    }


def _correction(cell: Cell, store: Store, chosen: Chosen | None, *, split: Mapping[str, Any]) -> Correction | None:
    """Return what the corrector did; nothing at all for the curriculum, None where no corrector makes the source."""
    if cell.corrector is None:
        return None
    meta = chosen.correct if chosen and chosen.correct else _meta(store, cell.correct).meta if cell.correct else None
    if meta is None or cell.corrector.attack is None:
        nothing = dict.fromkeys(("attack", "objective", "select", "norm", "median_norm"))
        counts = {"wrong": split["wrong"], "corrected": 0, "kept": 0, "forward": 0, "backward": 0}
        return Correction(**nothing, **counts, options={}, survived={}, flags=[], **_initial_losses(split, 0.0, 0))
    keep = cell.corrector.keep
    kept, loss = meta["wrong"] if keep == "all" else meta["corrected"], meta["losses"][keep]
    if cell.name.control in SUBSTITUTES:
        shown = chosen.shown if chosen and chosen.shown else _meta(store, dict(cell.evaluate.inputs)["perturbed"]).meta
        meta = {**meta, **_substituted(shown[keep])}
        kept, loss = shown[keep]["kept"], shown[keep]["loss"]
    return Correction(
        attack=cell.corrector.attack.plugin.qualified,
        objective=cell.corrector.objective,
        select=cell.corrector.select,
        options=cell.corrector.attack.options.model_dump(mode="json"),
        kept=kept,
        **{name: value for name, value in meta.items() if name != "losses"},
        **_initial_losses(split, loss, kept),
    )


def _initial_losses(split: Mapping[str, Any], loss: float, kept: int) -> dict[str, float]:
    """Return the baseline's mean losses on T and on T', where ``kept`` samples, whose losses sum to ``loss``, replace the wrong."""
    right, wrong = split["losses"]["right"], split["losses"]["wrong"]
    return {
        "loss_target": (right + wrong) / (split["right"] + split["wrong"]),
        "loss_source": (right + loss) / max(split["right"] + kept, 1),
    }


def _substituted(told: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is the substitutes' own: how many of them are labelled true, how far they are from their samples."""
    own = {"corrected": told["labelled_true"], "median_norm": told["median_norm"]}
    return {**own, "curve": [], "survived": {}, "forward": 0, "backward": 0, "flags": []}


def _adaptation(cell: Cell, artifact: Artifact | None) -> Adaptation:
    if artifact is None or cell.adapter is None:
        return Adaptation(adapter="none", options={}, steps=0, best_step=0, history=[])
    return Adaptation(
        adapter=cell.adapter.adapter.plugin.qualified,
        options=cell.adapter.adapter.options.model_dump(mode="json"),
        **artifact.meta["uses"],
        **{name: value for name, value in artifact.meta.items() if name not in {"search", "remarks", "uses"}},
    )


def _versions(cell: Cell) -> dict[str, str]:
    quantizer = cell.evaluate.job.subject.quantizer
    measuring = [asked.evaluator for asked, _ in cell.measures] + ([quantizer.quantizer] if quantizer else [])
    parts = [part for part in (_attack(cell), cell.adapter.adapter if cell.adapter else None, *measuring) if part]
    versions = {package: _version(package) for package in RECORDED_PACKAGES}
    libraries = {name: version for part in parts if part.library for name, version in part.library.versions.items()}
    return versions | {part.plugin.distribution: part.plugin.version for part in parts} | libraries


@cache
def _version(package: str) -> str:
    """Return the version that is installed, read once: a package's metadata are long, and every record names four."""
    return metadata.version(package)


def _attack(cell: Cell) -> Any:
    return cell.corrector.attack if cell.corrector else None


def _environment(setting: Setting) -> dict[str, Any]:
    return {
        "python": platform.python_version(),
        "platform": sys.platform,
        "machine": platform.machine(),
        "device": setting.device,
        "threads": setting.threads,
    }


def _times(cell: Cell, store: Store) -> dict[str, float]:
    """Return the seconds that each stage took when it was run, whichever cell it was run for; images/s where they were timed."""
    stages = _distinct(cell.stages())
    times: dict[str, float] = {}
    for stage in stages:
        times[stage.kind] = times.get(stage.kind, 0.0) + _meta(store, stage).times["seconds"]
    times |= _step_times(_meta(store, cell.adapt)) if cell.adapt else {}
    speeds = {name: value for name, value in _meta(store, cell.evaluate).times.items() if name in SPEEDS}
    if cell.adapt and cell.adapt.kind == "search":
        # Its trials, which have seconds of their own, and the correction it chose, not all that it tried.
        tuned = _meta(store, cell.adapt).times
        times |= {name: seconds for name, seconds in tuned.items() if name != "seconds"}
    return times | speeds


def _step_times(adaptation: Artifact) -> dict[str, float]:
    """Return the seconds up to each checkpoint."""
    names = [step_time(0), *(step_time(point["step"]) for point in adaptation.meta["history"])]
    return {name: adaptation.times[name] for name in names if name in adaptation.times}


def _distinct(stages: Iterable[Stage]) -> list[Stage]:
    return list({stage.key: stage for stage in stages}.values())
