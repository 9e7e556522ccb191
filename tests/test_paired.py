"""Paired adaptation: the pull of each original to its corrected image, by hand and against scipy."""

import numpy as np
import pytest
import torch
from adapter_toys import ToyCorrections, passed, pictures, toy_loop, toy_network
from scipy.special import rel_entr

from harness_adaptation.paired import Paired, PairedOptions, distillation

LABELS = torch.tensor([0, 1, 2, 0, 1, 2])
WRONG = torch.tensor([True, False, True, False, False, True])


def softmax(logits):
    exponentials = np.exp(logits - logits.max(1, keepdims=True))
    return exponentials / exponentials.sum(1, keepdims=True)


def prepared(network, **options):
    adapter = Paired(PairedOptions(**options))
    adapter.loop = toy_loop(network)
    return adapter


def pair(network, wrong=WRONG):
    """Return a source and a target batch whose wrong samples differ in their images."""
    originals = pictures(6)
    corrected = torch.where(wrong[:, None, None, None], pictures(6, seed=1), originals)
    given = {"labels": LABELS, "wrong": wrong}
    return passed(network, corrected, **given), passed(network, originals, **given)


def moved_network():
    """Return a loop's network that has moved on from where it started, and the adapter's view of the start."""
    network = toy_network()
    start = toy_network().eval()
    return network, start


def move(network):
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(0)))


def numbers(tensor):
    return tensor.detach().double().numpy()


@pytest.mark.parametrize("on", ["features", "outputs"])
def test_originals_of_wrong_samples_are_pulled_to_what_the_classifier_gave_their_corrected_images(on):
    network, start = moved_network()
    adapter = prepared(network, on=on, weight=0.5, temperature=3)
    move(network)
    source, target = pair(network)
    teacher = start.outputs(source.images)
    if on == "features":
        gap = numbers(teacher.features) - numbers(target.features)
        pulls = (gap**2).sum(1)
    else:
        theirs, ours = softmax(numbers(teacher.logits) / 3), softmax(numbers(target.logits) / 3)
        pulls = 9 * rel_entr(theirs, ours).sum(1)
    losses = adapter.losses(source, target)
    assert list(losses) == ["cross-entropy", "pull"]
    assert losses["pull"].item() == pytest.approx(0.5 * pulls[WRONG.numpy()].mean(), rel=1e-4)


def test_right_samples_keep_their_labels():
    network = toy_network()
    source, target = pair(network)
    losses = prepared(network, keep=0.25).losses(source, target)
    probabilities = softmax(numbers(source.logits))
    right = ~WRONG.numpy()
    expected = -np.log(probabilities[np.arange(6), LABELS.numpy()])[right].mean()
    assert losses["cross-entropy"].item() == pytest.approx(0.25 * expected, rel=1e-5)


def test_gradients_reach_the_originals_of_the_wrong_and_the_logits_of_the_right_alone():
    network = toy_network(batch_norm=False)
    source, target = pair(network)
    losses = prepared(network).losses(source, target)
    (pulled,) = torch.autograd.grad(losses["pull"], target.features, retain_graph=True)
    (kept,) = torch.autograd.grad(losses["cross-entropy"], source.logits, retain_graph=True)
    assert torch.equal(pulled.ne(0).any(1), WRONG)
    assert torch.equal(kept.ne(0).any(1), ~WRONG)
    assert torch.autograd.grad(losses["pull"], source.features, allow_unused=True) == (None,)


@pytest.mark.parametrize("on", ["features", "outputs"])
@pytest.mark.parametrize("wrong", [True, False])
def test_a_batch_of_one_kind_has_the_other_kinds_term_at_zero(on, wrong):
    network = toy_network()
    source, target = pair(network, torch.full((6,), wrong))
    losses = prepared(network, on=on).losses(source, target)
    assert losses["cross-entropy" if wrong else "pull"].item() == 0
    assert losses["pull" if wrong else "cross-entropy"].item() > 0
    sum(losses.values()).backward()
    assert all(bool(parameter.grad.isfinite().all()) for parameter in network.body.parameters())


def test_the_temperature_softens_both_sides_and_its_square_makes_up_for_it():
    teacher, student = torch.tensor([[2.0, 0.0]]), torch.tensor([[0.0, 0.0]])
    # p = (0.7311, 0.2689) against (1/2, 1/2) at τ = 2: KL = ln 2 − H(p) = 0.6931 − 0.5822.
    assert distillation(teacher, student, 2.0).item() == pytest.approx(4 * 0.11094, rel=1e-3)
    assert distillation(teacher, teacher, 2.0).item() == pytest.approx(0, abs=1e-7)


def test_the_floor_is_what_the_untouched_samples_are_apart():
    network, start = moved_network()
    adapter = prepared(network)
    move(network)
    source, target = pair(network)
    gap = (numbers(start.outputs(source.images).features) - numbers(target.features)) ** 2
    figures = adapter.diagnostics(source, target)
    assert figures["pull"] == pytest.approx(gap.sum(1)[WRONG.numpy()].mean(), rel=1e-4)
    assert figures["pull-noise-floor"] == pytest.approx(gap.sum(1)[~WRONG.numpy()].mean(), rel=1e-4)
    assert set(adapter.diagnostics(*pair(network, torch.ones(6, dtype=torch.bool)))) == {"pull"}


def test_steps_bring_originals_to_their_corrected_images_features():
    network = toy_network(batch_norm=False)
    adapter = prepared(network, keep=0)
    optimizer = torch.optim.SGD(network.parameters(), 0.05)
    found = []
    for _ in range(30):
        loss = adapter.losses(*pair(network))["pull"]
        found.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert found[-1] < 0.2 * found[0]


def test_it_declares_its_labels_and_its_pairs():
    assert Paired.capabilities.target_labels
    assert Paired.capabilities.sampling == "paired"
    assert PairedOptions() == PairedOptions(on="features", weight=1, keep=1, temperature=2)


def test_a_source_without_corrections_is_told_of():
    adapter = prepared(toy_network())
    images, labels = pictures(3), torch.zeros(3)
    for corrections, told in ((None, 1), (ToyCorrections(images[:0], images[:0], labels[:0]), 1)):
        adapter.loop.corrections = corrections
        assert len(list(adapter.remarks(5, 3))) == told
    adapter.loop.corrections = ToyCorrections(images, images, labels)
    assert not list(adapter.remarks(5, 3))
