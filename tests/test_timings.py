"""Saved timings are read, refused where they are something else, and shown beside correction rates."""

from __future__ import annotations

import csv
import io
import json

import pytest
from record_factory import control, make_record, method
from rich.console import Console
from timed import TIMED

from harness.cli import main
from harness.errors import StoreError, UsageError
from harness.leaderboard import build
from harness.records import write_record
from harness.report import timing_table
from harness.report.timing_rows import make_timing_table
from harness.timings import read_timings

UNTIMED = {
    "format": "adcorda-harness/timing/1",
    "attack": "foolbox/clipping-aware",
    "reason": "corrects 0 of 40 images",
}
OTHER = {"name": "test_sorting", "stats": {"median": 1.0, "rounds": 3}, "extra_info": {}}
DELETED = object()


def one(median=0.32, rounds=5, **changes):
    extra = {name: value for name, value in {**TIMED, **changes}.items() if value is not DELETED}
    return {"name": "test_one", "stats": {"median": median, "rounds": rounds}, "extra_info": extra}


def save(folder, *benchmarks, **changes):
    path = folder / "timing.json"
    saved = {
        "machine_info": {"node": "secret", "cpu": {"brand_raw": "Abacus 2"}},
        "benchmarks": list(benchmarks),
        "datetime": "2026-11-05T12:00:00+00:00",
    }
    path.write_text(json.dumps({**saved, **changes}))
    return path


def write_results(folder, *records):
    for record in records:
        write_record(folder / "records", record)
    return folder


@pytest.fixture
def call(capsys, monkeypatch):
    monkeypatch.delenv("COLUMNS", raising=False)

    def calling(*arguments):
        capsys.readouterr()
        with pytest.raises(SystemExit) as end:
            main([str(argument) for argument in arguments])
        return end.value.code, *capsys.readouterr()

    return calling


def rendered(table, width=120, **how):
    text = io.StringIO()
    timing_table.render(table, Console(file=text, width=width, highlight=False, **how))
    return text.getvalue()


# -- reading ---------------------------------------------------------------------------------------------------------------


def test_seconds_per_image_are_the_median_round_divided_by_the_batch(tmp_path):
    [timing] = read_timings(save(tmp_path, one(median=0.32, batch=64))).timed
    assert timing.seconds_per_image == pytest.approx(0.005)


def test_attacks_stand_by_norm_and_batch_and_then_the_fastest_first(tmp_path):
    path = save(
        tmp_path,
        one(median=2.0, attack="slow"),
        one(median=1.0, attack="fast"),
        one(median=0.1, attack="large", batch=128),
        one(median=9.0, attack="other", norm="l2"),
    )
    assert [timing.measured.attack for timing in read_timings(path).timed] == ["other", "fast", "slow", "large"]


def test_other_benchmarks_are_counted_and_what_others_add_is_no_business_of_ours(tmp_path):
    timings = read_timings(save(tmp_path, OTHER, one(mood="good"), OTHER))
    assert (len(timings.timed), timings.others) == (1, 2)
    assert (timings.machine, timings.date) == ("Abacus 2", "2026-11-05")


def test_a_file_of_untimed_attacks_alone_is_read(tmp_path):
    timings = read_timings(save(tmp_path, OTHER, adcorda_harness_untimed=[UNTIMED]))
    assert timings.timed == ()
    assert timings.untimed[0].reason == "corrects 0 of 40 images"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "{\n  oops",
            ':2:3: is no JSON (Expecting property name enclosed in double quotes); expected the JSON that "make',
        ),
        (
            "[]",
            ': is JSON of something else, it has no list "benchmarks"; expected the JSON that "make bench" or "pytest',
        ),
        ('{"benchmarks": {}}', ": is JSON of something else"),
        (json.dumps({"benchmarks": [OTHER, OTHER]}), ": no benchmark in it (of 2) is an attack's; expected the JSON"),
        (json.dumps({"benchmarks": [7]}), ": no benchmark in it (of 1) is an attack's"),
    ],
)
def test_a_file_of_something_else_is_refused(tmp_path, text, said):
    path = tmp_path / "timing.json"
    path.write_text(text)
    with pytest.raises(UsageError) as refused:
        read_timings(path)
    assert str(refused.value).startswith(f"{path}{said}")


def test_a_missing_file_says_how_it_is_made(tmp_path):
    with pytest.raises(UsageError, match=r'none\.json: no such file; expected the JSON .*: run "make bench"$'):
        read_timings(tmp_path / "none.json")


