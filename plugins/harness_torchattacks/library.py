"""Import torchattacks, keep it quiet, and translate options: what our names are there."""

from __future__ import annotations

import contextlib
import io
import warnings
from importlib import import_module
from typing import TYPE_CHECKING, Any

from harness.api import PluginError, import_torchvision
from harness_torchattacks.vocabulary import GAUSSIAN, RENAMED, RENAMED_IN

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from types import ModuleType

INSTALL = "pip install --no-deps torchattacks==3.5.1 tqdm"
"""It asks for requests 2.25.1, which it does not import: with its dependencies it would downgrade what others need."""


def import_torchattacks() -> ModuleType:
    """Return the library. Raises ``PluginError`` where it is missing."""
    import_torchvision()
    try:
        return import_module("torchattacks")
    except ModuleNotFoundError as error:
        raise PluginError(f'torchattacks cannot be imported, {error.name} is missing: run "{INSTALL}"') from error


def our_names(target: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return a signature's parameters by the names that options have here."""
    return {_ours(target, name): value for name, value in parameters.items()} | dict.fromkeys(
        _SIDES if "x_dimensions" in parameters else ()
    )


def arguments(
    target: str, parameters: Mapping[str, Any], options: Mapping[str, Any], *, num_classes: int
) -> dict[str, Any]:
    """Return the library's arguments for options by our names, seeded anew where it seeds the global generator itself."""
    import torch

    theirs = {_ours(target, name): name for name in parameters}
    given = {theirs[name]: value for name, value in options.items() if name in theirs}
    if "x_dimensions" in parameters:
        given["x_dimensions"] = (options["smallest_width"], options["largest_width"])
        given["y_dimensions"] = (options["smallest_height"], options["largest_height"])
    if given.get("noise_type") == GAUSSIAN:
        given["noise_type"] = "guassian"
    if "target_classes" in options:
        given["n_classes"] = min(options["target_classes"] + 1, num_classes)
    if "seed" in parameters:
        given["seed"] = int(torch.randint(2**31 - 1, ()))
    return given


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Drop what the library prints (that a model without parameters has no device) and its use of numpy's old ways."""
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        yield


_SIDES = ("smallest_width", "largest_width", "smallest_height", "largest_height")


def _ours(target: str, name: str) -> str:
    return RENAMED_IN.get((target, name), RENAMED.get(name, name))
