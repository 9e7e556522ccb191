"""The order of samples and their augmentation, by enumeration."""

from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.engine.batches import BatchOrder, augment

ROWS = torch.arange(10, 35)


def order(chosen=ROWS, *, batch_size=4, key=("order", 1)):
    return BatchOrder(ROWS, chosen, batch_size=batch_size, key=key)


def sequence(batches, count):
    return torch.cat([batches.batch(step) for step in range(count)]).tolist()


@settings(deadline=None, max_examples=50)
@given(batch_size=st.integers(1, 60), chosen=st.sets(st.integers(10, 34), min_size=1))
def test_every_pass_has_each_chosen_sample_once_whatever_the_batches(batch_size, chosen):
    batches = order(torch.tensor(sorted(chosen)), batch_size=batch_size)
    seen = sequence(batches, 3 * len(chosen))
    assert all(len(batches.batch(step)) == batch_size for step in range(3))
    for number in range(3):
        assert sorted(seen[number * len(chosen) : (number + 1) * len(chosen)]) == sorted(chosen)


def test_passes_are_shuffled_anew_and_depend_on_the_key():
    size = len(ROWS)
    whole = sequence(order(batch_size=size), 2)
    assert len({tuple(whole[:size]), tuple(whole[size:]), tuple(ROWS.tolist())}) == 3
    assert sequence(order(batch_size=size), 2) == whole
    assert sequence(order(batch_size=size, key=("order", 2)), 2) != whole
    assert sequence(order(batch_size=size, key=("other", 1)), 2) != whole


def test_arms_that_differ_in_a_few_samples_see_the_others_in_one_order():
    without = {11, 20, 33}
    chosen = torch.tensor([row for row in ROWS.tolist() if row not in without])
    whole = [row for row in sequence(order(), 25) if row not in without]
    assert sequence(order(chosen), 22) == whole[:88]


def test_any_batch_can_be_had_without_those_before():
    batches, expected = order(), [order().batch(step).tolist() for step in range(40)]
    for step in (39, 0, 6, 6, 25, 13, 12, 38, 1):
        assert batches.batch(step).tolist() == expected[step]


def test_a_batch_larger_than_the_set_straddles_several_passes():
    chosen = torch.tensor([12, 30, 17])
    counts = Counter(order(chosen, batch_size=8).batch(0).tolist())
    assert sorted(counts) == [12, 17, 30]
    assert sorted(counts.values()) == [2, 3, 3]


# -- augmentation ---------------------------------------------------------------------------------------------------------


def images(count, size=16):
    return torch.rand(count, 2, size, size, generator=torch.Generator().manual_seed(0)) + 0.01


def test_no_augmentation_is_none():
    given_images = images(3)
    assert torch.equal(augment(given_images, "none", key=("a", 1)), given_images)


def test_flips_are_left_to_right_for_about_half_of_the_samples():
    given_images = images(400, 4)
    result = augment(given_images, "flip", key=("a", 1))
    mirrored = torch.from_numpy(np.flip(given_images.numpy(), 3).copy())
    kept = (result == given_images).flatten(1).all(1)
    flipped = (result == mirrored).flatten(1).all(1)
    assert (kept ^ flipped).all()
    # Five standard deviations of a fair coin.
    assert abs(int(flipped.sum()) - 200) < 50


def test_crops_are_windows_of_the_image_padded_with_black_by_an_eighth():
    given_images = images(300)
    result = augment(given_images, "flip-crop", key=("a", 1)).numpy()
    offsets = Counter()
    for original, augmented in zip(given_images.numpy(), result, strict=True):
        found = [
            (flip, top, left)
            for flip, source in enumerate((original, original[..., ::-1]))
            for top in range(5)
            for left in range(5)
            if (np.pad(source, ((0, 0), (2, 2), (2, 2)))[:, top : top + 16, left : left + 16] == augmented).all()
        ]
        assert len(found) == 1
        offsets[found[0]] += 1
    assert {flip for flip, _, _ in offsets} == {0, 1}
    assert {(top, left) for _, top, left in offsets} == {(top, left) for top in range(5) for left in range(5)}


@pytest.mark.parametrize("kind", ["flip", "flip-crop"])
def test_augmentation_is_a_function_of_its_key(kind):
    given_images = images(20)
    before = given_images.clone()
    torch.manual_seed(0)
    first = augment(given_images, kind, key=("a", 1))
    torch.manual_seed(1)
    assert torch.equal(augment(given_images, kind, key=("a", 1)), first)
    assert not torch.equal(augment(given_images, kind, key=("a", 2)), first)
    assert torch.equal(given_images, before)
