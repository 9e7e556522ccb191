"""Marks on the labels of rows that are no fair match for the others, or no test of T': told wherever a label is shown."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from harness.controls import TRAINED_ON_TARGET

if TYPE_CHECKING:
    from collections.abc import Iterable

    from harness.records import CellRecord

LABELS_MARK = "†"
SOURCE_FREE_MARK = "‡"
MARKS = LABELS_MARK + SOURCE_FREE_MARK

_UNMARKED = frozenset({"none", *TRAINED_ON_TARGET})
"""Controls that say by their names that they train on T, labels and all, or not at all."""


@dataclass(frozen=True, kw_only=True)
class Uses:
    """What a row's adapter uses: the labels of T, as no unsupervised adaptation may; T alone, so that T' does not enter."""

    target_labels: bool = False
    source_free: bool = False

    @property
    def mark(self) -> str:
        """What the row's label ends with: nothing for most."""
        return LABELS_MARK * self.target_labels + SOURCE_FREE_MARK * self.source_free


class Marked(Protocol):
    """A row with a label."""

    @property
    def uses(self) -> Uses:
        """What its adapter uses."""


def uses_of(records: Iterable[CellRecord]) -> Uses:
    """Return what a row's records say of its adapter; controls that stand alone and train on T only are not marked."""
    told = [record.adaptation for record in records if record.cell.control not in _UNMARKED]
    return Uses(target_labels=any(one.target_labels for one in told), source_free=any(not one.source for one in told))


def mark_notes(rows: Iterable[Marked]) -> list[str]:
    """Explain the marks that these rows bear, a sentence each."""
    found = [row.uses for row in rows]
    notes = []
    if any(one.target_labels for one in found):
        notes.append(f"{LABELS_MARK} The adapter uses T's labels, which the others do not have.")
    if any(one.source_free for one in found):
        notes.append(
            f"{SOURCE_FREE_MARK} The adapter looks at T alone: T' does not enter, and what it makes is the same whatever corrects."
        )
    return notes


def unmarked(label: str) -> str:
    """Return a label without its marks, as it may be copied from a table."""
    return label.rstrip(MARKS)
