"""`harness plugins new`."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from harness.manager import PluginName
    from harness.scaffolding import PackageKind


@click.command(name="new")
@click.argument("kind", type=click.Choice(["attack", "adapter"]))
@click.argument("name")
@click.option(
    "--directory",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    default=Path(),
    help="Folder that gets the package's folder, NAME.  [default: the current one]",
)
def new(kind: PackageKind, name: str, *, directory: Path) -> None:
    """Write a package for a new plugin: an example that works, its tests, a CI file, a spec that uses it.

    NAME is the plugin's and the package's, such as my-attack. Prints the files that it wrote.
    """
    from harness.manager import Manager
    from harness.scaffolding import new_package, write_package

    namesakes = [plugin for plugin in Manager.discover().names() if plugin.name == name]
    package = new_package(kind, name, name_is_taken=bool(namesakes))
    for path in write_package(package, directory):
        click.echo(path)
    for plugin in namesakes:
        click.echo(_note(plugin, package.reference), err=True)
    folder = shlex.quote(str(directory / name))
    click.echo(f'next:\n  cd {folder} && python -m pip install -e ".[test]"\n  python -m pytest', err=True)
    click.echo("  harness run digits.yaml", err=True)


def _note(plugin: PluginName, reference: str) -> str:
    return f'note: {plugin} has this name already, so that specs must say which is meant: yours is "{reference}"'
