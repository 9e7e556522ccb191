"""The entries of a spec that name plugins: data sets, classifiers, correctors, adapters, quantizers, evaluators, figures."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, field_validator, model_validator

from harness.catalogue import Normalization
from harness.criteria import Objective, Select
from harness.errors import did_you_mean
from harness.faults import KeyFaultError
from harness.validation import alternatives

Keep = Literal["corrected", "all"]
Gradients = Literal["full-precision", "straight-through"]

LONGEST_NAME = 80


def _check_entry_name(name: str) -> str:
    if not 1 <= len(name) <= LONGEST_NAME or not name.isprintable() or name != name.strip():
        raise ValueError(f"expected 1 to {LONGEST_NAME} characters on one line")
    return name


EntryName = Annotated[str, AfterValidator(_check_entry_name)]


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
    train_samples: Annotated[int, Field(ge=2)] | None = Field(
        None,
        description="How many training images, validation samples among them, drawn once for all seeds; all by default.",
    )
    test_samples: Annotated[int, Field(ge=1)] | None = Field(
        None, description="How many test images, drawn once for all seeds; all by default."
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
    gradients: Gradients = Field(
        "full-precision",
        description="What attacks get: the gradients of the full-precision counterpart (the paper's), or those that pass straight "
        "through the rounding, where the quantizer lets them.",
    )


class EvaluatorReference(Reference):
    """An evaluator plugin, with its options beside it."""

    sources: ClassVar = ("evaluator",)

    evaluator: str = Field(description="An evaluator plugin; what a bare name means.")
    name: EntryName | None = Field(None, description="What the tables call it.")
    samples: Annotated[int, Field(ge=1)] | None = Field(
        None, description="How many test images, drawn once for all rows and seeds; all of them by default."
    )
    batch_size: Annotated[int, Field(ge=1)] = Field(250, description="Images it gets at once.")


class FigureReference(Reference):
    """A figure plugin, with its options beside it; it is drawn of every model in every precision."""

    sources: ClassVar = ("figure",)

    figure: str = Field(description="A figure plugin; what a bare name means.")
    name: EntryName | None = Field(None, description="What its files are called.")
    correctors: Annotated[list[str], Field(min_length=1)] | None = Field(
        None, description="Of which correctors, by their names in this spec; of all that attack by default."
    )
    seeds: Annotated[list[int], Field(min_length=1)] | None = Field(
        None, description="For which of the spec's seeds; the first by default."
    )
    dpi: Annotated[int, Field(ge=50, le=1200)] = Field(200, description="Dots an inch of the PNG.")
