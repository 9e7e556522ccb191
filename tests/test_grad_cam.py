"""Figure 3: the maps are those of a hand derivation, the samples are the ones that say most, errors say what to do."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from harness.engine.drawing import PerturbedSamples, draw
from harness.engine.images import ImageSet
from harness.engine.networks import PixelClassifier
from harness.errors import PluginError
from harness_figures.grad_cam import GradCam, GradCamOptions
from harness_figures.layers import choose_layer
from harness_figures.looking import spread_over_classes
from harness_figures.maps import class_maps, moved_share
from harness_figures.panels import Shown

SIDE = 4
FILTERS = np.array([[1.0, -1.0], [0.5, 0.5]])
"""Two 1 × 1 convolutions of two channels."""
HEAD = np.array([[2.0, 0.0, -1.0], [-1.0, 1.0, 0.5]]).T
"""Logits (3) of the two channels' averages."""


def network(channels=2):
    """A convolution, a ReLU in place, the average of each channel, a linear layer."""
    net = nn.Sequential(
        nn.Conv2d(channels, 2, 1, bias=False),
        nn.ReLU(inplace=True),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(2, 3),
    )
    with torch.no_grad():
        net[0].weight.copy_(torch.tensor(FILTERS[:, :channels]).reshape(2, channels, 1, 1))
        net[4].weight.copy_(torch.tensor(HEAD))
        net[4].bias.zero_()
    net.requires_grad_(requires_grad=False)
    return PixelClassifier(net, mean=[0.0] * channels, std=[1.0] * channels, num_classes=3).eval()


def activations(image):
    """What the ReLU gives for an image (C, H, W)."""
    return np.maximum(np.einsum("kc,chw->khw", FILTERS[:, : len(image)], image), 0)


def by_hand(image, label):
    """Grad-CAM after the ReLU, the largest value 1: the mean gradient of logit c with respect to channel k is v_ck / (H W)."""
    summed = np.einsum("k,khw->hw", HEAD[label] / SIDE**2, activations(image))
    positive = np.maximum(summed, 0)
    return positive / positive.max() if positive.max() > 0 else positive


def images(count, channels=2, seed=0):
    return torch.rand(count, channels, SIDE, SIDE, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("label", [0, 1, 2])
def test_a_map_is_that_of_a_hand_derivation(label):
    given = images(5)
    found = class_maps(network(), "1", given, torch.full((5,), label))
    expected = np.stack([by_hand(image, label) for image in given.double().numpy()])
    assert found.numpy() == pytest.approx(expected, abs=1e-5)
    assert expected.max() == 1
    assert not given.requires_grad


def test_before_the_relu_the_gradient_is_that_of_the_channels_that_are_on():
    """The layer before it: where a channel is negative its gradient is zero, its activation is not."""
    given = images(3, seed=1)
    raw = np.einsum("kc,nchw->nkhw", FILTERS, given.double().numpy())
    label = 0
    weights = HEAD[label] * (raw > 0).mean((2, 3)) / SIDE**2
    expected = np.maximum(np.einsum("nk,nkhw->nhw", weights, raw), 0)
    peaks = expected.max((1, 2), keepdims=True)
    expected = np.divide(expected, peaks, out=np.zeros_like(expected), where=peaks > 0)
    assert peaks.max() > 0
    found = class_maps(network(), "0", given, torch.full((3,), label))
    assert found.numpy() == pytest.approx(expected, abs=1e-5)


def test_a_map_without_positive_evidence_is_zero_and_not_a_number_all_the_same():
    """Both channels speak against class 2 where only the first is on: -1 times something positive."""
    given = torch.zeros(1, 2, SIDE, SIDE)
    given[:, 0] = 1.0
    with torch.no_grad():
        net = network()
        net.net[4].weight[2] = torch.tensor([-1.0, -0.5])
    assert class_maps(net, "1", given, torch.tensor([2])).abs().max() == 0


def test_the_share_that_moved_is_the_total_variation_distance():
    """(1/2, 1/2, 0, 0) and (0, 1/4, 3/4, 0): half of (1/2 + 1/4 + 3/4)."""
    first, second = torch.tensor([[[1.0, 1.0], [0.0, 0.0]]]), torch.tensor([[[0.0, 1.0], [3.0, 0.0]]])
    assert moved_share(first, second).tolist() == pytest.approx([0.75])
    assert moved_share(first, 5 * first).tolist() == pytest.approx([0.0])
    assert moved_share(first, torch.zeros(1, 2, 2)).tolist() == [0.0]


def test_samples_are_spread_over_classes_before_a_class_comes_again():
    scores, labels = torch.tensor([0.9, 0.8, 0.7, 0.1, 0.95]), torch.tensor([0, 0, 1, 2, 0])
    assert spread_over_classes(scores, labels, 3).tolist() == [4, 2, 3]
    assert spread_over_classes(scores, labels, 5).tolist() == [4, 2, 3, 0, 1]
    assert spread_over_classes(scores[:0], labels[:0], 3).tolist() == []


# -- layers ----------------------------------------------------------------------------------------------------------------


class Backbone(nn.Module):
    """8 × 8, then 4 × 4 twice by one ReLU that is used twice, then 2 × 2."""

    def __init__(self):
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(3, 2, 3, padding=1), nn.BatchNorm2d(2))
        self.second = nn.Conv2d(2, 2, 3, stride=2, padding=1)
        self.relu = nn.ReLU()
        self.stage = nn.Sequential(nn.Conv2d(2, 2, 3, padding=1), nn.Tanh())
        self.last = nn.Conv2d(2, 2, 3, stride=2, padding=1)
        self.head = nn.Linear(8, 2)

    def forward(self, pixels):
        found = self.stage(self.relu(self.second(self.relu(self.first(pixels)))))
        return self.head(self.last(found).flatten(1))


