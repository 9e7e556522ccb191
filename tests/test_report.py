"""Reports: what is printed is what the records say, at every width and with any name."""

import csv
import io
import json
import re
import subprocess
import sys
from html.parser import HTMLParser

import pytest
from record_factory import control, make_failure, make_matrix, make_record, method, sham
from rich.console import Console

from harness.leaderboard import build
from harness.report.csv_table import to_csv
from harness.report.dot_plot import dot_plot
from harness.report.html import to_html
from harness.report.json_table import to_json
from harness.report.markdown import to_markdown
from harness.report.terminal import make_console, render

NASTY = '<script>alert("x")</script> & | *a*'

GOLDEN = r"""# Leaderboard

## toys · net · 2,000 steps, batch 16, sgd, lr 0.01

Percent (ΔAcc: points), mean ± sample std over seeds 1, 2. **Bold**: best mean.

| Corrector | Adapter | Corr. rate | T' | Train | Valid | Test | ΔAcc |
| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |
| – | finetune-target | – | – | 90.00 ± 0.00 | 51.50 ± 0.71 | 51.50 ± 0.71 | +1.50 ± 0.71 |
| vbi | deep-coral | 3/10 (30%) | 100.00 ± 0.00 | 90.00 ± 0.00 | **61.00 ± 1.41** | **61.00 ± 1.41** | **+11.00 ± 1.41** |

### Paired differences in test accuracy (points, 95% interval)

| Row | correction: vs curriculum | correction: vs sham | alignment: vs finetune-source | alignment: vs T→T | method: vs finetune-target |
| --- | ---: | ---: | ---: | ---: | ---: |
| vbi + deep-coral | – | – | – | – | **+9.50 [+3.15, +15.85]** |

- vbi + deep-coral: no correction difference, no row for curriculum, no row for sham; no alignment difference, no row for finetune-source, no row for T→T

### Verdicts

- correction helps: shown in 0 of 1 row, a control is missing in 1
- alignment helps: shown in 0 of 1 row, a control is missing in 1
- the method helps: shown in 1 of 1 row (1 after Holm)
- power: with 2 seeds a difference of 12.1 points would be seen 4 times in 5 (t-test); by Wilcoxon 2 seeds cannot reach p \< 0.05, 6 can

Row by row:

- correction helps: vbi + deep-coral (no row for curriculum, no row for sham): not shown
- alignment helps: vbi + deep-coral (no row for finetune-source, no row for T→T): not shown
- the method helps: vbi + deep-coral +9.50 [+3.15, +15.85] points over finetune-target (n = 2, p = 0.033): shown

### What the correctors did

Median norm of the corrections, mean over seeds. uint8, float16, flip: how many of the corrections are still labelled true after rounding to it, or a horizontal flip. Forward, backward: images through the network per attacked image. Seconds are per attacked image, depend on the machine, and are those of the run that computed the stage.

| Corrector | Attack | Objective | Select | Corr. rate | Median norm | uint8 | float16 | flip | Forward | Backward | Seconds |
| --- | --- | --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |
| vbi | bim | toward-true | first-hit | 3/10 (30%) | 0.0100 linf | 100% | – | – | 10.0 | 5.0 | 0.0150 |

### Losses while adapting

Means over checkpoints and seeds. A loss is what was summed and minimized, its weight included, averaged over the steps since the checkpoint before; the other figures are the adapter's own, without weights, on the last batches before each checkpoint. X-noise-floor is what the adapter takes X to be by chance, each in a way of its own; Deep CORAL's takes features to be Gaussian, and can be up to about twice what logits clustered by class give. T→T measures X where there is no gap.

deep-coral.

| Row | Loss: coral | coral |
| --- | ---: | ---: |
| vbi + deep-coral | 0.125 | 1.25 |

- deep-coral: coral 1.25 (means over rows, checkpoints and seeds)

### Failed cells

- ll + deep-coral, seed 1: failed at correct: no \<memory\>\
  NBSP  left

Budget: steps 2000, batch size 16, optimizer sgd, lr 0.01, momentum 0.9.

## How to read this
""".replace("NBSP", "\u00a0")  # noqa: E501 (a table's line is as long as it is)


@pytest.fixture
def tables():
    return build(make_matrix(), [make_failure()])


def printed(tables, width, **options):
    console = Console(file=io.StringIO(), width=width, highlight=False, **options)
    render(tables, console)
    return console.file.getvalue()


