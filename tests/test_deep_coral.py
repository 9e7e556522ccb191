"""Deep CORAL against the paper's equations: by hand, in numpy and scikit-learn, by finite differences and by simulation."""

import numpy as np
import pytest
import torch
from adapter_toys import batch, draw, toy_loop
from sklearn.covariance import ledoit_wolf, ledoit_wolf_shrinkage
from torch.nn.functional import cross_entropy

from harness.adapting import Outputs
from harness_adaptation.deep_coral import DeepCoral, DeepCoralOptions
from harness_adaptation.moments import (
    common_share,
    coral_loss,
    covariance,
    domainbed_floor,
    domainbed_loss,
    ledoit_wolf_share,
    noise_floor,
)


def adapter(shrinkage=0.0, batch_size=8, **options):
    made = DeepCoral(DeepCoralOptions(**options))
    made.loop = toy_loop(shrinkage=shrinkage, batch_size=batch_size)
    return made


def test_the_covariance_is_the_papers_worked_out_by_hand():
    # Columns (1, 2, 3) and (0, 2, 4): XᵀX = [[14, 16], [16, 20]], n·x̄x̄ᵀ = 3·[[4, 4], [4, 4]].
    features = torch.tensor([[1.0, 0.0], [2.0, 2.0], [3.0, 4.0]])
    assert covariance(features).tolist() == [[1.0, 2.0], [2.0, 4.0]]


def test_the_loss_is_the_papers_worked_out_by_hand():
    source = torch.tensor([[1.0, 0.0], [2.0, 2.0], [3.0, 4.0]])
    # Columns (0, 2) and (1, 1): C = [[2, 0], [0, 0]]; the difference is [[-1, 2], [2, 4]], its squares add up to 25.
    target = torch.tensor([[0.0, 1.0], [2.0, 1.0]])
    assert coral_loss(source, target).item() == 25 / (4 * 2**2)
    # The means are (2, 2) and (1, 1): 25/4 of the covariances and 1 of the means.
    assert domainbed_loss(source, target).item() == 25 / 4 + 1


@pytest.mark.parametrize(("n", "m", "width"), [(16, 16, 10), (7, 23, 3), (4, 5, 30)])
def test_the_loss_agrees_with_numpys_covariance(n, m, width):
    source, target = draw(n, width) * 3 + 5, draw(m, width, seed=1)
    gap = np.cov(source.numpy(), rowvar=False) - np.cov(target.numpy(), rowvar=False)
    expected = np.linalg.norm(gap, "fro") ** 2 / (4 * width**2)
    assert coral_loss(source, target).item() == pytest.approx(expected, rel=1e-12)
    means = source.numpy().mean(0) - target.numpy().mean(0)
    assert domainbed_loss(source, target).item() == pytest.approx((gap**2).mean() + (means**2).mean(), rel=1e-12)


def test_a_common_shift_of_either_domain_changes_nothing_in_the_papers_loss_alone():
    source, target = draw(9, 4), draw(8, 4, seed=1)
    assert coral_loss(source + 7, target - 3).item() == pytest.approx(coral_loss(source, target).item(), rel=1e-9)
    assert coral_loss(source, source).item() == 0
    assert domainbed_loss(source + 7, source).item() == pytest.approx(49)


@pytest.mark.parametrize("loss", [coral_loss, domainbed_loss])
@pytest.mark.parametrize("shrinkage", [0.0, 0.3])
def test_the_gradient_is_that_of_finite_differences(loss, shrinkage):
    source, target = draw(6, 3).requires_grad_(), draw(5, 3, seed=1).requires_grad_()
    assert torch.autograd.gradcheck(lambda ours, theirs: loss(ours, theirs, shrinkage), (source, target))


@pytest.mark.parametrize("on", ["logits", "features"])
@pytest.mark.parametrize(("variant", "loss"), [("paper", coral_loss), ("domainbed", domainbed_loss)])
def test_the_losses_are_the_sources_cross_entropy_and_the_weighted_alignment(on, variant, loss):
    labels = torch.tensor([0, 2, 1, 1])
    source, target = batch(draw(4, 3), draw(4, 5, seed=2), labels), batch(draw(6, 3, seed=1), draw(6, 5, seed=3))
    losses = adapter(weight=0.25, on=on, variant=variant).losses(source, target)
    assert list(losses) == ["cross-entropy", "coral"]
    assert torch.equal(losses["cross-entropy"], cross_entropy(source.logits, labels))
    expected = 0.25 * loss(getattr(source, on), getattr(target, on))
    assert losses["coral"].item() == pytest.approx(expected.item(), rel=1e-12)


@pytest.mark.parametrize(("written", "weight"), [({}, 1 / 750), ({"weight": "1/25"}, 1 / 25)])
def test_the_papers_weights_can_be_written_as_they_are_printed(written, weight):
    options = DeepCoralOptions.model_validate(written)
    assert options.weight == weight
    assert (options.on, options.variant) == ("logits", "paper")


