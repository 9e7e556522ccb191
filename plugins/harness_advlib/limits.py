"""What adv-lib would crash on, told before it starts: classes, images and options that it cannot take."""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

from harness.api import PluginError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from harness.api import Entry

_THREE_CHANNELS = frozenset({"alma-ciede2000", "perc-al"})
_SSIM_WINDOW = 11
_SHORTEST_SCHEDULE = 2
"""APGD's schedule of three radii takes a step for each of the first two at least."""


def refuse_impossible(
    entry: Entry, options: Mapping[str, Any], *, classes: int, shape: tuple[int, ...], targeted: bool
) -> None:
    """Raise ``PluginError`` for what the library would crash on, given images of ``shape`` (C, H, W)."""
    channels, height, width = shape
    least = _least_classes(entry.target, options, targeted=targeted)
    if classes < least:
        instead = 'loss_function "ce"' if "loss_function" in options else "advlib/ddn"
        _refuse(entry, f"needs at least {least} classes", f"this classifier has {classes}", instead)
    if entry.name in _THREE_CHANNELS and channels != 3:
        _refuse(entry, "needs images of 3 channels", f"these have {channels}", "advlib/alma-l2")
    if entry.name == "alma-ssim" and min(height, width) < _SSIM_WINDOW:
        needs = f"needs images of {_SSIM_WINDOW} × {_SSIM_WINDOW} pixels or more"
        _refuse(entry, needs, f"these have {height} × {width}", "advlib/alma-l2")
    _refuse_options(entry, options, side=min(height, width))


def _refuse_options(entry: Entry, options: Mapping[str, Any], *, side: int) -> None:
    if options.get("use_large_reps") and options["steps"] < _SHORTEST_SCHEDULE:
        raise PluginError(
            f'attack "advlib/{entry.name}" got use_large_reps with steps {options["steps"]}; expected at least '
            f"{_SHORTEST_SCHEDULE}: raise steps or leave use_large_reps out"
        )
    if options.get("group_size", 0) > side:
        raise PluginError(
            f'attack "advlib/{entry.name}" got group_size {options["group_size"]}; expected at most the shorter side of the '
            f"images, {side}: lower it"
        )


def possible(options: Mapping[str, Any], *, classes: int) -> dict[str, Any]:
    """Return the options with no more target labels than there are others."""
    targets = options.get("num_targets")
    return {**options} if targets is None else {**options, "num_targets": min(targets, classes - 1)}


def _least_classes(target: str, options: Mapping[str, Any], *, targeted: bool) -> int:
    """Return how many logits the difference-of-logits ratio sorts."""
    if target != "alma" and options.get("loss_function") != "dlr":
        return 2
    return 4 if targeted or target == "apgd_targeted" or options.get("targeted_version") else 3


def _refuse(entry: Entry, needs: str, got: str, instead: str) -> NoReturn:
    raise PluginError(f'attack "advlib/{entry.name}" {needs}, {got}: take {instead} instead')
