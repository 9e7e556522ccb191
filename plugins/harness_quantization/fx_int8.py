"""Static post-training quantization to 8 bits, computed in integers (Jacob et al., 2018, arXiv:1712.05877).

By torch's FX graph mode, on CPUs: batch normalization is folded, then convolutions, linear layers and sums become int8 kernels of
oneDNN, FBGEMM or QNNPACK. Weights lie on a symmetric grid per output channel, activations on an affine grid per tensor. Averages,
and what torch has no integer kernel for (SiLU, padding), are computed in float between two grids. Logits are float32: the last
layer sums integers, and is not rounded again. No gradients pass.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from harness.api import PluginError, Quantizer
from harness_quantization.options import StaticInt8Options

if TYPE_CHECKING:
    from torch import nn

    from harness.api import Domain

Engine = Literal["onednn", "x86", "fbgemm", "qnnpack"]
WAY_OUT = 'use "fake-int8", which takes any network'
EIGHT_BITS, SEVEN_BITS = 255, 127


class FxInt8Options(StaticInt8Options):
    """The options of integer quantization."""

    engine: Literal["auto", Engine] = Field(
        default="auto",
        description="Whose kernels: onednn, x86, fbgemm or qnnpack; auto takes the first that torch has, onednn only where the "
        "processor has VNNI, which adds products of 8 bits without overflow. x86, fbgemm and onednn without VNNI get 7 bits.",
    )


class FxInt8(Quantizer[FxInt8Options]):
    """Compute in int8, by torch's kernels for CPUs: weights per channel, activations per tensor (Jacob et al., 2018)."""

    def quantize(self, network: nn.Module, calibration: Domain) -> nn.Module:
        """Return the integer network. Raises ``PluginError`` where a network cannot be traced, or would stay in float in parts."""
        from harness_quantization.integers import converted
        from harness_quantization.watching import calibrate, watched

        engine, largest = chosen_engine(self.options.engine)
        example = next(iter(calibration.batches(1)))
        try:
            graph = watched(network, example, self.options, largest=largest)
        except Exception as error:
            raise PluginError(
                f"fx-int8 cannot make integers of this network ({_first_line(error)}); {WAY_OUT}"
            ) from error
        calibrate(graph, calibration, self.options.calibration_images)
        try:
            integer = converted(graph, engine)
            integer(example)
        except Exception as error:
            raise PluginError(
                f"fx-int8: torch has no {engine} kernel for this network ({_first_line(error)}); {WAY_OUT}"
            ) from error
        return integer

    def num_bytes(self, quantized: nn.Module) -> int:
        """Return the bytes of the state as it is stored: int8 weights with scales and zero points per channel, biases, grids."""
        from harness_quantization.integers import stored_bytes

        return stored_bytes(quantized)


def chosen_engine(asked: str) -> tuple[str, int]:
    """Return the engine, and the largest activation with which its sums are exact. Raises ``PluginError`` where there is none."""
    import torch

    # Without VNNI two products are added in 16 bits, which 2 · 255 · 127 overflows; FBGEMM has kernels that never use it.
    vnni: bool = torch.cpu._is_vnni_supported()  # noqa: SLF001 (torch asks so itself, and tells nobody)
    largest = {
        "onednn": EIGHT_BITS if vnni else SEVEN_BITS,
        "x86": SEVEN_BITS,
        "fbgemm": SEVEN_BITS,
        "qnnpack": EIGHT_BITS,
    }
    supported = [engine for engine in largest if engine in torch.backends.quantized.supported_engines]
    if asked == "auto":
        usable = [engine for engine in supported if vnni or engine != "onednn"]
    else:
        usable = [engine for engine in supported if engine == asked]
    if not usable:
        raise PluginError(
            f'fx-int8: this torch has no engine "{asked}"; expected one of {", ".join(supported) or "(it has none)"}; {WAY_OUT}'
        )
    return usable[0], largest[usable[0]]


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".splitlines()[0]
