"""SHOT: pseudo-labels against scikit-learn's cosines, losses against scipy, and when the labels are made anew."""

import math

import numpy as np
import pytest
import torch
from adapter_toys import batch, draw, passed, pictures, toy_loop, toy_network
from scipy.stats import entropy
from sklearn.metrics.pairwise import cosine_similarity

from harness.errors import HarnessError
from harness_adaptation.shot import Shot, ShotOptions, centroid_labels


def prepared(network=None, *, target=None, **loop):
    """Return an adapter in a loop, and its module."""
    adapter = Shot(ShotOptions())
    adapter.loop = toy_loop(network, target=target, **loop)
    return adapter, adapter.modules(5, 3)["pseudo-labels"]


def nearest_centroids(features, predictions, rounds):
    """Return what the paper's section 3.3 makes of features (N, D) and predictions (N, K), a sample and a class at a time."""
    extended = np.concatenate([features, np.ones((len(features), 1))], 1)
    units = extended / np.linalg.norm(extended, axis=1, keepdims=True)
    labels, shares = predictions.argmax(1), predictions
    for _ in range(rounds):
        present = [k for k in range(predictions.shape[1]) if (labels == k).any()]
        centroids = [np.average(units, axis=0, weights=shares[:, k]) for k in present]
        nearest = cosine_similarity(extended, np.stack(centroids)).argmax(1)
        labels = np.array([present[index] for index in nearest])
        shares = (labels[:, None] == np.arange(predictions.shape[1])).astype(float)
    return labels


# -- pseudo-labels --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rounds", [1, 2, 5])
@pytest.mark.parametrize("seed", range(4))
def test_the_pseudo_labels_are_those_of_scikit_learns_cosines(rounds, seed):
    features = draw(40, 6, seed=seed) * 3
    predictions = (draw(40, 5, seed=seed + 10) * 2).softmax(1)
    expected = nearest_centroids(features.numpy(), predictions.numpy(), rounds)
    assert centroid_labels(features, predictions, rounds).tolist() == expected.tolist()


def test_a_class_that_nothing_is_labelled_as_has_no_centroid():
    # The third class has the middle of everything as its soft centroid, but is no sample's first choice.
    features = torch.tensor([[4.0, 0.0], [3.0, 1.0], [0.0, 4.0], [1.0, 3.0], [2.0, 2.1]])
    predictions = torch.tensor([[0.6, 0.0, 0.4], [0.6, 0.0, 0.4], [0.0, 0.6, 0.4], [0.0, 0.6, 0.4], [0.0, 0.6, 0.4]])
    assert centroid_labels(features, predictions, 2).tolist() == [0, 0, 1, 1, 1]


def test_a_sample_among_those_of_another_class_is_labelled_as_they_are():
    features = torch.tensor([[4.0, 0.0], [4.0, 0.1], [3.9, 0.0], [0.0, 4.0], [0.1, 4.0]])
    predictions = torch.tensor([[0.9, 0.1], [0.9, 0.1], [0.4, 0.6], [0.1, 0.9], [0.1, 0.9]])
    assert predictions.argmax(1).tolist() == [0, 0, 1, 1, 1]
    assert centroid_labels(features, predictions, 2).tolist() == [0, 0, 0, 1, 1]


def test_classes_whose_features_are_all_zero_leave_finite_labels():
    labels = centroid_labels(torch.zeros(4, 3), torch.full((4, 2), 0.5), 2)
    assert labels.tolist() == [0, 0, 0, 0]


# -- when they are made ---------------------------------------------------------------------------------------------------


def test_the_pseudo_labels_are_made_anew_at_the_first_step_of_each_epoch():
    network, images = toy_network(), pictures(24, seed=1)
    adapter, memory = prepared(network, target=images, steps_per_epoch=3)
    source, target = batch(torch.empty(4, 0)), passed(network, images[:4], samples=torch.arange(4))
    made = []
    for step in range(7):
        adapter.loop.step = step
        memory.labels.zero_()
        adapter.losses(source, target)
        made.append(bool((memory.labels != 0).any()))
    assert made == [True, False, False, True, False, False, True]


