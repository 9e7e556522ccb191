"""LaTeX tables: what a hand computes, nothing that LaTeX would take for a command; and the command that writes them."""

from __future__ import annotations

import json
import re
from types import SimpleNamespace

import pytest
from record_factory import control, make_failure, make_matrix, make_record, method
from running import harness

from harness.hookspecs import hookimpl
from harness.launch import tables_of
from harness.manager import Manager
from harness.measuring import ReportFormat
from harness.records import write_record
from harness.report.json_table import to_json
from harness_reports.latex import Latex, LatexOptions, escape

HEADS = ["Row", r"Corr.\ rate", "$T'$", "Train", "Valid", "Test", r"$\Delta$Acc"]


@pytest.fixture
def results(tmp_path):
    """Return a function that writes records as an experiment's results."""

    def written(*records, failures=()):
        folder = tmp_path / "results" / "toy"
        for record in records:
            write_record(folder / "records", record)
        for failure in failures:
            write_record(folder / "failures", failure)
        return folder

    return written


def rendered(folder, **options):
    leaderboard = {"experiment": folder.name, **to_json(tables_of(folder))}
    return Latex(LatexOptions(**options)).render(json.loads(json.dumps(leaderboard)))


def grids(text):
    """Return the cells of each table, as LaTeX separates them; the first row is the head."""
    bodies = re.findall(r"\\toprule\n(.*?)\\bottomrule", text, re.DOTALL)
    lines = [[line for line in body.splitlines() if line != r"\midrule"] for body in bodies]
    assert all(line.endswith(r" \\") for grid in lines for line in grid)
    return [[re.split(r"(?<!\\) & ", line.removesuffix(r" \\")) for line in grid] for grid in lines]


def caption(text):
    (found,) = re.findall(r"^\\caption\{(.*)\}$", text, re.MULTILINE)
    return found


# -- numbers ---------------------------------------------------------------------------------------------------------------


def test_means_and_sample_stds_are_those_of_a_hand_computation(results):
    """60, 62, 70: mean 64; squares 16 + 4 + 36 = 56, over n-1: 28, its root 5.29. Less 50: the same spread."""
    accuracies = {1: 0.60, 2: 0.62, 5: 0.70}
    folder = results(*(method(accuracy, seed=seed) for seed, accuracy in accuracies.items()))
    text = rendered(folder)
    ((head, row),) = grids(text)
    assert head == HEADS
    assert row == [
        "vbi + deep-coral",
        r"30\%",
        r"100.00 $\pm$ 0.00",
        r"90.00 $\pm$ 0.00",
        r"64.00 $\pm$ 5.29",
        r"64.00 $\pm$ 5.29",
        r"+14.00 $\pm$ 5.29",
    ]
    assert caption(text).endswith(r" Percent, mean $\pm$ sample std over seeds 1, 2, 5; best means in bold.")


def test_one_seed_has_no_spread_and_a_loss_a_minus_sign(results):
    text = rendered(results(method(0.45, seed=3)), digits=1)
    ((_, row),) = grids(text)
    assert row[2:] == ["100.0", "90.0", "45.0", "45.0", "$-$5.0"]
    assert "Percent, seed 3; " in caption(text)


def test_the_best_mean_of_a_column_is_bold_and_no_other(results):
    folder = results(*(one for seed in (1, 2) for one in (method(0.6, seed), control("finetune-target", 0.7, seed))))
    ((_, *rows),) = grids(rendered(folder))
    tests = {row[0]: row[5] for row in rows}
    assert tests["finetune-target"] == r"\textbf{70.00} $\pm$ 0.00"
    assert tests["vbi + deep-coral"] == r"60.00 $\pm$ 0.00"


def test_what_does_not_exist_is_a_dash(results):
    folder = results(method(0.6), control("none", 0.5, source=None))
    rows = {row[0]: row for row in grids(rendered(folder))[0][1:]}
    assert rows["baseline"][1:3] == ["--", "--"]


def test_rows_are_those_of_the_leaderboard_in_its_order(results):
    folder = results(*make_matrix())
    ((_, *rows),) = grids(rendered(folder))
    (table,) = to_json(tables_of(folder))["tables"]
    assert [row[0] for row in rows] == [escape(row["label"]) for row in table["rows"]]
    assert r"T$\rightarrow$T + deep-coral" in [row[0] for row in rows]


