"""The command line: a lazy group, so that `harness --help` imports nothing but click."""

from __future__ import annotations

import os
import sys
import traceback
from importlib import import_module
from typing import TYPE_CHECKING, Any, cast

import click

from harness import __version__
from harness.errors import HarnessError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Sequence

COMMANDS = {
    "run": "Run an experiment: a spec's file, or a name from `harness experiments`.",
    "bench": "Run a suite of experiments from the registry.",
    "leaderboard": "Rebuild the tables of a results folder from its records.",
    "compare": "Compare two results folders, or two rows, seed by seed.",
    "ranks": "Rank rows over eight or more pairs of a data set and a model.",
    "curves": "Show accuracy against steps or seconds, and corrections against passes.",
    "report": "Write a results folder's report.html.",
    "plugins": "List the installed plugins, show one with its options, begin one, check one.",
    "datasets": "List the data sets that a spec can name.",
    "models": "List the classifiers that a spec can name.",
    "experiments": "List the registered experiments and suites.",
    "schema": "Print the JSON schema of a spec, for editors.",
    "doctor": "Say what is installed, broken, missing or slow.",
}
INTERRUPTED = 130


class SuggestingGroup(click.Group):
    """A group that names the nearest command for a misspelt one."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command. Fails with the nearest name."""
        known = self.list_commands(ctx)
        if args and args[0] not in known and not args[0].startswith("-"):
            ctx.fail(f'No such command "{args[0]}"{did_you_mean(args[0], known)}')
        return super().resolve_command(ctx, args)


class LazyGroup(SuggestingGroup):
    """A group whose commands are imported when they are called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the commands in the order of a user's work."""
        del ctx
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command."""
        del ctx
        if cmd_name not in COMMANDS:
            return None
        return cast("click.Command", import_module(f"harness.cli.{cmd_name}").command)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands without importing them."""
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="harness")
@click.option("--debug", is_flag=True, envvar="HARNESS_DEBUG", help="Show the traceback of an error.")
def cli(*, debug: bool) -> None:
    """Ask which attack and which adaptation make a trained classifier better, and whether the gain is real.

    Data goes to stdout, everything else to stderr. Exit codes: 0 ok; 1 a failed cell or check; 2 usage or spec; 3 plugin missing,
    broken or incompatible; 4 data or weights unavailable; 130 interrupted.
    """
    del debug  # read by main(), which handles the errors


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    sys.exit(_exit_code(given))


def _exit_code(arguments: list[str]) -> int:
    debug = "--debug" in arguments or bool(os.environ.get("HARNESS_DEBUG"))
    # --debug may stand anywhere: who adds it does so at the end of the command that failed.
    arguments = (["--debug"] if debug else []) + [argument for argument in arguments if argument != "--debug"]
    try:
        result: Any = cli.main(arguments, prog_name="harness", standalone_mode=False)
        # While it can still be handled: at the interpreter's end a reader that went away makes a traceback.
        sys.stdout.flush()
    except click.exceptions.Exit as stop:
        return stop.exit_code
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (KeyboardInterrupt, click.Abort):
        click.echo("interrupted", err=True)
        return INTERRUPTED
    except (BrokenPipeError, SystemExit):  # click and rich exit where the pipe is broken; nothing else does
        return _without_a_reader()
    except Exception as error:  # noqa: BLE001 (no traceback reaches a user who did not ask for it)
        return _explained(error, debug=debug)
    return result if isinstance(result, int) else 0


def _explained(error: Exception, *, debug: bool) -> int:
    if debug:
        traceback.print_exception(error)
    if isinstance(error, HarnessError):
        click.echo(f"harness: {error}", err=True)
        return error.exit_code
    text = " ".join(str(error).split())
    advice = "" if debug else "; run it again with --debug and report it"
    click.echo(f"harness: unexpected {type(error).__name__}: {text}{advice}", err=True)
    return 1


def _without_a_reader() -> int:
    """End in silence: who read our output went away (`harness … | head`), and nothing is wrong with what we did."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0
