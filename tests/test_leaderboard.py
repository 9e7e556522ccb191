"""Leaderboards from synthetic records, against means, stds and intervals computed by hand."""

import random

import pytest
from record_factory import EXAMPLES, NO_ATTACK, control, make_failure, make_matrix, make_record, method, sham
from scipy import stats

from harness.errors import StoreError
from harness.leaderboard import build, summaries, verdicts


def rows_of(records, failures=()):
    (table,) = build(records, failures)
    return {row.key.label: row for row in table.rows}


def claim(records, name, label="vbi + deep-coral"):
    return getattr(rows_of(records)[label].claims, name)


def test_a_row_is_the_mean_and_sample_std_over_seeds():
    row = rows_of([method(0.60, 1), method(0.62, 2), method(0.67, 5, corrected=4, wrong=12)])["vbi + deep-coral"]
    assert row.seeds == (1, 2, 5)
    assert row.test.mean == pytest.approx(0.63)
    assert row.test.std == pytest.approx(((0.03**2 + 0.01**2 + 0.04**2) / 2) ** 0.5)
    assert row.delta.mean == pytest.approx(0.13)
    assert row.correction.corrected.per_seed == {1: 3, 2: 3, 5: 4}
    assert row.correction.rate == pytest.approx(10 / 32)
    assert (row.loss_target.mean, row.loss_source.mean) == (0.25, 0.125)


def test_one_seed_has_no_std():
    assert rows_of([method(0.6)])["vbi + deep-coral"].test.std is None


def test_delta_is_paired_with_the_same_seeds_baseline():
    row = rows_of([method(0.60, 1, baseline=0.55), method(0.70, 2, baseline=0.65)])["vbi + deep-coral"]
    assert (row.delta.mean, row.delta.std) == (pytest.approx(0.05), pytest.approx(0.0))


def test_an_attack_that_corrects_nothing_is_a_row():
    row = rows_of([method(0.5, corrected=0, wrong=176)])["vbi + deep-coral"]
    assert (row.correction.corrected.mean, row.correction.wrong.mean, row.correction.rate) == (0, 176, 0)


def test_incomparable_records_are_never_in_one_table():
    slow = {"key": "slow", "budget": {"steps": 2000, "lr": 0.01}}
    fast = {"key": "fast", "budget": {"steps": 100, "lr": 0.01}}
    tables = build([method(0.6, 1, comparable=slow), method(0.9, 2, comparable=fast)])
    assert [table.title for table in tables] == ["toys · net · 100 steps, lr 0.01", "toys · net · 2,000 steps, lr 0.01"]
    assert [table.note for table in tables] == [
        "Not comparable with the other table; here steps = 100",
        "Not comparable with the other table; here steps = 2000",
    ]
    assert [row.seeds for table in tables for row in table.rows] == [(2,), (1,)]


def test_references_are_not_taken_from_an_incomparable_table():
    other = {"key": "other", "evaluation": "robust"}
    tables = build([method(0.6), control("sham", 0.5, corrector="vbi", comparable=other)])
    (judged,) = [row for table in tables for row in table.rows if row.claims]
    assert judged.claims.correction.missing == ("no row for curriculum", "no row for sham")


def test_a_table_alone_has_no_note():
    (table,) = build([method(0.6)])
    assert table.note is None


def test_rows_have_a_fixed_order_whatever_the_order_of_records():
    records = [
        *make_matrix(seeds=(1,)),
        make_record(test=0.6, corrector="zoo", corrected=1),
        make_record(test=0.6, corrector="bi", corrected=1),
        make_record(test=0.6, corrector="vbi", corrected=1, adapter="mk-mmd"),
        make_record(test=0.6, corrector="apgd", corrected=1),
    ]
    random.Random(0).shuffle(records)
    assert list(rows_of(records)) == [
        "baseline",
        "recalibrate-bn",
        "finetune-target",
        "T→T + deep-coral",
        "random subset + deep-coral",
        "curriculum + deep-coral",
        "finetune-source of curriculum",
        "bi + deep-coral",
        "vbi + deep-coral",
        "sham of vbi + deep-coral",
        "vbi + mk-mmd",
        "finetune-source of vbi",
        "apgd + deep-coral",
        "zoo + deep-coral",
    ]


