"""`harness run` and `harness bench`."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys

import pytest
from running import environment, install_broken_plugins, records_of, run_spec, write_spec


@pytest.fixture
def results(finished, tmp_path):
    """A copy of the finished results."""
    shutil.copytree(finished / "results", tmp_path / "results")
    return tmp_path / "results"


def run(call, folder, *arguments, results=None):
    return call("run", folder / "tiny.yaml", "--results", results or folder / "results", "--workers", 1, *arguments)


def test_a_run_says_a_line_a_cell_on_stderr_and_the_table_on_stdout(call, tmp_path):
    write_spec(tmp_path, controls=["none"])
    called = run(call, tmp_path)
    assert called.code == 0
    first, *cells, last = called.err.splitlines()
    assert first == "tiny: 3 cells, 3 to do in 9 stages, 0 stages stored"
    assert [line.partition(":")[0] for line in cells] == [
        "[1/3] net · baseline · seed 1",
        "[2/3] net · vbi-iter1 + deep-coral · seed 1",
        "[3/3] net · ll + deep-coral · seed 1",
    ]
    assert last == f"{tmp_path / 'results' / 'tiny'}: leaderboard.md, .csv, .json, report.html, records/"
    assert "vbi-iter1" in called.out
    assert "[1/3]" not in called.out


def test_a_finished_experiment_prints_the_same_table_at_once(call, finished, results):
    first = run(call, finished, results=results)
    assert first.code == 0
    assert "to do" not in first.err
    assert first.out == run(call, finished, results=results).out


def test_json_is_one_object_with_every_row(call, finished, results):
    called = run(call, finished, "--json", results=results)
    shown = json.loads(called.out)
    assert (shown["version"], shown["experiment"]) == (1, "tiny")
    [table] = shown["tables"]
    assert len(table["rows"]) == 3


def test_a_failed_cell_exits_with_1_and_is_in_the_table(call, tmp_path, monkeypatch):
    install_broken_plugins(tmp_path / "site")
    monkeypatch.syspath_prepend(tmp_path / "site")
    write_spec(tmp_path, correctors=[{"attack": "raising"}, "ll"])
    called = run(call, tmp_path)
    assert called.code == 1
    assert "raising + deep-coral · seed 1: failed in correct: ZeroDivisionError: the step is zero" in called.err
    assert "1 cells failed; their reasons are in" in called.err
    assert "Traceback" not in called.err
    assert "raising" in called.out
    assert "Traceback" in run(call, tmp_path, "--debug").err


OBSERVER = """
from harness.api import hookimpl

@hookimpl
def harness_run_event(event):
    raise RuntimeError("the tracker is down")

@hookimpl
def harness_atacks():
    return {}
