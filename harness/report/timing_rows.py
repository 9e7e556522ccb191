"""Timed attacks beside what the correctors of an experiment did with them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.report.notation import rate

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from harness.corrections import CorrectionCounts, Work
    from harness.leaderboard import Table
    from harness.timings import Timing, Timings


@dataclass(frozen=True)
class Correction:
    """What a corrector of an experiment did: of which model (empty for the only one), how many samples."""

    model: str
    corrector: str
    attack: str
    counts: CorrectionCounts

    @property
    def text(self) -> str:
        """``vbi 55/176 (31%)``."""
        name = f"{self.model}: {self.corrector}" if self.model else self.corrector
        return f"{name} {rate(self.counts)}"


@dataclass(frozen=True)
class TimingRow:
    """A timed attack, and the correctors of the experiment that use it."""

    timing: Timing
    corrections: tuple[Correction, ...]


@dataclass(frozen=True)
class TimingTable:
    """Timed attacks by group, the fastest first, beside an experiment's correction rates; ``experiment`` is None without one.

    ``unmatched``: the experiment's correctors whose attack has no timing.
    """

    timings: Timings
    rows: tuple[TimingRow, ...]
    experiment: str | None
    unmatched: tuple[Correction, ...]


def make_timing_table(timings: Timings, tables: Sequence[Table] = (), *, experiment: str | None = None) -> TimingTable:
    """Put the correction rates of an experiment's tables beside the attacks that they were made with."""
    corrections = _corrections(tables)
    names = {timing.measured.attack for timing in timings.timed}
    attacks = {one.attack: _meant(one.attack, names) for one in corrections}
    rows = tuple(
        TimingRow(timing, tuple(one for one in corrections if attacks[one.attack] == timing.measured.attack))
        for timing in timings.timed
    )
    unmatched = tuple(one for one in corrections if attacks[one.attack] is None)
    return TimingTable(timings, rows, experiment, unmatched)


def _corrections(tables: Sequence[Table]) -> tuple[Correction, ...]:
    found = [(table.comparable.model, work) for table in tables if table.comparable for work in table.works]
    single = len({model for model, _ in found}) == 1
    made = [_of_work("" if single else model, work) for model, work in found]
    # Tables that differ in their budget alone share their corrections.
    return tuple({(one.text, one.attack): one for one in made}.values())


def _of_work(model: str, work: Work) -> Correction:
    return Correction(model, work.corrector, work.attack, work.counts)


def _meant(attack: str, timed: Iterable[str]) -> str | None:
    """Return the timed attack that a record's name means: a bare one only where it fits no other."""
    found = [name for name in timed if attack in {name, name.rpartition("/")[2]}]
    return found[0] if len(found) == 1 else None
