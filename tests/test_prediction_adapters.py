"""AFN, BNM and MCC against hand derivations, numpy and known extremes."""

import numpy as np
import pytest
import torch
from adapter_toys import batch, draw, toy_loop
from torch.nn.functional import cross_entropy

from harness.adapting import Outputs
from harness_adaptation.afn import Afn, AfnOptions
from harness_adaptation.bnm import Bnm, BnmOptions, nuclear_norm
from harness_adaptation.mcc import Mcc, MccOptions, class_confusion


def made(kind, options, **loop):
    adapter = kind(options)
    adapter.loop = toy_loop(**loop)
    return adapter


def softmax(logits):
    exponentials = np.exp(logits - logits.max(1, keepdims=True))
    return exponentials / exponentials.sum(1, keepdims=True)


def two_batches(past=None):
    labels = torch.tensor([0, 2, 1, 1, 0])
    return batch(draw(5, 3), draw(5, 4, seed=1), labels), batch(draw(6, 3, seed=2), draw(6, 4, seed=3), past=past)


def certain(labels, classes):
    """Return logits of predictions that are certain of these labels, in float64."""
    return 1000 * torch.nn.functional.one_hot(torch.tensor(labels), classes).double()


@pytest.mark.parametrize(
    ("kind", "options", "term"),
    [(Bnm, BnmOptions(), "nuclear-norm"), (Mcc, MccOptions(), "class-confusion"), (Afn, AfnOptions(), "source-norm")],
)
def test_the_first_term_is_the_sources_cross_entropy(kind, options, term):
    source, target = two_batches()
    losses = made(kind, options).losses(source, target)
    assert list(losses)[:2] == ["cross-entropy", term]
    assert torch.equal(losses["cross-entropy"], cross_entropy(source.logits, source.labels))


@pytest.mark.parametrize(
    ("kind", "options", "term"), [(Bnm, BnmOptions(), "nuclear-norm"), (Mcc, MccOptions(), "class-confusion")]
)
def test_the_remembered_predictions_are_rows_like_the_others_without_a_gradient(kind, options, term):
    past = Outputs(draw(4, 4, seed=7), draw(4, 3, seed=8).requires_grad_())
    source, target = two_batches(past)
    whole = batch(torch.cat([target.logits, past.logits]).detach())
    adapter = made(kind, options)
    assert adapter.losses(source, target)[term].item() == pytest.approx(adapter.losses(source, whole)[term].item())
    with torch.no_grad():
        assert adapter.diagnostics(source, target) == pytest.approx(adapter.diagnostics(source, whole))


# -- BNM ------------------------------------------------------------------------------------------------------------------


def test_the_nuclear_norm_is_the_trace_of_the_gram_matrixs_root():
    logits = draw(7, 4)
    predicted = softmax(logits.numpy())
    expected = np.sqrt(np.linalg.eigvalsh(predicted.T @ predicted)).sum() / 7
    assert nuclear_norm(logits).item() == pytest.approx(expected)
    source, target = batch(draw(5, 4, seed=1), labels=torch.zeros(5).long()), batch(logits)
    assert made(Bnm, BnmOptions(weight=0.5)).losses(source, target)["nuclear-norm"].item() == pytest.approx(
        -expected / 2
    )


@pytest.mark.parametrize(
    ("labels", "classes", "expected"),
    [
        ([0, 1, 2, 0, 1, 2], 3, 3 * 2**0.5 / 6),  # three classes twice each: three singular values √2, the greatest sum
        ([0, 0, 0, 0], 3, 2 / 4),  # one class alone: one singular value √4
        ([0, 1], 5, 1),  # fewer samples than classes: their number limits the rank
    ],
)
def test_the_nuclear_norm_of_certain_predictions_worked_out_by_hand(labels, classes, expected):
    assert nuclear_norm(certain(labels, classes)).item() == pytest.approx(expected)
    figures = made(Bnm, BnmOptions()).diagnostics(batch(draw(4, classes)), batch(certain(labels, classes)))
    assert figures["greatest-nuclear-norm"] == pytest.approx((min(len(labels), classes) / len(labels)) ** 0.5)
    assert figures["nuclear-norm"] == pytest.approx(expected)
    assert figures["source-nuclear-norm"] == pytest.approx(nuclear_norm(draw(4, classes)).item())


def test_the_nuclear_norms_gradient_is_that_of_finite_differences_and_finite_at_equal_singular_values():
    assert torch.autograd.gradcheck(nuclear_norm, (draw(4, 3).requires_grad_(),))
    uniform = torch.zeros(4, 3, requires_grad=True)
    (nuclear_norm(uniform) + nuclear_norm(certain([0, 1, 2, 0], 3) / 1000 + uniform)).backward()
    assert uniform.grad.isfinite().all()


def test_logits_that_are_not_finite_give_a_norm_that_is_not_instead_of_an_error():
    logits = draw(4, 3)
    logits[1, 1] = torch.nan
    assert not nuclear_norm(logits).isfinite()


