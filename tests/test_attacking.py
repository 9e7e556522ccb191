"""Attacks under the harness: what counts as corrected, what breaks the contract, what an attack leaves behind."""

from __future__ import annotations

import random
import sys
from typing import ClassVar

import numpy as np
import pytest
import torch
from pydantic import Field
from torch import nn
from toys import conv_classifier, pixel_classifier, random_images, states_equal, threshold_classifier

from harness.contract import Attack, Capabilities, NoOptions, Options
from harness.criteria import OBJECTIVES
from harness.engine.attacking import Attacker, Corrector
from harness.engine.examples import TrainingExamples
from harness.engine.gradients import loss_gradient
from harness.engine.images import ImageSet
from harness.errors import ContractError
from harness.stages import correct
from harness.stages.correct import POINTS, curve_of
from harness_paper.bim import BIM, BIMOptions
from harness_paper.ddn import DDN, DDNOptions
from harness_paper.salt_and_pepper import SaltAndPepper, SaltAndPepperOptions


class Scripted(Attack[NoOptions]):
    """Does what a function of (attack, classifier, images, criterion) says."""

    capabilities: ClassVar = Capabilities(norm="linf", targeted=True, untargeted=True, gradients=True)

    def __init__(self, script, options=None):
        super().__init__(options or NoOptions())
        self.script = script

    def run(self, classifier, images, criterion):
        return self.script(self, classifier, images, criterion)


class EpsOptions(Options):
    eps: float = Field(0.1)


def corrector(script, network, *, select="first-hit", objective="toward-true", options=None, seed=3):
    attack = Scripted(script, options) if callable(script) and not isinstance(script, Attack) else script
    return Corrector(attack, network, name="toy", objective=objective, select=select, seed=seed)


def pixels(*values):
    return torch.tensor(values).reshape(-1, 1, 1, 1)


ONES = torch.ones(4, dtype=torch.int64)
DARK = pixels(0.4, 0.3, 0.2, 0.1)


def correct_dark(script, **how):
    return corrector(script, threshold_classifier(), **how).correct(DARK, ONES, torch.arange(4))


def brighten(_attack, classifier, images, _criterion):
    """Query four brighter images, neither the nearest nor the last one first."""
    for step in (3, 5, 2, 4):
        perturbed = images + 0.1 * step
        with torch.no_grad():
            classifier(perturbed)
    return perturbed


@pytest.mark.parametrize(
    ("select", "expected"),
    [
        ("first-hit", [0.72, 0.62, 0.52, 0.62]),
        ("min-norm", [0.62, 0.52, 0.52, 0.52]),
        ("final", [0.82, 0.72, 0.62, 0.52]),
    ],
)
def test_the_choice_of_iterate_holds_for_any_attack(select, expected):
    images = pixels(0.42, 0.32, 0.22, 0.12)
    result = corrector(brighten, threshold_classifier(), select=select).correct(images, ONES, torch.arange(4))
    assert result.images.flatten().tolist() == pytest.approx(expected)
    assert result.corrected.all()


def test_passes_are_those_of_the_attack_alone_where_the_true_labels_are_the_objectives():
    result = correct_dark(brighten, select="min-norm")
    assert (result.passes.forward, result.passes.backward) == (4 * 4, 0)


@pytest.mark.parametrize("objective", ["away-from-predicted", "toward-least-likely"])
def test_an_objective_of_what_is_predicted_costs_a_pass_of_the_clean_images(objective):
    run = Corrector(Scripted(brighten), threshold_classifier(), name="toy", objective=objective, select="final", seed=3)
    result = run.correct(DARK, ONES, torch.arange(4))
    assert result.passes.forward == 4 + 4 * 4
    assert result.met_after[result.met].min() == 5


