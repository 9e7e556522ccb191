"""What the domain-adversarial adapters share: features that hide their domain from a discriminator (arXiv:1505.07818)."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, TypeVar

from pydantic import Field

from harness.api import Adapter, AdapterCapabilities, Batch, FractionalFloat, Options
from harness_adaptation.batches import label_loss

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor, nn

    from harness_adaptation.discriminators import Discriminator


class AdversarialOptions(Options):
    """Options of the game between network and discriminator."""

    weight: FractionalFloat = Field(
        1,
        ge=0,
        allow_inf_nan=False,
        description="Largest factor of the reversed gradient; the discriminator itself always learns in full.",
    )
    gamma: float = Field(
        10,
        gt=0,
        allow_inf_nan=False,
        description="γ of that factor's course over the loop, λ(t) = 2/(1 + e^(−γt)) − 1 with t from 0 to 1.",
    )
    hidden: int = Field(1024, ge=1, description="Width of the discriminator's two hidden layers.")


AdversarialT = TypeVar("AdversarialT", bound=AdversarialOptions)


class DomainAdversarial(Adapter[AdversarialT]):
    """Add a discriminator's loss, whose gradient reaches the network reversed, to the cross-entropy on the source."""

    capabilities: ClassVar = AdapterCapabilities()
    _discriminator: Discriminator
    _accuracy: Tensor | None = None

    def judged_width(self, num_features: int, num_classes: int) -> int:  # noqa: ARG002 (a default)
        """Return the width of what the discriminator is shown: the features', unless overridden."""
        return num_features

    def judged(self, batch: Batch) -> Tensor:
        """Return what the discriminator is shown of a batch (N, W): the features, unless overridden."""
        return batch.features

    def sample_weights(self, batch: Batch) -> Tensor | None:  # noqa: ARG002 (a default)
        """Return how much each sample counts in the discriminator's loss (N,); None for equally."""
        return None

    def modules(self, num_features: int, num_classes: int) -> Mapping[str, nn.Module]:
        """Return the discriminator."""
        from harness_adaptation.discriminators import Discriminator

        self._discriminator = Discriminator(self.judged_width(num_features, num_classes), self.options.hidden)
        return {"discriminator": self._discriminator}

    def losses(self, source: Batch, target: Batch) -> dict[str, Tensor]:
        """Return the source's cross-entropy and the discriminator's loss, ln 2 where it cannot tell the domains apart."""
        import torch

        from harness_adaptation.discriminators import domain_accuracy, domain_loss
        from harness_adaptation.reversal import reverse, warm_up

        strength = self.options.weight * warm_up(self.loop.progress, self.options.gamma)
        # Both domains in one batch: batch-norm would otherwise take away what tells them apart.
        judged = reverse(torch.cat([self.judged(source), self.judged(target)]), strength)
        ours, theirs = self._discriminator(judged).split([len(source.images), len(target.images)])
        self._accuracy = domain_accuracy(ours.detach(), theirs.detach())
        weights = {"source_weights": self.sample_weights(source), "target_weights": self.sample_weights(target)}
        return {
            "cross-entropy": label_loss(source),
            "domain": domain_loss(ours, theirs, **weights),
        }

    def diagnostics(self, source: Batch, target: Batch) -> dict[str, float]:  # noqa: ARG002 (judged before the step)
        """Return the discriminator's accuracy on the last step's samples, from before it learned from them; chance is 0.5."""
        if self._accuracy is None:
            return {}
        return {"domain-accuracy": float(self._accuracy), "domain-accuracy-noise-floor": 0.5}
