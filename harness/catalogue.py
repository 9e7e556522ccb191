"""Cards: what a spec can name, read from the folders that plugins offer. One YAML file a card, its name the file's."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 (pydantic reads it)
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from harness.contract import FractionalFloat
from harness.criteria import Objective, Select
from harness.errors import PluginError, SpecError, did_you_mean
from harness.faults import KeyFaultError
from harness.validation import alternatives, describe, parse, shown
from harness.yamlio import read_yaml

if TYPE_CHECKING:
    from collections.abc import Iterable

CardKind = Literal["datasets", "models", "correctors", "experiments", "suites", "published"]


class Card(BaseModel):
    """What every card says of itself."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    description: str = Field(description="One sentence.")
    source: str = Field(description="Where it comes from: a citation or an address.")


def _as_tuple(value: object) -> object:
    return tuple(value) if isinstance(value, list) else value


class Normalization(BaseModel):
    """Mean and standard deviation per channel of pixels in [0, 1]."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    mean: Annotated[tuple[Annotated[float, Field(allow_inf_nan=False)], ...], BeforeValidator(_as_tuple)] = Field(
        description="The mean of each channel, in [0, 1].", min_length=1
    )
    std: Annotated[tuple[Annotated[float, Field(gt=0, allow_inf_nan=False)], ...], BeforeValidator(_as_tuple)] = Field(
        description="The standard deviation of each channel.", min_length=1
    )

    @model_validator(mode="after")
    def _one_each(self) -> Self:
        if len(self.mean) != len(self.std):
            raise KeyFaultError(
                "std", f"has {len(self.std)} and mean {len(self.mean)} entries; expected one each per channel"
            )
        return self


IMAGENET = Normalization(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
"""ImageNet's, as every published checkpoint of its models uses it."""


class DatasetCard(Card):
    """A data set: who provides it and how a classifier should see it."""

    provider: str = Field(description="A data set plugin.")
    classes: int = Field(description="How many classes it has.")
    image_size: int = Field(description="The images' width and height.")
    channels: int = Field(description="The images' channels.")
    normalization: Normalization = Field(description="Mean and std of its training images.")
    standard_eps: dict[str, FractionalFloat] = Field(
        default_factory=dict, description="The field's usual perturbation bounds, by norm."
    )
    options: dict[str, Any] = Field(default_factory=dict, description="The plugin's options.")


class ModelCard(Card):
    """A classifier: its architecture and the options that make it."""

    architecture: str = Field(description="An architecture plugin.")
    options: dict[str, Any] = Field(default_factory=dict, description="The plugin's options.")
    parameters: int = Field(description="How many parameters it has.")
    image_size: int | None = Field(None, description="What images are resized to, if not as the plugin has it.")
    normalization: Literal["imagenet"] | Normalization | None = Field(
        None, description="How pixels are normalized, if not as the plugin has it."
    )


class CorrectorCard(Card):
    """A preset: an attack, its objective and options, and which iterate counts."""

    attack: str | None = Field(description="An attack plugin; null for no attack at all.")
    objective: Objective | None = Field(None, description="What the attack drives at.")
    select: Select | None = Field(None, description="Which iterate counts.")
    options: dict[str, Any] = Field(default_factory=dict, description="The plugin's options.")


class Suite(Card):
    """A set of experiments that are run one after the other."""

    experiments: tuple[str, ...] = Field(min_length=1, description="Names of registered experiments.")


Printable = int | float | str | None
"""A setting as a paper prints it, None where it does not; fractions are strings."""

Role = Literal[
    "baseline",
    "refined",
    "refined keeping all",
    "quantized baseline",
    "refined before quantizing",
    "refined and quantized",
]
"""What a row of a published table is, in our terms."""


class PrintedSetting(BaseModel):
    """One setting of a paper: what it is called in a record, and what it is printed to be."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    key: str = Field(description="What it is called in a record, such as budget.lr.")
    label: str = Field(description="What it is called in a table.")
    value: Printable | list[int] = Field(description="Its value; null where the paper does not print it.")
    unless: dict[str, Printable] = Field(
        default_factory=dict, description='Values by "MODEL", "DATASET" or "MODEL DATASET" that differ.'
    )
    printed: str | None = Field(None, description="How the paper puts it, where it is not the value.")
    where: str | None = Field(None, description="Where the paper says so.")

    def for_pair(self, model: str, dataset: str) -> Printable | list[int]:
        """Return the value for a model on a data set."""
        exceptions = [self.unless[key] for key in (f"{model} {dataset}", model, dataset) if key in self.unless]
        return exceptions[0] if exceptions else self.value


class TableCard(BaseModel):
    """One table of a paper, whose numbers lie in the CSV file of its name."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    title: str = Field(description="What the table shows.")
    settings: Annotated[tuple[PrintedSetting, ...], BeforeValidator(_as_tuple)] = Field(
        (), description="Settings of this table alone."
    )
    slips: Annotated[tuple[str, ...], BeforeValidator(_as_tuple)] = Field(
        (), description="What is known to be inconsistent in it, besides what its rows note."
    )


