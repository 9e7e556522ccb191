"""Run an attack on a batch and judge it: bounds, shape, dtype, finiteness, the eps ball, the classifier's state, passes.

The attack gets a frozen twin of the classifier, so whatever it does cannot reach the original, which alone decides success.
"""

from __future__ import annotations

import sys
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, NoReturn

import torch

from harness.criteria import correction_criterion
from harness.engine.folding import attack_ready
from harness.engine.networks import state_version
from harness.engine.norms import per_sample_norm
from harness.engine.observing import Iterates, ObservedClassifier, Observer, PassCount, ThreatModel
from harness.engine.prediction import labelled_true
from harness.engine.randomness import PerSampleStreams, derive_seed, isolated_generators
from harness.errors import ContractError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor

    from harness.contract import Attack, Options
    from harness.criteria import LabelCriterion, Objective, Select
    from harness.engine.networks import PixelClassifier


@dataclass(frozen=True)
class BatchCorrection:
    """One batch after an attack: images (N, C, H, W) float32, whether the original classifier labels them true (N,)."""

    images: Tensor
    corrected: Tensor
    passes: PassCount


class Corrector:
    """An attack bound to a classifier, an objective and a choice of iterate."""

    def __init__(
        self,
        attack: Attack[Options],
        network: PixelClassifier,
        *,
        name: str,
        objective: Objective,
        select: Select,
        seed: int,
    ) -> None:
        self.attack = attack
        self.network = network
        self.name = name
        self.objective = objective
        self.select = select
        self.seed = seed
        self._twin = attack_ready(network)
        self._version = state_version(self._twin)
        eps = getattr(attack.options, "eps", None)
        self._threat = ThreatModel(attack.capabilities.norm, network.bounds, eps)

    def correct(self, images: Tensor, labels: Tensor, samples: Tensor) -> BatchCorrection:
        """Attack wrongly classified images (N, C, H, W) with true labels (N,) on the classifier's device.

        ``samples`` (N,) identify them: a sample's random stream depends on its identifier alone.
        Raises ``ContractError`` when the attack breaks the contract.
        """
        passes = PassCount()
        criterion = self._criterion(images, labels, passes)
        iterates = Iterates(images, criterion, select=self.select, threat=self._threat)
        perturbed = self._run(images, criterion, samples, Observer(passes, iterates))
        met = labelled_true(self.network, perturbed, labels).to(images.device)
        chosen = iterates.finish(perturbed, met)
        if self.select == "final":
            return BatchCorrection(chosen.cpu(), met.cpu(), passes)
        corrected = labelled_true(self.network, chosen, labels).to(images.device)
        # Where float noise makes the twin's hit none of the original's, what the attack returned may still count.
        rescued = met & ~corrected
        chosen[rescued] = perturbed[rescued]
        return BatchCorrection(chosen.cpu(), (corrected | rescued).cpu(), passes)

    def _criterion(self, images: Tensor, labels: Tensor, passes: PassCount) -> LabelCriterion:
        with torch.inference_mode():
            clean_logits = self._twin(images)
        passes.forward += len(images)
        return correction_criterion(
            self.objective, true_labels=labels, clean_logits=clean_logits.clone(), select=self.select
        )

    def _run(self, images: Tensor, criterion: LabelCriterion, samples: Tensor, observer: Observer) -> Tensor:
        classifier = ObservedClassifier(self._twin, observer)
        self.attack.random = PerSampleStreams.of(samples, seed=self.seed, device=images.device)
        given = images.clone()
        seed = derive_seed(self.seed, "batch", int(samples[0]), len(samples))
        with isolated_generators(seed), _settings_kept():
            perturbed = self.attack.run(classifier, given, criterion)
        self._check_inputs(given, images)
        self._check_state()
        return self._checked(perturbed, images)

    def _check_inputs(self, given: Tensor, images: Tensor) -> None:
        if not torch.equal(given, images):
            self._fail("changed the images it was given, in place", "work on a copy")

    def _check_state(self) -> None:
        twin = self._twin
        changed = state_version(twin) != self._version
        trained = any(module.training for module in twin.modules())
        graded = any(parameter.grad is not None or parameter.requires_grad for parameter in twin.parameters())
        if not (changed or trained or graded):
            return
        self._twin = attack_ready(self.network)
        self._version = state_version(self._twin)
        what = "parameters or buffers" if changed else "train/eval mode" if trained else "parameter gradients"
        self._fail(f"changed the classifier's {what}", "leave the classifier as it was")

    def _checked(self, perturbed: Tensor, images: Tensor) -> Tensor:
        """Return the perturbed images as float32 within the bounds, or raise what is wrong with them."""
        if not isinstance(perturbed, torch.Tensor):
            self._fail(f"returned a {type(perturbed).__name__}", "return a tensor")
        if perturbed.shape != images.shape:
            self._fail(f"returned the shape {tuple(perturbed.shape)}", f"expected {tuple(images.shape)}")
        if perturbed.dtype != images.dtype:
            self._fail(f"returned {perturbed.dtype}", f"expected {images.dtype}")
        perturbed = perturbed.detach().to(images.device)
        if not bool(torch.isfinite(perturbed).all()):
            self._fail("returned pixels that are not finite", "check its step for a division by zero")
        low, high = self._threat.bounds
        if not bool(self._threat.within_bounds(perturbed).all()):
            lowest, highest = float(perturbed.min()), float(perturbed.max())
            self._fail(f"returned pixels in [{lowest:.6g}, {highest:.6g}]", f"expected them in [{low:g}, {high:g}]")
        perturbed = perturbed.clamp(low, high)
        self._check_eps(perturbed, images)
        return perturbed

    def _check_eps(self, perturbed: Tensor, images: Tensor) -> None:
        threat = self._threat
        if threat.eps is None:
            return
        largest = float(per_sample_norm(perturbed - images, threat.norm).max())
        if largest > threat.largest_norm:
            self._fail(f"moved a sample by {largest:.6g} in {threat.norm}", f"its eps is {threat.eps:.6g}")

    def _fail(self, what: str, expected: str) -> NoReturn:
        raise ContractError(f'attack "{self.name}" {what}; {expected}')


@contextmanager
def _settings_kept() -> Iterator[None]:
    """Put back what libraries change for the whole process: the gradient mode and the trace function."""
    traced, gradients = sys.gettrace(), torch.is_grad_enabled()
    try:
        yield
    finally:
        torch.set_grad_enabled(gradients)
        if sys.gettrace() is not traced:
            sys.settrace(traced)
