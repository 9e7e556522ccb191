"""An SVG dot plot of the gain in test accuracy, with intervals against fine-tuning on the target."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from math import ceil, floor, log10
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from harness.leaderboard import Row

ROW_PIXELS = 38
AXIS_PIXELS = 40
_LABEL_PIXELS = 18  # of a row's height, where its label stands: no line strikes it through
_GRID = f"0 {_LABEL_PIXELS} {ROW_PIXELS - _LABEL_PIXELS} 0"
_DASHES = f"0 {_LABEL_PIXELS} 4 3 4 3 4 2"  # as long in all
_MARGIN = 5.0  # percent of the width left free on either side
_TICKS = 6


@dataclass(frozen=True)
class Dot:
    """A row's gain over the baseline in points, and the bounds of its interval."""

    row: Row
    gain: float
    low: float | None
    high: float | None


def dot_plot(rows: Sequence[Row]) -> str:
    """Return the figure: a dot for each row's ΔAcc, a line at the baseline and one at ``finetune-target``.

    An interval is that of the paired difference to ``finetune-target``, drawn from the latter's line: it crosses the line
    where the difference may be zero. Lengths along the axis are in percent, so that the text keeps its size on a phone.
    """
    finetune = next((100 * row.delta.mean for row in rows if row.key.control == "finetune-target"), None)
    dots = [_dot(row, finetune) for row in rows]
    ends = [value for dot in dots for value in (dot.gain, dot.low, dot.high) if value is not None]
    low, high = min(0.0, *ends), max(0.0, *ends)
    scale = _Scale(low, high if high > low else low + 1)
    height = ROW_PIXELS * len(dots) + AXIS_PIXELS
    marks = "\n".join(_mark(dot, index, scale) for index, dot in enumerate(dots))
    frame = _axis(scale, finetune, ROW_PIXELS * len(dots))
    return (
        f'<svg role="img" aria-label="Gain in test accuracy of each row" width="100%" height="{height}">\n'
        f'{frame}\n{marks}\n</svg>\n<p class="soft">{_caption(finetune)}</p>'
    )


@dataclass(frozen=True)
class _Scale:
    low: float
    high: float

    def __call__(self, value: float) -> str:
        share = (value - self.low) / (self.high - self.low)
        return f"{_MARGIN + (100 - 2 * _MARGIN) * share:.2f}%"


def _dot(row: Row, finetune: float | None) -> Dot:
    difference = row.versus_finetune
    if difference is None or finetune is None:
        return Dot(row, 100 * row.delta.mean, None, None)
    if difference.p is None:
        return Dot(row, finetune + difference.mean, None, None)
    bounds = [None if end is None else finetune + end for end in (difference.low, difference.high)]
    return Dot(row, finetune + difference.mean, *bounds)


def _mark(dot: Dot, index: int, scale: _Scale) -> str:
    base = index * ROW_PIXELS
    y = base + 26
    css = "" if dot.row.key.is_method else ' class="control"'
    spread = ""
    if dot.low is not None and dot.high is not None:
        spread = f'<line class="interval" x1="{scale(dot.low)}" x2="{scale(dot.high)}" y1="{y}" y2="{y}"/>'
    kind = "dot" if spread else "hollow"
    label, gain = escape(dot.row.label), f"{dot.gain:+z.2f}"
    return (
        f'<g{css}><title>{escape(_tooltip(dot))}</title><text x="0" y="{base + 14}">{label} '
        f'<tspan class="soft">{gain}</tspan></text>{spread}<circle class="{kind}" cx="{scale(dot.gain)}" cy="{y}" r="4.5"/></g>'
    )


def _tooltip(dot: Dot) -> str:
    against = f", {dot.row.versus_finetune} against finetune-target" if dot.row.versus_finetune else ""
    return f"{dot.row.label}: {dot.gain:+z.2f} over the baseline{against}"


def _axis(scale: _Scale, finetune: float | None, bottom: int) -> str:
    ticks = "".join(
        f'<line class="axis" stroke-dasharray="{_GRID}" x1="{scale(tick)}" x2="{scale(tick)}" y1="0" y2="{bottom}"/>'
        f'<text class="soft" text-anchor="middle" x="{scale(tick)}" y="{bottom + 18}">{f"{tick:+g}" if tick else "0"}</text>'
        for tick in _ticks(scale.low, scale.high)
    )
    if finetune is None:
        return ticks
    x = scale(finetune)
    return f'{ticks}<line class="finetune" stroke-dasharray="{_DASHES}" x1="{x}" x2="{x}" y1="0" y2="{bottom}"/>'


def _ticks(low: float, high: float) -> Iterable[float]:
    rough = (high - low) / _TICKS
    power = 10.0 ** floor(log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough)
    return [round(step * index, 10) for index in range(ceil(low / step), floor(high / step) + 1)]


def _caption(finetune: float | None) -> str:
    if finetune is None:
        return "ΔAcc in points over the baseline (0). No finetune-target row, and so no intervals."
    return (
        "ΔAcc in points over the baseline (0). Dashed: finetune-target. Intervals (95%) are of the paired difference to it: "
        "one that crosses the dashed line may be no gain over plain fine-tuning. Hollow: no interval."
    )
