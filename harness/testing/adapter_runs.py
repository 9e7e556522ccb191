"""An adapter's steps on the toys, each with a new instance; no judgement here, so that every check tells one thing."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from harness.errors import HarnessError
from harness.testing.adapter_sessions import BATCH_SIZE, SEED, STEPS, USUAL, Scene, Session
from harness.testing.checks import CheckSkipped, needs
from harness.testing.subject import Subject

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor, nn

    from harness.adapting import AdapterCapabilities, Batch
    from harness.engine.loops import AdapterLoop
    from harness.engine.networks import PixelClassifier
    from harness.testing.toys import NetworkKind

INTERRUPTED = 3
"""The step before which a loop is interrupted."""
SOURCE, TARGET = 0, 1
"""The places of the two batches of a step."""


@dataclass(frozen=True)
class Step:
    """What an adapter made of a step: its losses, or what it raised, and the hook that was asked last.

    ``batches``: the source's and the target's, none where it raised before. ``changed``: what it changed of them.
    ``pairs_read``: whether it asked for the corrections, or for what was kept.
    """

    losses: Any
    error: BaseException | None
    hook: str
    batches: tuple[Batch, ...] = ()
    modules: Mapping[str, nn.Module] = field(default_factory=dict)
    changed: tuple[str, ...] = ()
    pairs_read: bool = False

    def terms(self) -> dict[str, Tensor]:
        """Return the losses. Raises ``CheckSkipped`` where another check tells that they are none."""
        if self.error is not None:
            raise told_elsewhere(self.error)
        if loss_fault(self.losses) is not None:
            raise needs("finite-scalar-losses")
        terms: dict[str, Tensor] = self.losses
        return terms

    def total(self) -> Tensor:
        """Return the sum that is minimized."""
        import torch

        return torch.stack(list(self.terms().values())).sum()


@dataclass(frozen=True)
class Adapted:
    """The network after ``adapt``, what that raised, and the hook that was asked last."""

    network: PixelClassifier
    error: BaseException | None
    hook: str


class AdapterSubject(Subject):
    """An adapter under check."""

    @property
    def capabilities(self) -> AdapterCapabilities:
        """What it declares."""
        loaded: Any = self.loaded
        declared: AdapterCapabilities = loaded.capabilities
        return declared

    @property
    def steps_by_gradient(self) -> bool:
        """Whether it has losses rather than ``adapt``."""
        loaded: Any = self.loaded
        by_gradient: bool = loaded.takes_gradient_steps()
        return by_gradient

    @cached_property
    def usual(self) -> Step:
        """The first step on what it asks for, target labels aside: those are there, so that one check tells of their absence."""
        return self.step(USUAL)

    def at(self, number: int) -> Step:
        """Return the usual step of that number."""
        if number == 0:
            return self.usual
        if number not in self._later:
            self._later[number] = self.step(Scene(at=number))
        return self._later[number]

    def step(self, scene: Scene) -> Step:
        """Make one step with a new instance and one seed, as the engine does; a later one after the first."""
        from harness.engine.randomness import isolated_generators

        with isolated_generators(SEED):
            session = self._session(scene)
            if scene.at:
                self._take(session, 0)
            return self._take(session, scene.at)

    def interrupted(self) -> tuple[Step, Step]:
        """Return a step of a loop that ran through, and that step of a loop which a new instance takes up there."""
        from harness.engine.randomness import isolated_generators

        with isolated_generators(SEED):
            session = self._session(USUAL)
            for number in range(INTERRUPTED):
                self._take(session, number).terms()
                try:
                    session.learn()
                except RuntimeError as error:
                    raise needs("gradient-reaches-features") from error
            saved = session.state()
            through = self._take(session, INTERRUPTED)
        with isolated_generators(SEED):
            again = self._session(USUAL)
            try:
                again.load(saved)
            except (RuntimeError, KeyError) as error:
                return through, Step(None, error, "modules()")
            return through, self._take(again, INTERRUPTED)

    def adapted(self, kind: NetworkKind = "usual") -> Adapted:
        """Return what a new instance makes of a copy of a toy network."""
        if kind not in self._adapted:
            self._adapted[kind] = self._adapting(kind)
        return self._adapted[kind]

    def _adapting(self, kind: NetworkKind) -> Adapted:
        from harness.engine.randomness import isolated_generators

        network = copy.deepcopy(self.toys.networks[kind])
        with isolated_generators(SEED):
            session = self._session_of(network, Scene(network=kind))
            if session.error is None:
                session.adapt()
        return Adapted(network, session.error, session.answers.hook)

    def _session(self, scene: Scene) -> Session:
        return self._session_of(copy.deepcopy(self.toys.networks[scene.network]), scene)

    def _session_of(self, network: PixelClassifier, scene: Scene) -> Session:
        loop = self._loop(network, scene.network)
        session = Session(self.make(), self.plugin.name, loop, network, toys=self.toys, scene=scene)
        session.begin()
        return session

    def _take(self, session: Session, number: int) -> Step:
        session.take(number)
        return Step(
            session.losses,
            session.error,
            session.answers.hook,
            session.batches,
            session.modules,
            session.changed,
            session.loop.pairs_read,
        )

    def _loop(self, network: PixelClassifier, kind: NetworkKind) -> AdapterLoop:
        """Return the loop that an adapter of the toys is in."""
        from harness.budget import Adaptation
        from harness.engine.loops import AdapterLoop

        # With shrinkage, which some covariances of a small batch cannot be without.
        adaptation = Adaptation(steps=STEPS, batch_size=BATCH_SIZE, shrinkage=0.1)
        return AdapterLoop(
            network,
            adaptation,
            source=self.toys.corrected,
            target=self.toys.made,
            valid=self.toys.made,
            steps=STEPS,
            labels_shown=self.capabilities.target_labels,
            may_validate=not self.steps_by_gradient,
            start=lambda: copy.deepcopy(self.toys.networks[kind]),
        )

    @cached_property
    def _adapted(self) -> dict[NetworkKind, Adapted]:
        return {}

    @cached_property
    def _later(self) -> dict[int, Step]:
        return {}


def told_elsewhere(error: BaseException) -> CheckSkipped:
    """Return the reason to skip a check while another tells of this error."""
    from harness.engine.answers import AnswerError, UnsoundNetworkError

    if isinstance(error, UnsoundNetworkError):
        return needs("network-left-sound")
    return needs("hooks-answer" if isinstance(error, AnswerError) else "adapts")


def is_refusal(error: BaseException) -> bool:
    """Whether an adapter says by this error that it cannot work here, rather than answer what the contract does not know."""
    from harness.engine.answers import AnswerError

    return isinstance(error, HarnessError) and not isinstance(error, AnswerError)


def loss_fault(losses: Any) -> str | None:
    """Say how the losses are no dict of finite scalars, if so."""
    from harness.engine import answers

    fault = answers.loss_fault(losses)
    if fault is None:
        for name, value in losses.items():
            if not bool(value.isfinite()):
                return f'the loss "{name}" as {float(value.detach()):g}'
    return fault
