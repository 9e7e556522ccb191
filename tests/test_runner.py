"""The runner: what fails fails alone, with its reason, and is done again alone."""

from __future__ import annotations

import os

import pytest
from running import install_broken_plugins, records_of, run_spec, write_spec

from harness.errors import StoreError
from harness.executors import StageFailure
from harness.records import read_failures
from harness.run_state import RunState
from harness.runner import results_locked
from harness.stages.jobs import EvaluateJob, SplitJob, Subject
from harness.stages.stage import Stage


@pytest.fixture(autouse=True)
def broken_plugins(tmp_path, monkeypatch):
    """The distribution "broken" is installed."""
    install_broken_plugins(tmp_path / "site")
    monkeypatch.syspath_prepend(tmp_path / "site")


@pytest.mark.parametrize(
    ("attack", "reason", "code"),
    [
        ("raising", "ZeroDivisionError: the step is zero (raised in broken_plugins:", 1),
        ("exiting", "SystemExit: 3 (raised in broken_plugins:", 1),
        ("escaping", 'attack "escaping" returned pixels in [2, 3]; expected them in [0, 1]', 3),
    ],
)
def test_a_broken_attack_fails_its_cell_alone(tmp_path, attack, reason, code):
    spec = write_spec(tmp_path, correctors=[{"attack": attack}, "ll"])
    witness, state = run_spec(spec, tmp_path / "results")
    [failure] = read_failures(tmp_path / "results" / "tiny" / "failures")
    assert state.failures == witness.failures == [failure]
    assert failure.cell.corrector == attack
    assert failure.stage == "correct"
    assert failure.reason.startswith(reason)
    assert failure.exit_code == code
    assert [name.split("--")[1] for name in records_of(tmp_path / "results")] == ["ll"]


def test_a_diverging_adaptation_says_by_which_step(tmp_path):
    diverging = {"steps": 40, "batch_size": 16, "lr": 1e6, "validations": 4}
    _, state = run_spec(write_spec(tmp_path, adaptation=diverging, controls=["none"]), tmp_path / "results")
    assert {failure.stage for failure in state.failures} == {"adapt"}
    assert len(state.failures) == 2
    assert all("the loss is not finite by step" in failure.reason for failure in state.failures)
    assert [name.split("--")[1] for name in records_of(tmp_path / "results")] == ["none"]


def test_what_reads_a_failed_stage_fails_with_the_first_reason(tmp_path):
    spec = write_spec(tmp_path, correctors=[{"attack": "raising"}], controls=["sham", "none"])
    _, state = run_spec(spec, tmp_path / "results")
    assert {failure.cell.control for failure in state.failures} == {None, "sham"}
    assert {failure.stage for failure in state.failures} == {"correct"}
    assert len(records_of(tmp_path / "results")) == 1


def test_after_mending_only_the_failed_cell_is_done_and_its_failure_removed(tmp_path):
    marker = tmp_path / "marker"
    adapters = ["deep-coral", {"adapter": "mended", "marker": str(marker)}]
    spec = write_spec(tmp_path, correctors=["ll"], adapters=adapters)
    _, state = run_spec(spec, tmp_path / "results")
    assert len(state.failures) == 1
    assert len(state.tracebacks) == 1
    marker.touch()
    witness, state = run_spec(spec, tmp_path / "results")
    assert state.failures == []
    assert [stage.kind for stage in witness.stages] == ["adapt", "evaluate"]
    assert read_failures(tmp_path / "results" / "tiny" / "failures") == []
    assert len(records_of(tmp_path / "results")) == 2


def test_what_an_attack_prints_does_not_reach_stdout(tmp_path, capsys):
    run_spec(write_spec(tmp_path, correctors=[{"attack": "talkative"}]), tmp_path / "results")
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "talking to myself" in captured.err


def test_observers_hear_a_run(tmp_path, monkeypatch):
    import broken_plugins

    from harness.hookspecs import hookimpl

    heard = []

    @hookimpl
    def harness_run_event(event):
        heard.append((event["kind"], event.get("stage")))

    monkeypatch.setattr(broken_plugins, "harness_run_event", harness_run_event, raising=False)
    run_spec(write_spec(tmp_path, correctors=["ll", {"attack": "raising"}]), tmp_path / "results")
    assert heard[0] == ("run-started", None)
    assert heard[-1] == ("run-finished", None)
    stages = [stage for kind, stage in heard if kind == "stage-finished"]
    assert sorted(stages) == ["adapt", "baseline", "correct", "evaluate", "evaluate", "split"]
    assert [kind for kind, _ in heard].count("cell-finished") == 1
    assert [kind for kind, _ in heard].count("cell-failed") == 1


