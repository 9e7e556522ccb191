"""Make stages with their content keys: for a plan, and inside a search for its trials, which are stages like any other.

A stage's key is a hash of its name and version, its plugin's distribution, version and options, its seed and its inputs' keys.
Weights and data enter by content, never by path: a baseline is trained once for a whole matrix, and nothing is
served that another classifier made.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from importlib import metadata
from typing import TYPE_CHECKING, Any

from harness import __version__
from harness.provenance import edited_source
from harness.stages.jobs import KIND_OF, AdaptJob, BaselineJob, CorrectJob, ShamJob, TransferJob
from harness.stages.stage import Stage
from harness.store import content_key

if TYPE_CHECKING:
    from collections.abc import Mapping

    from harness.budget import Adaptation, Baseline, Precision
    from harness.contract import Norm
    from harness.manager import Manager
    from harness.resolved import ResolvedAdapter, ResolvedCorrector, ResolvedPlugin
    from harness.stages.jobs import Arm, Job, Subject

STAGE_VERSIONS = {
    "baseline": 1,
    "split": 3,
    "correct": 6,
    "sham": 2,
    "transfer": 1,
    "adapt": 4,
    "search": 2,
    "evaluate": 2,
    "measure": 3,
    "figure": 2,
}
"""A stage's version: raised whenever its results may change."""

COMPUTING_PARTS = (
    "engine",
    "stages",
    "adapting.py",
    "bridging.py",
    "budget.py",
    "contract.py",
    "criteria.py",
    "data.py",
    "drawing.py",
    "measuring.py",
    "models.py",
    "search_space.py",
    "weights.py",
)
"""The parts of this package that compute results; where they are edited in place, their source is part of every key."""


@dataclass(frozen=True)
class StageMaker:
    """Makes stages of one subject on one kind of machine."""

    subject: Subject
    environment: Mapping[str, Any]

    @classmethod
    def on(cls, subject: Subject, *, device: str, threads: int) -> StageMaker:
        """Return the maker of a subject's stages on a kind of device, with a worker's threads."""
        environment = {
            "harness": __version__,
            "source": edited_source("adcorda-harness", "harness", COMPUTING_PARTS),
            "torch": metadata.version("torch"),
            "device": device,
            "threads": threads,
        }
        return cls(subject, environment)

    def stage(self, job: Job, inputs: Mapping[str, Stage], own: list[Any]) -> Stage:
        """Return a stage whose key holds ``own``, what its result depends on beside the subject's data and the inputs."""
        kind = KIND_OF[type(job)]
        read = {role: stage.key for role, stage in inputs.items()}
        key = content_key(kind, STAGE_VERSIONS[kind], self.environment, self.subject.data, read, own)
        return Stage(key, job, tuple(inputs.items()))


def baseline_stage(maker: StageMaker, identity: object, training: Baseline) -> Stage:
    """Return the stage that trains a subject's classifier, or takes it as it comes; ``identity`` is the classifier's."""
    subject = maker.subject
    model = subject.model
    asked = None if model.trained else training
    own: list[Any] = [identity, asked.model_dump(mode="json") if asked else None]
    if asked is not None:
        own += [subject.data, subject.validation]
    if model.weights is None or asked is not None:
        own.append(subject.training_seed)
    own += [{"split": subject.seed}] if subject.rival else []
    return maker.stage(BaselineJob(subject, asked), {}, own)


@dataclass(frozen=True)
class ArmStages:
    """The stages that train an arm: ``perturbed`` are the corrector's samples or the sham's, None where nothing attacks."""

    correct: Stage | None
    perturbed: Stage | None
    adapt: Stage


@dataclass(frozen=True)
class Rival:
    """Another classifier of the same images and split: its stages' maker and its baseline."""

    maker: StageMaker
    baseline: Stage


