"""Run an evaluator on a batch, guarded as attacks are; where it attacked, the original classifier decides which labels hold."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from harness.engine.guarding import Guard
from harness.engine.observing import ObservedClassifier, Observer, ThreatModel
from harness.engine.prediction import labelled_true
from harness.measuring import Evaluation

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from harness.contract import Norm, Options
    from harness.engine.networks import PixelClassifier
    from harness.measuring import Evaluator


VERDICTS = ("clean", "robust")
"""The names of the harness's own verdicts, which no figure may have."""


@dataclass(frozen=True)
class BatchEvaluation:
    """One batch: which samples (N,) are labelled true, which still are when perturbed (None where nothing was), the rest."""

    clean: Tensor
    held: Tensor | None
    figures: Mapping[str, float] = field(default_factory=dict)
    shares: Mapping[str, float] = field(default_factory=dict)
    flags: tuple[str, ...] = ()


class EvaluatorRun:
    """An evaluator bound to a classifier."""

    def __init__(
        self,
        evaluator: Evaluator[Options],
        network: PixelClassifier,
        *,
        name: str,
        seed: int,
        judge: PixelClassifier | None = None,
    ) -> None:
        self.evaluator = evaluator
        self.judge = judge or network
        self.seed = seed
        self.threat: tuple[Norm, float] | None = evaluator.threat()
        norm, eps = self.threat or ("linf", None)
        self._guard = Guard(
            network, what=f'evaluator "{name}"', threat=ThreatModel(norm, network.bounds, eps), seed=seed, judge=judge
        )

    def evaluate(self, images: Tensor, labels: Tensor, samples: Tensor) -> BatchEvaluation:
        """Measure images (N, C, H, W) with true labels (N,); ``samples`` (N,) identify them. Raises ``ContractError``."""
        clean = labelled_true(self.judge, images, labels)
        guard = self._guard
        with guard.watching(images, samples) as given:
            self.evaluator.random = guard.streams(images, samples)
            found = self.evaluator.evaluate(ObservedClassifier(guard.twin, Observer()), given, labels.clone())
        if not isinstance(found, Evaluation):
            guard.fail(f"returned a {type(found).__name__}", "expected a harness.api.Evaluation")
        self._check_figures(found)
        if found.perturbed is None:
            return BatchEvaluation(clean, None, found.figures, found.shares, tuple(found.flags))
        perturbed = guard.checked(found.perturbed, images)
        held = clean & labelled_true(self.judge, perturbed, labels)
        return BatchEvaluation(clean, held, found.figures, found.shares, tuple(found.flags))

    def _check_figures(self, found: Evaluation) -> None:
        for name, value in (*found.figures.items(), *found.shares.items()):
            if not isinstance(name, str) or name in VERDICTS or not name.strip():
                self._guard.fail(f"has the figure {name!r}", f"expected a name other than {' and '.join(VERDICTS)}")
            if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
                self._guard.fail(f"has the figure {name}: {value!r}", "expected a finite number")
        for name, value in found.shares.items():
            if name in found.figures or not 0 <= value <= 1:
                self._guard.fail(f"has the share {name}: {value!r}", "expected it in [0, 1], and no figure of its name")
        if not isinstance(found.flags, tuple | list) or not all(
            isinstance(flag, str) and flag.strip() for flag in found.flags
        ):
            self._guard.fail(f"has the flags {found.flags!r}", "expected sentences in a tuple")
