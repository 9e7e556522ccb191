"""From a resolved experiment to cells, and from cells to deduplicated stages with content keys.

A stage's key is a hash of its name and version, its plugin's distribution, version and options, its seed and its inputs' keys.
Weights and data enter by content, never by path: a baseline is trained once for a whole matrix, and nothing is
served that another classifier made.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import metadata
from typing import TYPE_CHECKING, Any

from harness import __version__
from harness.data import validation_size
from harness.models import input_of, model_identity
from harness.provenance import edited_source
from harness.records import CellName, Comparable
from harness.resolve import (
    ResolvedAdapter,
    ResolvedCorrector,
    ResolvedEvaluator,
    ResolvedExperiment,
    ResolvedPlugin,
    ResolvedQuantizer,
)
from harness.stages.jobs import (
    KIND_OF,
    AdaptJob,
    BaselineJob,
    CorrectJob,
    EvaluateJob,
    Job,
    MeasureJob,
    ShamJob,
    SourceKind,
    SplitJob,
    Subject,
)
from harness.stages.stage import Stage
from harness.store import content_key

if TYPE_CHECKING:
    from collections.abc import Iterator

    from harness.controls import Control
    from harness.data import DataDescription
    from harness.manager import Manager
    from harness.resolve import ResolvedModel
    from harness.spec import Keep

STAGE_VERSIONS = {"baseline": 1, "split": 1, "correct": 1, "sham": 1, "adapt": 1, "evaluate": 1, "measure": 1}
"""A stage's version: raised whenever its results may change."""

COMPUTING_PARTS = (
    "engine",
    "stages",
    "bridging.py",
    "budget.py",
    "contract.py",
    "criteria.py",
    "data.py",
    "measuring.py",
    "models.py",
    "weights.py",
)
"""The parts of this package that compute results; where they are edited in place, their source is part of every key."""

CURRICULUM = ResolvedCorrector("none", None, "toward-true", "first-hit", "corrected")


@dataclass(frozen=True)
class Cell:
    """One row of the table for one seed, and the stages that make it."""

    name: CellName
    key: str
    comparable: Comparable
    corrector: ResolvedCorrector | None
    adapter: ResolvedAdapter | None
    split: Stage
    correct: Stage | None
    adapt: Stage | None
    evaluate: Stage
    baseline_evaluate: Stage
    measures: tuple[tuple[ResolvedEvaluator, Stage], ...] = ()

    def stages(self) -> Iterator[Stage]:
        """Yield every stage the cell needs, inputs first; one may come more than once."""
        measures = [stage for _, stage in self.measures]
        for stage in (self.baseline_evaluate, *((self.correct,) if self.correct else ()), self.evaluate, *measures):
            yield from _with_inputs(stage)


@dataclass(frozen=True)
class Plan:
    """The cells of an experiment, in the order of its tables."""

    experiment: str
    cells: tuple[Cell, ...]
    data: DataDescription

    def stages(self) -> dict[str, Stage]:
        """Return the distinct stages by key, inputs before what reads them."""
        found: dict[str, Stage] = {}
        for cell in self.cells:
            for stage in cell.stages():
                found.setdefault(stage.key, stage)
        return found


@dataclass(frozen=True)
class Setting:
    """What of a machine decides results: the device's kind and the threads of a worker."""

    device: str
    threads: int


def make_plan(resolved: ResolvedExperiment, data: DataDescription, manager: Manager, setting: Setting) -> Plan:
    """Expand the matrix and its controls."""
    cells = [
        cell
        for model in resolved.models
        for quantizer in resolved.quantizers
        for seed in resolved.experiment.seeds
        for cell in _Row(
            resolved, data=data, manager=manager, setting=setting, model=model, quantizer=quantizer, seed=seed
        ).cells()
    ]
    unique = {cell.key: cell for cell in cells}
    return Plan(resolved.experiment.name, tuple(unique.values()), data)