@dataclass(frozen=True)
class ArmMaker:
    """Makes the stages that train a subject's arms, from its baseline and its split."""

    maker: StageMaker
    baseline: Stage
    split: Stage
    attack_batch_size: int
    attack_passes: int | None
    attack_precision: Precision = "float32"
    attack_compile: bool = False
    rival: Rival | None = None

    def arm(self, arm: Arm, adaptation: Adaptation, manager: Manager, *, repetition: int = 0) -> ArmStages:
        """Return an arm's stages."""
        transferred = arm.source == "transferred"
        correct = self.correct(arm.corrector, transferred=transferred)
        perturbed = correct
        if arm.source == "sham":
            perturbed = self.sham(correct, arm.corrector, manager)
        elif transferred:
            perturbed = self.transfer(correct, arm.corrector, manager)
        return ArmStages(correct, perturbed, self._adapt(arm, adaptation, perturbed, manager, repetition))

    def correct(self, corrector: ResolvedCorrector | None, *, transferred: bool = False) -> Stage | None:
        """Return the stage that corrects, for the rival where what it makes is ``transferred``; None where nothing attacks."""
        if corrector is None or corrector.attack is None:
            return None
        maker, baseline = self.maker, self.baseline
        if transferred:
            assert self.rival is not None  # noqa: S101 (the plan names one, or refuses the control)
            maker, baseline = self.rival.maker, self.rival.baseline
        subject = maker.subject
        # Whose gradients attacks get, where the subject is quantized.
        gradients = [subject.quantizer.gradients] if subject.quantizer else []
        how = self.attack_batch_size, self.attack_passes, self.attack_precision, self.attack_compile
        job = CorrectJob(subject, corrector, *how)
        own = [corrector.identity(), *how, *gradients]
        return maker.stage(job, {"baseline": baseline, "split": self.split}, own)

    def sham(self, correct: Stage | None, corrector: ResolvedCorrector | None, manager: Manager) -> Stage | None:
        """Return the stage that moves the corrector's samples at random, None where nothing attacks."""
        if correct is None or corrector is None or corrector.attack is None:
            return None
        norm = _norm(corrector.attack, manager)
        job = ShamJob(self.maker.subject, norm)
        return self.maker.stage(job, {"baseline": self.baseline, "correct": correct}, [norm])

    def transfer(self, correct: Stage | None, corrector: ResolvedCorrector | None, manager: Manager) -> Stage | None:
        """Return the stage that judges what was corrected for the rival, None where nothing attacks."""
        if correct is None or corrector is None or corrector.attack is None:
            return None
        assert self.rival is not None  # noqa: S101 (as above)
        norm = _norm(corrector.attack, manager)
        subject, rival = self.maker.subject, self.rival
        job = TransferJob(subject, rival.maker.subject, norm)
        inputs = {"baseline": self.baseline, "rival": rival.baseline, "correct": correct}
        return self.maker.stage(job, inputs, [norm, subject.validation, subject.seed])

    def inputs(self, *, perturbed: Stage | None, **others: Stage) -> dict[str, Stage]:
        """Return what a stage reads that needs the source domain."""
        inputs = {**others, "split": self.split}
        return inputs if perturbed is None else {**inputs, "perturbed": perturbed}

    def _adapt(
        self, arm: Arm, adaptation: Adaptation, perturbed: Stage | None, manager: Manager, repetition: int
    ) -> Stage:
        subject, adapter = self.maker.subject, arm.adapter
        if _sees_target_alone(adapter, manager):
            # The same whatever T' is: made once.
            arm, perturbed = replace(arm, source="target", corrector=None), None
        # One without gradient steps sees of the loop what these say, and is the same whatever the rest.
        seen = (
            None
            if adapts_by_gradient(adapter, manager)
            else {"steps", "epochs", "batch_size", "shrinkage", "precision"}
        )
        budget = adaptation.model_dump(mode="json", include=seen)
        job = AdaptJob(subject, adapter, arm.source, arm.keep, adaptation, repetition)
        own = [adapter.adapter.identity(), arm.source, arm.keep, budget, subject.validation, subject.seed]
        own += [{"repetition": repetition}] if repetition else []
        return self.maker.stage(job, self.inputs(baseline=self.baseline, perturbed=perturbed), own)


def _sees_target_alone(adapter: ResolvedAdapter, manager: Manager) -> bool:
    """Whether neither T' nor what tells of the corrections reaches an adapter."""
    kind: Any = manager.load(adapter.adapter.plugin)
    return not kind.capabilities.source and not kind.capabilities.target_labels


def _norm(attack: ResolvedPlugin, manager: Manager) -> Norm:
    kind: Any = manager.load(attack.plugin)
    norm: Norm = kind.capabilities.norm
    return norm


def adapts_by_gradient(adapter: ResolvedAdapter, manager: Manager) -> bool:
    """Whether the harness's training loop is used."""
    kind: Any = manager.load(adapter.adapter.plugin)
    return bool(kind.takes_gradient_steps())
