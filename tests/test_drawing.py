"""What the harness makes of a figure's drawing: checked, in its own style, the same bytes each time, nothing left behind."""

from __future__ import annotations

import sys
import warnings

import matplotlib as mpl
import pytest
import torch
from matplotlib.figure import Figure as Canvas
from torch import nn

from harness.contract import NoOptions
from harness.drawing import Drawing, Figure
from harness.engine.drawing import FULL_PRECISION_NOTE, PerturbedSamples, draw
from harness.engine.images import ImageSet
from harness.engine.networks import PixelClassifier
from harness.errors import ContractError

PNG = b"\x89PNG\r\n\x1a\n"


def classifier(gain=1.0):
    net = nn.Sequential(nn.Flatten(), nn.Linear(4, 2))
    with torch.no_grad():
        net[1].weight.copy_(gain * torch.tensor([[1.0, 0, 0, 0], [-1.0, 0, 0, 0]]))
    return PixelClassifier(net, mean=[0.0], std=[1.0], num_classes=2)


def samples(count=5):
    stored = torch.arange(4 * 2 * count, dtype=torch.uint8).reshape(2 * count, 1, 2, 2)
    labels = torch.arange(2 * count) % 2
    rows = torch.arange(count) * 2 + 1
    train = ImageSet(stored, labels, rows, 2, torch.device("cpu"))
    images = torch.full((count, 1, 2, 2), 0.25) * torch.arange(count).reshape(-1, 1, 1, 1) / 5
    nothing = torch.zeros(count, dtype=torch.int64)
    return PerturbedSamples(train, rows, images, nothing, labels[rows], torch.ones(count, dtype=torch.bool))


class Made(Figure[NoOptions]):
    """Return what it is told to."""

    def __init__(self, make):
        super().__init__(NoOptions())
        self.make = make

    def draw(self, network, samples, classes):
        return self.make(network, samples, classes)


class Looking(Made):
    """Look at layers."""

    gradients = True


def plotted(title="a title", **changes):
    def make(network, samples, classes):
        canvas = Canvas(figsize=(2, 1.5), layout="constrained")
        ax = canvas.subplots()
        ax.plot([0, 1, 2], [1, 3, 2], label="line")
        ax.hist([0, 0, 1], hatch="//")
        ax.set_title(title)
        return Drawing(**{"figure": canvas, "caption": "A line.", **changes})

    return make


def drawn(make, *, kind=Made, judge=None, made=None, seed=1, dpi=72):
    return draw(
        kind(make), classifier(), made or {"vbi": samples()}, ("0", "1"), name="toy", seed=seed, dpi=dpi, judge=judge
    )


# -- the picture -----------------------------------------------------------------------------------------------------------


def test_the_bytes_are_the_same_each_time_and_tell_no_time_and_no_version():
    first, second = drawn(plotted()), drawn(plotted())
    assert (first.png, first.svg) == (second.png, second.svg)
    assert first.png.startswith(PNG)
    assert b"tEXt" not in first.png.replace(b"pHYs", b"")
    assert b"<dc:date>" not in first.svg
    assert mpl.__version__.encode() not in first.svg.partition(b"<defs>")[0]


def test_the_png_has_the_size_in_inches_times_the_dots_an_inch():
    data = drawn(plotted(), dpi=100).png
    assert [int.from_bytes(data[16 + 4 * part : 20 + 4 * part], "big") for part in range(2)] == [200, 150]


def test_a_machines_own_settings_change_nothing_and_are_put_back():
    plain = drawn(plotted())
    with mpl.rc_context({"font.size": 20, "svg.hashsalt": "other", "axes.facecolor": "red"}):
        before = dict(mpl.rcParams)
        assert drawn(plotted()).svg == plain.svg
        assert dict(mpl.rcParams) == before
    assert drawn(plotted()).png == plain.png


def test_no_figure_is_left_in_pyplot():
    drawn(plotted())
    pyplot = sys.modules.get("matplotlib.pyplot")
    assert pyplot is None or pyplot.get_fignums() == []


def test_names_are_drawn_as_they_are_written():
    """Were it read as a formula, "$x_" would raise, and "$x$" lose its signs."""
    drawn(plotted("$\\frac$"))
    assert drawn(plotted("$x$")).svg != drawn(plotted("x")).svg