@pytest.mark.parametrize(
    ("select", "expected"), [("first-hit", [1, 1, 2, 2]), ("min-norm", [1, 1, 2, 2]), ("final", [4, 4, 4, torch.inf])]
)
def test_the_passes_after_which_a_sample_is_corrected_are_those_until_its_first_hit(select, expected):
    """Brightened by 0.3, then by 0.5, 0.2 and 0.4, of which a library would return the last."""
    network = threshold_classifier()
    images = pixels(0.4, 0.35, 0.15, 0.05)
    result = corrector(brighten, network, select=select).correct(images, ONES, torch.arange(4))
    assert result.met_after.tolist() == expected
    assert torch.equal(result.met_after.isfinite(), result.corrected)


def test_a_curve_of_corrections_counts_up_to_all_of_them():
    assert curve_of(torch.tensor([3.0, 1.0, 2.5, 1.0])) == [(1.0, 2), (2.5, 3), (3.0, 4)]
    assert curve_of(torch.empty(0)) == []
    many = curve_of(torch.arange(1000).float())
    assert len(many) == POINTS
    assert (many[0], many[-1]) == ((0.0, 1), (999.0, 1000))
    assert all(corrected == passes + 1 for passes, corrected in many)


def test_an_attack_is_ended_when_every_sample_has_its_first_hit():
    result = correct_dark(brighten)  # by 0.3, which suffices for two, then by 0.5, which does for all
    assert (result.passes.forward, result.cut) == (4 * 2, False)
    assert result.images.flatten().tolist() == pytest.approx([0.7, 0.6, 0.7, 0.6])
    assert result.corrected.all()


def test_what_an_ended_attack_could_not_put_back_is_put_back_for_it():
    def train_while_attacking(_attack, classifier, images, _criterion):
        classifier.train()
        for step in (3, 5):
            with torch.no_grad():
                classifier(images + 0.1 * step)
        classifier.eval()
        return images

    run = corrector(train_while_attacking, threshold_classifier())
    for _ in range(
        2
    ):  # the second batch is attacked on a twin in eval mode, or the guard would complain of the first's
        assert run.correct(DARK, ONES, torch.arange(4)).corrected.all()
    [twin] = [run._guard.twin]
    assert not any(module.training for module in twin.modules())


def test_a_hit_that_the_original_does_not_confirm_is_no_end():
    def claim_success(_attack, classifier, images, _criterion):
        classifier.network.forward = lambda given: torch.tensor([[0.0, 1.0]]).expand(len(given), 2)
        with torch.no_grad():
            classifier(images)
            classifier(images + torch.tensor([0.3, 0.3, 0.0, 0.0]).reshape(-1, 1, 1, 1))
            classifier(images + torch.tensor([0.0, 0.0, 0.45, 0.5]).reshape(-1, 1, 1, 1))
        return images

    result = correct_dark(claim_success)
    assert result.images.flatten().tolist() == pytest.approx([0.7, 0.6, 0.65, 0.6])
    assert result.corrected.all()


def test_an_attack_that_steps_by_gradients_is_counted_backward_too():
    def two_gradients(_attack, classifier, images, criterion):
        loss_gradient(classifier, images, criterion)
        loss_gradient(classifier[torch.tensor([1, 3])], images[[1, 3]], criterion[torch.tensor([1, 3])])
        return images

    passes = correct_dark(two_gradients).passes
    assert (passes.forward, passes.backward) == (4 + 2, 4 + 2)


# -- who decides ----------------------------------------------------------------------------------------------------------


def test_the_original_decides_whatever_the_twin_says():
    def claim_success(_attack, classifier, images, _criterion):
        # A lying twin: everything that is queried is taken for a hit.
        classifier.network.forward = lambda given: torch.tensor([[0.0, 1.0]]).expand(len(given), 2)
        with torch.no_grad():
            classifier(images)
        del classifier.network.forward
        return images

    result = correct_dark(claim_success)
    assert not result.corrected.any()
    assert torch.equal(result.images, DARK)


def test_what_was_returned_counts_where_the_twins_hit_was_none():
    def claim_then_deliver(_attack, classifier, images, _criterion):
        classifier.network.forward = lambda given: torch.tensor([[0.0, 1.0]]).expand(len(given), 2)
        with torch.no_grad():
            classifier(images)
        del classifier.network.forward
        return images + torch.tensor([0.5, 0.5, 0.0, 0.0]).reshape(-1, 1, 1, 1)

    result = correct_dark(claim_then_deliver)
    assert result.corrected.tolist() == [True, True, False, False]
    assert result.images.flatten().tolist() == pytest.approx([0.9, 0.8, 0.2, 0.1])


