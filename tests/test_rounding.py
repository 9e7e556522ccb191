"""What is taken back of a library's rounding, against distances worked out by hand."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as some

from harness.api import undo_rounding
from harness.engine.norms import per_sample_norm

GRAY = torch.full((2, 1, 10, 10), 0.5)


def test_pixels_beyond_the_bounds_by_a_thousandth_of_their_range_are_put_onto_them_and_others_are_left():
    beyond = torch.stack([GRAY[0] + 0.5009, GRAY[1] - 0.5011])
    found = undo_rounding(beyond, GRAY, norm="linf", bounds=(0.0, 1.0))
    assert torch.equal(found[0], torch.ones(1, 10, 10))
    assert torch.equal(found[1], beyond[1])


def test_what_counts_as_rounding_grows_with_the_range_of_the_pixels():
    wide = 255 * GRAY + torch.tensor([127.5 + 0.2, 127.5 + 0.3]).reshape(2, 1, 1, 1)  # 0.255 is a thousandth
    found = undo_rounding(wide, 255 * GRAY, norm="linf", bounds=(0.0, 255.0))
    assert torch.equal(found[0], torch.full((1, 10, 10), 255.0))
    assert torch.equal(found[1], wide[1])


# Of 100 pixels moved by the same amount a, the norms are 100 a, 10 a and a.
@pytest.mark.parametrize(("norm", "eps"), [("l1", 1.0), ("l2", 0.1), ("linf", 0.01)])
def test_a_perturbation_beyond_eps_by_two_hundredths_is_scaled_down_to_it_and_a_larger_one_is_left(norm, eps):
    beyond = torch.stack([GRAY[0] + 0.01 * 1.019, GRAY[1] - 0.01 * 1.021])
    found = undo_rounding(beyond, GRAY, norm=norm, bounds=(0.0, 1.0), eps=eps)
    assert torch.allclose(found[0], GRAY[0] + 0.01, rtol=0, atol=1e-7)
    assert torch.equal(found[1], beyond[1])


def test_without_an_eps_and_in_l0_nothing_is_scaled():
    moved = GRAY + 0.01 * 1.01
    assert torch.equal(undo_rounding(moved, GRAY, norm="linf", bounds=(0.0, 1.0)), moved)
    changed = GRAY.clone()
    changed[:, 0, 0] = 0.7  # 10 entries, 1% beyond 9.9
    assert torch.equal(undo_rounding(changed, GRAY, norm="l0", bounds=(0.0, 1.0), eps=9.9), changed)


@pytest.mark.parametrize("broken", [torch.nan, torch.inf])
def test_what_is_not_finite_is_left_for_the_harness_to_refuse_and_spoils_no_other_sample(broken):
    perturbed = GRAY + 0.004
    perturbed[1, 0, 3, 3] = broken
    found = undo_rounding(perturbed, GRAY, norm="l2", bounds=(0.0, 1.0), eps=0.1)
    assert not found[1, 0, 3, 3].isfinite()
    assert torch.equal(found[0], perturbed[0])


def test_the_result_has_the_images_precision_and_no_gradient():
    perturbed = (GRAY.double() + 0.001).requires_grad_()
    found = undo_rounding(perturbed, GRAY, norm="l2", bounds=(0.0, 1.0), eps=1.0)
    assert (found.dtype, found.requires_grad) == (torch.float32, False)


@settings(deadline=None, max_examples=50)
@given(
    seed=some.integers(0, 2**31),
    norm=some.sampled_from(["l1", "l2", "linf"]),
    eps=some.floats(1e-4, 50),
    size=some.floats(0.5, 1.019),
)
def test_what_is_within_comes_back_bit_for_bit_and_the_rest_within_a_few_units_in_the_last_place(seed, norm, eps, size):
    generator = torch.Generator().manual_seed(seed)
    images = torch.zeros(1, 3, 8, 8)
    directions = torch.randn(images.shape, generator=generator)
    perturbed = directions * (size * eps / float(per_sample_norm(directions, norm)))
    within = float(per_sample_norm(perturbed, norm)) <= eps
    found = undo_rounding(perturbed, images, norm=norm, bounds=(-1000.0, 1000.0), eps=eps)
    assert torch.equal(found, perturbed) == within
    assert float(per_sample_norm(found, norm)) <= eps * (1 + 1e-6)
