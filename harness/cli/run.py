"""`harness run SPEC`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from harness.cli.options import json_option, launch_options, run_options

if TYPE_CHECKING:
    from harness.launch import Options, Prepared
    from harness.runner import RunState


@click.command(name="run")
@click.argument("spec")
@run_options
@click.option("--dry-run", is_flag=True, help="Print cells and stages, what is stored and what would run; run nothing.")
@json_option
def command(spec: str, *, dry_run: bool, as_json: bool, **options: Any) -> int:
    """Run an experiment and print its leaderboard.

    SPEC is a YAML file, or a name from `harness experiments`. A run that was stopped goes on where it was.
    """
    launched = launch_options(**options)
    if dry_run:
        return show_plan(spec, launched, as_json=as_json)
    prepared, state = run_one(spec, launched)
    show_tables(prepared, as_json=as_json)
    return 1 if state.failures else 0


def run_one(spec: str, options: Options) -> tuple[Prepared, RunState]:
    """Run one experiment with its display."""
    from harness.cli.watching import make_watcher
    from harness.launch import prepare, run

    prepared = prepare(spec, options)
    watcher = make_watcher(workers=prepared.workers)
    try:
        with _terminated_as_interrupted():
            state = run(prepared, watcher, checkpoint_seconds=options.checkpoint_seconds)
    finally:
        watcher.close()
    _say_where(prepared, state)
    return prepared, state


def show_tables(prepared: Prepared, *, as_json: bool) -> None:
    """Print the leaderboard on stdout."""
    from harness.launch import tables_of
    from harness.report.json_table import to_json
    from harness.report.terminal import make_console, render

    tables = tables_of(prepared.results)
    if as_json:
        click.echo(json.dumps({"experiment": prepared.plan.experiment, **to_json(tables)}, ensure_ascii=False))
    else:
        render(tables, make_console())


def show_plan(spec: str, options: Options, *, as_json: bool) -> int:
    """Print what a run would do."""
    from harness.cli.planning import plan_as_json, render_plan
    from harness.launch import prepare
    from harness.report.terminal import make_console
    from harness.runner import survey

    prepared = prepare(spec, options)
    state = survey(prepared.plan, prepared.store, prepared.results)
    if as_json:
        click.echo(json.dumps(plan_as_json(prepared, state), ensure_ascii=False))
    else:
        render_plan(prepared, state, make_console())
    return 0


def _say_where(prepared: Prepared, state: RunState) -> None:
    import os

    from harness.cli.watching import cell_label

    for failure in state.failures:
        click.echo(f"failed: {cell_label(failure.cell)}, in {failure.stage}: {failure.reason}", err=True)
    if os.environ.get("HARNESS_DEBUG") or click.get_current_context().find_root().params.get("debug"):
        for text in state.tracebacks:
            click.echo(text, err=True)
    click.echo(f"{prepared.results}: leaderboard.md, .csv, .json, report.html, records/", err=True)


def _terminated_as_interrupted() -> Any:
    """End on SIGTERM as on Ctrl-C: workers stopped, finished work kept."""
    import signal
    from contextlib import contextmanager

    @contextmanager
    def handled() -> Any:
        def stop(_number: int, _frame: Any) -> None:
            raise KeyboardInterrupt

        before = signal.signal(signal.SIGTERM, stop)
        try:
            yield
        finally:
            signal.signal(signal.SIGTERM, before)

    return handled()
