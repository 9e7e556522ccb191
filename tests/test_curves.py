"""Budget curves: what would be kept after a part of the budget, over seeds, and how it is shown."""

import csv
import io
import json
import re
from itertools import pairwise
from pathlib import Path
from statistics import fmean, stdev
from xml.etree import ElementTree as ET

import pytest
from record_factory import control, make_record, method, sham
from rich.console import Console
from scipy.optimize import minimize

from harness.curves import curves_of
from harness.errors import PluginError, UsageError
from harness.leaderboard import build
from harness.records import Checkpoint, Quantized, step_time
from harness.report import curve_plots, pictures
from harness.report.curve_data import to_csv, to_json
from harness.report.curve_lines import accuracy_lines, corrector_lines, limits, spaced
from harness.report.curve_plots import draw
from harness.report.curves import (
    corrector_table,
    curve_table,
    highlights,
    pass_marks,
    reach_words,
    render,
    second_marks,
    step_marks,
)
from harness.report.html import to_html
from harness.report.line_plot import round_numbers

NASTY = r'<script>alert("x")</script> & $\nope$'


def trained(record, accuracies, *, start=0.5, every=10, seconds=None):
    """Give a record a history: a checkpoint ``every`` so many steps, so many ``seconds`` apart."""
    history = [
        Checkpoint(step=every * number, valid=valid, losses={}, diagnostics={})
        for number, valid in enumerate(accuracies, 1)
    ]
    times = {step_time(point.step): seconds * number for number, point in enumerate(history, 1)} if seconds else {}
    return record.model_copy(
        update={
            "adaptation": record.adaptation.model_copy(update={"history": history, "steps": every * len(history)}),
            "baseline": record.baseline.model_copy(update={"valid": start}),
            "times": times,
        }
    )


def finetune(accuracies, seed=1, **changes):
    return trained(control("finetune-target", 0.6, seed, adapter="finetune", source=None), accuracies, **changes)


def vbi(accuracies, seed=1, *, adapter="deep-coral", **changes):
    return trained(method(0.6, seed, adapter=adapter), accuracies, **changes)


def corrected(name, curve, seed=1, *, wrong=10, work=None, **changes):
    """A record whose corrector's curve is given."""
    corrects = curve[-1][1] if curve else 0
    own = {"attack": f"paper/{name}", "curve": curve, "forward": 40, "backward": 20} | (work or {})
    return method(0.6, seed, corrector=name, corrected=corrects, wrong=wrong, work=own, **changes)


def curves(*records):
    (found,) = curves_of(records, build(records))
    return found


def row(table, label):
    (found,) = [one for one in table.rows if one.key.label == label]
    return found


def column(table, heading):
    (found,) = [one for one in table.columns if one.heading.startswith(heading)]
    return dict(zip(table.labels, found.cells, strict=True))


@pytest.fixture
def many():
    """Three seeds of fine-tuning, two adapters, their controls and a row that is not trained; two correctors."""
    made = []
    for seed in (1, 2, 3):
        shift = 0.01 * seed
        gains = ([0.04, 0.02, 0.05, 0.06], [0.01, 0.03, 0.07, 0.08], [0.02, 0.06, 0.03, 0.06], [0.0, 0.01, 0.02, 0.04])
        lines = [[0.5 + shift + gain for gain in one] for one in gains]
        options = {"start": 0.5 + shift, "seconds": 2.0}
        curve = {"work": {"curve": [(3.0, 1), (7.0, 2 + seed % 2)], "forward": 60, "backward": 50}}
        made += [
            control("none", 0.5, seed, adapter="none", source=None),
            finetune(lines[0], seed, **options),
            trained(method(0.6, seed, **curve), lines[1], **options),
            trained(method(0.6, seed, adapter="dann", **curve), lines[2], **options | {"seconds": 5.0}),
            trained(control("target-to-target", 0.6, seed), lines[3], **options),
            trained(control("curriculum", 0.6, seed, corrector="none"), lines[3], **options),
        ]
    return made


