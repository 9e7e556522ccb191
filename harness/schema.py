"""The JSON Schema (draft 2020-12) of a spec, with what is installed: for completion and checks in editors."""

from __future__ import annotations

import inspect
import json
import re
from typing import TYPE_CHECKING, Any

from pydantic.json_schema import GenerateJsonSchema

from harness.contract import parse_fraction
from harness.errors import HarnessError
from harness.lookup import CONTROL_ADAPTERS, IMAGE_FOLDER
from harness.spec import Experiment
from harness.variants import SHARED, VARIANTS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from pydantic import BaseModel
    from pydantic_core import core_schema

    from harness.catalogue import Card, Catalogue
    from harness.kinds import Kind
    from harness.manager import Manager, PluginName

Schema = dict[str, Any]

FRACTION = r"^\s*[+-]?\d+\s*/\s*\d*[1-9]\d*\s*$"
FACTORY = r"^[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*$"
FP32 = {"fp32": "Full precision."}
CLEAN = {"clean": "Accuracy on the test images, which is always measured."}
_BOUNDS = {"gt": "exclusiveMinimum", "ge": "minimum", "lt": "exclusiveMaximum", "le": "maximum"}


def json_schema(manager: Manager, catalogue: Catalogue) -> Schema:
    """Return the schema of a spec that names what is installed; plugins and cards that are broken are left out."""
    return _SpecSchema(manager, catalogue).build()


class _Generator(GenerateJsonSchema):
    """Pydantic's generator, which also knows that a number may be written as a fraction, and makes up no titles."""

    def function_before_schema(self, schema: core_schema.BeforeValidatorFunctionSchema) -> Schema:
        inner = super().function_before_schema(schema)
        if schema["function"]["function"] is not parse_fraction:
            return inner
        return {"anyOf": [inner, {"type": "string", "pattern": FRACTION}]}

    def field_title_should_be_set(self, schema: Any) -> bool:
        del schema
        return False


