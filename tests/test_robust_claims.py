"""Claims in robust accuracy: paired differences and McNemar's test worked out by hand from verdicts, and where they are shown."""

from __future__ import annotations

import json
from io import StringIO
from math import sqrt

import pytest
from record_factory import control, make_record, method, sham
from scipy.stats import binomtest, ttest_rel

from harness.claims import robust_claims_of
from harness.errors import StoreError
from harness.leaderboard import build
from harness.records import Measure, read_records, write_record
from harness.report.html import to_html
from harness.report.json_table import to_json
from harness.report.markdown import to_markdown
from harness.report.measures import measure_tables
from harness.report.terminal import render
from harness.report.terminal_grid import make_console
from harness.rows import RowKey

SAMPLES = 50
SEEDS = (1, 2, 5)
GAINS = (10, 11, 12)
"""How many more of the 50 labels hold with the method, by seed: 20, 22 and 24 points."""


def attacked(record, held, **changes):
    """The record with one more measure, of the verdicts that are given; of none where nothing was perturbed."""
    count = SAMPLES if held is None else len(held)
    fields = {
        "name": "aa",
        "evaluator": "harness/autoattack",
        "options": {"eps": 0.03, "version": "standard"},
        "batch_size": 64,
        "samples": count,
        "rows": list(range(count)),
        "clean": 0.9,
        "robust": None if held is None else sum(held) / count,
        "held": held,
        "norm": "linf",
        "eps": 0.03,
        "figures": {},
        "shares": {},
        "flags": [],
    }
    measure = Measure(**fields | changes)
    return record.model_copy(update={"measures": [*record.measures, measure]})


def first(count, samples=SAMPLES):
    """Verdicts of which the first so many hold."""
    return [number < count for number in range(samples)]


def matrix():
    """A method that gains 20, 22 and 24 points over curriculum and finetune-target, and as much as its sham."""
    records = []
    for seed, gain in zip(SEEDS, GAINS, strict=True):
        made = [
            (method(0.6, seed), 20 + gain),
            (control("curriculum", 0.6, seed, corrector="none", corrected=0), 20),
            (sham(0.6, seed, true=1, moved=3), 20 + gain),
            (control("finetune-target", 0.6, seed, adapter="finetune"), 20),
        ]
        records += [attacked(record, first(count)) for record, count in made]
    return records


def method_row(table):
    [row] = [row for row in table.rows if row.key.corrector == "vbi" and row.key.control is None]
    return row


def references(claims):
    return {reference.name: reference for reference in claims.references}


def test_differences_in_robust_accuracy_are_paired_by_seed():
    """By hand: 20, 22 and 24 points have the mean 22 and the sample std 2; Student's 97.5% point of 2 degrees is 4.3027."""
    [table] = build(matrix())
    found = references(method_row(table).robust_claims["aa"])
    difference = found["curriculum"].difference
    margin = 4.302653 * 2 / sqrt(3)
    assert difference.per_seed == {1: 20, 2: 22, 5: 24}
    assert (difference.mean, difference.low, difference.high) == pytest.approx((22, 22 - margin, 22 + margin), abs=1e-4)
    ours, theirs = ([2 * (20 + gain * mine) for gain in GAINS] for mine in (1, 0))
    assert difference.p == pytest.approx(ttest_rel(ours, theirs).pvalue)
    assert found["sham"].difference.mean == 0


def test_a_claim_needs_every_control_in_robust_accuracy_too():
    """The method gains nothing over its sham, so correction is not what made it robust; and clean accuracy never changed."""
    [table] = build(matrix())
    row = method_row(table)
    robust, clean = row.robust_claims["aa"], row.claims
    assert (robust.correction.verdict, robust.method.verdict) == ("not shown", "shown")
    assert {claim.verdict for claim in clean} == {"not shown"}
    assert robust.method.holm_p == robust.method.p


