"""Static post-training quantization to 8 bits, computed in float32 (Jacob et al., 2018, arXiv:1712.05877).

Batch normalization is folded first. Weights then lie on a symmetric int8 grid per output channel and activations on an affine
grid per tensor, at the places of ``fx-int8``, and with its grids where both give activations as many bits; biases and logits stay
float32. The arithmetic is float, so that it runs on any device and has straight-through gradients. Where a network has no such
graph, each convolution and linear layer rounds what it reads, sums stay float32, and the row says so.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from harness.api import Quantizer
from harness_quantization.options import Bits, StaticInt8Options, largest_activation

if TYPE_CHECKING:
    from torch import fx, nn

    from harness.api import Domain


class FakeInt8Options(StaticInt8Options):
    """The options of simulated quantization."""

    activation_bits: Bits = Field(
        default=8,
        description="Bits of an activation: 8 (256 levels), or 7 (128) for the grids of fx-int8 where its engine has 7.",
    )


class FakeInt8(Quantizer[FakeInt8Options]):
    """Round weights to int8 per channel and activations to uint8 per tensor, in float arithmetic (Jacob et al., 2018)."""

    differentiable: ClassVar[bool] = True
    simulated: ClassVar[bool] = True

    def quantize(self, network: nn.Module, calibration: Domain) -> nn.Module:
        """Return the network with rounded weights that rounds its activations.

        Leaves in ``remarks`` what of a network without a graph is not as in ``fx-int8``.
        """
        from harness_quantization.watching import UnquantizableError, calibrate, watched

        example = next(iter(calibration.batches(1)))
        largest = largest_activation(self.options.activation_bits)
        try:
            graph = watched(network, example, self.options, largest=largest)
        except UnquantizableError as error:
            return self._by_layers(network, calibration, why=str(error))
        calibrate(graph, calibration, self.options.calibration_images)
        _round(graph)
        return graph.eval()

    def _by_layers(self, network: nn.Module, calibration: Domain, *, why: str) -> nn.Module:
        import torch

        from harness_quantization.folding import fold_observed
        from harness_quantization.grids import RoundedLayer, activation_observer
        from harness_quantization.watching import calibrate, first_images, weighted_layers

        count = self.options.calibration_images
        network, unfolded = fold_observed(network, lambda: first_images(calibration, count))
        observer = activation_observer(self.options, largest=largest_activation(self.options.activation_bits))
        layers = []
        for name, layer in list(weighted_layers(network)):
            parent, _, own = name.rpartition(".")
            layers.append(RoundedLayer(layer, observer()))
            setattr(network.get_submodule(parent), own, layers[-1])
        calibrate(network, calibration, count)
        with torch.no_grad():
            for rounded in layers:
                rounded.freeze()
        self.remarks = (_by_layers_remark(why, unfolded),)
        return network.eval()

    def num_bytes(self, quantized: nn.Module) -> int:
        """Return the bytes of int8 weights with a float scale per channel, and of everything else as it is."""
        from harness_quantization.watching import weighted_layers

        state = {id(value): value for value in (*quantized.parameters(), *quantized.buffers())}
        size = sum(value.numel() * value.element_size() for value in state.values())
        for _, layer in weighted_layers(quantized):
            weights = state.pop(id(layer.weight), None)
            if weights is not None:
                size += weights.numel() + 4 * len(weights) - weights.numel() * weights.element_size()
        return size


def _by_layers_remark(why: str, unfolded: int) -> str:
    left = f", {unfolded} of its batch-norm layers stay unfolded" if unfolded else ""
    return f"only what layers read is rounded, sums stay in float{left}: not the grids of integer arithmetic ({why})"


def _round(graph: fx.GraphModule) -> None:
    """Put a grid in the place of each observer, and the weights on theirs."""
    import torch
    from torch.ao.quantization.observer import ObserverBase

    from harness_quantization.grids import Grid, rounded_weights
    from harness_quantization.watching import weighted_layers

    graph.meta.clear()
    for module in graph.modules():
        vars(module).pop("qconfig", None)  # makers of observers, which no pickle takes
    grids: dict[int, Grid] = {}  # pooling and its like share the observer of their input
    for name, module in list(graph.named_modules(remove_duplicate=False)):
        if isinstance(module, ObserverBase):
            grids.setdefault(id(module), Grid(module))
            setattr(graph, name, grids[id(module)])
    with torch.no_grad():
        for _, layer in weighted_layers(graph):
            layer.weight.copy_(rounded_weights(layer.weight))
