"""Published tables: what they say, where they contradict themselves, and our rows beside theirs, computed by hand."""

from __future__ import annotations

import csv
import io
import json
from importlib import import_module
from pathlib import Path

import pytest
from record_factory import NO_ATTACK, make_record
from rich.console import Console

from harness.catalogue import BrokenCardError, Catalogue
from harness.errors import StoreError, UsageError
from harness.manager import Manager
from harness.published import read_published, table_names
from harness.published_comparison import compare_published
from harness.records import Accuracies, Measure, Quantized, Search, Trial
from harness.report.published import render_published
from harness.report.published_json import published_as_json

FOLDER = Path(import_module("harness_registry").__file__ or "").parent / "published"
TABLES = {"adcorda-table1": 64, "adcorda-table2": 32, "adcorda-table3": 12, "adcorda-table4": 24, "adcorda-text": 4}
HALF_A_DIGIT = 0.005
TRAINING_IMAGES = 45_000


@pytest.fixture(scope="module")
def registry():
    return Catalogue(Manager.discover().catalogues())


@pytest.fixture(scope="module")
def table(registry):
    return {name: read_published(name, registry) for name in TABLES}


def lines(number):
    """The rows of a table's file as they are written, numbers as numbers."""
    with (FOLDER / f"adcorda-{number if number == 'text' else f'table{number}'}.csv").open(encoding="utf-8") as file:
        return [
            {
                key: value if key in {"model", "approach", "attack", "dataset", "note"} else number_in(value)
                for key, value in row.items()
            }
            for row in csv.DictReader(file)
        ]


def number_in(text):
    return float(text) if text else None


def baselines(rows, approach="BL"):
    return {(row["model"], row["dataset"]): row for row in rows if row["approach"] == approach}


# -- the numbers themselves ------------------------------------------------------------------------------------------------


def test_every_table_of_the_paper_is_there_whole(registry, table):
    assert {name: len(table[name].rows) for name in table_names(registry)} == TABLES


@pytest.mark.parametrize(("number", "baseline"), [(1, "BL"), (2, "PTSQ"), (3, "BL")])
def test_a_gain_is_the_test_accuracy_minus_the_baselines_unless_noted(number, baseline):
    rows = lines(number)
    base = baselines(rows, baseline)
    off = []
    for row in rows:
        if row["delta"] is not None:
            difference = row["test"] - base[row["model"], row["dataset"]]["test"]
            if abs(row["delta"] - difference) > 3 * HALF_A_DIGIT:  # of three rounded numbers
                off.append(row)
    assert [row["delta"] for row in off] == ([2.93] if number == 2 else [])
    assert all("is printed" in row["note"] for row in off)


@pytest.mark.parametrize("number", [1, 2])
def test_a_row_corrects_no_more_than_its_models_wrong_samples_unless_noted(number):
    rows = [row for row in lines(number) if row["corrected"] is not None]
    for row in rows:
        wrong = row.get("wrong_meant") or row["wrong"]
        same = {other.get("wrong_meant") or other["wrong"] for other in rows if pair_of(other) == pair_of(row)}
        assert row["corrected"] <= wrong
        assert same == {wrong}
        assert bool(row.get("wrong_meant")) == (
            "is printed; the other rows" in row["note"] or "more corrected" in row["note"]
        )


def pair_of(row):
    return row["model"], row["dataset"]


def test_four_of_eight_counts_of_wrong_samples_are_those_of_the_training_accuracy():
    rows = lines(1)
    base = baselines(rows)
    counts = {pair_of(row): row["wrong_meant"] or row["wrong"] for row in rows if row["wrong"]}
    slack = TRAINING_IMAGES * HALF_A_DIGIT / 100 + 0.5  # the accuracy's rounding, and the count's
    left = {pair: TRAINING_IMAGES * (100 - base[pair]["train"]) / 100 for pair in counts}
    assert {pair for pair in counts if abs(counts[pair] - left[pair]) > slack} == {
        ("ResNet-34", "cifar10"),
        ("ResNet-50", "cifar10"),
        ("ResNet-50", "cifar100"),
        ("EfficientNetV2-M", "cifar10"),
    }


def test_the_accuracy_on_t_is_at_least_what_that_on_its_right_samples_implies_unless_noted():
    rows = lines(1)
    base = baselines(rows)
    for row in rows:
        if row["source"] is not None:
            # T' holds every sample that the baseline gets right; what is wrong on T' is at most all wrong there.
            least = base[pair_of(row)]["train"] - (100 - row["source"])
            assert (row["train"] < least - HALF_A_DIGIT) == ("which" in row["note"] and "implies" in row["note"]), row


def test_tables_repeat_each_others_numbers():
    first = {(*pair_of(row), row["approach"], row["attack"]): row for row in lines(1)}
    for row in lines(4):
        again = first[*pair_of(row), row["approach"], row["attack"]]
        assert (row["clean"], row["clean_std"]) == (again["test"], again["test_std"])
    for row in lines(2):
        if row["approach"] == "BL":
            again = first[*pair_of(row), "BL", ""]
            assert [row[name] for name in ("train", "valid", "test")] == [again[n] for n in ("train", "valid", "test")]


