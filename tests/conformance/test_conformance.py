"""The conformance checks, each proven by plugins that are sound but for what it tells."""

from __future__ import annotations

import random
import re
import subprocess
import sys
from pathlib import Path

import broken_adapters
import broken_attacks
import broken_figures
import broken_measuring
import broken_providers
import numpy as np
import pytest
import torch

from harness.errors import PluginError, UsageError
from harness.kinds import KINDS
from harness.manager import Manager
from harness.testing import CHECKS, checks_of, conformance_suite, run_checks
from harness.testing.conformance import find_plugin
from harness.testing.toys import Toys

# Toys are too small to share between threads, which then wait for each other on a busy machine.
torch.set_num_threads(1)

HERE = Path(__file__).parent
MODULES = (broken_attacks, broken_adapters, broken_providers, broken_measuring, broken_figures)
BROKEN = [(module, plugin.__name__, check) for module in MODULES for plugin, check in module.BROKEN.items()]
SOUND = [(module, plugin.__name__) for module in MODULES for plugin in module.SOUND]
FRESH = "import-without-torch"
"""The one check that needs a process of its own: the broken plugins, whose modules are the same, are spared it."""


def manager_of(*modules):
    manager = Manager()
    for module in modules:
        manager.register(module, package=module.__name__, distribution="broken", version="1.0")
    return manager


def results_of(manager, name, options=None, *, kind=None, only=None):
    plugin = find_plugin(manager, name, kind)
    names = only or [check.name for check in checks_of(plugin.kind) if check.name != FRESH]
    return {result.name: result for result in run_checks(manager, plugin, options, only=names)}


def failed(results):
    return {name for name, result in results.items() if result.status == "failed"}


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Return a function that installs a distribution of one entry point: its modules by their names."""
    monkeypatch.syspath_prepend(tmp_path)
    before = set(sys.modules)

    def write(hooks, **modules):
        for name, source in modules.items():
            (tmp_path / f"{name}.py").write_text(source)
        folder = tmp_path / "fresh-1.0.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: fresh\nVersion: 1.0\n")
        (folder / "entry_points.txt").write_text(f"[harness.v1]\nfresh = {hooks}\n")

    yield write
    for name in set(sys.modules) - before:
        if name.startswith("fresh_"):
            del sys.modules[name]


# -- each check tells one thing -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("module", "name", "check"), BROKEN, ids=[f"{name}-{check}" for _, name, check in BROKEN])
def test_broken_plugin_fails_the_check_of_what_it_breaks_and_no_other(module, name, check):
    results = results_of(manager_of(module), name)
    assert failed(results) == {check}
    assert re.search(r"; expected .+|expected .+:|: return ", results[check].message), results[check].message


@pytest.mark.parametrize(("module", "name"), SOUND)
def test_sound_plugin_fails_no_check(module, name):
    results = results_of(manager_of(module), name)
    assert failed(results) == set()


def test_every_check_has_a_plugin_that_fails_it():
    apart = {"target-resolves", FRESH}  # below
    for kind in KINDS:
        assert {check.name for check in checks_of(kind)} <= {check for _, _, check in BROKEN} | apart


def test_every_check_has_a_name_of_its_own_and_says_what_it_holds_to():
    for kind in KINDS:
        names = [check.name for check in checks_of(kind)]
        assert len(set(names)) == len(names) >= 4
    for check in CHECKS:
        assert re.fullmatch(r"[a-z]+(-[a-z]+)*", check.name)
        assert re.fullmatch(r"[A-Z].*\.", check.title)


def test_class_that_is_missing_fails_to_resolve_and_nothing_else_is_said_of_it():
    results = results_of(manager_of(broken_attacks), "Missing")
    assert failed(results) == {"target-resolves"}
    assert '"broken_attacks" has no "Missing"' in results["target-resolves"].message
    assert {result.status for name, result in results.items() if name != "target-resolves"} == {"skipped"}
    assert results["finite"].message == 'says nothing while "target-resolves" fails'


HOOKS = """
from harness.api import hookimpl
{extra}
@hookimpl
def harness_attacks():
    return {{"fresh": "fresh_attack:Fresh"}}
