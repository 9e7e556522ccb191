"""A ranking as a critical-difference diagram (Demšar, JMLR 7, 2006), drawn by scikit-posthocs as PNG or SVG."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from harness.compare import LEVEL
from harness.marks import mark_notes
from harness.report import pictures
from harness.report.ranking import POST_HOC_WORDS, shown_labels, uses_shown

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from harness.marks import Uses
    from harness.ranking import PostHoc, Ranking

INSTALL = "pip install 'adcorda-harness[ranks]'"
DPI = 200
_INCHES_WIDE = 6.5
_INCHES_A_LINE = 0.24
_MARGIN = 0.01  # between a label and the nearest line, of the scale's length
_RULER = 2.2  # lines above the scale
_STYLE: dict[str, Any] = {
    "axes.linewidth": 0.8,
    "lines.linewidth": 0.8,
}


def check_drawable(path: Path) -> None:
    """Refuse a file that is neither PNG nor SVG (``UsageError``), and drawing without its libraries (``PluginError``)."""
    pictures.check_drawable(path, option="--diagram", modules=("scikit_posthocs", "matplotlib"), install=INSTALL)


def draw(
    ranking: Ranking, path: Path, *, post_hoc: PostHoc = "nemenyi", uses: Mapping[str, Uses] | None = None
) -> None:
    """Write the diagram: mean ranks on a line, 1 at the left, and bars that join rows not shown to differ.

    A dot on a bar marks a row that belongs to it; rows are marked by what their adapters use. Black alone, in the same bytes each
    time. Raises as ``check_drawable`` does, and ``StoreError`` where the file cannot be written.
    """
    check_drawable(path)
    pictures.write_picture(path, partial(_figure, ranking, post_hoc, uses or {}), style=_STYLE, dpi=DPI)


def _figure(ranking: Ranking, post_hoc: PostHoc, uses: Mapping[str, Uses]) -> Figure:
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator
    from pandas import DataFrame
    from scikit_posthocs import critical_difference_diagram

    names = list(ranking.mean_ranks)
    figure = Figure()
    axes = figure.add_subplot()
    p_values = ranking.p_values[post_hoc] if ranking.differ else {}
    matrix = [[p_values.get(frozenset({one, other}), 1.0) for other in names] for one in names]
    labels = shown_labels(ranking, uses)
    critical_difference_diagram(
        {labels[name]: mean for name, mean in ranking.mean_ranks.items()},
        DataFrame(matrix, index=labels.values(), columns=labels.values()),
        alpha=LEVEL,
        ax=axes,
        label_fmt_left="{label}  {rank:.2f} ",
        label_fmt_right=" {rank:.2f}  {label}",
        marker_props={"color": "black", "s": 10},
        elbow_props={"color": "black"},
        crossbar_props={"marker": "o", "markersize": 3},
        text_h_margin=_MARGIN * len(names),
    )
    axes.set_xlim(1, len(names))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    if post_hoc == "nemenyi":
        _add_ruler(axes, ranking.critical_difference)
    low, high = axes.get_ylim()
    figure.set_size_inches(_INCHES_WIDE, _INCHES_A_LINE * (high - low))
    axes.set_title(_caption(ranking, post_hoc), fontsize=8)
    _add_notes(axes, mark_notes(uses_shown(ranking, uses)))
    return figure


def _add_ruler(axes: Axes, critical_difference: float) -> None:
    """Draw the critical difference above the scale, clear of its numbers, which the library's own would cover."""
    end = 1 + critical_difference
    axes.plot([1, end], [_RULER, _RULER], color="black", marker="|", clip_on=False)
    axes.text((1 + end) / 2, _RULER + 0.3, f"CD = {critical_difference:.2f}", ha="center", va="bottom")
    axes.set_ylim(axes.get_ylim()[0], _RULER + 1.5)


def _caption(ranking: Ranking, post_hoc: PostHoc) -> str:
    found = (
        f"bars join rows not shown to differ ({POST_HOC_WORDS[post_hoc]}, {LEVEL})"
        if ranking.differ
        else "one bar: Friedman's test does not show that any rows differ"
    )
    lines = [f"Mean rank over {_problems(ranking)}, 1 is best", found]
    return "\n".join(lines)


def _problems(ranking: Ranking) -> str:
    pairs = f"{len(ranking.blocks)} pairs of data set and model"
    if not ranking.shares_data_sets:
        return pairs
    return f"{pairs} ({ranking.data_sets} data set{'s' * (ranking.data_sets != 1)}: less than independent)"


def _add_notes(axes: Axes, notes: Sequence[str]) -> None:
    """Explain marks beneath the diagram."""
    axes.text(0.5, 0, "\n".join(notes), transform=axes.transAxes, ha="center", va="top", fontsize=7)
