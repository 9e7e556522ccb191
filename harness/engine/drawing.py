"""Let a figure draw, on copies and under the harness's style; check what it returns; write it as bytes that are always the same."""

from __future__ import annotations

import copy
import math
import warnings
from contextlib import contextmanager
from dataclasses import dataclass, replace
from io import BytesIO
from typing import TYPE_CHECKING, Any, NoReturn

import torch

from harness.drawing import Drawing
from harness.engine.images import even_batches
from harness.engine.networks import frozen_copy
from harness.engine.randomness import isolated_generators
from harness.errors import ContractError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from torch import Tensor

    from harness.contract import Options
    from harness.drawing import Figure, Perturbed, TableValue
    from harness.engine.images import ImageSet
    from harness.engine.networks import PixelClassifier

BLUE, VERMILION = "#0072B2", "#D55E00"
PALETTE = (BLUE, VERMILION, "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""Colours that people who confuse red and green tell apart (Okabe and Ito, 2008)."""
FULL_PRECISION_NOTE = (
    "Seen through the full-precision network; which samples are wrong or corrected is the quantized classifier's word."
)
_STYLE: dict[str, Any] = {
    "axes.axisbelow": True,
    "axes.labelsize": 8,
    "axes.linewidth": 0.6,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlesize": 8,
    "figure.constrained_layout.use": True,
    "figure.titlesize": 9,
    "font.size": 8,
    "legend.fontsize": 7.5,
    "legend.frameon": False,
    "lines.linewidth": 1.2,
    "svg.hashsalt": "adcorda-harness",
    "text.parse_math": False,  # a class may be called "$"
    "xtick.labelsize": 7,
    "xtick.major.width": 0.6,
    "ytick.labelsize": 7,
    "ytick.major.width": 0.6,
}


@dataclass(frozen=True)
class PerturbedSamples:
    """What a corrector made of ``T_w``: stored perturbed images (N, C, S, S), beside rows of the training images."""

    train: ImageSet
    rows: Tensor
    stored: Tensor
    before: Tensor
    after: Tensor
    corrected: Tensor

    @property
    def labels(self) -> Tensor:
        """The true labels (N,)."""
        return self.train.all_labels[self.rows]

    def __len__(self) -> int:
        return len(self.rows)

    def images(self, places: Tensor) -> tuple[Tensor, Tensor]:
        """Return originals and perturbed images (n, C, S, S) of the places (n,), copies on the device."""
        originals, _ = self.train.gather(self.rows[places])
        return originals, self.stored[places].to(originals.device, torch.float32)

    def batches(self, batch_size: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield originals and perturbed images (n, C, S, S) in order."""
        for places in even_batches(torch.arange(len(self)), batch_size):
            yield self.images(places)


@dataclass(frozen=True)
class Drawn:
    """A checked drawing, and its picture's bytes."""

    drawing: Drawing
    png: bytes
    svg: bytes


def draw(
    figure: Figure[Options],
    network: PixelClassifier,
    samples: Mapping[str, Perturbed],
    classes: Sequence[str],
    *,
    name: str,
    seed: int,
    dpi: int,
    judge: PixelClassifier | None = None,
) -> Drawn:
    """Draw on a copy of the network, or of its quantized twin ``judge``, and write the picture at ``dpi`` dots an inch.

    Raises ``ContractError`` where what the plugin returns is no drawing.
    """
    # The twin is copied as it is: exported programs refuse to be put in eval mode again.
    shown = frozen_copy(network) if judge is None or figure.gradients else copy.deepcopy(judge)
    with isolated_generators(seed), _house_style(), _missing_letters() as unknown:
        made = figure.draw(shown, samples, classes)
        drawing = _checked(made, name)
        png, svg = (_bytes(drawing, kind, dpi) for kind in ("png", "svg"))
    flags = list(drawing.flags)
    if judge is not None and figure.gradients:
        flags.append(FULL_PRECISION_NOTE)
    if unknown:
        flags.append("some letters of the names are not in the font, and are drawn as boxes")
    return Drawn(replace(drawing, flags=tuple(flags)), png, svg)


def _bytes(drawing: Drawing, kind: str, dpi: int) -> bytes:
    buffer = BytesIO()
    nothing: dict[str, Any] = {"Software": None} if kind == "png" else {"Date": None, "Creator": None}
    drawing.figure.savefig(buffer, format=kind, dpi=dpi, metadata=nothing)
    return buffer.getvalue()


@contextmanager
def _house_style() -> Iterator[None]:
    """Draw in the same style whatever the machine's matplotlibrc says; its settings are put back."""
    import matplotlib as mpl
    from cycler import cycler

    with mpl.rc_context():
        mpl.rcdefaults()
        settings: Any = mpl.rcParams
        settings.update({**_STYLE, "axes.prop_cycle": cycler(color=PALETTE)})
        yield


@contextmanager
def _missing_letters() -> Iterator[list[str]]:
    """Collect the warnings of letters that the font lacks; others are given again."""
    missing: list[str] = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield missing
    for warning in caught:
        if str(warning.message).startswith("Glyph "):
            missing.append(str(warning.message))
        else:
            warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)


def _checked(made: object, name: str) -> Drawing:
    """Return what the plugin drew. Raises ``ContractError`` where it is no drawing that can be written and told of."""
    from matplotlib.figure import Figure as Canvas

    if not isinstance(made, Drawing):
        _fail(name, f"returned a {type(made).__name__}", "expected a harness.api.Drawing")
    if not isinstance(made.figure, Canvas):
        _fail(name, f"drew on a {type(made.figure).__name__}", "expected a matplotlib.figure.Figure")
    if not _is_text(made.caption):
        _fail(name, f"has the caption {made.caption!r}", "expected a sentence")
    if not isinstance(made.flags, tuple | list) or not all(map(_is_text, made.flags)):
        _fail(name, f"has the flags {made.flags!r}", "expected sentences in a tuple")
    for key, value in made.numbers.items():
        if not isinstance(key, str) or not _is_number(value):
            _fail(name, f"has the number {key}: {value!r}", "expected a name and a finite number")
    _check_table(made.table, name)
    return made


def _check_table(table: Sequence[Mapping[str, TableValue]], name: str) -> None:
    columns = list(table[0]) if table else []
    for row in table:
        if list(row) != columns:
            what = f"has a row with the columns {', '.join(row)}"
            _fail(name, what, f"expected those of the first, {', '.join(columns)}")
        for key, value in row.items():
            if value is not None and not isinstance(value, str) and not _is_number(value):
                _fail(name, f"has {key}: {value!r} in its table", "expected text, a finite number or None")


def _fail(name: str, what: str, expected: str) -> NoReturn:
    raise ContractError(f'figure "{name}" {what}; {expected}')


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
