"""What is on offer and what each plugin declares of itself: for lists, and for the documentation's table of attacks."""

from __future__ import annotations

import inspect
import sys
from dataclasses import asdict
from functools import cache
from typing import TYPE_CHECKING, Any

from harness.errors import PluginError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from harness.contract import Capabilities, Library
    from harness.kinds import Kind
    from harness.manager import Manager, PluginName


def offers(manager: Manager, kind: Kind | None = None) -> list[dict[str, Any]]:
    """Describe every plugin of a kind, or of all: names, source, and what its class declares; ``problem`` where it is broken."""
    described = cache(_library)  # a library's metadata is read once for all of its attacks
    return [_offer(manager, plugin, described) for plugin in manager.names(kind)]


def offer(manager: Manager, plugin: PluginName) -> dict[str, Any]:
    """Describe one plugin."""
    return _offer(manager, plugin, _library)


def _offer(manager: Manager, plugin: PluginName, described: Callable[[Library], dict[str, Any]]) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "name": plugin.name,
        "kind": plugin.kind,
        "qualified": plugin.qualified,
        "distribution": plugin.distribution,
        "version": plugin.version,
        "target": plugin.target,
    }
    try:
        loaded: Any = manager.load(plugin)
    except PluginError as error:
        return {**entry, "problem": str(error)}
    own: dict[str, Any] = {"name": plugin.distribution, "version": plugin.version, "install": None, "missing": []}
    entry["summary"] = (inspect.getdoc(loaded) or "").partition("\n")[0]
    entry["library"] = own if loaded.library is None else described(loaded.library)
    if plugin.kind == "attack":
        entry |= {**asdict(loaded.capabilities), "goals": goals(loaded.capabilities)}
    elif plugin.kind == "adapter":
        entry["uses"] = asdict(loaded.capabilities)
    return entry


def module_sentence(loaded: type) -> str:
    """Return the first line of a class's module, which says what it is and names its source."""
    return (inspect.getdoc(sys.modules[loaded.__module__]) or "").partition("\n")[0]


def cited(loaded: type) -> str:
    """Return a class's sentence and its module's, in Markdown's quotes."""
    summary = (inspect.getdoc(loaded) or "").partition("\n")[0]
    return f"{summary} {module_sentence(loaded)}".replace("``", "`").strip()


def goals(capabilities: Capabilities) -> list[str]:
    """Say whether an attack can approach labels, flee them, or both."""
    return [word for word, can in (("approach", capabilities.targeted), ("flee", capabilities.untargeted)) if can]


def missing_libraries(entries: Iterable[dict[str, Any]]) -> list[str]:
    """Say once for each library that is not installed how many plugins wait for it, and what to run."""
    waiting: dict[tuple[str, ...], tuple[str, int]] = {}
    for entry in entries:
        library = entry.get("library")
        if library and library["missing"]:
            names = tuple(library["missing"])
            install, count = waiting.get(names, (library["install"], 0))
            waiting[names] = install, count + 1
    return [
        f"{' and '.join(names)} {'is' if len(names) == 1 else 'are'} not installed: {count} "
        f'{"plugin waits" if count == 1 else "plugins wait"} for that; run "{install}"'
        for names, (install, count) in waiting.items()
    ]


def _library(library: Library) -> dict[str, Any]:
    """Describe the distribution that does the work; its version is None where it is not installed."""
    return {
        "name": library.distribution,
        "version": library.version,
        "install": library.install,
        "missing": list(library.missing),
    }
