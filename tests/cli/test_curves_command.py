"""`harness curves`, on a finished experiment."""

from __future__ import annotations

import csv
import io
import json
import shutil

import pytest

from harness.records import read_records


@pytest.fixture
def results(finished):
    return finished / "results" / "tiny"


def test_what_a_curve_ends_with_is_what_the_run_kept(call, results):
    lines = list(csv.DictReader(io.StringIO(call("curves", results, "--csv").out)))
    records = [record for record in read_records(results / "records") if record.adaptation.steps]
    assert records
    for record in records:
        label = f"{record.cell.corrector} + {record.cell.adapter}"
        ours = [line for line in lines if line["row"] == label and line["seed"] == str(record.cell.seed)]
        points = [line for line in ours if line["curve"] == "adaptation"]
        assert float(points[0]["kept"]) == record.baseline.valid
        assert float(points[-1]["kept"]) == record.accuracy.valid
        best = [int(line["step"]) for line in points[1:] if line["kept"] == points[-1]["kept"]]
        assert best[0] == record.adaptation.best_step


def test_the_table_is_printed(call, results):
    called = call("curves", results)
    assert called.code == 0
    assert "Validation accuracy against the budget: optimizer steps" in called.out
    assert "vbi-iter1 + deep-coral" in called.out
    assert "it is no test result" in " ".join(called.out.split())


def test_json_names_the_experiment(call, results):
    told = json.loads(call("curves", results, "--json").out)
    assert (told["experiment"], told["version"]) == ("tiny", 1)
    assert len(told["tables"][0]["rows"]) == 3


def test_the_picture_is_written_beside_what_is_printed(call, results, tmp_path):
    called = call("curves", results, "--figure", tmp_path / "curves.svg", "--raw", "--json")
    assert called.code == 0
    assert called.err == f"wrote {tmp_path / 'curves.svg'}\n"
    assert json.loads(called.out)["version"] == 1
    assert (tmp_path / "curves.svg").is_file()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--csv", "--json"], "curves: got --csv and --json, expected one of them"),
        (["--figure", "curves.pdf"], "expected a file name that ends in .png or .svg"),
        (["--only", "imagenet"], 'curves: no table has "imagenet" in its title; there are: digits'),
        (["--share", "0"], "0<x<=1"),
    ],
)
def test_what_cannot_be_shown_is_said(call, results, arguments, message):
    called = call("curves", results, *arguments)
    assert called.code == 2
    assert message in called.err
    assert called.out == ""


def test_a_folder_without_records_is_named(call, tmp_path):
    assert f"{tmp_path}: holds no records; expected a results folder" in call("curves", tmp_path).err
    assert f"{tmp_path / 'no'}: is no folder" in call("curves", tmp_path / "no").err


def test_records_without_seconds_have_no_curves_against_them(call, results, tmp_path):
    shutil.copytree(results, tmp_path / "old")
    for path in (tmp_path / "old" / "records").glob("*.json"):
        record = json.loads(path.read_text())
        record["times"] = {}
        path.write_text(json.dumps(record))
    called = call("curves", tmp_path / "old", "--against", "seconds")
    assert called.code == 2
    assert "no record says how many seconds its checkpoints took" in called.err
    assert call("curves", tmp_path / "old").code == 0
