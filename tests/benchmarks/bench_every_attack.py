"""Time every installed attack: each corrects the digits that a small classifier gets wrong. `make bench`.

What cannot be timed is skipped with its reason, which the saved file holds too; an attack that raises fails.
"""

from __future__ import annotations

import pytest
import torch

from harness.errors import ContractError, PluginError
from harness.manager import Manager
from harness.testing.benchmarking import NoSuccessError

IMAGES = 16
MAX_PASSES = 200
ROUNDS = 3


@pytest.fixture(scope="module", autouse=True)
def _one_thread():
    """A net this small only waits for a second thread, and an experiment's workers have one too."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.parametrize("attack", [plugin.qualified for plugin in Manager.discover().names("attack")])
def test_correcting_digits(attack, attack_benchmark, digits_classifier, wrong_digits, digits_examples):
    images, labels = wrong_digits
    try:
        attack_benchmark(
            attack,
            classifier=digits_classifier,
            images=images[:IMAGES],
            labels=labels[:IMAGES],
            examples=digits_examples,
            max_passes=MAX_PASSES,
            rounds=ROUNDS,
        )
    except ContractError:
        raise
    except (NoSuccessError, PluginError) as error:
        pytest.skip(str(error))
