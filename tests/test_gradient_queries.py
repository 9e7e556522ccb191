"""A query for gradients in parts against one backward pass over the whole batch, and what it spends."""

from __future__ import annotations

import pytest
import torch
from toys import conv_classifier, pixel_classifier, random_images

from harness.criteria import LabelCriterion
from harness.engine.folding import attack_ready
from harness.engine.gradient_queries import GradientQuery
from harness.engine.gradients import loss_gradient
from harness.engine.networks import placed
from harness.engine.observing import ObservedClassifier, Observer, at_once
from harness.engine.prediction import CPU_BATCH_SIZE

COUNT = 40


@pytest.fixture
def network():
    return conv_classifier().eval()


def whole_gradient(network, images, criterion):
    leaf = images.clone().requires_grad_()
    return torch.autograd.grad(criterion.loss(network(leaf)).sum(), leaf)[0]


def labels_met_by(network, images, *, met):
    """Return labels (N,) that the network gives where ``met`` (N,), and others elsewhere."""
    with torch.no_grad():
        predicted = network(images).argmax(1)
    return torch.where(met, predicted, (predicted + 1) % 5)


@pytest.mark.parametrize("at_once", [1, 7, 40, 64])
def test_parts_give_the_gradient_of_the_whole(network, at_once):
    images = random_images(COUNT)
    labels = torch.arange(COUNT) % 5
    criterion = LabelCriterion(labels, targeted=True, goal=labels, stop_early=False)
    query = GradientQuery(network, images, criterion=criterion, drops_met=True)
    gradient, logits = query.run(at_once)
    torch.testing.assert_close(gradient, whole_gradient(network, images, criterion))
    torch.testing.assert_close(logits, network(images).detach())
    assert (query.passes.forward, query.passes.backward) == (COUNT, COUNT)


@pytest.mark.parametrize("place_of_the_unmet", [0, 3, 27, 39])
def test_samples_that_are_not_met_get_their_gradient_wherever_they_stand(network, place_of_the_unmet):
    images, met = random_images(COUNT), torch.ones(COUNT, dtype=torch.bool)
    met[place_of_the_unmet] = False
    labels = labels_met_by(network, images, met=met)
    criterion = LabelCriterion(labels, targeted=True, goal=labels)
    gradient, _ = GradientQuery(network, images, criterion=criterion, drops_met=True).run(at_once=10)
    expected = whole_gradient(network, images, criterion)
    torch.testing.assert_close(gradient[~met], expected[~met])
    assert gradient[~met].abs().max() > 0


def test_no_backward_pass_is_spent_on_a_part_that_is_met_and_no_network_asked_about_nothing(network):
    images = random_images(COUNT)
    labels = labels_met_by(network, images, met=torch.ones(COUNT, dtype=torch.bool))

    def asked(some):
        assert len(some), "many networks refuse an empty batch"
        return network(some)

    query = GradientQuery(asked, images, criterion=LabelCriterion(labels, targeted=True, goal=labels), drops_met=True)
    gradient, _ = query.run(at_once=10)
    assert (query.passes.forward, query.passes.backward) == (COUNT, 0)
    assert not gradient.any()


def test_the_few_that_are_left_pass_once_more_together(network):
    """Ten are met: the other thirty are looked at without gradients, and the three of them that are not met pass again."""
    images, met = random_images(COUNT), torch.ones(COUNT, dtype=torch.bool)
    met[[12, 25, 39]] = False
    labels = labels_met_by(network, images, met=met)
    query = GradientQuery(network, images, criterion=LabelCriterion(labels, targeted=True, goal=labels), drops_met=True)
    query.run(at_once=10)
    assert (query.passes.forward, query.passes.backward) == (COUNT + 3, 3)


@pytest.mark.parametrize(("stop_early", "drops_met"), [(False, True), (True, False)])
def test_every_gradient_is_given_unless_samples_are_dropped_where_they_are_met(network, stop_early, drops_met):
    images = random_images(COUNT)
    labels = labels_met_by(network, images, met=torch.ones(COUNT, dtype=torch.bool))
    criterion = LabelCriterion(labels, targeted=True, goal=labels, stop_early=stop_early)
    gradient, _ = GradientQuery(network, images, criterion=criterion, drops_met=drops_met).run(at_once=10)
    torch.testing.assert_close(gradient, whole_gradient(network, images, criterion))


@pytest.mark.parametrize(("size", "expected"), [(6, 64), (28, 64), (32, 64), (64, 16), (96, 8), (224, 8)])
def test_as_many_pixels_pass_at_once_whatever_the_images_size(size, expected):
    assert at_once(torch.empty(100, 3, size, size)) == expected
    assert at_once(torch.empty(100, 3, size, size, device="meta")) == 100


def test_an_observed_query_of_more_images_than_pass_at_once_is_one_query(network):
    images = random_images(CPU_BATCH_SIZE + 5)
    observer = Observer()
    view = ObservedClassifier(attack_ready(network), observer)
    with torch.no_grad():
        torch.testing.assert_close(view(images), network(images), rtol=1e-4, atol=1e-4)
    assert observer.passes.forward == len(images)
    leaf = images.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(view(leaf)[:, 0].sum(), leaf)
    other = images.clone().requires_grad_()
    torch.testing.assert_close(
        gradient, torch.autograd.grad(network(other)[:, 0].sum(), other)[0], rtol=1e-4, atol=1e-4
    )
    assert observer.passes.backward == len(images)


@pytest.mark.parametrize("count", [3, CPU_BATCH_SIZE + 5])
def test_gradients_of_a_channels_last_network_are_laid_out_as_images_are(count):
    """Libraries take a view of them, as ``gradient.view(len(gradient), -1)``."""
    network = placed(conv_classifier(), torch.device("cpu"))
    images = random_images(count)
    leaf = images.clone().requires_grad_()
    own = torch.autograd.grad(attack_ready(network)(leaf)[:, 0].sum(), leaf)[0]
    assert not own.is_contiguous()  # or there would be nothing to lay out
    view = ObservedClassifier(attack_ready(network), Observer())
    (gradient,) = torch.autograd.grad(view(leaf)[:, 0].sum(), leaf)
    assert gradient.is_contiguous()
    torch.testing.assert_close(gradient, own)


def test_a_limit_ends_an_attack_between_queries_not_within_one():
    """A limit of three passes an image: the second query begins with two spent, and is finished."""
    network = pixel_classifier(torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(108, 5)), classes=5).eval()
    images = random_images(2 * CPU_BATCH_SIZE)
    labels = torch.zeros(len(images), dtype=torch.int64)
    observer = Observer(limit=3 * len(images))
    view = ObservedClassifier(attack_ready(network), observer)
    criterion = LabelCriterion(labels, targeted=True, goal=labels, stop_early=False)
    for _ in range(2):
        gradient, _ = loss_gradient(view, images, criterion)
        assert gradient.flatten(1).any(1).all()
    assert observer.passes.total == 4 * len(images)


def test_bfloat16_computes_the_passes_and_gives_float32(network):
    images = random_images(8)
    labels = torch.zeros(8, dtype=torch.int64)
    criterion = LabelCriterion(labels, targeted=True, goal=labels, stop_early=False)
    view = ObservedClassifier(attack_ready(network), Observer(), precision="bfloat16")
    gradient, logits = loss_gradient(view[torch.arange(8)], images, criterion)
    assert (gradient.dtype, logits.dtype) == (torch.float32, torch.float32)
    exact = network(images).detach()
    assert not torch.equal(logits, exact)
    torch.testing.assert_close(logits, exact, rtol=0.1, atol=0.1 * float(exact.abs().max()))
