"""`harness ranks` over synthetic records of eight data sets."""

from __future__ import annotations

import json

import pytest
from record_factory import control, make_record

from harness.records import write_record

ROWS = {"vbi + deep-coral": 3, "finetune-target": 2, "baseline": 1}


def make(name, test, seed, **changes):
    if name == "vbi + deep-coral":
        return make_record(test=test, corrector="vbi", corrected=3, seed=seed, **changes)
    return control({"baseline": "none"}.get(name, name), test, seed, source=None, **changes)


def write(folder, *, datasets=8, seeds=(1, 2), **changes):
    """Each row gains as many points as its place, plus half a point that turns with the data set."""
    for place in range(datasets):
        comparable = {"key": f"key{place}", "dataset": f"data{place}", **changes}
        for name, gain in ROWS.items():
            for seed in seeds:
                jitter = 0.005 * ((place + gain) % 3) + 0.005 * seed
                key = f"{place:08d}{gain:08d}{seed:016d}"
                write_record(
                    folder / "records", make(name, 0.5 + gain / 100 + jitter, seed, key=key, comparable=comparable)
                )
    return folder


@pytest.fixture
def results(tmp_path):
    return write(tmp_path / "eight")


def test_mean_ranks_and_groups_are_printed(call, results):
    called = call("ranks", results)
    assert called.code == 0, called.err
    assert "8 blocks: data0 · net; data1 · net" in " ".join(called.out.split())
    shown = json.loads(call("ranks", results, "--json").out)
    assert list(shown["mean_ranks"]) == list(ROWS)
    assert shown["version"] == 1
    # all eight blocks agree but for ties: each pair's two-sided p under Holm is that of eight equal signs or more
    assert shown["friedman"]["p"] < 0.001
    assert [group[0] for group in shown["groups"]["nemenyi"]] == [*ROWS][: len(shown["groups"]["nemenyi"])]


def test_a_score_is_the_mean_over_seeds(call, tmp_path):
    results = write(tmp_path / "eight")
    # a second seed so bad that the mean, not the best seed, decides
    for place in range(8):
        comparable = {"key": f"key{place}", "dataset": f"data{place}"}
        for name in ROWS:
            test = 0.1 if name == "vbi + deep-coral" else 0.5
            write_record(
                results / "records", make(name, test, 5, key=f"{place:08d}{name:>24.24}", comparable=comparable)
            )
    assert list(json.loads(call("ranks", results, "--json").out)["mean_ranks"])[-1] == "vbi + deep-coral"


def test_a_row_that_lacks_a_seed_has_no_score(call, results):
    cells = {path: json.loads(path.read_text())["cell"] for path in sorted((results / "records").glob("*.json"))}
    next(path for path, cell in cells.items() if cell["corrector"] == "vbi" and cell["seed"] == 2).unlink()
    called = call("ranks", results)
    assert called.code == 2
    assert 'got 2 rows left (dropped: "vbi + deep-coral", which has no score in 1 of 8 blocks)' in called.err


def test_too_few_data_sets_are_refused_though_there_are_many_seeds(call, tmp_path):
    called = call("ranks", write(tmp_path / "few", datasets=2, seeds=range(10)))
    assert called.code == 2
    assert "got 2 blocks, expected at least 8 pairs of a data set and a model; seeds are no blocks" in called.err


def test_folders_are_ranked_together_and_the_same_record_counts_once(call, results, tmp_path):
    half = write(tmp_path / "half", datasets=4)
    both = json.loads(call("ranks", half, results, "--json").out)
    assert both == json.loads(call("ranks", results, "--json").out)


def test_two_tables_of_one_data_set_and_model_are_one_problem(call, results, tmp_path):
    other = tmp_path / "longer"
    budget = {"steps": 9000, "epochs": None, "batch_size": 16, "optimizer": "sgd", "lr": 0.01, "momentum": 0.9}
    for place, record in enumerate(sorted((results / "records").glob("*.json"))):
        told = json.loads(record.read_text())
        told["comparable"] |= {"key": f"long-{told['comparable']['key']}", "budget": budget}
        told["key"] = f"{place:032d}"
        (other / "records").mkdir(parents=True, exist_ok=True)
        (other / "records" / f"{place}.json").write_text(json.dumps(told))
    called = call("ranks", results, other)
    assert called.code == 2
    assert '"data0 · net" has two tables, "data0 · net · 2,000 steps' in called.err
    assert "name the one with --only WORDS" in called.err
    assert call("ranks", results, other, "--only", "9,000 steps").code == 0


def test_rows_are_chosen_by_pattern_and_a_misspelt_one_is_said(call, results):
    assert call("ranks", results, "--row", "*").code == 0
    called = call("ranks", results, "--row", "*target", "--row", "baselin")
    assert called.code == 2
    assert '--row: no row "baselin"; did you mean "baseline"?' in called.err
    assert "got 1 row, expected at least 3" in call("ranks", results, "--row", "*target").err


def test_no_table_of_that_title_lists_the_titles(call, results):
    called = call("ranks", results, "--only", "imagenet")
    assert called.code == 2
    assert "no table has 'imagenet' in its title; there are: data0 · net · 2,000 steps" in called.err


def test_a_diagram_is_written_beside_the_table(call, results, tmp_path):
    called = call("ranks", results, "--diagram", tmp_path / "ranks.svg", "--groups", "wilcoxon-holm")
    assert called.code == 0, called.err
    assert called.err == f"wrote {tmp_path / 'ranks.svg'}\n"
    drawn = (tmp_path / "ranks.svg").read_text()
    assert "finetune-target" in drawn
    assert "Wilcoxon–Holm" in drawn


def test_a_diagram_of_another_kind_is_refused_before_anything_is_read(call, tmp_path):
    called = call("ranks", tmp_path / "nowhere", "--diagram", "ranks.pdf")
    assert called.code == 2
    assert '--diagram: got "ranks.pdf", expected a file name that ends in .png or .svg' in called.err


def test_without_its_libraries_the_diagram_says_what_to_install(call, results, monkeypatch):
    monkeypatch.setattr("harness.report.pictures.find_spec", lambda name: None)
    called = call("ranks", results, "--diagram", "ranks.png")
    assert called.code == 3
    assert '--diagram needs scikit-posthocs and matplotlib, which are not installed; run "pip install' in called.err
    assert call("ranks", results).code == 0


def test_a_folder_without_records_is_named(call, tmp_path):
    called = call("ranks", tmp_path)
    assert called.code == 2
    assert f"{tmp_path}: holds no records; expected a results folder" in called.err
