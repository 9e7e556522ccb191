"""DANN, CDAN and BSP against explicit two-player gradients, closed forms, numpy and scipy."""

import math

import numpy as np
import pytest
import torch
from adapter_toys import batch, draw, toy_loop
from scipy.stats import entropy
from torch.nn.functional import cross_entropy

from harness.errors import HarnessError
from harness_adaptation.adversarial import AdversarialOptions
from harness_adaptation.bsp import Bsp, BspOptions, spectral_penalty
from harness_adaptation.cdan import Cdan, CdanOptions
from harness_adaptation.dann import Dann
from harness_adaptation.discriminators import (
    Discriminator,
    RandomMap,
    domain_accuracy,
    domain_loss,
    outer_product,
)
from harness_adaptation.entropies import entropies, entropy_of_mean
from harness_adaptation.reversal import reverse, warm_up

WIDTH, CLASSES = 5, 3


def prepared(kind, options, **loop):
    """Return an adapter in a loop, and its modules in float64."""
    adapter = kind(options)
    adapter.loop = toy_loop(**{"step": 5, "steps": 10, **loop})
    torch.manual_seed(0)
    modules = adapter.modules(WIDTH, CLASSES)
    return adapter, {name: module.double() for name, module in modules.items()}


def domains(n=6, m=4, scale=1.0):
    """Return a source and a target batch, in float64."""
    labels = torch.arange(n) % CLASSES
    source = batch(draw(n, CLASSES) * scale, draw(n, WIDTH, seed=1).requires_grad_(), labels)
    return source, batch(draw(m, CLASSES, seed=2) * scale, draw(m, WIDTH, seed=3).requires_grad_())


# -- reversal -------------------------------------------------------------------------------------------------------------


def test_reversal_is_the_identity_whose_gradient_is_negative():
    inputs = draw(3, 2).requires_grad_()
    outputs = reverse(inputs, 0.25)
    assert torch.equal(outputs, inputs)
    (gradient,) = torch.autograd.grad((outputs * draw(3, 2, seed=1)).sum(), inputs)
    assert torch.equal(gradient, -0.25 * draw(3, 2, seed=1))


@pytest.mark.parametrize("progress", [0.0, 0.1, 0.5, 0.99])
def test_the_factor_follows_the_papers_course(progress):
    assert warm_up(progress, 10) == pytest.approx(2 / (1 + math.exp(-10 * progress)) - 1, abs=1e-12)


# -- discriminator --------------------------------------------------------------------------------------------------------


def test_the_domain_loss_is_numpys_binary_cross_entropy():
    ours, theirs = draw(5), draw(3, seed=1)
    sigmoid = 1 / (1 + np.exp(-np.concatenate([ours.numpy(), theirs.numpy()])))
    expected = (-np.log(sigmoid[:5]).mean() - np.log(1 - sigmoid[5:]).mean()) / 2
    assert domain_loss(ours, theirs).item() == pytest.approx(expected, rel=1e-12)


def test_the_domain_loss_of_one_that_cannot_tell_is_the_logarithm_of_two():
    weights = torch.tensor([1.0, 5.0, 2.0])
    assert domain_loss(torch.zeros(3), torch.zeros(7)).item() == pytest.approx(math.log(2))
    weighted = domain_loss(torch.zeros(3), torch.zeros(7), source_weights=weights, target_weights=torch.ones(7))
    assert weighted.item() == pytest.approx(math.log(2))


def test_the_domain_loss_stays_finite_where_the_discriminator_is_certain_and_wrong():
    ours = torch.tensor([-1e4], requires_grad=True)
    loss = domain_loss(ours, torch.tensor([1e4]))
    loss.backward()
    assert loss.item() == pytest.approx(1e4)
    assert ours.grad.item() == pytest.approx(-0.5)


def test_the_accuracy_weighs_both_domains_alike():
    # Two of three of the source are right, none of the one of the target.
    assert domain_accuracy(torch.tensor([1.0, -1.0, 3.0]), torch.tensor([2.0])).item() == pytest.approx(1 / 3)


def test_the_discriminator_is_three_linear_layers_with_batch_norm_and_no_running_statistics():
    layers = list(Discriminator(7, 1024).layers)
    assert [type(layer).__name__ for layer in layers] == ["Linear", "BatchNorm1d", "ReLU"] * 2 + ["Linear"]
    assert [tuple(layer.weight.shape) for layer in layers[::3]] == [(1024, 7), (1024, 1024), (1, 1024)]
    assert not list(Discriminator(7, 8).buffers())


# -- DANN -----------------------------------------------------------------------------------------------------------------


