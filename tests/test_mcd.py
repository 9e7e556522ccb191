"""MCD: its three phases, what each one trains and minimizes, worked out by hand and in numpy."""

import copy

import numpy as np
import pytest
import torch
from adapter_toys import batch, draw, passed, pictures, toy_loop, toy_network
from torch import nn

from harness.errors import HarnessError
from harness_adaptation.mcd import Mcd, McdOptions, discrepancy, perturbed_copy


def prepared(network=None, *, step=0, steps=12, **options):
    """Return an adapter in a loop at a step, and its second head."""
    adapter = Mcd(McdOptions(**options))
    adapter.loop = toy_loop(network, step=step, steps=steps)
    torch.manual_seed(0)
    return adapter, adapter.modules(5, 3)["second-head"]


def softmax(logits):
    exponentials = np.exp(logits - logits.max(1, keepdims=True))
    return exponentials / exponentials.sum(1, keepdims=True)


def log_loss(logits, labels):
    return -np.log(softmax(logits)[np.arange(len(labels)), labels]).mean()


def named(network, second, parameters):
    """Return the names of parameters."""
    names = {id(parameter): name for name, parameter in network.named_parameters()}
    names |= {id(parameter): f"second.{name}" for name, parameter in second.named_parameters()}
    return {names[id(parameter)] for parameter in parameters}


HEAD, SECOND = {"head.weight", "head.bias"}, {"second.weight", "second.bias"}
BODY = {"body.1.weight", "body.1.bias", "body.2.weight", "body.2.bias"}


# -- the second head ------------------------------------------------------------------------------------------------------


def test_the_discrepancy_is_the_mean_absolute_difference_of_predictions():
    # Predictions (1/2, 1/2) and (3/4, 1/4), then equal ones: differences 1/4, 1/4, 0, 0.
    first = torch.tensor([[0.0, 0.0], [1.0, 2.0]])
    second = torch.tensor([[3.0, 1.0], [1.0, 2.0]]).log()
    second[1] = first[1]
    assert discrepancy(first, second).item() == pytest.approx(1 / 8)


def test_the_second_head_starts_near_the_first_and_not_at_it():
    torch.manual_seed(0)
    head = nn.Linear(400, 50)
    second = perturbed_copy(head, 0.1)
    noise = (second.weight - head.weight).detach()
    assert noise.std().item() == pytest.approx(0.1 * head.weight.std().item(), rel=0.02)
    assert torch.equal(second.bias, head.bias)
    assert second.weight.data_ptr() != head.weight.data_ptr()


def test_a_head_without_bias_has_a_second_one_without():
    assert perturbed_copy(nn.Linear(4, 3, bias=False), 0.1).bias is None


def test_the_second_head_is_the_seeds():
    network = toy_network()
    weights = [prepared(network)[1].weight for _ in range(2)]
    assert torch.equal(*weights)
    assert not torch.equal(weights[0], network.head.weight)


@pytest.mark.parametrize("asked", ["remarks", "modules"])
def test_a_network_without_a_head_is_refused(asked):
    adapter = Mcd(McdOptions())
    adapter.loop = toy_loop(toy_network(head=False))
    with pytest.raises(
        HarnessError, match=r"mcd: the network has no linear head, .*expected a network whose last layer"
    ):
        list(getattr(adapter, asked)(5, 5))


def test_a_loop_too_short_for_all_phases_is_told_of():
    adapter, _ = prepared(steps=5)
    assert list(adapter.remarks(5, 3)) == [
        "a cycle of its phases takes 6 steps and the loop has 5: some phases never come"
    ]
    assert not list(prepared(steps=6)[0].remarks(5, 3))


# -- phases ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("agree_steps", "phases"), [(4, "fpaaaafpaaaa"), (1, "fpafpafpafpa")])
def test_the_phases_come_in_turns(agree_steps, phases):
    adapter, _ = prepared(agree_steps=agree_steps)
    found = []
    for step in range(12):
        adapter.loop.step = step
        found.append(adapter.phase[0])
    assert "".join(found) == phases


@pytest.mark.parametrize(
    ("step", "trained"),
    [(0, BODY | HEAD | SECOND), (1, HEAD | SECOND), (2, BODY), (5, BODY), (6, BODY | HEAD | SECOND)],
)
def test_each_phase_trains_its_own_parameters(step, trained):
    network = toy_network()
    adapter, second = prepared(network, step=step)
    assert named(network, second, adapter.trained(network)) == trained


