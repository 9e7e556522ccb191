"""Activity-weight duality against its defining property, hand computation, numpy's least squares and torch's own convolution."""

import numpy as np
import pytest
import torch
from adapter_toys import draw
from torch import nn

from harness_adaptation.duality import Moments, kept_shift, least_update, patches, unmatched_share, with_one


def moments_of(inputs, changed, kept=None):
    """Return the moments of inputs (n, d), of what became of them (n, d), and of kept inputs (m, d)."""
    moments = Moments(inputs.shape[1])
    moments.add_changed(inputs, changed)
    if kept is not None:
        moments.add_kept(kept)
    return moments


def samples(n, d, *, classes=4, seed=0):
    """Return weights (classes, d), inputs (n, d) and what became of them (n, d)."""
    return draw(classes, d, seed=seed), draw(n, d, seed=seed + 1), draw(n, d, seed=seed + 2)


def test_one_sample_is_worked_out_by_hand():
    # W = [[1, 2], [0, 1]], x = (3, 4), Δx = (1, -1): WΔx = (-1, -1), ‖x‖² = 25, ΔW = WΔx xᵀ/25.
    weight = torch.tensor([[1.0, 2.0], [0.0, 1.0]], dtype=torch.float64)
    moments = moments_of(torch.tensor([[3.0, 4.0]]), torch.tensor([[4.0, 3.0]]))
    update = least_update(weight, moments, beta=0, ridge=0)
    assert update.numpy() == pytest.approx(np.array([[-3, -4], [-3, -4]]) / 25, abs=1e-14)


@pytest.mark.parametrize("width", [1, 3, 64])
def test_changed_weights_on_one_sample_do_what_the_weights_do_on_the_changed_sample(width):
    weight, inputs, changed = samples(1, width)
    update = least_update(weight, moments_of(inputs, changed), beta=0, ridge=0)
    assert torch.allclose((weight + update) @ inputs[0], weight @ changed[0], rtol=0, atol=1e-6)


def test_with_a_bias_the_denominator_is_one_more_and_the_bias_moves_too():
    weight, inputs, changed = samples(1, 5)
    bias = draw(4, seed=7)
    matrix = torch.cat([weight, bias[:, None]], 1)
    update = least_update(matrix, moments_of(with_one(inputs), with_one(changed)), beta=0, ridge=0)
    wanted, squared = weight @ (changed - inputs)[0], inputs.square().sum() + 1
    assert torch.allclose(update[:, :-1], wanted[:, None] * inputs / squared, rtol=0, atol=1e-12)
    assert torch.allclose(update[:, -1], wanted / squared, rtol=0, atol=1e-12)


@pytest.mark.parametrize(("n", "width"), [(1, 6), (4, 6), (6, 6), (20, 6)])
def test_without_ridge_and_kept_samples_it_is_numpys_least_squares_solution_of_least_norm(n, width):
    weight, inputs, changed = samples(n, width)
    update = least_update(weight, moments_of(inputs, changed), beta=0, ridge=0)
    # X·ΔWᵀ = ΔX·Wᵀ in rows; lstsq gives the solution of least norm where there are many.
    expected, *_ = np.linalg.lstsq(inputs.numpy(), ((changed - inputs) @ weight.T).numpy(), rcond=None)
    assert update.numpy() == pytest.approx(expected.T, abs=1e-9)


@pytest.mark.parametrize("n", [1, 4, 6])
def test_as_the_ridge_vanishes_no_more_samples_than_weights_are_matched_exactly(n):
    weight, inputs, changed = samples(n, 6)
    moments = moments_of(inputs, changed)
    gaps = []
    for ridge in (1e-2, 1e-5, 1e-8):
        update = least_update(weight, moments, beta=0, ridge=ridge)
        gaps.append(float((inputs @ (weight + update).T - changed @ weight.T).norm()))
    assert gaps[0] > 100 * gaps[1] > 10_000 * gaps[2]
    exact = least_update(weight, moments, beta=0, ridge=0)
    expected = weight @ (changed - inputs).T @ torch.linalg.pinv(inputs.T)
    assert torch.allclose(exact, expected, rtol=0, atol=1e-9)


