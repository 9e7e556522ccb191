"""Deep CORAL against the paper's equations: by hand, in numpy, by finite differences and by simulation."""

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

from harness.contract import Batch
from harness_adaptation.deep_coral import DeepCoral, DeepCoralOptions, coral_loss, covariance, noise_floor


def draw(*shape, seed=0):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def batch(logits, features=None, labels=None):
    features = logits if features is None else features
    return Batch(torch.empty(len(logits), 1, 1, 1), labels, features, logits)


def test_the_covariance_is_the_papers_worked_out_by_hand():
    # Columns (1, 2, 3) and (0, 2, 4): XᵀX = [[14, 16], [16, 20]], n·x̄x̄ᵀ = 3·[[4, 4], [4, 4]].
    features = torch.tensor([[1.0, 0.0], [2.0, 2.0], [3.0, 4.0]])
    assert covariance(features).tolist() == [[1.0, 2.0], [2.0, 4.0]]


def test_the_loss_is_the_papers_worked_out_by_hand():
    source = torch.tensor([[1.0, 0.0], [2.0, 2.0], [3.0, 4.0]])
    # Columns (0, 2) and (1, 1): C = [[2, 0], [0, 0]]; the difference is [[-1, 2], [2, 4]], its squares add up to 25.
    target = torch.tensor([[0.0, 1.0], [2.0, 1.0]])
    assert coral_loss(source, target).item() == 25 / (4 * 2**2)


@pytest.mark.parametrize(("n", "m", "width"), [(16, 16, 10), (7, 23, 3), (4, 5, 30)])
def test_the_loss_agrees_with_numpys_covariance(n, m, width):
    source, target = draw(n, width) * 3 + 5, draw(m, width, seed=1)
    gap = np.cov(source.numpy(), rowvar=False) - np.cov(target.numpy(), rowvar=False)
    expected = np.linalg.norm(gap, "fro") ** 2 / (4 * width**2)
    assert coral_loss(source, target).item() == pytest.approx(expected, rel=1e-12)


def test_a_common_shift_of_either_domain_changes_nothing():
    source, target = draw(9, 4), draw(8, 4, seed=1)
    assert coral_loss(source + 7, target - 3).item() == pytest.approx(coral_loss(source, target).item(), rel=1e-9)
    assert coral_loss(source, source).item() == 0


def test_the_gradient_is_that_of_finite_differences():
    source, target = draw(6, 3).requires_grad_(), draw(5, 3, seed=1).requires_grad_()
    assert torch.autograd.gradcheck(coral_loss, (source, target))


@pytest.mark.parametrize("on", ["logits", "features"])
def test_the_losses_are_the_sources_cross_entropy_and_the_weighted_alignment(on):
    labels = torch.tensor([0, 2, 1, 1])
    source, target = batch(draw(4, 3), draw(4, 5, seed=2), labels), batch(draw(6, 3, seed=1), draw(6, 5, seed=3))
    losses = DeepCoral(DeepCoralOptions(weight=0.25, on=on)).losses(source, target)
    assert set(losses) == {"cross-entropy", "coral"}
    assert torch.equal(losses["cross-entropy"], cross_entropy(source.logits, labels))
    expected = 0.25 * coral_loss(getattr(source, on), getattr(target, on))
    assert losses["coral"].item() == pytest.approx(expected.item(), rel=1e-12)


@pytest.mark.parametrize(("written", "weight"), [({}, 1 / 750), ({"weight": "1/25"}, 1 / 25)])
def test_the_papers_weights_can_be_written_as_they_are_printed(written, weight):
    options = DeepCoralOptions.model_validate(written)
    assert options.weight == weight
    assert options.on == "logits"


# -- the noise floor ------------------------------------------------------------------------------------------------------


def gaussian(trials, n, factor, seed):
    """Return trials of n Gaussian samples with covariance factor·factorᵀ."""
    width = len(factor)
    return draw(trials, n, width, seed=seed) @ factor.T


def closed_form(factor, n):
    """Return 2·[tr(C)² + tr(C²)] / (4 d² (n−1))."""
    true = (factor @ factor.T).numpy()
    return 2 * (np.trace(true) ** 2 + np.trace(true @ true)) / (4 * len(true) ** 2 * (n - 1))


@pytest.mark.parametrize(("n", "width"), [(16, 4), (5, 3), (16, 20)])
def test_two_batches_of_one_gaussian_differ_by_the_closed_form_on_average(n, width):
    factor, trials = draw(width, width, seed=9) / width**0.5, 3000
    ours, theirs = gaussian(trials, n, factor, 1), gaussian(trials, n, factor, 2)
    losses = torch.func.vmap(coral_loss)(ours, theirs).numpy()
    error = losses.std(ddof=1) / trials**0.5
    assert abs(losses.mean() - closed_form(factor, n)) < 3 * error


@pytest.mark.parametrize(("n", "width"), [(16, 4), (3, 3), (16, 20)])
def test_the_floor_estimated_from_one_batch_is_right_on_average(n, width):
    factor, trials = draw(width, width, seed=9) / width**0.5, 3000
    batches = gaussian(trials, n, factor, 3)
    floors = torch.stack([noise_floor(one) for one in batches]).numpy()
    error = floors.std(ddof=1) / trials**0.5
    assert error < 0.1 * closed_form(factor, n)
    assert abs(floors.mean() - closed_form(factor, n)) < 3 * error


def test_the_diagnostics_are_the_unweighted_loss_and_the_mean_floor_of_both_batches():
    adapter = DeepCoral(DeepCoralOptions(weight=0.25))
    source, target = batch(draw(4, 3)), batch(draw(7, 3, seed=1))
    figures = adapter.diagnostics(source, target)
    floors = [noise_floor(one.logits).item() for one in (source, target)]
    assert figures["coral"] == pytest.approx(coral_loss(source.logits, target.logits).item())
    assert figures["coral-noise-floor"] == pytest.approx(sum(floors) / 2)


def test_two_samples_tell_of_no_floor():
    with pytest.raises(ValueError, match="the noise floor needs at least 3 samples, got 2"):
        noise_floor(draw(2, 3))
    figures = DeepCoral(DeepCoralOptions()).diagnostics(batch(draw(2, 3)), batch(draw(7, 3)))
    assert set(figures) == {"coral"}
