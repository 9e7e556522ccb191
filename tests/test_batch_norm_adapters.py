"""AdaBN and what adapters do to batch-norm layers, against numpy. The control ``recalibrate-bn``: ``test_controls``."""

import numpy as np
import pytest
import torch
from adapter_toys import ToyDomain, pictures, toy_loop, toy_network
from torch import nn

from harness_adaptation.ada_bn import AdaBn
from harness_adaptation.batch_norms import affine_parameters
from harness_adaptation.recalibrate_bn import RecalibrateBatchNorm, RecalibrateOptions


def adapted(kind, network, target, batch_size=500):
    kind(RecalibrateOptions(batch_size=batch_size)).adapt(network, ToyDomain(1 - target), ToyDomain(target))
    return network.state_dict()


def two_layers():
    torch.manual_seed(0)
    layers = [nn.Flatten(), nn.Linear(16, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Dropout(0.5), nn.BatchNorm1d(6)]
    network = nn.Sequential(*layers)
    nn.init.normal_(network[2].running_mean)
    nn.init.normal_(network[2].weight)
    return network


def test_ada_bn_takes_the_targets_statistics_layer_after_layer():
    network, target = two_layers(), pictures(50)
    state = adapted(AdaBn, network, target)
    weight, bias = state["1.weight"].double().numpy(), state["1.bias"].double().numpy()
    first = target.double().flatten(1).numpy() @ weight.T + bias
    np.testing.assert_allclose(state["2.running_mean"].numpy(), first.mean(0), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(state["2.running_var"].numpy(), first.var(0, ddof=1), rtol=1e-4)
    # The second layer sees what the first one makes of these statistics, without dropout.
    units = (first - first.mean(0)) / np.sqrt(first.var(0) + 1e-5)
    second = np.maximum(units * state["2.weight"].numpy() + state["2.bias"].numpy(), 0)
    np.testing.assert_allclose(state["5.running_mean"].numpy(), second.mean(0), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(state["5.running_var"].numpy(), second.var(0, ddof=1), rtol=1e-4)


@pytest.mark.parametrize("batch_size", [500, 10])
def test_ada_bn_does_the_same_work_as_the_control(batch_size):
    target = pictures(50)
    ours, theirs = (adapted(kind, two_layers(), target, batch_size) for kind in (AdaBn, RecalibrateBatchNorm))
    assert all(torch.equal(value, theirs[name]) for name, value in ours.items())


def test_it_declares_that_it_sees_no_source_and_takes_no_steps():
    for kind in (AdaBn, RecalibrateBatchNorm):
        assert not kind.capabilities.source
        assert not kind.takes_gradient_steps()
        assert kind.options_type is RecalibrateOptions


def test_layers_without_running_statistics_are_left_alone():
    network = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(16, track_running_stats=False))
    state = adapted(AdaBn, network, pictures(6))
    assert set(state) == {"1.weight", "1.bias"}


def test_a_network_without_batch_norm_is_told():
    adapter = AdaBn(RecalibrateOptions())
    adapter.loop = toy_loop(toy_network(batch_norm=False))
    assert list(adapter.remarks(5, 3)) == ["the network has no batch-norm: it is left as it was"]
    adapter.loop = toy_loop(toy_network())
    assert not list(adapter.remarks(5, 3))


def test_scales_and_shifts_are_found_wherever_they_are():
    network = toy_network()
    found = affine_parameters(network)
    assert [id(parameter) for parameter in found] == [id(network.body[2].weight), id(network.body[2].bias)]
    assert affine_parameters(toy_network(batch_norm=False)) == []
