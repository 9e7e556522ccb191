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


@pytest.mark.parametrize(
    ("coral", "floor", "words"),
    [
        (0.74, 1.0, ": coral is below its noise floor"),
        (0.75, 1.0, ": coral is at its noise floor"),
        (1.25, 1.0, ": coral is at its noise floor"),
        (1.26, 1.0, ""),
        (0.0, 0.0, ""),
        (float("nan"), 1.0, ""),
        (1.0, float("nan"), ""),
    ],
)
def test_a_loss_is_said_to_be_at_its_noise_floor_within_a_quarter_of_it_alone(coral, floor, words):
    figures = {"coral": coral, "coral-noise-floor": floor}
    (line,) = figure_lines(build([method(0.6, history=[figures])])[0])
    assert line == (
        f"deep-coral: coral {coral:.3g}, coral-noise-floor {floor:.3g} (means over rows, checkpoints and seeds){words}"
    )


def test_each_adapter_has_one_line_over_all_its_rows():
    records = [
        method(0.6, history=[{"coral": 1.0}]),
        control("target-to-target", 0.6, history=[{"coral": 2.0}]),
        method(0.6, adapter="mk-mmd", history=[{"mmd": 0.5}]),
        control("finetune-target", 0.6, adapter="finetune", history=[{}]),
    ]
    assert figure_lines(build(records)[0]) == [
        "deep-coral: coral 1.5 (means over rows, checkpoints and seeds)",
        "mk-mmd: mmd 0.5 (means over rows, checkpoints and seeds)",
    ]
