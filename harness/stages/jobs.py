"""What is to be done: one frozen job per stage. A job is all that a stage's result depends on besides its inputs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from harness.budget import Adaptation, Baseline
    from harness.models import Input
    from harness.resolve import (
        ResolvedAdapter,
        ResolvedCorrector,
        ResolvedEvaluator,
        ResolvedModel,
        ResolvedQuantizer,
    )

SourceKind = Literal["corrected", "sham", "target", "random-subset"]


@dataclass(frozen=True)
class Subject:
    """Which classifier on which data, split how: what every job of a row shares."""

    data: str
    model: ResolvedModel
    shape: Input
    validation: int
    seed: int
    quantizer: ResolvedQuantizer | None = None


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


@dataclass(frozen=True)
class ShamJob:
    """A control: the corrected samples' perturbations, in random directions."""

    subject: Subject
    norm: Literal["l0", "l1", "l2", "linf"]


@dataclass(frozen=True)
class AdaptJob:
    """Stage 5: adapt from a source to T."""

    subject: Subject
    adapter: ResolvedAdapter
    source: SourceKind
    keep: Literal["corrected", "all"]
    adaptation: Adaptation


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


Job = BaselineJob | SplitJob | CorrectJob | ShamJob | AdaptJob | EvaluateJob | MeasureJob
StageKind = Literal["baseline", "split", "correct", "sham", "adapt", "evaluate", "measure"]
KIND_OF: dict[type[Job], StageKind] = {
    BaselineJob: "baseline",
    SplitJob: "split",
    CorrectJob: "correct",
    ShamJob: "sham",
    AdaptJob: "adapt",
    EvaluateJob: "evaluate",
    MeasureJob: "measure",
}