# -- curves ----------------------------------------------------------------------------------------------------------------


def test_the_best_checkpoint_so_far_is_kept_and_never_the_baseline():
    table = curves(vbi([0.4, 0.6, 0.55, 0.7], start=0.5))
    points = row(table, "vbi + deep-coral").per_seed[1]
    assert [point.step for point in points] == [0, 10, 20, 30, 40]
    assert [point.valid for point in points] == [0.5, 0.4, 0.6, 0.55, 0.7]
    assert [point.kept for point in points] == [0.5, 0.4, 0.6, 0.6, 0.7]


def test_of_averaged_weights_nothing_is_kept_of_before_there_is_an_average():
    record = vbi([0.7, 0.9, 0.6, 0.8, 0.75])
    history = [point.model_copy(update={"candidate": point.step > 20}) for point in record.adaptation.history]
    late = record.model_copy(update={"adaptation": record.adaptation.model_copy(update={"history": history})})
    (row,) = curves(late).rows
    # Before that, what would be left are the weights as they are.
    assert [point.kept for point in row.per_seed[1]] == [0.5, 0.7, 0.9, 0.6, 0.8, 0.8]


def test_means_are_taken_over_seeds_at_each_step():
    table = curves(vbi([0.6, 0.5, 0.9], 1, seconds=1.0), vbi([0.4, 0.7, 0.6], 2, seconds=3.0))
    points = row(table, "vbi + deep-coral").means()
    assert [point.kept.mean for point in points] == pytest.approx([0.5, 0.5, 0.65, 0.8])
    assert [point.valid.mean for point in points] == pytest.approx([0.5, 0.5, 0.6, 0.75])
    assert [point.valid.std for point in points] == pytest.approx(
        [0, stdev([0.6, 0.4]), stdev([0.5, 0.7]), stdev([0.9, 0.6])]
    )
    assert [point.seconds for point in points] == pytest.approx([0, 2, 4, 6])


def test_seeds_with_other_checkpoints_are_averaged_at_what_each_has_by_then():
    table = curves(vbi([0.6, 0.8], 1, every=20, seconds=1.0), vbi([0.5, 0.7], 2, every=30, start=0.3, seconds=3.0))
    points = row(table, "vbi + deep-coral").means()
    assert [point.step for point in points] == [0, 20, 30, 40, 60]
    assert [point.kept.mean for point in points] == pytest.approx([0.4, 0.45, 0.55, 0.65, 0.75])
    assert [point.seconds for point in points] == [0, None, None, None, None]  # no step that both came to


def test_a_row_that_is_not_trained_has_what_it_ends_with_from_the_start():
    free = control("recalibrate-bn", 0.57, adapter="recalibrate-bn").model_copy(update={"times": {"step 0": 2.5}})
    table = curves(free, control("none", 0.5, adapter="none"))
    assert [(point.step, point.seconds, point.kept) for point in row(table, "recalibrate-bn").per_seed[1]] == [
        (0, 2.5, 0.57)
    ]
    assert row(table, "baseline").end.seconds == 0
    assert table.trained == []


def test_a_quantized_rows_curve_begins_at_its_full_precision_baseline():
    def quantized(record, valid):
        before = record.accuracy.model_copy(update={"valid": valid})
        told = Quantized(
            quantizer="q", options={}, gradients="full-precision", before=before, num_bytes=None, full_precision_bytes=1
        )
        return record.model_copy(update={"quantized": told})

    arm = quantized(vbi([0.8, 0.85], start=0.4), 0.85)
    assert row(curves(arm), "vbi + deep-coral").steps == [10, 20]  # 0.4 is what int8 has: no start of this curve
    table = curves(arm, quantized(control("none", 0.4, adapter="none"), 0.75))
    assert table.precise
    assert [point.kept for point in row(table, "vbi + deep-coral").per_seed[1]] == [0.75, 0.8, 0.85]
    assert row(table, "baseline").end.kept.mean == 0.75


