"""SVG line plots of budget curves, for a page without scripts or files beside it."""

from __future__ import annotations

from dataclasses import replace
from html import escape
from itertools import pairwise
from math import ceil, floor, log10
from typing import TYPE_CHECKING

from harness.report.curve_lines import ROLES, accuracy_lines, corrector_lines, ends_below, limits

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from harness.curves import TableCurves
    from harness.report.curve_lines import Line

HEIGHT = 280
STYLES = 8
"""How many lines the page's style tells apart: classes ``k0`` to ``k7``."""
_LEFT = 9  # percent of the width, for the numbers beside the axis: lengths across are in percent, texts keep their size on a phone
_ABOVE, _BELOW = 10, 44  # pixels
_UNITS = 1000  # of the lines' own coordinates, stretched to the width that the page has
_KEY_PIXELS = 20  # a line of the key
_TICKS = 5

Ticks = list[tuple[float, str]]
"""Where an axis has its marks, as shares of its length, and what they say."""


def accuracy_plot(curves: TableCurves) -> str:
    """Return the figure of validation accuracies against steps: the rows that decide by name, the others thin."""
    lines = accuracy_lines(curves, "steps", raw=False)
    low, high = limits(lines)
    most = max((line.points[-1][0] for line in lines), default=1) or 1
    across = [(step / most, f"{step:,g}") for step in round_numbers(0, most)]
    up = [((value - low) / (high - low), f"{value:g}") for value in round_numbers(low, high)]
    styled = [(line, f"k{ROLES.index(line.role)}" if line.role else "") for line in lines]
    drawn = [_polyline(line, css, lambda step: step / most, (low, high)) for line, css in styled]
    # Highest first in the key, whatever lies above what.
    key = sorted((one for one in styled if one[1]), key=lambda one: -one[0].points[-1][1])
    words = "Validation accuracy (percent) against optimizer steps"
    out = ends_below(lines, low)
    return _svg(
        drawn, (across, up), key, words, f" Thin: the other rows{f', of which {out} end below' if out else ''}."
    )


def corrector_plot(curves: TableCurves) -> str:
    """Return the figure of correction rates against passes per attacked image, whose axis is logarithmic."""
    lines = corrector_lines(curves)
    length = log10(max(2.0, lines[0].points[-1][0]))
    across = [(power / length, f"{10**power:,}") for power in range(int(length) + 1)]
    up = [(value / 100, f"{value}") for value in range(0, 101, 25)]
    styled = [(line, f"k{index}" if index < STYLES else "") for index, line in enumerate(lines)]
    drawn = [_polyline(_stepped(line), css, lambda passes: log10(passes) / length, (0, 100)) for line, css in styled]
    key = [one for one in styled if one[1]]
    words = "Corrected wrong samples (percent) against passes per attacked image"
    return _svg(drawn, (across, up), key, words, "")


def round_numbers(low: float, high: float) -> list[float]:
    """Return about five multiples of 1, 2 or 5 times a power of ten from ``low`` to ``high``, which is above it."""
    rough = (high - low) / _TICKS
    power = 10.0 ** floor(log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough)
    return [round(step * index, 10) for index in range(ceil(low / step), floor(high / step) + 1)]


def _svg(
    drawn: Sequence[str], ticks: tuple[Ticks, Ticks], key: Sequence[tuple[Line, str]], words: str, more: str
) -> str:
    bottom = HEIGHT - _BELOW
    lines = "\n".join(drawn)
    named = "\n".join(_key(line, css, HEIGHT + _KEY_PIXELS * index) for index, (line, css) in enumerate(key))
    return (
        f'<svg role="img" aria-label="{words}" width="100%" height="{HEIGHT + _KEY_PIXELS * len(key)}">\n'
        f"{_axes(*ticks)}\n"
        f'<svg x="{_LEFT}%" y="{_ABOVE}" width="{100 - _LEFT}%" height="{bottom - _ABOVE}" '
        f'viewBox="0 0 {_UNITS} {_UNITS}" preserveAspectRatio="none">\n{lines}\n</svg>\n{named}\n</svg>\n'
        f'<p class="soft">{words}.{more}</p>'
    )


def _axes(across: Ticks, up: Ticks) -> str:
    bottom = HEIGHT - _BELOW
    parts = []
    for share, text in up:
        y = bottom - share * (bottom - _ABOVE)
        parts.append(f'<line class="axis" x1="{_LEFT}%" x2="100%" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text class="soft" text-anchor="end" x="{_LEFT - 1}%" y="{y + 4:.1f}">{text}</text>')
    for share, text in across:
        anchor = "end" if share > 0.95 else "middle"
        x = _LEFT + (100 - _LEFT) * share
        parts.append(f'<text class="soft" text-anchor="{anchor}" x="{x:.2f}%" y="{bottom + 20}">{text}</text>')
    return "".join(parts)


def _polyline(line: Line, css: str, across: Callable[[float], float], ends: tuple[float, float]) -> str:
    low, high = ends
    points = " ".join(
        f"{_UNITS * across(place):.1f},{_UNITS * (high - value) / (high - low):.1f}" for place, value in line.points
    )
    end = escape(f"{line.label}: {line.points[-1][1]:.2f}")
    return f'<polyline class="curve {css}" points="{points}"><title>{end}</title></polyline>'


def _stepped(line: Line) -> Line:
    """Hold each rate until the next one: nothing is corrected between two points."""
    corners = [
        corner for (_, held), (place, value) in pairwise(line.points) for corner in ((place, held), (place, value))
    ]
    return replace(line, points=(line.points[0], *corners))


def _key(line: Line, css: str, y: int) -> str:
    return (
        f'<line class="curve {css}" x1="0" x2="34" y1="{y - 2}" y2="{y - 2}"/>'
        f'<text x="42" y="{y + 3}">{escape(line.label)} <tspan class="soft">{line.points[-1][1]:.2f}</tspan></text>'
    )