class PaperCard(Card):
    """A paper with result tables: what its names mean here, its settings and its tables."""

    models: dict[str, str] = Field(description="Our card of each of its models.")
    correctors: dict[str, str] = Field(description="Our preset of each of its attacks.")
    adapter: str = Field(description="The adapter plugin it uses.")
    approaches: dict[str, Role] = Field(description="What each of its approaches is.")
    stand_ins: dict[str, str] = Field(
        default_factory=dict, description="Which of its models and data sets ours stand for, where they are others."
    )
    settings: Annotated[tuple[PrintedSetting, ...], BeforeValidator(_as_tuple)] = Field(
        (), description="Settings of all its tables."
    )
    tables: dict[str, TableCard] = Field(description="Its tables, by the names of their CSV files.")


CardT = TypeVar("CardT", bound=Card)


class BrokenCardError(PluginError):
    """A card that does not say what a card must say: its author's mistake, not the spec's."""


class Catalogue:
    """The cards of several folders. A name that two folders have fails when it is used."""

    def __init__(self, folders: Iterable[Path]) -> None:
        self._folders = list(folders)

    def paths(self, kind: CardKind) -> dict[str, Path]:
        """Return the cards of a kind, name to file, sorted; of two with one name, the first folder's."""
        return {name: found[0] for name, found in self._all_paths(kind).items()}

    def dataset(self, name: str) -> DatasetCard:
        """Return a data set's card.

        Like all that follow: raises ``SpecError`` with the nearest name where there is none, ``PluginError`` where
        there are two, ``BrokenCardError`` where it cannot be read.
        """
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

    def paper(self, name: str) -> PaperCard:
        """Return the card of a paper with published tables."""
        return self._card("published", name, PaperCard)

    def experiment(self, name: str) -> Path:
        """Return where a registered experiment's spec lies."""
        return self._path("experiments", name)

    def _all_paths(self, kind: CardKind) -> dict[str, list[Path]]:
        found: dict[str, list[Path]] = {}
        for folder in self._folders:
            for path in (folder / kind).glob("*.yaml"):
                found.setdefault(path.stem, []).append(path)
        return dict(sorted(found.items()))

    def _path(self, kind: CardKind, name: str) -> Path:
        paths = self._all_paths(kind)
        if name not in paths:
            raise SpecError(
                f"unknown {_SINGULAR[kind]} {shown(name)}{did_you_mean(name, paths)}{_see(kind, name, paths)}"
            )
        if len(paths[name]) > 1:
            files = " and ".join(f'"{path}"' for path in paths[name])
            raise PluginError(
                f'ambiguous {_SINGULAR[kind]} "{name}": {files}; remove one of the packages that bring them'
            )
        return paths[name][0]

    def _card(self, kind: CardKind, name: str, model: type[CardT]) -> CardT:
        path = self._path(kind, name)
        try:
            document = read_yaml(path)
        except SpecError as error:
            raise BrokenCardError(str(error)) from error
        try:
            return parse(model, document.data)
        except ValidationError as error:
            findings = describe(error, document, (), model=model)
            raise BrokenCardError("\n".join(finding.text for finding in findings)) from error


def _see(kind: CardKind, name: str, paths: Iterable[str]) -> str:
    """Say which names there are, or where they can be seen."""
    if kind in {"correctors", "published"}:
        return f"; expected {alternatives([*paths])}" if paths else f"; no {_SINGULAR[kind]} is installed"
    command = "experiments" if kind == "suites" else kind
    return f'{"" if did_you_mean(name, paths) else "."} See "harness {command}".'


_SINGULAR: dict[CardKind, str] = {
    "datasets": "data set",
    "models": "model",
    "correctors": "corrector preset",
    "experiments": "experiment",
    "suites": "suite",
    "published": "paper",
}
