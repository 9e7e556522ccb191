"""The batch-norm policies against running statistics computed by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from toys import pixel_classifier, random_images

from harness.engine.domains import DomainView, TwoDomainForward, no_outputs, running_statistics_kept
from harness.engine.images import ImageSet

SOURCE, TARGET = random_images(6, seed=1), 0.5 * random_images(4, seed=2)
MOMENTUM = 0.1


def network(*, momentum=MOMENTUM):
    """One batch-norm layer of a single channel over whole images, and nothing else that learns."""
    net = nn.Sequential(nn.Flatten(2), nn.BatchNorm1d(3, momentum=momentum), nn.Flatten(), nn.Linear(108, 2))
    return pixel_classifier(net, classes=2)


def layer_of(classifier):
    return classifier.net[1]


def per_channel(images):
    """Return mean, biased and unbiased variance of each channel, as numpy has them."""
    values = images.double().numpy().transpose(1, 0, 2, 3).reshape(3, -1)
    return values.mean(1), values.var(1), values.var(1, ddof=1)


def moved(mean, variance, images):
    """Return the running statistics after a batch."""
    batch_mean, _, batch_variance = per_channel(images)
    return (1 - MOMENTUM) * mean + MOMENTUM * batch_mean, (1 - MOMENTUM) * variance + MOMENTUM * batch_variance


def normalized(images, mean, variance):
    shaped = [value.reshape(1, 3, 1, 1) for value in (mean, variance)]
    return ((images.double().numpy() - shaped[0]) / np.sqrt(shaped[1] + 1e-5)).reshape(len(images), -1)


def stepped(policy, *, target_gradients, steps=2, momentum=MOMENTUM):
    classifier = network(momentum=momentum)
    forward = TwoDomainForward(classifier, policy, target_gradients=target_gradients)
    forward.train_mode()
    for _ in range(steps):
        outputs = forward(SOURCE, TARGET)
    return classifier, outputs


POLICIES = {
    "joint": [torch.cat([SOURCE, TARGET])],
    "separate": [SOURCE, TARGET],
    "target-only": [TARGET],
    "frozen": [],
}


@pytest.mark.parametrize("target_gradients", [True, False])
@pytest.mark.parametrize("policy", POLICIES)
def test_running_statistics_are_those_of_the_batches_that_the_policy_shows(policy, target_gradients):
    classifier, _ = stepped(policy, target_gradients=target_gradients)
    mean, variance = np.zeros(3), np.ones(3)
    for batch in POLICIES[policy] * 2:
        mean, variance = moved(mean, variance, batch)
    layer = layer_of(classifier)
    np.testing.assert_allclose(layer.running_mean.numpy(), mean, rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(layer.running_var.numpy(), variance, rtol=1e-5)
    assert layer.num_batches_tracked.item() == 2 * len(POLICIES[policy])


@pytest.mark.parametrize("policy", POLICIES)
def test_each_domain_is_normalized_as_the_policy_says(policy):
    _, (source, target) = stepped(policy, target_gradients=True, steps=1)
    if policy == "frozen":
        statistics = [(np.zeros(3), np.ones(3))] * 2
    elif policy == "joint":
        statistics = [per_channel(torch.cat([SOURCE, TARGET]))[:2]] * 2
    else:
        statistics = [per_channel(SOURCE)[:2], per_channel(TARGET)[:2]]
    for outputs, images, (mean, variance) in zip((source, target), (SOURCE, TARGET), statistics, strict=True):
        expected = normalized(images, mean, variance)
        np.testing.assert_allclose(outputs.features.detach().numpy(), expected, rtol=1e-3, atol=1e-5)


def test_a_cumulative_average_counts_the_target_alone_where_the_policy_says_so():
    classifier, _ = stepped("target-only", target_gradients=True, steps=3, momentum=None)
    np.testing.assert_allclose(layer_of(classifier).running_mean.numpy(), per_channel(TARGET)[0], rtol=1e-5)


@pytest.mark.parametrize("policy", POLICIES)
def test_the_layers_are_left_as_the_policy_found_them(policy):
    classifier, _ = stepped(policy, target_gradients=True)
    layer = layer_of(classifier)
    assert layer.momentum == MOMENTUM
    assert layer.track_running_stats
    assert classifier.net[3].training
    assert layer.training is (policy != "frozen")


def test_statistics_are_tracked_again_after_an_error():
    classifier = network().train()
    with pytest.raises(ZeroDivisionError), running_statistics_kept(classifier):
        1 / 0  # noqa: B018 (it is what raises)
    assert layer_of(classifier).track_running_stats


@pytest.mark.parametrize("policy", ["separate", "target-only"])
def test_a_target_seen_for_its_statistics_alone_gets_no_gradients(policy):
    _, (source, target) = stepped(policy, target_gradients=False)
    assert source.logits.requires_grad
    assert not target.logits.requires_grad
    assert torch.is_grad_enabled()


@pytest.mark.parametrize("policy", POLICIES)
def test_a_target_that_nothing_looks_at_is_not_passed(policy):
    without = pixel_classifier(nn.Sequential(nn.Flatten(), nn.Linear(108, 2)), classes=2)
    assert TwoDomainForward(without, policy, target_gradients=False)(SOURCE, TARGET)[1] is None
    assert TwoDomainForward(network(), "frozen", target_gradients=False)(SOURCE, TARGET)[1] is None
    assert TwoDomainForward(without, policy, target_gradients=True)(SOURCE, TARGET)[1] is not None


def test_a_domain_that_nothing_looks_at_has_empty_outputs():
    hidden = no_outputs(SOURCE)
    assert hidden.features.shape == hidden.logits.shape == (6, 0)


@pytest.mark.parametrize("policy", POLICIES)
def test_a_source_that_nothing_looks_at_is_not_passed_and_leaves_no_trace_in_the_statistics(policy):
    classifier = network()
    forward = TwoDomainForward(classifier, policy, target_gradients=True, source_seen=False)
    forward.train_mode()
    source, target = forward(SOURCE, TARGET)
    assert source is None
    assert target.logits.shape == (4, 2)
    expected = (np.zeros(3), np.ones(3)) if policy == "frozen" else moved(0.0, 1.0, TARGET)
    layer = layer_of(classifier)
    assert layer.running_mean.numpy() == pytest.approx(expected[0], abs=1e-6)
    assert layer.running_var.numpy() == pytest.approx(expected[1], rel=1e-5)


@pytest.mark.parametrize("policy", POLICIES)
def test_modes_that_somebody_changed_between_steps_are_put_back(policy):
    classifier = network()
    forward = TwoDomainForward(classifier, policy, target_gradients=True)
    forward.train_mode()
    modes = [module.training for module in classifier.modules()]
    assert layer_of(classifier).training == (policy != "frozen")
    for change in (classifier.eval, classifier.train, layer_of(classifier).eval, layer_of(classifier).train):
        change()
        forward.train_mode()
        assert [module.training for module in classifier.modules()] == modes


def test_a_network_that_does_more_on_a_change_of_mode_is_told_of_each_step():
    told = []

    class Told(nn.Module):
        def train(self, *mode):
            told.extend(mode)
            return super().train(*mode)

        def forward(self, values):
            return values

    classifier = network()
    classifier.net.insert(0, Told())
    forward = TwoDomainForward(classifier, "separate", target_gradients=True)
    for _ in range(3):
        forward.train_mode()
    assert told == [True] * 3


def test_bfloat16_is_in_the_network_alone():
    classifier = network()
    forward = TwoDomainForward(classifier, "separate", target_gradients=True, precision="bfloat16")
    forward.train_mode()
    exact = TwoDomainForward(classifier, "separate", target_gradients=True)(SOURCE, TARGET)[0].logits
    rounded = forward(SOURCE, TARGET)[0].logits
    assert rounded.dtype == torch.float32
    assert not torch.equal(rounded, exact)
    # Eight bits of mantissa.
    assert torch.allclose(rounded, exact, rtol=2**-6, atol=2**-6)


def test_a_domain_is_its_images_in_their_order():
    stored = torch.arange(5, dtype=torch.uint8).reshape(5, 1, 1, 1).expand(5, 1, 2, 2)
    domain = DomainView(ImageSet(stored, torch.zeros(5), torch.tensor([4, 0, 3]), 2, torch.device("cpu")))
    assert len(domain) == 3
    batches = list(domain.batches(2))
    assert [len(batch) for batch in batches] == [2, 1]
    assert torch.cat(batches)[:, 0, 0, 0].mul(255).tolist() == [4, 0, 3]
