"""Options that several commands share."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from collections.abc import Callable

    from harness.launch import Options

Command = TypeVar("Command", bound="Callable[..., Any]")

json_option = click.option("--json", "as_json", is_flag=True, help="Print a versioned JSON object on stdout.")

_RUN_OPTIONS = (
    click.option(
        "--results",
        type=click.Path(file_okay=False, path_type=Path),
        default=Path("results"),
        show_default=True,
        help="Folder that gets one folder an experiment.",
    ),
    click.option(
        "--store",
        type=click.Path(file_okay=False, path_type=Path),
        envvar="HARNESS_STORE",
        help="Folder of finished stages, shared by experiments.  [default: RESULTS/.store]",
    ),
    click.option(
        "--data",
        type=click.Path(exists=True, file_okay=False, path_type=Path),
        help="Folder of local data sets; sets HARNESS_DATA.",
    ),
    click.option(
        "--device",
        type=click.Choice(["auto", "cpu", "cuda"]),
        default="auto",
        show_default=True,
        help="What to compute on.",
    ),
    click.option(
        "--workers", type=click.IntRange(min=1), help="Worker processes.  [default: one a core, one on a GPU]"
    ),
    click.option(
        "--threads",
        type=click.IntRange(min=1),
        default=1,
        show_default=True,
        help="Threads of a worker; part of a result's identity, since sums depend on them.",
    ),
)


def run_options(command: Command) -> Command:
    """Add the options of commands that run experiments."""
    for option in reversed(_RUN_OPTIONS):
        command = option(command)
    return command


def launch_options(
    *, results: Path, store: Path | None, data: Path | None, device: str, workers: int | None, threads: int
) -> Options:
    """Gather the options of a run."""
    from harness.launch import Options

    if data is not None:
        os.environ["HARNESS_DATA"] = str(data.resolve())
    return Options(results=results, store=store, device=device, workers=workers, threads=threads)