"""


def test_an_observer_that_fails_is_told_of_once_and_what_was_wrong_before_the_run_is_not(call, tmp_path, monkeypatch):
    (tmp_path / "failing_observer.py").write_text(OBSERVER)
    (tmp_path / "tracker-2.0.dist-info").mkdir()
    (tmp_path / "tracker-2.0.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: tracker\nVersion: 2.0\n")
    (tmp_path / "tracker-2.0.dist-info" / "entry_points.txt").write_text("[harness.v1]\nwatch = failing_observer\n")
    monkeypatch.syspath_prepend(tmp_path)
    write_spec(tmp_path, correctors=["ll"], controls=["none"])
    called = run(call, tmp_path)
    monkeypatch.delitem(sys.modules, "failing_observer")
    assert called.code == 0
    told = "tracker/watch harness_run_event raised RuntimeError: the tracker is down; it was not told again"
    assert [line for line in called.err.splitlines() if "tracker/watch" in line] == [told]


def test_what_a_library_prints_does_not_get_into_the_json(call, tmp_path, monkeypatch):
    install_broken_plugins(tmp_path / "site")
    monkeypatch.syspath_prepend(tmp_path / "site")
    write_spec(tmp_path, correctors=[{"attack": "talkative"}])
    called = run(call, tmp_path, "--json")
    assert json.loads(called.out)["version"] == 1
    assert "talking to myself" in called.err


def plan_of(call, folder, results):
    text = run(call, folder, "--dry-run", results=results)
    shown = run(call, folder, "--dry-run", "--json", results=results)
    assert text.code == shown.code == 0
    return text.out, json.loads(shown.out)


def test_a_dry_run_before_a_run_shows_all_to_do_and_does_nothing(call, finished, tmp_path):
    text, plan = plan_of(call, finished, tmp_path)
    assert plan["version"] == 1
    # 2 seeds x (baseline, two correctors); per seed: baseline, split, 2 correct, 2 adapt, 3 evaluate
    assert [cell["recorded"] for cell in plan["cells"]] == [False] * 6
    assert [stage["stored"] for stage in plan["stages"]] == [False] * 18
    assert "baseline, split, correct, adapt, 2 evaluate" in " ".join(text.split())
    assert not (tmp_path / "tiny").exists()


def test_a_dry_run_after_a_run_shows_nothing_to_do(call, finished, results):
    text, plan = plan_of(call, finished, results)
    assert [cell["recorded"] for cell in plan["cells"]] == [True] * 6
    assert plan["stages"] == []
    assert text.count("recorded") == 6


def test_a_dry_run_after_records_were_lost_shows_what_is_stored(call, finished, results):
    for record in (results / "tiny" / "records").glob("*ll*seed1*"):
        record.unlink()
    text, plan = plan_of(call, finished, results)
    assert [stage["stored"] for stage in plan["stages"]] == [True] * len(plan["stages"])
    assert sum(not cell["recorded"] for cell in plan["cells"]) == 1
    assert "stored" in text


def test_a_spec_that_is_wrong_is_said_with_its_place(call, tmp_path):
    write_spec(tmp_path, correctors=["vbii"])
    called = run(call, tmp_path)
    assert called.code == 2
    assert "tiny.yaml:" in called.err
    assert 'did you mean "vbi"?' in called.err


@pytest.fixture
def suite(tmp_path, monkeypatch):
    """A suite of two experiments, the first of which has no data."""
    from harness.catalogue import Catalogue, Suite

    good = write_spec(tmp_path, name="good", correctors=["ll"])
    bad = write_spec(tmp_path, name="bad", dataset="cifar10", models=["cifar-resnet20"])
    monkeypatch.setenv("HARNESS_DATA", str(tmp_path))
    members = Suite(description="two", source="here", experiments=(str(bad), str(good)))
    monkeypatch.setattr(Catalogue, "suite", lambda *_: members)
    run_spec(good, tmp_path / "results")
    return tmp_path / "results"


def test_a_suite_goes_on_after_an_experiment_without_its_data(call, suite):
    called = call("bench", "two", "--results", suite, "--workers", 1)
    assert called.code == 4
    assert "bad.yaml: " in called.err
    assert "ll" in called.out


def test_a_suite_is_one_json_object(call, suite):
    shown = json.loads(call("bench", "two", "--results", suite, "--workers", 1, "--json").out)
    assert (shown["version"], shown["suite"]) == (1, "two")
    assert [one["experiment"] for one in shown["experiments"]] == ["good"]
    assert [one["exit_code"] for one in shown["skipped"]] == [4]


def test_a_run_goes_on_when_nobody_reads_its_progress(tmp_path):
    spec = write_spec(tmp_path, correctors=["vbi-iter1", "ll"], controls=["none"])
    command = [sys.executable, "-c", "from harness.cli import main; main()", "run", str(spec), "--workers", "1"]
    with subprocess.Popen(
        command, cwd=tmp_path, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        process.stderr.close()
        shown = process.stdout.read().decode()
        assert process.wait(timeout=100) == 0
    assert len(records_of(tmp_path / "results")) == 3
    assert "Corr. rate" in shown
