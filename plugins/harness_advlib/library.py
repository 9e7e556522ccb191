"""Import adv-lib, without visdom, for which it asks to plot, and on Pythons that have no distutils.

Stand-ins are in place during the import alone, and only for what is missing.
"""

from __future__ import annotations

import sys
import warnings
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType
from typing import TYPE_CHECKING, Any

from harness.api import PluginError, import_torchvision

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

INSTALL = "pip install --no-deps adv-lib==0.2.8 tqdm"
"""It asks for visdom, whose source does not build with setuptools of 81 and later."""


class LooseVersion:
    """A version that compares by its leading numbers, as the one of distutils does."""

    def __init__(self, text: str) -> None:
        parts = text.split("+", maxsplit=1)[0].split(".")
        self.numbers = tuple(int(part) for part in parts if part.isdigit())

    def __ge__(self, other: LooseVersion) -> bool:
        return self.numbers >= other.numbers


def import_attacks() -> ModuleType:
    """Return ``adv_lib.attacks``. Raises ``PluginError`` where the library, or what it needs, is missing."""
    if "adv_lib.attacks" in sys.modules:
        return sys.modules["adv_lib.attacks"]
    import_torchvision()
    try:
        with _stand_ins(), warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # distutils' own
            return import_module("adv_lib.attacks")
    except ModuleNotFoundError as error:
        raise PluginError(f'adv-lib cannot be imported, {error.name} is missing: run "{INSTALL}"') from error


def function(name: str) -> Callable[..., Any]:
    """Return an attack. Raises ``PluginError`` where the installed version has none of that name."""
    attacks = import_attacks()
    found: Callable[..., Any] | None = getattr(attacks, name, None) or getattr(attacks.auto_pgd, name, None)
    if found is None:
        raise PluginError(f'adv-lib has no attack "{name}" in the version that is installed: run "{INSTALL}"')
    return found


@contextmanager
def _stand_ins() -> Iterator[None]:
    made = {name: module for name, module in _modules().items() if not _is_there(name)}
    sys.modules.update(made)
    try:
        yield
    finally:
        for name in made:
            sys.modules.pop(name, None)


def _modules() -> dict[str, ModuleType]:
    """Return modules with what adv-lib takes from them when it is imported."""
    distutils, version = ModuleType("distutils"), ModuleType("distutils.version")
    version.LooseVersion = LooseVersion  # type: ignore[attr-defined]
    distutils.version = version  # type: ignore[attr-defined]
    return {"visdom": ModuleType("visdom"), "distutils": distutils, "distutils.version": version}


def _is_there(name: str) -> bool:
    package = name.partition(".")[0]
    return package in sys.modules or find_spec(package) is not None
