"""An attack's runs on the toys, each with what it left behind; no judgement here, so that every check tells one thing."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from harness.criteria import LabelCriterion
from harness.testing.checks import CheckSkipped, needs
from harness.testing.subject import Subject

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor, nn

    from harness.contract import Attack, Capabilities, Options

SEED, OTHER_SEEDS = 1, (2, 3)


@dataclass(frozen=True)
class Trial:
    """What an attack is driven at: to approach or to flee labels, to stop at a hit or not; ``flat``: without gradient."""

    targeted: bool
    stop_early: bool = False
    flat: bool = False

    def __str__(self) -> str:
        direction = "approaching labels" if self.targeted else "fleeing labels"
        return f"{direction}, stopping early" if self.stop_early else direction


@dataclass(frozen=True)
class Outcome:
    """What a run returned, or raised, and what it changed."""

    trial: Trial
    criterion: LabelCriterion
    originals: Tensor
    given: Tensor
    returned: Any
    error: BaseException | None
    backward: int
    classifier_changes: tuple[str, ...]
    generator_changes: tuple[str, ...]
    setting_changes: tuple[str, ...]
    torch_generator: Tensor
    """The state of torch's global generator after the run."""

    def misfit(self) -> str | None:
        """Say how the answer is no tensor of the images' shape, dtype and device, if so."""
        import torch

        returned, originals = self.returned, self.originals
        if not isinstance(returned, torch.Tensor):
            return f"a {type(returned).__name__}"
        if returned.shape != originals.shape:
            return f"the shape {tuple(returned.shape)}; expected {tuple(originals.shape)}"
        if returned.dtype != originals.dtype:
            return f"{returned.dtype}; expected {originals.dtype}"
        if returned.device != originals.device:
            return f"a tensor on {returned.device}; expected {originals.device}"
        return None

    def images(self) -> Tensor:
        """Return the perturbed images (N, C, H, W). Raises ``CheckSkipped`` where another check tells that they are none."""
        if self.error is not None:
            raise needs("runs")
        if self.misfit() is not None:
            raise needs("shape-dtype-device")
        images: Tensor = self.returned.detach()
        if not bool(images.isfinite().all()):
            raise needs("finite")
        return images


class AttackSubject(Subject):
    """An attack under check; a run of one trial and seed is made once."""

    @cached_property
    def capabilities(self) -> Capabilities:
        """What it declares."""
        loaded: Any = self.loaded
        declared: Capabilities = loaded.capabilities
        return declared

    @property
    def directions(self) -> list[bool]:
        """Whether labels are approached, for each direction that it declares. Raises ``CheckSkipped`` where there is none."""
        declared = {True: self.capabilities.targeted, False: self.capabilities.untargeted}
        if not any(declared.values()):
            raise needs("runs")
        return [targeted for targeted, able in declared.items() if able]

    def trials(self) -> list[Trial]:
        """Return the trials that it declares to be made for, the gradient being what it is."""
        return [Trial(targeted, stop_early) for targeted in self.directions for stop_early in (False, True)]

    def first(self) -> Trial:
        """Return the trial that stands for the others."""
        return self.trials()[0]

    def outcomes(self) -> list[Outcome]:
        """Run every trial."""
        return [self.outcome(trial) for trial in self.trials()]

    def outcome(self, trial: Trial, *, seed: int = SEED) -> Outcome:
        """Run a trial, or return the run that was made."""
        if (trial, seed) not in self._outcomes:
            self._outcomes[trial, seed] = self.run(trial, seed=seed)
        return self._outcomes[trial, seed]

    def run(self, trial: Trial, *, seed: int = SEED, count: int | None = None) -> Outcome:
        """Run a trial on the first ``count`` images, on a classifier of its own."""
        import torch

        from harness.engine.networks import frozen_copy
        from harness.engine.observing import ObservedClassifier, Observer
        from harness.engine.randomness import isolated_generators

        attack, toys = self.made, self.toys
        network = frozen_copy(toys.flat() if trial.flat else toys.network)
        images, criterion = toys.images[:count].clone(), self.criterion(trial)[slice(count)]  # type: ignore[index]
        self._supply(attack, images, seed)
        observer, given = Observer(), images.clone()
        before = _state(network)
        with isolated_generators(seed), _settings_restored() as settings:
            generators = _generators()
            returned, error = _attempt(attack, ObservedClassifier(network, observer), given, criterion)
            drawn_from = tuple(name for name, state in _generators().items() if state != generators[name])
            changed_settings = tuple(name for name, value in _settings().items() if value != settings[name])
            generator_after = torch.get_rng_state()
        after = _state(network)
        return Outcome(
            trial,
            criterion,
            images,
            given,
            returned,
            error,
            observer.passes.backward,
            tuple(name for name, value in after.items() if value != before[name]),
            drawn_from,
            changed_settings,
            generator_after,
        )

    def criterion(self, trial: Trial) -> LabelCriterion:
        """Return the criterion: the second best label to approach, or the best one to flee."""
        toys, stop_early = self.toys, trial.stop_early
        if trial.targeted:
            return LabelCriterion(toys.second_best, targeted=True, goal=toys.second_best, stop_early=stop_early)
        return LabelCriterion(
            toys.predicted, targeted=False, goal=toys.predicted, correcting=False, stop_early=stop_early
        )

    @cached_property
    def repeatable(self) -> bool:
        """Whether the same seed gives the same result."""
        before, again = self.outcome(self.first()).images(), self.run(self.first()).images()
        return bool((before == again).all())

    @cached_property
    def _outcomes(self) -> dict[tuple[Trial, int], Outcome]:
        return {}

    def _supply(self, attack: Attack[Options], images: Tensor, seed: int) -> None:
        from harness.engine.randomness import PerSampleStreams

        samples = self.toys.samples[: len(images)]
        attack.random = PerSampleStreams.of(samples, seed=seed, device=images.device)
        if attack.capabilities.examples:
            attack.examples = self.toys.examples.of(images, samples, seed=seed)


