"""Figure 2: its numbers are those of logits computed by hand, its picture shows them."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from matplotlib.colors import to_rgba
from torch import nn

from harness.engine.drawing import BLUE, VERMILION, PerturbedSamples, draw
from harness.engine.images import ImageSet
from harness.engine.networks import PixelClassifier
from harness_figures.logit_change import INCORRECT, TRUE, LogitChange, LogitChangeOptions

# Three classes, one pixel x: logits (4x, 2 - x, 1).
WEIGHT, BIAS = [[4.0], [-1.0], [0.0]], [0.0, 2.0, 1.0]


def classifier():
    net = nn.Sequential(nn.Flatten(), nn.Linear(1, 3))
    with torch.no_grad():
        net[1].weight.copy_(torch.tensor(WEIGHT))
        net[1].bias.copy_(torch.tensor(BIAS))
    return PixelClassifier(net, mean=[0.0], std=[1.0], num_classes=3).eval()


def samples(originals, perturbed, labels, corrected):
    """Samples of one pixel, originals in 255ths; before and after are what the logits of the comment above say."""
    stored = torch.tensor(originals, dtype=torch.uint8).reshape(-1, 1, 1, 1)
    rows = torch.arange(len(originals))
    train = ImageSet(stored, torch.tensor(labels), rows, 1, torch.device("cpu"))
    images = torch.tensor(perturbed).reshape(-1, 1, 1, 1)
    predicted = [
        torch.tensor([int(np.argmax([4 * x, 2 - x, 1])) for x in pixels], dtype=torch.int64)
        for pixels in ([value / 255 for value in originals], perturbed)
    ]
    return PerturbedSamples(train, rows, images, *predicted, torch.tensor(corrected, dtype=torch.bool))


# 51/255 = 0.2: logits (0.8, 1.8, 1), predicted 1, the true class is 0. Raised to 0.6: (2.4, 1.4, 1); to 0.3: (1.2, 1.7, 1).
SOME = samples([51, 51, 51], [0.6, 0.5, 0.3], [0, 0, 0], [True, True, False])


def drawn(made, **options):
    return draw(
        LogitChange(LogitChangeOptions(**options)), classifier(), made, ("a", "b", "c"), name="toy", seed=1, dpi=60
    )


def test_means_are_those_of_a_hand_computation():
    """True class: 4(x' - x): 1.6, 1.2, and 0.4 uncorrected. The class first predicted: x - x': -0.4, -0.3, and -0.1."""
    numbers = drawn({"vbi": SOME}).drawing.numbers
    assert numbers == pytest.approx(
        {
            "vbi, uncorrected: n": 1,
            f"vbi, uncorrected, {TRUE}: mean": 0.4,
            f"vbi, uncorrected, {INCORRECT}: mean": -0.1,
            "vbi, corrected: n": 2,
            f"vbi, corrected, {TRUE}: mean": 1.4,
            f"vbi, corrected, {INCORRECT}: mean": -0.35,
            f"vbi, corrected, {TRUE}: std": 0.2 * 2**0.5,  # of two values d apart: d / sqrt(2)
            f"vbi, corrected, {INCORRECT}: std": 0.1 / 2**0.5,
        },
        abs=1e-6,
    )


def test_the_incorrect_class_is_the_one_first_predicted_and_not_the_one_predicted_after():
    """0.6 is labelled 0, and the true class is 2: down to 0.1, where 1 is predicted, the logit of 0 falls by 2."""
    made = samples([153], [0.1], [2], [False])
    numbers = drawn({"ll": made}).drawing.numbers
    assert (made.before.tolist(), made.after.tolist()) == ([0], [1])
    assert numbers[f"ll, uncorrected, {INCORRECT}: mean"] == pytest.approx(-2)
    assert numbers[f"ll, uncorrected, {TRUE}: mean"] == pytest.approx(0)


def test_the_table_counts_every_sample_once_in_bins_that_all_panels_share():
    table = drawn({"vbi": SOME, "ll": SOME}, bins=8).drawing.table
    edges = {}
    for row in table:
        edges.setdefault((row["corrector"], row["samples"], row["logit"]), []).append((row["from"], row["to"]))
    assert len(edges) == 2 * 2 * 2
    assert len({tuple(found) for found in edges.values()}) == 1
    (bins, *_) = edges.values()
    assert (bins[0][0], bins[-1][1], len(bins)) == (pytest.approx(-0.4), pytest.approx(1.6), 8)
    corrected = {
        which: [
            row["count"]
            for row in table
            if (row["corrector"], row["samples"], row["logit"]) == ("ll", "corrected", which)
        ]
        for which in (TRUE, INCORRECT)
    }
    # Bins of 0.25 from -0.4: 1.6 and 1.2 are in the 8th and the 7th, -0.4 and -0.3 in the first.
    assert corrected == {TRUE: [0, 0, 0, 0, 0, 0, 1, 1], INCORRECT: [2, 0, 0, 0, 0, 0, 0, 0]}


def test_panels_stand_as_in_the_paper_and_dashed_lines_at_the_means():
    figure = drawn({"ll": SOME, "vbi": SOME}).drawing.figure
    assert [ax.get_title(loc="left") for ax in figure.axes] == [
        "(a) ll: uncorrected, n = 1",
        "(b) ll: corrected, n = 2",
        "(c) vbi: uncorrected, n = 1",
        "(d) vbi: corrected, n = 2",
    ]
    dashed = {
        line.get_color(): line.get_xdata()[0] for line in figure.axes[3].get_lines() if line.get_linestyle() == "--"
    }
    assert dashed == {BLUE: pytest.approx(1.4), VERMILION: pytest.approx(-0.35)}
    assert len({ax.get_xlim() for ax in figure.axes}) == 1
    assert [text.get_text() for text in figure.legends[0].get_texts()] == [INCORRECT, TRUE, "mean"]
    faces = {patch.get_facecolor()[:3] for patch in figure.axes[3].patches}
    assert faces == {to_rgba(BLUE)[:3], to_rgba(VERMILION)[:3]}


def test_a_panel_without_samples_says_none_and_a_corrector_that_corrects_nothing_is_flagged():
    nothing = samples([51], [0.3], [0], [False])
    drawing = drawn({"ll": nothing}).drawing
    assert [[text.get_text() for text in ax.texts] for ax in drawing.figure.axes][1] == ["none"]
    assert drawing.flags == ("ll corrects nothing",)
    assert f"ll, corrected, {TRUE}: mean" not in drawing.numbers


def test_where_no_sample_is_wrong_there_is_an_empty_picture():
    drawing = drawn({"ll": samples([], [], [], [])}).drawing
    assert [[text.get_text() for text in ax.texts] for ax in drawing.figure.axes] == [["none"], ["none"]]
    assert drawing.numbers == {"ll, uncorrected: n": 0, "ll, corrected: n": 0}


def test_one_change_alone_has_a_range_around_it():
    """A perturbation of zero: no change in any logit, one bin around zero holds it."""
    table = drawn({"ll": samples([51], [0.2], [0], [False])}, bins=5).drawing.table
    counts = [row["count"] for row in table if row["samples"] == "uncorrected" and row["logit"] == TRUE]
    assert counts == [0, 0, 1, 0, 0]


@pytest.mark.parametrize(("changes", "left"), [([3.0, 4.0, 3.5], True), ([-3.0, -4.0], False), ([0.0], False)])
def test_the_means_are_written_where_they_hide_fewer_samples(changes, left):
    from harness_figures.logit_change import _is_emptier_on_the_left

    panel = SimpleNamespace(changes={TRUE: np.array(changes)})
    assert _is_emptier_on_the_left(panel, np.linspace(-4, 4, 9)) == left
