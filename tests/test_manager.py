"""Discovery, against real installed distributions: packages with the metadata that an installer writes."""

from __future__ import annotations

import re
import sys
import textwrap
from types import SimpleNamespace

import pytest

from harness.errors import PluginError
from harness.hookspecs import hookimpl
from harness.kinds import KINDS
from harness.manager import Manager, Problem
from harness.offers import offers

ATTACK = """
from harness.api import Attack, Capabilities

class Nothing(Attack):
    '''Return the images as they are.'''

    capabilities = Capabilities(norm="l2", targeted=True, untargeted=True, gradients=False)

    def run(self, classifier, images, criterion):
        return images
"""

HOOKS = """
from harness.api import hookimpl

@hookimpl
def harness_attacks():
    return {offered}
"""


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Return a function that installs a distribution: modules by their name, entry points by theirs."""
    monkeypatch.syspath_prepend(tmp_path)
    before = set(sys.modules)

    def write(distribution: str, version: str, entry_points: dict[str, str], group="harness.v1", **modules: str):
        for name, source in modules.items():
            (tmp_path / f"{name}.py").write_text(textwrap.dedent(source))
        folder = tmp_path / f"{distribution.replace('-', '_')}-{version}.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n")
        lines = "\n".join(f"{name} = {target}" for name, target in entry_points.items())
        (folder / "entry_points.txt").write_text(f"[{group}]\n{lines}\n")

    yield write
    for name in set(sys.modules) - before:
        if getattr(sys.modules[name], "__file__", None) and str(tmp_path) in str(sys.modules[name].__file__):
            del sys.modules[name]


def problems_of(manager: Manager, package: str) -> list[str]:
    return [problem.message for problem in manager.problems if problem.package == package]


def test_first_party_plugins_are_installed_without_a_problem():
    manager = Manager.discover()
    assert manager.problems == []
    for plugin in manager.names():
        assert manager.load(plugin).__doc__, plugin
    assert {plugin.kind for plugin in manager.names()} == set(KINDS)


@pytest.mark.parametrize("name", ["fresh", "shop/fresh", "fresh-attacks/fresh"])
def test_plugin_answers_to_its_name_its_packages_and_its_distributions(install, name):
    install(
        "fresh-attacks",
        "2.1",
        {"shop": "fresh_hooks"},
        fresh_hooks=HOOKS.format(offered='{"fresh": "fresh_a:Nothing"}'),
    )
    plugin = Manager.discover().find("attack", name)
    assert (plugin.package, plugin.distribution, plugin.version, plugin.target) == (
        "shop",
        "fresh-attacks",
        "2.1",
        "fresh_a:Nothing",
    )


def test_discovery_imports_hooks_and_no_plugin(install):
    hooks = HOOKS.format(offered='{"lazy": "lazy_attack:Nothing"}')
    install("lazy-attacks", "1.0", {"lazy": "lazy_hooks"}, lazy_hooks=hooks, lazy_attack=ATTACK)
    manager = Manager.discover()
    assert "lazy_hooks" in sys.modules
    assert "lazy_attack" not in sys.modules
    assert manager.load(manager.find("attack", "lazy")).__name__ == "Nothing"
    assert "lazy_attack" in sys.modules


def test_bare_name_that_two_plugins_claim_fails_when_it_is_used_and_names_both(install):
    install(
        "first-attacks",
        "1.0",
        {"first": "first_hooks"},
        first_hooks=HOOKS.format(offered='{"same": "a:A", "own": "a:B"}'),
    )
    install("second-attacks", "2.0", {"second": "second_hooks"}, second_hooks=HOOKS.format(offered='{"same": "b:A"}'))
    manager = Manager.discover()
    with pytest.raises(PluginError) as raised:
        manager.find("attack", "same")
    assert str(raised.value) == (
        'ambiguous attack "same": claimed by first/same (first-attacks 1.0) and second/same (second-attacks 2.0); '
        'use "first/same" or "second/same"'
    )
    assert raised.value.exit_code == 3
    assert manager.find("attack", "own").distribution == "first-attacks"
    assert manager.find("attack", "second/same").version == "2.0"


def test_two_distributions_with_one_package_name_are_told_apart_by_the_distribution(install):
    for name in ("north", "south"):
        hooks = HOOKS.format(offered='{"same": "a:A"}')
        install(f"{name}-attacks", "1.0", {"attacks": f"{name}_hooks"}, **{f"{name}_hooks": hooks})
    manager = Manager.discover()
    with pytest.raises(PluginError, match=r'use "north-attacks/same" or "south-attacks/same"'):
        manager.find("attack", "attacks/same")
    assert manager.find("attack", "south-attacks/same").distribution == "south-attacks"


def test_broken_import_is_a_problem_and_hurts_no_other(install):
    install("broken-attacks", "1.0", {"broken": "broken_hooks"}, broken_hooks="import no_such_module_anywhere")
    install("whole-attacks", "1.0", {"whole": "whole_hooks"}, whole_hooks=HOOKS.format(offered='{"whole": "a:A"}'))
    manager = Manager.discover()
    assert manager.problems == [
        Problem(
            "broken",
            "broken-attacks",
            "1.0",
            "cannot be imported: ModuleNotFoundError: No module named 'no_such_module_anywhere'",
        )
    ]
    assert manager.find("attack", "whole")


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("raise SystemExit('go away')", "cannot be imported: SystemExit: go away"),
        ("def", "cannot be imported: SyntaxError: invalid syntax (odd_hooks.py, line 1)"),
        ("raise RuntimeError('one\\n two')", "cannot be imported: RuntimeError: one two"),
        ("raise RuntimeError", "cannot be imported: RuntimeError"),
        (
            HOOKS.format(offered="1 / 0"),
            "harness_attacks raised ZeroDivisionError: division by zero",
        ),
        (HOOKS.format(offered='["a"]'), 'harness_attacks returns no mapping; expected {"name": "module:Class"}'),
        (
            HOOKS.format(offered='{"a": "module.Class"}'),
            (
                'harness_attacks offers "a": "module.Class"; expected a name of letters, digits, dots, dashes and underscores, '
                'and "module:Class"'
            ),
        ),
        (
            HOOKS.format(offered='{"a/b": "module:Class"}'),
            (
                'harness_attacks offers "a/b": "module:Class"; expected a name of letters, digits, dots, dashes and '
                'underscores, and "module:Class"'
            ),
        ),
        (
            HOOKS.format(offered="{5: None}"),
            (
                "harness_attacks offers 5: nothing; expected a name of letters, digits, dots, dashes and underscores, and "
                '"module:Class"'
            ),
        ),
        (
            HOOKS.format(offered="{}").replace("harness_attacks", "harness_atacks"),
            'implements no known hook "harness_atacks"; did you mean "harness_attacks"?',
        ),
        (
            HOOKS.format(offered="{}").replace("@hookimpl\n", ""),
            'defines "harness_attacks" without @hookimpl, so that it is never called',
        ),
        (
            HOOKS.format(offered="{}").replace("attacks()", "attacks(device, seed)"),
            '"harness_attacks(device, seed)" does not fit the hook; expected "harness_attacks()"',
        ),
        (
            HOOKS.format(offered='"cards"').replace("harness_attacks", "harness_catalogues"),
            "harness_catalogues returns no list of paths; expected [Path(…)]",
        ),
        (
            HOOKS.format(offered="1 / 0").replace("harness_attacks", "harness_catalogues"),
            "harness_catalogues raised ZeroDivisionError: division by zero",
        ),
    ],
)
def test_hooks_that_do_not_fit_are_a_problem_and_hurt_no_other(install, source, message):
    install("odd-attacks", "1.0", {"odd": "odd_hooks"}, odd_hooks=source)
    manager = Manager.discover()
    assert manager.catalogues()
    assert problems_of(manager, "odd") == [message]
    assert manager.find("attack", "paper/bim")


def test_good_offers_beside_a_bad_one_are_kept(install):
    install("odd-attacks", "1.0", {"odd": "odd_hooks"}, odd_hooks=HOOKS.format(offered='{"bad": 5, "good": "a:A"}'))
    manager = Manager.discover()
    assert manager.find("attack", "good")
    assert len(problems_of(manager, "odd")) == 1


def test_module_that_two_entry_points_name_is_taken_once(install):
    hooks = HOOKS.format(offered='{"twin": "a:A"}')
    install("twin-attacks", "1.0", {"left": "twin_hooks", "right": "twin_hooks"}, twin_hooks=hooks)
    manager = Manager.discover()
    assert manager.find("attack", "twin").package == "left"
    (message,) = problems_of(manager, "right")
    assert message.startswith("cannot be registered: ")


def test_plugin_of_another_api_version_is_reported_and_never_imported(install):
    install("future-attacks", "3.0", {"future": "future_hooks"}, group="harness.v2", future_hooks="raise RuntimeError")
    manager = Manager.discover()
    assert "future_hooks" not in sys.modules
    assert manager.problems == [
        Problem(
            "future",
            "future-attacks",
            "3.0",
            "is written for harness.v2, this is harness.v1; look for a release that fits",
        )
    ]


def test_other_groups_are_not_ours(install):
    install("others", "1.0", {"other": "other_hooks"}, group="harness.value", other_hooks="")
    install("more-others", "1.0", {"other": "more_hooks"}, group="harnessed.v2", more_hooks="")
    assert Manager.discover().problems == []


@pytest.mark.parametrize(
    ("target", "source", "message"),
    [
        (
            "part:Nothing",
            "import no_such_module_anywhere",
            '"part" cannot be imported: ModuleNotFoundError: No module named',
        ),
        ("part:Nothing", "raise SystemExit", '"part" cannot be imported: SystemExit'),
        ("no_such_part:Nothing", "", '"no_such_part" cannot be imported: ModuleNotFoundError'),
        ("part:Nothng", ATTACK, '"part" has no "Nothng"; did you mean "Nothing"?'),
        ("part:Nothing", "Nothing = 5", '"part:Nothing" is no subclass of harness.api.Attack'),
        ("part:Nothing", "class Nothing: pass", '"part:Nothing" is no subclass of harness.api.Attack'),
        (
            "part:Nothing",
            "from harness.api import Adapter\nclass Nothing(Adapter): pass",
            '"part:Nothing" is no subclass of harness.api.Attack',
        ),
        (
            "part:Nothing",
            "from harness.api import Attack\nclass Nothing(Attack): pass",
            '"part:Nothing" does not define run',
        ),
        (
            "part:Nothing",
            ATTACK.replace("capabilities =", "abilities ="),
            '"part:Nothing" does not declare its capabilities; expected capabilities = Capabilities(…)',
        ),
        (
            "part:Nothing",
            ATTACK + "    options_type = dict\n",
            '"part:Nothing" has options that are no subclass of harness.api.Options',
        ),
    ],
)
def test_plugin_that_is_broken_says_so_when_it_is_used(install, target, source, message):
    install(
        "odd-attacks",
        "1.5",
        {"odd": "odd_hooks"},
        odd_hooks=HOOKS.format(offered=f'{{"odd": "{target}"}}'),
        part=source,
    )
    manager = Manager.discover()
    with pytest.raises(PluginError) as raised:
        manager.load(manager.find("attack", "odd"))
    assert str(raised.value).startswith(f'attack "odd/odd" (odd-attacks 1.5) is broken: {message}')
    assert raised.value.exit_code == 3


def test_adapter_that_does_nothing_is_broken(install):
    hooks = HOOKS.format(offered='{"idle": "idle_part:Idle"}').replace("attacks", "adapters")
    part = "from harness.api import Adapter\nclass Idle(Adapter): pass"
    install("idle-adapters", "1.0", {"idle": "idle_hooks"}, idle_hooks=hooks, idle_part=part)
    manager = Manager.discover()
    with pytest.raises(PluginError, match="defines neither losses nor adapt"):
        manager.load(manager.find("adapter", "idle"))


def test_name_of_a_package_that_could_not_be_imported_says_why(install):
    install("broken-attacks", "1.0", {"broken": "broken_hooks"}, broken_hooks="import no_such_module_anywhere")
    manager = Manager.discover()
    for name in ("broken/pgd", "broken-attacks/pgd"):
        with pytest.raises(PluginError) as raised:
            manager.find("attack", name)
        assert str(raised.value) == (
            f'unknown attack "{name}": plugin "broken" (broken-attacks 1.0) cannot be imported: ModuleNotFoundError: '
            "No module named 'no_such_module_anywhere'. See \"harness doctor\"."
        )
    with pytest.raises(PluginError) as raised:
        manager.find("attack", "zzz")
    assert str(raised.value) == (
        'unknown attack "zzz". See "harness plugins list". 1 plugin has problems: see "harness doctor".'
    )


class Observer:
    """A plugin that watches, and fails from the second event on."""

    def __init__(self, fails_at: int) -> None:
        self.seen: list[str] = []
        self.fails_at = fails_at

    @hookimpl
    def harness_run_event(self, event):
        """Note the event."""
        self.seen.append(event["kind"])
        if len(self.seen) == self.fails_at:
            raise RuntimeError("no disk")

    @hookimpl
    def harness_attacks(self):
        """Offer one."""
        return {f"of-{self.fails_at}": "a:A"}


def test_observer_that_raises_is_reported_and_not_called_again():
    manager = Manager()
    failing, whole = Observer(2), Observer(99)
    manager.register(failing, package="failing", distribution="observers", version="1.0")
    manager.register(whole, package="whole", distribution="observers", version="1.0")
    for kind in ("run-started", "cell-finished", "run-finished"):
        manager.announce({"kind": kind})
    assert failing.seen == ["run-started", "cell-finished"]
    assert whole.seen == ["run-started", "cell-finished", "run-finished"]
    assert manager.problems == [
        Problem("failing", "observers", "1.0", "harness_run_event raised RuntimeError: no disk")
    ]
    assert manager.find("attack", "of-2")


def test_observer_that_raises_keeps_its_cards(tmp_path):
    manager = Manager()
    plugin = Observer(1)
    plugin.harness_catalogues = hookimpl(lambda: [tmp_path])
    manager.register(plugin, package="failing", distribution="observers", version="1.0")
    manager.announce({"kind": "run-started"})
    assert manager.catalogues() == [tmp_path]


def test_observer_may_leave_the_event_out():
    called = []
    plugin = SimpleNamespace(harness_run_event=hookimpl(lambda: called.append(True)))
    manager = Manager()
    manager.register(plugin, package="terse", distribution="observers", version="1.0")
    manager.announce({"kind": "run-started"})
    assert called == [True]


def test_names_of_plugins_are_unknown_beyond_their_kind():
    manager = Manager.discover()
    with pytest.raises(PluginError) as raised:
        manager.find("adapter", "salt-and-pepper")
    assert str(raised.value) == 'unknown adapter "salt-and-pepper". See "harness plugins list".'


@pytest.mark.parametrize(
    ("kind", "source", "message"),
    [
        (
            "attacks",
            ATTACK.replace("capabilities =", "library = 'foolbox'\n    capabilities ="),
            "declares a str as its library; expected library = Library(…)",
        ),
        (
            "adapters",
            """
            from harness.api import Adapter

            class Nothing(Adapter):
                capabilities = {"target": True}

                def losses(self, source, target):
                    return {}
            """,
            "does not declare its capabilities; expected capabilities = AdapterCapabilities(…)",
        ),
    ],
)
def test_a_wrong_declaration_is_a_broken_plugin_and_no_crash_of_the_list(install, kind, source, message):
    hooks = HOOKS.format(offered='{"odd": "odd_class:Nothing"}').replace("harness_attacks", f"harness_{kind}")
    install("odd-classes", "1.0", {"odd": "odd_class_hooks"}, odd_class_hooks=hooks, odd_class=source)
    manager = Manager.discover()
    with pytest.raises(PluginError, match=re.escape(message)):
        manager.load(manager.find(kind[:-1], "odd/odd"))
    [entry] = [entry for entry in offers(manager) if entry["qualified"] == "odd/odd"]
    assert message in entry["problem"]


def test_a_hook_may_be_marked_under_another_functions_name(install):
    hooks = """
    from harness.api import hookimpl

    @hookimpl(specname="harness_attacks")
    def my_attacks():
        return {"fresh": "a:A"}
    """
    install("renamed-attacks", "1.0", {"renamed": "renamed_hooks"}, renamed_hooks=hooks)
    manager = Manager.discover()
    assert manager.find("attack", "renamed/fresh")
    assert problems_of(manager, "renamed") == []
