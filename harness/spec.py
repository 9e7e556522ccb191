"""Experiment specs: what a researcher writes, validated by pydantic, every error with its place in the file."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, Strict, ValidationError, model_validator

from harness.budget import Adaptation, Baseline
from harness.catalogue import Normalization
from harness.criteria import Objective, Select
from harness.errors import SpecError
from harness.validation import describe
from harness.yamlio import read_yaml

if TYPE_CHECKING:
    from harness.catalogue import Catalogue
    from harness.yamlio import Document

Keep = Literal["corrected", "all"]
ControlName = Literal[
    "none",
    "recalibrate-bn",
    "finetune-target",
    "finetune-source",
    "curriculum",
    "target-to-target",
    "sham",
    "random-subset",
]
ALL_CONTROLS: tuple[ControlName, ...] = (
    "none",
    "recalibrate-bn",
    "finetune-target",
    "finetune-source",
    "curriculum",
    "target-to-target",
    "sham",
    "random-subset",
)
WholeNumber = Annotated[int, Strict()]


class Section(BaseModel):
    """A part of a spec in which unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Reference(BaseModel):
    """A part of a spec that names a plugin; keys that are not its own are the plugin's options."""

    model_config = ConfigDict(extra="allow", frozen=True)

    @property
    def inline_options(self) -> dict[str, Any]:
        """The options written beside the reference's own keys."""
        return dict(self.model_extra or {})