def test_what_is_not_comparable_shares_no_table():
    records = [vbi([0.6]), make_record(test=0.6, model="other", comparable={"key": "other"}, key="o" * 32)]
    tables = curves_of(records, build(records))
    assert [[one.key.model for one in table.rows] for table in tables] == [["net"], ["other"]]


# -- speed -----------------------------------------------------------------------------------------------------------------


def test_a_row_is_timed_to_where_fine_tuning_ends():
    table = curves(
        finetune([0.55, 0.60, 0.58, 0.59], seconds=1.0),
        vbi([0.52, 0.54, 0.56, 0.61], seconds=2.0),
        vbi([0.52, 0.54, 0.56, 0.58], adapter="dann"),
    )
    found = table.reach(row(table, "vbi + deep-coral"))
    assert (found.level, found.step, found.steps_ratio) == (pytest.approx(0.6), 40, 2.0)
    assert (found.seconds, found.seconds_ratio) == (8.0, 4.0)
    assert (found.seeds_reached, found.seeds) == (1, 1)
    assert reach_words(found) == "reaches 60.00% at step 40, 2 times the steps of finetune-target"
    never = table.reach(row(table, "vbi + dann"))
    assert (never.step, never.seconds, never.steps_ratio, never.seeds_reached) == (None, None, None, 0)
    assert reach_words(never) == "never reaches 60.00%"


def test_a_share_of_the_gain_is_reached_earlier():
    table = curves(finetune([0.55, 0.60]), vbi([0.549, 0.551, 0.56]))
    assert table.reach(row(table, "vbi + deep-coral")).step is None
    half = table.reach(row(table, "vbi + deep-coral"), share=0.5)  # of 0.50 to 0.60
    assert (half.level, half.step, half.steps_ratio) == (pytest.approx(0.55), 20, 2.0)


def test_speed_is_compared_over_common_seeds_alone():
    table = curves(finetune([0.6], 1), finetune([0.9], 2), vbi([0.5, 0.7], 1), vbi([0.1, 0.1], 3))
    found = table.reach(row(table, "vbi + deep-coral"))
    assert (found.level, found.step, found.seeds) == (pytest.approx(0.6), 20, 1)


def test_each_seed_is_held_against_its_own_fine_tuning():
    table = curves(finetune([0.6], 1), finetune([0.8], 2), vbi([0.75], 1), vbi([0.7], 2))
    found = table.reach(row(table, "vbi + deep-coral"))
    assert (found.step, found.seeds_reached, found.seeds) == (10, 1, 2)  # 0.725 of 0.7 on average; of seeds, 1 alone


def test_nothing_is_to_be_reached_where_fine_tuning_gains_nothing():
    table = curves(finetune([0.4, 0.45]), vbi([0.6]))
    assert table.reach(row(table, "vbi + deep-coral")) is None
    assert "no higher than it starts" in " ".join(curve_table(table).notes)
    alone = curves(vbi([0.6]))
    assert alone.reach(row(alone, "vbi + deep-coral")) is None
    assert "No finetune-target row" in " ".join(curve_table(alone).notes)


# -- correctors ------------------------------------------------------------------------------------------------------------


def test_correction_rates_pool_the_seeds_and_hold_between_points():
    first = corrected("ll", [(3.0, 2), (9.5, 5)], 1, wrong=10)
    second = corrected("ll", [(5.0, 10)], 2, wrong=30)
    (found,) = curves(first, second).correctors
    assert found.rate(2.9) == 0
    assert found.rate(3) == pytest.approx(2 / 40)
    assert found.rate(5) == pytest.approx(12 / 40)
    assert found.rate(100) == pytest.approx(15 / 40)
    assert found.spent == pytest.approx(120 / 40)
    assert found.points() == [(3.0, 2 / 40), (5.0, 12 / 40), (9.5, 15 / 40)]


