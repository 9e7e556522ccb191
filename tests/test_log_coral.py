"""Log-CORAL against scipy's matrix logarithm, finite differences at equal eigenvalues, and simulation."""

import numpy as np
import pytest
import torch
from adapter_toys import batch, draw, toy_loop
from scipy.linalg import logm
from torch.nn.functional import cross_entropy

from harness.adapting import Outputs
from harness.api import HarnessError
from harness_adaptation.log_coral import LogCoral, LogCoralOptions, log_coral_loss
from harness_adaptation.matrix_logarithm import divided_differences, matrix_logarithm


def adapter(shrinkage=0.0, batch_size=16, **options):
    made = LogCoral(LogCoralOptions(**options))
    made.loop = toy_loop(shrinkage=shrinkage, batch_size=batch_size)
    return made


def symmetric(matrix):
    return (matrix + matrix.T) / 2


def positive(eigenvalues):
    """Return a matrix with these eigenvalues in a random basis."""
    basis = torch.linalg.qr(draw(len(eigenvalues), len(eigenvalues))).Q
    return (basis * torch.tensor(eigenvalues, dtype=torch.float64)) @ basis.T


@pytest.mark.parametrize("eigenvalues", [[3.0], [0.5, 2.0, 7.0], [1e-4, 1.0, 1.0, 1e2]])
def test_the_logarithm_is_scipys(eigenvalues):
    matrix = positive(eigenvalues)
    assert matrix_logarithm(matrix).numpy() == pytest.approx(logm(matrix.numpy()).real, abs=1e-8)


@pytest.mark.parametrize(
    "eigenvalues", [[0.5, 2.0, 7.0], [2.0, 2.0, 2.0], [0.3, 0.3, 5.0, 5.0], [1.0, 1.0 + 1e-9, 4.0]]
)
def test_the_gradient_is_that_of_finite_differences_where_eigenvalues_are_equal_too(eigenvalues):
    matrix = positive(eigenvalues).requires_grad_()
    assert torch.autograd.gradcheck(lambda given: matrix_logarithm(symmetric(given)), (matrix,))


def test_at_a_multiple_of_the_identity_the_derivative_divides_by_it():
    matrix = (4 * torch.eye(3, dtype=torch.float64)).requires_grad_()
    direction = symmetric(draw(3, 3))
    (matrix_logarithm(matrix) * direction).sum().backward()
    assert matrix.grad.numpy() == pytest.approx(direction.numpy() / 4)


def test_divided_differences_worked_out_by_hand():
    quotients = divided_differences(torch.tensor([1.0, np.e, np.e], dtype=torch.float64))
    apart, equal = 1 / (np.e - 1), 1 / np.e
    expected = np.array([[1, apart, apart], [apart, equal, equal], [apart, equal, equal]])
    assert quotients.numpy() == pytest.approx(expected)


def test_divided_differences_keep_their_precision_near_equality():
    # For λ and λ(1 + r): 1/λ·(1 − r/2 + …); the quotient of rounded logarithms would be off in the fourth digit.
    gap = 2.0**-40
    quotient = divided_differences(torch.tensor([3.0, 3.0 * (1 + gap)], dtype=torch.float64))[0, 1].item()
    assert quotient == pytest.approx((1 - gap / 2) / 3, rel=1e-14)


@pytest.mark.parametrize(("n", "m", "width"), [(16, 16, 5), (30, 9, 3)])
def test_the_loss_is_the_mean_square_between_scipys_logarithms_of_numpys_covariances(n, m, width):
    source, target = draw(n, width) * 3 + 5, draw(m, width, seed=1)
    logarithms = []
    for one in (source, target):
        sampled = np.cov(one.numpy(), rowvar=False)
        logarithms.append(logm(sampled + 1e-3 * np.trace(sampled) / width * np.eye(width)).real)
    expected = ((logarithms[0] - logarithms[1]) ** 2).mean()
    assert log_coral_loss(source, target).item() == pytest.approx(expected, rel=1e-9)


def test_scaling_one_domain_by_a_factor_costs_the_square_of_its_logarithm_twice_over_the_width():
    # log(s²C) = log C + 2·log(s)·I: the mean over d² entries of a diagonal of d times (2 log s)².
    source = draw(12, 4)
    assert log_coral_loss(source, 3 * source).item() == pytest.approx((2 * np.log(3)) ** 2 / 4)


