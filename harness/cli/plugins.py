"""`harness plugins list|show`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from harness.cli import SuggestingGroup
from harness.cli.listing import show_list
from harness.cli.options import json_option

if TYPE_CHECKING:
    from harness.manager import Kind, Manager, PluginName


@click.group(name="plugins", cls=SuggestingGroup)
def command() -> None:
    """List the installed plugins, or show one with its options."""


@command.command(name="list")
@click.option("--kind", type=click.Choice(["attack", "adapter", "classifier", "dataset"]), help="Only this kind.")
@json_option
def list_plugins(*, kind: Kind | None, as_json: bool) -> None:
    """List what is on offer, and what has problems."""
    from harness.manager import Manager

    manager = Manager.discover()
    entries = [_entry(plugin) for plugin in manager.names(kind)]
    problems = [{"plugin": p.package, "distribution": p.distribution, "message": p.message} for p in manager.problems]
    if as_json:
        click.echo(json.dumps({"version": 1, "plugins": entries, "problems": problems}, ensure_ascii=False))
        return
    columns = ("name", "kind", "from", "version")
    show_list(entries, columns=columns, key="plugins", as_json=False, title=f"{len(entries)} plugins")
    for problem in problems:
        click.echo(f"{problem['distribution']}/{problem['plugin']} {problem['message']}", err=True)


def _entry(plugin: PluginName) -> dict[str, Any]:
    return {
        "name": plugin.name,
        "kind": plugin.kind,
        "qualified": plugin.qualified,
        "from": f"{plugin.distribution} ({plugin.package})",
        "version": plugin.version,
        "target": plugin.target,
    }


@command.command(name="show")
@click.argument("name")
@json_option
def show(name: str, *, as_json: bool) -> None:
    """Show a plugin's description, capabilities and options with their defaults."""
    from harness.manager import Manager

    manager = Manager.discover()
    plugin = _find(manager, name)
    details = _details(manager, plugin)
    if as_json:
        click.echo(json.dumps({"version": 1, "plugin": details}, ensure_ascii=False))
        return
    click.echo(f"{plugin.qualified}: {plugin.kind} of {plugin.distribution} {plugin.version}, {plugin.target}\n")
    click.echo(details["description"] + "\n")
    if details["capabilities"]:
        click.echo(
            "Capabilities: "
            + ", ".join(f"{key} {_plain(value)}" for key, value in details["capabilities"].items())
            + "\n"
        )
    columns = ("name", "type", "default", "description")
    show_list(details["options"], columns=columns, key="options", as_json=False, title="Options")


def _find(manager: Manager, name: str) -> PluginName:
    """Find a plugin of whatever kind. Raises ``PluginError`` with the nearest name."""
    from harness.errors import PluginError, did_you_mean

    found = [plugin for plugin in manager.names() if plugin.answers_to(name)]
    if not found:
        known = {alias for plugin in manager.names() for alias in (plugin.name, plugin.qualified)}
        raise PluginError(f'unknown plugin "{name}"{did_you_mean(name, known)}. See "harness plugins list".')
    return manager.find(found[0].kind, name)


def _details(manager: Manager, plugin: PluginName) -> dict[str, Any]:
    from dataclasses import asdict
    from inspect import getdoc

    loaded = manager.load(plugin)
    capabilities: Any = getattr(loaded, "capabilities", None)
    schema = loaded.options_type.model_json_schema()
    return {
        **_entry(plugin),
        "description": getdoc(loaded) or "",
        "capabilities": asdict(capabilities) if capabilities is not None else {},
        "options": [
            {
                "name": name,
                "type": _type(field),
                "default": field.get("default"),
                "description": field.get("description", ""),
            }
            for name, field in schema.get("properties", {}).items()
        ],
    }


def _type(field: dict[str, Any]) -> str:
    if "enum" in field:
        return " | ".join(map(str, field["enum"]))
    if "const" in field:
        return str(field["const"])
    if "anyOf" in field:
        return " | ".join(_type(option) for option in field["anyOf"])
    return str(field.get("format") or field.get("type") or "any")


def _plain(value: Any) -> str:
    return ("yes" if value else "no") if isinstance(value, bool) else str(value)
