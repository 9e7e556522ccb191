"""Look up a spec's data set and classifiers: cards, plugins, folders, weights, functions of one's own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from harness.catalogue import IMAGENET, Normalization
from harness.errors import SpecError, did_you_mean
from harness.lookup import IMAGE_FOLDER, LocatedError
from harness.resolved import ResolvedDataset, ResolvedModel
from harness.validation import Finding, dotted, shown

if TYPE_CHECKING:
    from harness.catalogue import ModelCard
    from harness.lookup import Lookup
    from harness.references import DatasetReference, ModelReference
    from harness.resolved import ResolvedPlugin
    from harness.yamlio import Location


class SubjectResolver:
    """Looks up the data set, then the classifiers that see its images."""

    def __init__(self, lookup: Lookup) -> None:
        self.lookup = lookup
        self.document = lookup.document
        self.manager = lookup.manager
        self.catalogue = lookup.catalogue
        self.channels: int | None = None

    def dataset(self, reference: DatasetReference, at: Location) -> ResolvedDataset:
        """Return where the images come from."""
        written, normalization = reference.inline_options, reference.normalization
        if reference.card is not None:
            if reference.card not in self.catalogue.paths("datasets"):
                self._refuse_unknown_dataset(reference.card, (*at, "card"))
            card = self.catalogue.dataset(reference.card)
            provider = self.lookup.configured(
                "dataset", card.provider, reference, at, written=written, preset=card.options
            )
            normalization = normalization or card.normalization
            self.channels, name = card.channels, reference.card
        elif reference.image_folder is not None:
            folder = self.lookup.existing(reference.image_folder, (*at, "image_folder"), "folder")
            if "root" in written:
                raise self.lookup.wrong((*at, "root"), 'dataset.root: stands beside "image_folder"; keep one of them')
            root = {"root": str(folder)}
            provider = self.lookup.configured("dataset", IMAGE_FOLDER, reference, at, written=written, preset=root)
            self.channels, name = getattr(provider.options, "channels", None), folder.name or "image-folder"
        else:
            name = reference.provider or ""
            provider = self.lookup.configured("dataset", name, reference, at, written=written)
            name = provider.plugin.name
        self._check_channels(reference.normalization, (*at, "normalization"))
        counts = reference.train_samples, reference.test_samples
        return ResolvedDataset(reference.name or name, provider, normalization, *counts)

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

    def model(self, reference: ModelReference, at: Location) -> ResolvedModel:
        """Return where the network comes from, and how it sees images."""
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
        return self.lookup.configured(
            "classifier", name, reference, at, written=reference.inline_options, preset=preset
        )

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


def _normalization(
    asked: str | Normalization | None,
) -> Literal["dataset"] | Normalization | None:
    if asked is None or isinstance(asked, Normalization):
        return asked
    return IMAGENET if asked == "imagenet" else "dataset"
