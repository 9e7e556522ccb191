"""From the names of a spec to plugins with validated options: what a plan is made of. Nothing here imports torch itself."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import ValidationError

from harness.catalogue import IMAGENET, Normalization
from harness.criteria import targeted_objective
from harness.errors import DataError, HarnessError, PluginError, SpecError, did_you_mean
from harness.validation import describe, shown

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from harness.catalogue import Catalogue, DatasetCard, ModelCard
    from harness.contract import Configurable, Options
    from harness.criteria import Objective, Select
    from harness.manager import Kind, Manager, PluginName
    from harness.spec import (
        AdapterReference,
        CorrectorReference,
        DatasetReference,
        Experiment,
        Keep,
        LoadedSpec,
        ModelReference,
    )
    from harness.yamlio import Document, Location


CONTROL_ADAPTERS = ("finetune", "recalibrate-bn")
"""Adapters that are rival explanations: rows of their own, never of the matrix."""


@dataclass(frozen=True)
class ResolvedPlugin:
    """A plugin with its options."""

    plugin: PluginName
    options: Options

    def identity(self) -> dict[str, Any]:
        """What a content key holds of it: who offers it, in which version, with which options."""
        return {
            "plugin": f"{self.plugin.distribution}/{self.plugin.package}/{self.plugin.name}",
            "version": self.plugin.version,
            "options": self.options.model_dump(mode="json"),
        }


@dataclass(frozen=True)
class ResolvedDataset:
    """Where the images come from and how they are normalized; None: by the training images' own mean and std."""

    name: str
    provider: ResolvedPlugin
    normalization: Normalization | None
    image_size: int | None


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
class ResolvedExperiment:
    """All that a plan is made of."""

    experiment: Experiment
    dataset: ResolvedDataset
    models: tuple[ResolvedModel, ...]
    correctors: tuple[ResolvedCorrector, ...]
    adapters: tuple[ResolvedAdapter, ...]


def resolve(loaded: LoadedSpec, manager: Manager, catalogue: Catalogue) -> ResolvedExperiment:
    """Look every name up and validate every plugin's options. Raises what is wrong, all findings at once."""
    return _Resolver(loaded, manager, catalogue).resolve()


