"""Criteria between Foolbox and the harness.

Foolbox knows two that its attacks accept: ``Misclassification`` flees labels, ``TargetedMisclassification`` approaches them. Its
word for an objective that holds is adversarial, the harness's is ``reached``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.api import PluginError
from harness_foolbox.library import load

if TYPE_CHECKING:
    import foolbox
    from torch import Tensor

    from harness.api import Criterion


def to_foolbox(criterion: Criterion) -> foolbox.criteria.Criterion:
    """Return the Foolbox criterion that is adversarial exactly where ``criterion`` is reached."""
    criteria = load().criteria
    made: foolbox.criteria.Criterion = (
        criteria.TargetedMisclassification(criterion.labels)
        if criterion.targeted
        else criteria.Misclassification(criterion.labels)
    )
    return made


def from_foolbox(criterion: foolbox.criteria.Criterion, true_labels: Tensor | None = None) -> FoolboxCriterion:
    """Return what a harness attack drives at, for a Foolbox criterion.

    It is ``reached`` exactly where Foolbox calls an image adversarial. It is ``met`` where the image is labelled true, given the
    ``true_labels`` (N,): the goal of a correction; without them it is met where it is reached, as in Foolbox.
    Raises ``PluginError`` for a criterion that names no labels, such as a combined one.
    """
    criteria = load().criteria
    if isinstance(criterion, criteria.TargetedMisclassification):
        return FoolboxCriterion(criterion.target_classes.raw, targeted=True, true_labels=true_labels)
    if isinstance(criterion, criteria.Misclassification):
        return FoolboxCriterion(criterion.labels.raw, targeted=False, true_labels=true_labels)
    raise PluginError(
        f"from_foolbox: got {type(criterion).__name__}, expected Misclassification or TargetedMisclassification; "
        "give one of these with the labels to flee or to approach"
    )


@dataclass(frozen=True)
class FoolboxCriterion:
    """A Foolbox criterion as harness attacks see it: approach (``targeted``) or flee ``labels`` (N,)."""

    labels: Tensor
    targeted: bool
    true_labels: Tensor | None = None
    stop_early: bool = True

    def loss(self, logits: Tensor) -> Tensor:
        """Return the cross-entropy (N,) with ``labels``, negated when they are to be fled: lower is better."""
        from torch.nn.functional import cross_entropy

        value = cross_entropy(logits, self.labels, reduction="none")
        return value if self.targeted else -value

    def reached(self, logits: Tensor) -> Tensor:
        """Tell (N,) where Foolbox's own verdict is adversarial."""
        hit = logits.argmax(1) == self.labels
        return hit if self.targeted else ~hit

    def met(self, logits: Tensor) -> Tensor:
        """Tell (N,) where the label is true; without true labels, where the criterion is reached."""
        return self.reached(logits) if self.true_labels is None else logits.argmax(1) == self.true_labels

    def __getitem__(self, rows: Tensor) -> FoolboxCriterion:
        """Return the criterion of part of the batch: indices or a mask."""
        true_labels = None if self.true_labels is None else self.true_labels[rows]
        return FoolboxCriterion(self.labels[rows], self.targeted, true_labels, self.stop_early)
