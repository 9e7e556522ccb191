"""What is wrong with a plugin's hooks, offers and classes, as far as looking at them tells."""

from __future__ import annotations

import inspect
import re
from typing import TYPE_CHECKING, Any

from harness import adapting, contract, drawing, hookspecs, measuring
from harness.adapting import AdapterCapabilities
from harness.contract import Capabilities, Library, Options
from harness.kinds import BASES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from harness.kinds import Kind


KNOWN_HOOKS = {name: hook for name, hook in vars(hookspecs).items() if name.startswith("harness_")}


def hook_functions(module: object) -> Iterator[tuple[str, bool]]:
    """Return the hooks that functions implement or are called like, and whether they are marked as hooks."""
    for name, function in _routines(module):
        marked = _marked(function)
        if marked or name.startswith("harness_"):
            yield _hook_of(name, function), marked


def misfits_of(module: object) -> list[str]:
    """Return what is wrong with the parameters of a module's hooks, both sides shown."""
    misfits = []
    for name, function in _routines(module):
        hook = _hook_of(name, function)
        if not _marked(function) or hook not in KNOWN_HOOKS:
            continue
        taken = list(inspect.signature(function).parameters)
        given = list(inspect.signature(KNOWN_HOOKS[hook]).parameters)
        if not set(taken) <= set(given):
            misfits.append(f'"{name}({", ".join(taken)})" does not fit the hook; expected "{hook}({", ".join(given)})"')
    return misfits


def _routines(module: object) -> list[tuple[str, Any]]:
    return inspect.getmembers(module, inspect.isroutine)


def _marked(function: Any) -> bool:
    return isinstance(getattr(function, f"{hookspecs.NAMESPACE}_impl", None), dict)


def _hook_of(name: str, function: Any) -> str:
    """Return the hook that a function implements: its own name's, unless it was marked with another."""
    options = getattr(function, f"{hookspecs.NAMESPACE}_impl", None)
    return (options.get("specname") if isinstance(options, dict) else None) or name


def is_offer(name: object, target: object) -> bool:
    """Whether a hook's entry is a name and an import string."""
    return (
        isinstance(name, str)
        and re.fullmatch(r"[\w.-]+", name) is not None
        and isinstance(target, str)
        and re.fullmatch(r"[\w.]+:\w+", target) is not None
    )


def class_fault(kind: Kind, loaded: object) -> str | None:
    """Return what is wrong with a plugin's class, if anything is."""
    base: Any = next(
        found for home in (contract, adapting, measuring, drawing) if (found := getattr(home, BASES[kind], None))
    )
    if not isinstance(loaded, type) or not issubclass(loaded, base):
        return f"is no subclass of harness.api.{BASES[kind]}"
    plugin: Any = loaded
    if inspect.isabstract(plugin):
        return f"does not define {', '.join(sorted(plugin.__abstractmethods__))}"
    if kind == "adapter" and plugin.losses is base.losses and plugin.adapt is base.adapt:
        return "defines neither losses nor adapt"
    return _declaration_fault(kind, plugin)


def _declaration_fault(kind: Kind, plugin: Any) -> str | None:
    """Return what is wrong with a class's attributes, which lists and experiments read without making an instance."""
    if kind == "attack" and not isinstance(getattr(plugin, "capabilities", None), Capabilities):
        return "does not declare its capabilities; expected capabilities = Capabilities(…)"
    if kind == "adapter" and not isinstance(plugin.capabilities, AdapterCapabilities):
        return "does not declare its capabilities; expected capabilities = AdapterCapabilities(…)"
    if kind == "report-format" and not isinstance(getattr(plugin, "suffix", None), str):
        return 'does not declare its suffix; expected suffix = ".…"'
    if plugin.library is not None and not isinstance(plugin.library, Library):
        return f"declares a {type(plugin.library).__name__} as its library; expected library = Library(…)"
    declared = inspect.getattr_static(plugin, "options_type")  # what a bridge makes on demand is not made for this
    if isinstance(declared, type) and not issubclass(declared, Options):
        return "has options that are no subclass of harness.api.Options"
    return None
