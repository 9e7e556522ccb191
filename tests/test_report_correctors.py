"""Reports of what the correctors did and of the figures while adapting, in every format and at every width."""

import csv
import io
import re
from dataclasses import replace

import pytest
from record_factory import make_record
from rich.console import Console

from harness.averages import statistic
from harness.leaderboard import build
from harness.report.csv_table import to_csv
from harness.report.html import to_html
from harness.report.json_table import to_json
from harness.report.markdown import to_markdown
from harness.report.notation import significant
from harness.report.terminal import render


def printed(tables, width):
    console = Console(file=io.StringIO(), width=width, highlight=False)
    render(tables, console)
    return console.file.getvalue()


FIGURES_LINE = "deep-coral: coral 1; 0.9 by chance (means over rows, checkpoints and seeds)"


@pytest.fixture
def worked():
    """One corrector with all that a record can hold, under two adapters with a diagnostic each, and a row with neither."""
    work = {
        "median_norm": 0.015625,
        "survived": {"uint8": 1, "float16": 4, "flip": 0},
        "forward": 10020,
        "backward": 0,
    }
    made = {"corrector": "vbi", "corrected": 4, "wrong": 10, "test": 0.6, "work": work, "times": {"correct": 0.05}}
    return build(
        [
            make_record(**made, history=[{"coral": 1.0, "coral-noise-floor": 0.9}]),
            make_record(**made, adapter="mk-mmd", history=[{"mmd": 0.25}]),
            make_record(control="sham", **made),
            make_record(control="finetune-target", test=0.5, source=None),
        ]
    )


def test_csv_says_in_a_correctors_rows_what_it_did(worked):
    lines = {line["label"]: line for line in csv.DictReader(io.StringIO(to_csv(worked)))}
    names = ["norm", "median_norm", "survived_uint8", "survived_float16", "survived_flip"]
    names += ["forward_per_image", "backward_per_image"]
    expected = ["linf", "0.015625", "0.25", "1.0", "0.0", "1002.0", "0.0"]
    assert [lines["vbi + deep-coral"][name] for name in names] == expected
    assert [lines["vbi + mk-mmd"][name] for name in names] == expected
    for other in ("sham of vbi + deep-coral", "finetune-target"):
        assert {lines[other][name] for name in names} == {""}


def test_csv_has_a_column_for_each_diagnostic_of_any_row(worked):
    lines = {line["label"]: line for line in csv.DictReader(io.StringIO(to_csv(worked)))}
    names = ["diagnostic_coral", "diagnostic_coral-noise-floor", "diagnostic_mmd"]
    assert list(lines["vbi + mk-mmd"])[-3:] == names
    assert [lines["vbi + deep-coral"][name] for name in names] == ["1.0", "0.9", ""]
    assert [lines["vbi + mk-mmd"][name] for name in names] == ["", "", "0.25"]


def test_json_says_what_the_correctors_did_and_what_was_measured_while_adapting(worked):
    (table,) = to_json(worked)["tables"]
    (work,) = table["correctors"]
    assert work["correction"]["rate"] == 0.4
    assert work["median_norm"]["per_seed"] == {"1": 0.015625}
    assert work["survived"] == {"uint8": 0.25, "float16": 1.0, "flip": 0.0}
    assert [work[f"{name}_per_image"] for name in ("forward", "backward", "seconds")] == [1002, 0, 0.005]
    rows = {row["label"]: row["adaptation"] for row in table["rows"]}
    assert rows["vbi + deep-coral"]["diagnostics"]["coral-noise-floor"]["mean"] == 0.9
    assert rows["vbi + deep-coral"]["losses"]["coral"]["mean"] == pytest.approx(0.1)
    assert rows["finetune-target"]["diagnostics"] == {}
    assert table["diagnostics"][0] == FIGURES_LINE


