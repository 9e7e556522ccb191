"""The adapter that changes one layer's weights as the corrections changed its inputs: what it does, and what it chooses."""

import copy

import pytest
import torch
from adapter_toys import ToyCorrections, ToyNetwork, pictures, toy_loop, toy_network
from torch import nn

from harness.errors import HarnessError
from harness_adaptation import activity_weight_duality
from harness_adaptation.activity_weight_duality import ActivityWeightDuality, ActivityWeightDualityOptions

EXACT = {"betas": (0,), "step_sizes": (1,), "ridge": 0}
UNCHANGED = {"beta": 0, "step": 0, "relative-change": 0, "unmatched": 1, "kept-shift": 0}


def corrections(originals, *, seed=5, count=None):
    """Return corrections of originals (N, C, H, W): pixels moved by up to a quarter."""
    moved = (originals + (torch.rand(originals.shape, generator=torch.Generator().manual_seed(seed)) - 0.5) / 2).clamp(
        0, 1
    )
    return ToyCorrections(originals[:count], moved[:count], torch.zeros(len(originals), dtype=torch.long)[:count])


def better_when_changed(network):
    """Return an accuracy that is 1 for any other weights than the network has now."""
    before = copy.deepcopy(network.state_dict())
    return lambda now: float(any(not torch.equal(before[name], value) for name, value in now.state_dict().items()))


def adapted(network, *, loop=None, accuracy=None, pairs, kept=None, **options):
    """Adapt a network in place; returns the figures."""
    adapter = ActivityWeightDuality(ActivityWeightDualityOptions(**options))
    adapter.loop = loop or toy_loop(
        network, corrections=pairs, kept=kept, accuracy=accuracy or better_when_changed(network), target=pairs.parts[0]
    )
    network.eval()
    return adapter.adapt(network, adapter.loop.source, adapter.loop.target)