def outputs():
    """Return a source and a target batch whose logits and features are leaves, and the source's labels."""
    labels = torch.tensor([0, 1, 2, 1])
    source = batch(draw(4, 3).requires_grad_(), draw(4, 5, seed=1).requires_grad_(), labels)
    return source, batch(draw(6, 3, seed=2).requires_grad_(), draw(6, 5, seed=3).requires_grad_()), labels


@pytest.mark.parametrize("step", [0, 1, 2, 5])
def test_the_losses_of_every_phase_are_the_cross_entropies_and_the_discrepancy(step):
    adapter, second = prepared(step=step)
    second.double()
    source, target, labels = outputs()
    weight, bias = (parameter.detach().numpy() for parameter in (second.weight, second.bias))
    seconds = [one.features.detach().numpy() @ weight.T + bias for one in (source, target)]
    expected = {
        "cross-entropy": log_loss(source.logits.detach().numpy(), labels.numpy()),
        "second-cross-entropy": log_loss(seconds[0], labels.numpy()),
        "discrepancy": np.abs(softmax(target.logits.detach().numpy()) - softmax(seconds[1])).mean(),
    }
    losses = adapter.losses(source, target)
    assert list(losses) == list(expected)
    assert {name: value.item() for name, value in losses.items()} == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(("step", "fitted", "sign"), [(0, 1, 0), (1, 1, -1), (2, 0, 1), (5, 0, 1)])
def test_each_phase_descends_what_the_paper_says(step, fitted, sign):
    adapter, second = prepared(step=step)
    second.double()
    source, target, labels = outputs()
    leaves = [source.logits, source.features, target.logits, target.features, second.weight, second.bias]
    found = torch.autograd.grad(sum(adapter.losses(source, target).values()), leaves, allow_unused=True)
    # The paper's objectives written out: A: CE1 + CE2, B: CE1 + CE2 - d, C: d.
    apart = (target.logits.softmax(1) - second(target.features).softmax(1)).abs().sum() / (6 * 3)
    first = -source.logits.log_softmax(1)[range(4), labels].mean()
    other = -second(source.features).log_softmax(1)[range(4), labels].mean()
    expected = torch.autograd.grad(fitted * (first + other) + sign * apart, leaves)
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(torch.zeros_like(theirs) if ours is None else ours, theirs, rtol=1e-7, atol=1e-12)


def test_the_heads_part_on_the_target_and_the_features_bring_them_together():
    network = toy_network(features=8)
    adapter, second = prepared(network, agree_steps=1, perturbation=0.5)
    source, target, labels = pictures(24), pictures(24, seed=1), torch.arange(24) % 3
    changes = {"fit": [], "part": [], "agree": []}
    for step in range(30):
        adapter.loop.step = step
        before = {**network.state_dict(), **{f"second.{key}": value for key, value in second.state_dict().items()}}
        before = copy.deepcopy(before)
        trained = list(adapter.trained(network))
        optimizer = torch.optim.SGD(trained, 0.05)
        optimizer.zero_grad()
        ours, theirs = passed(network, source, labels=labels), passed(network, target)
        earlier = discrepancy(theirs.logits, second(theirs.features)).item()
        sum(adapter.losses(ours, theirs).values()).backward()
        optimizer.step()
        theirs = passed(network, target)
        changes[adapter.phase].append(discrepancy(theirs.logits, second(theirs.features)).item() - earlier)
        after = {**network.state_dict(), **{f"second.{key}": value for key, value in second.state_dict().items()}}
        moved = {name for name, value in after.items() if not torch.equal(value, before[name])}
        assert moved & (BODY | HEAD | SECOND) <= named(network, second, trained)
    assert max(changes["agree"]) < 0 < np.mean(changes["part"]) - np.mean(changes["agree"])


def test_the_diagnostics_are_the_discrepancies_on_target_and_source():
    adapter, second = prepared()
    network = adapter.loop.network
    source, target = passed(network, pictures(8)), passed(network, pictures(8, seed=1))
    figures = adapter.diagnostics(source, target)
    for name, one in (("discrepancy", target), ("discrepancy-noise-floor", source)):
        expected = np.abs(softmax(one.logits.detach().numpy()) - softmax(second(one.features).detach().numpy())).mean()
        assert figures[name] == pytest.approx(expected, rel=1e-5)