def test_an_attack_that_gives_up_corrects_nothing():
    result = correct_dark(lambda _attack, _classifier, images, _criterion: images)
    assert not result.corrected.any()


def test_an_iterate_beyond_the_bounds_is_not_taken_and_the_returned_image_is():
    def leap(_attack, classifier, images, _criterion):
        with torch.no_grad():
            classifier(images + 1.0)
        return images + 0.6

    result = correct_dark(leap)
    assert result.images.flatten().tolist() == pytest.approx([1.0, 0.9, 0.8, 0.7])


# -- what an attack is given ----------------------------------------------------------------------------------------------


def test_an_attack_gets_pixels_and_a_classifier_in_eval_mode_without_parameter_gradients():
    network, seen = conv_classifier().train(), {}

    def look(_attack, classifier, images, _criterion):
        seen["images"] = images.clone()
        seen["training"] = any(module.training for module in classifier.modules())
        seen["gradients"] = any(parameter.requires_grad for parameter in classifier.parameters())
        seen["bounds"], seen["classes"] = classifier.bounds, classifier.num_classes
        seen["logits"] = classifier(images)
        return images

    images = random_images(6)
    corrector(look, network).correct(images, torch.zeros(6, dtype=torch.int64), torch.arange(6))
    # Normalized neither before nor twice: the twin's logits are the original's on the pixels themselves.
    assert torch.equal(seen["images"], images)
    assert (seen["training"], seen["gradients"], seen["bounds"], seen["classes"]) == (False, False, (0.0, 1.0), 5)
    torch.testing.assert_close(seen["logits"], network.eval()(images), rtol=1e-4, atol=1e-4)


def test_the_classifier_is_left_as_it_was_each_childs_mode_too():
    network = conv_classifier().train()
    network.net[1].eval()
    network.net[4].weight.grad = torch.ones_like(network.net[4].weight)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    modes = [module.training for module in network.modules()]
    images = random_images(6)
    corrector(BIM(BIMOptions()), network).correct(images, torch.zeros(6, dtype=torch.int64), torch.arange(6))
    assert states_equal(before, network.state_dict())
    assert [module.training for module in network.modules()] == modes
    assert torch.equal(network.net[4].weight.grad, torch.ones_like(network.net[4].weight))
    assert network.net[0].weight.grad is None
    assert all(parameter.requires_grad for parameter in network.parameters())


def test_the_process_is_left_as_it_was():
    def meddle(_attack, _classifier, images, _criterion):
        torch.manual_seed(0)
        np.random.seed(0)  # noqa: NPY002 (as AutoAttack does)
        random.seed(0)
        torch.set_grad_enabled(False)
        sys.settrace(None)
        return images

    def tracer(_frame, _event, _argument):
        return None

    traced, before = sys.gettrace(), (torch.get_rng_state().tolist(), np.random.get_state()[1].tolist())  # noqa: NPY002
    python = random.getstate()
    sys.settrace(tracer)
    try:
        correct_dark(meddle)
        assert sys.gettrace() is tracer
    finally:
        sys.settrace(traced)
    assert torch.is_grad_enabled()
    assert before == (torch.get_rng_state().tolist(), np.random.get_state()[1].tolist())  # noqa: NPY002
    assert random.getstate() == python


# -- the contract ---------------------------------------------------------------------------------------------------------


def returning(change):
    return lambda _attack, _classifier, images, _criterion: change(images)


def darken_in_place(_attack, _classifier, images, _criterion):
    return images.mul_(0.5).clone()


def train_the_classifier(_attack, classifier, images, _criterion):
    classifier.train()
    return images


def write_parameters(_attack, classifier, images, _criterion):
    next(classifier.parameters()).data.add_(1)
    return images


