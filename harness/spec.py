"""Experiment specs: what a researcher writes, validated by pydantic, every error with its place in the file."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from harness.budget import Adaptation, Baseline
from harness.catalogue import Normalization
from harness.controls import ALL_CONTROLS, Control
from harness.criteria import Objective, Select
from harness.errors import SpecError, did_you_mean
from harness.validation import KeyFaultError, alternatives, describe, parse, shown
from harness.yamlio import read_yaml

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from harness.catalogue import Catalogue
    from harness.yamlio import Document

Keep = Literal["corrected", "all"]

CLEAN = "clean"
"""The evaluation that always is made: accuracy on the test images as they are."""
FULL_PRECISION = "fp32"
"""The precision that needs no quantizer."""

LONGEST_NAME = 80
LARGEST_SEED = 2**32 - 1


def _check_entry_name(name: str) -> str:
    if not 1 <= len(name) <= LONGEST_NAME or not name.isprintable() or name != name.strip():
        raise ValueError(f"expected 1 to {LONGEST_NAME} characters on one line")
    return name


def _check_experiment_name(name: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name) or len(name) > LONGEST_NAME:
        raise ValueError(
            f"expected at most {LONGEST_NAME} letters, digits, dots, dashes and underscores, the first a letter or digit"
        )
    return name


def _check_validation(value: float) -> float:
    if not (0 < value < 1 or (isinstance(value, int) and value >= 1)):
        raise ValueError("expected a share between 0 and 1, or a whole number of samples")
    return value


def _check_seeds(seeds: list[int]) -> list[int]:
    repeated = [seed for index, seed in enumerate(seeds) if seed in seeds[:index]]
    if repeated:
        raise ValueError(f"{repeated[0]} stands twice; keep one of them")
    return seeds


EntryName = Annotated[str, AfterValidator(_check_entry_name)]
Seed = Annotated[int, Field(ge=0, le=LARGEST_SEED)]


class Section(BaseModel):
    """A part of a spec in which unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Reference(BaseModel):
    """A part of a spec that names a plugin, by a mapping or by a bare name; keys that are not its own are its options.

    ``sources`` are the keys of which exactly one is given; a bare name means the first.
    """

    model_config = ConfigDict(extra="allow", frozen=True)

    sources: ClassVar[tuple[str, ...]]

    @property
    def inline_options(self) -> dict[str, Any]:
        """The options written beside the reference's own keys."""
        return dict(self.model_extra or {})

    @model_validator(mode="before")
    @classmethod
    def _one_source(cls, value: object) -> object:
        if isinstance(value, str):
            return {cls.sources[0]: value}
        if not isinstance(value, dict):
            raise ValueError("expected a name or a mapping")  # noqa: TRY004 (pydantic catches no TypeError)
        given = [source for source in cls.sources if value.get(source) is not None]
        if not given and len(value) == 1 and isinstance(next(iter(value.values())), dict):
            named = next(iter(value))
            raise ValueError(f"the key {alternatives(cls.sources)} is missing; write {{{cls.sources[0]}: {named}, …}}")
        if not given:
            near = "".join([did_you_mean(key, cls.sources) for key in value if key not in cls.model_fields][:1])
            raise ValueError(f"the key {alternatives(cls.sources)} is missing{near}")
        if len(given) > 1:
            raise KeyFaultError(given[1], f'stands beside "{given[0]}"; keep one of them')
        return value


class DatasetReference(Reference):
    """A data set: a card's name, a provider plugin, or a folder of images."""

    sources: ClassVar = ("card", "provider", "image_folder")

    card: str | None = Field(None, description="A card of the registry; what a bare name means.")
    provider: str | None = Field(None, description="A data set plugin, without a card.")
    image_folder: Path | None = Field(None, description="A folder with train/<class>/* and test/<class>/*.")
    name: EntryName | None = Field(None, description="What the tables call it.")
    normalization: Normalization | None = Field(
        None, description="Instead of the card's; computed from T without a card."
    )


