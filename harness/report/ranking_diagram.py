"""A ranking as a critical-difference diagram (Demšar, JMLR 7, 2006), drawn by scikit-posthocs as PNG or SVG."""

from __future__ import annotations

from importlib.util import find_spec
from io import BytesIO
from typing import TYPE_CHECKING, Any

from harness.compare import LEVEL
from harness.errors import PluginError, UsageError
from harness.report.ranking import POST_HOC_WORDS
from harness.store import atomic_write

if TYPE_CHECKING:
    from pathlib import Path

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from harness.ranking import PostHoc, Ranking

INSTALL = "pip install 'adcorda-harness[ranks]'"
DPI = 200
_INCHES_WIDE = 6.5
_INCHES_A_LINE = 0.24
_MARGIN = 0.01  # between a label and the nearest line, of the scale's length
_RULER = 2.2  # lines above the scale
_STYLE: dict[str, Any] = {
    "font.size": 8,
    "axes.linewidth": 0.8,
    "lines.linewidth": 0.8,
    "svg.hashsalt": "adcorda-harness",
    "text.parse_math": False,  # a row may be called "$"
}


def check_drawable(path: Path) -> None:
    """Refuse a file that is neither PNG nor SVG (``UsageError``), and drawing without its libraries (``PluginError``)."""
    if path.suffix.lower() not in {".png", ".svg"}:
        raise UsageError(f'--diagram: got "{path}", expected a file name that ends in .png or .svg')
    missing = [name for name in ("scikit_posthocs", "matplotlib") if find_spec(name) is None]
    if missing:
        names = " and ".join(name.replace("_", "-") for name in missing)
        are = "are" if len(missing) > 1 else "is"
        raise PluginError(f'--diagram needs {names}, which {are} not installed; run "{INSTALL}"')


def draw(ranking: Ranking, path: Path, *, post_hoc: PostHoc = "nemenyi") -> None:
    """Write the diagram: mean ranks on a line, 1 at the left, and bars that join rows not shown to differ.

    A dot on a bar marks a row that belongs to it. Black alone, in the same bytes each time. Raises as ``check_drawable`` does,
    and ``StoreError`` where the file cannot be written.
    """
    check_drawable(path)
    import matplotlib as mpl

    with mpl.rc_context():
        mpl.rcdefaults()  # the picture does not depend on the machine's matplotlibrc
        settings: Any = mpl.rcParams
        settings.update(_STYLE)
        figure = _figure(ranking, post_hoc)
        kind = path.suffix.lower()[1:]
        nothing: dict[str, Any] = {"Software": None} if kind == "png" else {"Date": None, "Creator": None}
        picture = BytesIO()
        figure.savefig(picture, format=kind, dpi=DPI, bbox_inches="tight", metadata=nothing)
    atomic_write(path, picture.getvalue())


def _figure(ranking: Ranking, post_hoc: PostHoc) -> Figure:
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator
    from pandas import DataFrame
    from scikit_posthocs import critical_difference_diagram

    names = list(ranking.mean_ranks)
    figure = Figure()
    axes = figure.add_subplot()
    p_values = ranking.p_values[post_hoc] if ranking.differ else {}
    matrix = [[p_values.get(frozenset({one, other}), 1.0) for other in names] for one in names]
    critical_difference_diagram(
        dict(ranking.mean_ranks),
        DataFrame(matrix, index=names, columns=names),
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
    return f"Mean rank over {len(ranking.blocks)} pairs of data set and model, 1 is best; {found}"
