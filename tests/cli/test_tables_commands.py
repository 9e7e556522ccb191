"""`harness leaderboard`, `compare` and `report`, on a finished experiment."""

from __future__ import annotations

import csv
import io
import json
import re
import shutil

import pytest


@pytest.fixture
def results(finished, tmp_path):
    shutil.copytree(finished / "results" / "tiny", tmp_path / "tiny")
    return tmp_path / "tiny"


def test_leaderboard_rebuilds_lost_files_from_the_records(call, results):
    expected = {name: (results / name).read_bytes() for name in ("leaderboard.md", "leaderboard.csv", "report.html")}
    for name in expected:
        (results / name).unlink()
    assert call("leaderboard", results).code == 0
    assert {name: (results / name).read_bytes() for name in expected} == expected


def test_leaderboard_prints_every_format(call, results):
    markdown = call("leaderboard", results, "--format", "markdown").out
    assert markdown == (results / "leaderboard.md").read_text()
    rows = list(csv.DictReader(io.StringIO(call("leaderboard", results, "--format", "csv").out)))
    shown = json.loads(call("leaderboard", results, "--json").out)
    assert shown["version"] == 1
    assert shown == json.loads(call("leaderboard", results, "--format", "json").out)
    assert len(rows) >= len(shown["tables"][0]["rows"]) == 3
    assert "vbi-iter1" in call("leaderboard", results).out


def test_report_prints_where_it_is(call, results):
    (results / "report.html").unlink()
    called = call("report", results)
    assert called.out == f"{results / 'report.html'}\n"
    assert (results / "report.html").is_file()


def test_a_broken_record_is_named(call, results):
    broken = next((results / "records").glob("*.json"))
    broken.write_text("{")
    called = call("leaderboard", results)
    assert called.code == 1
    assert str(broken) in called.err


def test_two_rows_are_compared_seed_by_seed(call, results):
    shown = call("compare", f"{results}#baseline", f"{results}#ll + deep-coral", "--json").out
    [one] = json.loads(shown)["comparisons"]
    records = [json.loads(path.read_text()) for path in (results / "records").glob("*--ll--*.json")]
    gains = {
        str(record["cell"]["seed"]): 100 * (record["accuracy"]["test"] - record["baseline"]["test"])
        for record in records
    }
    assert one["points"]["per_seed"] == pytest.approx(gains)
    assert one["points"]["mean"] == pytest.approx(sum(gains.values()) / 2)
    assert set(one["mcnemar"]) == {"1", "2"}
    assert one["differing"] == ["source", "adapter"]
    text = call("compare", f"{results}#baseline", f"{results}#ll + deep-coral")
    assert text.code == 0
    assert "ll + deep-coral" in text.out
    assert json.loads(shown)["verdicts"][0] in " ".join(text.out.split())
    assert json.loads(shown)["verdicts"][0].startswith("net · ll + deep-coral: ")


def test_folders_are_compared_row_by_row(call, results):
    called = call("compare", results, results, "--json")
    assert json.loads(called.out)["version"] == 1
    assert len(json.loads(called.out)["comparisons"]) == 3


def test_incomparable_folders_are_refused(call, results, tmp_path):
    other = tmp_path / "other"
    shutil.copytree(results, other)
    for path in (other / "records").glob("*.json"):
        record = json.loads(path.read_text())
        record["comparable"]["data_fingerprint"] = "other"
        path.write_text(json.dumps(record))
    called = call("compare", results, other)
    assert called.code == 2
    assert "are not comparable: they differ in data_fingerprint" in called.err


def test_a_misspelt_row_is_said_with_the_nearest(call, results):
    called = call("compare", f"{results}#baselin", results)
    assert called.code == 2
    assert 'no row "baselin"; did you mean "baseline"?' in called.err


