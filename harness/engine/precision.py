"""A classifier in the precision of a training loop: bfloat16 inside where that is asked for, float32 outside."""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING

import torch

from harness.adapting import Outputs
from harness.engine.compiling import CompiledOutputs
from harness.engine.networks import evaluating, last_linear

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from torch import Tensor, nn

    from harness.budget import Precision
    from harness.engine.networks import PixelClassifier


class LoopNetwork:
    """A classifier in the mode and the precision of the loop; what it gives is float32.

    ``compiled``: whether it is passed through as torch.compile makes it.
    """

    def __init__(
        self,
        network: PixelClassifier,
        precision: Precision = "float32",
        *,
        compiled: bool = False,
    ) -> None:
        self.network = network
        self.precision = precision
        self._compiled = CompiledOutputs(network) if compiled else None

    @property
    def head(self) -> nn.Linear | None:
        """The last linear layer."""
        return last_linear(self.network.net)

    def outputs(self, images: Tensor) -> Outputs:
        """Return the features (N, D) and logits (N, K) of images (N, C, H, W)."""
        with lowered(self.precision, images.device):
            found = Outputs(*self._compiled(images)) if self._compiled else self.network.outputs(images)
        return Outputs(found.features.float(), found.logits.float())


def lowered(precision: Precision, device: torch.device) -> AbstractContextManager[object]:
    """Compute in bfloat16 what torch's autocast holds safe for it, where that is the precision."""
    if precision == "float32":
        return nullcontext()
    return torch.autocast(device.type, dtype=torch.bfloat16)


class EvaluationNetwork(LoopNetwork):
    """A classifier in eval mode, without gradients, in float32; the modes are put back after each pass."""

    def outputs(self, images: Tensor) -> Outputs:
        """Return the features (N, D) and logits (N, K) of images (N, C, H, W)."""
        with evaluating(self.network), torch.no_grad():
            return super().outputs(images)