def test_dann_plays_the_two_player_game_of_explicit_gradients():
    adapter, modules = prepared(Dann, AdversarialOptions(weight=0.5, hidden=6))
    source, target = domains()
    losses = adapter.losses(source, target)
    assert list(losses) == ["cross-entropy", "domain"]
    players = [source.features, target.features, *modules["discriminator"].parameters()]
    gradients = torch.autograd.grad(losses["domain"], players)
    # By hand: the discriminator's own loss on both domains in one batch; the features climb it, by 0.5·λ(0.5).
    judged = modules["discriminator"](torch.cat([source.features, target.features]))
    probabilities = judged.sigmoid()
    plain = (-probabilities[:6].log().mean() - (1 - probabilities[6:]).log().mean()) / 2
    assert losses["domain"].item() == pytest.approx(plain.item(), rel=1e-9)
    climbed = 0.5 * (2 / (1 + math.exp(-5)) - 1)
    for number, (found, descent) in enumerate(zip(gradients, torch.autograd.grad(plain, players), strict=True)):
        expected = -climbed * descent if number < 2 else descent
        torch.testing.assert_close(found, expected, rtol=1e-7, atol=1e-10)
    assert losses["cross-entropy"].item() == cross_entropy(source.logits, source.labels).item()


def test_dann_leaves_the_features_alone_at_the_start():
    adapter, _ = prepared(Dann, AdversarialOptions(hidden=6), step=0)
    source, target = domains()
    gradients = torch.autograd.grad(adapter.losses(source, target)["domain"], [source.features, target.features])
    assert not any(bool(gradient.any()) for gradient in gradients)


def test_the_accuracy_recorded_is_that_from_before_the_discriminator_learned():
    adapter, modules = prepared(Dann, AdversarialOptions(hidden=6))
    source, target = domains()
    assert adapter.diagnostics(source, target) == {}
    adapter.losses(source, target)
    judged = modules["discriminator"](torch.cat([source.features, target.features])).detach()
    expected = ((judged[:6] > 0).double().mean() + (judged[6:] <= 0).double().mean()).item() / 2
    with torch.no_grad():
        modules["discriminator"].layers[-1].bias.fill_(100)  # what it learns afterwards
    figures = adapter.diagnostics(source, target)
    assert figures == {"domain-accuracy": pytest.approx(expected), "domain-accuracy-noise-floor": 0.5}


def test_a_discriminator_learns_to_tell_domains_apart_that_differ():
    adapter, modules = prepared(Dann, AdversarialOptions(hidden=16))
    optimizer = torch.optim.Adam(modules["discriminator"].parameters(), 0.01)
    source, target = domains(32, 32)
    target = batch(target.logits, target.features + 1.5)
    for _ in range(30):
        optimizer.zero_grad()
        adapter.losses(source, target)["domain"].backward(retain_graph=True)
        optimizer.step()
    assert adapter.diagnostics(source, target)["domain-accuracy"] > 0.9


# -- CDAN -----------------------------------------------------------------------------------------------------------------


def test_the_outer_product_is_numpys_kron_of_each_sample():
    features, predictions = draw(4, 5), draw(4, 3, seed=1)
    expected = np.stack([np.kron(f, p) for f, p in zip(features.numpy(), predictions.numpy(), strict=True)])
    np.testing.assert_allclose(outer_product(features, predictions).numpy(), expected, rtol=1e-12)


def test_inner_products_of_random_maps_are_those_of_outer_products_on_average():
    torch.manual_seed(0)
    width = 100_000
    mapped = RandomMap(3, 2, width).double()
    features, predictions = draw(2, 3), draw(2, 2, seed=1)
    images = mapped(features, predictions)
    # Each of the width's terms is an independent estimate.
    terms = (images[0] * images[1] * width).numpy()
    expected = float((features[0] @ features[1]) * (predictions[0] @ predictions[1]))
    assert abs(terms.mean() - expected) < 4 * terms.std() / width**0.5
    assert terms.std() / width**0.5 < 0.1 * abs(expected)


@pytest.mark.parametrize("largest", [WIDTH * CLASSES, WIDTH * CLASSES - 1])
def test_the_discriminator_sees_features_and_predictions_together(largest):
    adapter, modules = prepared(Cdan, CdanOptions(hidden=6, largest_product=largest, random_width=8))
    assert set(modules) == ({"discriminator"} if largest == WIDTH * CLASSES else {"discriminator", "map"})
    source, target = domains()
    features = torch.cat([source.features, target.features])
    predictions = torch.cat([source.logits, target.logits]).softmax(1)
    if "map" in modules:
        kept = modules["map"].state_dict()
        assert set(kept) == {"of_features", "of_predictions"}
        shown = (features @ kept["of_features"]) * (predictions @ kept["of_predictions"]) / math.sqrt(8)
    else:
        shown = torch.einsum("nd,nk->ndk", features, predictions).reshape(10, -1)
    judged = modules["discriminator"](shown)
    expected = domain_loss(judged[:6], judged[6:]).item()
    assert adapter.losses(source, target)["domain"].item() == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("kind", [Cdan, Bsp])
def test_the_papers_sizes_are_the_defaults(kind):
    options = kind.options_type()
    assert (options.largest_product, options.random_width, options.hidden, options.entropy) == (4096, 1024, 1024, False)
    assert (options.weight, options.gamma) == (1, 10)


@pytest.mark.parametrize("weighted", [False, True])
def test_no_gradient_passes_through_the_predictions(weighted):
    adapter, _ = prepared(Cdan, CdanOptions(hidden=6, entropy=weighted))
    source, target = domains()
    logits = source.logits.requires_grad_()
    (gradient,) = torch.autograd.grad(adapter.losses(source, target)["domain"], logits, allow_unused=True)
    assert gradient is None


