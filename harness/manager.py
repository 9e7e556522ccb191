"""Discovery of plugins: their names, conflicts and problems, without importing what is not used.

An entry point of the group ``harness.v1`` names a module of hook implementations. Those name plugins by import strings, so that
a list costs no torch. Every plugin answers to ``name``, ``entry-point/name`` and ``distribution/name``; a bare name that two
claim fails when it is used, and names both. A plugin that cannot be loaded is a recorded problem, never a crash of the rest.
"""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from importlib import import_module, metadata
from typing import TYPE_CHECKING, Any, Literal, cast

import pluggy

from harness import hookspecs
from harness.errors import PluginError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from harness.contract import Configurable, Options

Kind = Literal["attack", "adapter", "classifier", "dataset"]
KINDS: tuple[Kind, ...] = ("attack", "adapter", "classifier", "dataset")
_HOOKS: dict[Kind, str] = {
    "attack": "harness_attacks",
    "adapter": "harness_adapters",
    "classifier": "harness_classifiers",
    "dataset": "harness_datasets",
}


@dataclass(frozen=True, order=True)
class PluginName:
    """One plugin on offer: where its class is found and who offers it."""

    kind: Kind
    name: str
    package: str
    distribution: str
    version: str
    target: str

    @property
    def qualified(self) -> str:
        """The name that is unambiguous while no two distributions share an entry point's name."""
        return f"{self.package}/{self.name}"

    def answers_to(self, name: str) -> bool:
        """Whether ``name`` means this plugin."""
        return name in {self.name, self.qualified, f"{self.distribution}/{self.name}"}


@dataclass(frozen=True, order=True)
class Problem:
    """Why a plugin, or part of one, is not on offer."""

    package: str
    distribution: str
    message: str


