"""Criteria and objectives: what an attack drives at, and when a sample is finished.

An objective is a set of labels and a direction (METHOD: toward-true, away-from-true, away-from-predicted,
toward-least-likely). Whether a sample is *met* is the harness's question and does not depend on it: a corrector is
finished when the classifier labels the sample true, a robustness test when it labels it otherwise.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

if TYPE_CHECKING:
    from torch import Tensor

Objective = Literal["toward-true", "away-from-true", "away-from-predicted", "toward-least-likely"]
OBJECTIVES: tuple[Objective, ...] = get_args(Objective)

Select = Literal["first-hit", "final", "min-norm"]
SELECTS: tuple[Select, ...] = get_args(Select)


@dataclass(frozen=True)
class LabelCriterion:
    """Approach (``targeted``) or flee ``labels`` (N,); finished where the label is, or is no longer, ``goal`` (N,)."""

    labels: Tensor
    targeted: bool
    goal: Tensor
    correcting: bool = True
    stop_early: bool = True

    def loss(self, logits: Tensor) -> Tensor:
        """Return the cross-entropy (N,) with ``labels``, negated when they are to be fled: lower is better."""
        from torch.nn.functional import cross_entropy

        value = cross_entropy(logits, self.labels, reduction="none")
        return value if self.targeted else -value

    def reached(self, logits: Tensor) -> Tensor:
        """Tell (N,) whether the predicted label is (targeted) or is not (untargeted) the objective's."""
        hit = logits.argmax(1) == self.labels
        return hit if self.targeted else ~hit

    def met(self, logits: Tensor) -> Tensor:
        """Tell (N,) whether the sample is labelled true (correcting) or other than true (attacking)."""
        hit = logits.argmax(1) == self.goal
        return hit if self.correcting else ~hit

    def __getitem__(self, rows: Tensor) -> LabelCriterion:
        """Return the criterion of part of the batch: indices or a mask."""
        return LabelCriterion(self.labels[rows], self.targeted, self.goal[rows], self.correcting, self.stop_early)


def targeted_objective(objective: Objective) -> bool:
    """Whether the objective approaches its labels rather than flees them."""
    return objective.startswith("toward-")


def needs_predictions(objective: Objective) -> bool:
    """Whether the objective's labels depend on what the unperturbed images are labelled."""
    return objective in {"away-from-predicted", "toward-least-likely"}


def correction_criterion(
    objective: Objective, *, true_labels: Tensor, clean_logits: Tensor | None, select: Select = "first-hit"
) -> LabelCriterion:
    """Build a corrector's criterion from the labels (N,) and, for those that need it, the unperturbed images' logits (N, K)."""
    labels = _objective_labels(objective, true_labels, clean_logits)
    return LabelCriterion(labels, targeted_objective(objective), true_labels, stop_early=select == "first-hit")


def attack_criterion(true_labels: Tensor, *, stop_early: bool = True) -> LabelCriterion:
    """Build a robustness test's criterion: flee the true labels (N,)."""
    return LabelCriterion(true_labels, targeted=False, goal=true_labels, correcting=False, stop_early=stop_early)


def _objective_labels(objective: Objective, true_labels: Tensor, clean_logits: Tensor | None) -> Tensor:
    if not needs_predictions(objective):
        return true_labels
    assert clean_logits is not None  # noqa: S101 (the caller asked; this tells the type checker)
    return clean_logits.argmax(1) if objective == "away-from-predicted" else clean_logits.argmin(1)