class ModelReference(Reference):
    """A classifier: a card's name, an architecture plugin, or a function of one's own; with or without trained weights."""

    sources: ClassVar = ("card", "architecture", "factory")

    card: str | None = Field(None, description="A card of the registry; what a bare name means.")
    architecture: str | None = Field(None, description="An architecture plugin, or a card's.")
    factory: str | None = Field(
        None, description='One\'s own function, "package.module:function", that returns a torch module.'
    )
    weights: Path | None = Field(None, description="A .safetensors, .pt, .pth or .th file.")
    name: EntryName | None = Field(None, description="What the tables call it.")
    trained: bool | None = Field(
        None, description="Whether the fine-tuning of stage 1 is skipped; true where weights are given."
    )
    image_size: Annotated[int, Field(ge=1)] | None = Field(None, description="Images are resized to it.")
    normalization: Literal["imagenet", "dataset"] | Normalization | None = Field(
        None, description="imagenet, dataset, or mean and std per channel."
    )

    @field_validator("factory")
    @classmethod
    def _module_and_function(cls, factory: str | None) -> str | None:
        if factory is not None and not re.fullmatch(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*", factory):
            raise ValueError("expected package.module:function")
        if factory is not None and ".py:" in factory:
            raise ValueError("expected package.module:function, the module without .py")
        return factory

    @model_validator(mode="after")
    def _trained_by_something(self) -> Self:
        if self.trained and self.weights is None and self.factory is None:
            raise KeyFaultError("trained", "true needs weights; name their file, or leave trained out")
        return self


class CorrectorReference(Reference):
    """A corrector: a preset's name, or an attack with an objective; a preset's options may be changed beside it."""

    sources: ClassVar = ("preset", "attack")

    preset: str | None = Field(None, description="A preset of the registry; what a bare name means.")
    attack: str | None = Field(None, description="An attack plugin.")
    objective: Objective | None = Field(None, description="What the attack drives at; toward-true by default.")
    select: Select | None = Field(
        None,
        description="Which iterate counts; first-hit by default, min-norm where an attack starts from another image.",
    )
    keep: Keep = Field(
        "corrected", description="T_a: the corrected samples, or all perturbed ones (the paper's BL-IST-A)."
    )
    name: EntryName | None = Field(None, description="What the tables call it.")


class AdapterReference(Reference):
    """An adapter plugin, with its options beside it."""

    sources: ClassVar = ("adapter",)

    adapter: str = Field(description="An adapter plugin; what a bare name means.")
    name: EntryName | None = Field(None, description="What the tables call it.")


class QuantizerReference(Reference):
    """A quantizer plugin, with its options beside it."""

    sources: ClassVar = ("quantizer",)

    quantizer: str = Field(description="A quantizer plugin; what a bare name means.")
    name: EntryName | None = Field(None, description="What the tables call it.")


class EvaluatorReference(Reference):
    """An evaluator plugin, with its options beside it."""

    sources: ClassVar = ("evaluator",)

    evaluator: str = Field(description="An evaluator plugin; what a bare name means.")
    name: EntryName | None = Field(None, description="What the tables call it.")
    samples: Annotated[int, Field(ge=1)] | None = Field(
        None, description="How many test images, drawn once for all rows and seeds; all of them by default."
    )
    batch_size: Annotated[int, Field(ge=1)] = Field(250, description="Images it gets at once.")


class Experiment(Section):
    """A data set × models × correctors × adapters × seeds, with controls."""

    name: Annotated[str, AfterValidator(_check_experiment_name)] = Field(
        description="The experiment's name: letters, digits, dots, dashes; its results folder's too."
    )
    description: str | None = Field(None, description="One sentence, for people.")
    dataset: DatasetReference = Field(description="A card's name, or a mapping.")
    models: list[ModelReference] = Field(min_length=1, description="A list of classifiers: cards' names, or mappings.")
    seeds: Annotated[list[Seed], AfterValidator(_check_seeds)] = Field(
        [1, 2, 5], min_length=1, description="Every one is run and reported. The default is the paper's."
    )
    validation: Annotated[int | float, AfterValidator(_check_validation)] = Field(
        0.1,
        description="Training samples held out for validation: a share below 1, or a count (the paper: 5000 of 50000).",
    )
    baseline: Baseline = Field(default_factory=Baseline, description="Stage 1, for classifiers that come untrained.")
    correctors: list[CorrectorReference] = Field(
        min_length=1, description="A list of correctors: presets' names, or mappings."
    )
    adapters: list[AdapterReference] = Field(min_length=1, description="A list of adapters: names, or mappings.")
    controls: Literal["default", "none"] | list[Control] = Field(
        "default", description="The rival explanations: all of them, none (said aloud), or some."
    )
    adaptation: Adaptation = Field(
        default_factory=Adaptation, description="Stage 5's training loop, the same for all arms."
    )
    quantization: list[QuantizerReference] = Field(
        [FULL_PRECISION],
        validate_default=True,
        min_length=1,
        description="The precisions of every classifier, each in tables of its own: fp32, quantizers' names, or mappings.",
    )
    evaluate: list[EvaluatorReference] = Field(
        [CLEAN],
        validate_default=True,
        description="What is measured on the test images: evaluators' names, or mappings; the clean accuracy always is.",
    )
    attack_batch_size: Annotated[int, Field(ge=1)] = Field(256, description="Images an attack gets at once.")
    attack_passes: Annotated[int, Field(ge=1)] | None = Field(
        None,
        description="Forward and backward passes per image, on average over a batch, after which an attack is ended and what it "
        "has found counts; as many as it takes by default. The same for every corrector.",
    )

    @field_validator("quantization")
    @classmethod
    def _full_precision_once(cls, quantization: list[QuantizerReference]) -> list[QuantizerReference]:
        if [asked.quantizer for asked in quantization].count(FULL_PRECISION) > 1:
            raise ValueError("fp32 stands twice; keep one of them")
        return quantization

    @field_validator("controls")
    @classmethod
    def _some_controls(cls, controls: str | list[Control]) -> str | list[Control]:
        if not controls:
            raise ValueError('is empty; write "controls: none" to go without')
        repeated = [name for index, name in enumerate(controls) if name in controls[:index]]
        if isinstance(controls, list) and repeated:
            raise ValueError(f"{repeated[0]} stands twice; keep one of them")
        return controls

    @property
    def quantizers(self) -> dict[int, QuantizerReference]:
        """The quantizers asked for, by their place in the list."""
        return {place: asked for place, asked in enumerate(self.quantization) if asked.quantizer != FULL_PRECISION}

    @property
    def evaluators(self) -> dict[int, EvaluatorReference]:
        """The evaluators asked for, by their place in the list."""
        return {place: asked for place, asked in enumerate(self.evaluate) if asked.evaluator != CLEAN}

    @property
    def control_names(self) -> tuple[Control, ...]:
        """The controls asked for."""
        if self.controls == "default":
            return ALL_CONTROLS
        return () if self.controls == "none" else tuple(self.controls)


@dataclass(frozen=True)
class LoadedSpec:
    """A validated experiment, the document it came from, and the folder that its paths are taken from."""

    experiment: Experiment
    document: Document
    folder: Path


def find_spec(name: str, catalogue: Catalogue) -> Path:
    """Return the file that ``name`` means: a path, or an experiment of the registry."""
    if not name.endswith((".yaml", ".yml")) and "/" not in name:
        if name not in catalogue.paths("experiments") and _is(Path.is_file, beside := Path(f"{name}.yaml")):
            raise SpecError(f'unknown experiment {shown(name)}; did you mean the file "{beside}"?')
        return catalogue.experiment(name)
    path = Path(name)
    if not _is(Path.is_file, path):
        what = "is a folder" if _is(Path.is_dir, path) else "does not exist"
        given = name if len(name) <= LONGEST_NAME else f"{name[:LONGEST_NAME]}…"
        raise SpecError(f'{given}: {what}; expected a YAML file or a name from "harness experiments"')
    return path


def _is(what: Callable[[Path], bool], path: Path) -> bool:
    try:
        return what(path)
    except OSError:  # a name that is too long
        return False


def load_spec(path: Path) -> LoadedSpec:
    """Read and validate a spec. Raises ``SpecError`` that lists every finding with file:line:column."""
    document = read_yaml(path)
    return LoadedSpec(validate(document), document, path.parent)


def validate(document: Document) -> Experiment:
    """Validate a document's data as an experiment. Raises ``SpecError`` that lists every finding."""
    if not isinstance(document.data, dict):
        got = "is empty;" if document.data is None else f"got {shown(document.data)},"
        required = _listed([name for name, field in Experiment.model_fields.items() if field.is_required()])
        raise SpecError(
            f'{document.where(())}: {got} expected a mapping with {required}. See "harness experiments" for examples.'
        )
    try:
        return parse(Experiment, document.data)
    except ValidationError as error:
        findings = describe(error, document, (), model=Experiment)
        raise SpecError("\n".join(finding.text for finding in findings)) from error


def _listed(names: Sequence[str]) -> str:
    return f"{', '.join(names[:-1])} and {names[-1]}"