def test_every_row_that_ties_for_the_best_is_flagged():
    rows = rows_of(
        [
            method(0.6, corrector="vbi"),
            method(0.6, corrector="ll"),
            method(0.55, corrector="bi"),
            control("none", 0.5, source=None),
        ]
    )
    assert {label for label, row in rows.items() if "test" in row.best} == {"vbi + deep-coral", "ll + deep-coral"}
    assert "source" not in rows["baseline"].best


def best_of(records, column="test"):
    return {label for label, row in rows_of(records).items() if column in row.best}


def test_a_mean_over_the_easier_seeds_alone_is_never_the_best():
    records = [method(0.6, 1), method(0.7, 2), control("finetune-target", 0.5, 1), control("finetune-target", 0.6, 2)]
    assert best_of([*records, method(0.9, 2, corrector="ll")]) == {"vbi + deep-coral"}


def test_no_row_is_the_best_where_none_has_every_seed():
    assert best_of([method(0.6, 1), method(0.7, 2, corrector="ll")]) == set()


def test_no_row_is_the_best_of_a_column_in_which_all_that_may_be_tie():
    tied = [method(0.6, seed, corrector=name) for name in ("vbi", "ll") for seed in (1, 2)]
    assert best_of([*tied, method(0.5, 2, corrector="bi")]) == set()
    assert best_of([*tied, method(0.5, 1, corrector="bi"), method(0.5, 2, corrector="bi")]) == {
        "vbi + deep-coral",
        "ll + deep-coral",
    }
    # the one row with a source set is compared with none
    assert best_of([method(0.6), control("none", 0.5, source=None)], "source") == set()


def test_a_curriculum_has_counts_and_no_rate():
    counts = rows_of([control("curriculum", 0.6, corrector="none", corrected=0, wrong=28, work=NO_ATTACK)])[
        "curriculum + deep-coral"
    ].correction
    assert (counts.wrong.mean, counts.tried, counts.rate) == (28, None, None)


def test_a_shams_rate_is_of_the_samples_that_it_moved():
    counts = rows_of([sham(0.6, 1, true=5, moved=20), sham(0.6, 2, true=3, moved=6)])[
        "sham of vbi + deep-coral"
    ].correction
    assert counts.rate == pytest.approx(8 / 26)


def test_each_claim_is_paired_with_the_controls_that_isolate_it():
    claims = rows_of(make_matrix())["vbi + deep-coral"].claims
    assert [(one.name, [reference.name for reference in one.references]) for one in claims] == [
        ("correction", ["curriculum", "sham"]),
        ("alignment", ["finetune-source", "target-to-target"]),
        ("method", ["finetune-target"]),
    ]
    tests = {(row.cell.control, row.cell.corrector, row.cell.seed): row.accuracy.test for row in make_matrix()}
    expected = {
        "curriculum": ("curriculum", "none"),
        "sham": ("sham", "vbi"),
        "finetune-source": ("finetune-source", "vbi"),
        "target-to-target": ("target-to-target", None),
        "finetune-target": ("finetune-target", None),
    }
    for reference in claims.references:
        by_hand = {
            seed: 100 * (tests[None, "vbi", seed] - tests[(*expected[reference.name], seed)]) for seed in (1, 2, 5)
        }
        assert reference.difference.per_seed == pytest.approx(by_hand)


def test_a_sham_of_another_corrector_or_adapter_is_no_reference():
    records = [
        method(0.6),
        control("sham", 0.5, corrector="ll"),
        control("sham", 0.5, corrector="vbi", adapter="mk-mmd"),
    ]
    assert claim(records, "correction").missing == ("no row for curriculum", "no row for sham")


def test_a_control_with_another_adapter_is_no_reference():
    records = [method(0.6), control("curriculum", 0.5, corrector="none", adapter="mk-mmd", corrected=0)]
    records.append(control("target-to-target", 0.5, adapter="mk-mmd"))
    assert claim(records, "correction").missing == ("no row for curriculum", "no row for sham")
    assert claim(records, "alignment").missing == ("no row for finetune-source", "no row for T→T")