class Manager:
    """The plugins that are installed, and what is wrong with some of them."""

    def __init__(self) -> None:
        self._pluggy = pluggy.PluginManager(hookspecs.NAMESPACE)
        self._pluggy.add_hookspecs(hookspecs)
        self._names: list[PluginName] = []
        self.problems: list[Problem] = []

    @classmethod
    def discover(cls, entry_points: Iterable[metadata.EntryPoint] | None = None) -> Manager:
        """Load every entry point of the group (or those given), in the order of their names."""
        manager = cls()
        found = metadata.entry_points(group=hookspecs.ENTRY_POINT_GROUP) if entry_points is None else entry_points
        for entry_point in sorted(found, key=lambda point: (point.name, _distribution(point)[0])):
            name, version = _distribution(entry_point)
            try:
                module = entry_point.load()
            except Exception as error:  # noqa: BLE001 (a plugin may raise anything while it is imported)
                manager._report(entry_point.name, name, f"cannot be imported: {_described(error)}")
                continue
            manager.register(module, package=entry_point.name, distribution=name, version=version)
        manager._report_outdated()
        return manager

    def register(self, module: object, *, package: str, distribution: str, version: str) -> None:
        """Take in a module (or namespace) of hook implementations."""
        identity = f"{distribution}:{package}"
        try:
            self._pluggy.register(module, name=identity)
        except Exception as error:  # noqa: BLE001 (pluggy raises several kinds of errors for hooks that do not fit)
            self._pluggy.unregister(name=identity)
            self._report(package, distribution, f"has a hook that does not fit: {_described(error)}")
            return
        self._report_misspelt(module, package, distribution)
        for kind in KINDS:
            offered = self._call(_HOOKS[kind], module, package, distribution)
            for name, target in (offered or {}).items():
                self._names.append(PluginName(kind, name, package, distribution, version, target))

    def names(self, kind: Kind | None = None) -> list[PluginName]:
        """Return the plugins on offer, sorted."""
        return sorted(name for name in self._names if kind in {None, name.kind})

    def find(self, kind: Kind, name: str) -> PluginName:
        """Return the plugin that ``name`` means. Raises ``PluginError`` when there is none, or more than one."""
        found = [candidate for candidate in self.names(kind) if candidate.answers_to(name)]
        if len(found) == 1:
            return found[0]
        if found:
            listed = " and ".join(f"{one.qualified} ({one.distribution} {one.version})" for one in found)
            raise PluginError(f'ambiguous {kind} "{name}": claimed by {listed}; use one of those names')
        known = {candidate.name for candidate in self.names(kind)} | {c.qualified for c in self.names(kind)}
        raise PluginError(f'unknown {kind} "{name}"{did_you_mean(name, known)}. See "harness plugins list".')

    def load(self, plugin: PluginName) -> type[Configurable[Options]]:
        """Import a plugin's class. Raises ``PluginError`` that says what is broken."""
        module_name, _, attribute = plugin.target.partition(":")
        try:
            loaded = getattr(import_module(module_name), attribute)
        except Exception as error:
            raise PluginError(
                f'{plugin.kind} "{plugin.qualified}" ({plugin.distribution} {plugin.version}) is broken: '
                f'"{plugin.target}" cannot be imported: {_described(error)}'
            ) from error
        if not isinstance(loaded, type) or not hasattr(loaded, "options_type"):
            raise PluginError(
                f'{plugin.kind} "{plugin.qualified}": "{plugin.target}" is no subclass of '
                f"harness.api.{_BASES[plugin.kind]}; see the README on how to write a plugin"
            )
        return cast("type[Configurable[Options]]", loaded)

    def catalogues(self) -> list[Path]:
        """Return the folders of cards that plugins offer."""
        folders: list[Path] = []
        for identity, module in self._modules():
            distribution, _, package = identity.partition(":")
            folders.extend(self._call("harness_catalogues", module, package, distribution) or ())
        return folders

    def announce(self, event: Mapping[str, Any]) -> None:
        """Tell observers of a run. One that raises is reported and not told again."""
        for identity, module in self._modules():
            observe = getattr(module, "harness_run_event", None)
            if observe is None:
                continue
            try:
                observe(event=event)
            except Exception as error:  # noqa: BLE001 (an observer must not end a run)
                distribution, _, package = identity.partition(":")
                self._report(package, distribution, f"raised in harness_run_event: {_described(error)}")
                self._pluggy.unregister(name=identity)

    def _modules(self) -> Iterator[tuple[str, object]]:
        yield from [(name, module) for name, module in self._pluggy.list_name_plugin() if module is not None]

    def _call(self, hook: str, module: object, package: str, distribution: str) -> Any:
        """Call one plugin's hook on its own, so that what it raises is its own problem."""
        others = [plugin for _, plugin in self._modules() if plugin is not module]
        caller = self._pluggy.subset_hook_caller(hook, remove_plugins=others)
        try:
            answers = caller()
            offered = answers[0] if answers else None
            if isinstance(offered, dict):
                _check_targets(offered)
        except Exception as error:  # noqa: BLE001 (a plugin's hook may raise anything)
            self._report(package, distribution, f"raised in {hook}: {_described(error)}")
            return None
        return offered

    def _report(self, package: str, distribution: str, message: str) -> None:
        problem = Problem(package, distribution, message)
        if problem not in self.problems:
            self.problems.append(problem)

    def _report_misspelt(self, module: object, package: str, distribution: str) -> None:
        known = {name for name in vars(hookspecs) if name.startswith("harness_")}
        for name, value in inspect.getmembers(module, callable):
            if getattr(value, f"{hookspecs.NAMESPACE}_impl", None) is not None and name not in known:
                self._report(package, distribution, f'implements no known hook "{name}"{did_you_mean(name, known)}')

    def _report_outdated(self) -> None:
        """Report plugins of another version of this API: known by their group's name, never imported."""
        for group in metadata.entry_points().groups:
            prefix, _, version = group.partition(".v")
            if prefix != hookspecs.NAMESPACE or group == hookspecs.ENTRY_POINT_GROUP or not version.isdigit():
                continue
            for entry_point in metadata.entry_points(group=group):
                distribution = _distribution(entry_point)[0]
                message = f"is written for {group}, this is {hookspecs.ENTRY_POINT_GROUP}; look for a release that fits"
                self._report(entry_point.name, distribution, message)


_BASES: dict[Kind, str] = {
    "attack": "Attack",
    "adapter": "Adapter",
    "classifier": "Architecture",
    "dataset": "DatasetProvider",
}


def _check_targets(offered: Mapping[object, object]) -> None:
    for name, target in offered.items():
        if not isinstance(name, str) or not isinstance(target, str) or target.count(":") != 1:
            raise TypeError(f'expected {{"name": "module:Class"}}, got {name!r}: {target!r}')


def _distribution(entry_point: metadata.EntryPoint) -> tuple[str, str]:
    distribution = entry_point.dist
    return (distribution.name, distribution.version) if distribution is not None else ("unknown", "0")


def _described(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
