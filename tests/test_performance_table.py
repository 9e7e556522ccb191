"""The table against peers: what is shown of a saved contest, and a small contest that is really held."""

from __future__ import annotations

import json
import os
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
from timed import TIMED

from harness.executors.processes import _ALLOCATOR
from harness.timings import read_timings

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "tests" / "benchmarks"
SCRIPT = FOLDER / "performance_table.py"
sys.path.append(str(FOLDER))
TABLE = runpy.run_path(str(SCRIPT), run_name="performance_table")
MARKED = "# Ours\n\n<!-- peers -->\nwas here\n<!-- /peers -->\n\nMore.\n"
ROW = {
    "what": "sorting",
    "against": "bubbles",
    "target": 5.0,
    "peer": "peer",
    "ours": "ours",
    "kept": "kept",
    "checks": {"10 of 10 sorted": True},
    "remark": "",
}
SECONDS = {"peer": [4.0, 8.0, 6.0], "kept": [3.0, 3.0, 3.0], "ours": [1.0, 1.0, 2.0]}


def benchmark(extra):
    return {"name": "test_one", "stats": {"median": 1.0, "rounds": 3}, "extra_info": extra}


def saved(*rows, seconds=SECONDS, more=()):
    contest = {
        "format": "adcorda-harness/peers/1",
        "data": "playing cards",
        "torch": "9.9",
        "threads": 2,
        "seconds": seconds,
        "rows": list(rows),
    }
    return {
        "machine_info": {"cpu": {"brand_raw": "Abacus 2", "count": 4}},
        "datetime": "2026-11-05T12:00:00+00:00",
        "benchmarks": [*more, benchmark(contest)],
    }


def cells(row, seconds=SECONDS):
    """Return the cells of a row's line."""
    return [cell.strip() for cell in TABLE["line"](ROW | row, seconds).split("|")[1:-1]]


def test_row_shows_medians_and_the_median_of_the_rounds_ratios():
    # The rounds' ratios are 4, 8 and 3; the medians' would be 6.
    assert cells({}) == [
        "sorting",
        "bubbles",
        "6.00",
        "1.00",
        "4.00 (3.00–8.00)",
        "3.00",
        "5",
        "no",
        "10 of 10 sorted",
    ]


@pytest.mark.parametrize(
    ("ratio", "shown"),
    [(4.9999, "4.99"), (0.8999, "0.89"), (0.29, "0.29"), (9.996, "9.99"), (99.99, "99.9"), (100.9, "100"), (5, "5.00")],
)
def test_ratios_are_rounded_down(ratio, shown):
    assert TABLE["shown_ratio"](ratio) == shown


def test_peers_seconds_are_rounded_down_and_ours_up():
    shown = cells({}, {"peer": [1.2399], "kept": [1.0], "ours": [0.12301]})
    assert shown[2:4] == ["1.23", "0.124"]
    shown = cells({}, {"peer": [41.98], "kept": [1.0], "ours": [123.4]})
    assert shown[2:4] == ["41.9", "124"]


@pytest.mark.parametrize(
    ("changed", "verdict"),
    [
        ({"target": 4.0}, "yes"),
        ({"target": 4.01}, "no"),
        ({"target": None}, "–"),
        ({"target": 4.0, "checks": {"9 of 10 sorted": False, "stable": True}}, "no: 9 of 10 sorted"),
        ({"target": None, "checks": {"9 of 10 sorted": False}}, "no: 9 of 10 sorted"),
    ],
)
def test_target_is_reached_only_while_every_check_holds(changed, verdict):
    assert cells(changed)[7] == verdict


def test_a_check_that_holds_and_the_remark_are_remarks():
    row = {"checks": {"9 of 10 sorted": False, "stable": True}, "remark": "in place"}
    assert cells(row)[8] == "stable; in place"


def test_a_row_without_the_peer_in_our_environment_shows_none():
    assert cells({"kept": None})[5] == "–"


def test_a_peer_in_the_first_round_alone_is_compared_with_ours_in_that_round():
    seconds = {"peer": [4.0, 8.0, 6.0], "kept": [3.0], "ours": [1.0, 2.0, 2.0]}
    assert cells({}, seconds)[4:6] == ["4.00 (3.00–4.00)", "3.00"]