def test_mcnemar_counts_the_images_that_hold_for_one_row_alone():
    """Of ten images five hold for ours alone and one for theirs alone: 2 (1 + 6) / 64."""
    ours = [True] * 7 + [False] * 3
    theirs = [True, True, False, False, False, False, False, True, False, False]
    [table] = build(
        [attacked(method(0.6), ours), attacked(control("finetune-target", 0.6, adapter="finetune"), theirs)]
    )
    [test] = references(method_row(table).robust_claims["aa"])["finetune-target"].mcnemar.values()
    assert (test.b, test.c) == (5, 1)
    assert test.p == pytest.approx(14 / 64) == pytest.approx(binomtest(1, 6).pvalue)


def test_one_seed_has_a_difference_and_mcnemars_p_and_no_interval():
    [table] = build(
        [attacked(method(0.6), first(32)), attacked(control("finetune-target", 0.6, adapter="finetune"), first(20))]
    )
    claim = method_row(table).robust_claims["aa"].method
    assert claim.verdict == "no interval"
    _, differences = measure_tables(table)
    [(_, _, cells)] = differences.lines
    assert cells == (f"+24.00 (p = {2 / 2**12:.2g})",)  # twelve of twelve fell for one row alone
    assert "the method helps: shown in 0 of 1 row, one seed and so no interval in 1" in differences.notes


def test_rows_that_no_evaluator_perturbed_are_missing_and_nothing_else_is():
    records = [
        record.model_copy(update={"measures": []}) if record.cell.control == "curriculum" else record
        for record in matrix()
    ]
    unperturbed = [attacked(make_record(test=0.6, control="none", adapter="none", seed=seed), None) for seed in SEEDS]
    [table] = build([*records, *unperturbed])
    found = references(method_row(table).robust_claims["aa"])
    assert found["curriculum"].missing == "no row for curriculum"
    assert found["sham"].difference is not None
    assert method_row(table).claims.correction.references[0].difference is not None
    _, differences = measure_tables(table)
    assert "vs curriculum" not in " ".join(differences.headings)
    assert any("a control is missing in 1" in note for note in differences.notes)


def test_only_seeds_that_both_rows_have_are_compared():
    records = [record for record in matrix() if not (record.cell.control == "curriculum" and record.cell.seed == 2)]
    [table] = build(records)
    assert references(method_row(table).robust_claims["aa"])["curriculum"].difference.per_seed == {1: 20, 5: 24}


def test_an_evaluator_that_perturbs_nothing_judges_nothing():
    [table] = build([attacked(method(0.6), None)])
    assert method_row(table).robust_claims == {}
    assert [one.title.partition(":")[0] for one in measure_tables(table)] == ["aa"]


def test_several_evaluators_judge_apart():
    """By the second, the method loses what it gains by the first."""
    records = [
        attacked(record, [not holds for holds in record.measures[0].held], name="bb", eps=0.1, options={"eps": 0.1})
        for record in matrix()
    ]
    [table] = build(records)
    claims = method_row(table).robust_claims
    assert (claims["aa"].method.verdict, claims["bb"].method.verdict) == ("shown", "harmful")
    assert references(claims["bb"])["finetune-target"].difference.per_seed == {1: -20, 2: -22, 5: -24}
    titles = [one.title for one in measure_tables(table)]
    assert [title.partition(":")[0] for title in titles] == ["aa", "aa, linf 0.03", "bb", "bb, linf 0.1"]


# ---- rows that were not measured alike


def halves(**changes):
    """The method and its sham measured in another way than the controls."""
    return [
        attacked(record.model_copy(update={"measures": []}), record.measures[0].held, **changes)
        if record.cell.corrector == "vbi"
        else record
        for record in matrix()
    ]


