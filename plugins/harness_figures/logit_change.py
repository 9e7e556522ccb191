"""How correcting changes two logits: that of the class first predicted, and that of the true class (AdCorDA, figure 2)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import Field

from harness.api import Drawing, Figure, Library, Options

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import numpy as np
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas
    from torch import nn

    from harness.api import Perturbed

BATCH_SIZE = 64
INCORRECT, TRUE = "incorrect class (max logit)", "true class"
COLOURS = {INCORRECT: "#D55E00", TRUE: "#0072B2"}
HATCHES = {INCORRECT: "//////", TRUE: ""}
"""Beside the colours, so that a print without them can be read."""


class LogitChangeOptions(Options):
    """The options of the histograms."""

    bins: int = Field(
        default=40, ge=5, le=400, description="Bins of each histogram, over the range that all panels share."
    )


@dataclass(frozen=True)
class Panel:
    """The changes (n,) of both logits, after minus before, of a corrector's corrected samples, or of its uncorrected ones."""

    corrector: str
    corrected: bool
    incorrect: np.ndarray
    true: np.ndarray

    @property
    def changes(self) -> dict[str, np.ndarray]:
        """Both by the names that the legend has."""
        return {INCORRECT: self.incorrect, TRUE: self.true}

    @property
    def state(self) -> str:
        """What its samples are."""
        return "corrected" if self.corrected else "uncorrected"

    def __len__(self) -> int:
        return len(self.true)


class LogitChange(Figure[LogitChangeOptions]):
    """Histograms of the change of two logits over the samples labelled wrong: of the class first predicted, of the true class.

    A row for each corrector, uncorrected samples on the left, corrected ones on the right, the means as dashed lines.
    """

    library = Library(distribution="matplotlib", install="pip install 'adcorda-harness[figures]'")

    def draw(self, network: nn.Module, samples: Mapping[str, Perturbed], classes: Sequence[str]) -> Drawing:  # noqa: ARG002 (the contract's)
        """Return the histograms; ``numbers`` are each panel's n, means and stds, ``table`` is the bins' counts."""
        import numpy as np

        panels = [panel for name, made in samples.items() for panel in _panels(name, made, network)]
        edges = _edges(panels, self.options.bins)
        counts = {
            (panel.corrector, panel.corrected, which): np.histogram(changes, edges)[0]
            for panel in panels
            for which, changes in panel.changes.items()
        }
        return Drawing(
            figure=_picture(panels, edges),
            caption=(
                "Change (after minus before) of the logits of the incorrect class, whose logit was the largest, and of the true "
                "class, over the training samples labelled wrong, uncorrected and corrected apart, for "
                f"{', '.join(samples)}. Dashed lines: means."
            ),
            numbers=_numbers(panels),
            table=[
                {
                    "corrector": corrector,
                    "samples": "corrected" if corrected else "uncorrected",
                    "logit": which,
                    "from": float(low),
                    "to": float(high),
                    "count": int(count),
                }
                for (corrector, corrected, which), found in counts.items()
                for low, high, count in zip(edges[:-1], edges[1:], found, strict=True)
            ],
            flags=tuple(
                f"{panel.corrector} corrects nothing" for panel in panels if panel.corrected and not len(panel)
            ),
        )


def _panels(name: str, made: Perturbed, network: nn.Module) -> Iterator[Panel]:
    """Yield the uncorrected samples' panel, then the corrected ones'."""
    import torch

    changes = torch.zeros(2, 0)
    with torch.inference_mode():
        found = [
            network(images).float().cpu() - network(originals).float().cpu()
            for originals, images in made.batches(BATCH_SIZE)
        ]
    if found:
        change = torch.cat(found)
        changes = torch.stack([change.gather(1, label[:, None])[:, 0] for label in (made.before, made.labels)])
    for corrected in (False, True):
        incorrect, true = changes[:, made.corrected == corrected].double().numpy()
        yield Panel(name, corrected, incorrect, true)


