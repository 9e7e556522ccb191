"""Searched experiments from spec to tables: records, resuming, worker processes, what tables show and refuse to mix."""

from __future__ import annotations

import csv
import io
import json
import multiprocessing
import shutil
import signal

import pytest
from killed_run import run_until_killed
from record_factory import make_comparable, make_matrix, make_record
from rich.console import Console
from running import records_of, run_spec, write_spec

from harness.cli.planning import plan_as_json, render_plan
from harness.errors import StoreError
from harness.launch import Options, prepare, tables_of
from harness.leaderboard import build
from harness.recording_search import _at_an_end
from harness.records import Search, read_records
from harness.report.csv_table import to_csv
from harness.report.html import to_html
from harness.report.json_table import to_json
from harness.report.markdown import to_markdown
from harness.report.terminal import render
from harness.run_state import survey
from harness.search_space import Bounds, Dimension

SPACE = {
    "adaptation.lr": [0.001, 0.01],
    "adapters.deep-coral.weight": ["1/750"],
    "correctors.vbi.steps": [1, 3],
}
HUNT = {
    "name": "tiny",
    "correctors": ["vbi"],
    "controls": ["finetune-target", "sham", "recalibrate-bn"],
    "adaptation": {"steps": 12, "batch_size": 16, "lr": 0.01, "validations": 2},
    "search": {"space": SPACE},
}
TRIALS = 4  # lr 2 x weight 1 x steps 2


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """The searched experiment, run without any trouble."""
    folder = tmp_path_factory.mktemp("searched")
    witness, state = run_spec(write_spec(folder, **HUNT), folder / "results")
    assert state.failures == []
    assert witness.kinds["search"] == 3
    return folder / "results"


@pytest.fixture(scope="module")
def records(undisturbed):
    found = read_records(undisturbed / "tiny" / "records")
    return {(record.cell.control, record.cell.corrector): record for record in found}


def test_every_arm_that_trains_records_as_many_trials(records):
    counts = {arm: len(record.search.trials) if record.search else None for arm, record in records.items()}
    assert counts == {
        ("recalibrate-bn", None): None,
        ("finetune-target", None): TRIALS,
        (None, "vbi"): TRIALS,
        ("sham", "vbi"): TRIALS,
    }
    distinct = [
        len({json.dumps(trial.settings) for trial in record.search.trials})
        for record in records.values()
        if record.search
    ]
    assert sorted(distinct) == [2, 4, 4]


def test_the_winner_is_the_first_of_the_best_on_validation(records):
    for record in records.values():
        if record.search:
            valid = [trial.valid for trial in record.search.trials]
            assert record.search.chosen == valid.index(max(valid))
            assert max(checkpoint.valid for checkpoint in record.adaptation.history) == max(valid)
            assert record.accuracy.valid == max(valid)


@pytest.mark.parametrize("control", [None, "sham"])
def test_a_searched_row_is_the_plain_row_of_the_settings_chosen(records, undisturbed, tmp_path, control):
    record = records[control, "vbi"]
    chosen = record.search.winner
    assert chosen.repetition == 0
    changes = {
        "adaptation": {**HUNT["adaptation"], "lr": chosen.settings["adaptation.lr"]},
        "adapters": [
            {"adapter": "deep-coral", "weight": chosen.settings["adapters.deep-coral.weight"], "name": "deep-coral"}
        ],
        "correctors": [{"preset": "vbi", "steps": chosen.settings["correctors.vbi.steps"], "name": "vbi"}],
    }
    plain_spec = write_spec(tmp_path, **{**HUNT, **changes, "search": None})
    witness, _ = run_spec(plain_spec, tmp_path / "results", store=undisturbed / ".store")
    # What the trials made is served; nothing but the evaluations and the other arms is left to do.
    assert witness.kinds["correct"] == witness.kinds["sham"] == 0
    plain = next(
        one
        for one in read_records(tmp_path / "results" / "tiny" / "records")
        if one.cell.control == control and one.cell.corrector
    )
    for part in ("accuracy", "loss", "test", "correction", "adaptation", "counts"):
        assert getattr(plain, part) == getattr(record, part), part
    assert plain.search is None
    assert plain.comparable.key != record.comparable.key
    assert {**plain.comparable.budget, "validations": 2}.items() >= {
        name: value for name, value in record.search.training.items() if name != "epochs"
    }.items()


def test_two_processes_record_what_one_does(undisturbed, tmp_path):
    _, state = run_spec(write_spec(tmp_path, **HUNT), tmp_path / "results", workers=2)
    assert state.failures == []
    assert records_of(tmp_path / "results") == records_of(undisturbed)