def classifier_of(net):
    return PixelClassifier(net, mean=[0.5], std=[0.5], num_classes=2).eval()


def test_unless_told_the_layer_is_the_outermost_name_of_the_last_map_of_four_by_four():
    chosen = choose_layer(classifier_of(Backbone()), torch.rand(1, 3, 8, 8), None)
    assert (chosen.name, chosen.height, chosen.width) == ("stage", 4, 4)


def test_where_every_map_is_coarse_the_finest_is_taken():
    net = nn.Sequential(nn.Conv2d(3, 2, 3, stride=4, padding=1), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(2, 2))
    assert choose_layer(classifier_of(net), torch.rand(1, 3, 8, 8), None).name == "0"


def test_a_layer_is_taken_by_its_name_and_an_unknown_one_lists_those_there_are():
    network = classifier_of(Backbone())
    image = torch.rand(1, 3, 8, 8)
    assert choose_layer(network, image, "stage.0").name == "stage.0"
    with pytest.raises(PluginError) as raised:
        choose_layer(network, image, "stages")
    assert str(raised.value) == (
        'grad-cam: layer: got "stages", which is no feature map of this network; did you mean "stage"? '
        "Its feature maps, the last first: last (2x2), stage (4x4), stage.0 (4x4), second (4x4), first (8x8), first.0 (8x8)"
    )
    with pytest.raises(PluginError, match='got "relu"'):
        choose_layer(network, image, "relu")  # used twice: no one place


def test_a_network_without_feature_maps_is_refused():
    net = nn.Sequential(nn.Flatten(), nn.Linear(192, 2))
    with pytest.raises(PluginError, match="no layer of this network gives a feature map"):
        choose_layer(classifier_of(net), torch.rand(1, 3, 8, 8), None)


# -- the figure ------------------------------------------------------------------------------------------------------------


def samples(corrected, channels=2, seed=0):
    """As many samples as ``corrected``: labels 0, 1, 2, 0, …; first labelled the next class, then the true one if corrected."""
    count = len(corrected)
    generator = torch.Generator().manual_seed(seed)
    stored = torch.randint(0, 256, (2 * count, channels, SIDE, SIDE), dtype=torch.uint8, generator=generator)
    labels = torch.arange(2 * count) % 3
    rows = 2 * torch.arange(count)
    train = ImageSet(stored, labels, rows, SIDE, torch.device("cpu"))
    moved = stored[rows].float() / 255
    # The share of the map that moves is to differ: the further, the later.
    moved = moved.lerp(
        images(count, channels, seed + 1), torch.linspace(0.1, 1, max(count, 1))[:count].reshape(-1, 1, 1, 1)
    )
    before = (labels[rows] + 1) % 3
    corrected = torch.tensor(corrected, dtype=torch.bool)
    return PerturbedSamples(train, rows, moved, before, torch.where(corrected, labels[rows], before), corrected)


def drawn(made, *, net=None, **options):
    figure = GradCam(GradCamOptions(**options))
    return draw(figure, net or network(), made, ("ant", "bee", "cat"), name="toy", seed=1, dpi=60).drawing


def expected_shares(made):
    """The moved shares of all samples, by the hand derivation of both maps."""
    shares = []
    originals, perturbed = made.images(torch.arange(len(made)))
    for old, new, first, true in zip(originals, perturbed, made.before, made.labels, strict=True):
        maps = [by_hand(old.double().numpy(), int(first)), by_hand(new.double().numpy(), int(true))]
        parts = [one / one.sum() if one.sum() else None for one in maps]
        shares.append(0.0 if any(part is None for part in parts) else float(np.abs(parts[0] - parts[1]).sum() / 2))
    return np.array(shares)


