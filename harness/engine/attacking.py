"""Run an attack on a batch and judge it: whether it corrected or fooled, within which bounds, by how many passes.

The attack gets a frozen twin of the classifier; the original alone decides success.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, Required, TypedDict, Unpack

import torch

from harness.criteria import attack_criterion, correction_criterion, needs_predictions
from harness.engine.compiling import CompiledParts
from harness.engine.guarding import Guard
from harness.engine.iterates import Iterates, ThreatModel
from harness.engine.observing import AttackEndedError, ObservedClassifier, Observer, PassesSpentError, at_once
from harness.engine.passes import PassCount
from harness.engine.precision import lowered
from harness.engine.prediction import labelled_true

if TYPE_CHECKING:
    from torch import Tensor

    from harness.budget import Precision
    from harness.contract import Attack, Options
    from harness.criteria import LabelCriterion, Objective, Select
    from harness.engine.examples import BatchExamples, TrainingExamples
    from harness.engine.networks import PixelClassifier
    from harness.references import Gradients


@dataclass(frozen=True)
class BatchResult:
    """One batch after an attack: images (N, C, H, W) float32, whether the original classifier then says what is wanted (N,).

    ``cut``: whether the attack was ended because it had spent its passes. ``met_after`` (N,): after how many passes per image
    of the batch each sample was what is wanted for the first time; infinite where it never was.
    """

    images: Tensor
    met: Tensor
    met_after: Tensor
    passes: PassCount
    cut: bool = False

    @property
    def corrected(self) -> Tensor:
        """A corrector's ``met``: which samples are labelled true (N,)."""
        return self.met

    def with_part(self, places: Tensor, part: BatchResult) -> BatchResult:
        """Return the batch with the samples at ``places`` (n,) as a later run on them left them."""
        images, met, met_after = self.images.clone(), self.met.clone(), self.met_after.clone()
        images[places], met[places] = part.images, part.met
        count = len(self.met)
        met_after[places] = self.passes.total / count + part.met_after * len(places) / count
        passes = PassCount(self.passes.forward + part.passes.forward, self.passes.backward + part.passes.backward)
        return BatchResult(images, met, met_after, passes, self.cut or part.cut)


class RunOptions(TypedDict, total=False):
    """How an attack is run: the keyword arguments of ``AttackRun``."""

    name: Required[str]
    seed: Required[int]
    select: Select
    max_passes: int | None
    examples: TrainingExamples | None
    judge: PixelClassifier | None
    gradients: Gradients
    precision: Precision
    compiled: bool