def test_the_pass_over_the_target_is_in_eval_mode_and_leaves_the_network_as_it_is():
    network, images = toy_network(), pictures(300, seed=1)
    adapter, memory = prepared(network, target=images)
    target = passed(network.train(), images[:4])
    before = {name: value.clone() for name, value in network.state_dict().items()}
    adapter.losses(batch(torch.empty(4, 0)), target)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert network.training
    with torch.no_grad():
        whole = network.eval().outputs(images)
    expected = nearest_centroids(whole.features.numpy(), whole.logits.softmax(1).numpy(), 2)
    assert memory.labels.tolist() == expected.tolist()


def test_a_batch_finds_its_labels_by_its_samples_places():
    adapter, memory = prepared(step=1)
    memory.labels[:6] = torch.tensor([2, 0, 1, 1, 0, 2])
    target = batch(draw(3, 3).float(), samples=torch.tensor([4, 1, 3]))
    found = adapter.losses(batch(torch.empty(3, 0)), target)["pseudo-label"].item()
    probabilities = target.logits.softmax(1).numpy()
    expected = -0.3 * np.log(probabilities[range(3), [0, 0, 1]]).mean()
    assert found == pytest.approx(expected, rel=1e-5)


def test_the_pseudo_labels_survive_an_interruption():
    _, memory = prepared()
    memory.labels.copy_(torch.arange(24) % 3)
    _, other = prepared()
    other.load_state_dict(memory.state_dict())
    assert torch.equal(other.labels, memory.labels)


# -- losses ---------------------------------------------------------------------------------------------------------------


def test_the_losses_are_information_maximization_and_weighted_pseudo_labels():
    adapter, _ = prepared(step=1)
    target = batch(draw(8, 3).float() * 2)
    losses = adapter.losses(batch(torch.empty(8, 0)), target)
    probabilities = target.logits.softmax(1).double().numpy()
    assert list(losses) == ["entropy", "negative-diversity", "pseudo-label"]
    assert losses["entropy"].item() == pytest.approx(entropy(probabilities, axis=1).mean(), rel=1e-5)
    assert losses["negative-diversity"].item() == pytest.approx(-entropy(probabilities.mean(0)), rel=1e-5)
    assert ShotOptions().weight == 0.3
    assert ShotOptions().rounds == 2


def test_all_but_the_head_is_trained():
    network = toy_network()
    adapter, _ = prepared(network)
    trained = {id(parameter) for parameter in adapter.trained(network)}
    names = {name for name, parameter in network.named_parameters() if id(parameter) in trained}
    assert names == {"body.1.weight", "body.1.bias", "body.2.weight", "body.2.bias"}


def test_it_declares_that_it_sees_no_source():
    assert not Shot.capabilities.source
    assert Shot.capabilities.target
    assert not Shot.capabilities.target_labels


def test_the_diagnostics_are_the_share_that_the_centroids_label_otherwise():
    adapter, memory = prepared()
    memory.labels[:4] = torch.tensor([0, 1, 2, 0])
    target = batch(torch.eye(3)[[0, 1, 1, 1]])
    assert adapter.diagnostics(batch(torch.empty(4, 0)), target) == {"relabelled": 0.5}


# -- what it cannot do ----------------------------------------------------------------------------------------------------


def test_batches_too_small_to_be_diverse_are_told_of():
    adapter, _ = prepared(batch_size=16)
    assert not list(adapter.remarks(5, 16))
    (remark,) = adapter.remarks(5, 100)
    assert "all of 100 classes in each batch, which has 16 samples" in remark
    assert f"{math.log(16):.2f}, and {math.log(100):.2f}" in remark


def test_a_network_without_a_head_is_refused():
    adapter, _ = prepared(toy_network(head=False))
    with pytest.raises(HarnessError, match=r"shot: the network has no linear head, .*take another classifier"):
        list(adapter.remarks(5, 5))