def convolutional(**how):
    """Return a network whose first layer is a convolution on normalized pixels, and that layer."""
    with torch.random.fork_rng():
        torch.manual_seed(3)
        convolution = nn.Conv2d(3, 4, **{"kernel_size": 3, **how})
        body = nn.Sequential(convolution, nn.BatchNorm2d(4), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
        return Normalizing(body, nn.Linear(4, 3)).eval(), convolution


class Normalizing(ToyNetwork):
    def outputs(self, images):
        return super().outputs((images - 0.5) / 0.25)


def mix(network, images):
    """Return the outputs (N, k, …) of the first convolution for images in [0, 1]."""
    return network.body[0]((images - 0.5) / 0.25)


# -- what the update does ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("count", [1, 4])
def test_the_changed_last_layer_does_on_originals_what_it_did_on_the_corrected(count, bias):
    network = toy_network(features=8).eval()
    network.body[3] = nn.Identity()  # no unit is dead, so that four samples are independent
    if not bias:
        network.head = nn.Linear(8, 3, bias=False)
    pairs = corrections(pictures(count))
    wanted = network(pairs.parts[1])
    assert not torch.allclose(network(pairs.parts[0]), wanted, rtol=0, atol=1e-2)
    figures = adapted(network, pairs=pairs, **EXACT)
    assert torch.allclose(network(pairs.parts[0]), wanted, rtol=0, atol=1e-5)
    assert figures["step"] == 1
    assert figures["unmatched"] == pytest.approx(0, abs=1e-5)


def test_only_the_last_layer_changes_and_by_the_share_that_is_told():
    network = toy_network().eval()
    before = copy.deepcopy(network.state_dict())
    figures = adapted(network, pairs=corrections(pictures(4)), kept=pictures(9, seed=2), **EXACT)
    changed = {name for name, value in network.state_dict().items() if not torch.equal(before[name], value)}
    assert changed == {"head.weight", "head.bias"}
    old = torch.cat([before["head.weight"], before["head.bias"][:, None]], 1)
    new = torch.cat([network.head.weight, network.head.bias[:, None]], 1).detach()
    assert figures["relative-change"] == pytest.approx(float((new - old).norm() / old.norm()), rel=1e-4)
    features = network.body(pictures(9, seed=2)).detach()
    rows = torch.cat([features, torch.ones(9, 1)], 1)
    assert figures["kept-shift"] == pytest.approx(float((rows @ (new - old).T).square().sum(1).mean().sqrt()), rel=1e-3)


@pytest.mark.parametrize("bias", [True, False])
def test_a_changed_first_convolution_does_on_an_original_what_it_did_on_the_corrected(bias):
    network, _ = convolutional(bias=bias)
    pairs = corrections(pictures(2, channels=3, side=3))
    wanted = mix(network, pairs.parts[1]).detach()
    figures = adapted(network, pairs=pairs, layer="first", **EXACT)
    assert torch.allclose(mix(network, pairs.parts[0]), wanted, rtol=0, atol=1e-5)
    assert figures["unmatched"] == pytest.approx(0, abs=1e-5)


def test_a_first_convolution_on_many_patches_comes_nearer_to_what_it_did_on_the_corrected():
    network, convolution = convolutional(padding=1, stride=2)
    pairs = corrections(pictures(6, channels=3, side=8))
    originals, corrected, _ = pairs.parts
    wanted, before = mix(network, corrected).detach(), mix(network, originals).detach()
    figures = adapted(network, pairs=pairs, layer="first", **EXACT)
    gap = (mix(network, originals).detach() - wanted).norm() / (before - wanted).norm()
    assert 0 < figures["unmatched"] < 1
    assert figures["unmatched"] == pytest.approx(float(gap), rel=1e-3)
    assert convolution.weight.shape == (4, 3, 3, 3)


def test_a_first_linear_layer_does_on_originals_what_it_did_on_the_corrected():
    network = toy_network().eval()
    pairs = corrections(pictures(4))
    wanted = network(pairs.parts[1])
    adapted(network, pairs=pairs, layer="first", **EXACT)
    assert torch.allclose(network(pairs.parts[0]), wanted, rtol=0, atol=1e-4)


@pytest.mark.parametrize("layer", ["last", "first"])
def test_the_batches_of_the_passes_change_nothing(layer, monkeypatch):
    networks = []
    for images, numbers in ((250, 2**23), (2, 40)):
        monkeypatch.setattr(activity_weight_duality, "IMAGES", images)
        monkeypatch.setattr("harness_adaptation.linear_layers.NUMBERS", numbers)
        network, _ = convolutional(padding=1)
        pairs, kept = corrections(pictures(5, channels=3, side=6)), pictures(7, channels=3, side=6, seed=2)
        adapted(network, pairs=pairs, kept=kept, layer=layer, betas=(0.1,), step_sizes=(1,))
        networks.append(network.state_dict())
    for name, value in networks[0].items():
        assert torch.allclose(networks[1][name], value, rtol=0, atol=1e-6)


def test_kept_samples_hold_the_weights_more_the_more_they_count():
    shifts = []
    for beta in (0, 1, 100):
        network = toy_network().eval()
        pairs = corrections(pictures(3))
        shifts.append(
            adapted(network, pairs=pairs, kept=pictures(40, seed=2), betas=(beta,), step_sizes=(1,))["kept-shift"]
        )
    assert shifts[0] > shifts[1] > shifts[2] > 0


# -- what is chosen ---------------------------------------------------------------------------------------------------------


def test_nothing_corrected_leaves_every_bit_as_it_was():
    network = toy_network().eval()
    before = copy.deepcopy(network.state_dict())
    figures = adapted(network, pairs=corrections(pictures(3), count=0), kept=pictures(5))
    assert figures == UNCHANGED
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())


def test_without_a_better_candidate_every_bit_is_as_it_was():
    network = toy_network().eval()
    before = copy.deepcopy(network.state_dict())
    better = better_when_changed(network)
    figures = adapted(network, pairs=corrections(pictures(3)), kept=pictures(5), accuracy=lambda now: 1 - better(now))
    assert figures == UNCHANGED
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())


def test_of_equally_good_candidates_the_smallest_change_is_taken():
    network = toy_network().eval()
    pairs, kept = corrections(pictures(3)), pictures(40, seed=2)
    grid = {"betas": (0, 1), "step_sizes": (1, 0.5)}
    chosen = adapted(network, pairs=pairs, kept=kept, **grid)
    changes = {}
    for beta in grid["betas"]:
        for step in grid["step_sizes"]:
            figures = adapted(toy_network().eval(), pairs=pairs, kept=kept, betas=(beta,), step_sizes=(step,))
            changes[beta, step] = figures["relative-change"]
    smallest = min(changes, key=changes.get)
    assert (chosen["beta"], chosen["step"]) == smallest
    assert chosen["relative-change"] == pytest.approx(min(changes.values()))