def test_sizes_of_t_prime_are_noted_where_they_are_not_those_of_the_counts():
    counts = {pair_of(row): row["wrong"] - row["corrected"] for row in lines(1) if row["attack"] == "LL"}
    for row in lines(3):
        if row["approach"] == "BL-IST":
            dropped = TRAINING_IMAGES - row["source_size"]
            assert dropped != counts[pair_of(row)]
            assert row["note"].startswith(f"{dropped:,.0f} samples less than 45,000; ")
            assert f"leaves {counts[pair_of(row)]:,.0f}" in row["note"]
        elif row["source_size"] is not None:
            assert row["source_size"] == TRAINING_IMAGES


def test_what_the_cards_slips_say_of_the_text_is_so(table):
    gains = {
        name: [r["delta"] for r in lines(1) if r["delta"] and r["dataset"] == name] for name in ("cifar10", "cifar100")
    }
    corrected = [r["delta"] for r in lines(1) if r["delta"] and r["dataset"] == "cifar100" and r["attack"] != "None"]
    quantized = max(r["delta"] for r in lines(2) if r["delta"] and r["dataset"] == "cifar10")
    assert (max(gains["cifar10"]), quantized) == (2.68, 3.07)
    assert [gain for gain in corrected if gain > 5] == [5.23]
    assert (len(corrected), round(sum(corrected) / 24, 2)) == (24, 3.21)
    efficient = [r["delta"] for r in lines(1) if r["delta"] and r["model"] == "EfficientNetV2-M"]
    assert (min(efficient), max(efficient)) == (0.48, 1.12)
    none = {pair_of(r): r["autoattack"] for r in lines(4) if r["attack"] == "None"}
    less = [pair_of(r) for r in lines(4) if r["attack"] in {"DDN", "SP"} and r["autoattack"] < none[pair_of(r)]]
    assert len(less) == 4
    assert less.count(("EfficientNetV2-M", "cifar10")) == 2
    said = " ".join(slip for one in table.values() for slip in one.slips)
    for figure in ("2.68", "3.07", "5.23", "3.21", "0.48 to 1.12", "Of the 12 corrected rows 4"):
        assert figure in said


def test_a_rate_uses_what_was_meant_where_the_count_is_a_slip(table):
    row = row_of(table["adcorda-table1"], "VBI", "ResNet-18", "cifar100")
    assert (row.corrected, row.wrong, row.wrong_meant) == (446, 251, 451)
    assert row.figures["rate"].mean == pytest.approx(100 * 446 / 451)


def row_of(published, attack, model="ResNet-18", dataset="cifar10", approach="BL-IST"):
    rows = published.rows_of(model, dataset)
    return next(row for row in rows if (row.approach, row.attack) == (approach, attack))


def test_a_setting_holds_for_the_model_and_the_data_set_that_it_is_printed_for(table):
    settings = {setting.key: setting for setting in table["adcorda-table1"].settings}
    batch, weight = settings["budget.batch_size"], settings["adapter.weight"]
    assert batch.for_pair("EfficientNetV2-M", "cifar100") == 32
    assert batch.for_pair("EfficientNetV2-M", "cifar10") == batch.for_pair("ResNet-18", "cifar100") == 16
    assert (weight.for_pair("ResNet-18", "cifar10"), weight.for_pair("ResNet-18", "cifar100")) == ("1/750", "1/25")


# -- files of one's own ----------------------------------------------------------------------------------------------------

CARD = """\
description: A paper.
source: somewhere
models: {Net: net}
correctors: {None: none, Push: push}
adapter: deep-coral
approaches: {Base: baseline, Ours: refined}
settings: [{key: budget.lr, label: lr, value: null}]
tables: {mine: {title: Mine}, other: {title: Other}}
"""
HEAD = "model,approach,attack,dataset,test,test_std,note\n"


PRESET = "{description: A push., source: somewhere, attack: push, objective: toward-true}"


def read_own(folder, text, preset=PRESET):
    (folder / "published").mkdir()
    (folder / "correctors").mkdir()
    if preset:
        (folder / "correctors" / "push.yaml").write_text(preset)
    (folder / "published" / "paper.yaml").write_text(CARD)
    if text is not None:
        (folder / "published" / "mine.csv").write_text(text)
    return read_published("mine", Catalogue([folder]))


def test_a_paper_of_ones_own_is_read(tmp_path):
    published = read_own(tmp_path, f"{HEAD}Net,Base,,toys,50.0,1.0,\nNet,Ours,Push,toys,60.0,,why\n")
    assert [row.label for row in published.rows] == ["Base", "Ours, Push"]
    assert (published.rows[0].figures["test"].std, published.rows[1].figures["test"].std) == (1.0, None)
    assert published.rows[1].note == "why"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "mine.csv: No such file or directory; the card of its paper names this table"),
        (HEAD.replace("test_std", "tst_std"), 'mine.csv:1: unknown column "tst_std"; did you mean "test_std"?'),
        (f"{HEAD}Net,Base,,toys,half,,\n", 'mine.csv:2: test: got "half", expected a number'),
        (f"{HEAD}Nat,Base,,toys,5,,\n", 'mine.csv:2: model "Nat"; did you mean "Net"? is not in the card'),
        (f"{HEAD}Net,Ours,Pull,toys,5,,\n", 'mine.csv:2: attack "Pull" is not in the card'),
        (f"{HEAD}Net,Ours,,toys,5,,\n", '2: attack is empty, and "Ours" is no baseline; expected one of None, Push'),
    ],
)
def test_a_broken_table_says_what_is_wrong_in_which_line(tmp_path, text, said):
    with pytest.raises(BrokenCardError) as raised:
        read_own(tmp_path, text)
    assert str(raised.value).endswith(said)


