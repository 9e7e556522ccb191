"""`harness datasets`."""

from __future__ import annotations

import click

from harness.cli.listing import show_list
from harness.cli.options import json_option


@click.command(name="datasets")
@json_option
def command(*, as_json: bool) -> None:
    """List the data sets that a spec can name, and the providers without a card."""
    from harness.catalogue import Catalogue
    from harness.manager import Manager

    manager = Manager.discover()
    catalogue = Catalogue(manager.catalogues())
    entries = []
    for name in catalogue.paths("datasets"):
        card = catalogue.dataset(name)
        size = f"{card.channels}x{card.image_size}x{card.image_size}"
        entries.append(
            {
                "name": name,
                "classes": card.classes,
                "images": size,
                "description": card.description,
                "source": card.source,
                "standard_eps": card.standard_eps,
            }
        )
    carded = {entry["name"] for entry in entries}
    entries.extend(
        {"name": plugin.name, "description": f"provider of {plugin.distribution}", "source": plugin.target}
        for plugin in manager.names("dataset")
        if plugin.name not in carded
    )
    columns = ("name", "classes", "images", "description")
    show_list(entries, columns=columns, key="datasets", as_json=as_json, title="Data sets (--json has their sources)")