def write_buffers(_attack, classifier, images, _criterion):
    classifier.network.mean.add_(1)
    return images


def leave_gradients(_attack, classifier, images, _criterion):
    next(classifier.parameters()).requires_grad_()
    classifier(images).sum().backward()
    return images


@pytest.mark.parametrize(
    ("script", "message"),
    [
        (returning(lambda _: None), "returned a NoneType; return a tensor"),
        (returning(lambda images: images[:2]), "returned the shape (2, 3, 6, 6); expected (4, 3, 6, 6)"),
        (returning(lambda images: images.double()), "returned torch.float64; expected torch.float32"),
        (
            returning(lambda images: images * float("nan")),
            "returned pixels that are not finite; check its step for a division by zero",
        ),
        (returning(lambda images: images * 0 - 0.5), "returned pixels in [-0.5, -0.5]; expected them in [0, 1]"),
        (returning(lambda images: images * 0 + 2), "returned pixels in [2, 2]; expected them in [0, 1]"),
        (darken_in_place, "changed the images it was given, in place; expected them untouched: work on a copy"),
        (train_the_classifier, "changed the classifier's train/eval mode; expected them as they were: work on a copy"),
        (
            write_parameters,
            "changed the classifier's parameters or buffers; expected them as they were: work on a copy",
        ),
        (write_buffers, "changed the classifier's parameters or buffers; expected them as they were: work on a copy"),
        (leave_gradients, "changed the classifier's parameter gradients; expected them as they were: work on a copy"),
    ],
)
def test_a_broken_contract_is_told_exactly_and_the_classifier_survives(script, message):
    network, images = conv_classifier(), random_images(4)
    labels = torch.zeros(4, dtype=torch.int64)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    meant = corrector(script, network)
    with pytest.raises(ContractError) as caught:
        meant.correct(images, labels, torch.arange(4))
    assert str(caught.value) == f'attack "toy" {message}'
    assert states_equal(before, network.state_dict())
    # What the broken attack left behind is not what the next batch is attacked on.
    meant.attack = Scripted(returning(lambda given: given))
    meant.correct(images, labels, torch.arange(4))


def test_the_eps_ball_is_held():
    with pytest.raises(ContractError) as caught:
        correct_dark(returning(lambda images: images + 0.125), options=EpsOptions())
    assert str(caught.value) == 'attack "toy" moved a sample by 0.125 in linf; expected at most its eps, 0.1'
    correct_dark(returning(lambda images: images + 0.1), options=EpsOptions())


def test_pixels_a_rounding_beyond_the_bounds_are_brought_back():
    result = correct_dark(returning(lambda images: images * 0 + 1 + 5e-6))
    assert result.images.flatten().tolist() == [1.0] * 4


def test_an_attack_that_raises_is_no_result():
    def fail(_attack, _classifier, _images, _criterion):
        raise RuntimeError("out of memory")

    with pytest.raises(RuntimeError, match="out of memory"):
        correct_dark(fail)


# -- the batch does not matter --------------------------------------------------------------------------------------------

PAPER_ATTACKS = [BIM(BIMOptions()), DDN(DDNOptions(steps=20)), SaltAndPepper(SaltAndPepperOptions(steps=60))]


def corrected_in_batches(attack, order, size, *, select, objective="toward-true"):
    network, images = conv_classifier(), random_images(24)
    labels = network(images).topk(2, dim=1).indices[:, 1]
    meant = corrector(attack, network, select=select, objective=objective)
    found, verdicts = torch.empty_like(images), torch.empty(len(images), dtype=torch.bool)
    for rows in torch.split(order, size):
        result = meant.correct(images[rows], labels[rows], rows)
        found[rows], verdicts[rows] = result.images, result.corrected
    return found, verdicts


