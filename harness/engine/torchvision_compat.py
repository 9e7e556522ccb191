"""Import torchvision also where its compiled extension does not load, as beside a torch of another build.

Without the extension the operators that torchvision describes at import do not exist, and the import fails. Declaring
their schemas lets models, transforms and data sets work; what needs the compiled code (box operators, ``read_image``)
raises torchvision's own error when it is called.
"""

from __future__ import annotations

import sys
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from harness.errors import PluginError

if TYPE_CHECKING:
    from types import ModuleType

    from torch.library import Library

_SCHEMA = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
_OPERATORS = ("nms", "qnms")


def import_torchvision() -> ModuleType:
    """Return torchvision, imported once. Every import of it, and of what imports it, comes after this call.

    Raises ``PluginError`` where it is not installed.
    """
    if "torchvision" not in sys.modules:
        _make_importable()
    return import_module("torchvision")


def _make_importable() -> None:
    spec = find_spec("torchvision")
    if spec is None or not spec.submodule_search_locations:
        raise PluginError("torchvision is not installed: install it with \"pip install 'torchvision>=0.21'\"")
    if not _extension_loads(Path(spec.submodule_search_locations[0])):
        _declare_operators()


def _extension_loads(package: Path) -> bool:
    import torch

    for library in sorted(package.glob("_C*")):
        try:
            torch.ops.load_library(str(library))  # type: ignore[no-untyped-call]
        except OSError:
            continue
        return True
    return False


# Cached, because the operators live only as long as the library object that declared them.
@cache
def _declare_operators() -> Library:
    import torch

    library = torch.library.Library("torchvision", "FRAGMENT")  # type: ignore[no-untyped-call]
    for operator in _OPERATORS:
        if not hasattr(torch.ops.torchvision, operator):
            library.define(operator + _SCHEMA)  # type: ignore[no-untyped-call]
    return library
