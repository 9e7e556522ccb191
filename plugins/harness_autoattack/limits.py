"""What pyautoattack would crash on, told before it starts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from harness.api import PluginError

if TYPE_CHECKING:
    from collections.abc import Mapping

FEWEST_CLASSES: Mapping[str, int] = {"apgd-dlr": 3, "apgd-t": 4}
"""How many logits a loss sorts and reads: with fewer classes it has no value."""

SMALLEST_IMAGE = 5
"""Square tiles an image with a fifth of its height, in pixels, in l2 and l1."""

SHORTEST_SCHEDULE = 2
"""APGD's schedule of three radii takes a step for each of the first two at least."""


def impossible(part: str, norm: str, *, classes: int, size: tuple[int, ...]) -> str | None:
    """Say why one of AutoAttack's parts cannot attack images of ``size`` (height, width), None where it can."""
    fewest = FEWEST_CLASSES.get(part, 2)
    if classes < fewest:
        return f"compares {fewest} logits and the classifier has {classes} classes; expected at least {fewest}"
    if part == "square" and norm != "linf" and not _tiles(*size):
        height, width = size
        return f"in {norm} cannot tile images of {height} × {width} pixels; expected sides that fifths of the height fit into"
    return None


def refuse_impossible(part: str, norm: str, options: Mapping[str, Any], *, classes: int, size: tuple[int, ...]) -> None:
    """Raise ``PluginError`` for what the library would crash on: classes, images or steps that are too few."""
    why = impossible(part, norm, classes=classes, size=size)
    if why is not None:
        raise PluginError(f"{part}-{norm} {why}: use {instead(part, norm, classes)}")
    steps = options.get("n_iter", SHORTEST_SCHEDULE)
    if options.get("use_largereps") and steps < SHORTEST_SCHEDULE:
        raise PluginError(
            f"{part}-{norm} got use_largereps with n_iter {steps}; expected at least {SHORTEST_SCHEDULE}: "
            "raise n_iter or leave use_largereps out"
        )


def instead(part: str, norm: str, classes: int) -> str:
    """Name attacks that work where ``part`` does not."""
    if part == "square":
        return "square-linf, or another attack"
    parts = ["apgd-dlr"] * (classes >= FEWEST_CLASSES["apgd-dlr"]) + ["apgd-ce", "fab-t"]
    return " or ".join(f"{other}-{norm}" for other in parts)


def refuse_training(classifier: Any) -> None:
    """Raise ``PluginError`` for a classifier in train mode, which the library would attack, and change, silently."""
    training = [name or "all of it" for name, module in classifier.named_modules() if module.training]
    if training:
        raise PluginError(
            f"AutoAttack got a classifier in train mode ({training[0]}), which answers differently in another batch; "
            "expected eval mode: call its eval() first"
        )


def _tiles(height: int, width: int) -> bool:
    """Whether the tiles that fit, begun where the library begins them in both directions, end within the image.

    One of a single pixel may begin beyond: nothing is then added to nothing.
    """
    side = height // SMALLEST_IMAGE
    start = (height - side * SMALLEST_IMAGE) // 2
    return side == 1 or (side > 0 and all(start + length // side * side <= length for length in (height, width)))
