"""What torchattacks would crash on, told before it starts: classes, images and options that it cannot take."""

from __future__ import annotations

from math import sqrt
from typing import TYPE_CHECKING, NoReturn

from harness.api import PluginError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from harness.api import Entry

_THREE_CHANNELS = frozenset({"PIFGSM", "PIFGSMPP", "TIFGSM"})
_SQUARE = frozenset({"difgsm", "pixle", "square-l2", "tifgsm"})
_FIFTHS, _SMALLEST_WINDOW = 5, 3
"""Square in L2 tiles an image with a fifth of its height, and its windows have an odd side of this many pixels at least."""


def refuse_impossible(
    entry: Entry, options: Mapping[str, Any], *, classes: int, shape: tuple[int, ...], targeted: bool
) -> None:
    """Raise ``PluginError`` for what the library would crash on, given images of ``shape`` (C, H, W)."""
    channels, height, width = shape
    least = _least_classes(entry.target, options, targeted=targeted)
    if classes < least:
        instead = 'loss "ce"' if "loss" in options else "torchattacks/apgd-linf"
        _refuse(entry, f"needs at least {least} classes", f"this classifier has {classes}", instead)
    if entry.target in _THREE_CHANNELS and channels != 3:
        _refuse(entry, "needs images of 3 channels", f"these have {channels}", "torchattacks/mifgsm")
    if entry.name in _SQUARE and height != width:
        _refuse(entry, "needs square images", f"these have {height} × {width} pixels", "torchattacks/mifgsm")
    if entry.target == "Pixle":
        _refuse_crossed_sides(entry, options)
    if entry.name == "square-l2":
        _refuse_windows(entry, options["p_init"], height)


def _refuse_crossed_sides(entry: Entry, options: Mapping[str, Any]) -> None:
    for side in ("width", "height"):
        smallest, largest = options[f"smallest_{side}"], options[f"largest_{side}"]
        if smallest > largest:
            raise PluginError(
                f'attack "torchattacks/{entry.name}" got smallest_{side} {smallest} and largest_{side} {largest}; expected the '
                "smallest to be no larger: lower the one or raise the other"
            )


def _refuse_windows(entry: Entry, covered: float, side: int) -> None:
    """Refuse images that the tiles of the start do not fit, and first windows that are larger than the image."""
    if not _tiled(side):
        _refuse(
            entry, "needs images that its tiles fit", f"these have {side} × {side} pixels", "torchattacks/square-linf"
        )
    window = _first_window(covered, side)
    if window > side:
        raise PluginError(
            f'attack "torchattacks/{entry.name}" got p_init {covered:g}, whose first window has {window} pixels a side; expected '
            f"at most the image's {side}: lower p_init"
        )


def _tiled(side: int) -> bool:
    """Whether the tiles, begun where the library begins them, end within the image; one of a single pixel may not."""
    tile = side // _FIFTHS
    return tile == 1 or (tile > 0 and (side - tile * _FIFTHS) // 2 + side // tile * tile <= side)


def _first_window(covered: float, side: int) -> int:
    window = max(round(sqrt(covered * side * side)), _SMALLEST_WINDOW)
    return window + 1 - window % 2


def _least_classes(target: str, options: Mapping[str, Any], *, targeted: bool) -> int:
    """Return how many logits the difference-of-logits ratio sorts."""
    if target == "APGDT":
        return 4
    if options.get("loss") != "dlr":
        return 2
    return 4 if targeted else 3


def _refuse(entry: Entry, needs: str, got: str, instead: str) -> NoReturn:
    raise PluginError(f'attack "torchattacks/{entry.name}" {needs}, {got}: take {instead} instead')
