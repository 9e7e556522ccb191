"""The sham corrector: perturbations of the same size in directions that mean nothing."""

import numpy as np
import pytest
import torch
from toys import random_images

from harness.engine.norms import per_sample_norm
from harness.stages.sham import randomly_moved

ORDERS = {"l0": 0, "l1": 1, "l2": 2, "linf": np.inf}


def directions(count, seed=5):
    return torch.randn(count, 3, 6, 6, generator=torch.Generator().manual_seed(seed))


def numpy_norms(perturbations, norm):
    return [np.linalg.norm(one.ravel().astype(np.float64), ORDERS[norm]) for one in perturbations.numpy()]


@pytest.mark.parametrize(
    ("norm", "sizes"),
    [
        ("l2", [0.0, 0.01, 0.5, 2.0]),
        ("l1", [0.0, 0.1, 5.0, 20.0]),
        ("linf", [0.0, 0.001, 8 / 255, 0.3]),
        ("l0", [0, 1, 10, 108]),
    ],
)
def test_each_sample_moves_exactly_as_far_as_it_is_told_within_the_bounds(norm, sizes):
    # Bounds included: a third of the pixels is black or white already.
    images = (random_images(4) * 1.5 - 0.25).clamp(0, 1)
    moved = randomly_moved(images, torch.tensor(sizes), norm=norm, directions=directions(4))
    assert float(moved.min()) >= 0
    assert float(moved.max()) <= 1
    assert numpy_norms(moved - images, norm) == pytest.approx(sizes, rel=1e-3, abs=1e-6)


def test_a_step_longer_than_the_bounds_allow_goes_to_them():
    images = torch.full((1, 3, 6, 6), 0.5)
    moved = randomly_moved(images, torch.tensor([1e6]), norm="l2", directions=directions(1))
    assert set(moved.unique().tolist()) == {0.0, 1.0}


def test_the_direction_has_nothing_to_do_with_the_corrections():
    images = torch.full((200, 3, 6, 6), 0.5)
    correction = 0.01 * directions(200, seed=6).sign()
    norms = per_sample_norm(correction, "l2")
    moved = randomly_moved(images, norms, norm="l2", directions=directions(200)) - images
    cosines = (moved * correction).flatten(1).sum(1) / norms**2
    # In 108 dimensions the cosine of two directions at random has the standard deviation 1 / √108.
    assert cosines.std().item() == pytest.approx(108**-0.5, rel=0.2)
    assert abs(cosines.mean().item()) < 4 * (108 * 200) ** -0.5


def test_an_entry_that_has_the_drawn_colour_already_takes_the_other():
    images = torch.ones(1, 3, 6, 6)
    moved = randomly_moved(images, torch.tensor([30.0]), norm="l0", directions=directions(1))
    assert int((moved == 0).sum()) == 30
