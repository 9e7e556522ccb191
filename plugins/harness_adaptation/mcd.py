"""MCD: two heads that differ on the target, features on which they agree (Saito et al., 2018, arXiv:1712.02560)."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from harness.api import Adapter, AdapterCapabilities, Batch, FractionalFloat, HarnessError, Options
from harness_adaptation.batches import label_loss

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from torch import Tensor, nn

Phase = Literal["fit", "part", "agree"]
"""The paper's A (all parameters fit the source), B (the heads part on the target), C (the features make them agree)."""


class McdOptions(Options):
    """Options of MCD."""

    agree_steps: int = Field(4, ge=1, description="Steps on the features after each one of both heads on the target.")
    perturbation: FractionalFloat = Field(
        0.1,
        gt=0,
        allow_inf_nan=False,
        description="Noise of the second head's start, in standard deviations of the first head's weights.",
    )


class Mcd(Adapter[McdOptions]):
    """Take the three phases in turns, one optimizer step each: A, B, then C ``agree_steps`` times, on fresh batches.

    The first head is the network's own, trained before; the second starts as a perturbed copy of it, since equal heads have
    no discrepancy to begin with. The network is judged by its own head. By default two steps of six fit the source, where
    an arm of one phase has six.
    """

    capabilities: ClassVar = AdapterCapabilities()
    _second: nn.Linear

    def modules(self, num_features: int, num_classes: int) -> Mapping[str, nn.Module]:  # noqa: ARG002 (the head knows)
        """Return the second head. Raises ``HarnessError`` for a network without a head."""
        self._second = perturbed_copy(self._head(), self.options.perturbation)
        return {"second-head": self._second}

    def remarks(self, num_features: int, num_classes: int) -> Iterable[str]:  # noqa: ARG002 (the loop's length counts)
        """Tell of a loop too short for all phases. Raises ``HarnessError`` for a network without a head."""
        self._head()
        cycle = 2 + self.options.agree_steps
        if self.loop.steps < cycle:
            yield f"a cycle of its phases takes {cycle} steps and the loop has {self.loop.steps}: some phases never come"

    def trained(self, network: nn.Module) -> Iterable[nn.Parameter]:
        """Return what this step's phase trains: everything, the heads, or everything but the heads."""
        own, second = list(self._head().parameters()), list(self._second.parameters())
        if self.phase == "part":
            return own + second
        if self.phase == "fit":
            return [*network.parameters(), *second]
        left_out = {id(parameter) for parameter in own}
        return [parameter for parameter in network.parameters() if id(parameter) not in left_out]

    def losses(self, source: Batch, target: Batch) -> dict[str, Tensor]:
        """Return both heads' cross-entropies on the source and their discrepancy on the target.

        All three are there at every step, so that their means over steps tell. A phase that does not minimize a term has no
        gradient from it; in phase B the heads climb the discrepancy, whose gradient is reversed.
        """
        from harness_adaptation.reversal import reverse

        first = label_loss(source)
        second = label_loss(replace(source, logits=self._second(source.features)))
        apart = self._discrepancy(target)
        if self.phase == "agree":
            first, second = first.detach(), second.detach()
        else:
            apart = apart.detach() if self.phase == "fit" else reverse(apart, 1.0)
        return {"cross-entropy": first, "second-cross-entropy": second, "discrepancy": apart}

    def diagnostics(self, source: Batch, target: Batch) -> dict[str, float]:
        """Return the discrepancy on the target and, as its floor, that on the source."""
        return {
            "discrepancy": float(self._discrepancy(target).detach()),
            "discrepancy-noise-floor": float(self._discrepancy(source).detach()),
        }

    @property
    def phase(self) -> Phase:
        """This step's phase."""
        place = self.loop.step % (2 + self.options.agree_steps)
        return "fit" if place == 0 else "part" if place == 1 else "agree"

    def _discrepancy(self, batch: Batch) -> Tensor:
        return discrepancy(batch.logits, self._second(batch.features))

    def _head(self) -> nn.Linear:
        head = self.loop.network.head
        if head is None:
            raise HarnessError(
                "mcd: the network has no linear head, and mcd trains a second one beside it; expected a network whose last "
                "layer is torch.nn.Linear; take another classifier, or another adapter"
            )
        return head


def discrepancy(first: Tensor, second: Tensor) -> Tensor:
    """Return mean |p1 − p2| over samples and classes, of two heads' logits (N, K)."""
    return (first.softmax(1) - second.softmax(1)).abs().mean()


def perturbed_copy(head: nn.Linear, perturbation: float) -> nn.Linear:
    """Return a new layer with the head's weights plus noise from torch's generator, and the head's bias.

    ``perturbation`` is the noise's standard deviation over that of the weights.
    """
    import torch

    copy = torch.nn.Linear(head.in_features, head.out_features, bias=head.bias is not None)
    weight = head.weight.detach().to(copy.weight)
    with torch.no_grad():
        copy.weight.copy_(weight + perturbation * weight.std() * torch.randn(weight.shape))
        if head.bias is not None:
            copy.bias.copy_(head.bias)
    return copy