@pytest.mark.parametrize("select", ["first-hit", "final", "min-norm"])
@pytest.mark.parametrize("attack", PAPER_ATTACKS, ids=lambda attack: type(attack).__name__)
def test_a_samples_result_depends_neither_on_its_batch_nor_on_the_order(attack, select):
    expected, verdicts = corrected_in_batches(attack, torch.arange(24), 24, select=select)
    assert verdicts.any()
    shuffled = torch.randperm(24, generator=torch.Generator().manual_seed(0))
    for order, size in ((torch.arange(24), 1), (torch.arange(24).flip(0), 7), (shuffled, 24)):
        found, again = corrected_in_batches(attack, order, size, select=select)
        assert torch.equal(again, verdicts)
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)


def test_samples_and_seeds_have_random_streams_of_their_own():
    def noise(attack, _classifier, images, _criterion):
        return attack.random.uniform(images.shape[1:])

    network, images = conv_classifier(), random_images(3)
    labels = torch.zeros(3, dtype=torch.int64)

    def drawn(samples, seed):
        return corrector(noise, network, select="final", seed=seed).correct(images, labels, samples).images

    first = drawn(torch.tensor([5, 6, 7]), 3)
    assert torch.equal(drawn(torch.tensor([7, 5, 6]), 3), first[[2, 0, 1]])
    assert not torch.equal(drawn(torch.tensor([5, 6, 7]), 4), first)


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_any_objective_corrects_by_the_true_label_alone(objective):
    network, images = conv_classifier(), random_images(24)
    labels = network(images).topk(2, dim=1).indices[:, 1]
    found, verdicts = corrected_in_batches(
        BIM(BIMOptions(steps=5)), torch.arange(24), 24, select="first-hit", objective=objective
    )
    with torch.no_grad():
        assert torch.equal(network(found).argmax(1) == labels, verdicts)


# -- budgets, robustness tests, examples ------------------------------------------------------------------------------------


def test_an_attack_that_spends_its_passes_is_ended_and_keeps_what_it_found():
    def brighten_slowly(_attack, classifier, images, _criterion):
        for step in range(1, 7):
            try:
                with torch.no_grad():
                    classifier(images + 0.1 * step)
            except Exception:  # noqa: BLE001 (as libraries do)
                pytest.fail("a library's own handler caught the end")
        return torch.full_like(images, 0.9)

    attack = Scripted(brighten_slowly)
    ended = Corrector(
        attack, threshold_classifier(), name="toy", objective="toward-true", seed=3, max_passes=3
    ).correct(DARK + 0.02, ONES, torch.arange(4))
    assert ended.cut
    assert ended.corrected.tolist() == [True, True, True, False]  # 0.3 brighter, the last of them stays at 0.42
    assert ended.images.flatten().tolist() == pytest.approx([0.52, 0.52, 0.52, 0.12])
    assert ended.passes.forward == 4 * 3
    free = corrector(brighten_slowly, threshold_classifier()).correct(DARK + 0.02, ONES, torch.arange(4))
    assert not free.cut
    assert free.corrected.all()


def test_a_robustness_test_flees_the_true_label_and_is_met_where_it_is_left():
    def darken(_attack, _classifier, images, criterion):
        assert not criterion.targeted
        assert criterion.labels.tolist() == [1, 1, 1, 1]
        return images - 0.2

    bright = pixels(0.9, 0.6, 0.8, 0.65)
    attacker = Attacker(Scripted(darken), threshold_classifier(), name="toy", seed=1)
    result = attacker.attack_batch(bright, ONES, torch.arange(4))
    assert result.met.tolist() == [False, True, False, True]
    assert result.images.flatten().tolist() == pytest.approx([0.7, 0.4, 0.6, 0.45])


class FromExamples(Scripted):
    capabilities: ClassVar = Capabilities(norm="l2", targeted=True, untargeted=True, gradients=False, examples=True)


def example_images():
    """Stored images of 0.0, 0.1, … 1.0, the brighter ones labelled 1."""
    stored = (torch.arange(11) * 25).to(torch.uint8).reshape(-1, 1, 1, 1)
    labels = (torch.arange(11) > 5).long()
    return ImageSet(stored, labels, torch.tensor([0, 1, 2, 8, 9, 10]), 1, torch.device("cpu"))


