"""The author kit: checks that a plugin keeps its contract, for a plugin's own tests and for ``harness plugins check``.

``test_my_attack = conformance_suite("my-attack")`` in a test file is all that an author writes.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from harness.testing.batches import toy_batch
    from harness.testing.checks import Check, CheckFailed, CheckSkipped, Result
    from harness.testing.conformance import CHECKS, checks_of, conformance_suite, run_checks

_HOME_OF = {
    "CHECKS": "harness.testing.conformance",
    "Check": "harness.testing.checks",
    "CheckFailed": "harness.testing.checks",
    "CheckSkipped": "harness.testing.checks",
    "Result": "harness.testing.checks",
    "checks_of": "harness.testing.conformance",
    "conformance_suite": "harness.testing.conformance",
    "run_checks": "harness.testing.conformance",
    "toy_batch": "harness.testing.batches",
}

__all__ = [
    "CHECKS",
    "Check",
    "CheckFailed",
    "CheckSkipped",
    "Result",
    "checks_of",
    "conformance_suite",
    "run_checks",
    "toy_batch",
]


def __getattr__(name: str) -> Any:
    home = _HOME_OF.get(name)
    if home is None:
        raise AttributeError(f"module 'harness.testing' has no attribute {name!r}")
    return getattr(import_module(home), name)


def __dir__() -> list[str]:
    return __all__