def test_markdown_of_a_tiny_table_is_as_written():
    records = [
        *(
            make_record(
                test=test, corrector="vbi", corrected=3, seed=seed, times={"correct": time}, history=[{"coral": coral}]
            )
            for seed, test, time, coral in ((1, 0.60, 0.1, 1.0), (2, 0.62, 0.2, 1.5))
        ),
        *(
            make_record(test=test, control="finetune-target", adapter="ce", seed=seed, source=None)
            for seed, test in ((1, 0.51), (2, 0.52))
        ),
    ]
    # 0.1 + 0.2 seconds for 10 + 10 samples; differences 9, 10: std 1/sqrt(2), margin t(0.975; 1) / 2 = 12.7062 / 2
    text = to_markdown(build(records, [make_failure(reason="no <memory>\nleft")]))
    assert text[: len(GOLDEN)] == GOLDEN


def test_markdown_names_cannot_break_a_table():
    record = make_record(test=0.6, corrector=NASTY, corrected=1, work={"attack": NASTY}, history=[{NASTY: 1.0}])
    text = to_markdown(build([record]))
    assert r"\<script\>" in text
    assert "<script>" not in text
    for line in text.splitlines():
        if line.startswith("|"):
            assert line.replace(r"\|", "").count("|") in {4, 7, 9, 13}


@pytest.mark.parametrize("width", [250, 130, 120, 110, 100, 90, 80, 72, 60, 50, 40, 30])
def test_numbers_are_never_cut_at_any_width(tables, width):
    text = printed(tables, width)
    assert all(len(line.rstrip()) <= width for line in text.splitlines())
    assert "…" not in text
    for row in tables[0].rows:
        assert f"{100 * row.test.mean:.2f}" in text
        assert f"{100 * row.delta.mean:+.2f}" in text
    words = " ".join(text.split())
    assert "shown in 0 of 1 row" in words
    assert "failed at correct: out of memory" in words


@pytest.mark.parametrize(
    ("width", "absent", "present"),
    [
        (120, [], ["Train", "T'", "100.00 ± 0.00", "59.50 ± 0.87*"]),
        (100, ["Train  "], ["T'", "100.00  ", "59.50 ± 0.87*", "Too narrow for Train."]),
        (80, ["T'  "], ["Valid", "59.50 ± 0.87*", "Too narrow for T', Train."]),
        (60, ["Valid  "], ["vbi + deep-coral", "3/10 (30%)", "59.50 ± 0.87*", "+8.50 ± 0.50*"]),
    ],
)
def test_narrow_terminals_drop_columns_and_say_which(tables, width, absent, present):
    text = printed(tables, width)
    assert not [words for words in absent if words in text]
    assert [words for words in present if words not in text] == []


@pytest.mark.parametrize(
    ("width", "means", "bare"),
    [
        (120, "mean ± sample std", []),
        (111, "mean ± sample std", ["T'", "Train"]),
        (90, "mean ± sample std", ["T'", "Valid"]),
        (78, "mean ± sample std", ["Valid"]),
        (44, "mean", ["Test", "ΔAcc"]),
        (20, "mean ± sample std", []),
    ],
)
def test_a_terminal_too_narrow_for_a_std_says_whose(tables, width, means, bare):
    text = " ".join(printed(tables, width).split())
    assert f"Percent (ΔAcc: points), {means} over seeds 1, 2, 5." in text
    assert re.findall(r"Too narrow for the std of (.*?)\.", text) == ([", ".join(bare)] if bare else [])


def test_one_seed_has_no_std_that_a_terminal_could_be_too_narrow_for():
    tables = build(make_matrix(seeds=(1,)))
    assert not [width for width in range(20, 120, 4) if "the std of" in printed(tables, width)]


def test_a_terminal_too_narrow_for_any_table_names_all_that_is_left_out(tables):
    text = " ".join(printed(tables, 20).split())
    assert "Too narrow for T', Train, Valid." in text
    assert "best mean" not in text


@pytest.mark.parametrize(
    ("records", "words"),
    [
        ([method(0.6), control("none", 0.5)], "Bold: best mean."),
        (
            [method(0.6, 1), method(0.6, 2), control("none", 0.5, 1), control("none", 0.5, 2), control("sham", 0.9, 2)],
            "Bold: best mean of the rows with every seed.",
        ),
        ([method(0.6, 1), control("none", 0.5, 2)], ""),
    ],
)
def test_the_mark_of_the_best_is_explained_where_there_is_one(records, words):
    tables = build(records)
    for text in (to_html(tables, "Toys"), to_markdown(tables).replace("*", "")):
        assert re.findall("Bold: best mean.*?[.]", text) == ([words] if words else [])


