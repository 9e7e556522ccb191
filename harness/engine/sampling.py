"""Which settings a search tries next: all combinations of a grid, or what one of Optuna's samplers proposes.

Optuna (Akiba et al., 2019, arXiv:1907.10902).
"""

from __future__ import annotations

import warnings
from contextlib import contextmanager
from itertools import cycle
from typing import TYPE_CHECKING, Any, Protocol

from harness.engine.randomness import derive_seed, isolated_generators
from harness.search import GRID

if TYPE_CHECKING:
    from collections.abc import Iterator

    from harness.search import SamplerName
    from harness.search_space import Dimension, Settings, Space

_CLASSES: dict[SamplerName, str] = {
    "random": "RandomSampler",
    "qmc": "QMCSampler",
    "tpe": "TPESampler",
    "gp": "GPSampler",
    "cmaes": "CmaEsSampler",
}
# Unscrambled, Sobol's sequence is the same for every seed.
_OPTIONS: dict[SamplerName, dict[str, Any]] = {"qmc": {"scramble": True}}


class Sampler(Protocol):
    """Proposes settings, one trial after the other."""

    def ask(self) -> Settings:
        """Return the next trial's settings."""

    def tell(self, accuracy: float | None) -> None:
        """Hear what the last trial's validation accuracy in [0, 1] was; None where it came to nothing."""


def make_sampler(name: SamplerName, space: Space, *, seed: int) -> Sampler:
    """Return a sampler that draws from the seed alone: arms with the same dimensions are proposed the same at random."""
    if name == GRID or not space.dimensions:
        return _Grid(space)
    return _Optuna(name, space, seed)


class _Grid:
    """All combinations in order, and again from the first."""

    def __init__(self, space: Space) -> None:
        self._settings: Iterator[Settings] = cycle(space.grid())

    def ask(self) -> Settings:
        return dict(next(self._settings))

    def tell(self, accuracy: float | None) -> None:
        """Learn nothing."""


class _Optuna:
    """One of Optuna's samplers, asked and told."""

    def __init__(self, name: SamplerName, space: Space, seed: int) -> None:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self._space = space
        self._seed = derive_seed("search", name, seed)
        # numpy's seeds have 32 bits
        with _unwarned():
            kind: Any = getattr(optuna.samplers, _CLASSES[name])
            sampler = kind(seed=self._seed % 2**32, **_OPTIONS.get(name, {}))
        self._study = optuna.create_study(direction="maximize", sampler=sampler, study_name=name)
        self._asked: optuna.Trial | None = None

    def ask(self) -> Settings:
        with _unwarned(), isolated_generators(self._seed):
            self._asked = trial = self._study.ask()
            return {dimension.name: _suggested(trial, dimension) for dimension in self._space.dimensions}

    def tell(self, accuracy: float | None) -> None:
        from optuna.trial import TrialState

        assert self._asked is not None  # noqa: S101 (told of what was asked)
        # An accuracy of 0 would be a measurement: one such value far below all others bends what a sampler fits to them.
        state = TrialState.FAIL if accuracy is None else TrialState.COMPLETE
        with _unwarned(), isolated_generators(self._seed):
            self._study.tell(self._asked, accuracy, state=state)


def _suggested(trial: Any, dimension: Dimension) -> Any:
    """Return a value of a dimension; numbers are proposed by their rank, so that a sampler knows which are near."""
    name, bounds, choices = dimension.name, dimension.bounds, dimension.choices
    if bounds is None:
        if any(isinstance(value, bool) or not isinstance(value, int | float) for value in choices):
            return choices[trial.suggest_categorical(name, list(range(len(choices))))]
        return sorted(choices)[trial.suggest_int(name, 0, len(choices) - 1)]
    if bounds.whole:
        return trial.suggest_int(name, int(bounds.low), int(bounds.high), log=bounds.log)
    return trial.suggest_float(name, bounds.low, bounds.high, log=bounds.log)


@contextmanager
def _unwarned() -> Iterator[None]:
    """Keep to ourselves that a sampler is experimental, or falls back on another for some dimensions."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