def test_a_card_that_names_a_preset_that_is_none_is_broken(tmp_path):
    with pytest.raises(BrokenCardError) as raised:
        read_own(tmp_path, f"{HEAD}Net,Ours,Push,toys,5,,\n", preset=None)
    assert str(raised.value).endswith(
        'paper.yaml: correctors: unknown corrector preset "push"; no corrector preset is installed'
    )


def test_an_unknown_table_is_answered_with_the_nearest_and_all(registry):
    with pytest.raises(UsageError) as raised:
        read_published("adcorda-tabel1", registry)
    assert str(raised.value) == (
        '--published: unknown table "adcorda-tabel1"; did you mean "adcorda-table1"? '
        "expected one of adcorda-table1, adcorda-table2, adcorda-table3, adcorda-table4, adcorda-text"
    )


# -- ours beside theirs ----------------------------------------------------------------------------------------------------


BIM = {"attack": "paper/bim", "select": "first-hit"}
MADE = {  # what the paper's correctors are (section 6.2), apart from their options
    "none": NO_ATTACK,
    "ll": BIM | {"objective": "toward-least-likely"},
    "bih": BIM | {"objective": "away-from-predicted"},
    "bi": BIM | {"objective": "away-from-true"},
    "vbi": BIM | {"objective": "toward-true", "options": {"steps": 5}},
    "vbi-iter1": BIM | {"objective": "toward-true", "options": {"steps": 1}},
    "ddn": {"attack": "paper/ddn", "objective": "toward-true", "select": "min-norm", "options": {"steps": 100}},
}


def make(test, *, corrector=None, control=None, model="small-cnn", dataset="digits", comparable=None, **changes):
    work = MADE.get(corrector, {}) | changes.pop("work", {})
    options = changes.pop("options", work.get("options"))
    work = {name: value for name, value in work.items() if name != "options"}
    corrected = None if corrector is None else changes.pop("corrected", 0 if corrector == "none" else 3)
    comparable = {"dataset": dataset, "key": f"{model} {dataset}"} | (comparable or {})
    record = make_record(
        test=test,
        corrector=corrector,
        control=control,
        model=model,
        comparable=comparable,
        corrected=corrected,
        work=work,
        options=options,
        **changes,
    )
    counts = {"train": 80, "valid": 20, "test": 200, "right": 70, "wrong": 10, "source": 70 + (corrected or 0)}
    adaptation = record.adaptation.model_copy(update={"steps": 0} if control == "none" else {})
    return record.model_copy(update={"counts": counts, "adaptation": adaptation})


def plain_run(**changes):
    """A baseline, the curriculum and LL on two seeds; the test accuracies of LL are 0.60 and 0.62."""
    return [
        record
        for seed, more in ((1, 0.0), (2, 0.02))
        for record in (
            make(0.5, control="none", adapter="none", seed=seed, source=None, **changes),
            make(0.55 + more, control="curriculum", corrector="none", seed=seed, **changes),
            make(0.6 + more, corrector="ll", seed=seed, **changes),
        )
    ]


def compare(records, table, **options):
    return compare_published(records, table, **{"stand_ins": {}} | options)


def only(compared):
    (one,) = compared.comparisons
    return one


def test_a_figure_stands_beside_theirs_with_the_difference_in_points_and_in_their_std(table):
    one = only(compare(plain_run(), table["adcorda-table1"]))
    assert (one.theirs, one.subject.label, one.exact) == ("ResNet-18 on cifar10", "small-cnn on digits", False)
    found = {row.published.label: row for row in one.rows}
    test = found["BL-IST, LL"].figure("test")
    assert (test.theirs.mean, test.theirs.std) == (95.93, 0.15)
    assert (test.ours.mean, test.ours.std) == (pytest.approx(61.0), pytest.approx(2**0.5))
    assert test.difference == pytest.approx(61.0 - 95.93)
    assert test.in_their_std == pytest.approx((61.0 - 95.93) / 0.15)
    assert found["BL-IST, LL"].figure("source").in_their_std is None  # 100.00 is printed without a std
    assert found["BL-IST, LL"].figure("delta").ours.mean == pytest.approx(11.0)
    assert found["BL-IST, LL"].figure("rate").difference == pytest.approx(30 - 100 * 55 / 176)
    assert found["BL-IST, None"].figure("test").ours.mean == pytest.approx(56.0)
    assert found["BL-IST, None"].figure("rate").ours is None
    assert found["BL"].figure("test").ours.mean == pytest.approx(50.0)
    assert found["BL"].figure("delta").ours is None


