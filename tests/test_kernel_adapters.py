"""MK-MMD and JAN against sums written out pair by pair, known means, finite differences and simulated nulls."""

import math
from itertools import product

import numpy as np
import pytest
import torch
from adapter_toys import batch, draw, toy_loop
from torch.nn.functional import cross_entropy

from harness.adapting import Outputs
from harness_adaptation.jan import Jan, JanOptions
from harness_adaptation.kernels import chance_error, gaussians, squared_distances, unbiased_mmd
from harness_adaptation.mk_mmd import MkMmd, MkMmdOptions

MULTIPLES = (1 / 8, 1 / 4, 1 / 2, 1, 2)


def made(kind, options, **loop):
    adapter = kind(options)
    adapter.loop = toy_loop(**loop)
    return adapter


def written_out(kernel, n, m):
    """Return the unbiased squared MMD of a kernel of places 0…n+m−1, pair by pair."""
    ours, theirs = range(n), range(n, n + m)
    within_ours = sum(kernel(i, j) for i, j in product(ours, ours) if i != j) / (n * (n - 1))
    within_theirs = sum(kernel(i, j) for i, j in product(theirs, theirs) if i != j) / (m * (m - 1))
    return within_ours + within_theirs - 2 * sum(kernel(i, j) for i, j in product(ours, theirs)) / (n * m)


def multi_gaussian(points):
    """Return the kernel of places among points (N, D), with σ_u² a multiple of the mean over pairs of different points."""
    places = range(len(points))
    distances = {(i, j): sum((points[i] - points[j]) ** 2) for i, j in product(places, places)}
    mean = sum(distances.values()) / (len(points) * (len(points) - 1))
    return lambda i, j: sum(math.exp(-distances[i, j] / (2 * multiple * mean)) for multiple in MULTIPLES)


def two_batches(n=5, m=4, past=None):
    labels = torch.arange(n) % 3
    source = batch(draw(n, 3), draw(n, 4, seed=1), labels, past=past)
    return source, batch(draw(m, 3, seed=2), draw(m, 4, seed=3) + 1)


def test_the_mmd_of_four_points_on_a_line_worked_out_by_hand():
    # Source 0 and 1, target 3 and 5: squared distances 1 and 4 within, 9, 25, 4, 16 across; the pairs' mean is 59/6.
    points = torch.tensor([[0.0], [1.0], [3.0], [5.0]], dtype=torch.float64)
    kernel = gaussians(squared_distances(points, points), (0.5,))
    within, across = (1, 4), (9, 25, 4, 16)
    expected = sum(math.exp(-d * 6 / 59) for d in within) - sum(math.exp(-d * 6 / 59) for d in across) / 2
    assert unbiased_mmd(kernel, 2).item() == pytest.approx(expected)


@pytest.mark.parametrize(("n", "m"), [(5, 4), (2, 7)])
def test_mk_mmd_is_the_sum_over_pairs_written_out(n, m):
    source, target = two_batches(n, m)
    for on in ("features", "logits"):
        points = torch.cat([getattr(source, on), getattr(target, on)]).tolist()
        losses = made(MkMmd, MkMmdOptions(weight=0.5, on=on)).losses(source, target)
        expected = 0.5 * written_out(multi_gaussian(np.array(points)), n, m)
        assert losses["mk-mmd"].item() == pytest.approx(expected)
        assert list(losses) == ["cross-entropy", "mk-mmd"]
        assert torch.equal(losses["cross-entropy"], cross_entropy(source.logits, source.labels))


def test_jan_multiplies_the_features_kernel_with_that_of_the_predictions():
    source, target = two_batches()
    features = multi_gaussian(torch.cat([source.features, target.features]).numpy())
    predicted = np.exp(torch.cat([source.logits, target.logits]).numpy())
    predicted /= predicted.sum(1, keepdims=True)

    def kernel(i, j):
        return features(i, j) * math.exp(-((predicted[i] - predicted[j]) ** 2).sum() / (2 * 0.92**2))

    losses = made(Jan, JanOptions(weight=0.5)).losses(source, target)
    assert list(losses) == ["cross-entropy", "joint-mmd"]
    assert losses["joint-mmd"].item() == pytest.approx(0.5 * written_out(kernel, 5, 4))
    assert losses["cross-entropy"].item() == pytest.approx(cross_entropy(source.logits, source.labels).item())


@pytest.mark.parametrize(
    ("kind", "options", "name"), [(MkMmd, MkMmdOptions(), "mk-mmd"), (Jan, JanOptions(), "joint-mmd")]
)
def test_the_remembered_outputs_are_points_like_the_others_without_a_gradient(kind, options, name):
    past = Outputs(draw(3, 4, seed=7).requires_grad_(), draw(3, 3, seed=8).requires_grad_())
    source, target = two_batches(past=past)
    whole = batch(
        torch.cat([source.logits, past.logits]), torch.cat([source.features, past.features]), torch.zeros(8).long()
    )
    adapter = made(kind, options)
    assert adapter.losses(source, target)[name].item() == pytest.approx(adapter.losses(whole, target)[name].item())
    with torch.no_grad():
        assert adapter.diagnostics(source, target) == pytest.approx(adapter.diagnostics(whole, target))


