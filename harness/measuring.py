"""What quantizers, evaluators and report formats are written against: other precisions, other measures, other pages."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from harness.contract import Configurable, OptionsT

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor, nn

    from harness.contract import Classifier, Domain, Norm, SampleStreams


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """What an evaluator found in one batch.

    ``perturbed`` (N, C, H, W) where it attacked: the harness then decides itself which labels hold. ``figures`` are means over
    the batch, which the harness averages over batches; so are ``shares``, which lie in [0, 1] and are shown in percent. ``flags``
    are sentences that a reader of the row must know, such as a library's warning of masked gradients.
    """

    perturbed: Tensor | None = None
    figures: Mapping[str, float] = field(default_factory=dict)
    shares: Mapping[str, float] = field(default_factory=dict)
    flags: tuple[str, ...] = ()


class Evaluator(Configurable[OptionsT], ABC):
    """Measure a finished classifier on test images, beside its clean accuracy. ``random`` is set before each batch."""

    random: SampleStreams

    @abstractmethod
    def evaluate(self, classifier: Classifier, images: Tensor, labels: Tensor) -> Evaluation:
        """Measure one batch: images (N, C, H, W) in ``classifier.bounds``, true labels (N,)."""

    def threat(self) -> tuple[Norm, float] | None:
        """Return the norm and the eps that the harness holds ``perturbed`` to, None for no bound but the pixels'."""
        return None


class Quantizer(Configurable[OptionsT], ABC):
    """Make a low-precision twin of a classifier, which then is the subject: it decides what is wrong and what is corrected.

    Attacks see its logits and the full-precision gradients; adaptation trains the full-precision weights.
    """

    @abstractmethod
    def quantize(self, network: nn.Module, calibration: Domain) -> nn.Module:
        """Return the twin, pixels (N, C, H, W) in [0, 1] to logits (N, K), in eval mode on the same device.

        ``network`` is a copy in eval mode that may be changed; ``calibration`` are the training images ``T``.
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
