"""What a spec comes to once its names are looked up: what a plan is made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from harness.provenance import edited_source

if TYPE_CHECKING:
    from pathlib import Path

    from harness.catalogue import Normalization
    from harness.contract import Library, Options
    from harness.criteria import Objective, Select
    from harness.manager import PluginName
    from harness.references import Gradients, Keep
    from harness.search_space import ResolvedSearch
    from harness.spec import Experiment


@dataclass(frozen=True)
class ResolvedPlugin:
    """A plugin with its options."""

    plugin: PluginName
    options: Options
    library: Library | None = None

    def identity(self) -> dict[str, Any]:
        """What a content key holds of it: who offers it, in which version (or state, where edited in place), with which options.

        Where a library does the work, its version too.
        """
        library = {"library": self.library.versions} if self.library else {}
        return {
            **library,
            "plugin": f"{self.plugin.distribution}/{self.plugin.package}/{self.plugin.name}",
            "version": self.plugin.version,
            "source": edited_source(self.plugin.distribution, self.plugin.target.partition(":")[0].partition(".")[0]),
            "options": self.options.model_dump(mode="json"),
        }


@dataclass(frozen=True)
class ResolvedDataset:
    """Where the images come from, how many of them, and how they are normalized; None: by the training images' own mean and std."""

    name: str
    provider: ResolvedPlugin
    normalization: Normalization | None
    train_samples: int | None = None
    test_samples: int | None = None


@dataclass(frozen=True)
class ResolvedModel:
    """Where the network comes from. Exactly one of ``architecture`` and ``factory`` is set."""

    name: str
    architecture: ResolvedPlugin | None
    factory: str | None
    folder: Path
    weights: Path | None
    trained: bool
    image_size: int | None
    normalization: Literal["dataset"] | Normalization


@dataclass(frozen=True)
class ResolvedCorrector:
    """An attack with an objective; no attack for the curriculum alone."""

    name: str
    attack: ResolvedPlugin | None
    objective: Objective
    select: Select
    keep: Keep

    def identity(self) -> dict[str, Any]:
        """What a content key holds of it."""
        attack = self.attack.identity() if self.attack else None
        return {"attack": attack, "objective": self.objective, "select": self.select}


@dataclass(frozen=True)
class ResolvedAdapter:
    """An adapter with its options."""

    name: str
    adapter: ResolvedPlugin


@dataclass(frozen=True)
class ResolvedQuantizer:
    """A quantizer with its options; ``gradients`` are those that attacks on its twin get."""

    name: str
    quantizer: ResolvedPlugin
    gradients: Gradients = "full-precision"


@dataclass(frozen=True)
class ResolvedEvaluator:
    """An evaluator with its options; ``samples`` is None for the whole test split."""

    name: str
    evaluator: ResolvedPlugin
    samples: int | None
    batch_size: int


@dataclass(frozen=True)
class ResolvedFigure:
    """A figure with its options; which correctors and seeds it is drawn of, and how many dots an inch its picture has."""

    name: str
    figure: ResolvedPlugin
    correctors: tuple[str, ...]
    seeds: tuple[int, ...]
    dpi: int


@dataclass(frozen=True)
class ResolvedExperiment:
    """All that a plan is made of."""

    experiment: Experiment
    dataset: ResolvedDataset
    models: tuple[ResolvedModel, ...]
    correctors: tuple[ResolvedCorrector, ...]
    adapters: tuple[ResolvedAdapter, ...]
    evaluators: tuple[ResolvedEvaluator, ...] = ()
    quantizers: tuple[ResolvedQuantizer | None, ...] = (None,)
    figures: tuple[ResolvedFigure, ...] = ()
    search: ResolvedSearch | None = None