def test_adapters_that_use_labels_or_no_source_are_marked_and_the_caption_says_how(results):
    folder = results(
        make_record(test=0.6, corrector="vbi", corrected=3, adapter="joint", uses={"target_labels": True}),
        make_record(test=0.5, corrector="vbi", corrected=3, adapter="tent", uses={"source": False}),
        make_record(test=0.4, corrector="vbi", corrected=3, adapter="plain"),
    )
    text = rendered(folder)
    assert r"joint$^\dagger$ &" in text
    assert r"tent$^\ddagger$ &" in text
    assert "plain &" in text
    assert r"$^\dagger$: uses the labels of $T$. $^\ddagger$: looks at $T$ alone, whatever corrects." in caption(text)


def test_without_controls_the_methods_rows_are_left_and_the_caption_tells_what_bold_means(results):
    folder = results(*make_matrix())
    text = rendered(folder, controls=False, std=False, digits=0)
    ((_, *rows),) = grids(text)
    assert [row[0] for row in rows] == ["vbi + deep-coral"]
    assert [re.sub(r"\\textbf{(.*)}", r"\1", cell) for cell in rows[0][1:3]] == [r"30\%", "100"]
    assert "Percent, mean over seeds 1, 2, 5; best means, controls not shown included, in bold." in caption(text)


def test_a_table_without_a_row_is_left_out(results):
    folder = results(control("none", 0.5), failures=[make_failure(model="other")])
    assert len(grids(rendered(folder))) == 1
    assert grids(rendered(folder, controls=False)) == []


def test_tables_that_are_not_comparable_stand_apart(results):
    folder = results(method(0.6, model="net"), method(0.7, model="other", comparable={"key": "o" * 8}))
    text = rendered(folder)
    assert len(grids(text)) == text.count(r"\begin{table}") == text.count(r"\end{table}") == 2
    assert text.startswith("% needs \\usepackage{booktabs}\n")


# -- text ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "tex"),
    [
        ("a_b & c", r"a\_b \& c"),
        ("50% #1 $x$ {y}", r"50\% \#1 \$x\$ \{y\}"),
        (r"back\slash", r"back\textbackslash{}slash"),
        ("~^", r"\textasciitilde{}\textasciicircum{}"),
        ("<a|b>", r"\textless{}a\textbar{}b\textgreater{}"),
        ("T→T′", r"T$\rightarrow$T$'$"),
        ("3×3, 1±2, Δ –", r"3$\times$3, 1$\pm$2, $\Delta$ --"),
        ("plain text, eps=8/255", "plain text, eps=8/255"),
    ],
)
def test_text_is_set_as_it_is(text, tex):
    assert escape(text) == tex


def test_names_that_look_like_commands_stay_in_their_cells(results):
    r"""A cell that "&" would split or "\\" would end is one still, and every brace is closed."""
    odd = r"a & b \\ c_{d} 100% #"
    text = rendered(results(make_record(test=0.6, corrector=odd, corrected=3, comparable={"dataset": odd})))
    ((head, row),) = grids(text)
    assert len(row) == len(head) == 7
    bare = re.sub(r"\\.", "", text.partition("\n")[2])
    assert bare.count("{") == bare.count("}")
    assert "%" not in bare
    assert "#" not in bare
    assert "_" not in bare


# -- the command -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def call(capsys):
    """Call the command line in this process."""
    from harness.cli import main

    def calling(*arguments):
        capsys.readouterr()
        with pytest.raises(SystemExit) as end:
            main([str(argument) for argument in arguments])
        return SimpleNamespace(code=end.value.code, **capsys.readouterr()._asdict())

    return calling


def test_the_format_is_written_beside_the_records_and_its_path_printed(call, results):
    folder = results(method(0.6))
    called = call("report", folder, "--format", "latex")
    assert (called.code, called.out, called.err) == (0, f"{folder / 'leaderboard.tex'}\n", "")
    assert (folder / "leaderboard.tex").read_text() == rendered(folder)
    assert not (folder / "report.html").exists()


