"""Offer AutoAttack's parts as attacks, and AutoAttack itself as a robustness test."""

from __future__ import annotations

from harness.api import hookimpl


@hookimpl
def harness_attacks() -> dict[str, str]:
    """Name AutoAttack's parts, one for each norm."""
    from harness_autoattack.attacks import BRIDGE

    return BRIDGE.names


@hookimpl
def harness_evaluators() -> dict[str, str]:
    """Name AutoAttack."""
    return {"autoattack": "harness_autoattack.evaluator:AutoAttackEvaluator"}
