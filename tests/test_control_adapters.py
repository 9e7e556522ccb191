"""The controls that train on the source alone, against torch's own losses, hand computation and the papers' definitions."""

import pytest
import torch
from adapter_toys import batch, draw, passed, pictures, toy_loop, toy_network
from torch import nn
from torch.nn.functional import cross_entropy

from harness.adapting import WeightAveraging
from harness_adaptation import harness_adapters
from harness_adaptation.adversarial_training import AdversarialTraining, AdversarialTrainingOptions, projected_descent
from harness_adaptation.deep_coral import noise_floor
from harness_adaptation.label_smoothing import LabelSmoothing, LabelSmoothingOptions
from harness_adaptation.logit_variance import LogitVariance, LogitVarianceOptions
from harness_adaptation.upweight_errors import UpweightErrors, UpweightErrorsOptions
from harness_adaptation.weight_averaging import Ema, EmaOptions, Swa, SwaOptions

LABELS = torch.tensor([0, 2, 1, 1, 2, 0])
WRONG = torch.tensor([False, True, False, False, True, False])
CONTROLS = [
    (LabelSmoothing, LabelSmoothingOptions),
    (LogitVariance, LogitVarianceOptions),
    (Ema, EmaOptions),
    (Swa, SwaOptions),
    (AdversarialTraining, AdversarialTrainingOptions),
    (UpweightErrors, UpweightErrorsOptions),
]


def source(*, logits=None, wrong=WRONG):
    return batch(draw(6, 3) * 2 if logits is None else logits, labels=LABELS, wrong=wrong)


def target():
    """Return what an adapter without a use for the target is given: nothing that was computed."""
    return batch(torch.empty(6, 0))


def made(adapter, options, **given):
    one = adapter(options(**given))
    one.loop = toy_loop()
    return one


# -- what is common ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("adapter", "options"), CONTROLS)
def test_a_control_declares_no_target_and_names_the_plain_cross_entropy_first(adapter, options):
    one = made(adapter, options)
    assert not one.capabilities.target
    assert not one.capabilities.target_labels
    losses = one.losses(source(), target())
    assert next(iter(losses)) == "cross-entropy"
    assert torch.equal(losses["cross-entropy"], cross_entropy(source().logits, LABELS))


def test_the_controls_are_offered_by_name():
    offered = {path.partition(":")[2]: name for name, path in harness_adapters().items()}
    assert {offered[adapter.__name__] for adapter, _ in CONTROLS} == {
        "label-smoothing",
        "logit-variance",
        "ema",
        "swa",
        "adversarial-training",
        "upweight-errors",
    }


# -- label smoothing --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("smoothing", [0, 0.1, 0.5])
def test_the_sum_with_smoothing_is_torchs_smoothed_cross_entropy_and_so_is_its_gradient(smoothing):
    ours, theirs = (draw(6, 3).requires_grad_() for _ in range(2))
    losses = made(LabelSmoothing, LabelSmoothingOptions, smoothing=smoothing).losses(source(logits=ours), target())
    total, expected = sum(losses.values()), cross_entropy(theirs, LABELS, label_smoothing=smoothing)
    assert total.item() == pytest.approx(expected.item(), rel=1e-12)
    total.backward()
    expected.backward()
    assert torch.allclose(ours.grad, theirs.grad, rtol=0, atol=1e-12)


def test_labels_are_smoothed_by_a_tenth_unless_told_otherwise():
    total = sum(made(LabelSmoothing, LabelSmoothingOptions).losses(source(), target()).values())
    assert total.item() == pytest.approx(cross_entropy(source().logits, LABELS, label_smoothing=0.1).item(), rel=1e-12)


def test_the_label_gap_is_worked_out_by_hand():
    # Means 1 and 2; the labels' logits are 3 and 1: gaps 2 and -1.
    one = batch(torch.tensor([[3.0, 0.0, 0.0], [4.0, 1.0, 1.0]]), labels=torch.tensor([0, 2]))
    assert made(LabelSmoothing, LabelSmoothingOptions).diagnostics(one, target()) == {"label-gap": 0.5}


