"""Losses and diagnostics while adapting: means over checkpoints and seeds, and what is said of a noise floor."""

import pytest
from record_factory import control, method

from harness.leaderboard import build, figure_lines


def test_diagnostics_are_means_over_checkpoints_then_seeds():
    records = [
        method(0.6, 1, history=[{"coral": 1.0}, {"coral": 2.0, "coral-noise-floor": 4.0}]),
        method(0.6, 2, history=[{"coral": 3.0}]),
        method(0.6, corrector="ll"),
    ]
    (table,) = build(records)
    rows = {row.key.label: row for row in table.rows}
    figures = rows["vbi + deep-coral"].figures
    assert figures.diagnostics["coral"].per_seed == {1: 1.5, 2: 3.0}
    assert figures.diagnostics["coral"].mean == 2.25
    assert figures.losses["coral"].mean == pytest.approx(0.225)
    assert figures.diagnostics["coral-noise-floor"].per_seed == {1: 4.0}
    assert rows["ll + deep-coral"].figures.diagnostics == {}
    assert [row.key.label for row in table.measured] == ["vbi + deep-coral"]


GAP = {"coral": 0.5, "coral-noise-floor": 0.8}
NO_GAP = {"coral": 0.25, "coral-noise-floor": 0.9}
MEANS = "(means over rows, checkpoints and seeds)"


@pytest.mark.parametrize(
    ("records", "words"),
    [
        (
            [method(0.6, history=[GAP]), control("target-to-target", 0.6, history=[NO_GAP])],
            "coral 0.5; 0.25 in T→T, where there is no gap; 0.8 by chance",
        ),
        ([method(0.6, history=[GAP])], "coral 0.5; 0.8 by chance"),
        ([method(0.6, history=[{"coral": 0.5}])], "coral 0.5"),
        (
            [method(0.6, history=[{"coral": 0.5}]), control("target-to-target", 0.6, history=[{"coral": 0.25}])],
            "coral 0.5; 0.25 in T→T, where there is no gap",
        ),
        (
            [control("target-to-target", 0.6, history=[NO_GAP])],
            "coral 0.25 in T→T, where there is no gap; 0.9 by chance",
        ),
        ([method(0.6, history=[{"coral-noise-floor": 0.8}])], "coral 0.8 by chance"),
        ([method(0.6, history=[GAP | {"coral": float("nan")}])], "coral nan; 0.8 by chance"),
    ],
)
def test_a_loss_stands_beside_what_there_is_without_a_gap_and_no_verdict_is_drawn(records, words):
    assert figure_lines(build(records)[0]) == [f"deep-coral: {words} {MEANS}"]


def test_each_diagnostic_of_an_adapter_has_one_line_over_all_its_rows():
    records = [
        method(0.6, history=[{"coral": 1.0, "rank": 7.0}]),
        method(0.6, corrector="ll", history=[{"coral": 2.0}]),
        control("random-subset", 0.6, history=[{"coral": 3.0}]),
        control("target-to-target", 0.6, adapter="mk-mmd", history=[{"mmd": 0.125}]),
        method(0.6, adapter="mk-mmd", history=[{"mmd": 0.5}]),
        control("finetune-target", 0.6, adapter="finetune", history=[{}]),
    ]
    assert sorted(figure_lines(build(records)[0])) == [
        f"deep-coral: coral 2 {MEANS}",
        f"deep-coral: rank 7 {MEANS}",
        f"mk-mmd: mmd 0.5; 0.125 in T→T, where there is no gap {MEANS}",
    ]