"""
CLASS = "{extra}\nfrom broken_attacks import Sound\nclass Fresh(Sound):\n    '''Do as it does.'''\n"


@pytest.mark.parametrize(
    ("hooks", "attack", "blamed"),
    [("", "", None), ("import torch", "", "fresh_hooks"), ("", "import torch.nn", "fresh_attack")],
)
def test_import_that_loads_torch_is_found_in_a_fresh_process(install, hooks, attack, blamed):
    install("fresh_hooks", fresh_hooks=HOOKS.format(extra=hooks), fresh_attack=CLASS.format(extra=attack))
    results = results_of(Manager.discover(), "fresh/fresh", only=[FRESH, "described-for-users", "defaults-round-trip"])
    assert failed(results) == ({FRESH} if blamed else set())
    if blamed:
        assert results[FRESH].message.startswith(f'importing "{blamed}" loads torch; expected it unloaded: ')


def test_module_that_this_process_alone_can_import_is_not_judged():
    class Elsewhere(broken_attacks.Sound):
        """Live in a module that was never written down."""

    module = type(sys)("fresh_unwritten")
    module.Elsewhere = Elsewhere
    module.harness_attacks = broken_attacks.hookimpl(lambda: {"elsewhere": "fresh_unwritten:Elsewhere"})
    sys.modules["fresh_unwritten"] = module
    try:
        results = results_of(manager_of(module), "elsewhere", only=[FRESH])
    finally:
        del sys.modules["fresh_unwritten"]
    assert results[FRESH].status == "skipped"
    assert "No module named 'fresh_unwritten'" in results[FRESH].message


# -- what is skipped, and why ---------------------------------------------------------------------------------------------


def test_plugin_whose_library_is_missing_is_described_and_not_run():
    results = results_of(manager_of(broken_attacks), "NeedsItsLibrary")
    assert {name for name, result in results.items() if result.status == "ok"} == {
        "target-resolves",
        "described-for-users",
        "defaults-round-trip",
    }
    assert results["runs"].message.endswith('not installed; run "pip install no-such-attacks"')


def test_option_without_a_default_must_be_given():
    results = results_of(manager_of(broken_attacks), "NeedsOptions", only=["defaults-round-trip", "runs"])
    assert {result.message for result in results.values()} == {"has no default for table; give options"}
    given = results_of(manager_of(broken_attacks), "NeedsOptions", {"table": "a"}, only=["defaults-round-trip", "runs"])
    assert {result.status for result in given.values()} == {"ok"}


def test_data_set_without_its_files_is_not_judged():
    result = results_of(manager_of(broken_providers), "NeedsFiles")["loads"]
    assert (result.status, result.message) == ("skipped", 'needs its files: "train.bin": no such file; download it')


def test_options_are_those_given():
    """A ball of 0.05 is kept by an attack of that eps, and left by one that ignores it."""
    for name, status in (("Sound", "ok"), ("LeavesTheBall", "failed")):
        results = results_of(manager_of(broken_attacks), name, {"eps": 0.05}, only=["within-eps"])
        assert results["within-eps"].status == status
    assert "0.07 in linf when approaching labels; expected 0.05" in results["within-eps"].message


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"epz": 0.1}, 'attack "Sound": unknown option "epz"; did you mean "eps"?'),
        ({"eps": "wide"}, 'attack "Sound": eps: got "wide", expected a number'),
    ],
)
def test_options_that_do_not_fit_are_refused(options, message):
    with pytest.raises(UsageError) as caught:
        results_of(manager_of(broken_attacks), "Sound", options, only=["runs"])
    assert str(caught.value).startswith(message)


# -- what the checks leave behind, and what they stand on -------------------------------------------------------------------


@pytest.mark.parametrize("name", ["Reseeds", "DrawsFromNumpy", "TurnsGradientsOff", "TracesNothing"])
def test_checks_leave_the_process_as_it_was_whatever_the_plugin_does(name):
    def state():
        generators = torch.get_rng_state().tolist(), random.getstate(), np.random.get_state()[1].tolist()  # noqa: NPY002
        return generators, torch.is_grad_enabled(), sys.gettrace()

    torch.manual_seed(77)  # whatever it was, it is not what a plugin makes of it
    before = state()
    assert torch.is_grad_enabled()
    results_of(manager_of(broken_attacks), name)
    assert state() == before


def test_results_do_not_depend_on_which_checks_run():
    for name, check in (("RemembersItsRuns", "same-seed"), ("HidesRandomness", "stochastic-declared")):
        alone = results_of(manager_of(broken_attacks), name, only=[check])
        assert failed(alone) == {check}


def test_toys_are_what_the_checks_take_them_for():
    toys = Toys.make()
    with torch.no_grad():
        logits = toys.network(toys.images)
        one_by_one = toys.one_by_one()
        assert torch.equal(one_by_one(toys.images)[3:5], one_by_one(toys.images[3:5]))
        torch.testing.assert_close(one_by_one(toys.images), logits)
    order = logits.argsort(1, descending=True)
    assert torch.equal(order[:, 0], toys.predicted)
    assert torch.equal(order[:, 1], toys.second_best)
    assert set(toys.made.labels.tolist()) == set(range(5))
    leaf = toys.images.clone().requires_grad_()
    (zero,) = torch.autograd.grad(toys.flat()(leaf).square().sum(), leaf)
    assert torch.equal(zero, torch.zeros_like(zero))
    assert torch.equal(Toys.make().images, toys.images)


# -- our own plugins --------------------------------------------------------------------------------------------------------

QUICK = {
    "paper/ddn": {"steps": 15},
    "paper/salt-and-pepper": {"steps": 40},
    "paper/bim": {},
    "classifiers/small-cnn": {},
    "classifiers/cifar-resnet20": {},
    "datasets/digits": {},
}


@pytest.mark.parametrize(
    "name",
    [
        *QUICK,
        *(plugin.qualified for plugin in Manager.discover().names("adapter") if plugin.package == "adaptation"),
    ],
)
def test_first_party_plugin_fails_no_check(name):
    plugin = find_plugin(Manager.discover(), name)
    results = list(run_checks(Manager.discover(), plugin, QUICK.get(name) or None))
    assert [result for result in results if result.status == "failed"] == []


# -- the suite --------------------------------------------------------------------------------------------------------------


def suite(name="SoundSearch", **how):
    return conformance_suite(name, manager=manager_of(*MODULES), **how)


def test_suite_is_one_test_with_a_parameter_a_check():
    (mark,) = suite().pytestmark
    assert mark.kwargs["ids"] == [check.name for check in checks_of("attack")]


@pytest.mark.parametrize(
    ("expected", "message"),
    [
        (
            {"beats-nose": "a baseline"},
            'expected_failures: "beats-nose" is no check of an attack; did you mean "beats-noise"?',
        ),
        ({"classifies": "why"}, 'expected_failures: "classifies" is no check of an attack'),
        ({"finite": " "}, 'expected_failures: "finite" has no reason; write why the plugin cannot keep it'),
    ],
)
def test_expected_failure_needs_a_check_and_a_reason(expected, message):
    with pytest.raises(UsageError) as caught:
        suite(expected_failures=expected)
    assert str(caught.value).startswith(message)


def test_suite_of_an_unknown_plugin_names_the_nearest():
    with pytest.raises(PluginError, match=r'unknown plugin "SoundSerch"; did you mean "SoundSearch"\?'):
        suite("SoundSerch")


def test_name_of_two_kinds_needs_the_kind():
    with pytest.raises(PluginError, match='"Raises" is a plugin of the kind attack and a plugin of the kind adapter'):
        suite("Raises")
    (mark,) = suite("Raises", kind="adapter").pytestmark
    assert "same-losses" in mark.kwargs["ids"]


SUITES = """
import broken_adapters
from harness.manager import Manager
from harness.testing import conformance_suite

