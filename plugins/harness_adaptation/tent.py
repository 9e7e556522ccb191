"""Tent: entropy minimization over batch-norm's scales and shifts alone (Wang et al., 2021, arXiv:2006.10726)."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from harness.api import Adapter, AdapterCapabilities, Batch, HarnessError, NoOptions

if TYPE_CHECKING:
    from collections.abc import Iterable

    from torch import Tensor, nn


class Tent(Adapter[NoOptions]):
    """Minimize the mean entropy of the predictions on the target; the source is not looked at.

    The paper does so on the very images that are then tested (Adam, learning rate 1e-3, batches of 200 on CIFAR); here they are
    ``T``, and test images are never seen. Batches normalize themselves as in the paper, unless the batch-norm policy is ``frozen``.
    """

    capabilities: ClassVar = AdapterCapabilities(source=False)

    def trained(self, network: nn.Module) -> Iterable[nn.Parameter]:
        """Return the batch-norm layers' scales and shifts. Raises ``HarnessError`` where there are none."""
        from harness_adaptation.batch_norms import affine_parameters

        found = affine_parameters(network)
        if not found:
            raise HarnessError(
                "tent: the network has no batch-norm layer with scales and shifts, and tent trains nothing else; expected at "
                "least one; take a classifier with batch-norm, or another adapter"
            )
        return found

    def losses(self, source: Batch, target: Batch) -> dict[str, Tensor]:  # noqa: ARG002 (it is source-free)
        """Return the mean entropy of the target's predictions."""
        from harness_adaptation.entropies import entropies

        return {"entropy": entropies(target.logits).mean()}

    def diagnostics(self, source: Batch, target: Batch) -> dict[str, float]:  # noqa: ARG002 (it is source-free)
        """Return the entropy of the mean prediction, which falls towards 0 as all samples are given one class."""
        from harness_adaptation.entropies import entropy_of_mean

        return {"diversity": float(entropy_of_mean(target.logits.detach()))}
