"""Cards: what a spec can name, read from the folders that plugins offer. One YAML file a card, its name the file's."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 (pydantic reads it)
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from harness.contract import FractionalFloat
from harness.criteria import Objective, Select
from harness.errors import HarnessError, PluginError, SpecError, did_you_mean
from harness.validation import describe
from harness.yamlio import read_yaml

if TYPE_CHECKING:
    from collections.abc import Iterable

CardKind = Literal["datasets", "models", "correctors", "experiments", "suites"]


class Card(BaseModel):
    """What every card says of itself."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    description: str = Field(description="One sentence.")
    source: str = Field(description="Where it comes from: a citation or an address.")


class Normalization(BaseModel):
    """Mean and standard deviation per channel of pixels in [0, 1]."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    mean: tuple[float, ...] = Field(description="Mean per channel.", min_length=1)
    std: tuple[Annotated[float, Field(gt=0)], ...] = Field(description="Standard deviation per channel.", min_length=1)


IMAGENET = Normalization(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
"""ImageNet's, as every published checkpoint of its models uses it."""


class DatasetCard(Card):
    """A data set: who provides it and how a classifier should see it."""

    provider: str
    classes: int
    image_size: int
    channels: int
    normalization: Normalization
    standard_eps: dict[str, FractionalFloat] = Field(default_factory=dict)
    options: dict[str, Any] = Field(default_factory=dict)


class ModelCard(Card):
    """A classifier: its architecture and the options that make it."""

    architecture: str
    options: dict[str, Any] = Field(default_factory=dict)
    parameters: int
    image_size: int | None = None
    normalization: Literal["imagenet"] | Normalization | None = None


class CorrectorCard(Card):
    """A preset: an attack, its objective and options, and which iterate counts."""

    attack: str | None
    objective: Objective | None = None
    select: Select | None = None
    options: dict[str, Any] = Field(default_factory=dict)


class Suite(Card):
    """A set of experiments that are run one after the other."""

    experiments: tuple[str, ...] = Field(min_length=1)


CardT = TypeVar("CardT", bound=Card)


class Catalogue:
    """The cards of several folders; of two with one name, the later folder's is an error."""

    def __init__(self, folders: Iterable[Path]) -> None:
        self._folders = list(folders)

    def paths(self, kind: CardKind) -> dict[str, Path]:
        """Return the cards of a kind: name to file, sorted."""
        found: dict[str, Path] = {}
        for folder in self._folders:
            for path in sorted((folder / kind).glob("*.yaml")):
                if path.stem in found:
                    raise PluginError(
                        f'two cards are called {kind}/{path.stem}: "{found[path.stem]}" and "{path}"; rename one'
                    )
                found[path.stem] = path
        return dict(sorted(found.items()))

    def dataset(self, name: str) -> DatasetCard:
        """Return a data set's card. Raises ``SpecError`` with the nearest name when there is none."""
        return self._card("datasets", name, DatasetCard)

    def model(self, name: str) -> ModelCard:
        """Return a model's card."""
        return self._card("models", name, ModelCard)

    def corrector(self, name: str) -> CorrectorCard:
        """Return a preset's card."""
        return self._card("correctors", name, CorrectorCard)

    def suite(self, name: str) -> Suite:
        """Return a suite."""
        return self._card("suites", name, Suite)

    def experiment(self, name: str) -> Path:
        """Return where a registered experiment's spec lies."""
        return self._path("experiments", name)

    def _path(self, kind: CardKind, name: str) -> Path:
        paths = self.paths(kind)
        if name not in paths:
            listed = _LISTED_BY.get(kind)
            see = f' See "harness {listed}".' if listed else f" Known: {', '.join(paths)}."
            raise SpecError(f'unknown {_SINGULAR[kind]} "{name}"{did_you_mean(name, paths)}.{see}')
        return paths[name]

    def _card(self, kind: CardKind, name: str, model: type[CardT]) -> CardT:
        path = self._path(kind, name)
        document = read_yaml(path)
        try:
            return model.model_validate(document.data)
        except ValidationError as error:
            problems = describe(error, document, ())
            raise BrokenCardError("\n".join(problems)) from error


class BrokenCardError(HarnessError):
    """A card that does not say what a card must say: its author's mistake, not the spec's."""

    exit_code = 3


_SINGULAR: dict[CardKind, str] = {
    "datasets": "data set",
    "models": "model",
    "correctors": "corrector preset",
    "experiments": "experiment",
    "suites": "suite",
}
_LISTED_BY: dict[CardKind, str] = {"datasets": "datasets", "models": "models", "experiments": "experiments"}
