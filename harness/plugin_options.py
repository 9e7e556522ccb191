"""A plugin's options as a command line gives them: ``KEY=VALUE``, the value written as in a spec."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from harness.errors import UsageError, did_you_mean
from harness.validation import shown

if TYPE_CHECKING:
    from collections.abc import Iterable

    from harness.contract import Configurable, Options
    from harness.manager import PluginName


def parse_options(plugin: PluginName, loaded: type[Configurable[Options]], given: Iterable[str]) -> Options:
    """Return the plugin's validated options. Raises ``UsageError`` that names the option and what was expected."""
    options_type = loaded.options_type
    written = dict(_parsed(plugin, text, list(options_type.model_fields)) for text in given)
    try:
        return options_type.model_validate(written)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "options"
        raise UsageError(f"{plugin.title}: {where}: got {shown(first['input'])}; {first['msg'].lower()}") from error


def _parsed(plugin: PluginName, text: str, known: list[str]) -> tuple[str, Any]:
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    key, separator, value = text.partition("=")
    if not separator:
        keys = f", KEY one of {', '.join(known)}" if known else f"; but {plugin.title} has no options"
        raise UsageError(f"--option {shown(text)}: expected KEY=VALUE{keys}")
    if key not in known:
        expected = did_you_mean(key, known) or (f"; expected {', '.join(known)}" if known else "; it has no options")
        raise UsageError(f"{plugin.title} has no option {shown(key)}{expected}")
    try:
        return key, YAML(typ="safe", pure=True).load(value)
    except YAMLError as error:
        raise UsageError(f"--option {key}: {shown(value)} cannot be read as YAML") from error
