"""Quantizers: static post-training int8."""

from __future__ import annotations

from harness.api import hookimpl


@hookimpl
def harness_quantizers() -> dict[str, str]:
    """Name the quantizers."""
    return {"fake-int8": "harness_quantization.fake_int8:FakeInt8"}