def test_letters_that_the_font_lacks_are_flagged_and_other_warnings_are_heard():
    assert drawn(plotted("\U00010330")).drawing.flags == (
        "some letters of the names are not in the font, and are drawn as boxes",
    )

    def warn(network, samples, classes):
        warnings.warn("careful", UserWarning, stacklevel=1)
        return plotted()(network, samples, classes)

    with pytest.warns(UserWarning, match="careful"):
        assert drawn(warn).drawing.flags == ()


# -- what a figure is given ------------------------------------------------------------------------------------------------


def test_a_figure_gets_a_frozen_copy_and_random_numbers_of_its_own():
    heard = {}

    def look(network, samples, classes):
        heard["draw"] = torch.rand(1).item()
        heard["frozen"] = not any(parameter.requires_grad for parameter in network.parameters())
        heard["training"] = any(module.training for module in network.modules())
        for parameter in network.parameters():
            parameter.zero_()
        return plotted()(network, samples, classes)

    network = classifier()
    torch.manual_seed(5)
    expected = torch.rand(1).item()
    torch.manual_seed(5)
    draw(Made(look), network, {}, (), name="toy", seed=1, dpi=60)
    first = heard["draw"]
    assert torch.rand(1).item() == expected
    draw(Made(look), network, {}, (), name="toy", seed=1, dpi=60)
    assert (heard["draw"], heard["frozen"], heard["training"]) == (first, True, False)
    assert network.net[1].weight.abs().sum() == 2


def test_a_quantized_classifier_is_drawn_itself_unless_gradients_are_looked_at():
    seen = {}

    def look(network, samples, classes):
        seen["logit"] = network(torch.ones(1, 1, 2, 2))[0, 0].item() - network.net[1].bias[0].item()
        return plotted()(network, samples, classes)

    judge = classifier(gain=3.0).eval()
    assert drawn(look, judge=judge).drawing.flags == ()
    assert seen["logit"] == pytest.approx(3)
    assert drawn(look, kind=Looking, judge=judge).drawing.flags == (FULL_PRECISION_NOTE,)
    assert seen["logit"] == pytest.approx(1)
    assert drawn(look, kind=Looking).drawing.flags == ()


def test_samples_come_in_even_batches_and_by_their_places():
    made = samples(5)
    batches = list(made.batches(2))
    assert [len(originals) for originals, _ in batches] == [2, 2, 1]
    originals, images = (torch.cat(parts) for parts in zip(*batches, strict=True))
    assert originals.flatten().tolist() == pytest.approx(
        [value / 255 for row in (1, 3, 5, 7, 9) for value in range(4 * row, 4 * row + 4)]
    )
    assert torch.equal(images, made.stored)
    some = made.images(torch.tensor([4, 0]))
    assert torch.equal(some[0], originals[[4, 0]])
    assert torch.equal(some[1], images[[4, 0]])
    some[1].zero_()
    assert torch.equal(images, made.stored)
    assert list(samples(0).batches(2)) == []


# -- what it must return ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda *_: "a picture", "returned a str; expected a harness.api.Drawing"),
        (plotted(figure="paper"), "drew on a str; expected a matplotlib.figure.Figure"),
        (plotted(caption=" "), "has the caption ' '; expected a sentence"),
        (plotted(flags="careful"), "has the flags 'careful'; expected sentences in a tuple"),
        (plotted(flags=("",)), "has the flags ('',); expected sentences in a tuple"),
        (plotted(numbers={"mean": float("nan")}), "has the number mean: nan; expected a name and a finite number"),
        (plotted(numbers={"sure": True}), "has the number sure: True; expected a name and a finite number"),
        (plotted(table=[{"a": 1}, {"b": 1}]), "has a row with the columns b; expected those of the first, a"),
        (plotted(table=[{"a": [1]}]), "has a: [1] in its table; expected text, a finite number or None"),
    ],
)
def test_what_is_no_drawing_is_told(make, message):
    with pytest.raises(ContractError) as raised:
        drawn(make)
    assert str(raised.value) == f'figure "toy" {message}'