def test_those_are_shown_of_whose_map_the_largest_share_moved_among_the_corrected():
    made = samples([True, True, False, True, True, True, True])
    shares = expected_shares(made)
    drawing = drawn({"ddn": made}, samples=3)
    best = {}
    for place in np.argsort(-shares):
        if made.corrected[place]:
            best.setdefault(int(made.labels[place]), int(place))
    # The best of each true class: three classes, three samples, the best of them first.
    assert [row["row"] for row in drawing.table] == [2 * place for place in best.values()][:3]
    assert [row["share moved"] for row in drawing.table] == pytest.approx(
        [shares[place] for place in best.values()][:3], abs=1e-5
    )
    corrected = made.corrected.numpy()
    assert drawing.numbers == pytest.approx(
        {"ddn: samples looked through": corrected.sum(), "ddn: mean share moved": shares[corrected].mean()}, abs=1e-5
    )
    assert len(drawing.figure.axes) == 3 * 6 + 2
    assert drawing.flags == ()


def test_correctors_show_the_same_samples_where_both_correct_some():
    first, second = samples([True, False, True, True]), samples([False, True, True, True], seed=0)
    table = drawn({"ll": first, "vbi": second}, samples=2).table
    rows = {name: [row["row"] for row in table if row["corrector"] == name] for name in ("ll", "vbi")}
    assert rows["ll"] == rows["vbi"]
    assert set(rows["ll"]) <= {4, 6}


def test_correctors_that_correct_no_sample_in_common_show_their_own():
    table = drawn({"ll": samples([True, False, False]), "vbi": samples([False, True, False])}, samples=1).table
    assert {row["corrector"]: row["row"] for row in table} == {"ll": 0, "vbi": 2}


def test_only_as_many_are_looked_through_as_is_said_spread_evenly():
    made = samples([True] * 7)
    shares = expected_shares(made)
    numbers = drawn({"ddn": made}, candidates=3, samples=1).numbers
    assert numbers["ddn: samples looked through"] == 3
    assert numbers["ddn: mean share moved"] == pytest.approx(shares[[0, 2, 4]].mean(), abs=1e-5)


def test_rows_that_were_asked_for_are_shown_corrected_or_not_and_others_flagged():
    drawing = drawn({"ddn": samples([True, False, True])}, rows=(4, 2, 5))
    assert [(row["row"], row["true"], row["labelled before"], row["labelled after"]) for row in drawing.table] == [
        (4, "bee", "cat", "bee"),
        (2, "cat", "ant", "ant"),
    ]
    assert drawing.flags == ("row 5 is not among the training samples labelled wrong",)


def test_rows_none_of_which_is_labelled_wrong_name_some_that_are():
    with pytest.raises(PluginError) as raised:
        drawn({"ddn": samples([True, False])}, rows=(1, 3))
    assert str(raised.value) == (
        "grad-cam: rows: got 1, 3, of which the classifier labels none wrong; expected training samples that it labels wrong, "
        "such as 0, 2"
    )


@pytest.mark.parametrize("made", [samples([False, False]), samples([])])
def test_where_nothing_is_corrected_the_picture_says_so(made):
    drawing = drawn({"ddn": made})
    assert [text.get_text() for text in drawing.figure.texts] == ["nothing is corrected"]
    assert drawing.flags == ("ddn corrects nothing",)
    assert list(drawing.table) == []


def test_gray_images_are_shown_gray():
    drawing = drawn({"ddn": samples([True] * 3, channels=1)}, net=network(1), samples=1)
    shown = [ax.get_images()[0] for ax in drawing.figure.axes[:2]]
    assert [image.get_cmap().name for image in shown] == ["gray", "gray"]
    assert [image.get_clim() for image in shown] == [(0, 1), (0, 1)]


def test_the_difference_is_after_minus_before_on_a_scale_that_is_the_same_both_ways():
    made = samples([True] * 3)
    drawing = drawn({"ddn": made}, rows=(0,))
    difference = drawing.figure.axes[5].get_images()[0]
    originals, perturbed = (part[0].double().numpy() for part in made.images(torch.tensor([0])))
    expected = by_hand(perturbed, 0) - by_hand(originals, 1)
    assert np.asarray(difference.get_array()) == pytest.approx(expected, abs=1e-5)
    assert difference.get_clim() == (-1, 1)
    labels = [ax.get_xlabel() for ax in drawing.figure.axes[:6]]
    assert labels[:2] == ["true: ant\nlabelled: bee", "labelled: ant"]
    assert labels[3:5] == ["for bee", "for ant"]


def test_a_perturbation_is_magnified_to_half_of_the_range_in_two_digits():
    plain = np.full((1, 2, 2), 0.5)
    common = {
        "corrector": "ddn",
        "row": 0,
        "true": 0,
        "before": 1,
        "after": 0,
        "map_before": plain[0],
        "map_after": plain[0],
    }
    moved = plain + np.array([[[0.03, 0.0], [0.0, -0.01]]])
    shown = Shown(original=plain, perturbed=moved, moved=0.0, **common)
    assert (shown.largest_change, shown.magnification) == (pytest.approx(0.03), 17)  # 0.5 / 0.03 = 16.7
    assert Shown(original=plain, perturbed=plain, moved=0.0, **common).magnification == 1
