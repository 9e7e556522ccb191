"""`harness plugins check`."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from harness.cli.options import json_option
from harness.kinds import KINDS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from harness.kinds import Kind
    from harness.manager import PluginName
    from harness.testing import Result


@click.command(name="check")
@click.argument("name")
@click.option(
    "--option",
    "written",
    multiple=True,
    metavar="KEY=VALUE",
    help="An option of the plugin, as a spec writes it; repeat for more.",
)
@click.option(
    "--kind",
    type=click.Choice(KINDS),
    help="The kind, where plugins of two kinds have the name.",
)
@json_option
def check(name: str, *, written: tuple[str, ...], kind: Kind | None, as_json: bool) -> int:
    """Check on small examples that a plugin keeps its contract. Exits with 1 when a check fails."""
    from harness.manager import Manager
    from harness.plugin_options import parse_options
    from harness.testing.conformance import find_plugin, run_checks

    manager = Manager.discover()
    plugin = find_plugin(manager, name, kind)
    loaded = manager.load_ready(plugin)
    results = run_checks(manager, plugin, parse_options(plugin, loaded, written) if written else None)
    found = list(results) if as_json else _printed(results)
    if as_json:
        click.echo(json.dumps(_document(plugin, found), ensure_ascii=False))
    return 1 if any(result.status == "failed" for result in found) else 0


def _printed(results: Iterable[Result]) -> list[Result]:
    """Print a line a check, each as soon as it is known, and a summary beside them."""
    found = []
    for result in results:
        click.echo(f"{result.status:<7} {result.name}{f': {result.message}' if result.message else ''}")
        found.append(result)
    counts = {status: sum(result.status == status for result in found) for status in ("ok", "failed", "skipped")}
    click.echo(", ".join(f"{count} {status}" for status, count in counts.items()), err=True)
    return found


def _document(plugin: PluginName, results: Iterable[Result]) -> dict[str, Any]:
    return {
        "version": 1,
        "plugin": plugin.qualified,
        "kind": plugin.kind,
        "checks": [asdict(result) for result in results],
    }