def test_a_corrector_that_corrects_nothing_is_a_line_and_shams_are_none():
    records = [
        corrected("bi", [], work={"forward": 110, "backward": 100}),
        sham(0.6, true=1, moved=3),
        control("curriculum", 0.6, corrector="none", corrected=0, work={"attack": None}),
    ]
    table = curves(*records)
    assert [(one.corrector, one.points()) for one in table.correctors] == [("bi", [(21.0, 0.0)])]
    assert table.untold == ()


def test_samples_kept_whatever_the_classifier_says_are_no_corrections():
    rival = corrected("vbi", [(1.0, 9)], work={"forward": 4}).model_copy()
    cell = rival.cell.model_copy(update={"control": "transferred"})
    table = curves(corrected("vbi", [(3.0, 2), (7.0, 5)]), rival.model_copy(update={"cell": cell, "key": "other"}))
    assert [(one.corrector, one.rate(7)) for one in table.correctors] == [("vbi", 0.5)]
    alone = rival.model_copy(update={"cell": cell})
    assert curves(alone).correctors == ()


def test_a_record_without_a_curve_never_hides_one_that_has_it():
    kept = corrected("vbi", [(3.0, 2), (7.0, 5)])
    empty = corrected("vbi", [], adapter="later").model_copy(update={"key": "other"})
    empty = empty.model_copy(update={"correction": empty.correction.model_copy(update={"corrected": 5})})
    for records in ((kept, empty), (empty, kept)):
        (one,) = curves(*records).correctors
        assert one.points()[-1][1] == 0.5


def test_seeds_in_which_finetuning_gains_nothing_are_in_neither_count():
    table = curves(
        finetune([0.6, 0.7], 1), vbi([0.8, 0.8], 1),  # reached
        finetune([0.6, 0.7], 2), vbi([0.5, 0.6], 2),  # not reached
        finetune([0.4, 0.45], 3), vbi([0.9, 0.9], 3),  # ends below its start of 0.5: any row has that at once
    )  # fmt: skip
    found = table.reach(row(table, "vbi + deep-coral"))
    assert (found.seeds_reached, found.seeds) == (1, 2)
    shown = curve_table(table)
    assert column(shown, "Seeds")["vbi + deep-coral"] == "1/2"
    assert any("1 left out in which that ends no higher than it starts" in note for note in shown.notes)


@pytest.mark.parametrize(("seeds", "words"), [((1,), "seed 1 alone"), ((1, 2), "mean over seeds 1, 2 (± sample std)")])
def test_one_seed_is_no_mean(seeds, words):
    notes = curve_table(curves(*(vbi([0.6, 0.7], seed) for seed in seeds))).notes
    assert notes[0].startswith(f"Percent, {words}, of the best checkpoint")


def test_correctors_of_older_records_are_named():
    table = curves(corrected("ll", [(3.0, 2)]), method(0.6, adapter="dann"))
    assert ([one.corrector for one in table.correctors], table.untold) == (["ll"], ("vbi",))
    assert "No curve in records of before it was kept: vbi" in corrector_table(table).notes[-1]


def test_a_correctors_seed_is_counted_once_whatever_its_rows():
    records = [corrected("ll", [(3.0, 2)], seed, adapter=adapter) for seed in (1, 2) for adapter in ("a", "b")]
    (found,) = curves(*records).correctors
    assert found.rate(3) == pytest.approx(4 / 20)
    assert set(found.per_seed) == {1, 2}


def test_of_records_of_one_stage_the_one_with_the_curve_is_read():
    told = {"curve": [(3.0, 3)]}
    records = [method(0.6, adapter="a"), method(0.6, adapter="b", work=told), method(0.6, adapter="c")]
    (found,) = curves(*records).correctors
    assert found.rate(3) == pytest.approx(3 / 10)


# -- tables of text --------------------------------------------------------------------------------------------------------


