"""A plugin's options as Python gives them, or a command line: ``KEY=VALUE``, the value written as in a spec."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from harness.errors import UsageError
from harness.validation import option_faults, shown

if TYPE_CHECKING:
    from collections.abc import Iterable

    from harness.contract import Configurable, Options
    from harness.manager import PluginName


def validated_options(
    plugin: PluginName, loaded: type[Configurable[Options]], given: Mapping[str, Any] | Options
) -> Options:
    """Return the plugin's options. Raises ``UsageError`` with a line for each that does not fit: what was got and expected."""
    if not isinstance(given, Mapping):
        return given
    options_type = loaded.options_type
    try:
        return options_type.model_validate(given)
    except ValidationError as error:
        faults = option_faults(error, given, model=options_type)
        raise UsageError("\n".join(f"{plugin.title}: {fault}" for fault in faults)) from error


def parse_options(plugin: PluginName, loaded: type[Configurable[Options]], given: Iterable[str]) -> Options:
    """Return the options that ``KEY=VALUE`` texts give. Raises ``UsageError`` for what is no such text or does not fit."""
    known = list(loaded.options_type.model_fields)
    return validated_options(plugin, loaded, dict(_parsed(plugin, text, known) for text in given))


def _parsed(plugin: PluginName, text: str, known: list[str]) -> tuple[str, Any]:
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    key, separator, value = text.partition("=")
    if not separator:
        keys = f", KEY one of {', '.join(known)}" if known else f"; but {plugin.title} has no options"
        raise UsageError(f"--option {shown(text)}: expected KEY=VALUE{keys}")
    try:
        return key, YAML(typ="safe", pure=True).load(value)
    except YAMLError as error:
        raise UsageError(f"--option {key}: {shown(value)} cannot be read as YAML") from error
