"""Comparing rows of results folders: pairs by seed, refusals, and what else differs."""

from __future__ import annotations

import pytest
from record_factory import make_matrix, make_record, method
from scipy.stats import binomtest, ttest_rel

from harness.errors import UsageError
from harness.pairing import choose, pair, rows_of, sentences


def rows(seeds=(1, 2, 5), **changes):
    return [make_record(test=0.6 + 0.01 * seed, corrector="vbi", corrected=1, seed=seed, **changes) for seed in seeds]


def baseline(seeds=(1, 2, 5)):
    return [make_record(test=0.5 + 0.005 * seed**2, control="none", adapter="none", seed=seed) for seed in seeds]


def test_two_rows_are_compared_as_scipy_does():
    [pairing] = pair(rows_of(baseline()), rows_of(rows()))
    ours, theirs = [50.5, 52.0, 62.5], [61.0, 62.0, 65.0]
    expected = ttest_rel(theirs, ours)
    assert pairing.difference.mean == pytest.approx(sum(theirs) / 3 - sum(ours) / 3)
    assert pairing.difference.p == pytest.approx(expected.pvalue)
    low, high = expected.confidence_interval(0.95)
    assert (pairing.difference.low, pairing.difference.high) == (pytest.approx(low), pytest.approx(high))


def test_mcnemar_is_the_exact_binomial_test_of_each_seed():
    first = make_record(test=0.5, seed=1, predictions=[0] * 100 + [1] * 100)
    second = make_record(test=0.5, seed=1, corrector="ll", corrected=1, predictions=[1] * 4 + [0] * 112 + [1] * 84)
    [pairing] = pair(rows_of([first]), rows_of([second]))
    # 4 right before and wrong now; 16 the other way round
    assert pairing.mcnemar[1].p == pytest.approx(binomtest(4, 20, 0.5).pvalue)
    assert pairing.difference.mean == pytest.approx(100 * 0.0)


def test_only_common_seeds_are_paired():
    [pairing] = pair(rows_of(baseline((1, 2))), rows_of(rows((2, 5))))
    assert pairing.difference.n == 1
    assert list(pairing.mcnemar) == [2]


def test_folders_are_compared_row_by_row():
    records = make_matrix()
    pairings = pair(rows_of(records), rows_of(records))
    assert len(pairings) == 10
    assert all(pairing.difference.mean == 0 for pairing in pairings)


def test_a_row_is_chosen_by_its_label_or_with_its_model():
    records = make_matrix()
    assert set(choose(records, "vbi + deep-coral", where="here")) == {("net", "vbi + deep-coral")}
    assert choose(records, "net/vbi + deep-coral", where="here") == choose(records, "vbi + deep-coral", where="here")


def test_a_row_that_is_not_there_is_said_with_the_nearest():
    with pytest.raises(UsageError) as caught:
        choose(make_matrix(), "vbi + deepcoral", where="results/toy")
    assert str(caught.value) == 'results/toy: no row "vbi + deepcoral"; did you mean "vbi + deep-coral"?'


def test_a_row_that_is_like_none_is_said_with_some_of_the_rows():
    records = [method(0.6, corrector=f"attack{number:02}") for number in range(30)]
    with pytest.raises(UsageError) as caught:
        choose(records, "zzzz", where="results/toy")
    assert 'no row "zzzz"; the rows: attack00 + deep-coral, attack01' in str(caught.value)
    assert str(caught.value).endswith("attack11 + deep-coral and 18 more")


@pytest.mark.parametrize("field", ["dataset", "data_fingerprint", "evaluation"])
def test_rows_judged_otherwise_are_refused(field):
    with pytest.raises(UsageError, match=f"are not comparable: they differ in {field}$"):
        pair(rows_of(baseline()), rows_of(rows(comparable={field: "other"})))


def test_rows_of_another_split_are_refused_even_at_a_later_seed():
    later = [*rows((1, 2)), *rows((5,), comparable={"validation": 30})]
    with pytest.raises(UsageError, match="they differ in validation"):
        pair(rows_of(baseline()), rows_of(later))


def test_another_budget_is_compared_and_named():
    [pairing] = pair(rows_of(rows()), rows_of(rows(comparable={"budget": {"steps": 1}})))
    assert pairing.differing == ("budget",)


def test_another_strength_of_the_method_is_named():
    [pairing] = pair(rows_of(rows(options={"steps": 1})), rows_of(rows(options={"steps": 5})))
    assert "source" in pairing.differing
    assert "budget" not in pairing.differing


def test_rows_without_a_common_seed_are_refused_with_their_seeds():
    with pytest.raises(UsageError, match=r"has seeds \[1, 2\], .* has \[5\]: none in common to pair by"):
        pair(rows_of(baseline((1, 2))), rows_of(rows((5,))))


def test_folders_without_a_common_row_are_refused():
    ours, theirs = make_matrix(), [*rows(model="other"), *rows(model="another")]
    with pytest.raises(UsageError, match="no row in common; name one of each with RESULTS#ROW"):
        pair(rows_of(ours), rows_of(theirs))


def told(first, second):
    """The sentences of two rows with these accuracies in percent, one a seed."""
    ours = [make_record(test=test / 100, control="finetune-target", seed=seed) for seed, test in enumerate(first)]
    return sentences(
        pair(
            rows_of(ours),
            rows_of([make_record(test=test / 100, corrector="vbi", seed=seed) for seed, test in enumerate(second)]),
        )
    )


def test_a_comparison_is_said_in_words_and_numbers():
    p = ttest_rel([52, 54, 53], [50, 51, 52]).pvalue
    verdict, power = told([50, 51, 52], [52, 54, 53])
    # differences 2, 3, 1: mean 2, standard error 1 / sqrt(3)
    assert verdict == (
        "net · vbi + deep-coral: +2.00 [-0.48, +4.48] points over net · finetune-target "
        f"(n = 3, p = {p:.2g}): no difference shown"
    )
    assert power.startswith(
        "power: with 3 seeds a difference of 3.9 points would be seen 4 times in 5 (t-test); by Wilcoxon"
    )


@pytest.mark.parametrize(
    ("second", "words"),
    [
        ([52, 53, 54.5], "better"),
        ([48, 49, 49.5], "worse"),
        ([52, 53, 54], "not shown (the same difference for every seed: no spread to test against)"),
        ([50, 51, 52], "no difference"),
        ([50], "n = 1: no interval"),
    ],
)
def test_a_comparison_ends_with_its_verdict(second, words):
    assert told([50, 51, 52], second)[0].endswith(f"): {words}")


def test_of_many_comparisons_those_that_outlast_holm_are_counted():
    # four rows, of which two differ, the one by far
    gains = {"vbi": (10, 10, 11), "ll": (1, 2, 1), "bi": (2, 2, 3), "sp": (-1, 1, 0)}
    first, second = (
        [
            make_record(test=0.5 + on * gain / 100, corrector=name, corrected=1, seed=seed)
            for name, of_seeds in gains.items()
            for seed, gain in enumerate(of_seeds)
        ]
        for on in (0, 1)
    )
    p_values = [ttest_rel([50 + gain for gain in of_seeds], [50] * 3).pvalue for of_seeds in gains.values()]
    assert [p < 0.05 for p in p_values] == [True, False, True, False]
    assert 4 * min(p_values) < 0.05 < 3 * sorted(p_values)[1]
    said = sentences(pair(rows_of(first), rows_of(second)))
    assert said[0].startswith("B over A of net · vbi + deep-coral: +10.33 [")
    assert said[-2] == "Holm over 4 comparisons: 1 of 2 with p < 0.05 still have it"