def test_columns_are_the_start_and_five_checkpoints():
    table = curves(vbi([0.6] * 20, every=100))
    assert step_marks(table) == [0, 400, 800, 1200, 1600, 2000]
    assert step_marks(curves(vbi([0.6] * 3))) == [0, 10, 20, 30]
    shown = curve_table(table)
    assert [one.heading for one in shown.columns][:2] == ["Start", "Step 400\n20%"]


def test_columns_of_seconds_are_parts_and_multiples_of_fine_tuning(many):
    table = curves(*many)
    assert second_marks(table) == [0, 2, 4, 8, 16, 32]  # four checkpoints of 2 s; the slowest row takes 20 s
    shown = curve_table(table, axis="seconds")
    assert column(shown, "8.00 s")["vbi + dann"] == "54.00"  # at 5 s: 0.5 + mean(0.01 seed) + 0.02
    assert column(shown, "8.00 s")["vbi + deep-coral"] == "60.00"
    assert column(shown, "2.00 s")["vbi + dann"] == "52.00"  # no checkpoint yet: the start


def test_cells_are_means_and_the_last_has_its_spread(many):
    shown = curve_table(curves(*many))
    assert column(shown, "Step 20")["finetune-target"] == "56.00"  # 0.52 + 0.04: the best of two
    assert column(curve_table(curves(*many), raw=True), "Step 20")["finetune-target"] == "54.00"
    assert column(shown, "Step 40")["finetune-target"] == "58.00 ± 1.00"
    assert column(shown, "Steps to")["vbi + deep-coral"] == "30 (0.75x)"
    assert column(shown, "Seconds to")["vbi + dann"] == "10.0 (1.2x)"
    assert column(shown, "Steps to")["T→T + deep-coral"] == "never"
    assert column(shown, "Seeds")["vbi + dann"] == "3/3"
    assert column(shown, "Step 10")["baseline"] == "50.00"


def test_notes_say_what_the_numbers_are_not(many):
    said = " ".join(curve_table(curves(*many)).notes)
    assert "it is no test result" in said
    assert "depend on the machine" in said
    assert "Not trained, the same at every step: baseline." in said
    fewer = " ".join(curve_table(curves(*many, vbi([0.6], 4))).notes)
    assert "finetune-target (1, 2, 3)" in fewer


def test_passes_are_marked_as_long_as_an_attack_goes_on():
    assert pass_marks(curves(corrected("ll", [(3.0, 2), (120.0, 5)]))) == [1, 2, 5, 10, 20, 50, 100]
    shown = corrector_table(curves(corrected("ll", [(3.0, 2), (120.0, 5)])))
    assert [one.cells[0] for one in shown.columns] == ["0%", "0%", "20%", "20%", "20%", "20%", "20%", "50%", "6.00"]


@pytest.mark.parametrize("width", [20, 40, 60, 80, 100, 120, 200])
def test_no_row_is_lost_and_no_number_cut_at_any_width(many, width):
    console = Console(file=io.StringIO(), width=width, highlight=False)
    table = curves(*many)
    render([table], console)
    said = console.file.getvalue()
    assert max(map(len, said.splitlines())) <= width
    flat = " ".join(said.split())
    for end in column(curve_table(table), "Step 40").values():
        assert end in flat
    assert "33%" in flat or "27%" in flat


def test_ascii_streams_get_ascii(many):
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    render([curves(*many)], Console(file=stream, width=120, highlight=False))
    stream.flush()
    assert b"T->T + deep-coral" in stream.buffer.getvalue()


# -- data ------------------------------------------------------------------------------------------------------------------


