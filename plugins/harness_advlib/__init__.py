"""Offer the attacks of adv-lib."""

from __future__ import annotations

from harness.api import hookimpl


@hookimpl
def harness_attacks() -> dict[str, str]:
    """Name the attacks of adv-lib."""
    from harness_advlib.attacks import BRIDGE

    return BRIDGE.names