# -- logit variance ---------------------------------------------------------------------------------------------------------


def test_the_variance_is_worked_out_by_hand_and_weighted():
    # Variances over classes: of (3, 0, 0), with mean 1, (4 + 1 + 1)/3 = 2; of (7, 7, 7), 0.
    one = batch(torch.tensor([[3.0, 0.0, 0.0], [7.0, 7.0, 7.0]]), labels=torch.tensor([0, 2]))
    adapter = made(LogitVariance, LogitVarianceOptions, weight="1/4")
    assert adapter.losses(one, target())["logit-variance"].item() == pytest.approx(0.25)
    assert adapter.diagnostics(one, target()) == {"logit-variance": pytest.approx(1.0)}


def test_what_a_softmax_does_not_see_costs_nothing():
    logits = draw(6, 3)
    adapter = made(LogitVariance, LogitVarianceOptions)
    shifted = adapter.losses(source(logits=logits + draw(6, 1, seed=4)), target())["logit-variance"]
    assert shifted.item() == pytest.approx(adapter.losses(source(logits=logits), target())["logit-variance"].item())


def test_the_weight_presses_on_logits_as_deep_corals_noise_floor_does_where_the_description_says_so():
    # Logits of variance v = n - 1 that are independent over classes: λ times the floor, and the penalty of weight λ, must
    # change about alike when all logits are scaled: by d/dv [λ·v²(1 + 1/K)/(2(n-1))] = λ·v(1 + 1/K)/(n-1) and by λ.
    n, classes = 16, 50
    ours = (n - 1) ** 0.5 * draw(4000, n, classes, seed=3)

    def slope(loss):
        up, down = (torch.stack([loss(scale * one) for one in ours]).mean() for scale in (1.005, 0.995))
        return float(up - down) / ((n - 1) * (1.005**2 - 0.995**2))

    floor = slope(noise_floor)
    penalty = slope(lambda logits: logits.var(1, correction=0).mean())
    assert penalty == pytest.approx(1 - 1 / classes, rel=0.02)
    assert floor == pytest.approx(1 + 1 / classes, rel=0.02)


# -- averages of the weights ------------------------------------------------------------------------------------------------


def test_the_averages_are_asked_of_the_loop():
    assert made(Ema, EmaOptions).weight_averaging() == WeightAveraging(decay=0.999)
    assert made(Ema, EmaOptions, decay=0.9).weight_averaging() == WeightAveraging(decay=0.9, start=0)
    assert made(Swa, SwaOptions).weight_averaging() == WeightAveraging(decay=None, start=0.75)
    assert made(Swa, SwaOptions, start="1/2").weight_averaging() == WeightAveraging(decay=None, start=0.5)


@pytest.mark.parametrize(
    ("adapter", "options", "steps", "expected"),
    [
        (Ema, EmaOptions, 8991, []),
        (Ema, EmaOptions, 200, ["the decay rises to 0.957 in 200 steps, short of 0.999"]),
        (Swa, SwaOptions, 8, []),
        (
            Swa,
            SwaOptions,
            4,
            ["after 0.75 of 4 steps 1 is left to average over: give it more steps, or an earlier start"],
        ),
    ],
)
def test_remarks_tell_of_too_few_steps_for_an_average(adapter, options, steps, expected):
    one = adapter(options())
    one.loop = toy_loop(steps=steps)
    assert list(one.remarks(5, 3)) == expected


