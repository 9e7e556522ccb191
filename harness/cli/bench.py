"""`harness bench SUITE`."""

from __future__ import annotations

import json
from typing import Any

import click

from harness.cli.options import json_option, launch_options, run_options


@click.command(name="bench")
@click.argument("suite")
@run_options
@json_option
def command(suite: str, *, as_json: bool, **options: Any) -> int:
    """Run the experiments of a suite one after the other; SUITE is a name from `harness experiments`.

    One that cannot be run, for want of its data for instance, is said and skipped; the exit code is the first one's that failed.
    """
    from harness.catalogue import Catalogue
    from harness.cli.run import run_one, show_tables, tables_as_json
    from harness.errors import HarnessError
    from harness.manager import Manager

    launched = launch_options(**options)
    codes, tables, skipped = [], [], []
    for experiment in Catalogue(Manager.discover().catalogues()).suite(suite).experiments:
        try:
            prepared, state = run_one(experiment, launched)
        except HarnessError as error:
            click.echo(f"harness: {experiment}: {error}", err=True)
            codes.append(error.exit_code)
            skipped.append({"experiment": experiment, "reason": str(error), "exit_code": error.exit_code})
            continue
        codes.append(state.exit_code)
        if as_json:
            tables.append(tables_as_json(prepared))
        else:
            show_tables(prepared)
    if as_json:
        result = {"version": 1, "suite": suite, "experiments": tables, "skipped": skipped}
        click.echo(json.dumps(result, ensure_ascii=False))
    return next((code for code in codes if code), 0)
