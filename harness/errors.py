"""The errors a user can cause: one class a cause, each with its exit code."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


class HarnessError(Exception):
    """A message for the user: what, where, got, expected, next step."""

    exit_code = 1


class SpecError(HarnessError):
    """An experiment spec that cannot be run as it is written."""

    exit_code = 2


class UsageError(HarnessError):
    """A command called with arguments that do not fit."""

    exit_code = 2


class PluginError(HarnessError):
    """A plugin that is missing, broken, ambiguous or incompatible."""

    exit_code = 3


class ContractError(PluginError):
    """A plugin that ran and broke the contract: wrong shape, bounds, dtype, values or state."""


class DataError(HarnessError):
    """Data or weights that are unavailable, unreadable or do not fit."""

    exit_code = 4


class StoreError(HarnessError):
    """A store or results folder that cannot be used."""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return ``'; did you mean "…"?'`` for the nearest of ``known``, whatever its case, or nothing."""
    lowered = {candidate.lower(): candidate for candidate in sorted(known, reverse=True)}
    near = get_close_matches(name.lower(), sorted(lowered), n=1, cutoff=0.6)
    return f'; did you mean "{lowered[near[0]]}"?' if near else ""
