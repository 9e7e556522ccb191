"""Curves of corrections: how many wrong samples a corrector has corrected after so many passes through the network."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.controls import SUBSTITUTES
from harness.rows import RowKey
from harness.searches import corrector_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from harness.records import CellRecord, Correction


@dataclass(frozen=True, kw_only=True)
class SeedCorrections:
    """One seed's corrections: of ``wrong`` samples so many, cumulative, after so many passes; ``passes`` counts all spent."""

    wrong: int
    passes: int
    points: tuple[tuple[float, int], ...]

    def after(self, passes: float) -> int:
        """Return how many samples are corrected after so many passes per attacked image."""
        return max((corrected for place, corrected in self.points if place <= passes), default=0)


@dataclass(frozen=True, kw_only=True)
class CorrectorCurve:
    """How many of the wrong samples a corrector has corrected after so many forward and backward passes per attacked image."""

    corrector: str
    attack: str
    per_seed: Mapping[int, SeedCorrections]

    @property
    def spent(self) -> float:
        """The passes per attacked image that the attack took in all."""
        return sum(one.passes for one in self.per_seed.values()) / self._wrong

    def rate(self, passes: float) -> float:
        """Return the share of the wrong samples of all seeds that are corrected after so many passes."""
        return sum(one.after(passes) for one in self.per_seed.values()) / self._wrong

    def points(self) -> list[tuple[float, float]]:
        """Return (passes, rate) wherever the rate changes, and where the attack ended."""
        places = {place for one in self.per_seed.values() for place, _ in one.points}
        return [(place, self.rate(place)) for place in sorted(places | {max((self.spent, *places))})]

    @property
    def _wrong(self) -> int:
        return sum(one.wrong for one in self.per_seed.values())


def correction_curves(records: Iterable[CellRecord]) -> tuple[tuple[CorrectorCurve, ...], tuple[str, ...]]:
    """Return the curve of each corrector, whichever row has a seed's, and the names of those whose records hold none."""
    groups: dict[str, dict[int, tuple[CellRecord, Correction]]] = {}
    for record in sorted(records, key=lambda record: (*RowKey.of(record.cell).order, record.cell.seed)):
        made = record.correction
        if made and made.attack is not None and made.wrong and record.cell.control not in SUBSTITUTES:
            settings = [record.cell.corrector, made.attack, made.objective, made.select, made.options]
            group = groups.setdefault(json.dumps(settings, sort_keys=True), {})
            # The stage is shared, but of records of one seed some may be older than the curve.
            if record.cell.seed not in group or (made.curve and not group[record.cell.seed][1].curve):
                group[record.cell.seed] = record, made
    curves, untold = [], []
    for group in groups.values():
        name = corrector_name(record for record, _ in group.values())
        if any(made.corrected and not made.curve for _, made in group.values()):
            untold.append(name)
            continue
        per_seed = {seed: _corrections(made) for seed, (_, made) in sorted(group.items())}
        attack = str(next(made.attack for _, made in group.values()))
        curves.append(CorrectorCurve(corrector=name, attack=attack, per_seed=per_seed))
    return tuple(curves), tuple(untold)


def _corrections(made: Correction) -> SeedCorrections:
    passes = made.forward + made.backward
    return SeedCorrections(wrong=made.wrong, passes=passes, points=tuple(made.curve))