def test_csv_holds_every_point_exactly(many):
    lines = list(csv.DictReader(io.StringIO(to_csv([curves(*many)]))))
    ours = [line for line in lines if line["row"] == "finetune-target"]
    assert len(ours) == 3 * 5
    ends = [float(line["kept"]) for line in ours if line["step"] == "20"]
    assert fmean(ends) == pytest.approx(0.56, abs=1e-15)
    assert fmean(float(line["valid"]) for line in ours if line["step"] == "20") == pytest.approx(0.54, abs=1e-15)
    assert {line["seconds"] for line in ours if line["step"] == "20"} == {"4.0"}
    correction = [line for line in lines if line["curve"] == "correction"]
    assert [(line["seed"], line["passes"], line["corrected"], line["wrong"]) for line in correction] == [
        (str(seed), passes, str(count), "10")
        for seed in (1, 2, 3)
        for passes, count in (("3.0", 1), ("7.0", 2 + seed % 2))
    ]
    assert all(line["step"] == line["valid"] == "" for line in correction)


def test_json_is_versioned_and_says_when_rows_get_there(many):
    told = json.loads(json.dumps(to_json([curves(*many)], share=0.5), allow_nan=False))
    assert (told["version"], told["share"]) == (1, 0.5)
    rows = {one["label"]: one for one in told["tables"][0]["rows"]}
    assert rows["vbi + deep-coral"]["reach"]["step"] == 20  # 0.55: half of 0.06 above the start
    assert rows["vbi + deep-coral"]["points"][-1]["kept"]["per_seed"] == pytest.approx({"1": 0.59, "2": 0.6, "3": 0.61})
    (corrector,) = told["tables"][0]["correctors"]
    assert corrector["points"][0] == {"passes": 3.0, "rate": pytest.approx(0.1)}


# -- pictures --------------------------------------------------------------------------------------------------------------


def test_pictures_name_the_best_row_and_the_controls_of_its_adapter(many):
    other = [
        trained(control("target-to-target", 0.6, seed, adapter="dann"), [0.6] * 4, start=0.5 + 0.01 * seed)
        for seed in (1, 2, 3)
    ]
    found = {role: one.key.label for role, one in highlights(curves(*many, *other)).items()}
    assert found == {
        "best": "vbi + deep-coral",
        "finetune-target": "finetune-target",
        "target-to-target": "T→T + deep-coral",
        "curriculum": "curriculum + deep-coral",
        "rival": "T→T + dann",  # as good as the best row
    }


def test_the_best_row_is_one_of_every_seed(many):
    found = highlights(curves(*many, vbi([0.99], adapter="lucky")))
    assert found["best"].key.label == "vbi + deep-coral"


def test_the_spread_is_drawn_of_the_best_row_and_of_fine_tuning(many):
    lines = {line.role: line for line in accuracy_lines(curves(*many), "steps", raw=False)}
    assert lines["best"].spread[-1] == pytest.approx((59.0, 61.0))
    assert lines["finetune-target"].spread[0] == pytest.approx((51.0, 53.0))
    assert lines["target-to-target"].spread == lines[None].spread == ()


def test_an_axis_has_room_for_the_named_and_for_the_bulk_of_the_others(many):
    worst = [trained(method(0.6, 1, adapter=f"a{number}"), [0.5, 0.52]) for number in range(12)]
    diverged = trained(method(0.6, 1, adapter="diverged"), [0.1, 0.1])
    lines = accuracy_lines(curves(*many, *worst, diverged), "steps", raw=False)
    low, high = limits(lines)
    assert 45 < low < 50
    assert high > 61
    assert [line.role is None for line in lines] == sorted((line.role is None for line in lines), reverse=True)


@pytest.mark.parametrize(
    "ends", [[0.5, 0.5, 0.5], [0.98, 0.97, 0.2, 0.1], [0.0, 0.01, 1.0], [0.4], [], [0.3, 0.36, 0.33, 0.9]]
)
def test_labels_lie_as_near_to_their_lines_as_their_height_lets_them(ends):
    gap = 0.1
    order = sorted(range(len(ends)), key=lambda index: ends[index])
    if not ends:
        assert spaced(ends, gap) == []
        return
    apart = [
        {"type": "ineq", "fun": lambda x, low=low, high=high: x[high] - x[low] - gap} for low, high in pairwise(order)
    ]
    nearest = minimize(
        lambda x: ((x - ends) ** 2).sum(), ends, bounds=[(0, 1)] * len(ends), constraints=apart, options={"ftol": 1e-14}
    )
    assert spaced(ends, gap) == pytest.approx(nearest.x, abs=1e-5)


