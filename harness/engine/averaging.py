"""Averages of the weights over the steps of a training loop, buffers included.

Equal weights: Izmailov et al., 2018, arXiv:1803.05407. Exponential ones: Tarvainen and Valpola, 2017, arXiv:1703.01780; their decay
starts low and rises to its value, so that the average does not hold on to the weights that it began with.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch.optim.swa_utils import AveragedModel

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor, nn

    from harness.adapting import WeightAveraging
    from harness.engine.networks import PixelClassifier


class Average:
    """The average of a network's weights from a share of the steps on."""

    def __init__(self, network: PixelClassifier, asked: WeightAveraging, *, steps: int) -> None:
        self.asked = asked
        self.first = int(asked.start * steps)
        self.model = AveragedModel(network)

    def update(self, network: PixelClassifier, step: int) -> None:
        """Take in the weights after a step, counted from 0.

        Not by ``AveragedModel.update_parameters``, which sends its count to the device, and waits for that, at every step.
        """
        if step < self.first:
            return
        count = int(self.model.n_averaged)
        with torch.no_grad():
            for mine, new in zip(_values(self.model.module), _values(network), strict=True):
                if count and mine.is_floating_point():
                    mine.lerp_(new, self._share(count))
                else:
                    mine.copy_(new)
        self.model.n_averaged += 1

    @property
    def network(self) -> PixelClassifier | None:
        """The averaged network, None as long as there is nothing to average."""
        averaged: Any = self.model.module
        return averaged if int(self.model.n_averaged) else None

    def _share(self, count: int) -> float:
        """Return what the newest of ``count`` + 1 weights counts for."""
        if self.asked.decay is None:
            return 1 / (count + 1)
        return 1 - min(self.asked.decay, (1 + count) / (10 + count))


def _values(module: nn.Module) -> Iterator[Tensor]:
    yield from module.parameters()
    yield from module.buffers()
