"""Pseudo-labels: which samples count, what they are labelled, and the strong augmentation."""

import numpy as np
import pytest
import torch
from adapter_toys import batch, draw, passed, pictures, toy_loop, toy_network
from torch.nn.functional import cross_entropy, pad

from harness_adaptation.pseudo_label import PseudoLabel, PseudoLabelOptions
from harness_adaptation.strong_augmentation import cut_out, relit, shifted

PLAIN = {"padding": 0, "brightness": 0, "contrast": 0, "cutout": 0}


def prepared(network=None, **options):
    adapter = PseudoLabel(PseudoLabelOptions(**options))
    adapter.loop = toy_loop(network)
    return adapter


def source_batch():
    return batch(draw(4, 3).float(), labels=torch.tensor([0, 1, 2, 1]))


# -- the loss -------------------------------------------------------------------------------------------------------------


def test_certain_samples_alone_count_and_all_divide():
    network = toy_network(batch_norm=False)
    images = pictures(4)
    # Largest probabilities: 0.95, 0.85, 0.91 and 1/3.
    probabilities = [[0.95, 0.03, 0.02], [0.1, 0.85, 0.05], [0.04, 0.05, 0.91], [1 / 3, 1 / 3, 1 / 3]]
    target = batch(torch.tensor(probabilities).log(), images=images)
    losses = prepared(network, weight=0.5, **PLAIN).losses(source_batch(), target)
    strong = network(images).softmax(1).detach().numpy()
    expected = -(np.log(strong[0, 0]) + np.log(strong[2, 2])) / 4
    assert list(losses) == ["cross-entropy", "pseudo-label"]
    assert losses["pseudo-label"].item() == pytest.approx(0.5 * expected, rel=1e-5)
    expected = cross_entropy(source_batch().logits, source_batch().labels)
    assert losses["cross-entropy"].item() == expected.item()
    assert prepared().diagnostics(source_batch(), target) == {"certain": 0.5}


def test_the_threshold_itself_is_not_certain_enough():
    target = batch(torch.tensor([[0.0, 0.0]]), images=pictures(1))
    assert prepared(threshold=0.5, **PLAIN).diagnostics(source_batch(), target) == {"certain": 0.0}


def test_no_gradient_passes_through_the_weak_view_and_one_does_through_the_strong():
    network = toy_network()
    target = passed(network, pictures(8))
    loss = prepared(network, threshold=0).losses(source_batch(), target)["pseudo-label"]
    weak, strong = torch.autograd.grad(loss, [target.logits, network.head.weight], allow_unused=True)
    assert weak is None
    assert bool(strong.any())


def test_nothing_certain_is_no_loss_and_no_fault():
    network = toy_network()
    target = batch(torch.zeros(4, 3), images=pictures(4))
    loss = prepared(network).losses(source_batch(), target)["pseudo-label"]
    (gradient,) = torch.autograd.grad(loss, network.head.weight)
    assert loss.item() == 0
    assert not bool(gradient.any())


def test_readers_are_told_that_it_is_a_negative_control():
    (remark,) = prepared().remarks(5, 3)
    assert remark.startswith("a negative control")
    assert PseudoLabelOptions().threshold == 0.9
    assert PseudoLabelOptions().weight == 1


# -- strong augmentation --------------------------------------------------------------------------------------------------


def test_strong_images_are_drawn_from_torchs_generator_and_stay_in_bounds():
    adapter, images = prepared(), pictures(32, channels=3, side=16)
    made = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        made.append(adapter.strengthened(images))
    assert torch.equal(made[0], made[1])
    assert not torch.equal(made[0], made[2])
    assert made[0].shape == images.shape
    assert made[0].dtype == images.dtype
    assert made[0].min() >= 0
    assert made[0].max() <= 1


def test_no_augmentation_leaves_the_images_as_they_are():
    images = pictures(5, channels=3, side=8)
    torch.testing.assert_close(prepared(**PLAIN).strengthened(images), images, rtol=0, atol=1e-6)


def test_each_image_is_shifted_by_its_own_draw_with_zeros_coming_in():
    images = pictures(64, channels=2, side=8) + 0.01
    torch.manual_seed(0)
    moved = shifted(images, 1 / 8)
    places = set()
    for before, after in zip(pad(images, (1, 1, 1, 1)), moved, strict=True):
        crops = {(i, j): before[:, i : i + 8, j : j + 8] for i in range(3) for j in range(3)}
        (place,) = [place for place, crop in crops.items() if torch.equal(crop, after)]
        places.add(place)
    assert len(places) == 9


def test_a_rectangle_is_shifted_by_shares_of_its_own_sides():
    images = pictures(64, side=16)[:, :, :4] + 0.01
    torch.manual_seed(0)
    offsets = set()
    for before, after in zip(
        pad(images, (2, 2, 0, 0)), shifted(images, 1 / 8), strict=True
    ):  # an eighth of 4 rounds to 0
        (offset,) = [j for j in range(5) if torch.equal(before[:, :, j : j + 16], after)]
        offsets.add(offset)
    assert offsets == {0, 1, 2, 3, 4}


def test_brightness_scales_an_image_and_contrast_its_distance_from_the_mean():
    images = 0.25 + pictures(200, side=6) / 4
    torch.manual_seed(0)
    lit = relit(images, 0.4, 0.0)
    factors = (lit / images).flatten(1)
    torch.testing.assert_close(factors.amax(1), factors.amin(1), rtol=1e-4, atol=0)
    assert 0.6 <= factors.min() < 0.65
    assert 1.35 < factors.max() <= 1.4
    spread = relit(images, 0.0, 0.4)
    torch.testing.assert_close(spread.mean((1, 2, 3)), images.mean((1, 2, 3)))
    ratios = spread.flatten(1).std(1) / images.flatten(1).std(1)
    assert 0.6 <= ratios.min() < 0.65
    assert 1.35 < ratios.max() <= 1.4


def test_what_is_cut_out_is_a_square_of_the_images_mean():
    images = pictures(300, side=8)
    torch.manual_seed(0)
    made = cut_out(images, 0.5)
    holes = (made != images)[:, 0]
    heights, widths = holes.any(2).sum(1), holes.any(1).sum(1)
    assert torch.equal(holes.flatten(1).sum(1), heights * widths)
    assert (int(heights.max()), int(widths.max())) == (4, 4)
    assert int(heights.min()) == 2  # a hole may reach over the edge
    for image, after, hole in zip(images, made, holes, strict=True):
        torch.testing.assert_close(after[0][hole], image.mean().expand(int(hole.sum())))
    assert len({tuple(hole.flatten().nonzero()[0].tolist()) for hole in holes}) > 20
