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
from harness.errors import UsageError
from harness.manager import Manager
from harness.published import read_published, table_names
from harness.published_comparison import compare_published
from harness.records import Accuracies, Measure, Quantized
from harness.report.published import render_published
from harness.report.published_json import published_as_json

FOLDER = Path(import_module("harness_registry").__file__ or "").parent / "published"
TABLES = {"adcorda-table1": 64, "adcorda-table2": 32, "adcorda-table3": 12, "adcorda-table4": 24}
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
    with (FOLDER / f"adcorda-table{number}.csv").open(encoding="utf-8") as file:
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


def read_own(folder, text):
    (folder / "published").mkdir()
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
    ],
)
def test_a_broken_table_says_what_is_wrong_in_which_line(tmp_path, text, said):
    with pytest.raises(BrokenCardError) as raised:
        read_own(tmp_path, text)
    assert str(raised.value).endswith(said)


def test_an_unknown_table_is_answered_with_the_nearest_and_all(registry):
    with pytest.raises(UsageError) as raised:
        read_published("adcorda-tabel1", registry)
    assert str(raised.value) == (
        '--published: unknown table "adcorda-tabel1"; did you mean "adcorda-table1"? '
        "expected one of adcorda-table1, adcorda-table2, adcorda-table3, adcorda-table4"
    )


# -- ours beside theirs ----------------------------------------------------------------------------------------------------


def make(test, *, corrector=None, control=None, model="small-cnn", dataset="digits", comparable=None, **changes):
    work = NO_ATTACK if corrector == "none" else None
    corrected = None if corrector is None else changes.pop("corrected", 0 if corrector == "none" else 3)
    comparable = {"dataset": dataset, "key": f"{model} {dataset}"} | (comparable or {})
    record = make_record(
        test=test,
        corrector=corrector,
        control=control,
        model=model,
        comparable=comparable,
        corrected=corrected,
        work=changes.pop("work", work),
        **changes,
    )
    counts = {"train": 80, "valid": 20, "test": 200, "right": 70, "wrong": 10, "source": 70 + (corrected or 0)}
    return record.model_copy(update={"counts": counts})


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
    one = only(compare(plain_run(model="resnet34", dataset="cifar100"), table["adcorda-table1"]))
    assert (one.model, one.dataset, one.exact) == ("ResNet-34", "cifar100", True)


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
    every = make(0.58, corrector="everything", corrected=3, work={"kept": 10})
    other = make(0.9, corrector="all-of-ddn", corrected=3, work={"kept": 10, "attack": "ddn"})
    counts = every.counts | {"source": 80}
    records = [*plain_run(), every.model_copy(update={"counts": counts}), other]
    rows = {row.published.label: row for row in only(compare(records, table["adcorda-table3"])).rows}
    assert rows["BL-IST-A, LL"].ours.key.corrector == "everything"
    assert rows["BL-IST-A, LL"].figure("source_size").ours.mean == pytest.approx(100)
    assert rows["BL-IST, LL"].figure("source_size").ours.mean == pytest.approx(100 * 73 / 80)
    assert rows["BL-IST, LL"].figure("source_size").theirs.mean == pytest.approx(100 * 44_972 / 45_000)


def attacked(record, eps, robust):
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
    )
    return record.model_copy(update={"measures": [*record.measures, measure]})


def test_table_4_takes_the_robust_accuracy_at_the_papers_eps_alone(table):
    records = [attacked(attacked(record, 8 / 255, 0.01), 5e-4, 0.3) for record in plain_run()]
    one = only(compare(records, table["adcorda-table4"]))
    assert one.rows[0].figure("autoattack").ours.mean == pytest.approx(30)
    assert one.rows[0].figure("autoattack").in_their_std == pytest.approx((30 - 15.92) / 1.67)
    assert one.rows[0].figure("clean").ours.mean == pytest.approx(45)  # of the samples that were attacked
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
    assert said["adaptation batch size"] == ("16", "16", "same")
    assert said["adaptation lr"] == (None, "0.01", "not printed")
    assert said["λ"] == ("1/750", "0.001333", "same")
    assert said["PyTorch"] == (None, "2.13.0", "not printed")
    assert said["pretrained on"] == ("imagenet", None, "not recorded")
    assert "DDN steps" not in said  # there is no row of it


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
    assert (row["corrected"], row["wrong"]) == (55, 176)
    assert next(row for row in one["rows"] if row["attack"] == "SP")["ours"] is None
    assert len(told["missing"]) == 7
    assert any("hier1" in slip for slip in told["slips"])