def test_page_keeps_what_stands_around_the_markers(tmp_path):
    page, file = tmp_path / "page.md", tmp_path / "timing.json"
    page.write_text(MARKED, encoding="utf-8")
    file.write_text(json.dumps(saved(ROW, ROW | {"what": "searching"})), encoding="utf-8")
    for _ in range(2):  # once more changes nothing
        TABLE["main"]([str(file), str(page)])
    before, inside, after = (
        page.read_text(encoding="utf-8").replace("<!-- /peers", "<!-- peers").split("<!-- peers -->")
    )
    assert (before, after) == ("# Ours\n\n", "\n\nMore.\n")
    assert "was here" not in inside
    assert [line.split("|")[1].strip() for line in inside.splitlines() if line.startswith("|")][2:] == [
        "sorting",
        "searching",
    ]
    assert "- Abacus 2, 4 cores, 2 threads for either side, torch 9.9, 2026-11-05, playing cards." in inside
    assert "medians of 3 rounds" in inside


@pytest.mark.parametrize("text", ["# Ours\n", MARKED * 2, "<!-- /peers -->\n<!-- peers -->\n"])
def test_page_without_its_markers_is_refused(text):
    with pytest.raises(ValueError, match='expected "<!-- peers -->" and "<!-- /peers -->" once, in this order'):
        TABLE["filled"](text, "block", part="peers")


def test_the_page_in_the_repository_has_the_markers():
    assert "block" in TABLE["filled"](
        TABLE["page_for"]({"benchmarks": []}).read_text(encoding="utf-8"), "block", part="peers"
    )


def test_other_benchmarks_are_no_rows_and_a_file_without_contests_is_refused():
    others = [benchmark({}), benchmark(TIMED)]
    assert TABLE["section"](saved(ROW, more=others)) == TABLE["section"](saved(ROW))
    with pytest.raises(ValueError, match='format adcorda-harness/peers/1: run "make bench"'):
        TABLE["section"](saved() | {"benchmarks": others})


def test_leaderboards_timings_take_contests_for_other_benchmarks(tmp_path):
    file = tmp_path / "timing.json"
    file.write_text(json.dumps(saved(ROW, more=[benchmark(TIMED)])), encoding="utf-8")
    timings = read_timings(file)
    assert ([one.measured.attack for one in timings.timed], timings.others) == (["paper/bim"], 1)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_small_contest_makes_a_row(tmp_path):
    file, page = tmp_path / "timing.json", tmp_path / "page.md"
    page.write_text(MARKED, encoding="utf-8")
    without = {name: value for name, value in os.environ.items() if not name.startswith(("HARNESS_BENCH", "PYTEST"))}
    ran = subprocess.run(
        [
            *(
                sys.executable,
                "-m",
                "pytest",
                str(FOLDER / "bench_peers.py"),
                "-k",
                "vbi",
                "-q",
                "-p",
                "no:cacheprovider",
            ),
            *("-o", "python_files=bench_*.py", "-o", "timeout=0", f"--benchmark-json={file}"),
        ],
        env=without | {"HARNESS_BENCH_SMALL": "1", "OMP_NUM_THREADS": "1", "MALLOC_TRIM_THRESHOLD_": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    [held] = json.loads(file.read_text(encoding="utf-8"))["benchmarks"]
    extra = held["extra_info"]
    assert extra["data"] == "a ResNet-20 trained on digits, asked about noisy ones"
    assert {name: len(rounds) for name, rounds in extra["seconds"].items()} == {
        "peer": 2,
        "peer, worker's allocator": 2,
        "bfloat16": 2,
        "ours": 2,
    }
    # The user's own setting reaches nobody: what is compared is the C library's allocator and the workers'.
    assert extra["allocator"] == {"peer": {}, "peer, worker's allocator": _ALLOCATOR, "ours": _ALLOCATOR}
    # What pytest-benchmark timed is what the process says, and the way there and back.
    assert all(told <= seen for told, seen in zip(extra["seconds"]["ours"], held["stats"]["data"], strict=True))
    subprocess.run([sys.executable, str(SCRIPT), str(file), str(page)], check=True)
    text = page.read_text(encoding="utf-8")
    assert "| VBI, 5 steps, 16 images in one batch | Foolbox LinfBasicIterativeAttack |" in text
    assert "| VBI, 5 steps, 16 images in one batch, bfloat16 | Foolbox LinfBasicIterativeAttack |" in text
    # What was tried out in small is no page of the repository's.
    refused = subprocess.run([sys.executable, str(SCRIPT), str(file)], capture_output=True, text=True, check=False)
    assert refused.returncode == 1
    assert "HARNESS_BENCH_SMALL" in refused.stderr
