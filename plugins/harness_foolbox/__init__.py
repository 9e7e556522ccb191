"""Offer the attacks of Foolbox (Rauber et al., 2020, doi:10.21105/joss.02607), and translate criteria both ways."""

from __future__ import annotations

from harness.api import hookimpl
from harness_foolbox.criteria import from_foolbox, to_foolbox

__all__ = ["from_foolbox", "harness_attacks", "to_foolbox"]


@hookimpl
def harness_attacks() -> dict[str, str]:
    """Name Foolbox's attacks."""
    from harness_foolbox.attacks import BRIDGE

    return BRIDGE.names
