"""Correctly labelled training images, for attacks that start from an image of the wanted label or of another one."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import torch

from harness.engine.randomness import derive_seed

if TYPE_CHECKING:
    from torch import Tensor

    from harness.contract import Criterion
    from harness.engine.images import ImageSet


class TrainingExamples:
    """Samples that the classifier labels right: an image set without wrong ones."""

    def __init__(self, right: ImageSet) -> None:
        self.right = right

    @cached_property
    def _places(self) -> dict[int, Tensor]:
        """The places in the set of each label."""
        labels = self.right.labels
        return {label: (labels == label).nonzero().flatten() for label in set(labels.tolist())}

    def of(self, images: Tensor, samples: Tensor, *, seed: int) -> BatchExamples:
        """Return the examples of a batch (N, C, H, W) of the samples (N,)."""
        return BatchExamples(self, images, samples.tolist(), seed)

    def choose(self, label: int, *, targeted: bool, draw: int) -> int | None:
        """Choose the place of a sample with the label, or with any other; None where there is none."""
        own = self._places.get(label, torch.empty(0, dtype=torch.int64))
        if targeted:
            return int(own[draw % len(own)]) if len(own) else None
        others = [places for other, places in self._places.items() if other != label]
        count = sum(map(len, others))
        return int(torch.cat(others)[draw % count]) if count else None


@dataclass(frozen=True)
class BatchExamples:
    """The examples of one batch; a sample's does not depend on the batch that it is in."""

    pool: TrainingExamples
    images: Tensor
    samples: list[int]
    seed: int

    def reaching(self, criterion: Criterion) -> tuple[Tensor, Tensor]:
        """Return for each sample an image (N, C, H, W) that reaches its objective, and whether there is one (N,)."""
        images, chosen = self.images.clone(), []
        for sample, label in zip(self.samples, criterion.labels.tolist(), strict=True):
            draw = derive_seed(self.seed, "example", sample)
            chosen.append(self.pool.choose(label, targeted=criterion.targeted, draw=draw))
        found = torch.tensor([place is not None for place in chosen], dtype=torch.bool, device=images.device)
        places = torch.tensor([place for place in chosen if place is not None], dtype=torch.int64)
        if len(places):
            images[found] = self.pool.right.gather(self.pool.right.rows[places])[0].to(images.device)
        return images, found