def test_labels_without_room_share_it():
    assert spaced([0.5] * 5, 0.5) == pytest.approx([0, 0.25, 0.5, 0.75, 1])


def test_round_numbers_lie_within_the_axis():
    assert round_numbers(90.2, 94.1) == [91, 92, 93, 94]
    assert round_numbers(0, 2000) == [0, 500, 1000, 1500, 2000]


def test_rates_are_drawn_to_where_the_last_attack_ends(many):
    table = curves(*many, corrected("ddn", [(50.0, 8)], adapter="dann"))
    lines = corrector_lines(table)
    assert [line.label for line in lines] == ["ddn", "vbi"]
    assert {line.points[-1][0] for line in lines} == {50.0}
    assert lines[0].points[0] == (1.0, 0.0)


@pytest.mark.parametrize(("name", "magic"), [("curves.png", b"\x89PNG"), ("curves.svg", b"<?xml")])
def test_the_picture_is_the_same_bytes_each_time(many, tmp_path, name, magic):
    table = curves(*many, *(trained(method(0.6, seed, adapter=NASTY), [0.9] * 4) for seed in (1, 2, 3)))
    assert NASTY in highlights(table)["best"].key.label
    draw([table, curves(vbi([0.6, 0.7]))], tmp_path / name)
    first = (tmp_path / name).read_bytes()
    draw([table, curves(vbi([0.6, 0.7]))], tmp_path / name)
    assert first.startswith(magic)
    assert first == (tmp_path / name).read_bytes()


def test_the_picture_is_drawn_against_seconds_and_raw(many, tmp_path):
    pictures = []
    for number, options in enumerate(({}, {"axis": "seconds"}, {"raw": True})):
        draw([curves(*many)], tmp_path / f"{number}.svg", **options)
        pictures.append((tmp_path / f"{number}.svg").read_bytes())
    assert len(set(pictures)) == 3


def test_no_other_kind_of_picture_is_drawn():
    with pytest.raises(UsageError, match=r'--figure: got "curves.pdf", expected a file name that ends in .png or .svg'):
        curve_plots.check_drawable(Path("curves.pdf"))


def test_without_matplotlib_the_extra_is_named(monkeypatch):
    monkeypatch.setattr(pictures, "find_spec", lambda name: None)
    with pytest.raises(
        PluginError, match=r"matplotlib, which is not installed; run \"pip install 'adcorda-harness\[figures\]'\""
    ):
        curve_plots.check_drawable(Path("curves.png"))


def test_the_page_has_a_line_for_every_trained_row_and_escapes_names(many):
    records = [*many, *(trained(method(0.6, seed, adapter=NASTY), [0.9] * 4) for seed in (1, 2, 3))]
    tables = build(records)
    page = to_html(tables, "toy", curves=curves_of(records, tables))
    assert "<script>" not in page
    drawn = re.findall(r"<svg role=\"img\" aria-label=\"(?:Validation|Corrected).*?\n</svg>\n<p", page, re.DOTALL)
    accuracy, correction = [ET.fromstring(one.removesuffix("<p")) for one in drawn]
    assert len(accuracy.findall(".//polyline")) == 6
    assert len(correction.findall(".//polyline")) == 1
    named = [line.get("class") for line in accuracy.findall(".//polyline") if " k" in line.get("class")]
    assert sorted(named) == ["curve k0", "curve k1", "curve k2", "curve k3"]
    assert "it is no test result" in page


def test_a_page_without_curves_has_no_section_of_them(many):
    untrained = [control("none", 0.5, adapter="none")]
    tables = build(untrained)
    assert "<polyline" not in to_html(tables, "toy", curves=curves_of(untrained, tables))
    assert "<polyline" not in to_html(build(many), "toy")
