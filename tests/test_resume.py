"""A run that is killed at any point goes on where it was, and its records are those of an undisturbed run."""

from __future__ import annotations

import multiprocessing
import shutil
import signal

import pytest
from killed_run import run_until_killed
from running import TINY_STAGES, records_of, run_spec, write_spec

from harness.launch import Options, prepare

BASELINE_STEPS = 3 * 18  # 3 epochs of ceil(1150 / 64) batches


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """The tiny experiment, run without any trouble."""
    folder = tmp_path_factory.mktemp("undisturbed")
    witness, _ = run_spec(write_spec(folder), folder / "results")
    assert witness.kinds == TINY_STAGES
    return folder / "results"


@pytest.fixture
def spec(tmp_path):
    return write_spec(tmp_path)


@pytest.fixture
def finished(undisturbed, tmp_path):
    """A copy of the finished experiment, to be damaged."""
    shutil.copytree(undisturbed, tmp_path / "results")
    return tmp_path / "results"


def killed(spec, results, point):
    """Run the spec in a process that is killed at ``point``."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["harness.executors.working"])
    process = context.Process(target=run_until_killed, args=(spec, results, point))
    process.start()
    process.join(60)
    assert process.exitcode == -signal.SIGKILL


def resumed(spec, results, undisturbed):
    """Run again; returns what was done, after checking that nothing tells the records from an undisturbed run's."""
    witness, state = run_spec(spec, results)
    assert state.failures == []
    assert records_of(results) == records_of(undisturbed)
    assert not list((results / ".store" / "partial").glob("*"))
    return witness


def test_killed_inside_a_baseline_goes_on_from_its_checkpoint(spec, tmp_path, undisturbed):
    results = tmp_path / "results"
    killed(spec, results, "baseline")
    assert len(list((results / ".store" / "partial").glob("*/training.checkpoint"))) == 1
    witness = resumed(spec, results, undisturbed)
    assert witness.kinds == TINY_STAGES
    # The first of three epochs was saved when the second's end was told.
    steps = [done for kind, done, _ in witness.progress if kind == "baseline"]
    assert steps == [2 * BASELINE_STEPS // 3, BASELINE_STEPS]


def test_killed_between_stages_does_nothing_twice(spec, tmp_path, undisturbed):
    results = tmp_path / "results"
    killed(spec, results, "between stages")
    witness = resumed(spec, results, undisturbed)
    assert witness.kinds == {"correct": 2, "adapt": 2, "evaluate": witness.kinds["evaluate"]}


def test_killed_inside_an_adaptation_goes_on_from_its_checkpoint(spec, tmp_path, undisturbed):
    results = tmp_path / "results"
    killed(spec, results, "adapt")
    witness = resumed(spec, results, undisturbed)
    steps = [done for kind, done, _ in witness.progress if kind == "adapt"]
    assert sorted(steps) == [10, 20, 20, 30, 30, 40, 40]
    assert witness.kinds["baseline"] == witness.kinds["split"] == 0


def test_killed_inside_a_correction_goes_on_with_the_next_batch(spec, tmp_path, undisturbed):
    results = tmp_path / "results"
    killed(spec, results, "correct")
    assert list((results / ".store" / "partial").glob("*/attack.checkpoint"))
    witness = resumed(spec, results, undisturbed)
    batches = [done for kind, done, _ in witness.progress if kind == "correct"]
    total = max(batches)
    assert total > 2
    assert sorted(batches) == sorted([*range(2, total + 1), *range(1, total + 1)])


def test_killed_while_a_checkpoint_is_written_starts_from_the_one_before(spec, tmp_path, undisturbed):
    results = tmp_path / "results"
    killed(spec, results, "writing a checkpoint")
    assert list((results / ".store" / "partial").rglob(".*.tmp"))
    assert resumed(spec, results, undisturbed).kinds == TINY_STAGES


def test_killed_while_an_artifact_is_stored_makes_it_again(spec, tmp_path, undisturbed):
    results = tmp_path / "results"
    killed(spec, results, "storing an artifact")
    assert list((results / ".store" / "adapt").glob("*/.*"))
    assert resumed(spec, results, undisturbed).kinds["adapt"] == 2


def test_killed_while_a_record_is_written_computes_nothing_again_for_it(spec, tmp_path, undisturbed):
    results = tmp_path / "results"
    killed(spec, results, "writing a record")
    assert list((results / "tiny" / "records").glob(".*.tmp"))
    assert not list((results / "tiny" / "records").glob("*.json"))
    witness = resumed(spec, results, undisturbed)
    assert witness.kinds["baseline"] == witness.kinds["split"] == 0
    assert witness.kinds["adapt"] < 2
    assert not list((results / "tiny" / "records").glob(".*.tmp"))


def test_checkpoints_of_a_stage_that_was_stored_are_removed(spec, finished, undisturbed):
    """As if the process had been killed after storing the artifact and before removing its checkpoints."""
    record = next((finished / "tiny" / "records").glob("*.json"))
    record.unlink()
    key = next((finished / ".store" / "adapt").glob("*/*")).name
    leftover = finished / ".store" / "partial" / key / "training.checkpoint"
    leftover.parent.mkdir(parents=True)
    leftover.write_bytes(b"no longer needed")
    stages = [stage.kind for stage in resumed(spec, finished, undisturbed).stages]
    assert stages == []


def test_a_finished_run_does_nothing(spec, finished, undisturbed):
    witness = resumed(spec, finished, undisturbed)
    assert witness.stages == []


@pytest.mark.parametrize("content", [b"", b'{"schema_version": 1, "exp', b"\xff\xfe"], ids=["empty", "cut", "garbage"])
def test_a_truncated_record_is_written_anew(spec, finished, undisturbed, content):
    record = next((finished / "tiny" / "records").glob("*.json"))
    record.write_bytes(content)
    assert resumed(spec, finished, undisturbed).stages == []


@pytest.mark.parametrize("kind", ["baseline", "correct", "adapt"])
def test_a_truncated_artifact_is_made_again_in_the_same_run(spec, finished, undisturbed, kind):
    for record in (finished / "tiny" / "records").glob("*.json"):
        record.unlink()
    shutil.rmtree(finished / ".store" / "evaluate")
    for tensors in (finished / ".store" / kind).rglob("tensors.safetensors"):
        tensors.write_bytes(tensors.read_bytes()[:-7])
    if kind == "correct":  # what reads the corrections must be made again too, or nobody would notice
        shutil.rmtree(finished / ".store" / "adapt")
    witness = resumed(spec, finished, undisturbed)
    assert witness.kinds[kind] == TINY_STAGES[kind]


def test_a_damaged_evaluation_is_made_again_in_the_same_run(spec, finished, undisturbed):
    for record in (finished / "tiny" / "records").glob("*.json"):
        record.unlink()
    for meta in (finished / ".store" / "evaluate").rglob("meta.json"):
        meta.write_bytes(meta.read_bytes()[:-9])
    assert resumed(spec, finished, undisturbed).kinds == {"evaluate": 3}


def test_the_experiments_stages_are_those_counted_by_hand(spec, tmp_path):
    plan = prepare(str(spec), Options(results=tmp_path / "r", device="cpu")).plan
    assert len(plan.stages()) == sum(TINY_STAGES.values())
