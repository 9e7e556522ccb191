"""Adapters from T' to T, and the controls that adapt without the method."""

from __future__ import annotations

from harness.api import hookimpl


@hookimpl
def harness_adapters() -> dict[str, str]:
    """Offer Deep CORAL and the controls."""
    return {
        "deep-coral": "harness_adaptation.deep_coral:DeepCoral",
        "finetune": "harness_adaptation.finetune:FineTune",
        "recalibrate-bn": "harness_adaptation.recalibrate_bn:RecalibrateBatchNorm",
    }