def test_no_other_update_that_matches_the_samples_is_smaller():
    weight, inputs, changed = samples(4, 9)
    update = least_update(weight, moments_of(inputs, changed), beta=0, ridge=0)
    for seed in range(50):
        # What vanishes on the samples may be added: any such update matches them as well.
        noise = draw(4, 9, seed=100 + seed)
        other = update + noise - noise @ torch.linalg.pinv(inputs) @ inputs
        assert torch.allclose(inputs @ other.T, (changed - inputs) @ weight.T, rtol=0, atol=1e-9)
        assert other.norm() > update.norm()


@pytest.mark.parametrize(("n", "m", "beta", "ridge"), [(3, 7, 0.5, 0.1), (8, 40, 0.01, 1e-3), (8, 2, 3.0, 0.2)])
def test_it_minimizes_the_objective_with_kept_samples_and_ridge(n, m, beta, ridge):
    weight, inputs, changed = samples(n, 5)
    kept = draw(m, 5, seed=9)
    update = least_update(weight, moments_of(inputs, changed, kept), beta=beta, ridge=ridge)
    rho = ridge * inputs.square().sum() / 5  # the mean eigenvalue of XXᵀ is its trace over d
    # The same problem as ordinary least squares: rows stacked with their roots of weights.
    rows = np.vstack([inputs, beta**0.5 * kept, rho**0.5 * torch.eye(5, dtype=torch.float64)])
    wanted = np.vstack([(changed - inputs) @ weight.T, np.zeros((m + 5, 4))])
    expected, *_ = np.linalg.lstsq(rows, wanted, rcond=None)
    assert update.numpy() == pytest.approx(expected.T, abs=1e-10)


def test_as_beta_grows_the_kept_samples_stay_and_the_update_uses_what_they_leave_free():
    weight, inputs, changed = samples(2, 6)
    kept = draw(3, 6, seed=9)
    update = least_update(weight, moments_of(inputs, changed, kept), beta=1e8, ridge=0)
    assert float((kept @ update.T).abs().max()) < 1e-6
    free = torch.eye(6, dtype=torch.float64) - torch.linalg.pinv(kept) @ kept
    expected = weight @ (changed - inputs).T @ torch.linalg.pinv((inputs @ free).T)
    assert torch.allclose(update, expected, rtol=0, atol=1e-5)


def test_as_beta_grows_kept_samples_that_leave_nothing_free_stop_the_update():
    weight, inputs, changed = samples(2, 6)
    moments = moments_of(inputs, changed, draw(30, 6, seed=9))
    sizes = [float(least_update(weight, moments, beta=beta, ridge=1e-6).norm()) for beta in (1.0, 1e3, 1e6)]
    assert sizes[0] > 100 * sizes[1] > 10_000 * sizes[2]
    assert sizes[2] < 1e-5


def test_the_update_is_the_same_at_every_scale_of_the_inputs_but_for_the_scale():
    weight, inputs, changed = samples(3, 5)
    kept = draw(9, 5, seed=9)
    update = least_update(weight, moments_of(inputs, changed, kept), beta=0.1, ridge=0.01)
    scaled = least_update(weight, moments_of(1e3 * inputs, 1e3 * changed, 1e3 * kept), beta=0.1, ridge=0.01)
    assert torch.allclose(scaled, update, rtol=0, atol=1e-10)


@pytest.mark.parametrize("size", [1, 4, 17])
def test_streamed_moments_are_those_of_all_samples_at_once(size):
    weight, inputs, changed = samples(17, 5)
    kept = draw(23, 5, seed=9)
    streamed = Moments(5)
    for before, after in zip(inputs.split(size), changed.split(size), strict=True):
        streamed.add_changed(before, after)
    for rows in kept.split(size):
        streamed.add_kept(rows)
    whole = moments_of(inputs, changed, kept)
    for name in ("inputs", "cross", "changes", "kept"):
        assert torch.allclose(getattr(streamed, name), getattr(whole, name), rtol=0, atol=1e-12)
    assert streamed.num_kept == 23
    updates = [least_update(weight, moments, beta=0.1, ridge=1e-6) for moments in (streamed, whole)]
    assert torch.allclose(*updates, rtol=0, atol=1e-9)


