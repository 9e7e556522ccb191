"""Pair the batches' samples by optimal transport of features and labels (Damodaran et al., 2018, arXiv:1803.10081: DeepJDOT)."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from harness.api import Adapter, AdapterCapabilities, Batch, FractionalFloat, Library, Options
from harness_adaptation.batches import label_loss

if TYPE_CHECKING:
    from collections.abc import Iterable

    from torch import Tensor


class DeepJdotOptions(Options):
    """Options of DeepJDOT."""

    alpha: FractionalFloat = Field(
        1e-3, ge=0, allow_inf_nan=False, description="Weight of the squared distance between a pair's features."
    )
    beta: FractionalFloat = Field(
        1e-4,
        ge=0,
        allow_inf_nan=False,
        description="Weight of the cross-entropy of a pair's target prediction on its source label.",
    )


class DeepJdot(Adapter[DeepJdotOptions]):
    """Add what the cheapest plan pays to move the source batch's samples, with their labels, onto the target's.

    The plan is exact and counts as given; the gradient is that of the costs along it. Remembered outputs have no part in it:
    a fresh sample that is paired with one of them would be drawn towards an earlier state of the network.
    """

    capabilities: ClassVar = AdapterCapabilities()
    library: ClassVar = Library(distribution="scipy", install="pip install scipy")

    def losses(self, source: Batch, target: Batch) -> dict[str, Tensor]:
        """Return the source's cross-entropy, the features' share of the cost and the labels'."""
        distances, surprises = pair_costs(source, target)
        of_features, of_labels = self.options.alpha * distances, self.options.beta * surprises
        plan = transport_plan(of_features + of_labels)
        return {
            "cross-entropy": label_loss(source),
            "feature-transport": (plan * of_features).sum(),
            "label-transport": (plan * of_labels).sum(),
        }

    def diagnostics(self, source: Batch, target: Batch) -> dict[str, float]:
        """Return the unweighted costs of the plan, and how much of it joins a label with the same prediction.

        ``same-label-noise-floor`` is what a plan that pairs at random would join. The costs between two batches of one
        distribution are not zero either: no two batches are the same.
        """
        distances, surprises = pair_costs(source, target)
        plan = transport_plan(self.options.alpha * distances + self.options.beta * surprises)
        same = (_labels(source)[:, None] == target.logits.argmax(1)[None, :]).to(plan.dtype)
        return {
            "pair-distance": float((plan * distances).sum()),
            "pair-cross-entropy": float((plan * surprises).sum()),
            "same-label": float((plan * same).sum()),
            "same-label-noise-floor": float(same.mean()),
        }

    def remarks(self, num_features: int, num_classes: int) -> Iterable[str]:  # noqa: ARG002 (labels alone count)
        """Say where a batch has too few samples for pairs of one class."""
        samples = self.loop.batch_size
        if samples < num_classes:
            yield (
                f"batches of {samples} samples have few of {num_classes} classes in common: the plan must pair samples of "
                f"different ones, and draws them together; expected {num_classes} samples or more; take a larger batch_size"
            )


def pair_costs(source: Batch, target: Batch) -> tuple[Tensor, Tensor]:
    """Return for each source and target sample (N, M) ‖f_i − f_j‖² and the cross-entropy of z_j on the label y_i."""
    from harness_adaptation.kernels import squared_distances

    surprises = -target.logits.log_softmax(1).T[_labels(source)]
    return squared_distances(source.features, target.features), surprises


def transport_plan(costs: Tensor) -> Tensor:
    """Return the cheapest plan (N, N) between uniform masses for costs (N, N); it sums to 1 and carries no gradient.

    Between as many samples as there are in either batch it is a pairing (Birkhoff, 1946), which is found the faster way. Where a
    cost is not finite there is none, and the plan is uniform: what is paid along it is not finite either.
    """
    import torch
    from scipy.optimize import linear_sum_assignment

    if not bool(costs.isfinite().all()):
        return costs.new_full(costs.shape, 1 / costs.numel())
    rows, columns = linear_sum_assignment(costs.detach().double().cpu().numpy())
    plan = torch.zeros_like(costs)
    plan[rows, columns] = 1 / len(costs)
    return plan.detach()


def _labels(batch: Batch) -> Tensor:
    labels: Tensor = batch.labels  # type: ignore[assignment]  # a source has labels
    return labels