def test_a_folder_and_bytes_are_refused(tmp_path):
    with pytest.raises(UsageError, match=r"cannot be read \(Is a directory\)"):
        read_timings(tmp_path)
    (tmp_path / "image.json").write_bytes(b"\xff\xd8")
    with pytest.raises(UsageError, match=r"is no JSON \(no UTF-8 text\)"):
        read_timings(tmp_path / "image.json")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"success": 0.0}, "benchmarks[1].extra_info.success: got 0.0, input should be greater than 0"),
        ({"success": 1.5}, "benchmarks[1].extra_info.success: got 1.5, input should be less than or equal to 1"),
        ({"norm": "l3"}, "benchmarks[1].extra_info.norm: got \"l3\", input should be 'l0', 'l1', 'l2' or 'linf'"),
        ({"batch": DELETED}, "benchmarks[1].extra_info.batch: field required"),
        ({"median": float("nan")}, "benchmarks[1].stats.median: got nan, input should be a finite number"),
        (
            {"format": "adcorda-harness/timing/2"},
            "benchmarks[1].extra_info.format: got \"adcorda-harness/timing/2\", input should be 'adcorda-harness/timing/1'",
        ),
    ],
)
def test_a_damaged_timing_is_named_with_what_was_found(tmp_path, changes, said):
    path = save(tmp_path, OTHER, one(**changes))
    with pytest.raises(StoreError) as refused:
        read_timings(path)
    assert str(refused.value) == (
        f'{path}: {said}; it was changed by hand or saved by another version: run "make bench" again'
    )


# -- beside an experiment --------------------------------------------------------------------------------------------------


def table_of(folder, benchmarks, records, **changes):
    timings = read_timings(save(folder, *benchmarks, **changes))
    return make_timing_table(timings, build(records), experiment="toy")


def rates(table):
    return {row.timing.measured.attack: [one.text for one in row.corrections] for row in table.rows}


def test_rates_stand_beside_the_attack_that_made_them(tmp_path):
    records = [
        method(0.6, corrector="vbi", corrected=3, wrong=4, work={"attack": "paper/bim"}),
        method(0.6, corrector="ll", corrected=1, wrong=4, work={"attack": "paper/bim"}),
        method(0.6, corrector="sp", corrected=2, wrong=4, work={"attack": "paper/salt-and-pepper"}),
        control("curriculum", 0.5, corrector="none", corrected=0, work={"attack": None}),
    ]
    table = table_of(tmp_path, [one(), one(attack="foolbox/linf-pgd")], records)
    assert rates(table) == {"paper/bim": ["vbi 3/4 (75%)", "ll 1/4 (25%)"], "foolbox/linf-pgd": []}
    assert [one.text for one in table.unmatched] == ["sp 2/4 (50%)"]


def test_a_bare_name_means_the_attack_that_alone_has_it(tmp_path):
    records = [method(0.6, corrected=3, wrong=4, work={"attack": "bim"})]
    assert rates(table_of(tmp_path, [one()], records)) == {"paper/bim": ["vbi 3/4 (75%)"]}
    both = table_of(tmp_path, [one(), one(attack="foolbox/bim")], records)
    assert rates(both) == {"paper/bim": [], "foolbox/bim": []}
    assert [one.attack for one in both.unmatched] == ["bim"]


def test_with_several_models_each_rate_names_its_own(tmp_path):
    changes = {"corrected": 1, "wrong": 2, "work": {"attack": "paper/bim"}}
    records = [method(0.6, model=name, comparable={"key": name * 8, "model": name}, **changes) for name in ("a", "b")]
    table = table_of(tmp_path, [one()], records)
    assert rates(table) == {"paper/bim": ["a: vbi 1/2 (50%)", "b: vbi 1/2 (50%)"]}


def test_rates_are_means_over_seeds_as_in_the_leaderboard(tmp_path):
    records = [
        make_record(test=0.6, corrector="vbi", corrected=done, wrong=4, seed=seed, work={"attack": "paper/bim"})
        for seed, done in ((1, 1), (2, 4))
    ]
    assert rates(table_of(tmp_path, [one()], records)) == {"paper/bim": ["vbi 2.5/4 (62%)"]}


# -- formats ---------------------------------------------------------------------------------------------------------------


@pytest.fixture
def table(tmp_path):
    benchmarks = [
        one(options={"eps": 8 / 255, "steps": 5}),
        one(median=6.4, attack="foolbox/ddn", norm="l2", cut=True),
        OTHER,
    ]
    records = [method(0.6, corrected=3, wrong=4, work={"attack": "paper/bim"})]
    return table_of(tmp_path, benchmarks, records, adcorda_harness_untimed=[UNTIMED])


def test_terminal_shows_times_passes_success_and_rates(table):
    lines = [" ".join(line.split()) for line in rendered(table, width=140).splitlines()]
    head = "Attack Objective Norm Batch ms/image Forward Backward Success Median norm Corr. rate"
    assert head in lines
    assert "foolbox/ddn* toward-true l2 64 100 12.0 10.5 75% 0.0157 –" in lines
    assert "paper/bim (eps 0.0314, steps 5) toward-true linf 64 5.00 12.0 10.5 75% 0.0157 vbi 3/4 (75%)" in lines
    assert "timing.json, 2026-11-05, Abacus 2, beside the correction rates of toy." in lines
    assert "*: ended when its passes were spent." in lines
    assert "foolbox/clipping-aware: corrects 0 of 40 images" in lines
    assert "Left out: 1 of the file's benchmarks, which do not say what attack they time." in lines
    assert "secret" not in rendered(table)