def test_a_run_is_compared_with_a_published_table(call, results):
    called = call("compare", results, "--published", "adcorda-table1", "--as", "net=ResNet-34", "--json")
    assert called.code == 0, called.err
    told = json.loads(called.out)
    (one,) = told["comparisons"]
    assert one["theirs"] == {"model": "ResNet-34", "dataset": "cifar10"}
    row = next(row for row in one["rows"] if row["attack"] == "LL")
    found = [json.loads(path.read_text()) for path in (results / "records").glob("*--ll--*.json")]
    mean = 100 * sum(record["accuracy"]["test"] for record in found) / len(found)
    assert row["figures"]["test"]["theirs"] == {"mean": 96.31, "std": 0.12}
    assert row["figures"]["test"]["difference"] == pytest.approx(mean - 96.31)
    text = call("compare", results, "--published", "adcorda-table1", "--as", "net=ResNet-34")
    assert text.code == 0
    assert "What differs in the setting" in text.out
    assert "Inconsistent as printed" in text.out


def test_folders_that_share_rows_are_compared_with_a_published_table_as_one(call, results, tmp_path):
    shutil.copytree(results, tmp_path / "again")
    asked = ("--published", "adcorda-table1", "--as", "net=ResNet-34", "--json")
    alone, both = call("compare", results, *asked), call("compare", results, tmp_path / "again", *asked)
    assert both.code == 0, both.err
    assert json.loads(both.out) == json.loads(alone.out)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--published", "adcorda-tabel1"], 'unknown table "adcorda-tabel1"; did you mean "adcorda-table1"?'),
        (["--published", "adcorda-table1", "--as", "net"], '--as: got "net", expected OURS=THEIRS'),
        (["--published", "adcorda-table1", "--adapter", "coral"], '--adapter: no row of "coral"'),
        (["--published", "adcorda-table2"], 'the rows of "adcorda-table2" need a quantized classifier'),
        ([], "compare: got 1 folder or row, expected two, A and B; to compare with a published table add --published"),
        (["other", "--adapter", "deep-coral"], "--adapter: goes with --published TABLE alone"),
    ],
)
def test_what_compare_cannot_do_is_said_with_the_next_step(call, results, arguments, said):
    called = call("compare", results, *arguments)
    assert called.code == 2
    assert said in called.err


def test_a_folder_without_records_is_no_run_to_compare(call, tmp_path):
    called = call("compare", tmp_path, "--published", "adcorda-table1")
    assert called.code == 2
    assert f"{tmp_path}: holds no records; expected a results folder" in called.err


def test_rows_are_printed_by_pattern_and_in_order_and_the_files_have_all(call, results):
    shown = json.loads(call("leaderboard", results, "--row", "* + deep-coral", "--sort", "test", "--json").out)
    rows = shown["tables"][0]["rows"]
    assert {row["label"].partition(" + ")[2] for row in rows} == {"deep-coral"}
    assert len(rows) == 2
    means = [row["accuracy"]["test"]["mean"] for row in rows]
    assert means == sorted(means, reverse=True)
    assert len(json.loads((results / "leaderboard.json").read_text())["tables"][0]["rows"]) == 3
    assert "2 of 3 rows" in call("leaderboard", results, "--row", "* + deep-coral").out


def test_a_pattern_that_matches_no_row_is_refused(call, results):
    called = call("leaderboard", results, "--row", "ll + deepcoral")
    assert called.code == 2
    assert called.err == 'harness: --row: no row "ll + deepcoral"; did you mean "ll + deep-coral"?\n'


@pytest.mark.parametrize("option", [("--row", "*"), ("--sort", "test")])
def test_timings_have_no_rows_to_choose(call, results, option):
    called = call("leaderboard", results, "--timing", "none.json", *option)
    assert called.code == 2
    assert f"{option[0]}: chooses among a leaderboard's rows" in called.err


@pytest.mark.parametrize("width", [30, 44, 60, 80, 200])
def test_compared_names_are_broken_between_words_alone(call, results, monkeypatch, width):
    monkeypatch.setattr("harness.report.terminal_grid.PIPE_WIDTH", width)
    text = call("compare", f"{results}#baseline", f"{results}#ll + deep-coral").out
    words = set(re.sub(r"[:;(),]", " ", text).split())
    assert {"deep-coral", "baseline", "source", "adapter"} - words <= ({"source", "adapter"} if width < 60 else set())
    assert all(len(line) <= width for line in text.splitlines())
    assert "over net · baseline" in " ".join(text.split())  # the sentence is there at every width
