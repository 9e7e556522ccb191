"""Rows whose adapter uses T's labels, or looks at T alone, are told apart wherever a row is shown."""

from __future__ import annotations

import csv
import io
import json

import pytest
from record_factory import control, make_record, method
from rich.console import Console

from harness.blocks import uses_of_rows
from harness.controls import TRAINED_ON_TARGET
from harness.curves import curves_of
from harness.leaderboard import build, verdicts
from harness.marks import Uses, mark_notes, unmarked, uses_of
from harness.pairing import pair, rows_of, sentences
from harness.ranking import rank
from harness.report import curve_data, ranking
from harness.report.csv_table import to_csv
from harness.report.curves import curve_table, highlights
from harness.report.html import to_html
from harness.report.json_table import to_json
from harness.report.markdown import to_markdown
from harness.report.pairing import render_pairings
from harness.report.ranking_diagram import draw
from harness.report.terminal import render

LABELS = {"target_labels": True}
SOURCE_FREE = {"source": False}
LABELS_NOTE = "† The adapter uses T's labels"
SOURCE_FREE_NOTE = "‡ The adapter looks at T alone"


@pytest.fixture
def records():
    """An adapter that uses T's labels, one that looks at T alone and one that does neither; two seeds."""
    return [
        record
        for seed in (1, 2)
        for record in (
            control("finetune-target", 0.6, seed, adapter="finetune", source=None, uses=LABELS | SOURCE_FREE),
            method(0.7 + seed / 100, seed, adapter="joint", uses=LABELS, history=[{"gap": 1.0}]),
            method(0.6, seed, adapter="tent", uses=SOURCE_FREE),
            method(0.65, seed),
        )
    ]


def printed(show, width=200, **options):
    console = Console(file=io.StringIO(), width=width, highlight=False, **options)
    show(console)
    return console.file.getvalue()


@pytest.mark.parametrize(("uses", "mark"), [({}, ""), (LABELS, "†"), (SOURCE_FREE, "‡"), (LABELS | SOURCE_FREE, "†‡")])
def test_a_mark_follows_from_the_record(uses, mark):
    assert uses_of([method(0.6, uses=uses)]).mark == mark


@pytest.mark.parametrize("name", ["none", *TRAINED_ON_TARGET])
def test_controls_that_say_that_they_train_on_the_target_are_not_marked(name):
    assert uses_of([control(name, 0.6, uses=LABELS | SOURCE_FREE)]) == Uses()


@pytest.mark.parametrize("name", ["target-to-target", "sham", "curriculum", "random-subset", "transferred"])
def test_controls_with_the_adapter_are_marked_as_it_is(name):
    assert uses_of([control(name, 0.6, adapter="joint", uses=LABELS)]).mark == "†"


def test_no_note_is_made_of_marks_that_no_row_bears(records):
    rows = {row.key.adapter: row for row in build(records)[0].rows}
    assert mark_notes([rows["deep-coral"]]) == []
    assert [note[0] for note in mark_notes([rows["tent"]])] == ["‡"]
    assert [note[0] for note in mark_notes(rows.values())] == ["†", "‡"]


def test_the_leaderboard_marks_labels_and_explains_them_in_every_format(records):
    tables = build(records)
    for text in (
        printed(lambda console: render(tables, console)),
        printed(lambda console: render(tables, console), width=44),
        to_markdown(tables),
        to_html(tables, "Toys", curves=curves_of(records, tables)).replace("&#x27;", "'"),
    ):
        assert "joint†" in text
        assert "tent‡" in text
        assert "deep-coral†" not in text
        assert "finetune-target†" not in text
        assert LABELS_NOTE in text
        assert SOURCE_FREE_NOTE in text
    assert any("vbi + joint† " in line for line in verdicts(tables[0]))


