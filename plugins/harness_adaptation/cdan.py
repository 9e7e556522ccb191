"""CDAN: a discriminator that sees features and predictions together (Long et al., 2018, arXiv:1705.10667)."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from pydantic import Field

from harness_adaptation.adversarial import AdversarialOptions, DomainAdversarial

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from torch import Tensor, nn

    from harness.api import Batch
    from harness_adaptation.discriminators import RandomMap


class CdanOptions(AdversarialOptions):
    """Options of CDAN."""

    entropy: bool = Field(
        default=False,
        description="CDAN+E: samples count by 1 + e^(−H(p)), divided by its mean over the domain's batch; certain ones more.",
    )
    largest_product: int = Field(
        4096, ge=1, description="Features times classes above which a random map stands for their outer product."
    )
    random_width: int = Field(1024, ge=1, description="Width of the random map.")


CdanT = TypeVar("CdanT", bound=CdanOptions)


class ConditionalAdversarial(DomainAdversarial[CdanT]):
    """Show the discriminator vec(f ⊗ p), or a random map of it; no gradient passes through p."""

    _map: RandomMap | None = None

    def judged_width(self, num_features: int, num_classes: int) -> int:
        """Return the outer product's width, or the random map's."""
        product = num_features * num_classes
        return product if product <= self.options.largest_product else self.options.random_width

    def judged(self, batch: Batch) -> Tensor:
        """Return the features of a batch combined with its predictions (N, W)."""
        from harness_adaptation.discriminators import outer_product

        predictions = batch.logits.detach().softmax(1)
        return (self._map or outer_product)(batch.features, predictions)

    def sample_weights(self, batch: Batch) -> Tensor | None:
        """Return 1 + e^(−H(p)) (N,) with ``entropy``, else None."""
        from harness_adaptation.entropies import entropies

        return 1 + (-entropies(batch.logits.detach())).exp() if self.options.entropy else None

    def modules(self, num_features: int, num_classes: int) -> Mapping[str, nn.Module]:
        """Return the discriminator and, for many features times classes, the random map."""
        from harness_adaptation.discriminators import RandomMap

        modules = dict(super().modules(num_features, num_classes))
        if num_features * num_classes > self.options.largest_product:
            self._map = RandomMap(num_features, num_classes, self.options.random_width)
            modules["map"] = self._map
        return modules

    def remarks(self, num_features: int, num_classes: int) -> Iterable[str]:  # noqa: ARG002 (the features are of any width)
        """Tell of batches too small to hold the classes whose features are compared."""
        if self.loop.batch_size < num_classes:
            yield (
                f"the discriminator compares the domains class by class, and a batch of {self.loop.batch_size} samples lacks "
                f"most of {num_classes} classes; it needs a batch of some samples of each"
            )


class Cdan(ConditionalAdversarial[CdanOptions]):
    """CDAN, with ``entropy`` CDAN+E."""
