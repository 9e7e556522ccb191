"""The paper's figures: how correcting changes logits (figure 2), and where the classifier looks (figure 3)."""

from __future__ import annotations

from harness.api import hookimpl


@hookimpl
def harness_figures() -> dict[str, str]:
    """Name the figures."""
    return {
        "grad-cam": "harness_figures.grad_cam:GradCam",
        "logit-change": "harness_figures.logit_change:LogitChange",
    }