class _Row:
    """The cells of one classifier and one seed."""

    def __init__(
        self,
        resolved: ResolvedExperiment,
        *,
        data: DataDescription,
        manager: Manager,
        setting: Setting,
        model: ResolvedModel,
        quantizer: ResolvedQuantizer | None,
        seed: int,
    ) -> None:
        self.resolved = resolved
        self.experiment = resolved.experiment
        self.manager = manager
        self.setting = setting
        self.data = data
        shape = input_of(model, data, resolved.dataset.normalization)
        held_out = validation_size(self.experiment.validation, data.num_train)
        self.subject = Subject(data.fingerprint, model, shape, held_out, seed, quantizer)
        self.identity = model_identity(model, shape, manager)
        # What the judge's verdicts depend on beside the weights.
        self.judging: list[Any] = [quantizer.quantizer.identity(), seed] if quantizer else []
        self.baseline = self._baseline()
        self.split = self._stage(
            SplitJob(self.subject), {"baseline": self.baseline}, self._judged(self.subject.validation, seed)
        )
        self.baseline_evaluate = self._evaluate("target", "corrected", self.baseline, None)
        self.comparable = self._comparable()

    def cells(self) -> Iterator[Cell]:
        """Yield the controls that stand alone, then the matrix with each row's own controls."""
        controls = self.experiment.control_names
        if "none" in controls:
            yield self._cell("none", None, None, "target")
        for control, adapter in (("recalibrate-bn", "recalibrate-bn"), ("finetune-target", "finetune")):
            if control in controls:
                yield self._cell(control, None, self._control_adapter(adapter), "target")
        for resolved in self.resolved.adapters:
            yield from self._rows_of(resolved)
        if "finetune-source" in controls:
            for corrector in self._correctors():
                yield self._cell("finetune-source", corrector, self._control_adapter("finetune"), "corrected")

    def _rows_of(self, adapter: ResolvedAdapter) -> Iterator[Cell]:
        controls = self.experiment.control_names
        if "target-to-target" in controls:
            yield self._cell("target-to-target", None, adapter, "target")
        if "random-subset" in controls:
            yield self._cell("random-subset", None, adapter, "random-subset")
        for corrector in self._correctors():
            yield self._cell(None if corrector.attack else "curriculum", corrector, adapter, "corrected")
            if "sham" in controls and corrector.attack:
                yield self._cell("sham", corrector, adapter, "sham")

    def _correctors(self) -> list[ResolvedCorrector]:
        """Return the correctors, the curriculum first; it is added as a control where the spec does not list it."""
        listed = list(self.resolved.correctors)
        if "curriculum" in self.experiment.control_names and all(corrector.attack for corrector in listed):
            return [CURRICULUM, *listed]
        return listed

    def _control_adapter(self, name: str) -> ResolvedAdapter:
        plugin = self.manager.find("adapter", f"adaptation/{name}")
        return ResolvedAdapter(name, ResolvedPlugin(plugin, self.manager.load(plugin).options_type()))

    def _cell(
        self,
        control: Control | None,
        corrector: ResolvedCorrector | None,
        adapter: ResolvedAdapter | None,
        source: SourceKind,
    ) -> Cell:
        keep = corrector.keep if corrector else "corrected"
        correct = self._correct(corrector)
        perturbed = self._sham(correct, corrector) if source == "sham" else correct
        adapt = self._adapt(adapter, source, keep, perturbed) if adapter else None
        evaluate = self._evaluate(source, keep, adapt or self.baseline, perturbed)
        measures = tuple((asked, self._measure(asked, adapt or self.baseline)) for asked in self.resolved.evaluators)
        name = CellName(
            model=self._model_name(),
            corrector=corrector.name if corrector else None,
            adapter=adapter.name if adapter else "none",
            control=control,
            seed=self.subject.seed,
        )
        measured = [[asked.name, stage.key] for asked, stage in measures]
        key = content_key(evaluate.key, name.model_dump(), self.comparable.key, self.resolved.dataset.name, measured)
        return Cell(
            name,
            key,
            self.comparable,
            corrector,
            adapter,
            self.split,
            correct,
            adapt,
            evaluate,
            self.baseline_evaluate,
            measures,
        )

    # -- stages -----------------------------------------------------------------------------------------------------

    def _baseline(self) -> Stage:
        model = self.subject.model
        training = None if model.trained else self.experiment.baseline
        own: list[Any] = [self.identity, training.model_dump(mode="json") if training else None]
        if training is not None:
            own += [self.subject.data, self.subject.validation]
        if model.weights is None or training is not None:
            own.append(self.subject.seed)
        return self._stage(BaselineJob(self.subject, training), {}, own)

    def _correct(self, corrector: ResolvedCorrector | None) -> Stage | None:
        if corrector is None or corrector.attack is None:
            return None
        batch_size = self.experiment.attack_batch_size
        max_passes = self.experiment.attack_passes
        job = CorrectJob(self.subject, corrector, batch_size, max_passes)
        own = [corrector.identity(), batch_size, max_passes]
        return self._stage(job, {"baseline": self.baseline, "split": self.split}, own)

    def _sham(self, correct: Stage | None, corrector: ResolvedCorrector | None) -> Stage | None:
        if correct is None or corrector is None or corrector.attack is None:
            return None
        kind: Any = self.manager.load(corrector.attack.plugin)
        norm = kind.capabilities.norm
        return self._stage(ShamJob(self.subject, norm), {"baseline": self.baseline, "correct": correct}, [norm])

    def _adapt(self, adapter: ResolvedAdapter, source: SourceKind, keep: Keep, perturbed: Stage | None) -> Stage:
        kind: Any = self.manager.load(adapter.adapter.plugin)
        adaptation = self.experiment.adaptation
        budget = adaptation.model_dump(mode="json") if kind.takes_gradient_steps() else None
        job = AdaptJob(self.subject, adapter, source, keep, adaptation)
        own = [adapter.adapter.identity(), source, keep, budget, self.subject.validation, self.subject.seed]
        return self._stage(job, self._inputs(baseline=self.baseline, perturbed=perturbed), own)

    def _evaluate(self, source: SourceKind, keep: Keep, weights: Stage, perturbed: Stage | None) -> Stage:
        own = self._judged(source, keep, self.subject.seed)
        return self._stage(
            EvaluateJob(self.subject, source, keep), self._inputs(weights=weights, perturbed=perturbed), own
        )

    def _measure(self, asked: ResolvedEvaluator, weights: Stage) -> Stage:
        own = self._judged(asked.evaluator.identity(), asked.samples, asked.batch_size)
        if self.judging:
            own.append(self.subject.validation)
        return self._stage(MeasureJob(self.subject, asked), {"weights": weights}, own)

    def _judged(self, *own: Any) -> list[Any]:
        return [*own, *self.judging]

    def _inputs(self, *, perturbed: Stage | None, **others: Stage) -> dict[str, Stage]:
        inputs = {**others, "split": self.split}
        return inputs if perturbed is None else {**inputs, "perturbed": perturbed}

    def _stage(self, job: Job, inputs: dict[str, Stage], own: list[Any]) -> Stage:
        kind = KIND_OF[type(job)]
        environment = {
            "harness": __version__,
            "source": edited_source("adcorda-harness", "harness", COMPUTING_PARTS),
            "torch": metadata.version("torch"),
            "device": self.setting.device,
            "threads": self.setting.threads,
        }
        read = {role: stage.key for role, stage in inputs.items()}
        key = content_key(kind, STAGE_VERSIONS[kind], environment, self.subject.data, read, own)
        return Stage(key, job, tuple(inputs.items()))

    def _comparable(self) -> Comparable:
        model = self.subject.model
        fields: dict[str, Any] = {
            "dataset": self.resolved.dataset.name,
            "data_fingerprint": self.subject.data,
            "model": self._model_name(),
            "model_fingerprint": content_key(self.identity, *self.judging[:1]),
            "validation": self.subject.validation,
            "baseline": None if model.trained else self.experiment.baseline.model_dump(mode="json"),
            "budget": self._budget(),
            "evaluation": "clean",
            "environment": {
                "device": self.setting.device,
                "threads": self.setting.threads,
                "torch": metadata.version("torch"),
            },
        }
        return Comparable(key=content_key(fields), **fields)

    def _model_name(self) -> str:
        quantizer, name = self.subject.quantizer, self.subject.model.name
        return f"{name} {quantizer.name}" if quantizer else name

    def _budget(self) -> dict[str, Any]:
        """Return the adaptation's budget with its length in steps, whichever way the spec gave it."""
        adaptation = self.experiment.adaptation
        budget = adaptation.model_dump(mode="json", exclude={"epochs"})
        steps = adaptation.total_steps(self.data.num_train - self.subject.validation)
        passes = self.experiment.attack_passes
        # Passes are shared by a batch: how large it is decides what a sample gets.
        size = self.experiment.attack_batch_size
        attack = {} if passes is None else {"attack_passes": passes, "attack_batch_size": size}
        return {**budget, **attack, "steps": steps, "validations": min(adaptation.validations, steps)}


def _with_inputs(stage: Stage) -> Iterator[Stage]:
    for _, source in stage.inputs:
        yield from _with_inputs(source)
    yield stage
