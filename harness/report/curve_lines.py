"""What the pictures of budget curves share: lines in percent, the limits of an axis, and labels that do not overlap."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.report.curves import highlights

if TYPE_CHECKING:
    from collections.abc import Sequence

    from harness.curves import Axis, MeanPoint, RowCurve, TableCurves

ROLES = ("best", "finetune-target", "target-to-target", "curriculum", "rival")
"""What ``highlights`` chooses rows for, in the order of the pictures' colors."""
_BULK = 0.9  # of the rows without a name, what the axis has room for
_WITH_SPREAD = ("best", "finetune-target")
_MARGIN = 0.06  # of the axis, free above and below


@dataclass(frozen=True, kw_only=True)
class Line:
    """A line of a picture: (place, percent) points; ``role`` is None for those that are drawn without a name.

    ``spread``: mean minus and plus the sample std over seeds at each point; empty for one seed, and where it would hide the rest:
    the best row and ``finetune-target`` alone have it.
    """

    label: str
    role: str | None
    points: tuple[tuple[float, float], ...]
    spread: tuple[tuple[float, float], ...] = ()


def accuracy_lines(curves: TableCurves, axis: Axis, *, raw: bool) -> list[Line]:
    """Return a line for every trained row that has its places, those without a name first: they lie beneath."""
    roles = {row.key: role for role, row in highlights(curves).items()}
    rows = [row for row in curves.trained if axis == "steps" or row.is_timed]
    lines = [_line(row, roles.get(row.key), axis, raw=raw) for row in rows]
    return sorted((line for line in lines if line.points), key=lambda line: line.role is not None)


def corrector_lines(curves: TableCurves) -> list[Line]:
    """Return a line for every corrector, the one that corrects most first, all drawn to where the last one ends."""
    most = max((1.0, *(one.points()[-1][0] for one in curves.correctors)))  # some attacks ask nothing
    lines = []
    for one in curves.correctors:
        points = [(place, 100 * rate) for place, rate in [(1.0, one.rate(1)), *one.points()] if place >= 1]
        lines.append(Line(label=one.corrector, role="corrector", points=(*points, (most, points[-1][1]))))
    return sorted(lines, key=lambda line: -line.points[-1][1])


def limits(lines: Sequence[Line]) -> tuple[float, float]:
    """Return the ends of an axis in percent: room for all lines with a name, and for the bulk of the others."""
    named = [value for line in lines if line.role for _, value in line.points]
    named += [value for line in lines for pair in line.spread for value in pair]
    lowest = sorted(min(value for _, value in line.points) for line in lines if not line.role)
    bulk = lowest[len(lowest) - round(_BULK * len(lowest)) :]
    highest = [*named, *(value for line in lines for _, value in line.points)]
    low, high = min((*named, *bulk), default=0.0), max(highest, default=100.0)
    margin = _MARGIN * ((high - low) or 1.0)
    return low - margin, high + margin


def ends_below(lines: Sequence[Line], low: float) -> int:
    """Count the lines that end where an axis from ``low`` does not show them."""
    return sum(line.points[-1][1] < low for line in lines)


def spaced(ends: Sequence[float], gap: float) -> list[float]:
    """Return the places in [0, 1], at least ``gap`` apart and in the order of ``ends``, that lie nearest to them.

    Nearest in least squares: of places that would overlap, each block lies about the mean of its ends. They are closer than
    ``gap`` where there is no room for it.
    """
    gap = min(gap, 1 / max(len(ends) - 1, 1))
    order = sorted(range(len(ends)), key=lambda index: ends[index])
    blocks: list[tuple[float, int]] = []  # the mean of ends less their gaps, and how many
    for rank, index in enumerate(order):
        mean, count = ends[index] - rank * gap, 1
        while blocks and blocks[-1][0] > mean:
            other, others = blocks.pop()
            mean, count = (mean * count + other * others) / (count + others), count + others
        blocks.append((mean, count))
    bases = [mean for mean, count in blocks for _ in range(count)]
    room = 1 - gap * (len(ends) - 1)
    places = [0.0] * len(ends)
    for rank, (index, base) in enumerate(zip(order, bases, strict=True)):
        places[index] = min(max(base, 0.0), room) + rank * gap
    return places


def _line(row: RowCurve, role: str | None, axis: Axis, *, raw: bool) -> Line:
    placed = [(place, point) for point in row.means() if (place := _place(point, axis)) is not None]
    accuracies = [(place, point.accuracy(raw=raw)) for place, point in placed]
    spread = [(100 * (one.mean - one.std), 100 * (one.mean + one.std)) for _, one in accuracies if one.std is not None]
    return Line(
        label=row.label,
        role=role,
        points=tuple((place, 100 * one.mean) for place, one in accuracies),
        spread=tuple(spread) if role in _WITH_SPREAD else (),
    )


def _place(point: MeanPoint, axis: Axis) -> float | None:
    return point.step if axis == "steps" else point.seconds
