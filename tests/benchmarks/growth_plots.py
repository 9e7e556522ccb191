"""Draw how cost grows, and put the pictures and a table into docs/performance.md, from the JSON that `make bench` saves.

``python growth_plots.py results/timing.json [docs/performance.md]``; the pictures lie beside the page.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from math import ceil
from pathlib import Path

import matplotlib as mpl
import numpy as np
from marked_page import filled, page_for
from matplotlib.figure import Figure

FORMAT, MATRIX = "adcorda-harness/growth/1", "adcorda-harness/matrix/1"
PART = "growth"
BLUE, ORANGE, GRAY = "#0072b2", "#d55e00", "#777777"
WIDTH, HEIGHT = 7.3, 2.9  # inches, at 96 dots each


OVERHEAD = (
    "- Overhead: the whole command's wall time, its start included, over the sum of the distinct stages' own seconds divided by "
    "the workers, less 1. Second run: the same command once more, with nothing left to do."
)
STRAIGHT = (
    "- Last stretch: what one more costs between the two largest sizes, over what it costs on the way from the smallest to the "
    "largest; 1 is a straight line."
)
OWN_MEMORY = "- Own memory is `RssAnon`, sampled every 5 ms, torch and the libraries included."


@dataclass(frozen=True)
class Axis:
    """What grows: its title, its unit, and of how many units slopes are given."""

    title: str
    unit: str
    per: int


AXES = {
    "cells": Axis("a plan whose stages compute nothing", "cells", 100),
    "wrong": Axis("VBI, 5 steps, on an untrained ResNet-20 and noise", "wrong images", 1000),
    "images": Axis("the whole loop of a tiny net at 32x32, a tenth of the labels wrong", "training images", 10_000),
}


@dataclass(frozen=True)
class Line:
    """A straight line through points, by least squares: ``r2`` is the share of their variance that it explains."""

    slope: float
    start: float
    r2: float

    @classmethod
    def through(cls, across, up):
        """Fit the line. Raises ``ValueError`` for fewer than three points."""
        if len(across) < 3:
            raise ValueError(f"got {len(across)} points, expected three or more: a line goes through any two")
        slope, start = np.polyfit(across, up, 1)
        left = np.asarray(up) - (slope * np.asarray(across) + start)
        spread = float(np.var(up))
        return cls(float(slope), float(start), 1 - float(np.mean(left**2)) / spread if spread else 1.0)


def main(arguments):
    """Draw what is in a saved file beside a page and fill the page's section."""
    saved = json.loads(Path(arguments[0]).read_text(encoding="utf-8"))
    page = page_for(saved, *arguments[1:])
    text = filled(page.read_text(encoding="utf-8"), section(saved), part=PART)
    for axis, points in points_of(saved).items():
        draw(axis, points, page.parent / picture(axis))
    page.write_text(text, encoding="utf-8")


def picture(axis):
    """Return the name of an axis's picture."""
    return f"growth-{axis}.svg"


def points_of(saved):
    """Return the points of each axis, the smallest first. Raises ``ValueError`` where the file lacks an axis."""
    told = [one["extra_info"] for one in saved["benchmarks"] if one["extra_info"].get("format") == FORMAT]
    found = {axis: sorted((one for one in told if one["axis"] == axis), key=lambda one: one["size"]) for axis in AXES}
    if absent := [axis for axis, points in found.items() if not points]:
        raise ValueError(f'no points of {", ".join(absent)} in the file: run "make bench"')
    return found


def fitted(points, name):
    """Return the line of a figure against the sizes."""
    return Line.through([point["size"] for point in points], [point[name] for point in points])


# -- pictures --------------------------------------------------------------------------------------------------------------


def draw(axis, points, path):
    """Draw time and memory side by side."""
    about = AXES[axis]
    with mpl.rc_context({"font.size": 9, "svg.fonttype": "none", "svg.hashsalt": "growth"}):
        figure = Figure((WIDTH, HEIGHT), layout="constrained")
        figure.suptitle(f"{about.unit.capitalize()}: {about.title}", fontsize=10)
        left, right = figure.subplots(1, 2)
        panel(left, points, about, name="seconds", words="seconds", color=BLUE)
        panel(right, points, about, name="own_mb", words="own memory, peak, MB", color=ORANGE)
        if all("data_mb" in point for point in points):
            smallest = points[0]
            allowed = [smallest["own_mb"] + 2 * (point["data_mb"] - smallest["data_mb"]) for point in points]
            right.plot(
                [point["size"] for point in points], allowed, ":", color=GRAY, label="twice the images' bytes more"
            )
            right.legend(frameon=False, fontsize=8, loc="lower right")
        figure.savefig(path, metadata={"Date": None})


