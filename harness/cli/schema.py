"""`harness schema`."""

from __future__ import annotations

import json

import click


@click.command(name="schema")
def command() -> None:
    """Print the JSON schema of a spec, with the options of every installed plugin.

    `harness schema > harness.schema.json`, and the first line `# yaml-language-server: $schema=./harness.schema.json` in a spec
    gives completion and checks in editors.
    """
    from harness.catalogue import Catalogue
    from harness.manager import Manager
    from harness.schema import json_schema

    manager = Manager.discover()
    click.echo(json.dumps(json_schema(manager, Catalogue(manager.catalogues())), indent=1, ensure_ascii=False))
