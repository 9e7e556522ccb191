"""From the names of a spec to plugins with validated options: what a plan is made of. Nothing here imports torch itself."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from harness.catalogue import IMAGENET, Normalization
from harness.criteria import targeted_objective
from harness.entry_names import derived_name
from harness.errors import HarnessError, SpecError, did_you_mean
from harness.lookup import CONTROL_ADAPTERS, IMAGE_FOLDER, LocatedError, Lookup
from harness.records import BEFORE_QUANTIZING
from harness.resolved import (
    ResolvedAdapter,
    ResolvedCorrector,
    ResolvedDataset,
    ResolvedEvaluator,
    ResolvedExperiment,
    ResolvedModel,
    ResolvedPlugin,
    ResolvedQuantizer,
)
from harness.spec import FULL_PRECISION
from harness.validation import Finding, alternatives, dotted, shown

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import TypeVar

    from harness.catalogue import Catalogue, CorrectorCard, ModelCard
    from harness.criteria import Objective, Select
    from harness.kinds import Kind
    from harness.manager import Manager
    from harness.spec import (
        AdapterReference,
        CorrectorReference,
        DatasetReference,
        EvaluatorReference,
        LoadedSpec,
        ModelReference,
        QuantizerReference,
        Reference,
    )
    from harness.yamlio import Location

    FoundT = TypeVar("FoundT")

__all__ = [
    "ResolvedAdapter",
    "ResolvedCorrector",
    "ResolvedDataset",
    "ResolvedEvaluator",
    "ResolvedExperiment",
    "ResolvedModel",
    "ResolvedPlugin",
    "ResolvedQuantizer",
    "resolve",
]


def resolve(loaded: LoadedSpec, manager: Manager, catalogue: Catalogue) -> ResolvedExperiment:
    """Look every name up and validate every plugin's options.

    Raises all findings at once, in the order of the file, as an error of the first one's kind: ``SpecError``,
    ``PluginError`` or ``DataError``.
    """
    return _Resolver(loaded, manager, catalogue).resolve()


class _Resolver:
    """Goes through a spec, and notes what is wrong instead of stopping there."""

    def __init__(self, loaded: LoadedSpec, manager: Manager, catalogue: Catalogue) -> None:
        self.experiment = loaded.experiment
        self.lookup = Lookup(loaded.document, loaded.folder, manager, catalogue)
        self.document = loaded.document
        self.manager = manager
        self.catalogue = catalogue
        self.channels: int | None = None
        self.findings: list[tuple[Finding, type[HarnessError]]] = []

    def resolve(self) -> ResolvedExperiment:
        experiment = self.experiment
        dataset = self._tried(("dataset",), lambda at: self._dataset(experiment.dataset, at))
        models = self._each("models", dict(enumerate(experiment.models)), self._model)
        correctors = self._each("correctors", dict(enumerate(experiment.correctors)), self._corrector)
        adapters = self._each("adapters", dict(enumerate(experiment.adapters)), self._adapter)
        evaluators = self._each("evaluate", experiment.evaluators, self._evaluator)
        quantizers = self._each("quantization", experiment.quantizers, self._quantizer)
        if self.findings or dataset is None:
            raise self._error()
        found = iter(quantizers)
        precisions = tuple(
            None if asked.quantizer == FULL_PRECISION else next(found) for asked in experiment.quantization
        )
        matrix = tuple(models), tuple(correctors), tuple(adapters)
        return ResolvedExperiment(experiment, dataset, *matrix, tuple(evaluators), precisions)

    def _each(
        self, section: str, references: Mapping[int, Reference], look_up: Callable[[Any, Location], FoundT]
    ) -> list[FoundT]:
        """Look up a section's entries, by their places in its list; two of one name are refused."""
        found: list[FoundT] = []
        seen: dict[str, Location] = {}
        for index, reference in references.items():
            entry: Any = self._tried((section, index), partial(look_up, reference))
            if entry is None:
                continue
            if entry.name in seen:
                line = self.document.place(seen[entry.name])[0]
                self._note(
                    self.lookup.wrong(
                        (section, index),
                        f'{section} has two entries called "{entry.name}", the first in line {line}; '
                        "give one of them a name",
                    )
                )
            seen.setdefault(entry.name, (section, index))
            found.append(entry)
        return found

    def _tried(self, location: Location, action: Callable[[Location], FoundT]) -> FoundT | None:
        """Run one look-up; note what is wrong, with its place, and go on with the next."""
        try:
            return action(location)
        except LocatedError as error:
            self._note(error)
        except HarnessError as error:
            where, place = self.document.where(location), self.document.place(location)
            for line in str(error).splitlines():
                self.findings.append((Finding(place, f"{where}: {line}"), type(error)))
        return None

    def _note(self, error: LocatedError) -> None:
        self.findings.extend((finding, error.kind) for finding in error.findings)

    def _error(self) -> HarnessError:
        ordered = sorted(self.findings, key=lambda noted: noted[0].place)
        return ordered[0][1]("\n".join(finding.text for finding, _ in ordered))

    # -- data sets ------------------------------------------------------------------------------------------------------

    def _dataset(self, reference: DatasetReference, at: Location) -> ResolvedDataset:
        written, normalization = reference.inline_options, reference.normalization
        if reference.card is not None:
            if reference.card not in self.catalogue.paths("datasets"):
                self._refuse_unknown_dataset(reference.card, (*at, "card"))
            card = self.catalogue.dataset(reference.card)
            provider = self._plugin("dataset", card.provider, reference, at, written=written, preset=card.options)
            normalization = normalization or card.normalization
            self.channels, name = card.channels, reference.card
        elif reference.image_folder is not None:
            folder = self.lookup.existing(reference.image_folder, (*at, "image_folder"), "folder")
            if "root" in written:
                raise self.lookup.wrong((*at, "root"), 'dataset.root: stands beside "image_folder"; keep one of them')
            root = {"root": str(folder)}
            provider = self._plugin("dataset", IMAGE_FOLDER, reference, at, written=written, preset=root)
            self.channels, name = getattr(provider.options, "channels", None), folder.name or "image-folder"
        else:
            name = reference.provider or ""
            provider = self._plugin("dataset", name, reference, at, written=written)
            name = provider.plugin.name
        self._check_channels(reference.normalization, (*at, "normalization"))
        return ResolvedDataset(reference.name or name, provider, normalization)

    def _refuse_unknown_dataset(self, name: str, location: Location) -> None:
        if any(plugin.answers_to(name) for plugin in self.manager.names("dataset")):
            text = f'"{name}" is a data set plugin without a card; write {{provider: {name}}} and its options'
            raise self.lookup.wrong(location, text)
        self.lookup.refuse_misplaced(name, "dataset", location)

    def _check_channels(self, normalization: Normalization | None, location: Location) -> None:
        """Refuse a normalization written for other channels than the images have; one value stands for all channels."""
        if normalization is None or self.channels is None or len(normalization.mean) in {1, self.channels}:
            return
        asked = f"{dotted(location)}: has {len(normalization.mean)} channels"
        if normalization is IMAGENET:
            asked = f"{dotted(location)}: imagenet has 3 channels"
        raise self.lookup.wrong(location, f"{asked}, the images {self.channels}; give mean and std one entry a channel")

    # -- classifiers ----------------------------------------------------------------------------------------------------

    def _model(self, reference: ModelReference, at: Location) -> ResolvedModel:
        weights = None
        if reference.weights is not None:
            weights = self.lookup.existing(reference.weights, (*at, "weights"), "file")
        trained = reference.trained if reference.trained is not None else weights is not None
        asked = _normalization(reference.normalization)
        self._check_channels(asked if isinstance(asked, Normalization) else None, (*at, "normalization"))
        folder = self.lookup.folder.resolve()
        if reference.factory is not None:
            self._refuse_factory_options(reference, at)
            name = reference.name or reference.factory.partition(":")[2]
            size, normalization = reference.image_size, asked or "dataset"
            return ResolvedModel(name, None, reference.factory, folder, weights, trained, size, normalization)
        card = self._model_card(reference, at)
        architecture = self._architecture(reference, card, at, has_weights=weights is not None)
        kind: Any = self.manager.load(architecture.plugin)
        size = reference.image_size or (card.image_size if card else None) or kind.default_image_size
        default = (card.normalization if card else None) or kind.default_normalization
        normalization = asked or _normalization(default) or "dataset"
        name = reference.name or reference.card or architecture.plugin.name
        return ResolvedModel(name, architecture, None, folder, weights, trained, size, normalization)

    def _architecture(
        self, reference: ModelReference, card: ModelCard | None, at: Location, *, has_weights: bool
    ) -> ResolvedPlugin:
        name = card.architecture if card else reference.architecture or reference.card or ""
        preset = dict(card.options) if card else {}
        _, loaded = self.lookup.plugin("classifier", name, (*at, "card" if reference.card else "architecture"))
        if has_weights and "pretrained" in loaded.options_type.model_fields:
            preset["pretrained"] = None  # or they would be fetched to be overwritten
        return self._plugin("classifier", name, reference, at, written=reference.inline_options, preset=preset)

    def _refuse_factory_options(self, reference: ModelReference, at: Location) -> None:
        own = [key for key in type(reference).model_fields if key not in reference.sources]
        findings = [
            Finding(
                self.document.place((*at, key), key=True),
                f"{self.document.where((*at, key), key=True)}: {dotted(at)}: unknown key {shown(key)}"
                f"{did_you_mean(key, own)}{'' if did_you_mean(key, own) else '; a factory takes no options'}",
            )
            for key in reference.inline_options
        ]
        if findings:
            raise LocatedError(SpecError, findings)

    def _model_card(self, reference: ModelReference, at: Location) -> ModelCard | None:
        """Return the card; a bare name without a card may be an architecture plugin, an architecture may have a card."""
        name = reference.card or reference.architecture or ""
        cards, plugins = self.catalogue.paths("models"), self.manager.names("classifier")
        if name in cards:
            return self.catalogue.model(name)
        if not any(plugin.answers_to(name) for plugin in plugins):
            location = (*at, "architecture" if reference.card is None else "card")
            self.lookup.refuse_misplaced(name, "classifier", location)
            near = did_you_mean(name, {*cards, *(alias for plugin in plugins for alias in plugin.names)})
            if reference.card is not None and "/" not in name:
                raise self.lookup.wrong(location, f'unknown model {shown(name)}{near or "."} See "harness models".')
        return None

    # -- correctors and adapters ----------------------------------------------------------------------------------------

    def _corrector(self, reference: CorrectorReference, at: Location) -> ResolvedCorrector:
        card = self._preset(reference.preset, (*at, "preset")) if reference.preset is not None else None
        name = reference.attack or ""
        if card is not None:
            if card.attack is None:
                self._refuse_attack_options(reference, at)
                name = reference.name or derived_name(reference.preset or "", reference)
                return ResolvedCorrector(name, None, "toward-true", "first-hit", reference.keep)
            name = card.attack
        preset = card.options if card else {}
        attack = self._plugin("attack", name, reference, at, written=reference.inline_options, preset=preset)
        objective = reference.objective or (card.objective if card else None) or "toward-true"
        select = self._select(reference, card, attack, at)
        self._check_direction(attack, objective, at)
        if select == "final" and self.experiment.attack_passes is not None:
            text = "select: final: an attack that attack_passes ends has no last iterate; choose first-hit or min-norm"
            raise self.lookup.wrong((*at, "select"), f"{dotted(at)}: {text}")
        name = reference.name or derived_name(reference.preset or reference.attack or "", reference)
        return ResolvedCorrector(name, attack, objective, select, reference.keep)

    def _select(
        self, reference: CorrectorReference, card: CorrectorCard | None, attack: ResolvedPlugin, at: Location
    ) -> Select:
        """Return which iterate counts. The first hit of an attack that starts from another image would be that image."""
        kind: Any = self.manager.load(attack.plugin)
        asked = reference.select or (card.select if card else None)
        if kind.capabilities.examples and asked == "first-hit":
            text = f'attack "{attack.plugin.name}" starts from another image, which would be its first hit'
            raise self.lookup.wrong((*at, "select"), f"{text}; choose min-norm or final")
        return asked or ("min-norm" if kind.capabilities.examples else "first-hit")

    def _preset(self, name: str, location: Location) -> CorrectorCard:
        presets = self.catalogue.paths("correctors")
        if name not in presets:
            self.lookup.refuse_misplaced(name, "preset", location)
            attacks = [alias for plugin in self.manager.names("attack") for alias in plugin.names[:2]]
            near = did_you_mean(name, {*presets, *attacks})
            known = f"; expected {alternatives([*presets])}, or {{attack: …}}"
            raise self.lookup.wrong(location, f"unknown corrector preset {shown(name)}{near or known}")
        return self.catalogue.corrector(name)

    def _check_direction(self, attack: ResolvedPlugin, objective: Objective, at: Location) -> None:
        kind: Any = self.manager.load(attack.plugin)
        targeted = targeted_objective(objective)
        if not (kind.capabilities.targeted if targeted else kind.capabilities.untargeted):
            verb, other = ("approach", "away-from-predicted") if targeted else ("flee", "toward-true")
            text = f'attack "{attack.plugin.name}" cannot {verb} labels, as {objective} asks; choose another objective'
            raise self.lookup.wrong((*at, "objective"), f"{text}, such as {other}")

    def _refuse_attack_options(self, reference: CorrectorReference, at: Location) -> None:
        own = [key for key in ("objective", "select") if getattr(reference, key) is not None]
        findings = [
            Finding(
                self.document.place((*at, key), key=True),
                f"{self.document.where((*at, key), key=True)}: {dotted(at)}: {shown(key)} has no meaning for preset "
                f'"{reference.preset}", which attacks nothing; remove it',
            )
            for key in (*own, *reference.inline_options)
        ]
        if findings:
            raise LocatedError(SpecError, findings)

    def _adapter(self, reference: AdapterReference, at: Location) -> ResolvedAdapter:
        plugin, _ = self.lookup.plugin("adapter", reference.adapter, (*at, "adapter"))
        if plugin.package == "adaptation" and plugin.name in CONTROL_ADAPTERS:
            text = f"name {CONTROL_ADAPTERS[plugin.name]} under controls, where every row is compared with it"
            raise self.lookup.wrong((*at, "adapter"), f'"{reference.adapter}" is a control; {text}')
        adapter = self._plugin("adapter", reference.adapter, reference, at, written=reference.inline_options)
        return ResolvedAdapter(reference.name or derived_name(plugin.name, reference), adapter)

    def _quantizer(self, reference: QuantizerReference, at: Location) -> ResolvedQuantizer:
        quantizer = self._plugin("quantizer", reference.quantizer, reference, at, written=reference.inline_options)
        return ResolvedQuantizer(reference.name or derived_name(quantizer.plugin.name, reference), quantizer)

    def _evaluator(self, reference: EvaluatorReference, at: Location) -> ResolvedEvaluator:
        written = reference.inline_options
        evaluator = self._plugin("evaluator", reference.evaluator, reference, at, written=written)
        name = reference.name or derived_name(evaluator.plugin.name, reference)
        if name == BEFORE_QUANTIZING:
            raise self.lookup.wrong((*at, "name"), f'"{name}" is what tables call another column; choose another name')
        return ResolvedEvaluator(name, evaluator, reference.samples, reference.batch_size)

    def _plugin(
        self,
        kind: Kind,
        name: str,
        reference: Reference,
        at: Location,
        *,
        written: Mapping[str, Any],
        preset: Mapping[str, Any] | None = None,
    ) -> ResolvedPlugin:
        """Find a plugin and validate its options."""
        source = next(key for key in reference.sources if getattr(reference, key) is not None)
        plugin, loaded = self.lookup.plugin(kind, name, (*at, source))
        beside = [key for key in type(reference).model_fields if key not in reference.sources]
        options = self.lookup.options(plugin, loaded.options_type, at, written=written, preset=preset, beside=beside)
        return ResolvedPlugin(plugin, options, loaded.library)


def _normalization(
    asked: str | Normalization | None,
) -> Literal["dataset"] | Normalization | None:
    if asked is None or isinstance(asked, Normalization):
        return asked
    return IMAGENET if asked == "imagenet" else "dataset"
