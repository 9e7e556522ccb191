"""The command line as a whole: help, errors, exit codes, streams."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from running import environment, harness, install_broken_plugins, write_spec

from harness import __version__
from harness.cli import COMMANDS

HEAVY = ("torch", "numpy", "pydantic", "rich", "pluggy", "ruamel", "scipy")


def imported_by(*arguments):
    """Return which heavy packages a command imports, and what it printed."""
    code = (
        "import sys\n"
        "from harness.cli import main\n"
        "try:\n    main(sys.argv[1:])\n"
        f"finally:\n    print([name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr)\n"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code, *arguments], env=environment(), capture_output=True, text=True, check=True
    )
    return ran.stderr.splitlines()[-1], ran.stdout


def test_help_imports_nothing_but_click():
    imported, shown = imported_by("--help")
    assert imported == "[]"
    assert all(name in shown for name in COMMANDS)


@pytest.mark.parametrize("arguments", [("plugins", "list"), ("schema",), ("datasets",), ("models",), ("experiments",)])
def test_what_lists_needs_no_torch(arguments):
    imported, shown = imported_by(*arguments)
    assert "torch" not in imported
    assert "scipy" not in imported
    assert shown


@pytest.mark.parametrize("command", [*COMMANDS, "plugins list", "plugins show"])
def test_every_command_has_help(call, command):
    called = call(*command.split(), "--help")
    assert called.code == 0
    assert called.out.startswith("Usage: harness")
    assert called.err == ""


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_the_group_says_what_a_commands_own_help_says(call, command):
    """The group's list is written apart from the commands, which are not imported for it."""
    listed = COMMANDS[command].replace("`", "")
    own = " ".join(call(command, "--help").out.replace("`", "").split())
    assert set(listed.lower().split()[:2]) & set(own.lower().split())


def test_version(call):
    assert call("--version").out == f"harness, version {__version__}\n"


def test_no_command_shows_the_help(call):
    called = call()
    assert "Usage: harness" in called.out + called.err


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["leaderbord", "x"], 2, 'No such command "leaderbord"; did you mean "leaderboard"?'),
        (["plugins", "lst"], 2, 'No such command "lst"; did you mean "list"?'),
        (["run", "digits-demo", "--worker", "2"], 2, "--workers"),
        (["run", "digits-demo", "--workers", "0"], 2, "0 is not in the range x>=1"),
        (["run", "digits-demo", "--device", "tpu"], 2, "'tpu' is not one of 'auto', 'cpu', 'cuda'"),
        (["run"], 2, "Missing argument 'SPEC'"),
        (["run", "no/such.yaml"], 2, "no/such.yaml: "),
        (["bench", "demos"], 2, 'did you mean "demo"?'),
        (["leaderboard", "no-such-folder"], 2, "no-such-folder: is no folder"),
        (["report", "no-such-folder"], 2, "no-such-folder: is no folder"),
        (["compare", "no-such-folder", "another"], 2, "no-such-folder: is no folder"),
        (["plugins", "show", "bimm"], 3, 'unknown plugin "bimm"; did you mean "bim"?'),
    ],
)
def test_mistakes_are_said_on_stderr(call, arguments, code, said):
    called = call(*arguments)
    assert called.code == code
    assert called.out == ""
    assert said in called.err
    assert "Traceback" not in called.err


def test_data_that_are_not_there_exit_with_4(tmp_path, call, monkeypatch):
    monkeypatch.setenv("HARNESS_DATA", str(tmp_path))
    spec = write_spec(tmp_path, dataset="cifar10", models=["cifar-resnet20"])
    called = call("run", spec, "--results", tmp_path / "results")
    assert called.code == 4
    assert called.out == ""
    assert called.err.startswith("harness: ")


def test_a_broken_plugin_exits_with_3(tmp_path, call, monkeypatch):
    install_broken_plugins(tmp_path / "site")
    monkeypatch.syspath_prepend(tmp_path / "site")
    spec = write_spec(tmp_path, correctors=[{"attack": "missing"}])
    called = call("run", spec, "--results", tmp_path / "results")
    assert called.code == 3
    assert '"broken_plugins" has no "Missing"' in called.err


def test_an_interruption_exits_with_130(call, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("harness.catalogue.Catalogue.paths", interrupted)
    called = call("models")
    assert called.code == 130
    assert called.err.split() == ["interrupted"]


@pytest.mark.parametrize("where", ["first", "last", "environment"])
def test_debug_shows_the_traceback_and_keeps_the_exit_code(call, monkeypatch, where):
    arguments = ["leaderboard", "no-such-folder"]
    if where == "environment":
        monkeypatch.setenv("HARNESS_DEBUG", "1")
    else:
        arguments = ["--debug", *arguments] if where == "first" else [*arguments, "--debug"]
    called = call(*arguments)
    assert called.code == 2
    assert "Traceback (most recent call last)" in called.err
    assert "no-such-folder: is no folder" in called.err.splitlines()[-1]


def test_what_nobody_expected_is_said_in_a_line(call, monkeypatch):
    def surprised(*_):
        raise RuntimeError("a bug,\nin two lines")

    monkeypatch.setattr("harness.launch.tables_of", surprised)
    called = call("leaderboard", "x")
    assert called.code == 1
    assert called.err == (
        "harness: unexpected RuntimeError: a bug, in two lines; run it again with --debug and report it\n"
    )


@pytest.mark.skipif(os.name == "nt", reason="uses a POSIX shell")
@pytest.mark.parametrize("command", ["plugins list", "schema", "plugins list --json", "--help"])
def test_a_reader_that_goes_away_is_no_error(command):
    script = f"{sys.executable} -c 'from harness.cli import main; main()' {command} | true; echo ${{PIPESTATUS[0]}}"
    ran = subprocess.run(["bash", "-c", script], env=environment(), capture_output=True, text=True, check=True)
    assert ran.stderr == ""
    assert ran.stdout == "0\n"


@pytest.mark.parametrize("arguments", [["plugins", "list"], ["experiments"]])
def test_colours_and_widths_are_the_environments(arguments, tmp_path):
    shown = harness(*arguments, cwd=tmp_path, check=0, COLUMNS="60", NO_COLOR="1").stdout
    assert "\x1b" not in shown
    assert max(map(len, shown.splitlines())) <= 60


@pytest.mark.parametrize(
    "command", ["plugins list", "plugins show paper/bim", "datasets", "models", "experiments", "doctor"]
)
def test_json_is_one_versioned_object(call, command, monkeypatch):
    monkeypatch.setattr("harness.diagnosis._gradient_seconds", lambda: 0.1)
    called = call(*command.split(), "--json")
    assert called.code == 0
    assert json.loads(called.out)["version"] == 1
    assert called.err == ""
