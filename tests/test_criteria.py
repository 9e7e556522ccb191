"""Criteria against cross-entropies worked out by hand and the paper's table of objectives."""

from math import exp, log

import pytest
import torch

from harness.criteria import OBJECTIVES, LabelCriterion, attack_criterion, correction_criterion, targeted_objective

LOGITS = torch.tensor([[2.0, 1.0, 0.0], [0.0, 0.0, 3.0]])
LABELS = torch.tensor([0, 1])
# CE = log Σ exp(z) − z_label.
CROSS_ENTROPIES = [log(exp(2) + exp(1) + 1) - 2, log(1 + 1 + exp(3))]


def criterion(*, targeted=True, correcting=True, goal=LABELS):
    return LabelCriterion(LABELS, targeted, goal, correcting)


def test_the_loss_is_the_cross_entropy_of_labels_to_approach():
    assert criterion().loss(LOGITS).tolist() == pytest.approx(CROSS_ENTROPIES, rel=1e-6)


def test_the_loss_is_the_negated_cross_entropy_of_labels_to_flee():
    assert criterion(targeted=False).loss(LOGITS).tolist() == pytest.approx([-value for value in CROSS_ENTROPIES])


def test_reached_asks_for_the_label_when_approaching_and_for_any_other_when_fleeing():
    assert criterion().reached(LOGITS).tolist() == [True, False]
    assert criterion(targeted=False).reached(LOGITS).tolist() == [False, True]


@pytest.mark.parametrize("targeted", [True, False])
def test_met_asks_for_the_goal_whatever_the_direction(targeted):
    goal = torch.tensor([1, 2])
    assert criterion(targeted=targeted, goal=goal).met(LOGITS).tolist() == [False, True]
    assert criterion(targeted=targeted, goal=goal, correcting=False).met(LOGITS).tolist() == [True, False]


@pytest.mark.parametrize(
    ("objective", "labels", "targeted"),
    [
        ("toward-true", [2, 2], True),
        ("away-from-true", [2, 2], False),
        ("away-from-predicted", [1, 0], False),
        ("toward-least-likely", [0, 1], True),
    ],
)
def test_each_objective_has_the_papers_labels_and_direction(objective, labels, targeted):
    clean = torch.tensor([[-1.0, 5.0, 0.0], [4.0, -2.0, 3.0]])
    true = torch.tensor([2, 2])
    built = correction_criterion(objective, true_labels=true, clean_logits=clean)
    assert (built.labels.tolist(), built.targeted) == (labels, targeted)
    assert built.goal.tolist() == true.tolist()
    assert built.correcting
    assert targeted_objective(objective) == targeted


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize(("select", "stops"), [("first-hit", True), ("final", False), ("min-norm", False)])
def test_an_attack_may_stop_early_only_where_its_first_hit_counts(objective, select, stops):
    built = correction_criterion(objective, true_labels=LABELS, clean_logits=LOGITS, select=select)
    assert built.stop_early is stops


def test_a_robustness_test_flees_the_true_label_and_is_met_by_any_other():
    built = attack_criterion(LABELS)
    assert not built.targeted
    assert built.met(LOGITS).tolist() == built.reached(LOGITS).tolist() == [False, True]


@pytest.mark.parametrize("rows", [torch.tensor([1]), torch.tensor([False, True])])
def test_part_of_a_criterion_keeps_everything_else(rows):
    whole = LabelCriterion(LABELS, targeted=False, goal=torch.tensor([1, 2]), correcting=False, stop_early=False)
    part = whole[rows]
    assert part.labels.tolist() == [1]
    assert part.goal.tolist() == [2]
    assert (part.targeted, part.correcting, part.stop_early) == (False, False, False)
    assert part.loss(LOGITS[1:]).tolist() == pytest.approx(whole.loss(LOGITS)[1:].tolist())