# -- upweighted errors ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("factor", [1, 5, 0.5])
def test_errors_count_as_if_they_stood_in_the_batch_so_many_times(factor):
    # Each sample twice and each error 2·factor times, as the paper upsamples them.
    times = torch.where(WRONG, int(2 * factor), 2)
    rows = torch.repeat_interleave(torch.arange(6), times)
    ours, theirs = (draw(6, 3).requires_grad_() for _ in range(2))
    losses = made(UpweightErrors, UpweightErrorsOptions, factor=factor).losses(source(logits=ours), target())
    total, expected = sum(losses.values()), cross_entropy(theirs[rows], LABELS[rows])
    assert total.item() == pytest.approx(expected.item(), rel=1e-12)
    total.backward()
    expected.backward()
    assert torch.allclose(ours.grad, theirs.grad, rtol=0, atol=1e-12)


@pytest.mark.parametrize("wrong", [torch.zeros(6, dtype=torch.bool), torch.ones(6, dtype=torch.bool)])
def test_a_batch_without_errors_or_of_errors_alone_is_the_plain_one(wrong):
    losses = made(UpweightErrors, UpweightErrorsOptions).losses(source(wrong=wrong), target())
    assert losses["upweighting"].item() == pytest.approx(0, abs=1e-12)


def test_the_share_of_errors_is_told():
    assert made(UpweightErrors, UpweightErrorsOptions).diagnostics(source(), target()) == {
        "errors": pytest.approx(1 / 3)
    }


def test_remarks_tell_of_a_factor_that_small_batches_hold_back():
    one = UpweightErrors(UpweightErrorsOptions(factor=100))
    one.loop = toy_loop(batch_size=16)
    # 100/115 of the batch's weight, against 1/16 in a batch without errors: 13.9 times.
    (remark,) = one.remarks(5, 3)
    assert remark.endswith("one error among 16 samples counts as 13.9 samples of a batch without errors, not as 100")
    assert list(made(UpweightErrors, UpweightErrorsOptions).remarks(5, 3)) == []


# -- adversarial training ---------------------------------------------------------------------------------------------------


def test_the_defaults_are_the_papers():
    options = AdversarialTrainingOptions()
    assert (options.eps * 255, options.step_size * 255, options.steps) == (8, 2, 7)


def test_a_linear_classifier_is_attacked_to_the_corner_that_its_gradient_points_at():
    # With two classes the loss rises along w_other - w_own everywhere: enough steps end in that corner of the ball.
    weight, bias = draw(2, 16).float(), draw(2, seed=1).float()
    images, labels = pictures(5), torch.tensor([0, 1, 1, 0, 1])
    perturbed = projected_descent(
        lambda some: some.flatten(1) @ weight.T + bias, images, labels, eps=0.1, step_size=0.05, steps=4
    )
    direction = torch.stack([weight[1] - weight[0], weight[0] - weight[1]])[labels].sign().reshape(images.shape)
    assert torch.allclose(perturbed, (images + 0.1 * direction).clamp(0, 1), rtol=0, atol=1e-6)


@pytest.mark.parametrize("steps", [1, 7])
def test_perturbed_images_stay_in_the_ball_and_in_the_range_of_pixels(steps):
    network = toy_network(batch_norm=False)
    images = pictures(20).round()
    perturbed = projected_descent(network, images, torch.arange(20) % 3, eps=0.1, step_size=0.09, steps=steps)
    assert float((perturbed - images).abs().max()) <= 0.1 + 1e-6
    assert perturbed.min() >= 0
    assert perturbed.max() <= 1
    assert not perturbed.requires_grad


def test_the_start_is_random_and_repeatable_by_torchs_generator():
    def start(seed):
        torch.manual_seed(seed)
        # No gradient anywhere: what is left is the start.
        still = lambda some: some.flatten(1)[:, :2] * 0  # noqa: E731 (one line says it)
        return projected_descent(
            still, torch.full((400, 1, 4, 4), 0.5), torch.zeros(400).long(), eps=0.2, step_size=1, steps=1
        )

    noise = start(0) - 0.5
    assert torch.equal(start(0), start(0))
    assert not torch.equal(start(0), start(1))
    # Uniform on [-0.2, 0.2]: mean 0, variance 0.2²/3.
    assert float(noise.mean()) == pytest.approx(0, abs=0.006)
    assert float(noise.var()) == pytest.approx(0.04 / 3, rel=0.03)


