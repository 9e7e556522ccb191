"""Fixtures for the tests of attacks: classifiers to attack, and ``attack_benchmark``, which times one.

Every pytest run of whoever installs the harness imports this module: it imports no more of ours, so that nothing is slowed
down and a coverage measurement misses nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pytest_benchmark.fixture import BenchmarkFixture
    from torch import Tensor

    from harness.engine.examples import TrainingExamples
    from harness.engine.networks import PixelClassifier
    from harness.manager import Manager
    from harness.testing.benchmarking import AttackBenchmark
    from harness.testing.digits import DigitsCase
    from harness.testing.toys import Toys
    from harness.timings import Untimed

_UNTIMED: pytest.StashKey[list[Untimed]] = pytest.StashKey()


@pytest.fixture(scope="session")
def harness_manager() -> Manager:
    """The installed plugins. Override it to test one that is not installed."""
    from harness.manager import Manager

    return Manager.discover()


@pytest.fixture(scope="session")
def _toys() -> Toys:
    from harness.testing.toys import Toys

    return Toys.make()


@pytest.fixture
def toy_classifier(_toys: Toys) -> PixelClassifier:
    """A small smooth net of random weights with batch-norm, (N, 3, 16, 16) to five labels; frozen, eval mode, on the CPU."""
    from harness.engine.networks import frozen_copy

    return frozen_copy(_toys.network)


@pytest.fixture
def wrong_toys(_toys: Toys) -> tuple[Tensor, Tensor]:
    """Images (12, 3, 16, 16) in [0, 1] for ``toy_classifier``, and labels (12,) that it does not give them: its second best."""
    return _toys.images.clone(), _toys.second_best.clone()


@pytest.fixture(scope="session")
def _digits_case() -> DigitsCase:
    from harness.testing.digits import train_digits

    return train_digits()


@pytest.fixture(scope="session")
def digits_classifier(_digits_case: DigitsCase) -> PixelClassifier:
    """A small convolutional net trained in a second on scikit-learn's digits, about 95% right; frozen, eval mode, on the CPU."""
    return _digits_case.classifier


@pytest.fixture
def wrong_digits(_digits_case: DigitsCase) -> tuple[Tensor, Tensor]:
    """The images (N, 1, 8, 8) in [0, 1] that ``digits_classifier`` labels wrong, and their true labels (N,)."""
    return _digits_case.wrong


@pytest.fixture
def digits_examples(_digits_case: DigitsCase) -> TrainingExamples:
    """Training images that ``digits_classifier`` labels right, for attacks that start from one."""
    return _digits_case.examples()


@pytest.fixture
def attack_benchmark(
    benchmark: BenchmarkFixture, harness_manager: Manager, request: pytest.FixtureRequest
) -> AttackBenchmark:
    """Time an attack by name: ``attack_benchmark("bim", classifier=…, images=…, labels=…)``; see ``AttackBenchmark``."""
    from harness.testing.benchmarking import AttackBenchmark

    return AttackBenchmark(benchmark, harness_manager, request.config.stash.setdefault(_UNTIMED, []))


@pytest.hookimpl(optionalhook=True)
def pytest_benchmark_update_json(config: pytest.Config, output_json: dict[str, Any]) -> None:
    """Save, beside the timings, which attacks have none and why: a table must not lose them."""
    untimed = config.stash.get(_UNTIMED, [])
    if untimed:
        from harness.timings import UNTIMED_KEY

        output_json[UNTIMED_KEY] = [one.model_dump(mode="json") for one in untimed]
