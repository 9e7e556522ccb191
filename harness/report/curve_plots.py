"""Budget curves as a picture, PNG or SVG: a panel a table, the few rows that decide by name, and the correctors beside them."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from harness.marks import mark_notes
from harness.report import pictures
from harness.report.curve_lines import ROLES, accuracy_lines, corrector_lines, ends_below, limits, spaced
from harness.report.curves import NO_TEST, highlights

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from harness.curves import Axis, TableCurves
    from harness.report.curve_lines import Line

INSTALL = "pip install 'adcorda-harness[figures]'"
DPI = 160
AXIS_WORDS: dict[Axis, str] = {
    "steps": "optimizer steps",
    "seconds": "seconds of training (they depend on the machine)",
}
_GREY = "#b4b8c0"
_CYCLE = ("#0072b2", "#000000", "#d55e00", "#009e73", "#aa4499", "#999933", "#56b4e9", "#882255")
_COLORS = dict(zip(ROLES, _CYCLE, strict=False))
_DASHES: dict[str, Any] = {
    "finetune-target": (0, (5, 2)),
    "target-to-target": (0, (1, 1)),
    "curriculum": (0, (4, 1, 1, 1)),
}
_LABEL_GAP = 0.075  # between two labels, of a panel's height
_WIDTH, _HEIGHT = 3.6, 2.7  # of a panel, in inches
_LEFT, _BETWEEN, _BELOW = 0.6, 0.95, 0.55  # of what lies around it
_LETTER = 0.062  # of a label
_STYLE: dict[str, Any] = {
    "axes.linewidth": 0.7,
    "axes.spines.top": False,
    "axes.spines.right": False,
}


def check_drawable(path: Path) -> None:
    """Refuse a file that is neither PNG nor SVG (``UsageError``), and drawing without matplotlib (``PluginError``)."""
    pictures.check_drawable(path, option="--figure", modules=("matplotlib",), install=INSTALL)


def draw(tables: Sequence[TableCurves], path: Path, *, axis: Axis = "steps", raw: bool = False) -> None:
    """Write the picture, in the same bytes each time.

    Raises as ``check_drawable`` does, and ``StoreError`` where the file cannot be written.
    """
    check_drawable(path)
    pictures.write_picture(path, partial(_figure, tables, axis, raw=raw), style=_STYLE, dpi=DPI)


def _figure(tables: Sequence[TableCurves], axis: Axis, *, raw: bool) -> Figure:
    from matplotlib.figure import Figure

    longest = max((len(row.label) for curves in tables for row in highlights(curves).values()), default=0)
    names = _LETTER * (longest + 8)
    wide = 2 if any(curves.correctors for curves in tables) else 1
    width = _LEFT + _WIDTH * wide + (names + _LEFT) * (wide - 1)
    height = _HEIGHT * len(tables) + _BETWEEN * len(tables) + _BELOW
    figure = Figure(figsize=(width, height))
    panels = figure.subplots(len(tables), wide, squeeze=False)
    figure.subplots_adjust(
        left=_LEFT / width,
        right=1,
        top=1 - _BELOW / height,
        bottom=_BETWEEN / height,
        wspace=(names + _LEFT) / _WIDTH,
        hspace=_BETWEEN / _HEIGHT,
    )
    for curves, (left, *right) in zip(tables, panels, strict=True):
        _draw_accuracy(left, curves, axis, raw=raw)
        for panel in right:
            _draw_correctors(panel, curves)
    what = "of each checkpoint" if raw else "of the best checkpoint so far"
    caption = (
        f"Validation accuracy {what}, mean over seeds; grey: the other rows; bands: ± sample std. {NO_TEST}\n"
        + "Corrections: share of the wrong samples of all seeds; a step of a gradient attack takes two passes."
        * (wide - 1)
    )
    shown = [row for curves in tables for row in highlights(curves).values()]
    caption = "\n".join([caption.rstrip(), *mark_notes(shown)])
    figure.text(0, 0.4 / height, caption, va="top", fontsize=7)
    return figure


def _draw_accuracy(panel: Axes, curves: TableCurves, axis: Axis, *, raw: bool) -> None:
    lines = accuracy_lines(curves, axis, raw=raw)
    low, high = limits(lines)
    most = max((line.points[-1][0] for line in lines), default=1) or 1
    for line in lines:
        named = line.role is not None
        color = _COLORS.get(line.role or "", _GREY)
        x, y = [place for place, _ in line.points], [value for _, value in line.points]
        style = _DASHES.get(line.role or "", "-")
        panel.plot(x, y, color=color, linestyle=style, linewidth=1.5 if named else 0.6, zorder=3 if named else 1)
        if named and line.spread:
            below, above = zip(*line.spread, strict=True)
            panel.fill_between(x, below, above, color=color, alpha=0.1, linewidth=0, zorder=2)
        if named and x[-1] < most:  # to the row's name
            panel.plot([x[-1], most], [y[-1], y[-1]], color=color, linestyle=":", linewidth=0.7, zorder=2)
    panel.set_ylim(low, high)
    panel.set_xlim(0, most)
    panel.set_xlabel(AXIS_WORDS[axis])
    panel.set_ylabel("validation accuracy, %")
    outside = ends_below(lines, low)
    note = f"\n{outside} more end below {low:.1f}%" if outside else ""
    panel.set_title(curves.title + note, fontsize=8, loc="left")
    _label(panel, [line for line in lines if line.role], [_COLORS[str(line.role)] for line in lines if line.role])


def _draw_correctors(panel: Axes, curves: TableCurves) -> None:
    if not curves.correctors:
        panel.set_axis_off()
        return
    lines = corrector_lines(curves)
    named = lines[: len(_CYCLE)]
    for index, line in enumerate(lines):
        x, y = [place for place, _ in line.points], [value for _, value in line.points]
        color = _CYCLE[index] if index < len(named) else _GREY
        panel.plot(x, y, drawstyle="steps-post", color=color, linewidth=1.2 if index < len(named) else 0.6)
    panel.set_xscale("log")
    panel.set_xlim(1, max(2.0, lines[0].points[-1][0]))
    panel.xaxis.set_major_formatter("{x:g}")
    panel.set_ylim(0, 103)
    panel.set_xlabel("passes, forward and backward, per attacked image")
    panel.set_ylabel("corrected, %")
    panel.set_title("Corrections", fontsize=8, loc="left")
    _label(panel, named, _CYCLE)


def _label(panel: Axes, lines: Sequence[Line], colors: Sequence[str]) -> None:
    """Name lines at the panel's right edge, each as near to its end as the others let it."""
    low, high = panel.get_ylim()
    ends = [(line.points[-1][1] - low) / (high - low) for line in lines]
    for line, color, end, place in zip(lines, colors, ends, spaced(ends, _LABEL_GAP), strict=False):
        panel.annotate(
            f"{line.label}  {line.points[-1][1]:.1f}",
            xy=(1.0, end),
            xytext=(1.06, place),
            xycoords="axes fraction",
            textcoords="axes fraction",
            va="center",
            color=color,
            fontsize=7.5,
            arrowprops={
                "arrowstyle": "-",
                "relpos": (0, 0.5),
                "color": color,
                "linewidth": 0.5,
                "shrinkA": 0,
                "shrinkB": 0,
            },
        )
