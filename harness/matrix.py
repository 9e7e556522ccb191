"""The cells of one classifier in one precision for one seed: the matrix, its controls, and the stages that make each."""

from __future__ import annotations

from dataclasses import replace
from importlib import metadata
from typing import TYPE_CHECKING, Any

from harness.cells import Cell, Picture, Setting
from harness.controls import TRAINED_ON_TARGET
from harness.data import validation_size
from harness.file_names import file_stem
from harness.models import input_of, model_identity
from harness.records import CellName, Comparable
from harness.resolved import (
    ResolvedAdapter,
    ResolvedCorrector,
    ResolvedEvaluator,
    ResolvedExperiment,
    ResolvedFigure,
    ResolvedPlugin,
    ResolvedQuantizer,
)
from harness.rivals import rivals_of
from harness.search import GRID
from harness.settling import settled
from harness.stages.jobs import (
    Arm,
    EvaluateJob,
    FigureJob,
    MeasureJob,
    SearchJob,
    SourceKind,
    SplitJob,
    Subject,
)
from harness.stages.making import ArmMaker, Rival, StageMaker, adapts_by_gradient, baseline_stage
from harness.store import content_key

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from harness.controls import Control
    from harness.data import DataDescription
    from harness.manager import Manager
    from harness.references import Keep
    from harness.resolved import ResolvedModel
    from harness.search_space import Space
    from harness.stages.making import ArmStages
    from harness.stages.stage import Stage

CURRICULUM = ResolvedCorrector("none", None, "toward-true", "first-hit", "corrected")


