"""How every report writes what the correctors did: the columns of that table, in the order of reading."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.report.notation import ABSENT, rate, significant, whole_percent

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from harness.corrections import Work

WORK_TITLE = "What the correctors did"
_SURVIVAL = "uint8, float16, flip: how many of the corrections are still labelled true after rounding to it, or a horizontal flip."
_LOSSES = "Loss: mean cross-entropy of the classifier before adaptation, on T and on the T' that was made."
_PASSES = "Forward, backward: images through the network per attacked image."
_SECONDS = "Seconds are per attacked image, depend on the machine, and are those of the run that computed the stage."


@dataclass(frozen=True)
class WorkColumn:
    """A column: its heading, what it says of a corrector, whether that is a name, when it is dropped (0: never), a note."""

    heading: str
    text: Callable[[Work], str]
    is_name: bool = False
    dropped: int = 0
    note: str = ""


def median_norm(work: Work) -> str:
    """Write a median norm with the norm's name, ``0.0157 linf``."""
    return ABSENT if work.median_norm is None else f"{significant(work.median_norm.mean)} {work.norm}"


def initial_losses(work: Work) -> str:
    """Write the baseline's mean loss on T and on T', ``0.254 → 0.173``."""
    if work.loss_target is None or work.loss_source is None:
        return ABSENT
    return f"{work.loss_target.mean:.3f} → {work.loss_source.mean:.3f}"


def survival(work: Work, name: str) -> str:
    """Write the share of the corrections that survive a change."""
    return whole_percent(work.survived[name]) if name in work.survived else ABSENT


def _passes(value: float | None) -> str:
    return ABSENT if value is None else f"{value:.1f}"


def _seconds(work: Work) -> str:
    return ABSENT if work.seconds is None else significant(work.seconds)


WORK_COLUMNS: tuple[WorkColumn, ...] = (
    WorkColumn("Corrector", lambda work: work.corrector, is_name=True),
    WorkColumn("Attack", lambda work: work.attack, is_name=True, dropped=2),
    WorkColumn("Objective", lambda work: work.objective or ABSENT, is_name=True, dropped=3),
    WorkColumn("Select", lambda work: work.select or ABSENT, is_name=True, dropped=1),
    WorkColumn("Corr. rate", lambda work: rate(work.counts)),
    WorkColumn("Loss T → T'", initial_losses, dropped=11, note=_LOSSES),
    WorkColumn("Median norm", median_norm, dropped=10, note="Median norm of the corrections, mean over seeds."),
    WorkColumn("uint8", lambda work: survival(work, "uint8"), dropped=9, note=_SURVIVAL),
    WorkColumn("float16", lambda work: survival(work, "float16"), dropped=6, note=_SURVIVAL),
    WorkColumn("flip", lambda work: survival(work, "flip"), dropped=7, note=_SURVIVAL),
    WorkColumn("Forward", lambda work: _passes(work.forward), dropped=8, note=_PASSES),
    WorkColumn("Backward", lambda work: _passes(work.backward), dropped=5, note=_PASSES),
    WorkColumn("Seconds", _seconds, dropped=4, note=_SECONDS),
)


def work_columns(works: Iterable[Work]) -> tuple[WorkColumn, ...]:
    """Return the columns of a table; without the losses where no record tells them."""
    known = any(work.loss_source is not None for work in works)
    return tuple(column for column in WORK_COLUMNS if known or column.text is not initial_losses)


def narrower(columns: Iterable[WorkColumn]) -> list[WorkColumn]:
    """Leave out the column that is dropped first; the same columns where none may be."""
    left = list(columns)
    first = min((column.dropped for column in left if column.dropped), default=0)
    return [column for column in left if not first or column.dropped != first]


def work_caption(columns: Iterable[WorkColumn]) -> str:
    """Say what the numbers of these columns are."""
    return " ".join(dict.fromkeys(column.note for column in columns if column.note))