def test_html_has_the_correctors_and_the_figures_of_every_measured_row(worked):
    page = to_html(worked, "Toys")
    for label, text in (
        ("Median norm", "0.0156 linf"),
        ("uint8", "25%"),
        ("Forward", "1002.0"),
        ("Seconds", "0.00500"),
    ):
        assert f'<td data-label="{label}">{text}</td>' in page
    assert '<td data-label="coral-noise-floor">0.900</td>' in page
    assert "<li>mk-mmd: mmd 0.25 (means over rows, checkpoints and seeds)</li>" in page


@pytest.mark.parametrize(
    ("width", "hidden"),
    [
        (160, []),
        (120, []),
        (100, ["Attack", "Select"]),
        (90, ["Attack", "Objective", "Select"]),
        (80, ["Attack", "Objective", "Select", "Seconds"]),
        (60, ["Attack", "Objective", "Select", "float16", "Backward", "Seconds"]),
        (
            30,
            [
                "Attack",
                "Objective",
                "Select",
                "Median norm",
                "uint8",
                "float16",
                "flip",
                "Forward",
                "Backward",
                "Seconds",
            ],
        ),
    ],
)
def test_a_narrow_terminal_drops_names_before_numbers_of_the_correctors_table(worked, width, hidden):
    text = printed(worked, width).partition("What the correctors did")[2]
    cells = {
        "Attack": "bim",
        "Objective": "toward-true",
        "Select": "first-hit",
        "Median norm": "0.0156 linf",
        "uint8": "25%",
        "float16": "100%",
        "flip": "0%",
        "Forward": "1002.0",
        "Backward": "0.0",
        "Seconds": "0.00500",
    }
    row = next(line for line in text.splitlines() if line.startswith("vbi"))
    shown = re.split(r"\s{2,}", row.strip())
    assert [name for name, cell in cells.items() if cell not in shown] == hidden
    assert (f"Too narrow for {', '.join(hidden)}." in " ".join(text.split())) == bool(hidden)


def test_captions_speak_of_the_columns_shown_alone(worked):
    wide, narrow = (" ".join(printed(worked, width).split()) for width in (160, 60))
    assert "Seconds are per attacked image" in wide
    assert "Seconds are per attacked image" not in narrow
    assert "Forward, backward: images through the network" in narrow
    assert "\n\nToo narrow" not in printed(worked, 30)


def test_the_terminal_gives_each_adapters_diagnostics_a_line(worked):
    text = printed(worked, 200)
    assert FIGURES_LINE in text


def test_long_names_of_correctors_wrap_and_their_numbers_stay(worked):
    name = "bim(objective=away-from-predicted, select=min-norm, eps=4/255, alpha=1/255)"
    text = printed(build([make_record(test=0.6, corrector=name, corrected=4)]), 80).partition("correctors did")[2]
    assert "4/10 (40%)" in text
    assert "0.0100 linf" in text


@pytest.mark.parametrize(
    ("value", "words"),
    [(0.0156862, "0.0157"), (1.0, "1.00"), (99.5, "99.5"), (1234.5, "1234"), (0.00001234, "1.23e-05"), (0.0, "0")],
)
def test_numbers_keep_three_significant_digits(value, words):
    assert significant(value) == words


def on_a_terminal(tables):
    stream = io.StringIO()
    render(tables, Console(file=stream, width=200))
    return stream.getvalue()


def test_the_losses_before_adaptation_stand_beside_each_corrector(worked):
    told = [
        replace(
            table,
            works=tuple(
                replace(work, loss_target=statistic({1: 0.25, 2: 0.258}), loss_source=statistic({1: 0.17, 2: 0.176}))
                for work in table.works
            ),
        )
        for table in worked
    ]
    for text in (to_markdown(told), to_html(told, "Toys"), on_a_terminal(told)):
        assert "0.254 → 0.173" in " ".join(text.split())
        assert "Loss T → T'" in text.replace("&#x27;", "'")
        assert "Loss T → T'" not in to_markdown(worked)
    (work,) = to_json(told)["tables"][0]["correctors"]
    assert work["loss"]["source"]["mean"] == pytest.approx(0.173)