def test_an_observer_that_raises_does_not_end_the_run(tmp_path, monkeypatch):
    import broken_plugins

    from harness.hookspecs import hookimpl

    @hookimpl
    def harness_run_event(event):
        raise RuntimeError("the tracker is down")

    monkeypatch.setattr(broken_plugins, "harness_run_event", harness_run_event, raising=False)
    _, state = run_spec(write_spec(tmp_path, correctors=["ll"]), tmp_path / "results")
    assert state.failures == []
    assert len(records_of(tmp_path / "results")) == 1


def test_a_second_run_is_kept_out_and_told_by_whom(tmp_path):
    with (
        results_locked(tmp_path),
        pytest.raises(StoreError, match=rf"another run is writing there \(process {os.getpid()}\)"),
        results_locked(tmp_path),
    ):
        pass
    with results_locked(tmp_path):
        pass


# -- how long the rest may take ------------------------------------------------------------------------------------------


class Model:
    name = "net"


def split_stage(key, seed):
    return Stage(key, SplitJob(Subject("d", Model(), None, 1, seed)), ())


def other_kind(key):
    return Stage(key, EvaluateJob(Subject("d", Model(), None, 1, 1), "target", "corrected"), ())


@pytest.fixture
def clock(monkeypatch):
    """A clock that is set by hand."""
    now = [100.0]
    monkeypatch.setattr("harness.run_state.time.monotonic", lambda: now[0])
    return now


def state_of(stages):
    return RunState(plan=None, stages=stages, done=set(), cached=0, pending_cells={}, finished_cells=0)


@pytest.fixture
def state():
    return state_of({key: split_stage(key, seed) for seed, key in enumerate("abcd")})


def test_nothing_is_estimated_of_stages_that_nothing_is_known_of(state):
    assert state.seconds_left(1) is None


@pytest.mark.parametrize(("others", "seconds"), [("efg", None), ("ef", 3 * 8 + 2 * 8)])
def test_nothing_is_estimated_while_most_stages_are_unknown(state, clock, others, seconds):
    state = state_of(state.stages | {key: other_kind(key) for key in others})
    state.started(state.stages["a"])
    clock[0] += 8
    state.finished(state.stages["a"])
    assert state.seconds_left(1) == seconds  # three splits against so many of another kind


def test_stages_alike_are_expected_to_take_as_long(state, clock):
    state.started(state.stages["a"])
    clock[0] += 8
    assert state.finished(state.stages["a"]) == 8
    assert state.seconds_left(1) == 3 * 8
    assert state.seconds_left(2) == 3 * 8 / 2


def test_a_stage_under_way_is_judged_by_its_own_pace(state, clock):
    for key in "abc":
        state.started(state.stages[key])
    clock[0] += 8
    for key in "ab":
        state.finished(state.stages[key])
    state.shares["c"] = 0.25  # 8 seconds for a quarter: 24 are left, and 8 for the one that was not begun
    assert state.seconds_left(1) == 24 + 8


def test_a_stage_under_way_counts_less_the_longer_it_runs(state, clock):
    state.started(state.stages["a"])
    clock[0] += 8
    state.finished(state.stages["a"])
    for key in "bcd":
        state.started(state.stages[key])
    clock[0] += 3
    assert state.seconds_left(1) == 3 * 5
    clock[0] += 60
    assert state.seconds_left(1) == 0


def chain_state():
    """Two chains, a to c and x to y, of stages that each read the one before."""
    stages = {}
    for names in ("abc", "xy"):
        before = ()
        for name in names:
            stages[name] = Stage(name, SplitJob(Subject("d", Model(), None, 1, 1)), before)
            before = (("read", stages[name]),)
    return state_of(stages)


def test_stages_are_ready_once_all_that_they_read_is_done():
    state = chain_state()
    assert [stage.key for stage in state.ready()] == ["a", "x"]
    state.finished(state.stages["a"])
    assert [stage.key for stage in state.ready()] == ["b", "x"]


def test_a_failure_takes_all_that_would_read_it_along_and_nothing_else():
    state = chain_state()
    failure = StageFailure("broke", 1, "")
    assert [stage.key for stage in state.fail(state.stages["a"], failure)] == ["a", "b", "c"]
    assert state.failed == dict.fromkeys("abc", failure)
    assert [stage.key for stage in state.remaining()] == ["x", "y"]


def test_what_is_put_back_is_to_be_made_again_and_counts_in_the_estimate(clock):
    state = chain_state()
    for key in "abcx":
        state.started(state.stages[key])
        clock[0] += 8
        state.finished(state.stages[key])
    assert state.seconds_left(1) == 8
    state.put_back([state.stages[key] for key in "aabc"])
    assert state.seconds_left(1) == 4 * 8
    assert [stage.key for stage in state.ready()] == ["y", "a"]
    state.finished(state.stages["a"])
    assert state.done == {"a", "x"}
