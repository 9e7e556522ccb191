"""`harness experiments`."""

from __future__ import annotations

import click

from harness.cli.listing import show_list
from harness.cli.options import json_option


@click.command(name="experiments")
@json_option
def command(*, as_json: bool) -> None:
    """List the registered experiments (`harness run NAME`) and suites (`harness bench NAME`)."""
    from harness.catalogue import Catalogue
    from harness.manager import Manager
    from harness.spec import load_specs

    catalogue = Catalogue(Manager.discover().catalogues())
    entries = []
    for name, path in catalogue.paths("experiments").items():
        variants = [loaded.experiment for loaded in load_specs(path)]
        rows = sum(
            len(one.models) * len(one.correctors) * len(one.adapters) * len(one.quantization) for one in variants
        )
        experiment = variants[0]
        entries.append(
            {
                "name": name,
                "kind": "experiment",
                "size": f"{rows} rows, {len(experiment.seeds)} seeds",
                "description": experiment.description,
                "path": str(path),
            }
        )
    for name, path in catalogue.paths("suites").items():
        suite = catalogue.suite(name)
        entries.append(
            {
                "name": name,
                "kind": "suite",
                "size": ", ".join(suite.experiments),
                "description": suite.description,
                "path": str(path),
            }
        )
    columns = ("name", "kind", "size", "description")
    show_list(entries, columns=columns, key="experiments", as_json=as_json, title="Experiments and suites")
