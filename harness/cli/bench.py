"""`harness bench SUITE`."""

from __future__ import annotations

from typing import Any

import click

from harness.cli.options import json_option, launch_options, run_options


@click.command(name="bench")
@click.argument("suite")
@run_options
@json_option
def command(suite: str, *, as_json: bool, **options: Any) -> int:
    """Run the experiments of a suite one after the other; SUITE is a name from `harness experiments`."""
    from harness.catalogue import Catalogue
    from harness.cli.run import run_one, show_tables
    from harness.manager import Manager

    launched = launch_options(**options)
    experiments = Catalogue(Manager.discover().catalogues()).suite(suite).experiments
    failed = 0
    for experiment in experiments:
        prepared, state = run_one(experiment, launched)
        show_tables(prepared, as_json=as_json)
        failed += len(state.failures)
    return 1 if failed else 0