@pytest.mark.parametrize("width", [100, 80, 60, 40, 20])
def test_a_narrow_terminal_drops_columns_but_never_the_time(table, width):
    text = rendered(table, width=width)
    assert "100" in text
    assert "5.00" in text
    assert width >= 100 or "Too narrow for" in text
    assert "…" not in text


def test_long_names_are_folded_before_a_column_is_dropped(tmp_path):
    name = "foolbox/l2-clipping-aware-repeated-additive-gaussian-noise"
    table = make_timing_table(read_timings(save(tmp_path, one(attack=name))))
    text = rendered(table, width=112)
    assert "Too narrow" not in text
    assert name not in text
    assert name in rendered(table, width=150)


def test_a_plain_stream_gets_ascii(table):
    text = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    timing_table.render(table, Console(file=text, width=120, highlight=False))
    text.flush()
    assert b"foolbox/ddn" in text.buffer.getvalue()


def test_markdown_has_a_line_an_attack(table):
    text = timing_table.to_markdown(table)
    assert r"| foolbox/ddn\* | toward-true | l2 | 64 | 100 | 12.0 | 10.5 | 75% | 0.0157 | – |" in text
    assert "- foolbox/clipping-aware: corrects 0 of 40 images" in text


def test_csv_is_exact_with_a_line_a_corrector(table):
    rows = list(csv.DictReader(io.StringIO(timing_table.to_csv(table))))
    assert [row["attack"] for row in rows] == ["foolbox/ddn", "paper/bim", "foolbox/clipping-aware"]
    assert float(rows[1]["seconds_per_image"]) == 0.32 / 64
    assert json.loads(rows[1]["options"]) == {"eps": 8 / 255, "steps": 5}
    assert (rows[1]["corrector"], float(rows[1]["rate"])) == ("vbi", 0.75)
    assert rows[0]["corrector"] == ""
    assert (rows[2]["untimed"], rows[2]["seconds_per_image"]) == ("corrects 0 of 40 images", "")


def test_json_is_versioned_and_plain(table):
    shown = json.loads(json.dumps(timing_table.to_json(table)))
    assert (shown["version"], shown["experiment"], shown["other_benchmarks"]) == (1, "toy", 1)
    assert shown["timings"][1]["seconds_per_image"] == 0.005
    assert shown["timings"][1]["correctors"] == [
        {"model": None, "corrector": "vbi", "attack": "paper/bim", "wrong": 4.0, "corrected": 3.0, "rate": 0.75}
    ]
    assert shown["untimed"] == [{"attack": "foolbox/clipping-aware", "reason": "corrects 0 of 40 images"}]


def test_devices_have_a_column_only_where_they_differ(tmp_path):
    same = make_timing_table(read_timings(save(tmp_path, one(), one(attack="b"))))
    assert "Device" not in rendered(same)
    assert "Timed on cpu, 1 thread." in rendered(same)
    mixed = make_timing_table(read_timings(save(tmp_path, one(), one(attack="b", threads=2))))
    assert "cpu, 2 threads" in rendered(mixed)
    assert "Timed on" not in rendered(mixed)


# -- the command -----------------------------------------------------------------------------------------------------------


def test_the_command_shows_timings_alone_without_rates(call, tmp_path):
    code, out, err = call("leaderboard", "--timing", save(tmp_path, one()))
    assert (code, err) == (0, "")
    assert "paper/bim" in out
    assert "Corr. rate" not in out


def test_the_command_shows_timings_beside_the_rates_of_a_folder_and_writes_nothing(call, tmp_path):
    results = write_results(tmp_path / "toy", method(0.6, corrected=3, wrong=4))
    path = save(tmp_path, one())
    _, out, _ = call("leaderboard", results, "--timing", path)
    assert "vbi 3/4 (75%)" in out
    assert [found.name for found in results.iterdir()] == ["records"]
    shown = json.loads(call("leaderboard", results, "--timing", path, "--json")[1])
    assert shown == json.loads(call("leaderboard", results, "--timing", path, "--format", "json")[1])
    assert shown["timings"][0]["correctors"][0]["rate"] == 0.75
    assert call("leaderboard", results, "--timing", path, "--format", "csv")[1].startswith("attack,")
    assert call("leaderboard", results, "--timing", path, "--format", "markdown")[1].startswith("# How fast")


def test_the_command_without_anything_says_what_it_expects(call):
    code, _, err = call("leaderboard")
    assert code == 2
    assert err == (
        'harness: leaderboard: no results folder given; expected one made by "harness run", such as '
        'results/digits-demo, or "--timing FILE"\n'
    )


def test_the_command_refuses_a_folder_without_records_beside_timings(call, tmp_path):
    code, _, err = call("leaderboard", tmp_path / "none", "--timing", save(tmp_path, one()))
    assert code == 2
    assert "none: is no folder; expected a results folder" in err


def test_the_command_tells_a_missing_file(call, tmp_path):
    code, _, err = call("leaderboard", "--timing", tmp_path / "none.json")
    assert code == 2
    assert "none.json: no such file" in err