@pytest.mark.parametrize(
    ("changes", "titles"),
    [
        ({"eps": 0.1, "options": {"eps": 0.1, "version": "standard"}}, ("aa: 50 test images, linf 0.03", "0.1")),
        ({"options": {"eps": 0.03, "version": "plus"}}, ("aa (version standard): 50", "aa (version plus): 50")),
        ({"batch_size": 32}, ("aa (batch_size 64): 50", "aa (batch_size 32): 50")),
        ({"batch_size": None}, ("aa (batch_size 64): 50", "aa (batch_size –): 50")),
        ({"evaluator": "other/autoattack"}, ("(evaluator harness/autoattack)", "(evaluator other/autoattack)")),
        ({"rows": list(range(50, 100))}, ("aa: 50", "aa: 50")),
    ],
)
def test_rows_that_were_measured_otherwise_have_a_table_of_their_own_and_are_not_compared(changes, titles):
    [table] = build(halves(**changes))
    found = references(method_row(table).robust_claims["aa"])
    assert found["sham"].difference.mean == 0
    assert found["finetune-target"].missing == "no row for finetune-target"
    tables = [one for one in measure_tables(table) if "paired" not in one.title]
    labels = [[label for _, label, _ in one.lines] for one in tables]
    assert labels == [
        ["finetune-target", "curriculum + deep-coral"],
        ["vbi + deep-coral", "sham of vbi + deep-coral"],
    ]
    for title, told in zip([one.title for one in tables], titles, strict=True):
        assert told in title


def test_other_numbers_of_samples_are_told_in_each_title():
    records = [
        attacked(record.model_copy(update={"measures": []}), first(10, 20))
        if record.cell.corrector == "vbi"
        else record
        for record in matrix()
    ]
    [table] = build(records)
    sizes = [one.title.split(" test images")[0] for one in measure_tables(table) if "paired" not in one.title]
    assert sizes == ["aa: 50", "aa: 20"]


@pytest.mark.parametrize("changes", [{"batch_size": 32}, {"options": {"eps": 0.1}}, {"rows": list(range(9, 59))}])
def test_seeds_of_one_row_that_were_measured_otherwise_are_refused(changes):
    records = [attacked(method(0.6, 1), first(9)), attacked(method(0.6, 2), first(9), **changes)]
    with pytest.raises(StoreError, match="were run with different options"):
        build(records)


def test_a_record_of_before_batch_sizes_were_kept_is_read(tmp_path):
    path = write_record(tmp_path, attacked(make_record(test=0.6), first(9)))
    fields = json.loads(path.read_text())
    assert fields["measures"][0].pop("batch_size") == 64
    path.write_text(json.dumps(fields))
    [record] = read_records(tmp_path)
    assert record.measures[0].batch_size is None


# ---- where they are shown


def test_every_format_shows_the_differences_and_the_verdicts():
    tables = build(matrix())
    title = "aa, linf 0.03: paired differences in robust accuracy (points, 95% interval)"
    for text in (to_markdown(tables), to_html(tables, "toy"), shown(tables, 160), shown(tables, 60)):
        flat = " ".join(text.replace("&#x27;", "'").split())
        assert title in flat
        assert "+22.00 [+17.03, +26.97]" in flat
        assert "+0.00 (every seed)" in flat
        assert "the method helps: shown in 1 of 2 rows" in flat.partition(title)[2]
    rows = {row["label"]: row for row in to_json(tables)["tables"][0]["rows"]}
    judged = rows["vbi + deep-coral"]["measures"]["aa"]["claims"]
    assert judged["method"]["verdict"] == "shown"
    assert judged["method"]["references"]["finetune-target"]["difference"]["per_seed"] == {"1": 20, "2": 22, "5": 24}
    assert judged["method"]["references"]["finetune-target"]["mcnemar"]["1"] == {"b": 10, "c": 0, "p": 2 / 2**10}
    assert rows["finetune-target"]["measures"]["aa"]["claims"] is None


def shown(tables, width):
    console = make_console(stream := StringIO())
    console.width = width
    render(tables, console)
    return stream.getvalue()


def test_claims_are_keyed_by_evaluator_and_row():
    groups = {}
    for record in matrix():
        groups.setdefault(RowKey.of(record.cell), {})[record.cell.seed] = record
    [(name, judged)] = robust_claims_of(groups).items()
    assert name == "aa"
    assert {key.label for key in judged} == {"vbi + deep-coral", "curriculum + deep-coral"}