@pytest.mark.parametrize("objective", ["toward-true", "away-from-predicted"])
def test_examples_are_right_samples_that_reach_the_objective_whatever_the_batch(objective):
    def start_from_one(attack, _classifier, _images, criterion):
        started, found = attack.examples.reaching(criterion)
        assert found.all()
        return started

    run = Corrector(
        FromExamples(start_from_one),
        threshold_classifier(),
        name="toy",
        objective=objective,
        seed=3,
        examples=TrainingExamples(example_images()),
    )
    whole = run.correct(DARK, ONES, torch.arange(4))
    assert whole.corrected.all()
    assert set(whole.images.flatten().mul(255).round().tolist()) <= {200, 225, 250}
    assert len(set(whole.images.flatten().tolist())) > 1
    parts = [run.correct(DARK[rows], ONES[rows], rows) for rows in (torch.tensor([2]), torch.tensor([0, 3, 1]))]
    assert torch.equal(torch.cat([part.images for part in parts]), whole.images[[2, 0, 3, 1]])


def test_a_sample_without_an_example_is_told_and_given_itself():
    def look(attack, _classifier, images, criterion):
        started, found = attack.examples.reaching(criterion)
        assert found.tolist() == [False, True, False, False]
        assert torch.equal(started[~found], images[~found])
        return started

    labels = torch.tensor([3, 1, 3, 3])
    run = Corrector(
        FromExamples(look),
        threshold_classifier(),
        name="toy",
        objective="toward-true",
        seed=3,
        examples=TrainingExamples(example_images()),
    )
    assert run.correct(DARK, labels, torch.arange(4)).corrected.tolist() == [False, True, False, False]


def test_an_attack_that_needs_examples_says_so_where_there_are_none():
    run = Corrector(FromExamples(lambda *_: None), threshold_classifier(), name="toy", objective="toward-true", seed=3)
    with pytest.raises(ContractError, match='attack "toy" starts from correctly labelled images'):
        run.correct(DARK, ONES, torch.arange(4))


@pytest.mark.parametrize("select", ["first-hit", "min-norm", "final"])
def test_labels_that_an_attack_writes_on_are_its_own(select):
    def swap_labels(_attack, _classifier, images, criterion):
        criterion.labels.zero_()
        criterion.goal.zero_()
        return images

    assert not correct_dark(swap_labels, select=select).corrected.any()
    attacker = Attacker(Scripted(swap_labels), threshold_classifier(), name="toy", select=select, seed=1)
    zeros = torch.zeros(4, dtype=torch.int64)
    assert not attacker.attack_batch(DARK, zeros, torch.arange(4)).met.any()


def leave_a_hook(_attack, classifier, images, _criterion):
    classifier.network.register_forward_hook(lambda _module, _inputs, logits: logits + 100)
    return images


def leave_a_forward(_attack, classifier, images, _criterion):
    classifier.network.forward = lambda given: given
    return images


@pytest.mark.parametrize("script", [leave_a_hook, leave_a_forward])
def test_what_an_attack_hangs_on_the_classifier_is_told(script):
    run = corrector(script, threshold_classifier())
    with pytest.raises(ContractError, match="changed the classifier's hooks or forward functions"):
        run.correct(DARK, ONES, torch.arange(4))


def test_what_an_ended_attack_hung_on_the_classifier_is_gone_for_the_next_batch():
    seen = []

    def hook_and_hit(_attack, classifier, images, _criterion):
        with torch.no_grad():
            seen.append(float(classifier.network(images).sum()))
            classifier.network.register_forward_hook(lambda _module, _inputs, logits: logits + 100)
            classifier(images + 0.5)
        return images

    run = corrector(hook_and_hit, threshold_classifier())
    for _ in range(2):
        run.correct(DARK, ONES, torch.arange(4))
    assert seen[0] == seen[1]


def test_a_network_that_is_made_with_hooks_is_attacked_like_any_other():
    network = threshold_classifier()
    network.net.register_forward_hook(lambda _module, _inputs, logits: 2 * logits)
    result = corrector(brighten, network).correct(DARK, ONES, torch.arange(4))
    assert result.corrected.all()


