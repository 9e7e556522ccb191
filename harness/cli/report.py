"""`harness report DIR`."""

from __future__ import annotations

import json
from pathlib import Path

import click


@click.command(name="report")
@click.argument("results", type=click.Path(path_type=Path))
@click.option("--format", "kind", metavar="NAME", help="Write it in a plugin's report format, such as latex, instead.")
@click.option(
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    help="The file of that format.  [default: RESULTS/leaderboard and its suffix]",
)
@click.option(
    "--option",
    "options",
    multiple=True,
    metavar="KEY=VALUE",
    help="An option of that format; may be given more than once.",
)
def command(results: Path, *, kind: str | None, output: Path | None, options: tuple[str, ...]) -> None:
    """Write RESULTS/report.html (one page, no network needed) and the tables beside it; prints its path."""
    from harness.errors import PluginError, UsageError
    from harness.launch import write_reports
    from harness.results import experiment_name, results_folder

    if output is not None and not output.name:
        raise UsageError("--output: expected the name of a file")
    if kind is None:
        if output is not None or options:
            raise UsageError("--output and --option belong to a plugin's format; add --format NAME")
        click.echo(write_reports(results) / "report.html")
        return
    from harness.launch import tables_of
    from harness.manager import Manager
    from harness.plugin_options import parse_options
    from harness.report.json_table import to_json
    from harness.store import atomic_write

    manager = Manager.discover()
    plugin = manager.find("report-format", kind)
    loaded: type = manager.load_ready(plugin)
    parsed = parse_options(plugin, loaded, options)
    # Through JSON, so that a format gets what it would read from the file, and nothing of it is ours.
    leaderboard = json.loads(json.dumps({"experiment": experiment_name(results), **to_json(tables_of(results))}))
    try:
        writer = loaded(parsed)
        text = writer.render(leaderboard)
    except Exception as error:
        raise PluginError(f"{plugin} failed: {type(error).__name__}: {error}") from error
    if not isinstance(text, str):
        raise PluginError(
            f"{plugin} returned a {type(text).__name__}; expected the file's text: return it from render()"
        )
    path = output or results_folder(results) / f"leaderboard{writer.suffix}"
    atomic_write(path, text.encode())
    click.echo(path)