class Watched(nn.Module):
    """Counts the passes through a network and notes in which modes they were made."""

    def __init__(self, network):
        super().__init__()
        self.network = network
        self.modes = []

    @property
    def head(self):
        return self.network.head

    def outputs(self, images):
        self.modes.append([module.training for module in self.network.modules()])
        return self.network.outputs(images)


def attacked(network, *, images=None, **options):
    """Return the adapter, images as given and as prepared by it, with the network in eval mode as the harness sets it."""
    adapter = AdversarialTraining(AdversarialTrainingOptions(**options))
    adapter.loop = toy_loop(network)
    images = pictures(12) if images is None else images
    torch.manual_seed(0)
    return adapter, images, adapter.prepare(images, torch.arange(len(images)) % 3)


def test_the_network_is_asked_once_for_each_step_of_the_attack():
    network = Watched(toy_network()).eval()
    attacked(network, steps=3)
    assert len(network.modes) == 3


def test_the_attack_leaves_no_gradient_and_no_statistic_behind():
    network = toy_network().eval()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    _, images, perturbed = attacked(network)
    assert not torch.equal(images, perturbed)
    assert all(parameter.grad is None for parameter in network.parameters())
    assert all(parameter.requires_grad for parameter in network.parameters())
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())


def test_an_images_perturbation_does_not_depend_on_the_others_in_its_batch():
    network = toy_network().eval()
    labels = torch.arange(8) % 3

    def perturb(images):
        adapter = AdversarialTraining(AdversarialTrainingOptions())
        adapter.loop = toy_loop(network)
        torch.manual_seed(0)
        return adapter.prepare(images, labels)

    images = pictures(8)
    others = torch.cat([images[:1], pictures(7, seed=9)])
    assert torch.allclose(perturb(images)[0], perturb(others)[0], rtol=0, atol=1e-6)


def test_the_loss_is_higher_on_attacked_images_and_the_accuracy_on_them_is_told():
    network = toy_network().eval()
    adapter, images, perturbed = attacked(network, eps=0.2, step_size=0.05)
    labels = torch.arange(12) % 3
    clean, robust = (passed(network, some, labels=labels) for some in (images, perturbed))
    assert adapter.losses(robust, target())["cross-entropy"] > adapter.losses(clean, target())["cross-entropy"] + 0.05
    right = (network(perturbed).argmax(1) == labels).float().mean()
    assert adapter.diagnostics(robust, target()) == {"attacked-accuracy": pytest.approx(float(right))}


def test_remarks_tell_of_the_cost_and_of_steps_that_do_not_span_the_ball():
    cost = "attacks every batch: 7 forward and backward passes a step more than other arms"
    assert list(made(AdversarialTraining, AdversarialTrainingOptions).remarks(5, 3)) == [cost]
    short = list(made(AdversarialTraining, AdversarialTrainingOptions, steps=2, step_size=0.01, eps=0.05).remarks(5, 3))
    assert (
        short[1]
        == "2 steps of 0.01 come 0.02 far, and eps is 0.05: the random start decides where in the ball the attack ends"
    )


@pytest.mark.parametrize(
    ("options", "wrong"),
    [
        (LabelSmoothingOptions, {"smoothing": 1}),
        (LogitVarianceOptions, {"weight": -1}),
        (EmaOptions, {"decay": 1}),
        (SwaOptions, {"start": 1}),
        (AdversarialTrainingOptions, {"eps": 8}),
        (AdversarialTrainingOptions, {"steps": 0}),
        (UpweightErrorsOptions, {"factor": 0}),
    ],
)
def test_settings_that_mean_nothing_are_refused(options, wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        options(**wrong)