def test_a_network_that_could_not_be_folded_is_remarked_on():
    assert corrector(brighten, conv_classifier()).remarks == ()
    unfoldable = pixel_classifier(
        nn.Sequential(nn.BatchNorm2d(1), *threshold_classifier().net.children()), classes=2, channels=1
    )
    [remark] = corrector(brighten, unfoldable.eval()).remarks
    assert remark == "attacked with 1 batch-norm layer that could not be folded into convolutions: it takes longer"
    flags = correct._flags(3, 0, cut=False, replaced=False, remarks=[remark])
    assert flags == ["corrects nothing", remark]


# -- low precision --------------------------------------------------------------------------------------------------------


def wrong_images(network, count=48):
    """Return images, and as their labels what the classifier ranks second."""
    images = random_images(count)
    with torch.no_grad():
        return images, network(images).topk(2).indices[:, 1]


@pytest.mark.parametrize("select", ["first-hit", "min-norm"])
def test_what_bfloat16_corrects_is_decided_in_float32(select):
    network = conv_classifier()
    images, labels = wrong_images(network)
    how = {"name": "toy", "objective": "toward-true", "select": select, "seed": 3, "precision": "bfloat16"}
    result = Corrector(BIM(BIMOptions(steps=8)), network, **how).correct(images, labels, torch.arange(len(images)))
    with torch.no_grad():
        assert torch.equal(network(result.images).argmax(1) == labels, result.corrected)
    assert result.corrected.float().mean() > 0.5


def threshold_at_one_half():
    """Label 0 from one half on: 0.4985 + 0.002 is; 0.4975 + 0.002 is not, but bfloat16 rounds it up to one half."""
    linear = nn.Linear(1, 2)
    with torch.no_grad():
        linear.weight.copy_(torch.tensor([[1.0], [-1.0]]))
        linear.bias.copy_(torch.tensor([-0.5, 0.5]))
    return pixel_classifier(nn.Sequential(nn.Flatten(), linear), classes=2, channels=1).eval()


@pytest.mark.parametrize(("max_passes", "asked_again"), [(1, 0), (2, 4), (25, 96)])
def test_attacking_again_in_float32_spends_what_is_left_of_the_passes(max_passes, asked_again):
    asked = []

    def believer(_attack, classifier, images, criterion):
        for _ in range(1 if classifier.precision == "bfloat16" else 10_000):
            with torch.no_grad():
                classifier(images + 0.002)
            asked.append(classifier.precision)
        return images + 0.002

    how = {"name": "toy", "objective": "toward-true", "seed": 3, "precision": "bfloat16", "max_passes": max_passes}
    run = Corrector(Scripted(believer), threshold_at_one_half(), **how)
    result = run.correct(pixels(0.4985, 0.4975, 0.4, 0.4985), torch.zeros_like(ONES), torch.arange(4))
    assert asked.count("float32") == asked_again
    assert result.passes.total == 4 * max_passes
    assert result.cut


def test_what_bfloat16_was_wrong_about_is_attacked_again_in_float32():
    """An attack that stops where it believes to have succeeded, of which the original is not convinced."""
    asked = []

    def believer(_attack, classifier, images, criterion):
        asked.append((classifier.precision, len(images)))
        step = 0.2 if classifier.precision == "float32" else 0.002
        with torch.no_grad():
            classifier(images + step)
        return images + step

    images = pixels(0.4985, 0.4975, 0.4, 0.4985)
    run = Corrector(
        Scripted(believer), threshold_at_one_half(), name="toy", objective="toward-true", seed=3, precision="bfloat16"
    )
    result = run.correct(images, torch.zeros_like(ONES), torch.tensor([5, 6, 7, 8]))
    assert asked == [("bfloat16", 4), ("float32", 1)]
    assert result.corrected.tolist() == [True, True, False, True]
    assert result.images.flatten().tolist() == pytest.approx([0.5005, 0.6975, 0.402, 0.5005])
    assert result.passes.forward == 4 + 1
    assert result.met_after.tolist() == [1, 1.25, torch.inf, 1]