class DatasetReference(Reference):
    """A data set: a card's name, a provider plugin, or a folder of images."""

    card: str | None = Field(None, description="A card of the registry; what a bare name means.")
    provider: str | None = Field(None, description="A data set plugin, without a card.")
    image_folder: Path | None = Field(None, description="A folder with train/<class>/* and test/<class>/*.")
    name: str | None = Field(None, description="What the tables call it.")
    normalization: Normalization | None = Field(
        None, description="Instead of the card's; computed from T without a card."
    )

    @model_validator(mode="before")
    @classmethod
    def _bare_name(cls, value: object) -> object:
        return {"card": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if sum(source is not None for source in (self.card, self.provider, self.image_folder)) != 1:
            raise ValueError("expected exactly one of card, provider and image_folder")
        return self


class ModelReference(Reference):
    """A classifier: a card's name, an architecture plugin, or a function of one's own; with or without trained weights."""

    card: str | None = Field(None, description="A card of the registry; what a bare name means.")
    architecture: str | None = Field(None, description="An architecture plugin, or a card's.")
    factory: str | None = Field(
        None, description='One\'s own function, "package.module:function", that returns a torch module.'
    )
    weights: Path | None = Field(None, description="A .safetensors, .pt, .pth or .th file.")
    name: str | None = Field(None, description="What the tables call it.")
    trained: Annotated[bool, Strict()] | None = Field(
        None, description="Whether the fine-tuning of stage 1 is skipped; true where weights are given."
    )
    image_size: Annotated[WholeNumber, Field(ge=1)] | None = Field(None, description="Images are resized to it.")
    normalization: Literal["imagenet", "dataset"] | Normalization | None = Field(
        None, description="imagenet, dataset, or mean and std per channel."
    )

    @model_validator(mode="before")
    @classmethod
    def _bare_name(cls, value: object) -> object:
        return {"card": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if sum(source is not None for source in (self.card, self.architecture, self.factory)) != 1:
            raise ValueError("expected exactly one of card, architecture and factory")
        if self.trained and self.weights is None and self.factory is None:
            raise ValueError("trained: true needs weights")
        return self


class CorrectorReference(Reference):
    """A corrector: a preset's name, or an attack with an objective; a preset's options may be changed beside it."""

    preset: str | None = Field(None, description="A preset of the registry; what a bare name means.")
    attack: str | None = Field(None, description="An attack plugin.")
    objective: Objective | None = Field(None, description="What the attack drives at; toward-true by default.")
    select: Select | None = Field(None, description="Which iterate counts; first-hit by default.")
    keep: Keep = Field(
        "corrected", description="T_a: the corrected samples, or all perturbed ones (the paper's BL-IST-A)."
    )
    name: str | None = Field(None, description="What the tables call it.")

    @model_validator(mode="before")
    @classmethod
    def _bare_name(cls, value: object) -> object:
        return {"preset": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if (self.preset is None) == (self.attack is None):
            raise ValueError("expected either preset or attack")
        return self


class AdapterReference(Reference):
    """An adapter plugin, with its options beside it."""

    adapter: str = Field(description="An adapter plugin; what a bare name means.")
    name: str | None = Field(None, description="What the tables call it.")

    @model_validator(mode="before")
    @classmethod
    def _bare_name(cls, value: object) -> object:
        return {"adapter": value} if isinstance(value, str) else value


class Experiment(Section):
    """A data set × models × correctors × adapters × seeds, with controls."""

    name: str = Field(description="The experiment's name: letters, digits, dots, dashes; its results folder's too.")
    description: str | None = Field(None, description="One sentence, for people.")
    dataset: DatasetReference = Field(description="A card's name, or a mapping.")
    models: list[ModelReference] = Field(min_length=1, description="Classifiers: cards' names, or mappings.")
    seeds: list[Annotated[WholeNumber, Field(ge=0)]] = Field(
        [1, 2, 5], min_length=1, description="Every one is run and reported. The default is the paper's."
    )
    validation: Annotated[Annotated[int, Strict()] | Annotated[float, Strict()], Field(gt=0)] = Field(
        0.1,
        description="Training samples held out for validation: a share below 1, or a count (the paper: 5000 of 50000).",
    )
    baseline: Baseline = Field(default_factory=Baseline, description="Stage 1, for classifiers that come untrained.")
    correctors: list[CorrectorReference] = Field(min_length=1, description="Presets' names, or mappings.")
    adapters: list[AdapterReference] = Field(min_length=1, description="Adapters' names, or mappings.")
    controls: Literal["default", "none"] | list[ControlName] = Field(
        "default", description="The rival explanations: all of them, none (said aloud), or some."
    )
    adaptation: Adaptation = Field(
        default_factory=Adaptation, description="Stage 5's training loop, the same for all arms."
    )
    attack_batch_size: Annotated[WholeNumber, Field(ge=1)] = Field(256, description="Images an attack gets at once.")

    @model_validator(mode="after")
    def _names_and_seeds(self) -> Self:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", self.name):
            raise ValueError(f'name: got "{self.name}", expected letters, digits, dots and dashes')
        repeated = {seed for seed in self.seeds if self.seeds.count(seed) > 1}
        if repeated:
            raise ValueError(f"seeds: {min(repeated)} stands twice; keep one of them")
        if isinstance(self.validation, float) and self.validation >= 1:
            raise ValueError(
                f"validation: got {self.validation:g}, expected a share below 1 or a whole number of samples"
            )
        return self

    @property
    def control_names(self) -> tuple[ControlName, ...]:
        """The controls asked for."""
        if self.controls == "default":
            return ALL_CONTROLS
        return () if self.controls == "none" else tuple(self.controls)


class LoadedSpec(BaseModel):
    """A validated experiment, with the document it came from."""

    model_config = ConfigDict(arbitrary_types_allowed=True, frozen=True)

    experiment: Experiment
    document: Any
    folder: Path


def find_spec(name: str, catalogue: Catalogue) -> Path:
    """Return the file that ``name`` means: a path, or an experiment of the registry."""
    path = Path(name)
    if path.suffix in {".yaml", ".yml"} or "/" in name:
        if path.is_file():
            return path
        what = "is a folder" if path.is_dir() else "does not exist"
        raise SpecError(f'{name}: {what}; expected a YAML file or a name from "harness experiments"')
    return catalogue.experiment(name)


def load_spec(path: Path) -> LoadedSpec:
    """Read and validate a spec. Raises ``SpecError`` that lists every finding with file:line:column."""
    document = read_yaml(path)
    if not isinstance(document.data, dict):
        raise SpecError(f"{document.name}:1:1: expected a mapping with name, dataset, models, correctors and adapters")
    return LoadedSpec(experiment=validate(document), document=document, folder=path.parent)


def validate(document: Document) -> Experiment:
    """Validate a document's data as an experiment."""
    try:
        return Experiment.model_validate(document.data)
    except ValidationError as error:
        raise SpecError("\n".join(describe(error, document, (), model=Experiment))) from error