# -- the remembered outputs -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("on", ["logits", "features"])
def test_the_remembered_outputs_enter_the_covariance_and_the_floor_without_a_gradient(on):
    own, past = (
        Outputs(draw(4, 5), draw(4, 3, seed=1).requires_grad_()),
        Outputs(draw(7, 5, seed=2), draw(7, 3, seed=3)),
    )
    source = batch(own.logits, own.features.requires_grad_(), torch.tensor([0, 1, 2, 0]), past=past)
    target = batch(draw(4, 3, seed=4), draw(4, 5, seed=5))
    both = torch.cat([getattr(own, on), getattr(past, on)])
    loss = adapter(weight=1, on=on).losses(source, target)["coral"]
    assert loss.item() == pytest.approx(coral_loss(both, getattr(target, on)).item(), rel=1e-12)
    loss.backward()
    assert getattr(own, on).grad.abs().sum() > 0
    assert getattr(past, on).grad is None
    with torch.no_grad():
        figures = adapter(on=on).diagnostics(source, target)
    floors = [noise_floor(both).item(), noise_floor(getattr(target, on)).item()]
    assert figures["coral-noise-floor"] == pytest.approx(sum(floors) / 2, rel=1e-9)


# -- shrinkage ------------------------------------------------------------------------------------------------------------


def test_a_shrunk_covariance_is_the_blend_with_its_mean_variance_worked_out_by_hand():
    # [[1, 2], [2, 4]] has a mean variance of 2.5: 0.8 of it and 0.2·2.5 on the diagonal.
    features = torch.tensor([[1.0, 0.0], [2.0, 2.0], [3.0, 4.0]], dtype=torch.float64)
    assert covariance(features, 0.2).numpy() == pytest.approx(np.array([[1.3, 1.6], [1.6, 3.7]]))


@pytest.mark.parametrize(("n", "width"), [(16, 4), (60, 7), (5, 12), (16, 64), (8, 1)])
def test_the_estimated_share_is_scikit_learns(n, width):
    features = draw(n, width) @ (torch.eye(width) * 0.5 + 0.5).double() + 3
    assert float(ledoit_wolf_share(features)) == pytest.approx(ledoit_wolf_shrinkage(features.numpy()), rel=1e-9)
    blended, share = ledoit_wolf(features.numpy())
    assert covariance(features, share).numpy() * (n - 1) / n == pytest.approx(blended, rel=1e-9)


def test_constant_features_are_shrunk_by_nothing():
    assert ledoit_wolf_share(torch.ones(6, 3)) == 0


def test_both_domains_are_shrunk_by_one_share():
    source, target = draw(9, 6) @ draw(6, 6, seed=9), draw(9, 6, seed=1) * torch.tensor([9.0, 1, 1, 1, 1, 1])
    shares = [ledoit_wolf_shrinkage(one.numpy()) for one in (source, target)]
    assert 0 < min(shares) < max(shares) - 0.1 < 0.9
    assert float(common_share(source, target, "ledoit-wolf")) == pytest.approx(sum(shares) / 2)
    labelled = batch(source, labels=torch.zeros(9, dtype=torch.int64))
    loss = adapter(shrinkage="ledoit-wolf", weight=1).losses(labelled, batch(target))["coral"]
    blends = [ledoit_wolf(one.numpy())[0] * 9 / 8 for one in (source, target)]
    assert loss.item() == pytest.approx(coral_loss(source, target, sum(shares) / 2).item())
    # With a share of its own, either domain's covariance would be scikit-learn's, and the loss another.
    assert loss.item() != pytest.approx(((blends[0] - blends[1]) ** 2).sum() / (4 * 6**2), rel=1e-3)


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


@pytest.mark.parametrize("shrinkage", [0.0, 0.4, 1.0])
@pytest.mark.parametrize(("loss", "floor"), [(coral_loss, noise_floor), (domainbed_loss, domainbed_floor)])
def test_the_floor_is_what_two_batches_of_one_gaussian_come_to_under_shrinkage_too(loss, floor, shrinkage):
    factor, trials = draw(5, 5, seed=9) / 5**0.5, 4000
    ours, theirs = gaussian(trials, 12, factor, 1), gaussian(trials, 12, factor, 2)
    losses = torch.func.vmap(lambda one, other: loss(one, other, shrinkage))(ours, theirs)
    floors = torch.stack([floor(one, shrinkage) for one in ours])
    error = (losses - floors).std() / trials**0.5
    assert error < 0.05 * losses.mean()
    assert (losses - floors).mean().abs() < 3 * error


@pytest.mark.parametrize(
    ("variant", "loss", "floor"), [("paper", coral_loss, noise_floor), ("domainbed", domainbed_loss, domainbed_floor)]
)
def test_the_diagnostics_are_the_unweighted_loss_and_the_mean_floor_of_both_batches(variant, loss, floor):
    source, target = batch(draw(4, 3)), batch(draw(7, 3, seed=1))
    figures = adapter(weight=0.25, variant=variant, shrinkage=0.1).diagnostics(source, target)
    floors = [floor(one.logits, 0.1).item() for one in (source, target)]
    assert figures["coral"] == pytest.approx(loss(source.logits, target.logits, 0.1).item())
    assert figures["coral-noise-floor"] == pytest.approx(sum(floors) / 2)


def test_two_samples_tell_of_no_floor():
    with pytest.raises(ValueError, match="the noise floor needs at least 3 samples, got 2"):
        noise_floor(draw(2, 3))
    figures = adapter().diagnostics(batch(draw(2, 3)), batch(draw(7, 3)))
    assert set(figures) == {"coral"}


def test_a_singular_covariance_is_remarked_upon_with_its_numbers():
    (remark,) = adapter(on="features", batch_size=16).remarks(512, 10)
    assert "covariances of 16 samples in 512 dimensions have rank 15 at most" in remark
    assert "expected more than 512 samples" in remark
    assert not list(adapter(on="features", batch_size=16, shrinkage="ledoit-wolf").remarks(512, 10))
    assert not list(adapter(on="logits", batch_size=16).remarks(512, 10))
    assert list(adapter(on="logits", batch_size=16).remarks(512, 16))
