"""One weight update in place of the corrections: activity-weight duality (Feng and Tu, 2022, arXiv:2203.10736).

What the corrector did to the inputs of a layer is done to its weights, by the least change of them; see
``harness_adaptation.duality``. It is exact for one layer, before its activation, in eval mode, and as long as the
corrected inputs are no more than the weights of a unit.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from harness.api import Adapter, AdapterCapabilities, Domain, FractionalFloat, HarnessError, Options

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from torch import Tensor, nn

    from harness_adaptation.duality import Moments
    from harness_adaptation.linear_layers import LinearLayer

IMAGES = 250
"""Images of a pass. It changes no result: moments add up, and the network is in eval mode."""

UNCHANGED = {"beta": 0.0, "step": 0.0, "relative-change": 0.0, "unmatched": 1.0, "kept-shift": 0.0}
"""What is told where the weights stay as they are."""


class ActivityWeightDualityOptions(Options):
    """Options of the update."""

    layer: Literal["last", "first"] = Field(
        "last",
        description="Whose weights change: the last linear layer's (its inputs are the features), or those of the first layer, a "
        "convolution or linear (its inputs are the normalized pixels).",
    )
    betas: tuple[Annotated[FractionalFloat, Field(ge=0, allow_inf_nan=False)], ...] = Field(
        (0.0, 1e-4, 1e-3, 1e-2, 0.1, 1.0),
        min_length=1,
        description="What a kept sample may count beside a corrected one; validation accuracy chooses.",
    )
    step_sizes: tuple[Annotated[FractionalFloat, Field(gt=0, allow_inf_nan=False)], ...] = Field(
        (0.25, 0.5, 1.0),
        min_length=1,
        description="By what the update may be multiplied; 1 is the theory's. Validation accuracy chooses, no update at all too.",
    )
    ridge: FractionalFloat = Field(
        1e-6,
        ge=0,
        allow_inf_nan=False,
        description="ρ in units of the mean eigenvalue of the corrected samples' second moments; 0: the pseudo-inverse.",
    )


class ActivityWeightDuality(Adapter[ActivityWeightDualityOptions]):
    """Change one layer's weights as the corrections changed its inputs, in closed form."""

    capabilities: ClassVar[AdapterCapabilities] = AdapterCapabilities(target_labels=True)

    def remarks(self, num_features: int, num_classes: int) -> Iterable[str]:  # noqa: ARG002 (of any number of classes)
        """Tell where nothing was corrected, and where no update does all that the corrections did."""
        count = len(self.loop.corrections or ())
        if count == 0:
            yield "no sample was corrected: the weights stay as they are"
        elif self.options.layer == "last" and count > num_features + 1:
            yield (
                f"{count} corrected samples are more than the {num_features + 1} weights of a class: no update of the last layer "
                "repeats all of their changes, and the one of least squares is taken"
            )

    def adapt(self, network: nn.Module, source: Domain, target: Domain) -> dict[str, float]:  # noqa: ARG002 (the pairs count)
        """Change one layer of ``network`` in place, or none where validation finds no candidate better.

        Returns of the update that was chosen: ``beta``, ``step`` and ``relative-change`` (‖ΔW‖/‖W‖, biases included);
        ``unmatched``, the share of the wanted change of the layer's outputs that is missing on the corrected samples;
        ``kept-shift``, the root mean square change of the outputs on a kept sample.
        """
        import torch

        if not self.loop.corrections:
            return dict(UNCHANGED)
        with torch.no_grad():
            layer = self._layer(network)
            return self._choose(layer, self._moments(layer))

    def _layer(self, network: nn.Module) -> LinearLayer:
        from harness_adaptation.linear_layers import FirstLayer, LastLayer

        if self.options.layer == "first":
            return FirstLayer(network, next(iter(self.loop.target.batches(1))))
        head = self.loop.network.head
        if head is None:
            raise HarnessError(
                "activity-weight-duality: this classifier ends in no linear layer, and layer: last changes that one; "
                "use layer: first, or another adapter"
            )
        return LastLayer(head, self.loop.evaluation())

    def _moments(self, layer: LinearLayer) -> Moments:
        from harness_adaptation.duality import Moments

        matrix = layer.matrix()
        moments = Moments(matrix.shape[1], matrix.device)
        for originals, corrected, _ in self.loop.corrections.batches(IMAGES) if self.loop.corrections else ():
            for before, after in zip(layer.inputs(originals), layer.inputs(corrected), strict=True):
                moments.add_changed(before, after)
        for images in self.loop.kept.batches(IMAGES) if self.loop.kept else ():
            for rows in layer.inputs(images):
                moments.add_kept(rows)
        return moments

    def _choose(self, layer: LinearLayer, moments: Moments) -> dict[str, float]:
        """Leave the best candidate's weights in the layer, the smallest change's among the best; returns its figures."""
        from harness_adaptation.duality import kept_shift, unmatched_share

        weights = chosen = layer.matrix()
        best, figures = self.loop.validate(), dict(UNCHANGED)
        for beta, step, update in self._candidates(weights, moments):
            layer.set_matrix(weights + update)
            accuracy = self.loop.validate()
            if accuracy > best:
                best, chosen = accuracy, weights + update
                figures = {
                    "beta": beta,
                    "step": step,
                    "relative-change": float(update.norm() / weights.norm()),
                    "unmatched": unmatched_share(weights, update, moments),
                    "kept-shift": kept_shift(update, moments),
                }
        layer.set_matrix(chosen)
        return figures

    def _candidates(self, weights: Tensor, moments: Moments) -> Iterator[tuple[float, float, Tensor]]:
        """Yield β, step and the update (k, d), the smallest first, so that a tie is the smaller change's."""
        from harness_adaptation.duality import least_update

        updates = {
            beta: least_update(weights, moments, beta=beta, ridge=self.options.ridge) for beta in self.options.betas
        }
        sizes = {beta: float(update.norm()) for beta, update in updates.items()}
        pairs = [(beta, step) for beta in self.options.betas for step in self.options.step_sizes]
        for beta, step in sorted(pairs, key=lambda pair: sizes[pair[0]] * pair[1]):
            yield beta, step, step * updates[beta]
