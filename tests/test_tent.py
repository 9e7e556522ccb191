"""Tent: what it minimizes, against scipy, and what it trains."""

import pytest
import torch
from adapter_toys import batch, draw, passed, pictures, toy_loop, toy_network
from scipy.stats import entropy
from torch import nn

from harness.errors import HarnessError
from harness_adaptation.tent import Tent


def prepared(network=None):
    adapter = Tent(Tent.options_type())
    adapter.loop = toy_loop(network)
    return adapter


def test_the_loss_is_the_mean_entropy_of_the_targets_predictions():
    target = batch(draw(7, 4) * 2)
    losses = prepared().losses(batch(torch.empty(7, 0)), target)
    assert list(losses) == ["entropy"]
    assert losses["entropy"].item() == pytest.approx(entropy(target.logits.softmax(1).numpy(), axis=1).mean(), rel=1e-9)


def test_the_diagnostics_are_the_entropy_of_the_mean_prediction():
    target = batch(draw(7, 4) * 2)
    expected = entropy(target.logits.softmax(1).numpy().mean(0))
    assert prepared().diagnostics(batch(torch.empty(7, 0)), target) == {"diversity": pytest.approx(expected)}


def test_scales_and_shifts_of_batch_norm_alone_are_trained():
    network = nn.Sequential(
        nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.BatchNorm2d(2, affine=False), nn.GroupNorm(1, 2), nn.Flatten()
    )
    trained = {id(parameter) for parameter in prepared().trained(network)}
    names = {name for name, parameter in network.named_parameters() if id(parameter) in trained}
    assert names == {"1.weight", "1.bias"}


@pytest.mark.parametrize("layer", [nn.Identity(), nn.BatchNorm1d(5, affine=False), nn.LayerNorm(5)])
def test_a_network_without_scales_and_shifts_is_refused(layer):
    with pytest.raises(
        HarnessError, match=r"tent: the network has no batch-norm layer with scales and shifts, .*or another"
    ):
        prepared().trained(nn.Sequential(nn.Linear(4, 5), layer))


def test_its_steps_lower_the_entropy_and_change_nothing_else():
    network, images = toy_network().train(), pictures(24)
    adapter = prepared(network)
    before = {name: value.clone() for name, value in network.named_parameters()}
    optimizer = torch.optim.Adam(adapter.trained(network), 0.05)
    found = []
    for _ in range(10):
        loss = adapter.losses(batch(torch.empty(24, 0)), passed(network, images))["entropy"]
        found.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert found[-1] < found[0]
    changed = {name for name, value in network.named_parameters() if not torch.equal(value, before[name])}
    assert changed == {"body.2.weight", "body.2.bias"}


def test_it_declares_that_it_sees_no_source():
    assert not Tent.capabilities.source
    assert not Tent.capabilities.target_labels
