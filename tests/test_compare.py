"""Paired statistics, against hand computations, scipy.stats and statsmodels."""

from itertools import product

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests

from harness.compare import holm, mcnemar_exact, paired_difference, sample_std, wilcoxon_exact
from harness.errors import UsageError


def test_t_interval_agrees_with_a_hand_computation():
    found = paired_difference({1: 11.0, 2: 22.0, 5: 33.0}, {1: 10.0, 2: 20.0, 5: 30.0})
    # differences 1, 2, 3: mean 2, std 1, standard error 1/sqrt(3); t(0.975; 2) = 4.302653
    margin = 4.302653 / 3**0.5
    assert (found.n, found.mean, found.per_seed) == (3, 2.0, {1: 1.0, 2: 2.0, 5: 3.0})
    assert (found.low, found.high) == (pytest.approx(2 - margin, abs=1e-6), pytest.approx(2 + margin, abs=1e-6))
    # with two degrees of freedom P(|T| > t) = 1 - t / sqrt(t² + 2), and t² = 12
    assert found.p == pytest.approx(1 - (12 / 14) ** 0.5)
    assert str(found) == "+2.00 [-0.48, +4.48]"


def test_p_and_interval_agree_with_scipy():
    ours, theirs = [93.1, 92.7, 93.9, 94.0, 93.3], [92.9, 92.8, 93.2, 93.5, 93.4]
    found = paired_difference(dict(enumerate(ours)), dict(enumerate(theirs)))
    peer = stats.ttest_rel(ours, theirs)
    assert found.p == pytest.approx(peer.pvalue)
    assert (found.low, found.high) == pytest.approx(tuple(peer.confidence_interval()))


def test_one_seed_has_a_mean_and_nothing_else():
    found = paired_difference({1: 3.0}, {1: 1.0})
    assert (found.n, found.mean, found.low, found.high, found.p, found.wilcoxon_p) == (1, 2.0, None, None, None, None)
    assert str(found) == "+2.00"


def test_equal_differences_have_no_p_even_when_floats_disagree():
    found = paired_difference({1: 0.3, 2: 0.4}, {1: 0.2, 2: 0.3})
    assert 0.3 - 0.2 != 0.4 - 0.3
    assert (found.low, found.high, found.p) == (0.1, 0.1, None)
    assert str(found) == "+0.10 (every seed)"


def test_only_common_seeds_are_compared():
    assert paired_difference({1: 5.0, 2: 7.0, 5: 100.0}, {1: 4.0, 2: 4.0, 9: -100.0}).per_seed == {1: 1.0, 2: 3.0}


def test_no_common_seed_is_an_error_that_lists_both():
    with pytest.raises(UsageError, match=r"no seed in common, got seeds 1, 2 and seeds 5; run both for the same seeds"):
        paired_difference({2: 1.0, 1: 1.0}, {5: 1.0})


def test_mcnemar_agrees_with_hand_computed_values():
    labels = [0] * 10
    ours = [0] * 7 + [1] * 3
    theirs = [0, 0, 1, 1, 1, 1, 1, 0, 1, 1]
    # discordant: 5 that we alone get right, 1 that they do; p = 2 (C(6,0) + C(6,1)) / 2^6
    assert mcnemar_exact(labels, ours, theirs) == (5, 1, pytest.approx(14 / 64))


def test_mcnemar_does_not_count_two_different_mistakes():
    assert mcnemar_exact([0, 0], [1, 1], [2, 1]) == (0, 0, 1.0)


@pytest.mark.parametrize(("b", "c"), [(0, 1), (3, 3), (0, 12), (17, 30), (400, 460)])
def test_mcnemar_agrees_with_scipys_binomial_test(b, c):
    ours, theirs = [0] * b + [1] * c, [1] * b + [0] * c
    assert mcnemar_exact([0] * (b + c), ours, theirs).p == pytest.approx(stats.binomtest(b, b + c).pvalue)


def test_mcnemar_refuses_predictions_of_other_examples():
    with pytest.raises(UsageError, match="got 3 labels, 3 and 2 predictions"):
        mcnemar_exact([0, 1, 2], [0, 1, 2], [0, 1])


