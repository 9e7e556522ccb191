"""What quantizers, evaluators and report formats are written against: other precisions, other measures, other pages."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field

from harness.contract import Configurable, FractionalFloat, OptionsT

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor, nn

    from harness.adapting import Domain
    from harness.contract import Classifier, Norm, SampleStreams


EvaluatorEps = Annotated[FractionalFloat, Field(gt=0)] | Literal["standard"]
"""An option ``eps`` that a spec may also write as ``standard``: its data set's usual one, in the norm that ``threat()`` names.

Whoever evaluates gets the number.
"""


@dataclass(frozen=True)
class Part:
    """A part of an evaluator's work, for images whose labels have held so far; ``name`` is what tables and flags call it.

    A ``check`` comes after all other parts and leaves the verdict to them: it goes on the images whose labels hold in the end,
    and the table shows apart how many still do.
    """

    name: str
    check: bool = False


@dataclass(frozen=True, kw_only=True)
class Findings:
    """What came of all samples together: how many they are, are labelled true, and still are after each part, by its name.

    ``counts`` are the evaluator's own.
    """

    samples: int
    clean: int
    held: Mapping[str, int]
    counts: Mapping[str, int]


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """What an evaluator found in one batch.

    ``perturbed`` (N, C, H, W) where it attacked: the harness then decides itself which labels hold. ``figures`` are means over
    the batch, which the harness averages over batches; so are ``shares``, which lie in [0, 1] and are shown in percent. ``flags``
    are sentences that a reader of the row must know, such as a library's warning of masked gradients. ``counts`` are added up over
    batches, for ``remarks``.
    """

    perturbed: Tensor | None = None
    figures: Mapping[str, float] = field(default_factory=dict)
    shares: Mapping[str, float] = field(default_factory=dict)
    flags: tuple[str, ...] = ()
    counts: Mapping[str, int] = field(default_factory=dict)


class Evaluator(Configurable[OptionsT], ABC):
    """Measure a finished classifier on test images, beside its clean accuracy.

    Before each call these are set: ``random``; ``seed``, below 2³¹ and the same for all parts of a batch, for libraries that draw
    their own numbers; ``part``, which of ``parts()`` is asked for.
    """

    random: SampleStreams
    seed: int
    part: Part | None = None

    @abstractmethod
    def evaluate(self, classifier: Classifier, images: Tensor, labels: Tensor) -> Evaluation:
        """Measure one batch: images (N, C, H, W) in ``classifier.bounds``, true labels (N,).

        Of an evaluator that works in parts, one part on those of the batch that are left; without ``perturbed`` the part is
        taken not to have attacked.
        """

    def parts(self) -> tuple[Part, ...]:
        """Name the parts of long work, in their order; without any, all of the work is one call, on all images.

        After each part the harness decides which labels hold, and takes a checkpoint where one is due.
        """
        return ()

    def remarks(self, findings: Findings) -> tuple[str, ...]:  # noqa: ARG002 (a default)
        """Return flags that only all samples together tell."""
        return ()

    def threat(self) -> tuple[Norm, float] | None:
        """Return the norm and the eps that the harness holds ``perturbed`` to, None for no bound but the pixels'."""
        return None


class Quantizer(Configurable[OptionsT], ABC):
    """Make a low-precision twin of a classifier, which then is the subject: it decides what is wrong and what is corrected.

    Attacks see its logits and the full-precision gradients; adaptation trains the full-precision weights, and keeps the checkpoint
    whose full-precision validation accuracy is the best *(choice)*: twins are made of finished weights alone.

    ``differentiable`` where gradients pass through the twin to its images, straight through the rounding: attacks may then be given
    those. ``simulated`` where the twin computes in float what integers would: tables then say so beside its size and speed.
    ``computes_on`` is the kind of device that the twin computes on wherever its images are, None for theirs.

    ``remarks``, read after ``quantize``, are sentences that a reader of the row must know, such as what stayed in float.
    """

    differentiable: ClassVar[bool] = False
    simulated: ClassVar[bool] = False
    computes_on: ClassVar[Literal["cpu", "cuda"] | None] = None
    remarks: tuple[str, ...] = ()

    def settled(self) -> OptionsT:
        """Return the options with what this machine decides in the place of such as ``auto``; by default they are as they were.

        Asked when a run is planned: keys, records and tables hold what it returns, so that what two machines make is never mixed.
        Raises ``PluginError`` where this machine has not what the options ask for.
        """
        return self.options

    @abstractmethod
    def quantize(self, network: nn.Module, calibration: Domain) -> nn.Module:
        """Return the twin, pixels (N, C, H, W) in [0, 1] to logits (N, K), in eval mode on the same device.

        ``network`` is a copy in eval mode that may be changed; ``calibration`` are the training images ``T``, in an order drawn at
        random by the seed: the first of them are a fair sample.
        """

    def num_bytes(self, quantized: nn.Module) -> int | None:  # noqa: ARG002 (a default)
        """Return what the twin's weights take when they are stored, None where that is not known."""
        return None


class ReportFormat(Configurable[OptionsT], ABC):
    """Write a leaderboard in a format of its own; ``suffix`` is its files' (".tex")."""

    suffix: ClassVar[str]

    @abstractmethod
    def render(self, leaderboard: Mapping[str, Any]) -> str:
        """Return the file's text. ``leaderboard`` is the versioned object of ``harness leaderboard --json``."""
