"""Input gradients against the derivative of softmax and cross-entropy."""

import pytest
import torch
from torch import nn
from toys import pixel_classifier, random_images

from harness.criteria import LabelCriterion
from harness.engine.gradients import input_gradient, loss_gradient

LABELS = torch.tensor([1, 3, 0])


@pytest.fixture
def linear():
    net = nn.Sequential(nn.Flatten(), nn.Linear(12, 4))
    nn.init.normal_(net[1].weight, generator=torch.Generator().manual_seed(0))
    return pixel_classifier(net, classes=4, mean=0.5, std=0.25)


@pytest.mark.parametrize(("targeted", "sign"), [(True, 1), (False, -1)])
def test_the_gradient_is_the_weights_times_softmax_minus_one_hot(linear, targeted, sign):
    images = random_images(3, shape=(3, 2, 2))
    gradient, logits = loss_gradient(linear, images, LabelCriterion(LABELS, targeted, LABELS))
    by_logits = linear(images).softmax(1) - torch.eye(4)[LABELS]
    # The normalization's 1 / 0.25 is part of the chain.
    expected = sign * 4 * (by_logits @ linear.net[1].weight).reshape(images.shape)
    torch.testing.assert_close(gradient, expected.detach())
    torch.testing.assert_close(logits, linear(images).detach())


def test_nothing_else_gets_a_gradient(linear):
    images = random_images(3, shape=(3, 2, 2))
    before = images.clone()
    gradient, logits = loss_gradient(linear, images, LabelCriterion(LABELS, targeted=True, goal=LABELS))
    assert not any(one.requires_grad for one in (images, gradient, logits))
    assert torch.equal(images, before)
    assert all(parameter.grad is None for parameter in linear.parameters())


def test_the_gradient_is_found_where_gradients_are_off(linear):
    images, criterion = random_images(3, shape=(3, 2, 2)), LabelCriterion(LABELS, targeted=True, goal=LABELS)
    with torch.no_grad():
        inside = input_gradient(linear, images, criterion)
        assert not torch.is_grad_enabled()
    assert torch.equal(inside, input_gradient(linear, images, criterion))