def test_holm_agrees_with_a_hand_example():
    # sorted: 0.005 x 4, 0.01 x 3, 0.03 x 2, 0.04 x 1, the last lifted to the one before
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []


@pytest.mark.parametrize("seed", range(5))
def test_interval_p_mcnemar_and_holm_agree_with_the_libraries_on_random_numbers(seed):
    random = np.random.default_rng(seed)
    ours, theirs = random.normal(90, 1, size=(2, 3 + seed)).round(2)
    found, peer = paired_difference(dict(enumerate(ours)), dict(enumerate(theirs))), stats.ttest_rel(ours, theirs)
    assert (found.low, found.high, found.p) == pytest.approx((*peer.confidence_interval(), peer.pvalue))
    assert found.spread == pytest.approx(np.std(ours - theirs, ddof=1))
    labels, mine, other = random.integers(0, 3, size=(3, 60))
    b, c = int(((mine == labels) & (other != labels)).sum()), int(((other == labels) & (mine != labels)).sum())
    assert mcnemar_exact(labels, mine, other) == (b, c, pytest.approx(mcnemar([[0, b], [c, 0]], exact=True).pvalue))
    p_values = random.uniform(0, 0.2, size=12).round(2)
    assert holm(p_values.tolist()) == pytest.approx(multipletests(p_values, method="holm")[1])


def test_sample_std_divides_by_n_minus_one():
    assert sample_std([1.0, 3.0]) == pytest.approx(2**0.5)
    assert sample_std([1.0]) is None


def test_wilcoxon_needs_six_seeds_and_agrees_with_scipy_without_ties():
    values = [0.3, -0.1, 0.5, 0.2, 0.7, -0.4, 0.6]
    ours = dict(enumerate(values))
    theirs = dict.fromkeys(ours, 0.0)
    assert paired_difference(ours, theirs).wilcoxon_p == pytest.approx(stats.wilcoxon(values, method="exact").pvalue)
    assert paired_difference(dict(list(ours.items())[:5]), theirs).wilcoxon_p is None
    assert wilcoxon_exact([1.0, 2.0, 3.0, 4.0, 5.0, 6.0]) == 2 / 64


@pytest.mark.parametrize(
    "values", [[0.0, -1.0, 1.0, 2.0, 3.0, 3.0, 4.0], [3, 3, -4, 1, 5, 4, 3], [-2, -3, 1, 5, -2, 1, -3]]
)
def test_wilcoxon_under_ties_and_zeros_agrees_with_enumeration(values):
    kept = [value for value in values if value]
    ranks = stats.rankdata(np.abs(kept))
    middle = ranks.sum() / 2
    observed = abs(ranks[np.array(kept) > 0].sum() - middle)
    sums = np.array(list(product((0, 1), repeat=len(kept)))) @ ranks
    assert wilcoxon_exact(values) == pytest.approx((abs(sums - middle) >= observed).mean())


@pytest.mark.parametrize("seed", range(6))
def test_wilcoxon_agrees_with_all_of_scipys_permutations_on_random_ties_and_zeros(seed):
    values = np.random.default_rng(seed).integers(-3, 4, size=6 + seed)
    every = stats.PermutationMethod(n_resamples=np.inf)
    assert wilcoxon_exact(values.tolist()) == pytest.approx(stats.wilcoxon(values, method=every).pvalue)


def test_scipys_exact_wilcoxon_is_not_exact_under_ties():
    # why the test is our own: ranks 1, 2.5, 2.5, 4, 5, 6 and a negative sum of 2.5
    values = [1.0, -2.0, 2.0, 3.0, 4.0, 5.0]
    # subsets of the ranks with a sum of at most 2.5: none, {1}, {2.5}, {2.5}
    assert wilcoxon_exact(values) == 2 * 4 / 64
    assert stats.wilcoxon(values, method="exact").pvalue != pytest.approx(2 * 4 / 64)


def test_wilcoxon_of_zeros_alone_is_nothing():
    assert wilcoxon_exact([0.0, 0.0]) is None