def test_a_stream_of_ascii_has_marks_of_its_own(records):
    console = Console(file=io.TextIOWrapper(io.BytesIO(), encoding="ascii"), width=200, highlight=False)
    render(build(records), console)
    console.file.seek(0)
    text = console.file.read()
    assert "joint!" in text
    assert "! The adapter uses T's labels" in text


def test_data_has_fields_instead_of_marks(records):
    tables = build(records)
    rows = {row["label"]: row for row in to_json(tables)["tables"][0]["rows"]}
    assert {label for label, row in rows.items() if row["target_labels"]} == {"vbi + joint"}
    assert {label for label, row in rows.items() if row["source_free"]} == {"vbi + tent"}
    lines = {line["label"]: line for line in csv.DictReader(io.StringIO(to_csv(tables)))}
    assert {label for label, line in lines.items() if line["target_labels"] == "True"} == {"vbi + joint"}
    found = curves_of(records, tables)
    told = {row["label"]: row for row in curve_data.to_json(found)["tables"][0]["rows"]}
    assert {label for label, row in told.items() if row["target_labels"]} == {"vbi + joint"}
    points = list(csv.DictReader(io.StringIO(curve_data.to_csv(found))))
    assert {line["row"] for line in points if line["source_free"] == "True"} == {"vbi + tent"}


def test_curves_are_marked_and_a_row_without_the_labels_is_preferred(records):
    (found,) = curves_of(records, build(records))
    table = curve_table(found)
    assert "vbi + joint†" in table.labels
    assert any(LABELS_NOTE in note for note in table.notes)
    assert highlights(found)["best"].key.adapter == "joint"  # the only one with steps
    (both,) = curves_of(
        [*records, *(method(0.6, seed, corrector="ll", history=[{"gap": 1.0}]) for seed in (1, 2))],
        build([*records, *(method(0.6, seed, corrector="ll", history=[{"gap": 1.0}]) for seed in (1, 2))]),
    )
    assert highlights(both)["best"].label == "ll + deep-coral"


def test_compared_rows_are_marked(records):
    rows = rows_of(records)
    pairings = pair({("net", "vbi + joint"): rows["net", "vbi + joint"]}, {("net", "a"): rows["net", "vbi + tent"]})
    (first, *_) = sentences(pairings)
    assert "net · a‡: " in first
    assert "over net · vbi + joint† " in first
    text = printed(lambda console: render_pairings(pairings, sentences(pairings), console))
    assert LABELS_NOTE in text
    assert SOURCE_FREE_NOTE in text


def test_ranks_are_marked_in_words_data_and_picture(records, tmp_path):
    uses = uses_of_rows(build(records))
    scores = {"vbi + joint": 3.0, "vbi + tent": 1.0, "vbi + deep-coral": 2.0}
    found = rank({f"block {number}": scores for number in range(9)})
    text = printed(lambda console: ranking.render(found, console, uses=uses))
    assert "vbi + joint†" in text
    assert SOURCE_FREE_NOTE in text
    told = json.loads(json.dumps(ranking.to_json(found, uses=uses)))
    assert told["target_labels"] == ["vbi + joint"]
    assert told["source_free"] == ["vbi + tent"]
    assert list(told["mean_ranks"]) == ["vbi + joint", "vbi + deep-coral", "vbi + tent"]
    draw(found, tmp_path / "ranks.svg", uses=uses)
    drawn = (tmp_path / "ranks.svg").read_text()
    assert "vbi + joint†" in drawn
    assert LABELS_NOTE in drawn


@pytest.mark.parametrize("label", ["vbi + joint", "vbi + joint†", "vbi + joint†‡"])
def test_a_label_may_be_copied_from_a_table(label):
    assert unmarked(label) == "vbi + joint"


def test_records_of_before_the_marks_have_none():
    record = make_record(test=0.6)
    old = json.loads(record.model_dump_json())
    del old["adaptation"]["target_labels"], old["adaptation"]["source"]
    assert uses_of([type(record).model_validate(old)]).mark == ""
