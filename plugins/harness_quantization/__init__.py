"""Quantizers: static post-training int8, simulated and real."""

from __future__ import annotations

from harness.api import hookimpl


@hookimpl
def harness_quantizers() -> dict[str, str]:
    """Name the quantizers."""
    return {"fake-int8": "harness_quantization.fake_int8:FakeInt8", "fx-int8": "harness_quantization.fx_int8:FxInt8"}
