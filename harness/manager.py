"""Discovery of plugins: their names, conflicts and problems, without importing what is not used.

An entry point of the group ``harness.v1`` names a module of hook implementations. Those name plugins by import strings, so that
a list costs no torch. Every plugin answers to ``name``, ``entry-point/name`` and ``distribution/name``; a bare name that two
claim fails when it is used, and names both. A plugin that cannot be loaded is a recorded problem, never a crash of the rest.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module, metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pluggy

from harness import hookspecs
from harness.errors import PluginError, did_you_mean
from harness.hook_faults import KNOWN_HOOKS, class_fault, hook_functions, is_offer, misfits_of
from harness.kinds import HOOKS, KINDS, TITLES, Kind
from harness.validation import shown

if TYPE_CHECKING:
    from collections.abc import Iterable

    from harness.contract import Configurable, Options


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

    @property
    def names(self) -> tuple[str, str, str]:
        """All that it answers to, the shortest first."""
        return self.name, self.qualified, f"{self.distribution}/{self.name}"

    def answers_to(self, name: str) -> bool:
        """Whether ``name`` means this plugin."""
        return name in self.names

    @property
    def title(self) -> str:
        """What messages call it: ``attack "bim"``."""
        return f'{TITLES[self.kind]} "{self.name}"'

    def __str__(self) -> str:
        return f'{TITLES[self.kind]} "{self.qualified}" ({self.distribution} {self.version})'


@dataclass(frozen=True, order=True)
class Problem:
    """Why a plugin, or part of one, is not on offer."""

    package: str
    distribution: str
    version: str
    message: str


@dataclass(frozen=True)
class _Source:
    """Whose hooks a module implements."""

    package: str
    distribution: str
    version: str

    @property
    def identity(self) -> str:
        return f"{self.distribution}:{self.package}"


class Manager:
    """The plugins that are installed, and what is wrong with some of them."""

    def __init__(self) -> None:
        self._pluggy = pluggy.PluginManager(hookspecs.NAMESPACE)
        self._pluggy.add_hookspecs(hookspecs)
        self._sources: dict[str, _Source] = {}
        self._silenced: set[str] = set()
        self._names: list[PluginName] = []
        self.problems: list[Problem] = []

    @classmethod
    def discover(cls, entry_points: Iterable[metadata.EntryPoint] | None = None) -> Manager:
        """Load every entry point of the group (or those given), in the order of their names."""
        manager = cls()
        found = metadata.entry_points(group=hookspecs.ENTRY_POINT_GROUP) if entry_points is None else entry_points
        for entry_point in sorted(found, key=lambda point: (point.name, _distribution(point))):
            source = _Source(entry_point.name, *_distribution(entry_point))
            try:
                module = entry_point.load()
            except (Exception, SystemExit) as error:  # noqa: BLE001 (a plugin may raise anything while it is imported)
                manager._report(source, f"cannot be imported: {_described(error)}")
                continue
            manager._register(module, source)
        manager._report_outdated()
        return manager

    def register(self, module: object, *, package: str, distribution: str, version: str) -> None:
        """Take in a module (or namespace) of hook implementations."""
        self._register(module, _Source(package, distribution, version))

    def names(self, kind: Kind | None = None) -> list[PluginName]:
        """Return the plugins on offer, sorted."""
        return sorted(name for name in self._names if kind in {None, name.kind})

    def find(self, kind: Kind, name: str) -> PluginName:
        """Return the plugin that ``name`` means. Raises ``PluginError`` when there is none, or more than one."""
        candidates = self.names(kind)
        found = [candidate for candidate in candidates if candidate.answers_to(name)]
        if len(found) == 1:
            return found[0]
        if found:
            raise PluginError(f'ambiguous {TITLES[kind]} "{name}": {_claims(found)}')
        raise PluginError(self._unknown(kind, name, candidates))

    def load(self, plugin: PluginName) -> type[Configurable[Options]]:
        """Import a plugin's class. Raises ``PluginError`` that says what is broken."""
        module_name, _, attribute = plugin.target.partition(":")
        try:
            module = import_module(module_name)
            loaded = getattr(module, attribute, None)
        except (Exception, SystemExit) as error:
            raise PluginError(f'{plugin} is broken: "{module_name}" cannot be imported: {_described(error)}') from error
        if loaded is None:
            hint = did_you_mean(attribute, [name for name in vars(module) if isinstance(vars(module)[name], type)])
            raise PluginError(f'{plugin} is broken: "{module_name}" has no "{attribute}"{hint}')
        fault = class_fault(plugin.kind, loaded)
        if fault:
            raise PluginError(f'{plugin} is broken: "{plugin.target}" {fault}')
        return cast("type[Configurable[Options]]", loaded)

    def load_ready(self, plugin: PluginName) -> type[Configurable[Options]]:
        """Import a plugin's class to be used. Raises ``PluginError`` too where the library that does its work is not installed."""
        loaded = self.load(plugin)
        if loaded.library is not None and (missing := loaded.library.missing):
            is_are = "is" if len(missing) == 1 else "are"
            raise PluginError(
                f'{plugin} needs {" and ".join(missing)}, which {is_are} not installed; run "{loaded.library.install}"'
            )
        return loaded

    def catalogues(self) -> list[Path]:
        """Return the folders of cards that plugins offer."""
        folders: list[Path] = []
        for source in self._sources.values():
            answer = self._call("harness_catalogues", source)
            if isinstance(answer, list | tuple) and all(isinstance(folder, Path) for folder in answer):
                folders.extend(answer)
            elif answer is not None:
                self._report(source, "harness_catalogues returns no list of paths; expected [Path(…)]")
        return folders

    def announce(self, event: Mapping[str, Any]) -> None:
        """Tell observers of a run. One that raises is reported and not told again."""
        for identity, source in self._sources.items():
            if identity not in self._silenced:
                problems = len(self.problems)
                self._call("harness_run_event", source, event=event)
                if len(self.problems) > problems:
                    self._silenced.add(identity)

    def _register(self, module: object, source: _Source) -> None:
        self._report_misspelt(module, source)
        misfits = misfits_of(module)
        for misfit in misfits:
            self._report(source, misfit)
        if misfits:
            return
        try:
            self._pluggy.register(module, name=source.identity)
        except Exception as error:  # noqa: BLE001 (pluggy raises several kinds of errors for modules that do not fit)
            self._report(source, f"cannot be registered: {_described(error)}")
            return
        self._sources[source.identity] = source
        for kind in KINDS:
            self._take_in(kind, source)

    def _take_in(self, kind: Kind, source: _Source) -> None:
        hook = HOOKS[kind]
        offered = self._call(hook, source)
        if offered is None:
            return
        if not isinstance(offered, Mapping):
            self._report(source, f'{hook} returns no mapping; expected {{"name": "module:Class"}}')
            return
        for name, target in offered.items():
            if is_offer(name, target):
                self._names.append(PluginName(kind, name, source.package, source.distribution, source.version, target))
            else:
                self._report(
                    source,
                    f"{hook} offers {shown(name)}: {shown(target)}; expected a name of letters, digits, dots, dashes "
                    'and underscores, and "module:Class"',
                )

    def _call(self, hook: str, source: _Source, **arguments: Any) -> Any:
        """Call one plugin's hook on its own, so that what it raises is its own problem."""
        caller = getattr(self._pluggy.hook, hook)
        for implementation in caller.get_hookimpls():
            if implementation.plugin_name == source.identity:
                try:
                    return implementation.function(*(arguments[name] for name in implementation.argnames))
                except (Exception, SystemExit) as error:  # noqa: BLE001 (a plugin's hook may raise anything)
                    self._report(source, f"{hook} raised {_described(error)}")
        return None

    def _report(self, source: _Source, message: str) -> None:
        problem = Problem(source.package, source.distribution, source.version, message)
        if problem not in self.problems:
            self.problems.append(problem)

    def _report_misspelt(self, module: object, source: _Source) -> None:
        for name, implemented in hook_functions(module):
            if implemented and name not in KNOWN_HOOKS:
                self._report(source, f'implements no known hook "{name}"{did_you_mean(name, KNOWN_HOOKS)}')
            elif not implemented and name in KNOWN_HOOKS:
                self._report(source, f'defines "{name}" without @hookimpl, so that it is never called')

    def _report_outdated(self) -> None:
        """Report plugins of another version of this API: known by their group's name, never imported."""
        ours = hookspecs.ENTRY_POINT_GROUP
        for group in sorted(metadata.entry_points().groups):
            if group == ours or not re.fullmatch(rf"{hookspecs.NAMESPACE}\.v\d+", group):
                continue
            for entry_point in sorted(metadata.entry_points(group=group), key=lambda point: point.name):
                source = _Source(entry_point.name, *_distribution(entry_point))
                self._report(source, f"is written for {group}, this is {ours}; look for a release that fits")

    def unknown(self, name: str) -> PluginError:
        """Return the error that no plugin of any kind has the name; if its package has a problem, which."""
        return PluginError(self._unknown(None, name, self.names()))

    def _unknown(self, kind: Kind | None, name: str, candidates: Iterable[PluginName]) -> str:
        """Say that a name is unknown; if its package has a problem, which."""
        message = f"unknown {TITLES[kind] if kind else 'plugin'} {shown(name)}"
        owner = name.partition("/")[0]  # an author may have given the plugin its package's name
        for problem in self.problems:
            if owner in {problem.package, problem.distribution}:
                whose = f'plugin "{problem.package}" ({problem.distribution} {problem.version})'
                return f'{message}: {whose} {problem.message}. See "harness doctor".'
        near = did_you_mean(name, {alias for candidate in candidates for alias in candidate.names})
        see = f'{message}{near}{"" if near else "."} See "harness plugins list".'
        count = len({(problem.distribution, problem.package) for problem in self.problems})
        broken = f' {count} {"plugin has" if count == 1 else "plugins have"} problems: see "harness doctor".'
        return see + (broken if count else "")


def _claims(found: Iterable[PluginName]) -> str:
    """Name those that claim one name, each by a name that it alone answers to."""
    claims: list[str] = []
    ways_out: list[str] = []
    for plugin in found:
        own = [name for name in plugin.names if sum(other.answers_to(name) for other in found) == 1]
        claims.append(f"{plugin.qualified} ({plugin.distribution} {plugin.version})")
        ways_out.extend(f'"{name}"' for name in own[:1])
    way_out = f"use {' or '.join(ways_out)}" if ways_out else "remove one of the packages"
    return f"claimed by {' and '.join(claims)}; {way_out}"


def _distribution(entry_point: metadata.EntryPoint) -> tuple[str, str]:
    distribution = entry_point.dist
    return (distribution.name, distribution.version) if distribution is not None else ("unknown", "0")


def _described(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