def _edges(panels: Sequence[Panel], bins: int) -> np.ndarray:
    """Return the edges (bins + 1,) that span every change, and zero."""
    import numpy as np

    changes = np.concatenate([np.zeros(1), *(part for panel in panels for part in panel.changes.values())])
    low, high = float(changes.min()), float(changes.max())
    if low == high:
        low, high = low - 0.5, high + 0.5
    return np.linspace(low, high, bins + 1)


def _numbers(panels: Sequence[Panel]) -> dict[str, float]:
    """Return n, means and sample stds by ``corrector, samples, logit``; means of no sample, and stds of one, are left out."""
    numbers: dict[str, float] = {}
    for panel in panels:
        where = f"{panel.corrector}, {panel.state}"
        numbers[f"{where}: n"] = len(panel)
        for which, changes in panel.changes.items():
            if len(changes):
                numbers[f"{where}, {which}: mean"] = float(changes.mean())
            if len(changes) > 1:
                numbers[f"{where}, {which}: std"] = float(changes.std(ddof=1))
    return numbers


def _picture(panels: Sequence[Panel], edges: np.ndarray) -> Canvas:
    from matplotlib.figure import Figure as Canvas
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    rows = len(panels) // 2
    figure = Canvas(figsize=(6.9, 0.75 + 1.75 * rows), layout="constrained")
    axes = figure.subplots(max(rows, 1), 2, sharex=True, squeeze=False)
    for place, (panel, ax) in enumerate(zip(panels, axes.flat, strict=True)):
        letter = chr(ord("a") + place) if place < 26 else str(place + 1)
        _panel(ax, panel, edges, f"({letter}) {panel.corrector}: {panel.state}, n = {len(panel)}")
    for ax in axes[-1]:
        ax.set_xlabel("change of the logit")
    for ax in axes[:, 0]:
        ax.set_ylabel("samples")
    figure.align_ylabels(list(axes[:, 0]))
    patches = [
        Patch(facecolor=f"{colour}55", edgecolor=colour, hatch=HATCHES[which], label=which)
        for which, colour in COLOURS.items()
    ]
    mean = Line2D([], [], color="black", linestyle="--", label="mean")
    figure.legend(handles=[*patches, mean], loc="outside upper center", ncols=3)
    return figure


def _panel(ax: Axes, panel: Panel, edges: np.ndarray, title: str) -> None:
    from matplotlib.ticker import MaxNLocator

    ax.set_title(title, loc="left")
    ax.set_xlim(float(edges[0]), float(edges[-1]))
    if not len(panel):
        ax.text(0.5, 0.5, "none", transform=ax.transAxes, ha="center", va="center", color="0.4")
        ax.set_yticks([])
        return
    ax.axvline(0, color="0.6", linewidth=0.6)
    for which, changes in panel.changes.items():
        colour = COLOURS[which]
        filled: dict[str, Any] = {"facecolor": f"{colour}55", "edgecolor": colour, "hatch": HATCHES[which]}
        ax.hist(changes, edges.tolist(), histtype="stepfilled", linewidth=0.8, **filled)
        ax.axvline(float(changes.mean()), color=colour, linestyle="--")
    means = {which: f"{changes.mean():+.2f}".replace("-", "−") for which, changes in panel.changes.items()}
    side, place = ("left", 0.01) if _is_emptier_on_the_left(panel, edges) else ("right", 0.99)
    for line, (which, mean) in enumerate(means.items()):
        at: dict[str, Any] = {"transform": ax.transAxes, "ha": side, "va": "top", "fontsize": 7}
        ax.text(place, 0.98 - 0.11 * line, f"mean {mean}", color=COLOURS[which], **at)
    ax.yaxis.set_major_locator(MaxNLocator(nbins="auto", integer=True))


def _is_emptier_on_the_left(panel: Panel, edges: np.ndarray) -> bool:
    """Whether a note hides fewer samples in the left quarter of a panel than in the right."""
    low, high = float(edges[0]), float(edges[-1])
    quarter = (high - low) / 4
    left = sum(int((changes < low + quarter).sum()) for changes in panel.changes.values())
    right = sum(int((changes > high - quarter).sum()) for changes in panel.changes.values())
    return left < right
