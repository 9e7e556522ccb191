"""What an adapter sees of the loop that it is in: the network, the domains, the pairs, how far it has come."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from math import ceil
from typing import TYPE_CHECKING

import torch
from torch import nn

from harness.adapting import Outputs
from harness.engine.domains import DomainView, running_statistics_kept
from harness.engine.images import even_batches
from harness.engine.networks import frozen_copy, has_batch_norm
from harness.engine.precision import EvaluationNetwork, LoopNetwork
from harness.engine.prediction import predict
from harness.errors import ContractError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from torch import Tensor

    from harness.adapting import AdaptedNetwork, Corrections, Domain, Shrinkage
    from harness.budget import Adaptation
    from harness.engine.images import ImageSet
    from harness.engine.networks import PixelClassifier


class OwnPasses(LoopNetwork):
    """A classifier as an adapter passes images of its own through it: batch-norm's running statistics are not moved by them."""

    def outputs(self, images: Tensor) -> Outputs:
        """Return the features (N, D) and logits (N, K) of images (N, C, H, W)."""
        with running_statistics_kept(self.network):
            return super().outputs(images)


@dataclass(frozen=True)
class PairedImages:
    """The samples that a corrector changed, as they were and as they are: stored rows (R,) of both sets."""

    originals: ImageSet
    corrected: ImageSet
    rows: Tensor

    def __len__(self) -> int:
        return len(self.rows)

    def batches(self, batch_size: int) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Yield originals (n, C, H, W), corrected images (n, C, H, W) and labels (n,) in batches of a fixed order."""
        for rows in even_batches(self.rows, batch_size):
            images, labels = self.originals.gather(rows)
            yield images, self.corrected.gather(rows)[0], labels


class AdapterLoop:
    """See ``harness.adapting.Loop``. ``start`` makes the classifier as it was before adaptation, if that is asked for.

    ``may_validate``: whether the adapter overrides ``adapt``. ``validations`` counts how often it has looked.
    """

    def __init__(
        self,
        network: PixelClassifier,
        adaptation: Adaptation,
        *,
        source: ImageSet,
        target: ImageSet,
        valid: ImageSet,
        steps: int,
        labels_shown: bool,
        may_validate: bool,
        start: Callable[[], PixelClassifier],
    ) -> None:
        self.step = 0
        self.steps = steps
        self.batch_size = adaptation.batch_size
        self.steps_per_epoch = ceil(len(target) / adaptation.batch_size)
        self.shrinkage: Shrinkage = adaptation.shrinkage
        self.network: AdaptedNetwork = OwnPasses(
            # A closed form makes few passes, of sizes of its own.
            network,
            adaptation.precision,
            compiled=adaptation.compile and not may_validate,
        )
        self.has_batch_norm = has_batch_norm(network)
        self.source: Domain = DomainView(source)
        self.target: Domain = DomainView(target)
        changed = _replaced(source)
        self.corrections: Corrections | None = None
        self.kept: Domain | None = None
        if labels_shown:
            self.corrections = PairedImages(target, source, source.rows[changed])
            self.kept = DomainView(source.subset(source.rows[~changed]))
        self._classifier = network
        self._start = start
        self._valid = valid
        self._may_validate = may_validate
        self.validations = 0

    @property
    def progress(self) -> float:
        """How much of the loop is done, in [0, 1)."""
        return self.step / self.steps

    @cached_property
    def initial(self) -> AdaptedNetwork:
        """The classifier before adaptation, frozen and in eval mode."""
        return EvaluationNetwork(frozen_copy(self._start()))

    def evaluation(self) -> AdaptedNetwork:
        """Return the classifier as it is now, for passes in eval mode without gradients."""
        return EvaluationNetwork(self._classifier)

    def validate(self) -> float:
        """Return the validation accuracy in [0, 1] of the classifier as it is now.

        Raises ``ContractError`` for an adapter with gradient steps.
        """
        if not self._may_validate:
            raise ContractError(
                "loop.validate() was asked for by an adapter with gradient steps; expected it from adapt() alone: the harness "
                "validates these steps and chooses among as many checkpoints for each row; let losses() do without"
            )
        self.validations += 1
        return predict(self._classifier, self._valid).accuracy


def _replaced(source: ImageSet) -> Tensor:
    """Tell (N,) which samples of a set are shown otherwise than they are stored."""
    if source.replaced is None:
        return torch.zeros(len(source), dtype=torch.bool)
    return source.replaced[source.rows] >= 0


class Memory(nn.Module):
    """The outputs of a domain's last batches, detached: features (M, D), logits (M, K); M is at most ``capacity``.

    They are buffers of one size, so that a checkpoint holds them too.
    """

    features: Tensor
    logits: Tensor
    filled: Tensor

    def __init__(self, capacity: int, num_features: int, num_classes: int) -> None:
        super().__init__()
        self.register_buffer("features", torch.zeros(capacity, num_features))
        self.register_buffer("logits", torch.zeros(capacity, num_classes))
        self.register_buffer("filled", torch.zeros((), dtype=torch.int64))
        # The same number without a wait for the device; None after a checkpoint was loaded.
        self._count: int | None = 0
        # The function, not the method: a copy of this memory calls it for itself.
        self.register_load_state_dict_post_hook(Memory._ask_again)  # type: ignore[no-untyped-call]  # torch's own

    def _ask_again(self, _loaded: object) -> None:
        self._count = None

    def past(self) -> Outputs:
        """Return what is remembered."""
        if self._count is None:
            self._count = int(self.filled)
        start = len(self.features) - self._count
        return Outputs(self.features[start:], self.logits[start:])

    def remember(self, features: Tensor, logits: Tensor) -> None:
        """Take in a batch's outputs, and forget the oldest. New tensors are made: those handed out stay as they were."""
        capacity = len(self.features)
        self.features = torch.cat([self.features, features.detach()])[-capacity:]
        self.logits = torch.cat([self.logits, logits.detach()])[-capacity:]
        self.filled = (self.filled + len(features)).clamp(max=capacity)
        if self._count is not None:
            self._count = min(self._count + len(features), capacity)