def test_what_has_no_counterpart_on_either_side_is_listed(table):
    records = [*plain_run(), make(0.6, corrector="bi"), *plain_run(model="my-net", dataset="digits")]
    compared = compare(records, table["adcorda-table1"])
    one = only(compared)
    absent = [row.published.attack for row in one.rows if row.ours is None]
    assert absent == ["BIH", "VBI_iter1", "VBI", "DDN", "SP"]
    assert [key.label for key in one.beside] == ["bi + deep-coral"]
    assert len(compared.missing) == 7
    assert [subject.label for subject in compared.left_out] == ["my-net on digits"]
    said = shown(compared)
    assert "ResNet-50 on cifar100 (8 rows)" in said
    assert "no row of ours for BL-IST, BIH; BL-IST, VBI_iter1; BL-IST, VBI; BL-IST, DDN; BL-IST, SP." in said
    assert "my-net on digits: stands for nothing of theirs; say what with --as OURS=THEIRS." in said


def test_the_papers_own_models_and_data_are_matched_exactly(table):
    one = only(compare(sized(plain_run(model="resnet34", dataset="cifar100")), table["adcorda-table1"]))
    assert (one.model, one.dataset, one.exact) == ("ResNet-34", "cifar100", True)
    held_out = sized(plain_run(model="resnet34", dataset="cifar100"), train=40_000, valid=10_000)
    assert only(compare(held_out, table["adcorda-table1"])).exact, "how many are held out is a setting"


@pytest.mark.parametrize("counts", [{"train": 3600, "valid": 400}, {"test": 2000}])
def test_a_part_of_the_papers_data_stands_for_it_and_says_so(table, counts):
    compared = compare(sized(plain_run(model="resnet18", dataset="cifar10"), **counts), table["adcorda-table1"])
    one = only(compared)
    assert not one.exact
    told = {"train": 45_000, "valid": 5_000, "test": 10_000, **counts}
    part = f"{told['train'] + told['valid']:,} training and {told['test']:,} test images, theirs 50,000 and 10,000"
    assert one.part == part
    said = shown(compared, width=200)
    assert f"compare the pattern of the rows, not the numbers. Ours: {part}." in said
    assert f"resnet18 on cifar10, {part}" in said
    assert published_as_json(compared)["comparisons"][0]["part"] == part


def sized(records, **counts):
    """The records, with as many images as the paper's but for ``counts``."""
    every = {"train": 45_000, "valid": 5_000, "test": 10_000} | counts
    return [record.model_copy(update={"counts": record.counts | every}) for record in records]


def test_what_one_stands_for_can_be_said(table):
    records = plain_run(model="my-net", dataset="digits")
    one = only(compare(records, table["adcorda-table1"], stand_ins={"my-net": "ResNet-50", "digits": "cifar100"}))
    assert (one.model, one.dataset, one.exact) == ("ResNet-50", "cifar100", False)
    own = only(compare(plain_run(), table["adcorda-table1"], stand_ins={"small-cnn": "EfficientNetV2-M"}))
    assert own.model == "EfficientNetV2-M"


@pytest.mark.parametrize(
    ("stand_ins", "said"),
    [
        (
            {"my-nat": "ResNet-50"},
            'no model or data set "my-nat" in the records; did you mean "my-net"? expected one of',
        ),
        ({"my-net": "ResNet50"}, 'has no model "ResNet50"; did you mean "ResNet-50"? expected one of ResNet-18,'),
        ({"toys": "cifar-10"}, 'has no data set "cifar-10"; did you mean "cifar10"? expected one of cifar10, cifar100'),
        ({}, "stands for what is: my-net on toys; say what they stand for with --as OURS=THEIRS, where THEIRS is one"),
    ],
)
def test_what_cannot_be_matched_says_what_could_be(table, stand_ins, said):
    with pytest.raises(UsageError) as raised:
        compare(plain_run(model="my-net", dataset="toys"), table["adcorda-table1"], stand_ins=stand_ins)
    assert said in str(raised.value)


def adapted(test, name, plugin="adaptation/deep-coral", **changes):
    record = make(test, corrector="ll", adapter=name, **changes)
    return record.model_copy(update={"adaptation": record.adaptation.model_copy(update={"adapter": plugin})})


def test_the_papers_adapter_is_compared_unless_another_is_asked_for(table):
    records = [adapted(0.6, "deep-coral"), adapted(0.7, "deep-coral(on=features)"), adapted(0.8, "mk-mmd", "x/mk-mmd")]
    for asked, mean in ((None, 60), ("mk-mmd", 80), ("deep-coral(on=features)", 70)):
        row = only(compare(records, table["adcorda-table1"], adapter=asked)).rows[2]
        assert row.figure("test").ours.mean == pytest.approx(mean)
    with pytest.raises(UsageError, match=r'no row of "mkmmd"; did you mean "mk-mmd"\? expected one of'):
        compare(records, table["adcorda-table1"], adapter="mkmmd")
    with pytest.raises(UsageError, match="say which one to compare with --adapter NAME"):
        compare([records[1], adapted(0.5, "deep-coral(w=2)")], table["adcorda-table1"])
    assert only(compare([records[1]], table["adcorda-table1"])).rows[2].ours is not None


