"""What few seeds can show, against hand computations, statsmodels and scipy's noncentral t."""

import math

import pytest
from scipy import stats
from statsmodels.stats.power import TTestPower

from harness.compare import holm, paired_difference, wilcoxon_exact
from harness.power import (
    detectable_difference,
    median_unbiased,
    pairs_for_wilcoxon,
    power_sentence,
    smallest_wilcoxon_p,
)


@pytest.mark.parametrize("n", range(1, 10))
def test_smallest_p_is_that_of_all_signs_alike(n):
    assert smallest_wilcoxon_p(n) == wilcoxon_exact([float(value) for value in range(1, n + 1)])
    assert smallest_wilcoxon_p(n) == wilcoxon_exact([1.0] * n)


def test_six_pairs_reach_five_percent_and_five_do_not():
    assert pairs_for_wilcoxon() == 6
    assert smallest_wilcoxon_p(5) == 0.0625
    assert smallest_wilcoxon_p(6) == 0.03125


@pytest.mark.parametrize("comparisons", [1, 2, 8, 20, 190])
def test_after_holm_the_pairs_named_are_the_fewest_that_suffice(comparisons):
    n = pairs_for_wilcoxon(comparisons)
    rest = [1.0] * (comparisons - 1)
    assert min(holm([smallest_wilcoxon_p(n), *rest])) < 0.05 <= min(holm([smallest_wilcoxon_p(n - 1), *rest]))


@pytest.mark.parametrize("n", [2, 3, 6, 10, 40])
def test_detectable_difference_agrees_with_statsmodels(n):
    effect = TTestPower().solve_power(nobs=n, alpha=0.05, power=0.8)
    assert detectable_difference(0.7, n) == pytest.approx(0.7 * float(effect), rel=1e-5)


def test_the_other_sign_is_found_with_no_probability_to_speak_of():
    for n in (3, 6, 40, 1000):
        shift = detectable_difference(1.0, n) * math.sqrt(n)
        assert stats.nct.cdf(-stats.t.ppf(0.975, n - 1), n - 1, shift) < 1e-6


def test_the_spread_of_three_values_is_a_sixth_too_small_in_the_median():
    # a chi-squared variable with two degrees of freedom is exponential, with the median 2 ln 2
    assert median_unbiased(1.0, 3) == pytest.approx(1 / math.sqrt(math.log(2)))
    assert 1 / median_unbiased(1.0, 3) == pytest.approx(5 / 6, abs=2e-3)


def difference(*values):
    return paired_difference(dict(enumerate(values)), dict.fromkeys(range(len(values)), 0.0))


def test_the_sentence_gives_the_median_gain_and_the_seeds_that_wilcoxon_needs():
    # spreads 1, 2, 3 over three seeds: that of 2 is the median one
    found = [difference(1.0, 2.0, 3.0), difference(3.0, 6.0, 9.0), difference(0.0, 2.0, 4.0)]
    gain = 2 / math.sqrt(math.log(2)) * float(TTestPower().solve_power(nobs=3, alpha=0.05, power=0.8))
    assert power_sentence(found, comparisons=8) == (
        f"power: with 3 seeds a difference of {gain:.1f} points would be seen 4 times in 5 (t-test, median of 3 "
        "differences); by Wilcoxon 3 seeds cannot reach p < 0.05, 6 can, 9 after Holm over 8 rows"
    )


def test_one_difference_of_a_small_spread_is_told_with_two_decimals():
    assert "a difference of 0.39 points would be seen 4 times in 5 (t-test);" in power_sentence(
        [difference(0.1, 0.2, 0.3)], comparisons=1
    )


@pytest.mark.parametrize(
    ("n", "comparisons", "words"),
    [
        (3, 1, "by Wilcoxon 3 seeds cannot reach p < 0.05, 6 can"),
        (6, 1, "by Wilcoxon 6 seeds can reach p < 0.05"),
        (6, 8, "by Wilcoxon 6 seeds can reach p < 0.05, but not after Holm over 8 rows: 9 can"),
        (9, 8, "by Wilcoxon 9 seeds can reach p < 0.05, after Holm over 8 rows too"),
    ],
)
def test_the_sentence_says_whether_these_seeds_suffice_for_wilcoxon(n, comparisons, words):
    assert power_sentence([difference(*range(n))], comparisons=comparisons).endswith(f"; {words}")


def test_where_nothing_varies_there_is_no_gain_to_name():
    assert power_sentence([difference(1.0)], comparisons=0) == (
        "power: 1 seed, and so no spread to test against; by Wilcoxon 1 seed cannot reach p < 0.05, 6 can"
    )
    assert power_sentence([difference(1.0, 1.0)], comparisons=0).startswith("power: no difference varies over seeds; ")


def test_rows_with_different_seeds_are_judged_by_the_most():
    sentence = power_sentence([difference(1.0, 2.0, 4.0), difference(*range(6))], comparisons=1)
    assert sentence.startswith("power: with 3 to 6 seeds a difference of ")
    assert sentence.endswith("by Wilcoxon 6 seeds can reach p < 0.05")