def test_certain_samples_weigh_more_with_entropy():
    adapter, modules = prepared(Cdan, CdanOptions(hidden=6, entropy=True))
    source, target = domains(scale=3.0)
    terms = []
    features, predictions = [], []
    for one in (source, target):
        features.append(one.features.detach().numpy())
        logits = one.logits.numpy()
        predictions.append(np.exp(logits) / np.exp(logits).sum(1, keepdims=True))
    shown = np.einsum("nd,nk->ndk", np.concatenate(features), np.concatenate(predictions)).reshape(10, -1)
    judged = modules["discriminator"](torch.from_numpy(shown)).detach().numpy()
    for part, sign, given in ((judged[:6], -1, predictions[0]), (judged[6:], 1, predictions[1])):
        weights = 1 + np.exp(-entropy(given, axis=1))
        assert weights.std() > 0.1
        terms.append(np.average(np.log1p(np.exp(sign * part)), weights=weights))
    assert adapter.losses(source, target)["domain"].item() == pytest.approx(np.mean(terms), rel=1e-9)


def test_few_samples_of_many_classes_are_told_of():
    adapter, _ = prepared(Cdan, CdanOptions(hidden=6), batch_size=16)
    assert not list(adapter.remarks(64, 16))
    (remark,) = adapter.remarks(64, 100)
    assert "a batch of 16 samples lacks most of 100 classes" in remark


# -- BSP ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("n", "width", "k"), [(6, 5, 1), (4, 9, 3), (16, 2, 2)])
def test_the_spectral_penalty_is_numpys_largest_singular_values_squared(n, width, k):
    features = draw(n, width) + 1
    expected = (np.linalg.svd(features.numpy(), compute_uv=False)[:k] ** 2).sum()
    assert spectral_penalty(features, k).item() == pytest.approx(expected, rel=1e-12)


def test_the_spectral_penalty_of_all_directions_is_the_energy():
    features = draw(4, 6)
    assert spectral_penalty(features, 4).item() == pytest.approx(features.square().sum().item(), rel=1e-12)


def test_the_spectral_gradient_is_that_of_finite_differences():
    assert torch.autograd.gradcheck(lambda features: spectral_penalty(features, 2), draw(5, 3).requires_grad_())


def test_the_spectral_gradient_is_finite_where_singular_values_are_equal_or_zero():
    for features in (torch.eye(3), torch.zeros(4, 3), torch.ones(4, 3)):
        (gradient,) = torch.autograd.grad(spectral_penalty(features.requires_grad_(), 1), features)
        assert bool(gradient.isfinite().all())


def test_bsp_adds_both_domains_penalties_to_cdans_losses():
    adapter, _ = prepared(Bsp, BspOptions(hidden=6, penalty=0.01, k=2))
    plain, _ = prepared(Cdan, CdanOptions(hidden=6))
    source, target = domains()
    losses = adapter.losses(source, target)
    assert list(losses) == ["cross-entropy", "domain", "spectral"]
    assert losses["domain"].item() == plain.losses(source, target)["domain"].item()
    spectra = [np.linalg.svd(one.features.detach().numpy(), compute_uv=False) for one in (source, target)]
    assert losses["spectral"].item() == pytest.approx(0.01 * sum((one[:2] ** 2).sum() for one in spectra), rel=1e-9)
    figures = adapter.diagnostics(source, target)
    for name, values in zip(("source", "target"), spectra, strict=True):
        assert figures[f"{name}-spectral-share"] == pytest.approx((values[:2] ** 2).sum() / (values**2).sum())
    assert BspOptions().penalty == 2e-4
    assert BspOptions().k == 1


def test_more_singular_values_than_a_batch_has_are_refused():
    adapter, _ = prepared(Bsp, BspOptions(hidden=6, k=6), batch_size=8)
    with pytest.raises(HarnessError) as refused:
        adapter.remarks(WIDTH, CLASSES)
    assert str(refused.value) == (
        "bsp: k: got 6, but a batch of 8 samples with 5 features has 5 singular values; expected k of at most 5"
    )
    assert not list(adapter.remarks(6, CLASSES))


# -- entropies ------------------------------------------------------------------------------------------------------------


def test_entropies_are_scipys():
    logits = draw(7, 4) * 3
    predictions = logits.softmax(1).numpy()
    np.testing.assert_allclose(entropies(logits).numpy(), entropy(predictions, axis=1), rtol=1e-10)
    assert entropy_of_mean(logits).item() == pytest.approx(entropy(predictions.mean(0)), rel=1e-10)


def test_entropies_and_their_gradients_are_finite_where_probabilities_underflow():
    logits = torch.tensor([[500.0, 0.0, -500.0], [400.0, 0.0, -500.0]], requires_grad=True)
    total = entropies(logits).sum() + entropy_of_mean(logits)
    (gradient,) = torch.autograd.grad(total, logits)
    assert total.item() == pytest.approx(0, abs=1e-6)
    assert bool(gradient.isfinite().all())
