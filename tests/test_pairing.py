"""Comparing rows of results folders: pairs by seed, refusals, and what else differs."""

from __future__ import annotations

import pytest
from record_factory import make_matrix, make_record
from scipy.stats import binomtest, ttest_rel

from harness.errors import UsageError
from harness.pairing import choose, pair, rows_of


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
    message = str(caught.value)
    assert message.startswith('results/toy: no row "vbi + deepcoral"; did you mean "vbi + deep-coral"? its rows: ')
    assert "baseline" in message


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