def test_squared_distances_are_those_of_numpy_and_keep_their_precision_far_from_the_origin():
    ours, theirs = draw(4, 3), draw(6, 3, seed=1)
    expected = ((ours.numpy()[:, None] - theirs.numpy()[None]) ** 2).sum(2)
    assert squared_distances(ours, theirs).numpy() == pytest.approx(expected)
    # Offset and sum are exact in float32; the squares of numbers about 4096 would keep three digits of the distances.
    ours, theirs = (part.mul(64).round() / 64 for part in (ours, theirs))
    expected = ((ours.numpy()[:, None] - theirs.numpy()[None]) ** 2).sum(2)
    shifted = squared_distances(ours.float() + 4096, theirs.float() + 4096)
    assert shifted.numpy() == pytest.approx(expected, rel=1e-4)


def test_the_gradient_is_that_of_finite_differences_at_a_fixed_bandwidth():
    ours, theirs = draw(4, 3).requires_grad_(), draw(5, 3, seed=1).requires_grad_()
    # The bandwidth carries no gradient: it is held fixed for the differences.
    mean = squared_distances(*[torch.cat([ours, theirs]).detach()] * 2).sum() / (9 * 8)

    def held(one, other):
        points = torch.cat([one, other])
        distances = squared_distances(points, points)
        return unbiased_mmd(torch.stack([(-distances / (2 * u * mean)).exp() for u in MULTIPLES]).sum(0), 4)

    assert torch.autograd.gradcheck(held, (ours, theirs))
    points = torch.cat([ours, theirs])
    taken = unbiased_mmd(gaussians(squared_distances(points, points), MULTIPLES), 4)
    gradients = zip(
        torch.autograd.grad(taken, (ours, theirs)), torch.autograd.grad(held(ours, theirs), (ours, theirs)), strict=True
    )
    for found, expected in gradients:
        assert torch.allclose(found, expected)


@pytest.mark.parametrize(
    ("kind", "options", "name"), [(MkMmd, MkMmdOptions(), "mk-mmd"), (Jan, JanOptions(), "joint-mmd")]
)
def test_constant_outputs_are_no_distance_apart_and_have_a_finite_gradient(kind, options, name):
    features = torch.ones(4, 3, requires_grad=True)
    source = batch(torch.ones(4, 3), features, torch.tensor([0, 1, 2, 0]))
    loss = made(kind, options).losses(source, batch(torch.ones(4, 3), torch.ones(4, 3)))[name]
    loss.backward()
    assert loss.item() == pytest.approx(0, abs=1e-6)
    assert features.grad.isfinite().all()


# -- what chance alone makes of it ----------------------------------------------------------------------------------------


def fixed_kernel(points):
    """Return a Gaussian kernel matrix of a bandwidth that does not depend on the points."""
    return (-torch.cdist(points, points).square() / 6).exp()


@pytest.mark.parametrize(("n", "m"), [(12, 12), (8, 20)])
def test_between_batches_of_one_distribution_it_is_zero_on_average_and_as_far_from_it_as_is_said(n, m):
    drawn = draw(3000, n + m, 3).exp()
    kernels = torch.stack([fixed_kernel(points) for points in drawn])
    found = torch.stack([unbiased_mmd(kernel, n) for kernel in kernels])
    said = torch.stack([chance_error(kernel, n) for kernel in kernels])
    assert found.mean().abs() < 3 * found.std() / 3000**0.5
    assert said.square().mean().item() == pytest.approx(found.var().item(), rel=0.1)


def test_the_expected_square_of_the_centred_kernel_is_estimated_without_bias():
    # For the kernel x·y on standard normal numbers, which is centred already, it is E[x²]·E[y²] = 1.
    drawn = draw(4000, 7, 1)
    pairs = 2 / (3 * 2) + 2 / (4 * 3) + 4 / (3 * 4)
    squares = torch.stack([chance_error(points @ points.T, 3) for points in drawn]).square() / pairs
    assert (squares.mean() - 1).abs() < 3 * squares.std() / 4000**0.5


def test_a_gap_stands_out_from_what_chance_makes_of_it():
    source, target = batch(draw(64, 3), draw(64, 4, seed=1)), batch(draw(64, 3, seed=2), draw(64, 4, seed=3) + 1)
    for kind, options, name in ((MkMmd, MkMmdOptions(), "mk-mmd"), (Jan, JanOptions(), "joint-mmd")):
        figures = made(kind, options).diagnostics(source, target)
        assert figures[name] > 5 * figures[f"{name}-noise-floor"]
        same = made(kind, options).diagnostics(source, batch(draw(64, 3, seed=4), draw(64, 4, seed=5)))
        assert abs(same[name]) < 4 * same[f"{name}-noise-floor"]


def test_three_points_tell_of_no_error():
    with pytest.raises(ValueError, match="at least 4 points, got 3"):
        chance_error(fixed_kernel(draw(3, 2)), 2)


def test_a_batch_too_small_for_the_estimate_is_remarked_upon():
    for kind, options in ((MkMmd, MkMmdOptions()), (Jan, JanOptions())):
        (remark,) = made(kind, options, batch_size=16).remarks(512, 10)
        assert "from 16 samples a domain is mostly chance: expected 64 or more" in remark
        assert not list(made(kind, options, batch_size=64).remarks(512, 10))


def test_the_defaults_are_the_papers():
    assert MkMmdOptions().model_dump() == {"weight": 1, "on": "features", "bandwidths": MULTIPLES}
    assert JanOptions().model_dump() == {"weight": 1, "bandwidths": MULTIPLES, "sigma": 0.92}


@pytest.mark.parametrize("bandwidths", [[], [0], [1, -1]])
def test_bandwidths_that_make_no_kernel_are_refused(bandwidths):
    with pytest.raises(ValueError, match="bandwidths"):
        MkMmdOptions(bandwidths=bandwidths)