@pytest.mark.parametrize("size", [1, 1002])
def test_sums_of_many_float32_samples_keep_float64s_digits(size):
    # In float32, 2²⁴ + 1 is 2²⁴: one large sample would swallow a thousand small ones, and no sum there is odd.
    rows = torch.cat([torch.tensor([[2.0**12]]), torch.ones(1001, 1)])
    moments = Moments(1)
    for some in rows.split(size):
        moments.add_changed(some, 2 * some)
        moments.add_kept(some)
    for sums in (moments.inputs, moments.cross, moments.changes, moments.kept):
        assert sums.item() == 2**24 + 1001


def test_nothing_changed_means_no_update():
    weight, inputs, _ = samples(6, 4)
    moments = moments_of(inputs, inputs, draw(9, 4))
    update = least_update(weight, moments, beta=0.1, ridge=1e-6)
    assert not update.any()
    assert unmatched_share(weight, update, moments) == 0
    nothing = Moments(4)
    assert not least_update(weight, nothing, beta=0.1, ridge=1e-6).any()
    assert kept_shift(weight, nothing) == 0


@pytest.mark.parametrize("n", [3, 30])
def test_the_figures_from_moments_are_those_of_the_samples(n):
    weight, inputs, changed = samples(n, 6)
    kept = draw(11, 6, seed=9)
    moments = moments_of(inputs, changed, kept)
    update = 0.5 * least_update(weight, moments, beta=0.3, ridge=0.1)
    wanted = (changed - inputs) @ weight.T
    share = float((inputs @ update.T - wanted).norm() / wanted.norm())
    assert unmatched_share(weight, update, moments) == pytest.approx(share, rel=1e-9)
    shift = float((kept @ update.T).square().sum(1).mean().sqrt())
    assert kept_shift(update, moments) == pytest.approx(shift, rel=1e-9)
    assert unmatched_share(weight, torch.zeros_like(weight), moments) == pytest.approx(1)


# -- convolutions -----------------------------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths")
@pytest.mark.parametrize(
    "how",
    [
        {"kernel_size": 3},
        {"kernel_size": (2, 3), "stride": (2, 1), "padding": (1, 2)},
        {"kernel_size": 3, "dilation": (2, 1), "padding": "same"},
        {"kernel_size": (2, 4), "padding": "same"},
        {"kernel_size": 3, "padding": "valid"},
        {"kernel_size": 3, "padding": (1, 2), "padding_mode": "reflect"},
        {"kernel_size": 3, "padding": 1, "padding_mode": "circular"},
        {"kernel_size": 3, "padding": "same", "padding_mode": "replicate", "stride": 1},
    ],
)
def test_weights_times_patches_are_torchs_convolution(how):
    images = draw(2, 3, 7, 8)
    convolution = nn.Conv2d(3, 4, bias=False, **how).double()
    rows = patches(convolution, images)
    expected = convolution(images)
    found = (rows @ convolution.weight.flatten(1).T).reshape(2, -1, 4).transpose(1, 2).reshape(expected.shape)
    assert torch.allclose(found, expected, rtol=0, atol=1e-12)


def test_an_updated_convolution_does_to_an_image_what_the_convolution_did_to_the_changed_image():
    # Two images of one 3 × 3 patch in 2 channels each: two samples of 18 numbers, so that the update is exact.
    convolution = nn.Conv2d(2, 3, 3, bias=False).double()
    images, changed = draw(2, 2, 3, 3), draw(2, 2, 3, 3, seed=1)
    moments = moments_of(patches(convolution, images), patches(convolution, changed))
    expected = convolution(changed)
    with torch.no_grad():
        weight = convolution.weight.flatten(1)
        convolution.weight += least_update(weight, moments, beta=0, ridge=0).reshape(convolution.weight.shape)
    assert torch.allclose(convolution(images), expected, rtol=0, atol=1e-6)


def test_where_patches_outnumber_weights_the_update_is_the_least_squares_one():
    convolution = nn.Conv2d(1, 2, 2, bias=False).double()
    images, changed = draw(3, 1, 5, 5), draw(3, 1, 5, 5, seed=1)
    weight, wanted = convolution.weight.detach().flatten(1), convolution(changed).detach()
    update = least_update(
        weight, moments_of(patches(convolution, images), patches(convolution, changed)), beta=0, ridge=0
    )

    def gap(change):
        moved = nn.functional.conv2d(images, (weight + change).reshape(2, 1, 2, 2))
        return float((moved - wanted).norm())

    assert gap(update) > 0.1
    for seed in range(20):
        assert gap(update + 0.01 * draw(2, 4, seed=50 + seed)) > gap(update)
