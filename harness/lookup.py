"""Look up what a spec names: plugins with validated options, files, and where else a misplaced name would belong."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import ValidationError

from harness.catalogue import BrokenCardError
from harness.errors import DataError, HarnessError, PluginError, SpecError
from harness.resolved import ResolvedPlugin
from harness.validation import Finding, describe, dotted, parse, shown

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from harness.catalogue import Catalogue
    from harness.contract import Configurable, Options
    from harness.kinds import Kind
    from harness.manager import Manager, PluginName
    from harness.references import Reference
    from harness.yamlio import Document, Location

Wanted = Literal[
    "preset",
    "attack",
    "adapter",
    "control",
    "classifier",
    "dataset",
    "quantizer",
    "evaluator",
    "figure",
    "report-format",
]

IMAGE_FOLDER = "datasets/image-folder"
"""The plugin that ``image_folder`` means, whoever else offers one of its name."""

CONTROL_ADAPTERS = {"finetune": "finetune-target and finetune-source", "recalibrate-bn": "recalibrate-bn"}
"""Adapters that are rival explanations, rows of their own and never of the matrix; and the controls they serve."""

_CALLED: dict[Wanted, str] = {
    "preset": "a corrector preset",
    "attack": "an attack",
    "adapter": "an adapter",
    "control": "a control",
    "classifier": "a classifier",
    "dataset": "a data set",
    "quantizer": "a quantizer",
    "evaluator": "an evaluator",
    "figure": "a figure",
    "report-format": "a report format",
}


class LocatedError(Exception):
    """Findings that already say where they are, and the kind of error that they make."""

    def __init__(self, kind: type[HarnessError], findings: Iterable[Finding]) -> None:
        self.kind = kind
        self.findings = list(findings)
        super().__init__("\n".join(finding.text for finding in self.findings))


class Lookup:
    """A spec's document and folder, and the plugins and cards that its names are looked up in."""

    def __init__(self, document: Document, folder: Path, manager: Manager, catalogue: Catalogue) -> None:
        self.document = document
        self.folder = folder
        self.manager = manager
        self.catalogue = catalogue

    def wrong(self, location: Location, text: str, kind: type[HarnessError] = SpecError) -> LocatedError:
        """Return an error at a value's place."""
        place = self.document.place(location)
        return LocatedError(kind, [Finding(place, f"{self.document.where(location)}: {text}")])

    def plugin(self, kind: Kind, name: str, location: Location) -> tuple[PluginName, type[Configurable[Options]]]:
        """Find and import the plugin named at ``location``; a name of another kind is told from an unknown one."""
        if not any(plugin.answers_to(name) for plugin in self.manager.names(kind)):
            self.refuse_misplaced(name, kind, location)
        try:
            plugin = self.manager.find(kind, name)
            return plugin, self.manager.load_ready(plugin)
        except PluginError as error:
            raise self.wrong(location, str(error), PluginError) from error

    def configured(
        self,
        kind: Kind,
        name: str,
        reference: Reference,
        at: Location,
        *,
        written: Mapping[str, Any],
        preset: Mapping[str, Any] | None = None,
    ) -> ResolvedPlugin:
        """Find the plugin that a reference names and validate its options."""
        source = next(key for key in reference.sources if getattr(reference, key) is not None)
        plugin, loaded = self.plugin(kind, name, (*at, source))
        beside = [key for key in type(reference).model_fields if key not in reference.sources]
        options = self.options(plugin, loaded.options_type, at, written=written, preset=preset, beside=beside)
        return ResolvedPlugin(plugin, options, loaded.library)

    def options(
        self,
        plugin: PluginName,
        options_type: type[Options],
        at: Location,
        *,
        written: Mapping[str, Any],
        preset: Mapping[str, Any] | None = None,
        beside: Iterable[str] = (),
    ) -> Options:
        """Validate a plugin's options: those ``written`` at ``at``, beside other keys, and a card's, which they override.

        The paths among those written are taken from the spec's folder.
        """
        preset = preset or {}
        try:
            options = parse(options_type, {**preset, **written})
            json.dumps(options.model_dump(mode="json"), allow_nan=False)  # as content keys and records hold them
        except ValidationError as error:
            blamed = [str(found["loc"][0]) for found in error.errors() if found["loc"] and found["loc"][0] in preset]
            for key in blamed:
                if key not in written:
                    raise BrokenCardError(
                        f'the card\'s option "{key}" does not fit {plugin}; tell the authors of the card'
                    ) from error
            findings = describe(error, self.document, at, model=options_type, beside=beside, owner=plugin.title)
            raise LocatedError(SpecError, findings) from error
        except ValueError as error:
            endless = [key for key, value in written.items() if isinstance(value, float) and not math.isfinite(value)]
            if not endless:
                raise PluginError(f"{plugin} is broken: its options cannot be written as JSON ({error})") from error
            text = f"{dotted(at)}.{endless[0]}: got {shown(written[endless[0]])}, expected a finite number ({plugin.title})"
            raise self.wrong((*at, endless[0]), text) from error
        except Exception as error:
            raised = " ".join(f"{type(error).__name__}: {error}".split())
            raise PluginError(f"{plugin} is broken: its options raise {raised}") from error
        paths = {key: getattr(options, key, None) for key in written}
        taken = {key: self.path(path, (*at, key)) for key, path in paths.items() if isinstance(path, Path)}
        return options.model_copy(update=taken) if taken else options

    def path(self, path: Path, location: Location) -> Path:
        """Take a path from the spec's folder."""
        try:
            return (self.folder / path.expanduser()).resolve()
        except (OSError, RuntimeError, ValueError) as error:  # a user without a home, a loop of links
            raise self.wrong(location, f"{dotted(location)}: {shown(str(path))} is no path", DataError) from error

    def existing(self, path: Path, location: Location, what: Literal["file", "folder"]) -> Path:
        """Take the path of an existing file or folder from the spec's folder."""
        taken = self.path(path, location)
        try:
            exists = taken.is_file() if what == "file" else taken.is_dir()
        except OSError:  # a name that is too long
            exists = False
        if not exists:
            text = f"{dotted(location)}: no {what} {shown(str(path))}; paths are taken from the spec's folder, "
            raise self.wrong(location, f'{text}"{self.folder}"', DataError)
        return taken

    def refuse_misplaced(self, name: str, wanted: Wanted, location: Location) -> None:
        """Raise where a name belongs elsewhere in a spec, and say where."""
        order: list[Wanted] = [
            "preset",
            "attack",
            "adapter",
            "control",
            "classifier",
            "dataset",
            "quantizer",
            "evaluator",
        ]
        if wanted == "adapter":
            order.insert(0, "control")  # "none" is both: beside adapters a control is meant
        for found in order:
            if found != wanted and self._is(found, name):
                advice = _advice(name, wanted, found)
                raise self.wrong(location, f'"{name}" is {_CALLED[found]}, not {_CALLED[wanted]}; {advice}')

    def _is(self, kind: Wanted, name: str) -> bool:
        if kind == "control":
            from harness.controls import ALL_CONTROLS

            return name in ALL_CONTROLS
        if kind == "preset":
            return name in self.catalogue.paths("correctors")
        if any(plugin.answers_to(name) for plugin in self.manager.names(kind)):
            return True
        return (kind == "classifier" and name in self.catalogue.paths("models")) or (
            kind == "dataset" and name in self.catalogue.paths("datasets")
        )


def _advice(name: str, wanted: Wanted, found: Wanted) -> str:
    if found == "preset":
        return f"write {{preset: {name}}}" if wanted == "attack" else "name it under correctors"
    if found == "attack":
        return f"write {{attack: {name}, objective: toward-true}}{'' if wanted == 'preset' else ' under correctors'}"
    sections = {
        "adapter": "adapters",
        "control": "controls",
        "classifier": "models",
        "dataset": "dataset",
        "quantizer": "quantization",
        "evaluator": "evaluate",
        "figure": "figures",
    }
    return f"name it under {sections[found]}"