# -- MCC ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("temperature", [2.5, 1.0])
def test_the_class_confusion_is_the_papers_in_numpy(temperature):
    logits = draw(6, 4) * 3
    predicted = softmax(logits.numpy() / temperature)
    entropies = -(predicted * np.log(predicted)).sum(1)
    weights = 6 * (1 + np.exp(-entropies)) / (1 + np.exp(-entropies)).sum()
    confusion = np.zeros((4, 4))
    for weight, row in zip(weights, predicted, strict=True):
        confusion += weight * np.outer(row, row)
    confusion /= confusion.sum(1, keepdims=True)
    expected = (confusion.sum() - np.trace(confusion)) / 4
    assert class_confusion(logits, temperature).item() == pytest.approx(expected)
    source = batch(draw(5, 4, seed=1), labels=torch.zeros(5).long())
    adapter = made(Mcc, MccOptions(weight=0.5, temperature=temperature))
    assert adapter.losses(source, batch(logits))["class-confusion"].item() == pytest.approx(expected / 2)
    figures = adapter.diagnostics(source, batch(logits))
    assert figures["class-confusion"] == pytest.approx(expected)
    assert figures["source-class-confusion"] == pytest.approx(class_confusion(source.logits, temperature).item())


def test_certain_predictions_are_not_confused_and_uniform_ones_are_all_but_their_own_share():
    assert class_confusion(certain([0, 1, 2, 1], 3), 2.5).item() == pytest.approx(0, abs=1e-12)
    assert class_confusion(torch.zeros(5, 4, dtype=torch.float64), 2.5).item() == pytest.approx(3 / 4)


def test_a_class_without_any_probability_has_a_finite_confusion_and_gradient():
    logits = certain([0, 1, 0], 3).float().requires_grad_()  # class 2 underflows to exactly zero
    loss = class_confusion(logits, 2.5)
    loss.backward()
    assert loss.item() == pytest.approx(0, abs=1e-6)
    assert logits.grad.isfinite().all()


def test_the_confusions_gradient_leaves_the_weights_alone():
    logits = draw(4, 3).requires_grad_()

    def held(given):
        predicted = (given / 2.5).softmax(1)
        entropy = -(predicted * predicted.log()).sum(1)
        certainty = (1 + (-entropy).exp()).detach()
        confusion = predicted.T @ torch.diag(4 * certainty / certainty.sum()) @ predicted
        return 1 - torch.diag(confusion / confusion.sum(1, keepdim=True)).sum() / 3

    (found,) = torch.autograd.grad(class_confusion(logits, 2.5), logits)
    (expected,) = torch.autograd.grad(held(logits), logits)
    assert torch.allclose(found, expected)


@pytest.mark.parametrize(("kind", "options"), [(Bnm, BnmOptions()), (Mcc, MccOptions())])
def test_fewer_samples_than_classes_are_remarked_upon(kind, options):
    (remark,) = made(kind, options, batch_size=16).remarks(512, 100)
    assert "16 samples" in remark
    assert "expected 100 samples or more" in remark
    assert not list(made(kind, options, batch_size=16).remarks(512, 10))


# -- AFN ------------------------------------------------------------------------------------------------------------------


def test_each_domains_norm_loss_is_the_square_of_the_step_and_pushes_every_feature_outwards():
    source, target = two_batches()
    for one in (source, target):
        one.features.requires_grad_()
    losses = made(Afn, AfnOptions(weight=0.05, delta=2)).losses(source, target)
    assert list(losses) == ["cross-entropy", "source-norm", "target-norm"]
    for name, one in (("source-norm", source), ("target-norm", target)):
        assert losses[name].item() == pytest.approx(0.05 * 2**2)
        (gradient,) = torch.autograd.grad(losses[name], one.features)
        lengths = one.features.detach().square().sum(1, keepdim=True).sqrt()
        expected = -0.05 * 2 * 2 * one.features.detach() / lengths / len(one.features)
        assert torch.allclose(gradient, expected)


def test_a_feature_at_the_origin_has_a_finite_gradient():
    features = torch.zeros(3, 4, requires_grad=True)
    source = batch(draw(3, 2), features, torch.tensor([0, 1, 0]))
    made(Afn, AfnOptions()).losses(source, batch(draw(3, 2), draw(3, 4)))["source-norm"].backward()
    assert features.grad.isfinite().all()


def test_the_norms_are_told_apart_by_more_than_chance():
    trials, gaps, floors = 2000, [], []
    adapter = made(Afn, AfnOptions())
    for trial in range(trials):
        pair = [batch(draw(1, 2), draw(9, 4, seed=2 * trial + which)) for which in range(2)]
        figures = adapter.diagnostics(*pair)
        gaps.append(figures["feature-norm-gap"])
        floors.append(figures["feature-norm-gap-noise-floor"])
        means = [np.linalg.norm(one.features.numpy(), axis=1).mean() for one in pair]
        assert figures["source-feature-norm"] == pytest.approx(means[0])
        assert figures["target-feature-norm"] == pytest.approx(means[1])
        assert figures["feature-norm-gap"] == pytest.approx(abs(means[0] - means[1]))
    assert np.mean(floors) == pytest.approx(np.mean(gaps), rel=0.05)


def test_the_defaults_are_the_papers():
    assert AfnOptions().model_dump() == {"weight": 0.05, "delta": 1}
    assert BnmOptions().model_dump() == {"weight": 1}
    assert MccOptions().model_dump() == {"weight": 1, "temperature": 2.5}