class SubjectRows:
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
        quantizer = settled(quantizer, manager)
        self.subject = Subject(data.fingerprint, model, shape, held_out, seed, quantizer)
        self.identity = model_identity(model, shape, manager)
        # What the judge's verdicts depend on beside the weights.
        self.judging: list[Any] = [quantizer.quantizer.identity(), seed] if quantizer else []
        self.maker = StageMaker.on(self.subject, device=setting.device, threads=setting.threads)
        self.baseline = baseline_stage(self.maker, self.identity, self.experiment.baseline)
        self.split = self.maker.stage(
            SplitJob(self.subject), {"baseline": self.baseline}, self._judged(self.subject.validation, seed)
        )
        experiment = self.experiment
        self.arms = ArmMaker(
            self.maker,
            self.baseline,
            self.split,
            experiment.attack_batch_size,
            experiment.attack_passes,
            experiment.attack_precision,
            experiment.attack_compile,
            self._rival() if "transferred" in experiment.control_names else None,
        )
        self.baseline_evaluate = self._evaluate("target", "corrected", self.baseline, None)
        self.comparable = self._comparable()

    def cells(self) -> Iterator[Cell]:
        """Yield the controls that stand alone, then the matrix with each row's own controls."""
        rows = list(self._rows())
        trials = self._trials([arm for _, arm in rows if arm])
        for control, arm in rows:
            yield self._cell(control, arm, trials)

    def _rows(self) -> Iterator[tuple[Control | None, Arm | None]]:
        controls = self.experiment.control_names
        if "none" in controls:
            yield "none", None
        for control, adapter in TRAINED_ON_TARGET.items():
            if control in controls:
                yield control, Arm(None, self._control_adapter(adapter), "target")
        for resolved in self.resolved.adapters:
            yield from self._rows_of(resolved)
        if "finetune-source" in controls:
            for corrector in self._correctors():
                yield "finetune-source", Arm(corrector, self._control_adapter("finetune"), "corrected")

    def pictures(self) -> Iterator[Picture]:
        """Yield the figures that are drawn for this seed."""
        correctors = {corrector.name: corrector for corrector in self.resolved.correctors}
        dataset, model, seed = self.resolved.dataset.name, self._model_name(), self.subject.seed
        for asked in self.resolved.figures:
            if seed in asked.seeds:
                stem = file_stem(asked.name, model, f"seed{seed}")
                stage = self._figure(asked, [correctors[name] for name in asked.correctors])
                yield Picture(asked, dataset, model, seed, stem, stage)

    def _rows_of(self, adapter: ResolvedAdapter) -> Iterator[tuple[Control | None, Arm]]:
        controls = self.experiment.control_names
        if "target-to-target" in controls:
            yield "target-to-target", Arm(None, adapter, "target")
        if "random-subset" in controls:
            yield "random-subset", Arm(None, adapter, "random-subset")
        for corrector in self._correctors():
            yield None if corrector.attack else "curriculum", Arm(corrector, adapter, "corrected")
            if "sham" in controls and corrector.attack:
                yield "sham", Arm(corrector, adapter, "sham")
            if "transferred" in controls and corrector.attack:
                yield "transferred", Arm(corrector, adapter, "transferred")

    def _correctors(self) -> list[ResolvedCorrector]:
        """Return the correctors, the curriculum first; it is added as a control where the spec does not list it."""
        listed = list(self.resolved.correctors)
        if "curriculum" in self.experiment.control_names and all(corrector.attack for corrector in listed):
            return [CURRICULUM, *listed]
        return listed

    def _control_adapter(self, name: str) -> ResolvedAdapter:
        plugin = self.manager.find("adapter", f"adaptation/{name}")
        return ResolvedAdapter(name, ResolvedPlugin(plugin, self.manager.load(plugin).options_type()))

    def _cell(self, control: Control | None, arm: Arm | None, trials: int) -> Cell:
        source, keep = (arm.source, arm.keep) if arm else ("target", "corrected")
        correct, perturbed, adapt = self._trained(arm, trials) if arm else (None, None, None)
        evaluate = self._evaluate(source, keep, adapt or self.baseline, perturbed)
        measures = tuple((asked, self._measure(asked, adapt or self.baseline)) for asked in self.resolved.evaluators)
        name = CellName(
            model=self._model_name(),
            corrector=arm.corrector.name if arm and arm.corrector else None,
            adapter=arm.adapter.name if arm else "none",
            control=control,
            seed=self.subject.seed,
        )
        measured = [[asked.name, stage.key] for asked, stage in measures]
        key = content_key(evaluate.key, name.model_dump(), self.comparable.key, self.resolved.dataset.name, measured)
        return Cell(
            name,
            key,
            self.comparable,
            arm.corrector if arm else None,
            arm.adapter if arm else None,
            self.split,
            correct,
            adapt,
            evaluate,
            self.baseline_evaluate,
            measures,
        )

    # -- search -----------------------------------------------------------------------------------------------------

    def _trained(self, arm: Arm, trials: int) -> tuple[Stage | None, Stage | None, Stage]:
        """Return the stages that correct, that make the perturbed samples and that adapt, or search how to.

        Where the corrector's options are tuned, its stages are the search's own.
        """
        made = self.arms.arm(arm, self.experiment.adaptation, self.manager)
        space = self._space(arm)
        if space is None:
            return made.correct, made.perturbed, made.adapt
        if space.of("correctors").dimensions:
            return None, None, self._search(arm, space, trials, made, self._tuned_inputs(arm, space))
        return made.correct, made.perturbed, self._search(arm, space, trials, made, dict(made.adapt.inputs))

    def _space(self, arm: Arm) -> Space | None:
        """Return what of the search's space an arm has, None where there is nothing to tune, not even a batch order."""
        search = self.resolved.search
        if search is None:
            return None
        by_gradient = adapts_by_gradient(arm.adapter, self.manager)
        # A control's adapter may bear the name that a spec gives one of its own.
        own = arm.adapter if arm.adapter in self.resolved.adapters else None
        space = search.space_of(by_gradient=by_gradient, adapter=own, corrector=arm.corrector)
        return space if by_gradient or space.dimensions else None

    def _trials(self, arms: Sequence[Arm]) -> int:
        """Return how many trials each arm has: a grid's are as many as the largest arm has combinations."""
        if self.resolved.search and self.resolved.search.trials:
            return self.resolved.search.trials
        return max((space.size or 1 for arm in arms if (space := self._space(arm))), default=0)

    def _search(self, arm: Arm, space: Space, trials: int, usual: ArmStages, inputs: Mapping[str, Stage]) -> Stage:
        search = self.resolved.search
        assert search is not None  # noqa: S101 (there is a space)
        adaptation, versions = self.experiment.adaptation, search.versions
        job = SearchJob(self.subject, arm, self.arms, adaptation, space, search.sampler, trials, versions)
        # What a trial is made of beside its settings is what the arm would be made of without them.
        own = [usual.adapt.key, space.written(), search.sampler, trials, dict(versions)]
        return self.maker.stage(job, inputs, own)

    def _tuned_inputs(self, arm: Arm, space: Space) -> dict[str, Stage]:
        """Return what a search reads that tunes the corrector: all that a grid will try, which arms may share.

        What another sampler will try is not known yet: its search makes the corrections that it comes to.
        """
        inputs = {"baseline": self.baseline, "split": self.split}
        found: dict[str, Stage] = {}
        tuned = space.of("correctors")
        for settings in tuned.grid() if self.resolved.search and self.resolved.search.sampler == GRID else ():
            parts = tuned.tuned(
                settings, adaptation=self.experiment.adaptation, adapter=arm.adapter, corrector=arm.corrector
            )
            made = self.arms.arm(replace(arm, corrector=parts.corrector), parts.adaptation, self.manager)
            if made.perturbed:
                found[made.perturbed.key] = made.perturbed
        return inputs | {f"perturbed {number}": stage for number, stage in enumerate(found.values(), 1)}

    # -- stages -----------------------------------------------------------------------------------------------------

    def _rival(self) -> Rival:
        """Return the first rival that is not this classifier under another name."""
        candidates = map(self._as_rival, rivals_of(self.subject, self.resolved, self.data))
        return next(rival for rival in candidates if rival.baseline.key != self.baseline.key)

    def _as_rival(self, subject: Subject) -> Rival:
        maker = StageMaker.on(subject, device=self.setting.device, threads=self.setting.threads)
        identity = model_identity(subject.model, subject.shape, self.manager)
        return Rival(maker, baseline_stage(maker, identity, self.experiment.baseline))

    def _evaluate(self, source: SourceKind, keep: Keep, weights: Stage, perturbed: Stage | None) -> Stage:
        own = self._judged(source, keep, self.subject.seed)
        inputs = self.arms.inputs(weights=weights, perturbed=perturbed)
        return self.maker.stage(EvaluateJob(self.subject, source, keep), inputs, own)

    def _measure(self, asked: ResolvedEvaluator, weights: Stage) -> Stage:
        own = self._judged(asked.evaluator.identity(), asked.samples, asked.batch_size, *self._gradients())
        if self.judging:
            own.append(self.subject.validation)
        return self.maker.stage(MeasureJob(self.subject, asked), {"weights": weights}, own)

    def _figure(self, asked: ResolvedFigure, correctors: Sequence[ResolvedCorrector]) -> Stage:
        made = {f"perturbed:{corrector.name}": self.arms.correct(corrector) for corrector in correctors}
        inputs = {"baseline": self.baseline, **{role: stage for role, stage in made.items() if stage is not None}}
        classes = self.data.classes
        own = [asked.figure.identity(), list(asked.correctors), list(classes), asked.dpi]
        job = FigureJob(self.subject, asked, asked.correctors, classes)
        return self.maker.stage(job, inputs, self._judged(*own, self.subject.validation))

    def _gradients(self) -> list[Any]:
        """Return whose gradients attacks get, where the subject is quantized."""
        quantizer = self.subject.quantizer
        return [quantizer.gradients] if quantizer else []

    def _judged(self, *own: Any) -> list[Any]:
        return [*own, *self.judging]

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
            "input": {"image_size": self.subject.shape.image_size, "pretrained": _pretrained(model)},
            "environment": {
                "device": self.setting.device,
                "threads": self.setting.threads,
                "torch": metadata.version("torch"),
            },
        }
        if quantizer := self.subject.quantizer:
            plugin, options = quantizer.quantizer.plugin, quantizer.quantizer.options.model_dump(mode="json")
            fields["quantization"] = {
                "quantizer": plugin.qualified,
                "gradients": quantizer.gradients,
                "options": options,
            }
        return Comparable(key=content_key(fields), **fields)

    def _model_name(self) -> str:
        quantizer, name = self.subject.quantizer, self.subject.model.name
        return f"{name} {quantizer.name}" if quantizer else name

    def _budget(self) -> dict[str, Any]:
        """Return the adaptation's budget with its length in steps, whichever way the spec gave it, and how it was tuned."""
        adaptation = self.experiment.adaptation
        budget = adaptation.model_dump(mode="json", exclude={"epochs"})
        steps = adaptation.total_steps(self.data.num_train - self.subject.validation)
        passes = self.experiment.attack_passes
        # Passes are shared by a batch: how large it is decides what a sample gets.
        size = self.experiment.attack_batch_size
        attack: dict[str, Any] = {} if passes is None else {"attack_passes": passes, "attack_batch_size": size}
        if self.experiment.attack_precision != "float32":
            attack["attack_precision"] = self.experiment.attack_precision
        if self.experiment.attack_compile:
            attack["attack_compile"] = True
        whole = {**budget, **attack, "steps": steps, "validations": min(adaptation.validations, steps)}
        return self._tuned_budget(whole) if self.resolved.search else whole

    def _tuned_budget(self, budget: dict[str, Any]) -> dict[str, Any]:
        """Leave out what each arm chooses for itself, and say from what and in how many trials."""
        search, adaptation = self.resolved.search, self.experiment.adaptation
        assert search is not None  # noqa: S101 (asked where there is one)
        searched = {dimension.option for dimension in search.space.of("adaptation").dimensions}
        kept = {name: value for name, value in budget.items() if name not in searched}
        if "batch_size" in searched and adaptation.steps is None:
            del kept["steps"]  # an epoch has as many as the batch size chosen makes of it
            kept |= {"epochs": adaptation.epochs or 20, "validations": adaptation.validations}
        trials = self._trials([arm for _, arm in self._rows() if arm])
        words = {dimension.name: dimension.words() for dimension in search.space.dimensions}
        return {**kept, "search": {"sampler": search.sampler, "trials": trials, "space": words}}


def _pretrained(model: ResolvedModel) -> str | None:
    """Return what a classifier's weights come from before any training here, None for random numbers."""
    if model.weights is not None:
        return "a file"
    asked = getattr(model.architecture.options, "pretrained", None) if model.architecture else None
    return None if asked is None else str(asked)
