"""False positives of every test that a leaderboard prints, over simulated tables in which nothing helps. `make bench`.

Accuracies are whole numbers of test images, with a part that is the seed's and shared by all rows, so that differences tie and
vanish as real ones do. A table's rows share their control: the Monte Carlo error is over tables. Figures are printed, and stand in
extra_info.
"""

from __future__ import annotations

import sys

import numpy as np
import pytest

from harness.compare import LEVEL, holm, mcnemar_exact, paired_difference
from harness.power import POWER, detectable_difference
from harness.ranking import rank

TABLES = 2_000
ROWS = 8
BLOCKS, RANKED = 10, 6
IMAGES = {"10,000 images": 10_000, "360 images": 360}
SEED_SPREAD, ROW_SPREAD = 0.5, 0.3  # points
# Three standard errors of a share of 5% over 2,000 independent tables.
SLACK = 3 * (LEVEL * (1 - LEVEL) / TABLES) ** 0.5


def share(found):
    """Return the mean of each table's share, and its standard error."""
    of_tables = np.asarray(found, dtype=float)
    return float(of_tables.mean()), float(of_tables.std(ddof=1) / len(of_tables) ** 0.5)


def report(benchmark, capsys, shares):
    """Print and keep shares with their errors; returns the shares alone."""
    said = {name: f"{100 * value:.2f}% ± {100 * error:.2f}" for name, (value, error) in shares.items()}
    benchmark.extra_info.update(said)
    with capsys.disabled():
        sys.stdout.write("".join(f"\n{name}: {words}" for name, words in said.items()) + "\n")
    return {name: value for name, (value, _) in shares.items()}


def accuracies(random, seeds, images, gain=0.0):
    """Return the accuracies in points (rows and a control, seeds), the rows ahead by ``gain``."""
    truth = 95 + random.normal(0, SEED_SPREAD, seeds) + random.normal(0, ROW_SPREAD, (ROWS + 1, seeds))
    truth[:ROWS] += gain
    return np.round(truth * images / 100) * 100 / images


def compared(random, seeds, images, gain=0.0):
    """Return the rows' differences from the control of one table."""
    *rows, control = accuracies(random, seeds, images, gain)
    theirs = dict(enumerate(control.tolist()))
    return [paired_difference(dict(enumerate(row.tolist())), theirs) for row in rows]


def below(p_values):
    return np.mean([p is not None and p < LEVEL for p in p_values])


def any_below(p_values):
    return any(p < LEVEL for p in holm([1.0 if p is None else p for p in p_values]))


@pytest.mark.benchmark(group="false positives: see extra_info")
@pytest.mark.parametrize("images", IMAGES)
@pytest.mark.parametrize("seeds", [3, 6, 10])
def test_paired_tests_find_five_percent_where_there_is_nothing(benchmark, capsys, seeds, images):
    random = np.random.default_rng(seeds)
    tables = benchmark.pedantic(lambda: [compared(random, seeds, IMAGES[images]) for _ in range(TABLES)], rounds=1)
    where = f"{seeds} seeds, {images}"
    found = {
        f"{where}: rows with a t-test's p < {LEVEL}": share([below([one.p for one in table]) for table in tables]),
        f"{where}: tables with any after Holm": share([any_below([one.p for one in table]) for table in tables]),
    }
    if seeds >= 6:
        p_values = [[one.wilcoxon_p for one in table] for table in tables]
        found[f"{where}: rows with a Wilcoxon p < {LEVEL}"] = share([below(of_table) for of_table in p_values])
        found[f"{where}: tables with any after Holm, by Wilcoxon"] = share([any_below(one) for one in p_values])
    assert max(report(benchmark, capsys, found).values()) <= LEVEL + SLACK


@pytest.mark.benchmark(group="false positives: see extra_info")
@pytest.mark.parametrize("images", IMAGES)
def test_mcnemar_finds_five_percent_where_there_is_nothing(benchmark, capsys, images):
    random, count = np.random.default_rng(0), IMAGES[images]

    def table():
        right = random.beta(2, 0.1, count)  # most images are easy, some hard: 95% right in the mean
        labels, ours, theirs = np.zeros(count, int), *(random.random((2, count)) > right).astype(int)
        return mcnemar_exact(labels.tolist(), ours.tolist(), theirs.tolist()).p

    p_values = benchmark.pedantic(lambda: [table() for _ in range(TABLES)], rounds=1)
    found = {f"{images}: McNemar's p < {LEVEL}": share([p < LEVEL for p in p_values])}
    assert max(report(benchmark, capsys, found).values()) <= LEVEL + SLACK


@pytest.mark.benchmark(group="false positives: see extra_info")
def test_rankings_tell_nothing_apart_where_there_is_nothing(benchmark, capsys):
    random = np.random.default_rng(0)

    def ranked():
        truth = random.normal(90, 3, (BLOCKS, 1)) + random.normal(0, ROW_SPREAD, (BLOCKS, RANKED))
        scores = np.round(truth * 100) / 100
        return rank({f"data {row}": dict(zip("abcdef", line.tolist(), strict=True)) for row, line in enumerate(scores)})

    rankings = benchmark.pedantic(lambda: [ranked() for _ in range(TABLES)], rounds=1)
    where = f"{BLOCKS} blocks, {RANKED} rows"
    found = {
        f"{where}: Friedman's chi-squared p < {LEVEL}": share([one.friedman.chi_squared_p < LEVEL for one in rankings]),
        f"{where}: Iman and Davenport's p < {LEVEL}": share([one.differ for one in rankings]),
    }
    for test in ("nemenyi", "wilcoxon-holm"):
        found[f"{where}: any pair by {test}"] = share([min(one.p_values[test].values()) < LEVEL for one in rankings])
        found[f"{where}: more than one group by {test}"] = share([len(one.groups[test]) > 1 for one in rankings])
    assert max(report(benchmark, capsys, found).values()) <= LEVEL + SLACK


@pytest.mark.benchmark(group="power: see extra_info")
@pytest.mark.parametrize("seeds", [3, 6])
def test_the_gain_that_is_said_to_be_seen_is_seen_four_times_in_five(benchmark, capsys, seeds):
    random = np.random.default_rng(seeds)
    gain = detectable_difference(ROW_SPREAD * 2**0.5, seeds)
    tables = benchmark.pedantic(lambda: [compared(random, seeds, 10_000, gain) for _ in range(TABLES)], rounds=1)
    name = f"{seeds} seeds: a gain of {gain:.2f} points is seen"
    seen = [np.mean([one.low is not None and one.low > 0 for one in table]) for table in tables]
    found = {name: share(seen)}
    assert report(benchmark, capsys, found)[name] == pytest.approx(POWER, abs=4 * found[name][1])
