"""Rows chosen by their labels: patterns with ``*`` and ``?``, and what is said of one that is not there."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from harness.errors import UsageError, did_you_mean
from harness.marks import unmarked

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_LISTED = 12  # names in an error


def check_patterns(patterns: Sequence[str], labels: Iterable[str]) -> None:
    """Raise ``UsageError`` for a pattern that matches no label."""
    known = list(dict.fromkeys(labels))
    for pattern in patterns:
        if not any(matches(label, [pattern]) for label in known):
            raise no_row("--row", pattern, known)


def matches(label: str, patterns: Iterable[str]) -> bool:
    """Whether a row's label matches one of the patterns; marks do not count."""
    return any(fnmatchcase(unmarked(label), unmarked(pattern)) for pattern in patterns)


def no_row(where: str, label: str, known: Iterable[str]) -> UsageError:
    """Return the error for a row that is not there: the nearest name, or where none is near some of them."""
    names = list(dict.fromkeys(known))
    if guess := did_you_mean(unmarked(label), names):
        return UsageError(f'{where}: no row "{label}"{guess}')
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return UsageError(f'{where}: no row "{label}"; the rows: {", ".join(names[:_LISTED])}{more}')