def test_the_candidate_of_the_best_validation_accuracy_is_taken_and_left_in_the_network():
    network = toy_network().eval()
    pairs, kept = corrections(pictures(3)), pictures(40, seed=2)
    probe = toy_network().eval()
    adapted(probe, pairs=pairs, kept=kept, betas=(0.1,), step_sizes=(0.5,))
    wanted = probe.head.weight.detach()

    def accuracy(now):
        return 1 / (1 + float((now.head.weight.detach() - wanted).norm()))

    figures = adapted(network, pairs=pairs, kept=kept, betas=(0, 0.1, 1), step_sizes=(0.25, 0.5, 1), accuracy=accuracy)
    assert (figures["beta"], figures["step"]) == (0.1, 0.5)
    assert torch.equal(network.head.weight, wanted)


def test_each_candidate_and_no_change_are_validated_once():
    network = toy_network().eval()
    seen = []

    def accuracy(now):
        seen.append(now.head.weight.detach().clone())
        return 0.5

    pairs = corrections(pictures(3))
    adapted(network, pairs=pairs, kept=pictures(5), betas=(0, 1), step_sizes=(0.5, 1), accuracy=accuracy)
    assert len(seen) == 5
    assert torch.equal(seen[0], network.head.weight)


# -- what is refused and told -----------------------------------------------------------------------------------------------


def test_a_network_without_a_linear_head_is_refused_for_the_last_layer():
    network = toy_network(head=False)
    with pytest.raises(
        HarnessError, match=r"ends in no linear layer, and layer: last changes that one; use layer: first"
    ):
        adapted(network, pairs=corrections(pictures(2)))


def test_a_grouped_first_convolution_is_refused():
    network, _ = convolutional()
    network.body[0] = nn.Conv2d(3, 3, 3, groups=3)
    network.body[1] = nn.BatchNorm2d(3)
    with pytest.raises(HarnessError, match=r"the first layer is Conv2d\(.*groups=3\), and layer: first changes"):
        adapted(network, pairs=corrections(pictures(2, channels=3)), layer="first")


def test_images_that_meet_no_layer_are_refused():
    network = ToyNetwork(nn.Flatten(), None)
    with pytest.raises(HarnessError, match="pass through no convolution and no linear layer"):
        adapted(network, pairs=corrections(pictures(2)), layer="first")


def test_features_that_are_no_rows_of_the_last_layer_are_refused():
    network = toy_network()
    network.body = nn.Sequential(nn.Flatten(), nn.Linear(16, 10))
    network.head = nn.Linear(5, 3)
    network.outputs = lambda images: toy_network(features=10).outputs(images)
    with pytest.raises(HarnessError, match=r"10 features of a sample enter a last linear layer of 5 inputs"):
        adapted(network, pairs=corrections(pictures(2)))


def test_weights_that_are_computed_from_others_are_refused():
    network = toy_network()
    network.head = nn.utils.parametrizations.weight_norm(network.head)
    with pytest.raises(HarnessError, match="are computed from others"):
        adapted(network, pairs=corrections(pictures(2)))


def remarks(count, **options):
    adapter = ActivityWeightDuality(ActivityWeightDualityOptions(**options))
    adapter.loop = toy_loop(corrections=corrections(pictures(count + 1), count=count), kept=pictures(3))
    return list(adapter.remarks(5, 3))


def test_nothing_is_remarked_where_an_update_can_do_what_all_corrections_did():
    assert remarks(6) == []
    assert remarks(7, layer="first") == []


def test_remarks_tell_of_more_corrected_samples_than_weights():
    assert remarks(7)[0].startswith(
        "7 corrected samples are more than the 6 weights of a class: no update of the last layer"
    )


def test_remarks_tell_of_nothing_corrected():
    assert remarks(0) == ["no sample was corrected: the weights stay as they are"]


@pytest.mark.parametrize(
    "wrong",
    [{"betas": ()}, {"betas": (-1,)}, {"step_sizes": ()}, {"step_sizes": (0,)}, {"ridge": -1}, {"layer": "middle"}],
)
def test_grids_that_mean_nothing_are_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        ActivityWeightDualityOptions(**wrong)
