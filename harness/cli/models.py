"""`harness models`."""

from __future__ import annotations

import click

from harness.cli.listing import show_list
from harness.cli.options import json_option


@click.command(name="models")
@json_option
def command(*, as_json: bool) -> None:
    """List the classifiers that a spec can name, and the architectures without a card."""
    from harness.catalogue import Catalogue
    from harness.manager import Manager

    manager = Manager.discover()
    catalogue = Catalogue(manager.catalogues())
    entries = []
    for name in catalogue.paths("models"):
        card = catalogue.model(name)
        entries.append(
            {
                "name": name,
                "parameters": f"{card.parameters:,}",
                "image_size": card.image_size,
                "description": card.description,
                "source": card.source,
            }
        )
    carded = {entry["name"] for entry in entries}
    entries.extend(
        {"name": plugin.name, "description": f"architecture of {plugin.distribution}", "source": plugin.target}
        for plugin in manager.names("classifier")
        if plugin.name not in carded
    )
    columns = ("name", "parameters", "image_size", "description")
    show_list(entries, columns=columns, key="models", as_json=as_json, title="Classifiers (--json has their sources)")