class _SpecSchema:
    """Puts the plugins and cards into the schema that the spec's own model has."""

    def __init__(self, manager: Manager, catalogue: Catalogue) -> None:
        self.manager = manager
        self.catalogue = catalogue
        self.definitions: Schema = {}

    def build(self) -> Schema:
        schema = self._of_model(Experiment, "")
        sections = schema["properties"]
        sections["dataset"] |= {"anyOf": list(self._datasets())}
        sections["dataset"].pop("$ref", None)
        sections["models"]["items"] = {"anyOf": list(self._models())}
        sections["correctors"]["items"] = {"anyOf": list(self._correctors())}
        sections["adapters"]["items"] = {"anyOf": list(self._adapters())}
        sections["quantization"]["items"] = {"anyOf": list(self._choices("quantizer", "QuantizerReference", FP32))}
        sections["evaluate"]["items"] = {"anyOf": list(self._choices("evaluator", "EvaluatorReference", CLEAN))}
        sections["figures"]["items"] = {"anyOf": list(self._choices("figure", "FigureReference", {}))}
        required = schema.pop("required")
        sections[VARIANTS] = self._variants(sections)
        return {
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "title": "adcorda-harness experiment",
            **schema,
            "anyOf": [{"required": required}, {"required": ["name", VARIANTS]}],
            "$defs": _used(schema, self.definitions),
        }

    def _variants(self, sections: Schema) -> Schema:
        """Describe the list of variants: each has any sections but those that all share."""
        own = {name: {"$ref": f"#/properties/{name}"} for name in sections if name not in SHARED}
        described = "Several experiments in one: each entry holds what differs from the rest of the spec."
        entry = {"type": "object", "properties": own, "additionalProperties": False, "minProperties": 1}
        return {"type": "array", "description": described, "minItems": 1, "items": entry}

    def _datasets(self) -> Iterator[Schema]:
        cards = dict(self._cards("datasets", self.catalogue.dataset))
        yield _names({name: card.description for name, card in cards.items()})
        for name, card in cards.items():
            plugin = self._find("dataset", card.provider)
            if plugin:
                yield self._entry("DatasetReference", "card", [name], card.description, plugin, given=card.options)
        for plugin in self.manager.names("dataset"):
            yield from self._plugin_entry("DatasetReference", "provider", plugin)
        folders = self._find("dataset", IMAGE_FOLDER)
        if folders:
            entry = self._entry(
                "DatasetReference", "image_folder", None, "A folder of images.", folders, given=["root"]
            )
            del entry["properties"]["root"]
            yield entry

    def _models(self) -> Iterator[Schema]:
        cards = dict(self._cards("models", self.catalogue.model))
        plugins = [plugin for plugin in self.manager.names("classifier") if self._loads(plugin)]
        described = {name: self._description(plugin) for plugin in plugins for name in self._own_names(plugin)}
        yield _names(described | {name: card.description for name, card in cards.items()})
        for name, card in cards.items():
            plugin = self._find("classifier", card.architecture)
            if plugin:
                yield self._entry("ModelReference", "card", [name], card.description, plugin, given=card.options)
        for plugin in plugins:
            yield from self._plugin_entry("ModelReference", "architecture", plugin)
        factory = self._entry(
            "ModelReference", "factory", None, "One's own function that returns a torch module.", None
        )
        factory["properties"]["factory"]["pattern"] = FACTORY
        yield factory

    def _correctors(self) -> Iterator[Schema]:
        cards = dict(self._cards("correctors", self.catalogue.corrector))
        yield _names({name: card.description for name, card in cards.items()})
        for name, card in cards.items():
            plugin = self._find("attack", card.attack) if card.attack else None
            if plugin or card.attack is None:
                entry = self._entry(
                    "CorrectorReference", "preset", [name], card.description, plugin, given=card.options
                )
                for key in () if plugin else ("objective", "select"):
                    del entry["properties"][key]
                yield entry
        for plugin in self.manager.names("attack"):
            yield from self._plugin_entry("CorrectorReference", "attack", plugin)

    def _adapters(self) -> Iterator[Schema]:
        plugins = [
            plugin
            for plugin in self.manager.names("adapter")
            if self._loads(plugin) and not (plugin.package == "adaptation" and plugin.name in CONTROL_ADAPTERS)
        ]
        yield _names({name: self._description(plugin) for plugin in plugins for name in self._own_names(plugin)})
        for plugin in plugins:
            yield from self._plugin_entry("AdapterReference", "adapter", plugin)

    def _choices(self, kind: Kind, reference: str, built_in: Mapping[str, str]) -> Iterator[Schema]:
        """Describe a list of plugins of a kind, beside what is ``built_in``."""
        plugins = [plugin for plugin in self.manager.names(kind) if self._loads(plugin)]
        names = {name: self._description(plugin) for plugin in plugins for name in self._own_names(plugin)}
        yield _names({**built_in, **names})
        for plugin in plugins:
            yield from self._plugin_entry(reference, kind, plugin)

    def _plugin_entry(self, reference: str, source: str, plugin: PluginName) -> Iterator[Schema]:
        if self._loads(plugin):
            yield self._entry(reference, source, self._own_names(plugin), self._description(plugin), plugin)

    def _entry(
        self,
        reference: str,
        source: str,
        names: list[str] | None,
        description: str,
        plugin: PluginName | None,
        *,
        given: Iterable[str] = (),
    ) -> Schema:
        """Describe a mapping that names one plugin by ``source``, with its options; those ``given`` need not be written."""
        own = self.definitions[reference]["properties"]
        options: Schema = {}
        if plugin is not None:
            options = self._of_model(self.manager.load(plugin).options_type, f"{plugin.kind}.{plugin.qualified}.")
        sources = {
            "card",
            "provider",
            "image_folder",
            "architecture",
            "factory",
            "preset",
            "attack",
            "adapter",
            "quantizer",
            "evaluator",
            "figure",
        }
        named = {"enum": names} if names is not None else {"type": "string"}
        return {
            "type": "object",
            "description": description,
            "properties": {
                source: {**named, "description": own[source].get("description", "")},
                **options.get("properties", {}),
                **{key: value for key, value in own.items() if key not in sources},
            },
            "required": [source, *(key for key in options.get("required", ()) if key not in set(given))],
            "additionalProperties": False,
        }

    def _of_model(self, model: type[BaseModel], prefix: str) -> Schema:
        """Return a model's schema; the definitions that it refers to are kept under ``prefix``."""
        prefix = prefix.replace("/", ".")
        schema: Schema = model.model_json_schema(schema_generator=_Generator, ref_template=f"#/$defs/{prefix}{{model}}")
        for name, definition in schema.pop("$defs", {}).items():
            self.definitions[f"{prefix}{name}"] = _standard(definition)
        schema.pop("title", None)
        standard: Schema = _standard(schema)
        return standard

    def _cards(self, kind: Any, read: Callable[[str], Card]) -> Iterator[tuple[str, Any]]:
        for name in self.catalogue.paths(kind):
            try:
                yield name, read(name)
            except HarnessError:
                continue

    def _find(self, kind: Kind, name: str) -> PluginName | None:
        try:
            plugin = self.manager.find(kind, name)
        except HarnessError:
            return None
        return plugin if self._loads(plugin) else None

    def _loads(self, plugin: PluginName) -> bool:
        try:
            options = self.manager.load(plugin).options_type
            options.model_json_schema(schema_generator=_Generator)
        except Exception:  # noqa: BLE001 (a plugin's options may hold anything; an editor goes without it)
            return False
        return True

    def _description(self, plugin: PluginName) -> str:
        return (inspect.getdoc(self.manager.load(plugin)) or "").partition("\n")[0]

    def _own_names(self, plugin: PluginName) -> list[str]:
        """Return the names that mean this plugin and no other."""
        rivals = self.manager.names(plugin.kind)
        return [name for name in dict.fromkeys(plugin.names) if sum(rival.answers_to(name) for rival in rivals) == 1]


def _names(descriptions: Mapping[str, str]) -> Schema:
    """Describe a bare name: one of those known."""
    known = [{"const": name, "description": description} for name, description in sorted(descriptions.items())]
    return {"type": "string", "anyOf": known} if known else {"type": "string"}


def _standard(schema: Any) -> Any:
    """Write bounds in JSON Schema's words where pydantic leaves its own, as it does behind a validator."""
    if isinstance(schema, list):
        return [_standard(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    bounds = {_BOUNDS[key]: value for key, value in schema.items() if key in _BOUNDS and not isinstance(value, dict)}
    return {
        key: _standard(value) for key, value in schema.items() if key not in _BOUNDS or isinstance(value, dict)
    } | bounds


def _used(schema: Schema, definitions: Schema) -> Schema:
    """Return the definitions that the schema refers to, directly or through others."""
    used: Schema = {}
    waiting = [json.dumps(schema)]
    while waiting:
        for name in re.findall(r'"#/\$defs/([^"]+)"', waiting.pop()):
            if name not in used:
                used[name] = definitions[name]
                waiting.append(json.dumps(definitions[name]))
    return dict(sorted(used.items()))