def quantize(record, before):
    accuracies = Accuracies(source=None, train=before, valid=before, test=before)
    found = Quantized(
        quantizer="quantization/fx-int8",
        options={"calibration_images": 64},
        gradients="full-precision",
        before=accuracies,
        num_bytes=10,
        full_precision_bytes=40,
    )
    return record.model_copy(update={"quantized": found})


def test_table_2_takes_before_and_after_from_the_quantized_rows_and_bl_from_full_precision(table):
    int8 = {"model": "small-cnn fx-int8", "comparable": {"model": "small-cnn fx-int8", "key": "q"}}
    quantized = [
        quantize(make(0.4, control="none", adapter="none", source=None, **int8), before=0.45),
        quantize(make(0.6, corrector="bih", baseline=0.4, **int8), before=0.7),
    ]
    for records, bl in ((quantized, 45), ([*quantized, *plain_run()], 50)):
        one = only(compare(records, table["adcorda-table2"]))
        assert (one.model, one.subject.model) == ("ResNet-18", "small-cnn")
        test = {row.published.label: row.figure("test").ours for row in one.rows}
        assert test["BL"].mean == pytest.approx(bl)
        assert test["PTSQ"].mean == pytest.approx(40)
        assert test["PTSQ-IST (bef. qt), BIH"].mean == pytest.approx(70)
        assert test["PTSQ-IST (aft. qt), BIH"].mean == pytest.approx(60)
        after = next(row for row in one.rows if row.published.label == "PTSQ-IST (aft. qt), BIH")
        assert after.figure("delta").ours.mean == pytest.approx(20)
        assert setting(one, "quantizer").status == "same"
        assert setting(one, "calibration images").status == "not printed"
    with pytest.raises(UsageError, match='the rows of "adcorda-table2" need a quantized classifier'):
        compare(plain_run(), table["adcorda-table2"])


def test_table_3_finds_what_keeps_all_perturbed_samples_whatever_it_is_called(table):
    every = make(0.58, corrector="everything", corrected=3, work=MADE["ll"] | {"kept": 10})
    other = make(0.9, corrector="all-of-ddn", corrected=3, work=MADE["ddn"] | {"kept": 10})
    counts = every.counts | {"source": 80}
    records = [*plain_run(), every.model_copy(update={"counts": counts}), other]
    rows = {row.published.label: row for row in only(compare(records, table["adcorda-table3"])).rows}
    assert rows["BL-IST-A, LL"].ours.key.corrector == "everything"
    assert rows["BL-IST-A, LL"].figure("source_size").ours.mean == pytest.approx(100)
    assert rows["BL-IST, LL"].figure("source_size").ours.mean == pytest.approx(100 * 73 / 80)
    assert rows["BL-IST, LL"].figure("source_size").theirs.mean == pytest.approx(100 * 44_972 / 45_000)


def test_where_everything_was_corrected_the_name_tells_what_keeps_all(table):
    records = [
        make(test, corrector=name, corrected=10, work=MADE["ll"]) for name, test in (("mine", 0.6), ("my-all", 0.7))
    ]
    rows = {row.published.label: row for row in only(compare(records, table["adcorda-table3"])).rows}
    assert rows["BL-IST, LL"].ours.key.corrector == "mine"
    assert rows["BL-IST-A, LL"].ours.key.corrector == "my-all"
    assert compared_rows([records[0]], table["adcorda-table3"])["BL-IST-A, LL"] is None


def compared_rows(records, published):
    """Our corrector that answers each of their rows."""
    return {row.published.label: row.ours and row.ours.key.corrector for row in only(compare(records, published)).rows}


def test_a_row_answers_by_what_it_is_and_not_by_its_name(table):
    records = [
        make(0.6, corrector="my-bih", work=MADE["bih"]),
        make(0.61, corrector="one-step", work=MADE["vbi-iter1"]),
        make(0.62, corrector="vbi", work=MADE["vbi"] | {"attack": "foolbox/linf-pgd"}),
        make(0.63, corrector="ll", work=MADE["ll"] | {"objective": "toward-true"}),
        make(0.64, corrector="ddn", work=MADE["ddn"] | {"select": "final"}),
    ]
    found = compared_rows(records, table["adcorda-table1"])
    assert {label.partition(", ")[2]: ours for label, ours in found.items() if ours} == {
        "BIH": "my-bih",
        "VBI_iter1": "one-step",
    }
    one = only(compare(records, table["adcorda-table1"]))
    assert one.remarks == (
        "vbi + deep-coral is not their VBI: attack foolbox/linf-pgd, not paper/bim.",
        "ll + deep-coral is not their LL: objective toward-true, not toward-least-likely.",
        "ddn + deep-coral is not their DDN: select final, not min-norm.",
    )
    assert (setting(one, "BIH attack").ours, setting(one, "BIH objective").status) == ("paper/bim", "same")