def test_a_search_that_is_killed_goes_on_at_the_trial_it_was_in(undisturbed, tmp_path):
    spec, results = write_spec(tmp_path, **HUNT), tmp_path / "results"
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["harness.executors.working"])
    # Two validations and its end make three tidings of a trial: the fifth is of the second's second validation.
    process = context.Process(target=run_until_killed, args=(spec, results, "search", 5))
    process.start()
    process.join(60)
    assert process.exitcode == -signal.SIGKILL
    stored = len(list((results / ".store" / "adapt").glob("*/*/meta.json")))
    assert len(list((results / ".store" / "partial").glob("*/training.checkpoint"))) == 1
    witness, state = run_spec(spec, results)
    assert state.failures == []
    assert records_of(results) == records_of(undisturbed)
    assert not list((results / ".store" / "partial").glob("*"))
    first = [done / total for kind, done, total in witness.progress if kind == "search"][:3]
    # The first trial is served, the second goes on from its first validation, which was saved when the second was told.
    assert first == pytest.approx([1 / TRIALS, 2 / TRIALS, 2 / TRIALS])
    assert stored == 2  # recalibrate-bn and a trial


def test_a_damaged_search_is_made_again_from_its_trials(undisturbed, records, tmp_path):
    shutil.copytree(undisturbed, tmp_path / "results")
    for path in (tmp_path / "results" / "tiny" / "records").glob("*.json"):
        path.unlink()
    for meta in (tmp_path / "results" / ".store" / "search").rglob("meta.json"):
        meta.write_bytes(meta.read_bytes()[:-9])
    witness, state = run_spec(write_spec(tmp_path, **HUNT), tmp_path / "results")
    assert state.failures == []
    assert witness.kinds["adapt"] == witness.kinds["correct"] == 0
    assert records_of(tmp_path / "results") == records_of(undisturbed)


def test_a_search_whose_trials_all_diverge_fails_its_cell_with_the_reason(tmp_path):
    search = {"space": {"adaptation.lr": [1e30, 1e31]}}
    _, state = run_spec(write_spec(tmp_path, **{**HUNT, "controls": "none", "search": search}), tmp_path / "results")
    (failure,) = state.failures
    assert (failure.stage, failure.exit_code) == ("search", 1)
    assert failure.reason.startswith("none of 2 trials came to its end; the first: the loss is not finite by step 6")


def test_a_dry_run_shows_the_trials(undisturbed, tmp_path):
    options = Options(results=tmp_path / "results", store=undisturbed / ".store", device="cpu")
    prepared = prepare(str(write_spec(tmp_path, **HUNT)), options)
    state = survey(prepared.plan, prepared.store, prepared.results)
    console = Console(width=120, record=True, file=io.StringIO())
    render_plan(prepared, state, console)
    assert "Each search is 4 trials (grid): 12 adaptations in all." in console.export_text()
    searches = [stage for stage in plan_as_json(prepared, state)["stages"] if stage["stage"] == "search"]
    assert [(stage["sampler"], stage["trials"]) for stage in searches] == [("grid", TRIALS)] * 3
    assert {"adaptation.lr": [0.001, 0.01]} in [stage["space"] for stage in searches]


# -- tables --------------------------------------------------------------------------------------------------------


def searched(record, seed, *, lr, weight, repetition=0, failed=0):
    """Return a record as if its lr and weight had been chosen from two each."""
    trials = [
        {"settings": {"adaptation.lr": lr, "adapters.deep-coral.weight": weight}, "repetition": 0}
        | {"valid": 0.5, "best_step": 5, "failed": None},
        {"settings": {"adaptation.lr": lr, "adapters.deep-coral.weight": weight}, "repetition": repetition or 1}
        | {"valid": 0.75, "best_step": 5, "failed": None},
        *[
            {"settings": {"adaptation.lr": 9.0, "adapters.deep-coral.weight": 1.0}, "repetition": 0}
            | {"valid": None, "best_step": None, "failed": "too fast"}
        ]
        * failed,
    ]
    space = {"adaptation.lr": [0.1, 0.01], "adapters.deep-coral.weight": [1.0, 0.5]}
    search = Search(sampler="grid", space=space, trials=trials, chosen=1, training={"lr": lr})
    adaptation = record.adaptation.model_copy(update={"options": {"weight": weight, "on": "logits"}})
    return record.model_copy(update={"search": search, "adaptation": adaptation})


def two_seeds(**second):
    records = [make_record(corrector="vbi", corrected=3, test=0.6, seed=seed) for seed in (1, 2)]
    return [
        searched(records[0], 1, lr=0.1, weight=1.0, failed=1),
        searched(records[1], 2, **{"lr": 0.01, "weight": 0.5, "failed": 1} | second),
    ]


def test_seeds_that_chose_differently_are_one_row():
    (table,) = build(two_seeds())
    tuning = table.rows[0].tuning
    assert tuning.chosen == {"adaptation.lr": {1: 0.1, 2: 0.01}, "adapters.deep-coral.weight": {1: 1.0, 2: 0.5}}
    assert (tuning.trials, tuning.distinct, tuning.failed) == (3, {1: 2, 2: 2}, 2)
    assert tuning.valid.mean == 0.75


