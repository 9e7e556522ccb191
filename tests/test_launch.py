"""What `run` does around the runner: superseded records, reports, devices, and as little as possible the second time."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
import torch
from record_factory import make_failure, make_record
from running import TINY, environment, records_of, run_spec, write_spec

from harness import launch
from harness.cells import Setting
from harness.errors import DataError, SpecError, UsageError
from harness.launch import Options, available_cores, default_workers, pick_device, prepare, tables_of, write_reports
from harness.records import write_record


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("finished")
    run_spec(write_spec(folder), folder / "results")
    return folder


def test_a_run_leaves_its_spec_its_records_and_its_tables(finished):
    names = {path.name for path in (finished / "results" / "tiny").iterdir()}
    assert names == {
        ".lock",
        "records",
        "spec.yaml",
        *(f"leaderboard.{kind}" for kind in ("md", "csv", "json")),
        "report.html",
    }
    assert (finished / "results" / "tiny" / "spec.yaml").read_bytes() == (finished / "tiny.yaml").read_bytes()


def test_a_second_run_runs_no_stage_and_imports_no_torch(finished):
    code = (
        "import sys\n"
        "from harness.cli import main\n"
        "try:\n    main(sys.argv[1:])\n"
        "except SystemExit as end:\n"
        "    print([end.code, *(name for name in ('torch', 'sklearn', 'torchvision') if name in sys.modules)])\n"
    )
    arguments = ["run", str(finished / "tiny.yaml"), "--results", str(finished / "results"), "--device", "cpu"]
    ran = subprocess.run(
        [sys.executable, "-c", code, *arguments, "--json"],
        env=environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    shown, end = ran.stdout.splitlines()
    assert end == "[0]"
    assert json.loads(shown)["experiment"] == "tiny"
    assert "to do" not in ran.stderr


def test_records_of_the_same_rows_made_by_another_spec_are_set_aside(tmp_path):
    results = tmp_path / "results"
    run_spec(write_spec(tmp_path, correctors=["ll"]), results)
    before = set(records_of(results))
    changed = {**TINY["adaptation"], "lr": 0.02}
    witness, _ = run_spec(write_spec(tmp_path, correctors=["ll"], adaptation=changed), results)
    assert set(records_of(results)).isdisjoint(before)
    assert len(records_of(results)) == 1
    assert {path.name for path in (results / "tiny" / "superseded" / "records").iterdir()} == before
    assert [stage.kind for stage in witness.stages] == ["adapt", "evaluate"]
    assert all(len(table.rows) == 1 for table in tables_of(results / "tiny"))


def test_rows_and_seeds_that_the_spec_no_longer_names_are_set_aside(tmp_path):
    results = tmp_path / "results"
    run_spec(write_spec(tmp_path, correctors=["ll"], seeds=[1, 2]), results)
    run_spec(write_spec(tmp_path, correctors=["vbi"], seeds=[1, 3]), results)
    [table] = tables_of(results / "tiny")
    assert all(row.seeds == (1, 3) for row in table.rows)
    assert "ll" not in {row.key.corrector for row in table.rows}
    assert len(list((results / "tiny" / "superseded" / "records").iterdir())) == 2


def test_a_seed_less_and_another_option_leave_a_table(tmp_path):
    results = tmp_path / "results"
    run_spec(write_spec(tmp_path, correctors=["vbi"], seeds=[1, 2]), results)
    run_spec(write_spec(tmp_path, correctors=[{"preset": "vbi", "steps": 2, "name": "vbi"}], seeds=[1]), results)
    [table] = tables_of(results / "tiny")
    assert [row.seeds for row in table.rows] == [(1,)]


def test_weights_that_do_not_fit_are_told_before_anything_runs(tmp_path):
    weights = tmp_path / "other.pt"
    torch.save({"conv.weight": torch.zeros(1)}, weights)
    spec = write_spec(tmp_path, models=[{"architecture": "small-cnn", "weights": "other.pt"}])
    with pytest.raises(DataError, match=r"other\.pt"):
        run_spec(spec, tmp_path / "results")
    assert not (tmp_path / "results" / "tiny" / "records").exists()


def test_experiments_share_a_store(finished, tmp_path):
    spec = write_spec(tmp_path, name="another")
    witness, state = run_spec(spec, tmp_path / "results", store=finished / "results" / ".store")
    assert witness.stages == []
    assert state.finished_cells == 2


@pytest.mark.parametrize("exists", [True, False])
def test_a_folder_without_records_is_said(tmp_path, exists):
    folder = tmp_path / "results"
    if exists:
        folder.mkdir()
    what = "holds no records" if exists else "is no folder"
    with pytest.raises(UsageError, match=f'{folder}: {what}; expected a results folder .* made by "harness run"'):
        tables_of(folder)


def test_reports_are_written_of_failures_alone(tmp_path):
    write_record(tmp_path / "failures", make_failure())
    write_reports(tmp_path)
    assert "out of memory" in (tmp_path / "leaderboard.md").read_text()


def test_the_records_folder_itself_will_do(tmp_path):
    write_record(tmp_path / "records", make_record(test=0.5, control="none", adapter="none"))
    assert len(tables_of(tmp_path / "records")) == len(tables_of(tmp_path)) == 1


def test_files_that_a_killed_run_left_half_written_are_removed(tmp_path):
    spec = write_spec(tmp_path, correctors=["ll"])
    stray = tmp_path / "results" / "tiny" / "records" / ".net--ll.json.abc.tmp"
    stray.parent.mkdir(parents=True)
    stray.write_text("{")
    run_spec(spec, tmp_path / "results")
    assert not stray.exists()


def test_another_stages_checkpoints_are_left_alone(tmp_path):
    """They may be those of a run that goes on beside this one, with the same store."""
    others = tmp_path / "results" / ".store" / "partial" / ("f" * 64) / "training.checkpoint"
    others.parent.mkdir(parents=True)
    others.touch()
    run_spec(write_spec(tmp_path, correctors=["ll"]), tmp_path / "results")
    assert others.exists()


def test_an_unknown_experiment_is_named_with_the_nearest(tmp_path):
    with pytest.raises(SpecError, match=r'"digit-demo".*did you mean "digits-demo"'):
        prepare("digit-demo", Options(results=tmp_path))


def test_a_validation_set_that_leaves_nothing_is_refused(tmp_path):
    with pytest.raises(DataError, match="validation: 1437 samples leave nothing of 1437 training images"):
        prepare(str(write_spec(tmp_path, validation=1437)), Options(results=tmp_path))


def test_a_gpu_that_is_asked_for_must_be_there(monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr(launch.metadata, "version", lambda _: "2.13.0+cu130")
    assert pick_device("cpu") == pick_device("auto") == "cpu"
    with pytest.raises(UsageError, match='--device cuda: torch finds no GPU; see "harness doctor"'):
        pick_device("cuda")


def test_a_gpu_is_taken_where_there_is_one(monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr(launch.metadata, "version", lambda _: "2.13.0+cu130")
    assert pick_device("auto") == pick_device("cuda") == "cuda"
    assert pick_device("cpu") == "cpu"
    assert default_workers(Setting("cuda", 1)) == 1


def test_workers_fill_the_cores(monkeypatch):
    monkeypatch.setattr(launch, "available_cores", lambda: 8)
    assert [default_workers(Setting("cpu", threads)) for threads in (1, 2, 3, 16)] == [8, 4, 2, 1]
    assert available_cores() >= 1