def test_of_several_rows_that_are_a_preset_its_namesake_or_the_nearest_in_its_options_answers(table):
    def vbi(name, eps):
        return make(0.6, corrector=name, work=MADE["vbi"] | {"options": {"steps": 5, "eps": eps, "alpha": 1 / 255}})

    near, far = vbi("wide", 8 / 255), vbi("narrow", 2 / 255)
    assert compared_rows([far, near], table["adcorda-table1"])["BL-IST, VBI"] == "wide"
    assert compared_rows([vbi("vbi", 2 / 255), near], table["adcorda-table1"])["BL-IST, VBI"] == "vbi"


def test_folders_that_share_rows_are_compared_as_one(table):
    first, other = plain_run(), plain_run()
    measured = [attacked(record, 5e-4, 0.3).model_copy(update={"key": f"m{record.key}"}) for record in other[:3]]
    for records in ([*first, *other], [*first, *measured], [*measured, *first]):
        one = only(compare(records, table["adcorda-table4"]))
        assert one.rows[0].figure("clean").ours.mean == pytest.approx(50)
    one = only(compare([*plain_run()[:3], *measured], table["adcorda-table4"]))
    assert one.rows[0].figure("autoattack").ours.mean == pytest.approx(30)
    changed = [record.model_copy(update={"key": "x", "correction": None}) for record in first[2:3]]
    with pytest.raises(StoreError, match=r'row "ll \+ deep-coral" of small-cnn: records .* are both its seed 1'):
        compare([*first, *changed], table["adcorda-table1"])


def attacked(record, eps, robust, batch_size=None):
    measure = Measure(
        name="autoattack",
        evaluator="autoattack/autoattack",
        options={"version": "standard"},
        samples=100,
        rows=None,
        clean=0.45,
        robust=robust,
        held=None,
        norm="linf",
        eps=eps,
        figures={},
        flags=[],
        batch_size=batch_size,
    )
    return record.model_copy(update={"measures": [*record.measures, measure]})


def test_table_4_takes_the_robust_accuracy_at_the_papers_eps_alone(table):
    records = [attacked(attacked(record, 8 / 255, 0.01), 5e-4, 0.3) for record in plain_run()]
    one = only(compare(records, table["adcorda-table4"]))
    assert one.rows[0].figure("autoattack").ours.mean == pytest.approx(30)
    assert one.rows[0].figure("autoattack").in_their_std == pytest.approx((30 - 15.92) / 1.67)
    assert one.rows[0].figure("clean").ours.mean == pytest.approx(50)  # of all test images, as theirs
    assert one.rows[0].figure("autoattack").samples == 100
    (said,) = one.remarks
    # Wilson, by hand: (p + z²/2n ± z sqrt(p(1-p)/n + z²/4n²)) / (1 + z²/n) with p = 0.3, n = 100, z = 1.959964.
    assert "BL 30.00 [21.89, 39.58], clean 45.00 (n = 100)" in said
    assert "30.00 ± 0.00 (n = 100)" in shown(compare(records, table["adcorda-table4"]))
    assert setting(one, "AutoAttack batch size").theirs == "512"
    assert setting(one, "AutoAttack batch size").status == "not recorded"  # by a version of before it was kept
    batched = only(compare([attacked(r, 5e-4, 0.3, batch_size=512) for r in plain_run()], table["adcorda-table4"]))
    assert setting(batched, "AutoAttack batch size").status == "same"
    assert (setting(one, "AutoAttack samples").ours, setting(one, "AutoAttack samples").status) == ("100", "differs")
    assert setting(one, "AutoAttack eps").status == setting(one, "AutoAttack version").status == "same"
    elsewhere = only(compare([attacked(r, 8 / 255, 0.01) for r in plain_run()], table["adcorda-table4"]))
    assert elsewhere.rows[0].figure("autoattack").ours is None
    assert elsewhere.rows[0].figure("clean").ours.mean == pytest.approx(50)
    assert elsewhere.remarks == ("No AutoAttack with linf 0.0005 in these records; they have it with linf 0.03137.",)


# -- settings --------------------------------------------------------------------------------------------------------------


def setting(one, label):
    return next(found for found in one.settings if found.label == label)


def test_settings_are_the_same_differ_are_not_printed_or_not_recorded(table):
    records = [
        record.model_copy(
            update={
                "versions": {"torch": "2.13.0"},
                "adaptation": record.adaptation.model_copy(
                    update={"adapter": "adaptation/deep-coral", "options": {"weight": 1 / 750}, "steps": 100}
                ),
            }
        )
        for record in plain_run()
    ]
    one = only(compare(records, table["adcorda-table1"]))
    said = {found.label: (found.theirs, found.ours, found.status) for found in one.settings}
    assert said["seeds"] == ("1, 2, 5", "1, 2", "differs")
    assert said["training images"] == ("45,000", "80", "differs")
    assert said["baseline epochs"] == ("100", "none: its weights were given", "differs")
    assert said["adaptation epochs"] == ("20", "20", "same")  # 100 steps of 16 on 80 images
    assert said["tuned by"][1:] == ("none", "differs")
    assert said["adaptation batch size"] == ("16", "16", "same")
    assert said["adaptation lr"] == (None, "0.01", "not printed")
    assert said["λ"] == ("1/750", "0.001333", "same")
    assert said["PyTorch"] == (None, "2.13.0", "not printed")
    assert said["pretrained on"] == ("imagenet", None, "not recorded")
    assert "DDN steps" not in said  # there is no row of it