def test_differences_are_over_the_seeds_in_common():
    records = [
        method(0.60, 1),
        method(0.62, 2),
        method(0.9, 5),
        control("finetune-target", 0.55, 1),
        control("finetune-target", 0.55, 2),
    ]
    found = claim(records, "method").references[0].difference
    assert (found.n, found.mean) == (2, pytest.approx(6.0))
    rows = rows_of(records)
    assert rows["finetune-target"].flags == ("not run, or failed, for seed 5: its mean is over fewer seeds",)
    assert rows["vbi + deep-coral"].flags == ()


def test_rows_without_a_common_seed_say_so():
    records = [method(0.60, 1), control("finetune-target", 0.55, 2)]
    assert claim(records, "method").missing == ("no seed in common with finetune-target",)


def three_seeds(name, tests, **changes):
    return [control(name, test, seed, **changes) for seed, test in zip((1, 2, 5), tests, strict=True)]


METHOD = [method(0.60, 1), method(0.61, 2), method(0.62, 5)]
LOWER, AROUND, HIGHER = (0.50, 0.515, 0.53), (0.57, 0.62, 0.63), (0.70, 0.715, 0.73)


@pytest.mark.parametrize(
    ("curriculum", "sham", "verdict"),
    [
        (LOWER, LOWER, "shown"),
        (LOWER, AROUND, "not shown"),
        (AROUND, LOWER, "not shown"),
        (LOWER, None, "not shown"),
        (LOWER, HIGHER, "not shown"),
        (HIGHER, HIGHER, "harmful"),
        (HIGHER, None, "not shown"),
    ],
)
def test_correction_is_shown_only_against_both_controls(curriculum, sham, verdict):
    records = METHOD + three_seeds("curriculum", curriculum)
    records += three_seeds("sham", sham, corrector="vbi") if sham else []
    assert claim(records, "correction").verdict == verdict


def test_a_gain_equal_for_all_seeds_is_not_shown_for_want_of_a_spread():
    records = METHOD + three_seeds("finetune-target", (0.50, 0.51, 0.52))
    assert claim(records, "method").verdict == "not shown"
    (sentence,) = [line for line in verdicts(build(records)[0]) if line.startswith("the method")]
    assert sentence.endswith("not shown (the same gain for every seed: no spread to test against)")


def test_one_seed_gives_mcnemar_and_no_interval():
    ours, theirs = [0] * 6 + [1] * (EXAMPLES - 6), [1] * 6 + [1] * (EXAMPLES - 6)
    records = [method(0.03, predictions=ours), control("finetune-target", 0.0, predictions=theirs)]
    (sentence,) = [line for line in verdicts(build(records)[0]) if line.startswith("the method")]
    # six discordant examples, all ours: p = 2 / 2^6 = 0.03125
    assert sentence == (
        "the method helps: vbi + deep-coral +3.00 points over finetune-target (n = 1, McNemar p = 0.031): n = 1: no interval"
    )


def test_from_six_seeds_on_a_verdict_says_wilcoxons_p():
    # gains 1, 2 ... 7: t = 4 / (sqrt(14 / 3) / sqrt(7)) = 4.899, and of 2^7 signs two are as extreme as all positive
    records = [method(0.5 + 0.01 * seed, seed) for seed in range(1, 8)]
    records += [control("finetune-target", 0.5, seed) for seed in range(1, 8)]
    p = 2 * stats.t.sf(4 / (14 / 3 / 7) ** 0.5, df=6)
    assert verdicts(build(records)[0])[-1].endswith(
        f"over finetune-target (n = 7, p = {p:.2g}, Wilcoxon p = 0.016): shown"
    )
    fewer = [record for record in records if record.cell.seed < 6]
    p = 2 * stats.t.sf(3 / (2.5 / 5) ** 0.5, df=4)
    assert verdicts(build(fewer)[0])[-1].endswith(f"over finetune-target (n = 5, p = {p:.2g}): shown")


def test_equal_gains_have_wilcoxons_p_alone():
    records = [method(0.6, seed) for seed in range(6)] + [control("finetune-target", 0.5, seed) for seed in range(6)]
    assert "(n = 6, Wilcoxon p = 0.031)" in verdicts(build(records)[0])[-1]


