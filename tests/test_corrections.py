"""What the correctors did, pooled over seeds and told once a corrector, against numbers worked out by hand."""

import pytest
from record_factory import NO_ATTACK, control, method, sham

from harness.leaderboard import build


def works_of(records):
    (table,) = build(records)
    return {work.corrector: work for work in table.works}


TWO_SEEDS = [
    method(
        0.6,
        1,
        wrong=10,
        corrected=4,
        work={"median_norm": 0.01, "survived": {"uint8": 3, "float16": 4, "flip": 0}, "forward": 55, "backward": 20},
        times={"correct": 0.2, "adapt": 9.0},
    ),
    method(
        0.6,
        2,
        wrong=30,
        corrected=6,
        work={"median_norm": 0.03, "survived": {"uint8": 1, "float16": 6, "flip": 1}, "forward": 345, "backward": 100},
        times={"correct": 1.0, "adapt": 9.0},
    ),
]


def test_what_a_corrector_did_is_pooled_over_seeds():
    work = works_of(TWO_SEEDS)["vbi"]
    assert (work.attack, work.objective, work.select, work.norm) == ("bim", "toward-true", "first-hit", "linf")
    assert work.counts.rate == 10 / 40
    assert work.median_norm.mean == pytest.approx(0.02)
    assert work.survived == {"uint8": 4 / 10, "float16": 10 / 10, "flip": 1 / 10}
    assert (work.forward, work.backward) == (400 / 40, 120 / 40)
    assert work.seconds == pytest.approx(1.2 / 40)


def test_a_corrector_is_one_line_whatever_its_adapters_and_controls():
    records = [
        method(0.6),
        method(0.6, adapter="mk-mmd"),
        sham(0.6, true=1, moved=3),
        control("finetune-source", 0.6, corrector="vbi", corrected=3),
        control("curriculum", 0.6, corrector="none", corrected=0, work=NO_ATTACK),
        method(0.6, corrector="ddn"),
    ]
    assert list(works_of(records)) == ["vbi", "ddn"]
    assert works_of(records)["vbi"].counts.wrong.per_seed == {1: 10}
    (table,) = build(records)
    assert {row.key.label for row in table.rows if row.work} == {
        "vbi + deep-coral",
        "vbi + mk-mmd",
        "finetune-source of vbi",
        "ddn + deep-coral",
    }


def test_a_corrector_is_known_by_its_finetune_source_where_its_own_cell_failed():
    records = [method(0.6, 1), control("finetune-source", 0.6, 1, corrector="vbi", corrected=3)]
    records.append(control("finetune-source", 0.6, 2, corrector="vbi", corrected=5))
    assert works_of(records)["vbi"].counts.corrected.per_seed == {1: 3, 2: 5}


def test_a_shams_own_counts_are_never_taken_for_its_correctors():
    records = [method(0.6, 1), sham(0.6, 1, true=1, moved=3), sham(0.6, 2, true=2, moved=5)]
    assert works_of(records)["vbi"].counts.corrected.per_seed == {1: 3}
    assert works_of(records[1:]) == {}


def test_an_attack_that_corrects_nothing_has_passes_but_no_norm():
    work = works_of([method(0.5, corrected=0)])["vbi"]
    assert (work.median_norm, work.survived, work.seconds) == (None, {}, None)
    assert (work.forward, work.backward) == (10, 5)


def test_a_seed_without_corrections_has_no_part_in_the_median_norm():
    records = [method(0.6, 1), method(0.6, 2, corrected=0), method(0.6, 5, work={"median_norm": 0.03})]
    assert works_of(records)["vbi"].median_norm.per_seed == {1: 0.01, 5: 0.03}


def test_nothing_to_attack_costs_nothing_an_image():
    work = works_of([method(0.5, corrected=0, wrong=0, work={"forward": 0, "backward": 0}, times={"correct": 0.1})])[
        "vbi"
    ]
    assert (work.counts.rate, work.forward, work.backward, work.seconds) == (None, None, None, None)


def test_variants_of_one_name_are_two_lines():
    records = [method(0.6, options={"steps": 5}), method(0.6, adapter="mk-mmd", options={"steps": 9})]
    (table,) = build(records)
    assert [work.corrector for work in table.works] == ["vbi", "vbi"]