def test_the_losss_gradient_is_that_of_finite_differences_with_whitened_features_too():
    centred = draw(8, 3) - draw(8, 3).mean(0)
    white = torch.linalg.qr(centred).Q.requires_grad_()  # its covariance has three equal eigenvalues
    target = draw(7, 3, seed=1).requires_grad_()
    assert torch.autograd.gradcheck(log_coral_loss, (white, target))
    assert torch.autograd.gradcheck(lambda one, other: log_coral_loss(one, other, shrinkage=0.3), (white, target))


def test_single_precision_is_left_before_anything_is_computed():
    source, target = draw(12, 4).float(), draw(9, 4, seed=1).float()
    loss = log_coral_loss(source, target)
    assert loss.dtype == torch.float64
    assert loss.item() == log_coral_loss(source.double(), target.double()).item()


def test_constant_features_have_a_finite_loss_and_gradient():
    source = torch.ones(5, 3, requires_grad=True)
    loss = log_coral_loss(source, draw(5, 3).float())
    loss.backward()
    assert loss.isfinite()
    assert source.grad.isfinite().all()


def test_features_that_are_not_finite_give_a_loss_that_is_not_instead_of_an_error():
    source = draw(5, 3)
    source[2, 1] = torch.inf
    assert not log_coral_loss(source, draw(5, 3, seed=1)).isfinite()


@pytest.mark.parametrize("on", ["logits", "features"])
def test_the_losses_are_the_sources_cross_entropy_and_the_weighted_alignment_with_the_remembered(on):
    labels, past = torch.tensor([0, 2, 1, 1, 0, 2]), Outputs(draw(5, 4, seed=4), draw(5, 3, seed=5))
    source = batch(draw(6, 3), draw(6, 4, seed=2), labels)
    target = batch(draw(6, 3, seed=1), draw(6, 4, seed=3), past=past)
    losses = adapter(weight=0.25, on=on).losses(source, target)
    assert list(losses) == ["cross-entropy", "log-coral"]
    assert torch.equal(losses["cross-entropy"], cross_entropy(source.logits, labels))
    theirs = torch.cat([getattr(target, on), getattr(past, on)])
    assert losses["log-coral"].item() == pytest.approx(0.25 * log_coral_loss(getattr(source, on), theirs).item())


def test_the_floor_is_about_what_two_batches_of_one_distribution_come_to():
    factor, trials = draw(4, 4, seed=9), 150
    figures = []
    for trial in range(trials):
        source, target = (batch(draw(20, 4, seed=2 * trial + which) @ factor) for which in (100, 101))
        figures.append(adapter().diagnostics(source, target))
    losses = np.array([one["log-coral"] for one in figures])
    floors = np.array([one["log-coral-noise-floor"] for one in figures])
    assert floors.mean() == pytest.approx(losses.mean(), rel=0.1)


def test_the_floor_stays_where_a_gap_lets_the_loss_grow_and_draws_nothing_from_the_global_generator():
    source, target = batch(draw(20, 4)), batch(draw(20, 4, seed=1) @ draw(4, 4, seed=9) * 5)
    state = torch.get_rng_state()
    figures = adapter().diagnostics(source, target)
    assert torch.equal(torch.get_rng_state(), state)
    assert figures["log-coral"] > 3 * figures["log-coral-noise-floor"]


def test_singular_covariances_are_refused_unless_they_are_shrunk():
    with pytest.raises(HarnessError) as refused:
        adapter(on="features", batch_size=16).remarks(512, 10)
    for part in (
        "on: features",
        "got covariances of 16 samples in 512 dimensions",
        "batch_size above 512",
        "ledoit-wolf",
    ):
        assert part in str(refused.value)
    with pytest.raises(HarnessError, match="16 samples in 16 dimensions"):
        adapter(batch_size=16).remarks(512, 16)
    assert not list(adapter(batch_size=17).remarks(512, 16))
    assert not list(adapter(on="features", shrinkage=0.1).remarks(512, 10))
    assert not list(adapter(on="features", shrinkage="ledoit-wolf").remarks(512, 10))