def test_options_are_written_as_in_a_spec_and_reach_the_format(call, results, tmp_path):
    folder, output = results(*make_matrix()), tmp_path / "paper" / "table.tex"
    options = [word for pair in ("controls=false", "digits=1", "std=false") for word in ("--option", pair)]
    called = call("report", folder, "--format", "reports/latex", *options, "--output", output)
    assert (called.code, called.out) == (0, f"{output}\n")
    assert output.read_text() == rendered(folder, controls=False, digits=1, std=False)


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--format", "latx"], 3, 'unknown report format "latx"; did you mean "latex"? See "harness plugins list".'),
        (["--format", "bim"], 3, 'unknown report format "bim"'),
        (
            ["--format", "latex", "--option", "digit=1"],
            2,
            'report format "latex": unknown option "digit"; did you mean "digits"?',
        ),
        (
            ["--format", "latex", "--option", "width=1"],
            2,
            'report format "latex": unknown option "width"; expected controls, digits or std',
        ),
        (
            ["--format", "latex", "--option", "digits=9"],
            2,
            'report format "latex": digits: got 9, expected a number of at most 6',
        ),
        (
            ["--format", "latex", "--option", "digits"],
            2,
            '--option "digits": expected KEY=VALUE, KEY one of controls, digits, std',
        ),
        (
            ["--format", "latex", "--option", "digits=[1"],
            2,
            '--option digits: "[1" cannot be read as YAML',
        ),
        (["--option", "digits=1"], 2, "--output and --option belong to a plugin's format; add --format NAME"),
        (["--output", "table.tex"], 2, "--output and --option belong to a plugin's format; add --format NAME"),
    ],
)
def test_what_does_not_fit_is_told_and_nothing_is_written(call, results, arguments, code, message):
    folder = results(method(0.6))
    called = call("report", folder, *arguments)
    assert (called.code, called.out) == (code, "")
    assert message in called.err
    assert [path.name for path in folder.iterdir()] == ["records"]


def test_a_folder_without_records_is_told(call, tmp_path):
    called = call("report", tmp_path, "--format", "latex")
    assert called.code == 2
    assert "holds no records; expected a results folder" in called.err


class Raising(ReportFormat):
    """Raise."""

    suffix = ".txt"

    def render(self, leaderboard):
        raise KeyError("rank")


class Silent(ReportFormat):
    """Return nothing."""

    suffix = ".txt"

    def render(self, leaderboard):
        return None


class Unmade(ReportFormat):
    """Raise when it is made."""

    suffix = ".txt"

    def __init__(self, options):
        raise OSError("no template")

    def render(self, leaderboard):
        return ""


class Titled(ReportFormat):
    """Write the experiment's name."""

    suffix = ".txt"

    def render(self, leaderboard):
        return leaderboard["experiment"]


@pytest.fixture
def offered(monkeypatch):
    """Offer this module's formats."""

    class Hooks:
        """Hooks of a package."""

        @hookimpl
        def harness_report_formats(self):
            """Name the formats."""
            return {name.lower(): f"{__name__}:{name}" for name in ("Raising", "Silent", "Unmade", "Titled")}

    manager = Manager()
    manager.register(Hooks(), package="odd", distribution="odd-formats", version="1.0")
    monkeypatch.setattr(Manager, "discover", lambda: manager)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("raising", "failed: KeyError: 'rank'"),
        ("silent", "returned a NoneType; expected the file's text: return it from render()"),
        ("unmade", "failed: OSError: no template"),
    ],
)
def test_a_format_that_fails_is_named_with_its_reason_and_writes_nothing(call, offered, results, name, message):
    folder = results(method(0.6))
    called = call("report", folder, "--format", name)
    assert called.code == 3
    assert called.err == f'harness: report format "odd/{name}" (odd-formats 1.0) {message}\n'
    assert [path.name for path in folder.iterdir()] == ["records"]


def test_a_format_is_told_the_experiments_name_wherever_one_stands(call, offered, results, monkeypatch):
    folder = results(method(0.6))
    monkeypatch.chdir(folder)
    assert call("report", ".", "--format", "titled").code == 0
    assert (folder / "leaderboard.txt").read_text() == "toy"


def test_the_command_works_in_a_process_of_its_own(results, tmp_path):
    folder = results(method(0.6))
    shown = harness("report", folder, "--format", "latex", "--option", "digits=0", cwd=tmp_path, check=0)
    assert shown.stdout == f"{folder / 'leaderboard.tex'}\n"
    assert "60" in (folder / "leaderboard.tex").read_text()
