"""Static post-training quantization to 8 bits, computed in float32 (Jacob et al., 2018, arXiv:1712.05877).

Batch normalization is folded first. Every convolution and linear layer then has weights on a symmetric int8 grid per output
channel, and reads activations on an affine uint8 grid per tensor, whose range calibration images tell (Krishnamoorthi, 2018,
arXiv:1806.08342). Biases, sums and logits stay float32. The grids are those of integer arithmetic; the arithmetic is float, so that
it runs on any device and has straight-through gradients.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from harness.api import Options, Quantizer

if TYPE_CHECKING:
    from collections.abc import Iterable

    from torch import Tensor, nn

    from harness.api import Domain
    from harness_quantization.rounding import Rounded


class FakeInt8Options(Options):
    """The options of fake int8 quantization."""

    calibration_images: int = Field(
        default=1000, ge=1, description="Training images that tell the range of each layer's inputs."
    )


class FakeInt8(Quantizer[FakeInt8Options]):
    """Round weights to int8 per channel and activations to uint8 per tensor, in float arithmetic (Jacob et al., 2018)."""

    def quantize(self, network: nn.Module, calibration: Domain) -> nn.Module:
        """Return the network with rounded weights and layers that round what they read."""
        import torch

        from harness.api import fold_batch_norm

        net: nn.Module = network.net  # type: ignore[assignment]  # the classifier's network behind its normalization
        network.net = fold_batch_norm(net)
        layers = [_wrap(network, name, layer) for name, layer in list(_layers(network))]
        with torch.no_grad():
            for images in _first(calibration, self.options.calibration_images):
                network(images)
            for layer in layers:
                layer.freeze()
        return network.eval()

    def num_bytes(self, quantized: nn.Module) -> int:
        """Return the bytes of int8 weights, their float scales, and everything else in float32."""
        weights = sum(layer.weight.numel() + 4 * len(layer.weight) for _, layer in _layers(quantized))
        counted = {id(layer.weight) for _, layer in _layers(quantized)}
        others = sum(4 * value.numel() for value in quantized.parameters() if id(value) not in counted)
        ranges = 8 * len(counted)  # a scale and a zero point for what each layer reads
        return weights + others + ranges


def _layers(network: nn.Module) -> Iterable[tuple[str, nn.Conv2d | nn.Linear]]:
    from torch import nn

    for name, module in network.named_modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            yield name, module


def _wrap(network: nn.Module, name: str, layer: nn.Conv2d | nn.Linear) -> Rounded:
    from harness_quantization.rounding import Rounded

    parent, _, own = name.rpartition(".")
    wrapped = Rounded(layer)
    setattr(network.get_submodule(parent), own, wrapped)
    return wrapped


def _first(calibration: Domain, count: int) -> Iterable[Tensor]:
    """Yield the first images of the domain, in batches."""
    left = count
    for images in calibration.batches(min(count, 128)):
        if left <= 0:
            return
        yield images[:left]
        left -= len(images)
