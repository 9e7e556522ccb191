"""The pictures of a Grad-CAM figure: a row for each sample, from its original to the difference of its maps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure as Canvas

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes

HEADS = ("original", "perturbed", "perturbation", "Grad-CAM before", "Grad-CAM after", "difference")
LONGEST_NAME = 18
HEAT, DIFFERENCE = "inferno", "RdBu_r"
OPACITY = 0.8  # of the strongest evidence; where there is none, the image is seen as it is


@dataclass(frozen=True, kw_only=True)
class Shown:
    """One sample: both images (C, H, W) in [0, 1], both maps (H, W) in [0, 1], and the share of the map that moved."""

    corrector: str
    row: int
    true: int
    before: int
    after: int
    original: np.ndarray
    perturbed: np.ndarray
    map_before: np.ndarray
    map_after: np.ndarray
    moved: float

    @property
    def change(self) -> np.ndarray:
        """The perturbation (C, H, W)."""
        return np.asarray(self.perturbed - self.original)

    @property
    def largest_change(self) -> float:
        """The largest change of a pixel."""
        return float(np.abs(self.change).max())

    @property
    def magnification(self) -> float:
        """By how much the perturbation is magnified: to half of the range, in two digits."""
        largest = self.largest_change
        return float(f"{0.5 / largest:.2g}") if largest > 0 else 1.0

    def table_row(self, classes: Sequence[str]) -> dict[str, str | int | float | None]:
        """Return what the table of numbers has of it."""
        return {
            "corrector": self.corrector,
            "row": self.row,
            "true": classes[self.true],
            "labelled before": classes[self.before],
            "labelled after": classes[self.after],
            "share moved": self.moved,
            "largest change of a pixel": self.largest_change,
            "magnified by": self.magnification,
        }


def in_order(shown: Sequence[Sequence[Shown]]) -> list[Shown]:
    """Put what each corrector made of one sample side by side where all show the same samples; otherwise corrector by corrector."""
    lists = [part for part in shown if part]
    if len({tuple(one.row for one in part) for part in lists}) == 1:
        return [one for sample in zip(*lists, strict=True) for one in sample]
    return [one for part in lists for one in part]


def picture(shown: Sequence[Shown], classes: Sequence[str]) -> Canvas:
    """Draw the samples, one a row."""
    if not shown:
        empty = Canvas(figsize=(4, 1))
        empty.text(0.5, 0.5, "nothing is corrected", ha="center", va="center", color="0.4")
        return empty
    figure = Canvas(figsize=(7.2, 0.9 + 1.42 * len(shown)), layout="constrained")
    # A row of its own for the colour bars: taken from their columns, they would shift these against the others.
    grid = figure.add_gridspec(len(shown) + 1, len(HEADS), height_ratios=[1.0] * len(shown) + [0.07])
    for row, one in enumerate(shown):
        axes = [figure.add_subplot(grid[row, column]) for column in range(len(HEADS))]
        _line(axes, one, classes)
        for ax, head in zip(axes, HEADS if row == 0 else (), strict=False):
            ax.set_title(head)
    bars = (
        (slice(3, 5), HEAT, Normalize(0, 1), "evidence for the class"),
        (5, DIFFERENCE, Normalize(-1, 1), "after − before"),
    )
    for columns, colours, norm, label in bars:
        mappable = ScalarMappable(norm, colours)
        bar = figure.colorbar(mappable, cax=figure.add_subplot(grid[-1, columns]), orientation="horizontal")
        bar.set_label(label, fontsize=7)
    return figure


def _line(axes: Sequence[Axes], one: Shown, classes: Sequence[str]) -> None:
    true, before, after = (_short(classes[label]) for label in (one.true, one.before, one.after))
    magnified = 0.5 + one.magnification * one.change
    _image(axes[0], one.original, f"true: {true}\nlabelled: {before}")
    _image(axes[1], one.perturbed, f"labelled: {after}")
    _image(axes[2], magnified, f"×{one.magnification:g}")
    for ax, image, heat, label in (
        (axes[3], one.original, one.map_before, before),
        (axes[4], one.perturbed, one.map_after, true),
    ):
        _image(ax, image.mean(0, keepdims=True), f"for {label}" if heat.any() else f"for {label}:\nno evidence")
        ax.imshow(heat, cmap=HEAT, vmin=0, vmax=1, alpha=OPACITY * np.sqrt(heat), interpolation="none")
    axes[5].imshow(one.map_after - one.map_before, cmap=DIFFERENCE, vmin=-1, vmax=1, interpolation="none")
    _bare(axes[5], f"{100 * one.moved:.0f}% moved")
    axes[0].set_ylabel(f"{one.corrector}\nrow {one.row}")


def _image(ax: Axes, image: np.ndarray, text: str) -> None:
    """Show an image (C, H, W) in [0, 1], gray where it has one channel, or other than three."""
    pixels = image.transpose(1, 2, 0).clip(0, 1)
    if len(image) == 3:
        ax.imshow(pixels, interpolation="none")
    else:
        ax.imshow(pixels.mean(2), cmap="gray", vmin=0, vmax=1, interpolation="none")
    _bare(ax, text)


def _bare(ax: Axes, text: str) -> None:
    ax.set_xticks([])
    ax.set_yticks([])
    ax.set_xlabel(text, fontsize=7)
    for spine in ax.spines.values():
        spine.set_visible(False)


def _short(name: str) -> str:
    return name if len(name) <= LONGEST_NAME else f"{name[: LONGEST_NAME - 1]}…"
