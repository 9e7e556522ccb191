"""What the tests of the commands share: calling one, and a finished experiment to call it on."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import NamedTuple

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))  # the tests' own helpers


class Called(NamedTuple):
    code: int
    out: str
    err: str


@pytest.fixture
def call(capsys, monkeypatch):
    """Call the command line in this process: ``call("plugins", "list").out``."""
    from harness.cli import main

    monkeypatch.delenv("COLUMNS", raising=False)

    def calling(*arguments):
        capsys.readouterr()
        with pytest.raises(SystemExit) as end:
            main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return Called(end.value.code, captured.out, captured.err)

    return calling


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    """A folder with tiny.yaml and its results: two seeds, two correctors, the baseline; read it only."""
    from running import run_spec, write_spec

    folder = tmp_path_factory.mktemp("finished")
    spec = write_spec(folder, seeds=[1, 2], controls=["none"])
    run_spec(spec, folder / "results")
    return folder
