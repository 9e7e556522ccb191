"""Offer the attacks of torchattacks."""

from __future__ import annotations

from harness.api import hookimpl


@hookimpl
def harness_attacks() -> dict[str, str]:
    """Name the attacks of torchattacks."""
    from harness_torchattacks.attacks import BRIDGE

    return BRIDGE.names
