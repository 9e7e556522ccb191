"""What reports say beneath their tables: Wilcoxon's test, missing differences and failed cells, in every format."""

import io
import re

import pytest
from record_factory import control, make_failure, make_matrix, method
from rich.console import Console

from harness.leaderboard import build
from harness.report.html import to_html
from harness.report.json_table import to_json
from harness.report.markdown import to_markdown
from harness.report.remarks import failure_lines, missing_lines
from harness.report.terminal import render


def printed(tables, width):
    console = Console(file=io.StringIO(), width=width, highlight=False)
    render(tables, console)
    return console.file.getvalue()


def seeds_with(count, **changes):
    """The method and a control for each of ``count`` seeds, the method ahead by 1, 2, ... points."""
    rows = [method(0.5 + 0.01 * seed, seed, **changes) for seed in range(1, count + 1)]
    return rows + [control("finetune-target", 0.5, seed, source=None) for seed in range(1, count + 1)]


def test_six_seeds_have_the_smallest_wilcoxon_p_beneath_the_differences():
    # all six or seven differences point up: p = 2 / 2^n
    seven = seeds_with(7)
    line = "Smallest of 1 Wilcoxon p-values, none adjusted: 0.016, vbi + deep-coral vs finetune-target (+4.00 points, n = 7)."
    assert line in printed(build(seven), 200)
    six = [record for record in seeds_with(7, corrector="ll") if record.cell.seed < 7 and record.cell.control is None]
    assert line.replace("1 W", "2 W") in printed(build(seven + six), 200)
    tied = [method(0.5 + 0.01 * seed, seed, corrector="ll") for seed in range(1, 8)]
    assert "vs finetune-target (+4.00 points, n = 7), and 1 more as small." in printed(build(seven + tied), 200)
    assert "Wilcoxon p-values" not in printed(build(seeds_with(5)), 200)


WILCOXON_NOTE = (
    "Wilcoxon's signed-rank p stands in the row-by-row verdicts, from 6 seeds on. "
    "It is not adjusted, and decides no verdict."
)


@pytest.mark.parametrize(
    ("records", "notes"),
    [
        (seeds_with(3), ["3 seeds: no Wilcoxon test, which needs 6."]),
        (seeds_with(1), ["1 seed: no Wilcoxon test, which needs 6."]),
        (
            seeds_with(7),
            [WILCOXON_NOTE],
        ),
        ([method(0.6)], []),
    ],
)
def test_pages_say_whether_there_are_seeds_enough_for_wilcoxons_test(records, notes):
    tables = build(records)
    page = to_html(tables, "Toys").replace("&#x27;", "'").partition("How to read this")[2]
    assert re.findall(r"<li>(.*Wilcoxon.*)</li>", page) == notes
    text = to_markdown(tables).partition("How to read this")[2]
    assert re.findall(r"- (.*Wilcoxon.*)", text) == notes


def test_every_format_says_wilcoxons_p_in_its_verdicts():
    tables = build(seeds_with(7))
    assert "Wilcoxon p = 0.016): shown" in to_markdown(tables)
    assert "Wilcoxon p = 0.016): shown" in to_html(tables, "Toys")
    assert "Wilcoxon p = 0.016): shown" in to_json(tables)["tables"][0]["verdicts"][-1]


def test_a_missing_difference_names_its_claim_alone():
    tables = build(make_matrix())
    assert missing_lines(tables[0]) == [
        "curriculum + deep-coral: no correction difference, nothing is corrected in this row"
    ]
    lacking = build([record for record in make_matrix() if record.cell.control != "sham"])
    assert missing_lines(lacking[0])[-1] == "vbi + deep-coral: no correction difference vs sham, no row for sham"
    for text in (printed(lacking, 200), to_markdown(lacking), to_html(lacking, "Toys")):
        assert "vbi + deep-coral: no correction difference vs sham, no row for sham" in text


LINES = "3 images are unreadable:\n  a.png\n\n# b.png\n"


def test_a_reason_of_several_lines_keeps_them():
    tables = build([method(0.6)], [make_failure(reason=LINES)])
    said = "ll + deep-coral, seed 1: failed at correct: 3 images are unreadable:\n    a.png\n  # b.png\n"
    assert said in printed(tables, 120)
    page = to_html(tables, "Toys")
    assert f"<li>{said.strip()}</li>" in page
    assert "li { white-space: pre-wrap; }" in page
    assert re.search(r"unreadable:\\\n  \u00a0 +a.png\\\n  \u00a0 +# b.png\n", to_markdown(tables))


def test_cells_that_failed_for_one_reason_are_counted_and_it_is_said_once():
    failures = [make_failure(corrector=name, seed=seed, stage="baseline") for name in ("ll", "vbi") for seed in (1, 2)]
    assert failure_lines(build([], failures)[0]) == ["4 cells failed at baseline: out of memory"]
    other = make_failure(corrector="sp", reason="no GPU")
    assert failure_lines(build([method(0.6)], [*failures, other])[0]) == [
        "4 cells (ll + deep-coral, seeds 1, 2; vbi + deep-coral, seeds 1, 2) failed at baseline: out of memory",
        "sp + deep-coral, seed 1: failed at correct: no GPU",
    ]
    assert "seeds 1, 2)" in failure_lines(build([], [*failures, other])[0])[0]
    assert "4 cells (" in failure_lines(build([method(0.6)], failures)[0])[0]
