"""All checks, and the two ways to run them: as a parametrized test of a plugin's own, and one after the other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from harness.errors import PluginError, UsageError, did_you_mean
from harness.kinds import KINDS, TITLES
from harness.manager import Manager
from harness.testing.adapter_checks import ADAPTER_CHECKS
from harness.testing.adapter_runs import AdapterSubject
from harness.testing.attack_checks import ATTACK_CHECKS
from harness.testing.attack_claims import CLAIM_CHECKS
from harness.testing.attack_runs import AttackSubject
from harness.testing.figure_checks import FIGURE_CHECKS, FigureSubject
from harness.testing.measuring_checks import MEASURING_CHECKS, EvaluatorSubject, FormatSubject, QuantizerSubject
from harness.testing.plugin_checks import PLUGIN_CHECKS
from harness.testing.provider_checks import CLASSIFIER_CHECKS, DATASET_CHECKS, ClassifierSubject
from harness.testing.subject import Subject

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from harness.contract import Options
    from harness.kinds import Kind
    from harness.manager import PluginName
    from harness.testing.checks import Check, Result

CHECKS: tuple[Check, ...] = (
    *PLUGIN_CHECKS,
    *ATTACK_CHECKS,
    *CLAIM_CHECKS,
    *ADAPTER_CHECKS,
    *CLASSIFIER_CHECKS,
    *DATASET_CHECKS,
    *MEASURING_CHECKS,
    *FIGURE_CHECKS,
)
"""Every check, in the order in which they run."""

_SUBJECTS: Mapping[Kind, type[Subject]] = {
    "attack": AttackSubject,
    "adapter": AdapterSubject,
    "classifier": ClassifierSubject,
    "quantizer": QuantizerSubject,
    "evaluator": EvaluatorSubject,
    "figure": FigureSubject,
    "report-format": FormatSubject,
}


def checks_of(kind: Kind) -> tuple[Check, ...]:
    """Return the checks of one kind of plugins."""
    return tuple(check for check in CHECKS if kind in check.kinds)


def find_plugin(manager: Manager, name: str, kind: Kind | None = None) -> PluginName:
    """Find a plugin of whatever kind. Raises ``PluginError`` where there is none, or where several answer to the name."""
    kinds = [kind] if kind is not None else list(KINDS)
    found = [one for one in kinds if any(plugin.answers_to(name) for plugin in manager.names(one))]
    if len(found) > 1:
        raise PluginError(
            f'"{name}" is {" and ".join(f"a plugin of the kind {one}" for one in found)}; name the kind as well'
        )
    if not found and kind is None:
        raise manager.unknown(name)
    return manager.find(found[0] if found else kinds[0], name)


def subject_of(manager: Manager, plugin: PluginName, options: Mapping[str, Any] | Options | None = None) -> Subject:
    """Return a plugin with options, its defaults where there are none, ready to be checked."""
    return _SUBJECTS.get(plugin.kind, Subject)(manager, plugin, options)


def run_checks(
    manager: Manager,
    plugin: PluginName,
    options: Mapping[str, Any] | Options | None = None,
    *,
    only: Iterable[str] = (),
) -> Iterator[Result]:
    """Run the checks of a plugin's kind, or those of them that are named, one after the other.

    Raises ``UsageError`` where the options do not fit the plugin.
    """
    subject = subject_of(manager, plugin, options)
    chosen = set(only)
    for check in checks_of(plugin.kind):
        if not chosen or check.name in chosen:
            yield check.run(subject)


def conformance_suite(
    name: str,
    *,
    kind: Kind | None = None,
    options: Mapping[str, Any] | None = None,
    expected_failures: Mapping[str, str] | None = None,
    manager: Manager | None = None,
) -> Callable[..., None]:
    """Make the test of a plugin, one parameter a check.

    ``test_my_attack = conformance_suite("my-attack")`` in a test file is all that an author writes.
    ``options`` are the plugin's, where its defaults are slow or missing; ``kind`` is needed where plugins of two kinds have the
    name. ``expected_failures`` maps the names of checks to reasons: such a failure is reported as expected, and the test fails
    where the check passes. ``manager`` holds the plugins, by default those installed.
    Raises ``PluginError`` where the plugin is unknown, ``UsageError`` where an expected failure has no reason or no check.
    """
    import pytest

    manager = manager or Manager.discover()
    plugin = find_plugin(manager, name, kind)
    expected = dict(expected_failures or {})
    _refuse_misnamed(expected, plugin.kind)
    subject = subject_of(manager, plugin, options)
    checks = checks_of(plugin.kind)

    @pytest.mark.parametrize("check", checks, ids=[check.name for check in checks])
    def test_conformance(check: Check) -> None:
        _report(check.run(subject), expected.get(check.name), plugin)

    return test_conformance


def _report(result: Result, reason: str | None, plugin: PluginName) -> None:
    """Tell pytest of a result; ``reason`` says why a failure is expected, if it is."""
    import pytest

    if result.status == "skipped":
        pytest.skip(result.message)
    if result.status == "failed" and reason is not None:
        pytest.xfail(f"{reason}: {result.message}")
    if result.status == "failed":
        pytest.fail(f"{plugin} {result.message}\n{result.name}: {result.title}", pytrace=False)
    if reason is not None:
        pytest.fail(f'{plugin} passes "{result.name}"; remove it from expected_failures', pytrace=False)


def _refuse_misnamed(expected: Mapping[str, str], kind: Kind) -> None:
    known = [check.name for check in checks_of(kind)]
    for name, reason in expected.items():
        if name not in known:
            near = did_you_mean(name, known) or f"; expected one of {', '.join(known)}"
            raise UsageError(f'expected_failures: "{name}" is no check of an {TITLES[kind]}{near}')
        if not isinstance(reason, str) or not reason.strip():
            raise UsageError(f'expected_failures: "{name}" has no reason; write why the plugin cannot keep it')
