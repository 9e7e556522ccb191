"""Static post-training quantization to 8 bits, computed in integers (Jacob et al., 2018, arXiv:1712.05877).

By torch's FX graph mode, on CPUs: batch normalization is folded, then convolutions, linear layers and sums become int8 kernels of
oneDNN, FBGEMM or QNNPACK. Weights lie on a symmetric grid per output channel, activations on an affine grid per tensor. Averages,
and what torch has no integer kernel for (SiLU, padding), are computed in float between two grids. Logits are float32: the last
layer sums integers, and is not rounded again. No gradients pass.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal, get_args

from pydantic import Field

from harness.api import PluginError, Quantizer
from harness_quantization.options import Bits, StaticInt8Options, largest_activation

if TYPE_CHECKING:
    from torch import nn

    from harness.api import Domain

Engine = Literal["onednn", "x86", "fbgemm", "qnnpack"]
WAY_OUT = 'use "fake-int8", which takes any network'


class FxInt8Options(StaticInt8Options):
    """The options of integer quantization."""

    engine: Literal["auto", Engine] = Field(
        default="auto",
        description="Whose kernels: onednn, x86, fbgemm or qnnpack; auto takes the first that torch has, onednn only where the "
        "processor has VNNI, which adds products of 8 bits without overflow.",
    )
    activation_bits: Literal["auto", Bits] = Field(
        default="auto",
        description="Bits of an activation; auto takes as many as the engine adds without overflow: 8, or 7 for x86, fbgemm and "
        "onednn without VNNI.",
    )


class FxInt8(Quantizer[FxInt8Options]):
    """Compute in int8, by torch's kernels for CPUs: weights per channel, activations per tensor (Jacob et al., 2018)."""

    computes_on: ClassVar[Literal["cpu"]] = "cpu"

    def settled(self) -> FxInt8Options:
        """Return the options with this processor's engine and bits. Raises ``PluginError`` where it has not what they ask for."""
        engine = chosen_engine(self.options.engine)
        exact, asked = exact_bits(engine), self.options.activation_bits
        if asked != "auto" and asked > exact:
            raise PluginError(
                f'fx-int8: activation_bits: got {asked}, but engine "{engine}" adds products of {exact} bits at most without '
                f"overflow on this processor; take activation_bits: {exact}, or another engine"
            )
        bits = exact if asked == "auto" else asked
        return self.options.model_copy(update={"engine": engine, "activation_bits": bits})

    def quantize(self, network: nn.Module, calibration: Domain) -> nn.Module:
        """Return the integer network. Raises ``PluginError`` where a network cannot be traced, or would stay in float in parts."""
        from harness_quantization.integers import converted
        from harness_quantization.watching import calibrate, watched

        options = self.settled()
        engine, bits = options.engine, options.activation_bits
        assert engine != "auto"  # noqa: S101 (settled; for the type checker)
        assert bits != "auto"  # noqa: S101 (as above)
        example = next(iter(calibration.batches(1)))
        try:
            graph = watched(network, example, options, largest=largest_activation(bits))
        except Exception as error:
            raise PluginError(
                f"fx-int8 cannot make integers of this network ({_first_line(error)}); {WAY_OUT}"
            ) from error
        calibrate(graph, calibration, options.calibration_images)
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


def chosen_engine(asked: Literal["auto", Engine]) -> Engine:
    """Return the engine that is asked for, or this processor's. Raises ``PluginError`` where there is none."""
    import torch

    supported = [engine for engine in get_args(Engine) if engine in torch.backends.quantized.supported_engines]
    if asked == "auto":
        usable = [engine for engine in supported if has_vnni() or engine != "onednn"]
    else:
        usable = [engine for engine in supported if engine == asked]
    if not usable:
        raise PluginError(
            f'fx-int8: this torch has no engine "{asked}"; expected one of {", ".join(supported) or "(it has none)"}; {WAY_OUT}'
        )
    chosen: Engine = usable[0]
    return chosen


def exact_bits(engine: Engine) -> Bits:
    """Return the bits of activations with which an engine's sums are exact on this processor."""
    # Without VNNI two products are added in 16 bits, which 2 · 255 · 127 overflows; FBGEMM has kernels that never use it.
    return 8 if engine == "qnnpack" or (engine == "onednn" and has_vnni()) else 7


def has_vnni() -> bool:
    """Whether the processor adds products of 8 bits without overflow."""
    import torch

    found: bool = torch.cpu._is_vnni_supported()  # noqa: SLF001 (torch asks so itself, and tells nobody)
    return found


def _first_line(error: Exception) -> str:
    from harness_quantization.watching import UnquantizableError

    if isinstance(error, UnquantizableError):
        return str(error)
    return f"{type(error).__name__}: {error}".splitlines()[0]
