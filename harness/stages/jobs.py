"""What is to be done: one frozen job per stage. A job is all that a stage's result depends on besides its inputs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from harness.budget import Adaptation, Baseline, Precision
    from harness.models import Input
    from harness.references import Gradients, Keep
    from harness.resolved import (
        ResolvedAdapter,
        ResolvedCorrector,
        ResolvedEvaluator,
        ResolvedFigure,
        ResolvedModel,
        ResolvedQuantizer,
    )
    from harness.search import SamplerName
    from harness.search_space import Space
    from harness.stages.making import ArmMaker

SourceKind = Literal["corrected", "sham", "transferred", "target", "random-subset"]


RIVAL = 2**32
"""Beyond every seed of a spec."""


@dataclass(frozen=True)
class Subject:
    """Which classifier on which data, split how: what every job of a row shares.

    A ``rival`` is trained once more from another start: another classifier of the same images and the same split.
    """

    data: str
    model: ResolvedModel
    shape: Input
    validation: int
    seed: int
    quantizer: ResolvedQuantizer | None = None
    rival: bool = False

    @property
    def training_seed(self) -> int:
        """What a baseline is initialized and trained by: the seed, and for a rival on the same split one that no spec can name."""
        return self.seed + RIVAL if self.rival else self.seed

    @property
    def gradients(self) -> Gradients:
        """Whose gradients attacks get where the subject is quantized."""
        return self.quantizer.gradients if self.quantizer else "full-precision"


@dataclass(frozen=True)
class Arm:
    """An approach that is trained: the corrector of its source (None where none makes it), its adapter, its kind of source."""

    corrector: ResolvedCorrector | None
    adapter: ResolvedAdapter
    source: SourceKind

    @property
    def keep(self) -> Keep:
        """Which perturbed samples the source keeps."""
        return self.corrector.keep if self.corrector else "corrected"


@dataclass(frozen=True)
class BaselineJob:
    """Stage 1: fine-tune, or take the weights as they are where ``training`` is None."""

    subject: Subject
    training: Baseline | None


@dataclass(frozen=True)
class SplitJob:
    """Stage 2: find which training samples the baseline gets right."""

    subject: Subject


@dataclass(frozen=True)
class CorrectJob:
    """Stage 3: attack the samples of T_w. Without a corrector's attack there is no such job."""

    subject: Subject
    corrector: ResolvedCorrector
    batch_size: int
    max_passes: int | None = None
    precision: Precision = "float32"
    compile: bool = False


@dataclass(frozen=True)
class ShamJob:
    """A control: the corrected samples' perturbations, in random directions."""

    subject: Subject
    norm: Literal["l0", "l1", "l2", "linf"]


@dataclass(frozen=True)
class TransferJob:
    """A control: corrections made for a ``rival``, as the classifier itself sees them."""

    subject: Subject
    rival: Subject
    norm: Literal["l0", "l1", "l2", "linf"]


@dataclass(frozen=True)
class AdaptJob:
    """Stage 5: adapt from a source to T. Repetitions differ in the order of the batches and in their augmentation."""

    subject: Subject
    adapter: ResolvedAdapter
    source: SourceKind
    keep: Literal["corrected", "all"]
    adaptation: Adaptation
    repetition: int = 0


@dataclass(frozen=True)
class SearchJob:
    """Stage 5 in ``trials`` adaptations with other settings each, of which validation chooses one; see ``harness.search``.

    ``arms`` makes the trials' stages, ``versions`` are those of the libraries that the sampler is taken from. Where ``space``
    has options of the corrector, a trial's correction is its own.
    """

    subject: Subject
    arm: Arm
    arms: ArmMaker
    adaptation: Adaptation
    space: Space
    sampler: SamplerName
    trials: int
    versions: Mapping[str, str]

    @property
    def adapter(self) -> ResolvedAdapter:
        """The adapter, with the options that the spec gives it."""
        return self.arm.adapter

    @property
    def corrector(self) -> ResolvedCorrector | None:
        """The corrector, with the options that the spec gives it."""
        return self.arm.corrector


@dataclass(frozen=True)
class EvaluateJob:
    """Stage 6: read every accuracy, the test split's too."""

    subject: Subject
    source: SourceKind
    keep: Literal["corrected", "all"]


@dataclass(frozen=True)
class MeasureJob:
    """Stage 6, for one evaluator: measure on the test split, or on some of its samples, drawn by no row's seed."""

    subject: Subject
    evaluator: ResolvedEvaluator


@dataclass(frozen=True)
class FigureJob:
    """A picture of the baseline and of what some correctors made of T_w; it belongs to no cell."""

    subject: Subject
    figure: ResolvedFigure
    correctors: tuple[str, ...]
    classes: tuple[str, ...]


Job = (
    BaselineJob
    | SplitJob
    | CorrectJob
    | ShamJob
    | TransferJob
    | AdaptJob
    | SearchJob
    | EvaluateJob
    | MeasureJob
    | FigureJob
)
StageKind = Literal[
    "baseline", "split", "correct", "sham", "transfer", "adapt", "search", "evaluate", "measure", "figure"
]
KIND_OF: dict[type[Job], StageKind] = {
    BaselineJob: "baseline",
    SplitJob: "split",
    CorrectJob: "correct",
    ShamJob: "sham",
    TransferJob: "transfer",
    AdaptJob: "adapt",
    SearchJob: "search",
    EvaluateJob: "evaluate",
    MeasureJob: "measure",
    FigureJob: "figure",
}


def compiles(job: Job) -> bool:
    """Whether some of a job's passes go through torch.compile."""
    if isinstance(job, CorrectJob):
        return job.compile
    if isinstance(job, SearchJob):
        return job.adaptation.compile or job.arms.attack_compile
    if isinstance(job, AdaptJob):
        return job.adaptation.compile
    return isinstance(job, BaselineJob) and job.training is not None and job.training.compile
