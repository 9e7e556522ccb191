"""Orders of batches for adapters that ask for more than shuffled passes: balanced by class, or paired."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import torch

from harness.engine.batches import BatchOrder
from harness.engine.randomness import generator

if TYPE_CHECKING:
    from torch import Tensor

SAMPLES_OF_A_CLASS = 4
"""Samples of a class in a class-balanced batch, where the batch is large enough for one class: what a covariance needs."""


class Order(Protocol):
    """Which stored rows a step sees."""

    def batch(self, step: int) -> Tensor:
        """Return the rows (batch_size,) of a step, counted from 0."""


class ClassBalancedOrder:
    """A few classes a step, as many samples of each, both drawn anew at each step without repetition.

    ``classes`` are those that a batch may hold: the same for both domains. ``schedule`` is the key of the classes' draws, which
    both domains share, so that their batches hold the same classes.
    """

    def __init__(
        self,
        rows: Tensor,
        labels: Tensor,
        classes: Tensor,
        *,
        batch_size: int,
        key: tuple[object, ...],
        schedule: tuple[object, ...],
    ) -> None:
        self.shares = _shares(batch_size, len(classes))
        self.classes = classes
        self.rows_of = {label: rows[labels == label] for label in classes.tolist()}
        self.key = key
        self.schedule = schedule

    def batch(self, step: int) -> Tensor:
        """Return the rows (batch_size,) of a step, counted from 0."""
        draws = generator(*self.key, step)
        chosen = self.classes[torch.randperm(len(self.classes), generator=generator(*self.schedule, step))]
        pairs = zip(chosen.tolist(), self.shares, strict=False)  # as many classes as there are shares
        return torch.cat([_drawn(self.rows_of[label], share, draws) for label, share in pairs])


def _drawn(rows: Tensor, count: int, draws: torch.Generator) -> Tensor:
    """Draw rows (count,) without repetition, as far as there are as many."""
    parts = [rows[torch.randperm(len(rows), generator=draws)] for _ in range(-(-count // len(rows)))]
    return torch.cat(parts)[:count]


def _shares(batch_size: int, classes: int) -> list[int]:
    """Return how many samples each class of a batch has: as many classes as leave each one enough of them."""
    count = max(1, min(classes, batch_size // SAMPLES_OF_A_CLASS))
    share, rest = divmod(batch_size, count)
    return [share + (number < rest) for number in range(count)]


class PairedOrder:
    """Half of a batch from ``wrong`` rows, the other half from ``right`` ones; all from one kind where the other is empty."""

    def __init__(self, wrong: Tensor, right: Tensor, *, batch_size: int, key: tuple[object, ...]) -> None:
        few = 0 if len(wrong) == 0 else batch_size if len(right) == 0 else batch_size // 2
        sizes = ((wrong, few, "wrong"), (right, batch_size - few, "right"))
        self.parts = [BatchOrder(rows, rows, batch_size=size, key=(*key, kind)) for rows, size, kind in sizes if size]

    def batch(self, step: int) -> Tensor:
        """Return the rows (batch_size,) of a step, counted from 0."""
        return torch.cat([part.batch(step) for part in self.parts])


def shared_classes(first: Tensor, second: Tensor) -> Tensor:
    """Return the labels that both of two sets' labels, (N,) and (M,), have, sorted."""
    return torch.tensor(sorted(set(first.tolist()) & set(second.tolist())), dtype=torch.int64)