def test_the_papers_twenty_epochs_are_the_same_for_every_printed_pair(table):
    one = table["adcorda-table1"]
    for model, dataset in one.pairs:
        batch = 32 if (model, dataset) == ("EfficientNetV2-M", "cifar100") else 16
        steps = {16: 56_260, 32: 28_140}[batch]  # 20 * ceil(45,000 / batch)
        budget = {"steps": None, "epochs": 20, "batch_size": batch, "optimizer": "sgd", "lr": 1e-3}
        record = make(
            0.6, corrector="ll", model=one.paper.models[model], dataset=dataset, comparable={"budget": budget}
        )
        adaptation = record.adaptation.model_copy(update={"steps": steps})
        [told] = sized([record.model_copy(update={"adaptation": adaptation})])
        found = setting(only(compare([told], one)), "adaptation epochs")
        assert (found.theirs, found.ours, found.status) == ("20", "20", "same")


def test_a_search_is_told_beside_the_papers(table):
    record = make(0.6, corrector="ll")
    record = record.model_copy(update={"adaptation": record.adaptation.model_copy(update={"steps": 100})})
    trial = Trial(
        settings=dict.fromkeys(("adaptation.lr", "adaptation.batch_size", "adaptation.weight_decay"), 1e-3),
        repetition=0,
        valid=0.5,
        best_step=1,
        failed=None,
    )
    grid = {"adaptation.lr": [1e-3, 1e-2], "adaptation.batch_size": [16, 32]}
    for space, status in ((grid, "differs"), (grid | {"adaptation.weight_decay": [0, 1e-4]}, "same")):
        search = Search(sampler="grid", space=space, trials=[trial], chosen=0, training={"lr": 1e-3})
        found = setting(
            only(compare([record.model_copy(update={"search": search})], table["adcorda-table1"])), "tuned by"
        )
        assert found.ours.startswith("grid over batch_size, lr")
        assert found.status == status


def test_attack_options_are_compared_in_their_units(table):
    records = [
        make(0.6, corrector=name, options={"eps": 8 / 255, "alpha": a / 255}) for name, a in (("ll", 1), ("bih", 2))
    ]
    one = only(compare(records, table["adcorda-table1"]))
    assert (setting(one, "LL eps").theirs, setting(one, "LL eps").ours) == (None, "8/255")
    assert setting(one, "LL alpha").status == "same"
    assert (setting(one, "BIH alpha").ours, setting(one, "BIH alpha").status) == ("2/255", "differs")
    assert setting(one, "BIH alpha").theirs == "1/255 (as Kurakin et al.)"


def test_a_setting_that_two_comparisons_share_is_shown_once_and_others_with_their_place(table):
    other = {"key": "k2", "budget": {"batch_size": 32}}
    records = [*plain_run(), *plain_run(dataset="fashion-mnist", comparable=other)]
    said = shown(compare(records, table["adcorda-table1"]))
    assert said.count("training images") == 1
    line = next(line for line in said.splitlines() if line.startswith("adaptation batch size"))
    assert line.split()[3:] == ["16", "32", "ResNet-18", "on", "cifar100"]


# -- shown -----------------------------------------------------------------------------------------------------------------


def shown(compared, width=160, encoding="utf-8"):
    stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    render_published(compared, Console(file=stream, width=width, highlight=False))
    stream.flush()
    return stream.buffer.getvalue().decode(encoding)


def test_the_terminal_shows_theirs_ours_and_the_difference(table):
    said = shown(compare(plain_run(), table["adcorda-table1"]))
    start = said.splitlines().index(next(line for line in said.splitlines() if line.startswith("BL-IST, LL")))
    theirs, ours, difference = (said.splitlines()[start + step].split() for step in range(3))
    assert theirs[2:4] == ["55/176", "(31%)"]
    assert ours[3:5] == ["3/10", "(30%)"]
    assert difference[-3:] == ["-34.93", "(-232.9σ)", "+8.36"]
    assert "Another model or other data stands for theirs" in said
    assert "Ours: mean and sample std over seeds 1, 2." in said


@pytest.mark.parametrize("width", [100, 80, 60, 40, 20])
@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_no_width_and_no_encoding_cuts_a_number(table, width, encoding):
    said = shown(compare(plain_run(), table["adcorda-table1"]), width, encoding)
    assert "…" not in said
    assert all(len(line) <= width for line in said.splitlines())
    for number in ("95.93", "61.00", "+11.00"):
        assert number in said