class _Resolver:
    def __init__(self, loaded: LoadedSpec, manager: Manager, catalogue: Catalogue) -> None:
        self.experiment = loaded.experiment
        self.document: Document = loaded.document
        self.folder = loaded.folder
        self.manager = manager
        self.catalogue = catalogue
        self.findings: list[HarnessError] = []

    def resolve(self) -> ResolvedExperiment:
        experiment = self.experiment
        dataset = self._tried(("dataset",), lambda: self._dataset(experiment.dataset))
        models = [
            self._tried(("models", i), lambda m=model, i=i: self._model(m, ("models", i)))
            for i, model in enumerate(experiment.models)
        ]
        correctors = [
            self._tried(("correctors", i), lambda c=corrector, i=i: self._corrector(c, ("correctors", i)))
            for i, corrector in enumerate(experiment.correctors)
        ]
        adapters = [
            self._tried(("adapters", i), lambda a=adapter, i=i: self._adapter(a, ("adapters", i)))
            for i, adapter in enumerate(experiment.adapters)
        ]
        for section, entries in (("models", models), ("correctors", correctors), ("adapters", adapters)):
            self._refuse_repeated(section, entries)
        if self.findings:
            self._raise()
        return ResolvedExperiment(experiment, dataset, tuple(models), tuple(correctors), tuple(adapters))

    def _tried(self, location: Location, action: Any) -> Any:
        """Run one look-up; note what is wrong with its place and go on with the next."""
        try:
            return action()
        except _LocatedError as error:
            self.findings.append(error.error)
        except HarnessError as error:
            self.findings.append(type(error)(f"{self.document.where(location)}: {error}"))
        return None

    def _raise(self) -> None:
        """Raise every finding as one error of the first one's kind."""
        kind = type(self.findings[0])
        raise kind("\n".join(str(finding) for finding in self.findings))

    def _refuse_repeated(self, section: str, entries: Iterable[Any]) -> None:
        seen: dict[str, int] = {}
        for index, entry in enumerate(entries):
            if entry is None:
                continue
            if entry.name in seen:
                where = self.document.where((section, index))
                first = self.document.where((section, seen[entry.name]))
                self.findings.append(
                    SpecError(
                        f'{where}: {section} has two entries called "{entry.name}" (the first at {first}); add name: to one'
                    )
                )
            seen.setdefault(entry.name, index)

    # -- data sets ------------------------------------------------------------------------------------------------------

    def _dataset(self, reference: DatasetReference) -> ResolvedDataset:
        options = reference.inline_options
        if reference.card is not None:
            card = self.catalogue.dataset(reference.card)
            provider = self._plugin("dataset", card.provider, {**card.options, **options}, ("dataset",))
            return self._resolved_dataset(reference.name or reference.card, provider, reference, card)
        if reference.image_folder is not None:
            folder = self._path(reference.image_folder)
            provider = self._plugin("dataset", "image-folder", {**options, "root": str(folder)}, ("dataset",))
            return self._resolved_dataset(reference.name or folder.name, provider, reference, None)
        assert reference.provider is not None  # noqa: S101 (the spec was validated)
        provider = self._plugin("dataset", reference.provider, options, ("dataset",))
        return self._resolved_dataset(reference.name or provider.plugin.name, provider, reference, None)

    def _resolved_dataset(
        self, name: str, provider: ResolvedPlugin, reference: DatasetReference, card: DatasetCard | None
    ) -> ResolvedDataset:
        normalization = reference.normalization or (card.normalization if card else None)
        return ResolvedDataset(name, provider, normalization, card.image_size if card else None)

    # -- classifiers ----------------------------------------------------------------------------------------------------

    def _model(self, reference: ModelReference, at: Location) -> ResolvedModel:
        weights = self._weights(reference.weights, at)
        trained = reference.trained if reference.trained is not None else weights is not None
        if reference.factory is not None:
            return self._factory_model(reference, weights, trained=trained, at=at)
        card = self._model_card(reference)
        name = card.architecture if card else reference.architecture or reference.card or ""
        options = {**(card.options if card else {}), **reference.inline_options}
        if weights is not None and "pretrained" in options and "pretrained" not in reference.inline_options:
            options["pretrained"] = None  # or they would be fetched to be overwritten
        architecture = self._plugin("classifier", name, options, at)
        image_size, normalization = self._input(reference, card, architecture)
        shown_name = reference.name or reference.card or architecture.plugin.name
        return ResolvedModel(shown_name, architecture, None, self.folder, weights, trained, image_size, normalization)

    def _factory_model(
        self, reference: ModelReference, weights: Path | None, *, trained: bool, at: Location
    ) -> ResolvedModel:
        if reference.inline_options:
            key = next(iter(reference.inline_options))
            where = self.document.where((*at, key), key=True)
            raise _LocatedError(
                SpecError(f'{where}: unknown key "{key}"; a factory takes no options, write a function for them')
            )
        assert reference.factory is not None  # noqa: S101 (the caller checked)
        if reference.factory.count(":") != 1 or not all(reference.factory.split(":")):
            where = self.document.where((*at, "factory"))
            raise _LocatedError(
                SpecError(f"{where}: factory: got {shown(reference.factory)}, expected package.module:function")
            )
        normalization = _normalization(reference.normalization, "dataset")
        name = reference.name or reference.factory.partition(":")[2]
        return ResolvedModel(
            name, None, reference.factory, self.folder, weights, trained, reference.image_size, normalization
        )

    def _model_card(self, reference: ModelReference) -> ModelCard | None:
        """Return the card; a bare name without a card may be an architecture plugin, an architecture may have a card."""
        name = reference.card or reference.architecture or ""
        if name in self.catalogue.paths("models"):
            return self.catalogue.model(name)
        plugins = {alias for one in self.manager.names("classifier") for alias in (one.name, one.qualified)}
        if reference.card is not None and not any(one.answers_to(name) for one in self.manager.names("classifier")):
            known = {*plugins, *self.catalogue.paths("models")}
            raise SpecError(f'unknown model "{name}"{did_you_mean(name, known)}. See "harness models".')
        return None

    def _input(
        self, reference: ModelReference, card: ModelCard | None, architecture: ResolvedPlugin
    ) -> tuple[int | None, Literal["dataset"] | Normalization]:
        """Return image size and normalization: the spec's, else the card's, else the architecture's, else the data set's."""
        kind: Any = self.manager.load(architecture.plugin)
        image_size = reference.image_size or (card.image_size if card else None) or kind.default_image_size
        default = (card.normalization if card else None) or kind.default_normalization or "dataset"
        return image_size, _normalization(reference.normalization, default)

    def _weights(self, weights: Path | None, at: Location) -> Path | None:
        if weights is None:
            return None
        path = self._path(weights)
        if not path.is_file():
            where = self.document.where((*at, "weights"))
            raise _LocatedError(DataError(f"{where}: weights: no file {path}; paths are taken from the spec's folder"))
        return path

    def _path(self, path: Path) -> Path:
        """Take a path from the spec's folder."""
        return (self.folder / path.expanduser()).resolve()

    # -- correctors and adapters ----------------------------------------------------------------------------------------

    def _corrector(self, reference: CorrectorReference, at: Location) -> ResolvedCorrector:
        if reference.preset is None:
            assert reference.attack is not None  # noqa: S101 (the spec was validated)
            return self._attack_corrector(reference, reference.attack, reference.inline_options, at)
        card = self._preset(reference.preset)
        if card.attack is None:
            self._refuse_options(reference, at)
            return ResolvedCorrector(
                reference.name or reference.preset, None, "toward-true", "first-hit", reference.keep
            )
        options = {**card.options, **reference.inline_options}
        changed = {
            "objective": reference.objective or card.objective,
            "select": reference.select or card.select,
            "name": reference.name or _with_options(reference.preset, reference),
        }
        return self._attack_corrector(reference.model_copy(update=changed), card.attack, options, at)

    def _preset(self, name: str) -> Any:
        if name in self.catalogue.paths("correctors"):
            return self.catalogue.corrector(name)
        attacks = {one.name for one in self.manager.names("attack")}
        if any(one.answers_to(name) for one in self.manager.names("attack")):
            raise SpecError(f'"{name}" is an attack, not a preset; write {{attack: {name}, objective: toward-true}}')
        presets = self.catalogue.paths("correctors")
        raise SpecError(
            f'unknown corrector "{name}"{did_you_mean(name, {*presets, *attacks})}. '
            f'Presets: {", ".join(presets)}; attacks: see "harness plugins list".'
        )

    def _attack_corrector(
        self, reference: CorrectorReference, attack_name: str, options: Mapping[str, Any], at: Location
    ) -> ResolvedCorrector:
        attack = self._plugin("attack", attack_name, options, at)
        objective = reference.objective or "toward-true"
        self._check_direction(attack, objective, at)
        name = reference.name or _with_options(attack.plugin.name, reference)
        return ResolvedCorrector(name, attack, objective, reference.select or "first-hit", reference.keep)

    def _check_direction(self, attack: ResolvedPlugin, objective: Objective, at: Location) -> None:
        kind: Any = self.manager.load(attack.plugin)
        targeted = targeted_objective(objective)
        able = kind.capabilities.targeted if targeted else kind.capabilities.untargeted
        if not able:
            verb, other = ("approach", "away-from-predicted") if targeted else ("flee", "toward-true")
            where = self.document.where((*at, "objective"))
            message = f'{where}: attack "{attack.plugin.name}" cannot {verb} labels; choose another objective, such as {other}'
            raise _LocatedError(SpecError(message))

    def _refuse_options(self, reference: CorrectorReference, at: Location) -> None:
        for key in ("objective", "select", *reference.inline_options):
            if key in reference.inline_options or getattr(reference, key) is not None:
                where = self.document.where((*at, key), key=True)
                raise _LocatedError(
                    SpecError(f'{where}: "{key}" has no meaning for "{reference.preset}", which attacks nothing')
                )

    def _adapter(self, reference: AdapterReference, at: Location) -> ResolvedAdapter:
        adapter = self._plugin("adapter", reference.adapter, reference.inline_options, at)
        if adapter.plugin.package == "adaptation" and adapter.plugin.name in CONTROL_ADAPTERS:
            raise SpecError(
                f'"{reference.adapter}" is a control; name it under controls, where every row is compared with it'
            )
        return ResolvedAdapter(reference.name or _with_options(adapter.plugin.name, reference), adapter)

    def _plugin(self, kind: Kind, name: str, options: Mapping[str, Any], at: Location) -> ResolvedPlugin:
        """Find a plugin and validate its options."""
        plugin = self.manager.find(kind, name)
        loaded = self.manager.load(plugin)
        return ResolvedPlugin(plugin, self._options(plugin, loaded, options, at))

    def _options(
        self, plugin: PluginName, loaded: type[Configurable[Options]], options: Mapping[str, Any], at: Location
    ) -> Options:
        try:
            return self._with_paths(loaded.options_type.model_validate(dict(options)))
        except ValidationError as error:
            lines = describe(error, self.document, at, model=loaded.options_type)
            raise _LocatedError(
                SpecError("\n".join(f'{line} ({plugin.kind} "{plugin.name}")' for line in lines))
            ) from error
        except Exception as error:
            raise PluginError(
                f'{plugin.kind} "{plugin.qualified}": its options raise {type(error).__name__}: {error}'
            ) from error

    def _with_paths(self, options: Options) -> Options:
        """Take the paths among a plugin's options from the spec's folder."""
        values = {name: getattr(options, name) for name in type(options).model_fields}
        paths = {name: self._path(value) for name, value in values.items() if isinstance(value, Path)}
        return options.model_copy(update=paths) if paths else options


class _LocatedError(Exception):
    """An error that already says where it is."""

    def __init__(self, error: HarnessError) -> None:
        super().__init__(str(error))
        self.error = error


def _normalization(
    asked: Literal["imagenet", "dataset"] | Normalization | None, default: str | Normalization
) -> Literal["dataset"] | Normalization:
    chosen = asked if asked is not None else default
    if isinstance(chosen, Normalization):
        return chosen
    return IMAGENET if chosen == "imagenet" else "dataset"


def _with_options(name: str, reference: CorrectorReference | AdapterReference) -> str:
    """Name an entry after what it changes, so that two variants are two rows: ``vbi(steps=3)``."""
    changes = {key: value for key, value in reference.inline_options.items() if value is not None}
    for key in ("objective", "select", "keep"):
        value = getattr(reference, key, None)
        if value is not None and key in reference.model_fields_set:
            changes[key] = value
    return f"{name}({', '.join(f'{key}={value}' for key, value in changes.items())})" if changes else name
