"""`harness run SPEC`."""

from __future__ import annotations

import json
import signal
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from harness.cli import INTERRUPTED
from harness.cli.options import json_option, launch_options, run_options

if TYPE_CHECKING:
    from collections.abc import Iterator

    from harness.launch import Options, Prepared
    from harness.run_state import RunState


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
    if as_json:
        click.echo(json.dumps(tables_as_json(prepared), ensure_ascii=False))
    else:
        show_tables(prepared)
    return state.exit_code


def run_one(spec: str, options: Options) -> tuple[Prepared, RunState]:
    """Run one experiment with its display."""
    from harness.cli.watching import make_watcher
    from harness.launch import prepare, run

    prepared = prepare(spec, options)
    known = len(prepared.manager.problems)
    watcher = make_watcher(workers=prepared.workers)
    try:
        with _terminated_as_interrupted():
            state = run(prepared, watcher, checkpoint_seconds=options.checkpoint_seconds)
    except KeyboardInterrupt:
        watcher.close()
        click.echo("\ninterrupted; what was finished is kept, the same command goes on from there", err=True)
        raise click.exceptions.Exit(INTERRUPTED) from None
    finally:
        watcher.close()
    _say_where(prepared, state)
    for problem in prepared.manager.problems[known:]:  # observers' own faults, which stopped nothing but them
        click.echo(f"{problem.distribution}/{problem.package} {problem.message}; it was not told again", err=True)
    return prepared, state


def show_tables(prepared: Prepared) -> None:
    """Print the leaderboard on stdout."""
    from harness.launch import tables_of
    from harness.report.terminal import make_console, render

    render(tables_of(prepared.results), make_console())


def tables_as_json(prepared: Prepared) -> dict[str, Any]:
    """Return the leaderboard as a versioned object."""
    from harness.launch import tables_of
    from harness.report.json_table import to_json

    return {"experiment": prepared.plan.experiment, **to_json(tables_of(prepared.results))}


def show_plan(spec: str, options: Options, *, as_json: bool) -> int:
    """Print what a run would do."""
    from harness.cli.planning import plan_as_json, render_plan
    from harness.launch import check_models, prepare
    from harness.report.terminal import make_console
    from harness.run_state import survey

    prepared = prepare(spec, options)
    state = survey(prepared.plan, prepared.store, prepared.results)
    check_models(state, prepared.manager)
    if as_json:
        click.echo(json.dumps(plan_as_json(prepared, state), ensure_ascii=False))
    else:
        render_plan(prepared, state, make_console())
    return 0


def _say_where(prepared: Prepared, state: RunState) -> None:
    import os

    if state.failures:
        click.echo(f"{len(state.failures)} cells failed; their reasons are in {prepared.results}/failures/", err=True)
    for record in state.failed_pictures:
        click.echo(f"{record.name.title}: no figure: {record.failure}", err=True)
    drawn = [picture.stem for picture in state.plan.pictures]
    drawn = [stem for stem in drawn if stem not in {record.name.stem for record in state.failed_pictures}]
    if drawn:
        click.echo(f"{prepared.results}/figures/: {', '.join(drawn)} (.png, .svg, .csv, .json)", err=True)
    if os.environ.get("HARNESS_DEBUG") or click.get_current_context().find_root().params.get("debug"):
        for text in state.tracebacks:
            click.echo(text, err=True)
    click.echo(f"{prepared.results}: leaderboard.md, .csv, .json, report.html, records/", err=True)


@contextmanager
def _terminated_as_interrupted() -> Iterator[None]:
    """End on SIGTERM as on Ctrl-C: workers stopped, finished work kept."""

    def stop(_number: int, _frame: object) -> None:
        raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():  # Python lets no other thread handle signals
        yield
        return
    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