def test_a_verdict_sentence_says_the_evidence():
    records = METHOD + three_seeds("curriculum", (0.50, 0.515, 0.53))
    # differences 10, 9.5, 9: mean 9.5, std 0.5, margin 4.302653 x 0.5 / sqrt(3) = 1.242; t = 32.9, p = 1 - t / sqrt(t² + 2)
    assert verdicts(build(records)[0])[-3] == (
        "correction helps: vbi + deep-coral +9.50 [+8.26, +10.74] points over curriculum (n = 3, p = 0.00092) "
        "(no row for sham): not shown"
    )


def test_the_summary_counts_rows_and_survivors_of_holm():
    assert summaries(build(METHOD + three_seeds("finetune-target", LOWER))[0]) == [
        "correction helps: shown in 0 of 1 row, a control is missing in 1",
        "alignment helps: shown in 0 of 1 row, a control is missing in 1",
        "the method helps: shown in 1 of 1 row (1 after Holm)",
        # spread 0.5, by the sixth more that three values hide in the median; a t-test of three pairs finds 3.264 of it
        (
            "power: with 3 seeds a difference of 2.0 points would be seen 4 times in 5 (t-test); "
            "by Wilcoxon 3 seeds cannot reach p < 0.05, 6 can"
        ),
    ]


def test_a_summary_without_a_control_states_no_power():
    assert len(summaries(build(METHOD)[0])) == 3


def test_a_claim_that_holm_takes_back_says_so():
    # one row of three gains, with a p between 0.05 and a third of it
    gains = {"vbi": (4.0, 5.0, 7.5), "ll": (-1.0, 0.5, 1.0), "bi": (1.0, -1.5, 0.5)}
    records = [
        method(0.5 + gain / 100, seed, corrector=name)
        for name, of_seeds in gains.items()
        for seed, gain in zip((1, 2, 5), of_seeds, strict=True)
    ]
    records += three_seeds("finetune-target", (0.5, 0.5, 0.5))
    p = stats.ttest_1samp(gains["vbi"], 0).pvalue
    assert p < 0.05 < 3 * p
    sentence = next(line for line in verdicts(build(records)[0]) if line.startswith("the method helps: vbi"))
    assert sentence.endswith(f"(n = 3, p = {p:.2g}): shown, but not after Holm (p = {3 * p:.2g})")


def test_holm_is_over_the_rows_of_a_claim():
    records = METHOD + [method(test, seed, corrector="ll") for seed, test in ((1, 0.60), (2, 0.58), (5, 0.62))]
    records += three_seeds("finetune-target", (0.55, 0.565, 0.57))
    vbi, ll = (claim(records, "method", f"{name} + deep-coral") for name in ("vbi", "ll"))
    assert vbi.p < ll.p
    assert (vbi.holm_p, ll.holm_p) == (pytest.approx(2 * vbi.p), pytest.approx(max(2 * vbi.p, ll.p)))


def test_curriculum_rows_make_no_claim_of_correction():
    claims = rows_of(make_matrix())["curriculum + deep-coral"].claims
    assert claims.correction.verdict == "not applicable"
    assert claims.alignment.references[0].difference is not None
    assert not [line for line in verdicts(build(make_matrix())[0]) if line.startswith("correction helps: curriculum")]


def test_two_records_of_one_row_and_seed_are_an_error_that_names_both():
    with pytest.raises(
        StoreError, match=r'row "vbi \+ deep-coral" of net: records aaaaaaaa and bbbbbbbb are both its seed 1'
    ):
        build([method(0.6, key="a" * 32), method(0.7, key="b" * 32)])


def test_seeds_run_with_different_options_are_not_averaged():
    with pytest.raises(StoreError, match="were run with different options, expected one record a seed"):
        build([method(0.6, 1, options={"steps": 5}), method(0.7, 2, options={"steps": 10})])


def test_failures_go_with_their_model_and_are_shown_without_a_table():
    known, unknown = make_failure(), make_failure(model="other")
    tables = build([method(0.6)], [known, unknown])
    assert [table.failures for table in tables] == [(known,), (unknown,)]
    assert tables[1].title == "toys · other: no finished cell"
    assert build([]) == []


def test_flags_of_all_seeds_are_kept_once():
    row = rows_of([method(0.6, 1, flags=["masked"], warnings=["odd"]), method(0.6, 2, flags=["masked"])])[
        "vbi + deep-coral"
    ]
    assert row.flags == ("masked", "odd")
