"""`harness plugins list|show`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from harness.cli import SuggestingGroup, plugin_check, plugin_new
from harness.cli.listing import show_list
from harness.cli.options import json_option
from harness.kinds import KINDS, NORMS

if TYPE_CHECKING:
    from harness.kinds import Kind, Norm
    from harness.manager import Manager, PluginName

ATTACK_COLUMNS = ("name", "norm", "library", "goals", "gradients", "budget", "stochastic")
COLUMNS = ("name", "kind", "library")
ADAPTER_COLUMNS = ("name", "uses", "library")


@click.group(name="plugins", cls=SuggestingGroup)
def command() -> None:
    """List the installed plugins, show one with its options, begin one, check one."""


command.add_command(plugin_new.new)
command.add_command(plugin_check.check)


@command.command(name="list")
@click.option("--kind", type=click.Choice(KINDS), help="Only this kind.")
@click.option("--norm", type=click.Choice(NORMS), help="Only attacks that bound or minimize this norm.")
@json_option
def list_plugins(*, kind: Kind | None, norm: Norm | None, as_json: bool) -> None:
    """List what is on offer with what it can do, what waits for a library, and what has problems."""
    from harness.manager import Manager
    from harness.offers import missing_libraries, offers

    manager = Manager.discover()
    entries = [entry for entry in offers(manager, kind) if norm is None or entry.get("norm") == norm]
    problems = [{"plugin": p.package, "distribution": p.distribution, "message": p.message} for p in manager.problems]
    if as_json:
        click.echo(json.dumps({"version": 1, "plugins": entries, "problems": problems}, ensure_ascii=False))
        return
    attacks = [_attack_line(entry) for entry in entries if entry["kind"] == "attack"]
    adapters = [_adapter_line(entry) for entry in entries if entry["kind"] == "adapter"]
    others = [_line(entry) for entry in entries if entry["kind"] not in {"attack", "adapter"}]
    for lines, columns, what in (
        (attacks, ATTACK_COLUMNS, "attacks"),
        (adapters, ADAPTER_COLUMNS, "adapters"),
        (others, COLUMNS, "other plugins"),
    ):
        if lines:
            lines.sort(key=lambda line: line["name"])
            title = f"{len(lines)} {what}"
            show_list(lines, columns=columns, key="plugins", as_json=False, title=title, droppable=True)
    if not entries and (norm or kind):
        click.echo(
            f"no {kind or 'plugin'}{f' of the norm {norm}; attacks alone have one' if norm else ' is installed'}",
            err=True,
        )
    for line in missing_libraries(entries):
        click.echo(line, err=True)
    for entry in entries:
        if "problem" in entry:
            click.echo(entry["problem"], err=True)
    for problem in problems:
        click.echo(f"{problem['distribution']}/{problem['plugin']} {problem['message']}", err=True)


def _attack_line(entry: dict[str, Any]) -> dict[str, Any]:
    can = entry.get("goals") or []
    return {**_line(entry), "goals": "both" if len(can) > 1 else can}


def _adapter_line(entry: dict[str, Any]) -> dict[str, Any]:
    uses = entry.get("uses") or {}
    words = {"source": "source", "target": "target", "target_labels": "labels"}
    return {**_line(entry), "uses": [said for name, said in words.items() if uses.get(name)]}


def _line(entry: dict[str, Any]) -> dict[str, Any]:
    library = entry.get("library") or {"name": entry["distribution"], "version": entry["version"]}
    state = "(broken)" if "problem" in entry else library["version"] or "(not installed)"
    if library["version"] and library.get("missing"):
        state = f"({', '.join(library['missing'])} not installed)"
    return {**entry, "name": entry["qualified"], "library": f"{library['name']} {state}"}


@command.command(name="show")
@click.argument("name")
@json_option
def show(name: str, *, as_json: bool) -> None:
    """Show a plugin's description, capabilities and options with their defaults."""
    from harness.manager import Manager
    from harness.testing.conformance import find_plugin

    manager = Manager.discover()
    plugin = find_plugin(manager, name)
    details = _details(manager, plugin)
    if as_json:
        click.echo(json.dumps({"version": 1, "plugin": details}, ensure_ascii=False))
        return
    click.echo(f"{plugin.qualified}: {plugin.kind} of {plugin.distribution} {plugin.version}, {plugin.target}\n")
    library = details["library"]
    if library["missing"]:
        click.echo(f'Needs {", ".join(library["missing"])}, not installed; run "{library["install"]}".\n')
    elif library["name"] != plugin.distribution:
        click.echo(f"The work is done by {library['name']} {library['version']}.\n")
    click.echo(f"{details['source']}\n\n{details['description']}\n".replace("``", "`"))
    if details["capabilities"]:
        click.echo(
            "Capabilities: "
            + ", ".join(f"{key} {_plain(value)}" for key, value in details["capabilities"].items())
            + "\n"
        )
    columns = ("name", "type", "default", "description")
    show_list(details["options"], columns=columns, key="options", as_json=False, title="Options")


def _details(manager: Manager, plugin: PluginName) -> dict[str, Any]:
    from dataclasses import asdict
    from inspect import getdoc

    from harness.offers import module_sentence, offer

    loaded = manager.load(plugin)
    capabilities: Any = getattr(loaded, "capabilities", None)
    schema = loaded.options_type.model_json_schema()
    return {
        **offer(manager, plugin),
        "source": module_sentence(loaded),
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