def panel(axes, points, about, *, name, words, color):
    """Draw the points of one figure and the line through them."""
    line, sizes = fitted(points, name), [point["size"] for point in points]
    axes.plot(sizes, [point[name] for point in points], "o", color=color, markersize=5)
    ends = [0, sizes[-1]]
    unit = "s" if name == "seconds" else "MB"
    label = f"{line.slope * about.per:.3g} {unit} per {about.per:,} {about.unit}"
    axes.plot(ends, [line.start + line.slope * end for end in ends], "-", color=color, linewidth=1, label=label)
    axes.set(xlabel=about.unit, ylabel=words)
    axes.set_xlim(0, 1.03 * sizes[-1])
    axes.set_ylim(0, 1.25 * max(point[name] for point in points))
    axes.xaxis.set_major_locator(mpl.ticker.MaxNLocator(5))
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=8, loc="upper left")


# -- the page --------------------------------------------------------------------------------------------------------------


def section(saved):
    """Return the matrices, the slopes, the pictures and the points."""
    found = points_of(saved)
    pictures = [f"![Time and memory against {AXES[axis].unit}]({picture(axis)})\n" for axis in found]
    parts = [*matrix_lines(saved), *slope_lines(found), "", *notes(saved), "", *pictures, *point_lines(found)]
    return "\n".join(parts).strip()


def matrix_lines(saved):
    """Return the table of what a matrix takes beside its stages' own seconds, nothing where it was not measured."""
    told = [one["extra_info"] for one in saved["benchmarks"] if one["extra_info"].get("format") == MATRIX]
    lines = [
        f"| {one['cells']} | {one['stages']} | {one['workers']} | {one['wall_seconds']:.1f} | {one['stage_seconds']:.1f} | "
        f"{ceil(1000 * one['overhead']) / 10:.1f} % | {ceil(100 * one['second_run_seconds']) / 100:.2f} |"
        for one in told
    ]
    head = "| cells | stages | workers | wall, s | stages' own seconds, sum | overhead | second run, s |"
    return [head, "| ---: | ---: | ---: | ---: | ---: | ---: | ---: |", *lines, ""] if lines else []


def slope_lines(found):
    """Return the table of the lines' slopes."""
    lines = []
    for axis, points in found.items():
        about, time, memory = AXES[axis], fitted(points, "seconds"), fitted(points, "own_mb")
        lines.append(
            f"| {points[0]['size']:,} to {points[-1]['size']:,} {about.unit} | {about.title} | "
            f"{time.slope * about.per:.3g} s per {about.per:,} | {time.r2:.4f} | {last_over_mean(points):.2f} | "
            f"{memory.slope * about.per:.2g} MB per {about.per:,} | {memory.r2:.4f} |"
        )
    return [
        "| what grows | of what | time | R² | last stretch | own memory | R² |",
        "| --- | --- | ---: | ---: | ---: | ---: | ---: |",
        *lines,
    ]


def last_over_mean(points):
    """Return the cost of a unit between the two largest points over that between the smallest and the largest."""
    first, before, last = points[0], points[-2], points[-1]
    return _cost(before, last) / _cost(first, last)


def _cost(one, other):
    return (other["seconds"] - one["seconds"]) / (other["size"] - one["size"])


def notes(saved):
    """Return the sentences that say what the figures are, and how to repeat them."""
    cpu, images = saved["machine_info"]["cpu"], points_of(saved)["images"]
    smallest, largest = images[0], images[-1]
    grown = largest["own_mb"] - smallest["own_mb"]
    memory = (
        f"{largest['size']:,} images, which are {largest['data_mb']:g} MB, take {largest['own_mb']:.0f} MB: {grown:.0f} MB, or "
        f"{grown / largest['data_mb']:.2f} times their bytes, more than the same run with {smallest['size']:,}. The model's own "
        "is in both. The images lie in mapped files, whose pages are not in it: with all of them it is "
        f"{1 + grown / largest['data_mb']:.2f} times."
    )
    return (
        OVERHEAD,
        STRAIGHT,
        f"{OWN_MEMORY} {memory}",
        f"- {machine(cpu, saved['datetime'])}. To repeat it: `make bench`.",
    )


def machine(cpu, when):
    """Say what the figures were measured on."""
    return ", ".join([cpu.get("brand_raw", "unknown CPU"), "one thread a process", str(when)[:10]])


def point_lines(found):
    """Return the table of all points."""
    lines = [
        f"| {point['size']:,} {AXES[axis].unit} | {point['seconds']:.3g} | {point['own_mb']:.0f} |"
        for axis, points in found.items()
        for point in points
    ]
    return ["| size | seconds | own memory, peak, MB |", "| ---: | ---: | ---: |", *lines]


if __name__ == "__main__":
    main(sys.argv[1:])
