"""SHOT: information maximization and centroid pseudo-labels under a frozen head (Liang et al., 2020, arXiv:2002.08546)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from harness.api import Adapter, AdapterCapabilities, Batch, FractionalFloat, HarnessError, Options

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from torch import Tensor, nn

PASS = 128
"""Images of a forward pass in eval mode; nothing but memory and speed depends on it."""


class ShotOptions(Options):
    """Options of SHOT."""

    weight: FractionalFloat = Field(
        0.3, ge=0, allow_inf_nan=False, description="Weight of the cross-entropy on the pseudo-labels."
    )
    rounds: int = Field(2, ge=1, description="Rounds of centroids and nearest centroids that make the pseudo-labels.")


class Shot(Adapter[ShotOptions]):
    """Minimize H(p) − H(p̄) + 0.3·CE(pseudo-labels) on the target; the head stays as it is and the source is not looked at.

    The pseudo-labels are made anew at the first step of each epoch, in a pass over the target in eval mode: forward passes that
    other arms do not make. The paper: SGD, learning rate 1e-2, a tenth of it below the bottleneck, batches of 64.
    """

    capabilities: ClassVar = AdapterCapabilities(source=False)
    _memory: nn.Module

    def modules(self, num_features: int, num_classes: int) -> Mapping[str, nn.Module]:  # noqa: ARG002 (one label a sample)
        """Return what remembers the pseudo-labels (N,) of the whole target, over interruptions too."""
        import torch

        self._memory = torch.nn.Module()
        self._memory.register_buffer("labels", torch.zeros(len(self.loop.target), dtype=torch.int64))
        return {"pseudo-labels": self._memory}

    def remarks(self, num_features: int, num_classes: int) -> Iterable[str]:  # noqa: ARG002 (the features are of any width)
        """Tell of batches too small for diversity. Raises ``HarnessError`` for a network without a head."""
        self._head()
        size = self.loop.batch_size
        if size < num_classes:
            yield (
                f"its diversity term wants all of {num_classes} classes in each batch, which has {size} samples: the mean of "
                f"certain predictions has an entropy of at most {math.log(size):.2f}, and {math.log(num_classes):.2f} is asked for"
            )

    def trained(self, network: nn.Module) -> Iterable[nn.Parameter]:
        """Return all parameters but the head's."""
        frozen = {id(parameter) for parameter in self._head().parameters()}
        return [parameter for parameter in network.parameters() if id(parameter) not in frozen]

    def losses(self, source: Batch, target: Batch) -> dict[str, Tensor]:  # noqa: ARG002 (it is source-free)
        """Return the entropy, the negative entropy of the mean prediction and the weighted pseudo-label loss of the target."""
        from torch.nn.functional import cross_entropy

        from harness_adaptation.entropies import entropies, entropy_of_mean

        if self.loop.step % self.loop.steps_per_epoch == 0:
            self._refresh()
        return {
            "entropy": entropies(target.logits).mean(),
            "negative-diversity": -entropy_of_mean(target.logits),
            "pseudo-label": self.options.weight * cross_entropy(target.logits, self._labels(target)),
        }

    def diagnostics(self, source: Batch, target: Batch) -> dict[str, float]:  # noqa: ARG002 (it is source-free)
        """Return the share of the batch that the centroids label otherwise than the head."""
        differ = self._labels(target) != target.logits.argmax(1)
        return {"relabelled": float(differ.float().mean())}

    def _labels(self, target: Batch) -> Tensor:
        labels: Tensor = self._memory.get_buffer("labels")[target.samples]
        return labels

    def _refresh(self) -> None:
        import torch

        network = self.loop.evaluation()
        passes = [network.outputs(images) for images in self.loop.target.batches(PASS)]
        features = torch.cat([made.features for made in passes])
        predictions = torch.cat([made.logits for made in passes]).softmax(1)
        self._memory.get_buffer("labels").copy_(centroid_labels(features, predictions, self.options.rounds))

    def _head(self) -> nn.Linear:
        head = self.loop.network.head
        if head is None:
            raise HarnessError(
                "shot: the network has no linear head, and shot adapts the features to one that stays as it is; expected a "
                "network whose last layer is torch.nn.Linear; take another classifier, or another adapter"
            )
        return head


def centroid_labels(features: Tensor, predictions: Tensor, rounds: int) -> Tensor:
    """Return the class (N,) of the centroid that is nearest by cosine to each of the features (N, D).

    The centroids are means of [f; 1]/‖[f; 1]‖, weighted by the predictions (N, K) at first, by the last labels in later
    rounds. A class that nothing is labelled as has no centroid.
    """
    from torch.nn.functional import normalize, one_hot, pad

    units = normalize(pad(features, (0, 1), value=1.0), dim=1)
    classes = predictions.shape[1]
    labels, shares = predictions.argmax(1), predictions
    for _ in range(rounds):
        # A sum points where the mean does, and the cosine asks for no more.
        centroids = normalize(shares.T @ units, dim=1)
        empty = labels.bincount(minlength=classes) == 0
        labels = (units @ centroids.T).masked_fill(empty, -math.inf).argmax(1)
        shares = one_hot(labels, classes).to(units)
    return labels