class AttackRun:
    """An attack bound to a classifier: runs it on batches, watches it, and lets the original classifier judge.

    ``max_passes``: forward and backward passes per image, on average over a batch, after which the attack is ended and what it
    has found counts. ``judge``: the quantized twin where that is the subject; it decides in the network's place, and ``gradients``
    says whose the attack gets. ``precision``: what the attack's own passes are computed in; verdicts are always in float32.
    ``compiled``: whether those passes go through torch.compile.
    """

    wants_true: ClassVar[bool]

    def __init__(
        self,
        attack: Attack[Options],
        network: PixelClassifier,
        *,
        name: str,
        select: Select = "first-hit",
        seed: int,
        max_passes: int | None = None,
        examples: TrainingExamples | None = None,
        judge: PixelClassifier | None = None,
        gradients: Gradients = "full-precision",
        precision: Precision = "float32",
        compiled: bool = False,
    ) -> None:
        self.attack = attack
        self.precision = precision
        self.judge = judge or network
        self.name = name
        self.select = select
        self.max_passes = max_passes
        self.examples = examples
        self._is_run = False
        threat = ThreatModel(attack.capabilities.norm, network.bounds, getattr(attack.options, "eps", None))
        self._guard = Guard(
            network,
            what=f'attack "{name}"',
            threat=threat,
            seed=seed,
            judge=judge,
            gradients=gradients,
            compiled=compiled,
        )

    @property
    def remarks(self) -> tuple[str, ...]:
        """What a reader should know of how the attack ran, each a sentence."""
        plain = self._is_run and self._guard.compiled is not None and self._guard.compiled_passes.total == 0
        own = "attack_compile: none of its passes could go through torch.compile" if plain else None
        return tuple(remark for remark in (self._guard.remark, own) if remark is not None)

    def _perturb(self, images: Tensor, labels: Tensor, samples: Tensor, criterion: LabelCriterion) -> BatchResult:
        """Attack ``images`` (N, C, H, W), with true labels (N,), and judge what comes of it."""
        limit = None if self.max_passes is None else self.max_passes * len(images)
        result, refused = self._once(images, labels, samples, criterion, precision=self.precision, limit=limit)
        again = (refused & ~result.met).nonzero().flatten()
        if self.precision == "float32" or result.cut or len(again) == 0:
            return result
        # The low precision ended the attack on these too soon.
        rows = again.to(images.device)
        left = None if limit is None else limit - result.passes.total
        part = images[rows], labels[rows], samples[again], criterion[rows]
        more, _ = self._once(*part, precision="float32", limit=left)
        return result.with_part(again, more)

    def _once(
        self,
        images: Tensor,
        labels: Tensor,
        samples: Tensor,
        criterion: LabelCriterion,
        *,
        precision: Precision,
        limit: int | None,
    ) -> tuple[BatchResult, Tensor]:
        """Return what comes of one run of ``limit`` passes at most, and which samples (N,) have a hit that the original refused."""
        passes = PassCount()
        iterates = Iterates(
            images,
            criterion,
            select=self.select,
            threat=self._guard.threat,
            confirm=lambda hits, rows: self._judge(hits, labels[rows]),
            confirms_all=precision != "float32",
            passes=passes,
        )
        observer = Observer(passes, iterates, limit)
        # The attack's own, which it may write on: verdicts are read from the others.
        lent = replace(criterion, labels=criterion.labels.clone(), goal=criterion.goal.clone())
        cut = False
        try:
            perturbed = self._run(images, lent, samples, observer, precision)
        except AttackEndedError as end:
            perturbed, cut = images, isinstance(end, PassesSpentError)
            self._guard.restore_if_changed()
        chosen, met = self._verdicts(iterates, perturbed, labels)
        return BatchResult(chosen.cpu(), met.cpu(), iterates.told(met), passes, cut), iterates.refused.cpu()

    def _verdicts(self, iterates: Iterates, perturbed: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Return the images that count (N, C, H, W) and the original's verdicts on them (N,): one pass for each image at most."""
        met = iterates.settled.clone()
        met[~met] = self._judge(perturbed[~met], labels[~met])
        chosen = iterates.finish(perturbed, met)
        doubtful = ~iterates.settled & (chosen != perturbed).flatten(1).any(1)
        judged = met.clone()
        judged[doubtful] = self._judge(chosen[doubtful], labels[doubtful])
        # Where float noise makes the twin's hit none of the original's, what the attack returned may still count.
        rescued = met & ~judged
        chosen[rescued] = perturbed[rescued]
        return chosen, judged | rescued

    def _judge(self, images: Tensor, labels: Tensor) -> Tensor:
        true = labelled_true(self.judge, images, labels).to(images.device)
        return true if self.wants_true else ~true

    def _run(
        self, images: Tensor, criterion: LabelCriterion, samples: Tensor, observer: Observer, precision: Precision
    ) -> Tensor:
        guard = self._guard
        self._is_run = True
        compiled = self._compiled(images, precision)
        shown = ObservedClassifier(guard.twin, observer, precision=precision, compiled=compiled)
        with guard.watching(images, samples) as given:
            self.attack.random = guard.streams(images, samples)
            if self.attack.capabilities.examples:
                self.attack.examples = self._examples(images, samples)
            perturbed = self.attack.run(shown, given, criterion)
        return guard.checked(perturbed, images)

    def _compiled(self, images: Tensor, precision: Precision) -> CompiledParts | None:
        """Return what parts of the usual size of a batch (N, C, H, W) go through, where that is asked for."""
        network = self._guard.compiled
        if network is None:
            return None
        parts = CompiledParts(network, min(at_once(images), len(images)))
        with lowered(precision, images.device):
            network.warm(images[: parts.size], kind=precision, gradients=self.attack.capabilities.gradients)
        return parts

    def _examples(self, images: Tensor, samples: Tensor) -> BatchExamples:
        if self.examples is None:
            self._guard.fail("starts from correctly labelled images", "give the run some, as experiments do")
        return self.examples.of(images, samples, seed=self._guard.seed)


class Corrector(AttackRun):
    """An attack that corrects: driven at an objective, finished where the classifier labels a sample true."""

    wants_true = True

    def __init__(
        self, attack: Attack[Options], network: PixelClassifier, *, objective: Objective, **how: Unpack[RunOptions]
    ) -> None:
        super().__init__(attack, network, **how)
        self.objective = objective

    def correct(self, images: Tensor, labels: Tensor, samples: Tensor) -> BatchResult:
        """Attack wrongly classified images (N, C, H, W) with true labels (N,) on the classifier's device.

        ``samples`` (N,) identify them: a sample's random stream depends on its identifier alone.
        Raises ``ContractError`` when the attack breaks the contract.
        """
        if not needs_predictions(self.objective):
            return self._perturb(images, labels, samples, self._criterion(labels, None))
        criterion = self._criterion(labels, self._clean_logits(images))
        result = self._perturb(images, labels, samples, criterion)
        # The pass that tells the objective's labels is the corrector's too; no budget is charged with it.
        result.passes.forward += len(images)
        return replace(result, met_after=result.met_after + 1)

    def _clean_logits(self, images: Tensor) -> Tensor:
        with torch.no_grad():
            logits: Tensor = ObservedClassifier(self._guard.twin, Observer())(images)
        return logits

    def _criterion(self, labels: Tensor, clean_logits: Tensor | None) -> LabelCriterion:
        return correction_criterion(self.objective, true_labels=labels, clean_logits=clean_logits, select=self.select)


class Attacker(AttackRun):
    """An attack that tests robustness: flees the true labels, finished where the classifier labels a sample otherwise."""

    wants_true = False

    def attack_batch(self, images: Tensor, labels: Tensor, samples: Tensor) -> BatchResult:
        """Attack images (N, C, H, W) with true labels (N,); see ``Corrector.correct``. ``met``: labelled other than true."""
        criterion = attack_criterion(labels, stop_early=self.select == "first-hit")
        return self._perturb(images, labels, samples, criterion)
