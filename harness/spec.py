"""Experiment specs: what a researcher writes, validated by pydantic, every error with its place in the file."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import AfterValidator, Field, ValidationError, ValidationInfo, field_validator

from harness.budget import Adaptation, Baseline, Precision
from harness.controls import ALL_CONTROLS, DEFAULT_CONTROLS, Control
from harness.errors import SpecError
from harness.references import (
    LONGEST_NAME,
    AdapterReference,
    CorrectorReference,
    DatasetReference,
    EvaluatorReference,
    FigureReference,
    ModelReference,
    QuantizerReference,
    Section,
)
from harness.search import Search
from harness.validation import describe, parse, shown
from harness.variants import VARIANTS, expand
from harness.yamlio import read_yaml

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from harness.catalogue import Catalogue
    from harness.yamlio import Document

CLEAN = "clean"
"""The evaluation that always is made: accuracy on the test images as they are."""
FULL_PRECISION = "fp32"
"""The precision that needs no quantizer."""

LARGEST_SEED = 2**32 - 1


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


Seed = Annotated[int, Field(ge=0, le=LARGEST_SEED)]


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
    figures: list[FigureReference] = Field(
        [], description="Pictures drawn of the baseline and of what correctors did: names, or mappings."
    )
    adapters: list[AdapterReference] = Field(
        description="A list of adapters: names, or mappings; an empty one where figures alone are wanted."
    )
    controls: Literal["default", "all", "none"] | list[Literal["default"] | Control] = Field(
        "default",
        description="The rival explanations: the default eight, all of them, none (said aloud), or some; in a list, default stands "
        "for its eight.",
    )
    adaptation: Adaptation = Field(
        default_factory=Adaptation, description="Stage 5's training loop, the same for all arms."
    )
    search: Search | None = Field(
        None,
        description="Settings of stage 5 that are tuned on the validation samples, for every arm in as many trials.",
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
    attack_precision: Precision = Field(
        "float32",
        description="What correctors' own passes are computed in. With bfloat16, faster on hardware that has it, their gradients "
        "differ; what is corrected is always decided in float32, and what bfloat16 was wrong about is attacked again in float32. "
        "It pays where the first hit counts: of smallest norms every one on the way is asked about in float32. A last iterate "
        "(select: final) is taken as it is.",
    )
    attack_compile: bool = Field(
        False,
        description="Whether correctors' own passes go through torch.compile, parts of a query of the usual size on a CPU: meant "
        "for GPUs, where it is still to be measured; on CPUs it does not pay. It takes a C++ compiler, or triton, and gives other "
        "last digits. Verdicts and evaluators do without it.",
    )

    @field_validator("adapters")
    @classmethod
    def _adapters_or_figures(cls, adapters: list[AdapterReference], info: ValidationInfo) -> list[AdapterReference]:
        if not adapters and not info.data.get("figures"):
            raise ValueError("got an empty list, expected at least 1 entry, or figures to draw")
        return adapters

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
        if self.controls == "none":
            return ()
        if self.controls == "all":
            return ALL_CONTROLS
        listed: list[Literal["default"] | Control] = ["default"] if self.controls == "default" else self.controls
        expanded: list[Control] = [
            name for one in listed for name in (DEFAULT_CONTROLS if one == "default" else (one,))
        ]
        return tuple(dict.fromkeys(expanded))


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


def load_specs(path: Path) -> tuple[LoadedSpec, ...]:
    """Read and validate a spec: its variants, or the one experiment of a spec without.

    Raises ``SpecError`` that lists every finding with file:line:column.
    """
    documents = expand(read_yaml(path))
    findings: list[str] = []
    loaded = []
    for document in documents:
        try:
            loaded.append(LoadedSpec(validate(document), document, path.parent))
        except SpecError as error:
            findings += str(error).splitlines()
    if findings:
        raise SpecError("\n".join(dict.fromkeys(findings)))
    return tuple(loaded)


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
        findings = describe(error, document, (), model=Experiment, beside=(VARIANTS,))
        raise SpecError("\n".join(finding.text for finding in findings)) from error


def _listed(names: Sequence[str]) -> str:
    return f"{', '.join(names[:-1])} and {names[-1]}"