def test_a_pipe_has_no_colour_and_a_terminal_marks_the_best_in_bold(tables):
    assert "\x1b" not in printed(tables, 120)
    shown = printed(tables, 120, force_terminal=True, color_system="truecolor")
    assert "\x1b[1m59.50 ± 0.87" in shown
    assert "*" not in shown


def test_no_color_prints_no_colours(tables, monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    shown = printed(tables, 120, force_terminal=True)
    assert "\x1b[3" not in shown


def test_an_ascii_stream_gets_ascii(tables):
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii", write_through=True)
    render(tables, Console(file=stream, width=100))
    assert b"+/-" in stream.buffer.getvalue()


def test_a_pipe_is_120_wide_unless_columns_is_set(monkeypatch):
    monkeypatch.delenv("COLUMNS", raising=False)
    assert make_console(io.StringIO()).width == 120
    monkeypatch.setenv("COLUMNS", "77")
    assert make_console(io.StringIO()).width == 77


def test_names_that_look_like_markup_are_printed_as_they_are():
    text = printed(build([make_record(test=0.6, corrector="[red]x[/red]", corrected=1)]), 200)
    assert "[red]x[/red]" in text


def test_zero_corrected_is_printed_as_zero_of_all():
    text = printed(build([make_record(test=0.5, corrector="ll", corrected=0, wrong=176)]), 120)
    assert "0/176 (0%)" in text


def test_a_curriculum_has_no_rate_and_a_shams_is_of_what_it_moved(tables):
    assert rates_of(tables)["curriculum + deep-coral"] == "–"
    shams = build([sham(0.6, 1, true=5, moved=12), sham(0.6, 2, true=11, moved=40)])
    assert rates_of(shams) == {"sham of vbi + deep-coral": "8/26 (31%)"}
    assert "a sham's is labelled true/moved" in to_markdown(shams)
    assert "a sham&#x27;s is labelled true/moved" in to_html(shams, "Toys")
    rows = {row["label"]: row["correction"] for row in to_json(tables)["tables"][0]["rows"] if row["correction"]}
    assert (rows["curriculum + deep-coral"]["rate"], rows["sham of vbi + deep-coral"]["rate"]) == (None, 1 / 3)
    flat = {line["label"]: line for line in csv.DictReader(io.StringIO(to_csv(tables)))}
    counts = [flat["sham of vbi + deep-coral"][f"{name}_mean"] for name in ("wrong", "corrected", "kept")]
    assert list(map(float, counts)) == [10, 1, 3]


def rates_of(tables):
    """The rates that the page gives, by row."""
    lines = [line.split(" | ") for line in to_markdown(tables).split("###")[0].splitlines() if line.startswith("| ")]
    return {row.key.label: line[2].replace("\\", "") for row, line in zip(tables[0].rows, lines[2:], strict=True)}


@pytest.mark.parametrize(
    ("corrected", "wrong", "words"),
    [
        (55, 176, "55/176 (31%)"),
        (1, 1000, "1/1000 (<1%)"),
        (999, 1000, "999/1000 (>99%)"),
        (0, 0, "0/0 (–)"),
        (9, 9, "9/9 (100%)"),
    ],
)
def test_correction_rates_never_round_to_all_or_nothing(corrected, wrong, words):
    assert words in to_markdown(
        build([make_record(test=0.5, corrector="x", corrected=corrected, wrong=wrong)])
    ).replace("\\", "")


def test_csv_reads_back_exactly(tables):
    lines = list(csv.DictReader(io.StringIO(to_csv(tables))))
    assert [line["label"] for line in lines] == [row.key.label for row in tables[0].rows]
    for line, row in zip(lines, tables[0].rows, strict=True):
        assert float(line["test_mean"]) == row.test.mean
        assert float(line["test_std"]) == row.test.std
        assert [float(value) for value in line["delta_per_seed"].split()] == list(row.delta.per_seed.values())
        assert line["seeds"] == "1 2 5"
        assert line["comparable_key"] == "k" * 8
    vbi = next(line for line in lines if line["label"] == "vbi + deep-coral")
    difference = (
        next(row for row in tables[0].rows if row.key.label == "vbi + deep-coral")
        .claims.method.references[0]
        .difference
    )
    found = [vbi[f"versus_finetune_target_{part}"] for part in ("n", "points", "points_low", "points_high", "p")]
    assert list(map(float, found)) == [3, difference.mean, difference.low, difference.high, difference.p]
    assert (vbi["method_helps"], vbi["correction_helps"]) == ("shown", "not shown")
    assert vbi["corrected_per_seed"] == "3 3 3"


def test_csv_keeps_commas_quotes_and_line_breaks():
    text = to_csv(build([make_record(test=0.6, corrector='a,"b"', corrected=1, warnings=["one\ntwo"])]))
    (line,) = csv.DictReader(io.StringIO(text, newline=""))
    assert (line["corrector"], line["flags"]) == ('a,"b"', "one\ntwo")


def test_csv_of_nothing_is_a_header():
    assert to_csv([]).count("\n") == 1


def test_json_is_versioned_and_plain(tables):
    whole = to_json(tables)
    assert json.loads(json.dumps(whole, allow_nan=False)) == whole
    assert whole["version"] == 1
    rows = {row["label"]: row for row in whole["tables"][0]["rows"]}
    assert rows["vbi + deep-coral"]["accuracy"]["test"]["mean"] == pytest.approx(0.595)
    assert rows["vbi + deep-coral"]["claims"]["method"]["references"]["finetune-target"]["difference"]["n"] == 3
    assert rows["baseline"]["claims"] is None
    assert whole["tables"][0]["failures"][0]["reason"] == "out of memory"


def test_json_has_no_number_for_a_diverged_loss():
    record = make_record(test=0.6, corrector="vbi", corrected=1)
    lost = record.model_copy(update={"loss": record.loss.model_copy(update={"target": float("nan")})})
    loss = to_json(build([lost]))["tables"][0]["rows"][0]["loss"]["target"]
    assert (loss["mean"], loss["per_seed"]) == (None, {"1": None})


class Tags(HTMLParser):
    """Collects the page's tags, and checks that they nest."""

    VOID = frozenset({"meta", "br", "line", "circle"})

    def __init__(self):
        super().__init__()
        self.seen, self.open, self.attributes = [], [], []

    def handle_starttag(self, tag, attrs):
        self.seen.append(tag)
        self.attributes += attrs
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag not in self.VOID:
            assert self.open.pop() == tag


def test_html_escapes_every_name_and_message():
    records = [
        make_record(
            test=0.6,
            corrector=NASTY,
            corrected=1,
            flags=[NASTY],
            comparable={"dataset": NASTY, "budget": {"lr": NASTY}},
            work={"attack": NASTY, "objective": NASTY, "select": NASTY, "norm": NASTY},
            history=[{NASTY: 1.0}],
        ),
        make_record(
            test=0.6, corrector=NASTY, adapter=NASTY, corrected=1, comparable={"key": "b", "evaluation": NASTY}
        ),
    ]
    page = Tags()
    page.feed(to_html(build(records, [make_failure(reason=NASTY, corrector=NASTY)]), NASTY))
    assert "script" not in page.seen
    assert page.open == []


def test_html_is_one_file_without_scripts(tables):
    page = Tags()
    page.feed(to_html(tables, "Toys"))
    assert not {"script", "link", "img", "iframe"} & set(page.seen)
    assert not {"src", "href", "onclick", "onload"} & {name for name, _ in page.attributes}
    assert page.seen.count("svg") == 1


def test_the_dot_plots_interval_touches_the_finetune_line_only_where_the_difference_may_be_zero(tables):
    figure = dot_plot(tables[0].rows)
    line = float(re.search(r'class="finetune" [^>]*x1="([\d.]+)%', figure)[1])
    groups = {re.search(r"<title>(.*?):", group)[1]: group for group in re.findall(r"<g.*?</g>", figure)}
    for row in tables[0].rows:
        ends = re.search(r'class="interval" x1="([\d.]+)%" x2="([\d.]+)%"', groups[row.key.label])
        difference = row.versus_finetune
        if difference is None or difference.p is None:
            assert ends is None
            assert 'class="hollow"' in groups[row.key.label]
        else:
            crosses = difference.low < 0 < difference.high
            assert (float(ends[1]) < line < float(ends[2])) == crosses
    assert 'class="interval"' in groups["vbi + deep-coral"]


def test_a_plot_without_spread_or_reference_is_drawn_all_the_same():
    figure = dot_plot(build([make_record(test=0.5, control="none", source=None)])[0].rows)
    assert "no intervals" in figure


def test_reports_are_imported_without_torch_and_scipy():
    modules = ["markdown", "csv_table", "json_table", "html", "terminal"]
    imports = ", ".join(f"harness.report.{name}" for name in modules)
    code = f"import sys; import {imports}; print({{'torch', 'scipy'}} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


def test_a_table_of_failures_alone_is_reported_by_every_format():
    tables = build([], [make_failure(reason="weights not found")])
    assert "weights not found" in printed(tables, 80)
    assert "weights not found" in to_markdown(tables)
    assert "weights not found" in to_html(tables, "Toys")
    assert to_json(tables)["tables"][0]["comparable"] is None
    assert to_csv(tables).count("\n") == 1