def test_seeds_that_differ_in_what_was_not_tuned_still_clash():
    first, second = two_seeds()
    options = {"weight": 0.5, "on": "features"}
    second = second.model_copy(update={"adaptation": second.adaptation.model_copy(update={"options": options})})
    with pytest.raises(StoreError, match="were run with different options"):
        build([first, second])


def test_seeds_that_were_tuned_over_different_spaces_clash():
    first, second = two_seeds()
    narrower = second.search.model_copy(update={"space": {"adaptation.lr": [0.1, 0.01]}})
    with pytest.raises(StoreError, match="were run with different options"):
        build([first, second.model_copy(update={"search": narrower})])


def test_searched_rows_share_no_table_with_others():
    budget = {
        "steps": 2000,
        "batch_size": 16,
        "search": {"sampler": "grid", "trials": 4, "space": {"adaptation.lr": "1 or 2"}},
    }
    records = [
        make_record(test=0.5),
        make_record(test=0.6, comparable={"key": "s" * 8, "budget": budget}),
    ]
    tuned, plain = build(records)
    assert tuned.title == "toys · net · 2,000 steps, batch 16, grid search, 4 trials"
    assert "search.sampler = not set" in plain.note
    assert make_comparable().key == plain.comparable.key


def test_every_report_shows_what_was_chosen():
    tables = build(two_seeds())
    console = Console(width=120, record=True, file=io.StringIO())
    render(tables, console)
    line = next(
        line
        for line in console.export_text().splitlines()
        if "vbi + deep-coral" in line and "/" in line and "75.00" in line
    )
    assert line.split("vbi + deep-coral")[1].split() == ["2", "2", "75.00", "0.1", "/", "0.01", "1", "/", "0.5", "2"]
    markdown = to_markdown(tables)
    assert "### Search" in markdown
    assert "| Row | Distinct | Lost | Valid | lr | weight | Batch order |" in markdown
    assert "| vbi + deep-coral | 2 | 2 | 75.00 | 0.1 / 0.01 | 1 / 0.5 | 2 |" in markdown
    assert "<h3>Search</h3>" in to_html(tables, "toy")
    (row,) = csv.DictReader(io.StringIO(to_csv(tables)))
    assert row["search_chosen_adaptation.lr_per_seed"] == "0.1 0.01"
    assert (row["search_sampler"], row["search_trials"]) == ("grid", "3")
    found = to_json(tables)["tables"][0]["rows"][0]["search"]
    assert found["chosen"]["adapters.deep-coral.weight"] == {"1": 1.0, "2": 0.5}


def test_without_a_search_nothing_is_said_of_one():
    tables = build(make_matrix())
    assert "Search" not in to_markdown(tables)
    assert "search" not in to_csv(tables).splitlines()[0]
    assert to_json(tables)["tables"][0]["rows"][0]["search"] is None


def test_the_real_tables_name_the_corrector_with_what_was_chosen(undisturbed, records):
    (table,) = tables_of(undisturbed / "tiny")
    steps = records[None, "vbi"].search.winner.settings["correctors.vbi.steps"]
    assert [work.corrector for work in table.works] == [f"vbi(steps={steps})"]
    assert table.title.endswith("12 steps, batch 16, sgd, grid search, 4 trials")


ENDS = {
    "the largest": ({"choices": (0.1, 0.001, 0.01)}, 0.1, "upper"),
    "the smallest": ({"choices": (0.1, 0.001, 0.01)}, 0.001, "lower"),
    "one in between": ({"choices": (0.1, 0.001, 0.01)}, 0.01, None),
    "one of two": ({"choices": (0.1, 0.01)}, 0.1, None),
    "one of some words": ({"choices": ("sgd", "adam", "adamw")}, "sgd", None),
    "the end of a range": ({"bounds": Bounds(0.0, 10.0, log=False, whole=False)}, 9.9, "upper"),
    "the middle of a range": ({"bounds": Bounds(0.0, 10.0, log=False, whole=False)}, 0.3, None),
    # a fiftieth of six decades is a factor of 1.32
    "the end of a logarithmic range": ({"bounds": Bounds(1e-6, 1.0, log=True, whole=False)}, 1.3e-6, "lower"),
    "near the end of a logarithmic range": ({"bounds": Bounds(1e-6, 1.0, log=True, whole=False)}, 1.4e-6, None),
}


@pytest.mark.parametrize(("values", "chosen", "end"), ENDS.values(), ids=list(ENDS))
def test_the_best_at_the_end_of_what_was_tried_is_flagged(values, chosen, end):
    said = _at_an_end(Dimension("adaptation.lr", "adaptation", "", "lr", **values), chosen)
    expected = f"search: the best adaptation.lr is at the {end} end of what was tried; a better one may lie beyond"
    assert said == (end and expected)