def test_json_says_it_all(table):
    told = json.loads(json.dumps(published_as_json(compare(plain_run(), table["adcorda-table1"]))))
    assert (told["version"], told["published"]) == (1, "adcorda-table1")
    (one,) = told["comparisons"]
    assert one["theirs"] == {"model": "ResNet-18", "dataset": "cifar10"}
    row = next(row for row in one["rows"] if row["attack"] == "LL")
    assert row["ours"] == {"row": "ll + deep-coral", "before_quantizing": False, "seeds": [1, 2]}
    assert row["figures"]["test"]["ours"]["per_seed"] == {"1": pytest.approx(60), "2": pytest.approx(62)}
    assert row["figures"]["test"]["difference"] == pytest.approx(-34.93)
    assert (row["corrected"], row["wrong"], row["wrong_meant"]) == (55, 176, None)
    assert {row["figures"]["test"]["unit"], row["figures"]["rate"]["unit"]} == {"percent"}
    assert next(row for row in one["rows"] if row["attack"] == "SP")["ours"] is None
    assert len(told["missing"]) == 7
    assert any("hier1" in slip for slip in told["slips"])


def test_a_printed_slip_is_shown_beside_what_was_meant(table):
    compared = compare(plain_run(), table["adcorda-table1"], stand_ins={"digits": "cifar100"})
    assert "446/251 (451 meant)" in shown(compared)
    rows = published_as_json(compared)["comparisons"][0]["rows"]
    row = next(row for row in rows if row["attack"] == "VBI")
    assert (row["corrected"], row["wrong"], row["wrong_meant"]) == (446, 251, 451)


# -- the text's own numbers ------------------------------------------------------------------------------------------------


def test_the_texts_megabytes_are_of_two_to_the_twentieth():
    sizes = {row["model"]: row["size"] for row in lines("text") if row["size"]}
    # ResNet-152 has 60,192,808 parameters with ImageNet's 1,000 classes (He et al.; torchvision): a head of 2,048 inputs less.
    parameters = 60_192_808 - 900 * (2048 + 1)
    assert 1 < sizes["ResNet-152"] / (4 * parameters / 2**20) < 1.01  # its batch norm's statistics come on top
    assert sizes["ResNet-152"] < 4 * parameters / 1e6
    assert 1 < sizes["ResNet-34"] / ((21_797_672 - 900 * 513) / 2**20) < 1.05  # int8, with scales


def test_the_texts_accuracies_are_those_of_the_tables():
    text = {(row["model"], row["approach"], row["attack"]): row["test"] for row in lines("text")}
    for number, approach, attack in ((1, "BL", ""), (2, "PTSQ-IST (aft. qt)", "BIH")):
        printed = [
            row["test"]
            for row in lines(number)
            if (*pair_of(row), row["approach"], row["attack"]) == ("ResNet-34", "cifar100", approach, attack)
        ]
        assert printed == [text["ResNet-34", approach, attack]]


def with_initial_losses(record):
    losses = {"loss_target": 0.25, "loss_source": 0.125}
    return (
        record
        if record.correction is None
        else record.model_copy(update={"correction": record.correction.model_copy(update=losses)})
    )


def test_losses_and_sizes_of_full_precision_and_int8_rows_stand_beside_the_texts(table):
    paper = {"model": "resnet34", "dataset": "cifar100"}
    int8 = {"model": "resnet34 fx-int8", "dataset": "cifar100"}
    plain = plain_run(**paper)
    quantized = [
        quantize(make(0.4, control="none", adapter="none", source=None, baseline=0.4, **int8), before=0.45),
        quantize(make(0.6, corrector="bih", baseline=0.4, **int8), before=0.7),
    ]
    wide = plain_run(model="resnet152", dataset="cifar100")
    plain = [with_initial_losses(record) for record in plain]
    for records, size in (([*plain, *quantized, *wide], 40 / 2**20), (plain, None)):
        compared = compare(records, table["adcorda-text"])
        one = compared.comparisons[0]
        rows = {row.published.label: row for row in one.rows}
        assert rows["BL"].figure("loss_target").ours.mean == pytest.approx(0.25)
        assert rows["BL"].figure("loss_target").difference == pytest.approx(0.25 - 0.254)
        assert rows["BL-IST, LL"].figure("loss_source").ours.mean == pytest.approx(0.125)
        assert (rows["PTSQ-IST (aft. qt), BIH"].ours is None) == (size is None)
        assert "0.250" in shown(compared)
        assert "losses in nats; MB of 2**20 bytes" in shown(compared)
        assert "of the baseline before it is adapted" in " ".join(shown(compared).split())
    one, other = compare([*plain, *quantized, *wide], table["adcorda-text"]).comparisons
    after = next(row for row in one.rows if row.published.label == "PTSQ-IST (aft. qt), BIH")
    assert after.figure("size").ours.mean == pytest.approx(10 / 2**20)
    assert after.figure("test").ours.mean == pytest.approx(60)
    assert (other.model, other.rows[0].figure("test").ours.mean) == ("ResNet-152", pytest.approx(50))
    sizes = [quantize(record, before=0.5) for record in plain_run(model="resnet152 fx-int8", dataset="cifar100")]
    alone = only(compare([*wide, *sizes], table["adcorda-text"]))
    assert alone.rows[0].figure("size").ours.mean == pytest.approx(40 / 2**20)
    assert alone.rows[0].figure("test").ours.mean == pytest.approx(50)
