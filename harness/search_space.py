"""What a search may choose from, arm by arm, and what its settings make of an arm."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from itertools import product
from math import prod
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from pydantic import BaseModel, ValidationError

from harness.errors import SpecError
from harness.validation import alternatives, parse, shown

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from harness.budget import Adaptation
    from harness.resolved import ResolvedAdapter, ResolvedCorrector, ResolvedPlugin
    from harness.search import SamplerName

    ModelT = TypeVar("ModelT", bound=BaseModel)

Settings = dict[str, Any]
"""What a trial is run with: a value for each dimension of its arm, by the dimension's name."""

SearchedSection = Literal["adaptation", "adapters", "correctors"]


@dataclass(frozen=True)
class Bounds:
    """A range of numbers with both its ends; ``whole``: of whole numbers."""

    low: float
    high: float
    log: bool
    whole: bool


@dataclass(frozen=True)
class Dimension:
    """One setting that is tuned. Exactly one of ``choices`` (as JSON holds them) and ``bounds`` is set.

    ``entry`` names the adapter or corrector whose ``option`` it is, empty for the training loop's own.
    """

    name: str
    section: SearchedSection
    entry: str
    option: str
    choices: tuple[Any, ...] = ()
    bounds: Bounds | None = None

    def written(self) -> list[Any] | dict[str, Any]:
        """Return it as a spec has it."""
        if self.bounds is None:
            return list(self.choices)
        return {"low": self.bounds.low, "high": self.bounds.high, "log": self.bounds.log}

    def words(self) -> str:
        """Say it to a person: ``0.001, 0.01 or 0.1``, ``1e-05 to 0.01 (log)``."""
        if self.bounds is None:
            return alternatives([value if isinstance(value, str) else shown(value) for value in self.choices])
        return f"{self.bounds.low:g} to {self.bounds.high:g}{' (log)' * self.bounds.log}"


@dataclass(frozen=True)
class Tuned:
    """A training loop, an adapter and a corrector with a trial's settings."""

    adaptation: Adaptation
    adapter: ResolvedAdapter
    corrector: ResolvedCorrector | None


@dataclass(frozen=True)
class Space:
    """The dimensions of one arm, in the order of the spec."""

    dimensions: tuple[Dimension, ...] = ()

    @property
    def size(self) -> int | None:
        """How many combinations there are, None where a range has no end of them."""
        if any(dimension.bounds for dimension in self.dimensions):
            return None
        return prod(len(dimension.choices) for dimension in self.dimensions)

    def grid(self) -> Iterator[Settings]:
        """Yield every combination, the last dimension changing fastest; a single empty one without dimensions."""
        names = [dimension.name for dimension in self.dimensions]
        for values in product(*(dimension.choices for dimension in self.dimensions)):
            yield dict(zip(names, values, strict=True))

    def of(self, section: SearchedSection) -> Space:
        """Return the dimensions of one section alone."""
        return Space(tuple(dimension for dimension in self.dimensions if dimension.section == section))

    def written(self) -> dict[str, Any]:
        """Return it as a spec has it."""
        return {dimension.name: dimension.written() for dimension in self.dimensions}

    def tuned(
        self,
        settings: Mapping[str, Any],
        *,
        adaptation: Adaptation,
        adapter: ResolvedAdapter,
        corrector: ResolvedCorrector | None,
    ) -> Tuned:
        """Return an arm's parts with these settings. Raises ``SpecError`` where they do not go together."""
        changes: dict[SearchedSection, Settings] = {"adaptation": {}, "adapters": {}, "correctors": {}}
        for dimension in self.dimensions:
            changes[dimension.section][dimension.option] = settings[dimension.name]
        adapter = replace(adapter, adapter=_configured(adapter.adapter, changes["adapters"]))
        if corrector is not None and corrector.attack is not None:
            corrector = replace(corrector, attack=_configured(corrector.attack, changes["correctors"]))
        return Tuned(changed(adaptation, changes["adaptation"]), adapter, corrector)


@dataclass(frozen=True)
class ResolvedSearch:
    """A sampler, how many trials it has (None for a grid), what it may choose from, and the versions of what it is done with."""

    sampler: SamplerName
    trials: int | None
    space: Space
    versions: Mapping[str, str] = field(default_factory=dict)

    def space_of(
        self, *, by_gradient: bool, adapter: ResolvedAdapter | None, corrector: ResolvedCorrector | None
    ) -> Space:
        """Return what an arm has of the space.

        The training loop's keys where it adapts ``by_gradient``, its adapter's options and its corrector's.
        """
        own = {"adapters": adapter and adapter.name, "correctors": corrector and corrector.name}
        return Space(
            tuple(
                dimension
                for dimension in self.space.dimensions
                if (by_gradient if dimension.section == "adaptation" else dimension.entry == own[dimension.section])
            )
        )


def changed(model: ModelT, changes: Mapping[str, Any]) -> ModelT:
    """Return validated data with other values for some keys. Raises ``SpecError`` where they do not go together."""
    if not changes:
        return model
    written = {**model.model_dump(mode="json", exclude_unset=True), **changes}
    try:
        return parse(type(model), written)
    except ValidationError as error:
        told = ", ".join(f"{key} {shown(value)}" for key, value in changes.items())
        raise SpecError(f"{told} do not go together: {error.errors()[0]['msg']}") from error


def _configured(plugin: ResolvedPlugin, changes: Mapping[str, Any]) -> ResolvedPlugin:
    return replace(plugin, options=changed(plugin.options, changes)) if changes else plugin