def sound_images(outcome: Outcome) -> Tensor | None:
    """Return the perturbed images, None where there are none to speak of."""
    try:
        return outcome.images()
    except CheckSkipped:
        return None


def _attempt(
    attack: Attack[Options], classifier: Any, images: Tensor, criterion: LabelCriterion
) -> tuple[Any, BaseException | None]:
    try:
        return attack.run(classifier, images, criterion), None
    except (Exception, SystemExit) as error:  # noqa: BLE001 (an attack may raise anything)
        return None, error


def _state(network: nn.Module) -> dict[str, object]:
    """Return what an attack must leave as it was."""
    from harness.engine.networks import state_version

    return {
        "parameters or buffers": state_version(network),
        "train/eval modes": [module.training for module in network.modules()],
        "parameters' requires_grad": [parameter.requires_grad for parameter in network.parameters()],
        "parameters' gradients": [parameter.grad is not None for parameter in network.parameters()],
    }


def _generators() -> dict[str, object]:
    """Return the state of each global generator."""
    import random

    import numpy as np
    import torch

    name, keys, *rest = np.random.get_state()  # noqa: NPY002 (the global one is what is watched)
    numpy_state = (name, bytes(keys), *rest)  # type: ignore[arg-type]  # an array of its state
    return {"torch's": torch.get_rng_state().tolist(), "numpy's": numpy_state, "Python's": random.getstate()}


def _settings() -> dict[str, object]:
    """Return what libraries are known to change for the whole process."""
    import torch

    return {
        "the gradient mode": torch.is_grad_enabled(),
        "the default dtype": torch.get_default_dtype(),
        "the number of threads": torch.get_num_threads(),
        "the trace function": sys.gettrace(),
    }


@contextmanager
def _settings_restored() -> Iterator[dict[str, object]]:
    """Give the settings as they are, and put them back afterwards."""
    import torch

    gradients, dtype = torch.is_grad_enabled(), torch.get_default_dtype()
    threads, traced = torch.get_num_threads(), sys.gettrace()
    try:
        yield _settings()
    finally:
        torch.set_grad_enabled(gradients)
        torch.set_default_dtype(dtype)
        if torch.get_num_threads() != threads:
            torch.set_num_threads(threads)
        if sys.gettrace() is not traced:
            sys.settrace(traced)