manager = Manager()
manager.register(broken_adapters, package="broken", distribution="broken", version="1.0")
test_sound = conformance_suite("Sound", manager=manager)
test_expected = conformance_suite("IsDetached", manager=manager, expected_failures={"gradient-reaches-features": "a dummy"})
test_stale = conformance_suite("SoundOnSource", manager=manager, expected_failures={"adapts": "it once did not"})
test_unexpected = conformance_suite("IgnoresTheTarget", manager=manager)
"""


def test_suite_tells_pytest_what_failed_what_was_expected_to_and_what_no_longer_does(tmp_path):
    (tmp_path / "test_mine.py").write_text(SUITES)
    (tmp_path / "conftest.py").write_text(f"import sys\nsys.path.insert(0, {str(HERE)!r})\n")
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-rA", "-W", "error", str(tmp_path)]
    ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    shown = ran.stdout
    told = re.findall(r"^(PASSED|FAILED|XFAIL) \S*?::(\S+)", shown, re.MULTILINE)
    assert {name for status, name in told if status == "FAILED"} == {
        "test_stale[adapts]",
        "test_unexpected[target-declared]",
    }
    assert {name for status, name in told if status == "XFAIL"} == {"test_expected[gradient-reaches-features]"}
    assert ("PASSED", "test_sound[same-losses]") in told
    assert 'adapter "broken/SoundOnSource" (broken 1.0) passes "adapts"; remove it from expected_failures' in shown
    assert 'adapter "broken/IgnoresTheTarget" (broken 1.0) declares target=True and has the same losses' in shown
    assert "a dummy: no gradient of its losses" in shown
    assert re.search(r"SKIPPED .*: has no modules of its own", shown)
    assert "Traceback" not in shown
    assert ran.returncode == 1


def test_author_kit_is_imported_without_torch_and_without_pytest():
    code = (
        "import sys, harness.testing as kit; kit.conformance_suite, kit.CHECKS; "
        "sys.exit('torch' in sys.modules or 'pytest' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
