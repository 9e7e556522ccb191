"""The tutorial, carried out as it is written: its files are saved, its commands are run, its outputs are what they print."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path

import pytest
from fresh_environments import FreshEnvironment

pytestmark = pytest.mark.timeout(300)  # the whole page is carried out for the first test that asks

PAGE = (Path(__file__).parents[1] / "docs" / "tutorial.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"(?:^`(?P<path>[\w./-]+)`\n\n)?^```(?P<info>[^\n]+)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass
class Command:
    """What the page says a block of commands prints, None where it says nothing; what it printed."""

    step: int
    line: str
    expected: str | None = None
    numbers_vary: bool = False
    printed: str = ""
    code: int = 0

    @property
    def fails(self):
        """Whether the page shows an error."""
        return any(line.startswith("harness: ") for line in (self.expected or "").splitlines())


def steps():
    """Yield each of the page's blocks with the number of its step."""
    for number, step in enumerate(re.split(r"^## \d\. ", PAGE, flags=re.MULTILINE)):
        for block in BLOCK.finditer(step):
            yield number, block


def commands():
    found = []
    for number, block in steps():
        language, _, remark = block["info"].partition(" ")
        if language == "sh":
            found.append(Command(number, block["text"]))
        elif language == "text":
            found[-1].expected, found[-1].numbers_vary = block["text"], remark == "numbers-vary"
    return found


def carry_out(environment, folder):
    """Do what the page says, in ``folder``; return the commands with what they printed, and each step's table."""
    done, tables, todo = [], {}, iter(commands())
    for number, block in steps():
        if block["path"]:
            path = folder / block["path"]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block["text"], encoding="utf-8")
        elif block["info"] == "sh":
            command = next(todo)
            ran = environment.run(f"set -e\n{command.line}", cwd=folder)
            command.printed, command.code = ran.stdout, ran.returncode
            done.append(command)
            if (table := folder / "results" / "digits" / "leaderboard.json").exists():
                tables[number] = json.loads(table.read_text())
    return done, tables


def without_what_varies(text, *, numbers_vary):
    """Return a text without what is no claim: the width of tables and, where they vary, numbers."""
    if numbers_vary:
        # The mark of a best mean, too, is set by numbers.
        text = re.sub(r"[-+]?\d+(\.\d+)?(e-\d+)?\*?", "#", text)
    text = re.sub("[─━]+", "─", text)
    lines = (" ".join(line.split()) for line in text.splitlines())
    return "".join(f"{line}\n" for line in lines if line)


def pattern_of(expected):
    """Return the pattern that a text of the page stands for: a line "…" for any lines, "…" in a line for any words."""
    written = re.escape(expected).replace("…\\\n", "(?:.*\n)*")
    return written.replace("…", ".*")


@pytest.fixture(scope="module")
def carried_out(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tutorial")
    (folder / "my-attacks").mkdir()
    return carry_out(FreshEnvironment(folder / "venv"), folder / "my-attacks")


def test_the_page_has_five_steps_with_files_and_commands_in_each():
    assert {number for number, block in steps() if block["path"]} == {1, 2, 3, 4, 5}
    assert {command.step for command in commands() if command.expected} == {1, 2, 3, 4, 5}
    assert {block["info"].split()[0] for _, block in steps()} == {"toml", "python", "yaml", "sh", "text"}
    assert all(block["path"] for _, block in steps() if block["info"].split()[0] in {"toml", "python", "yaml"})


@pytest.mark.slow
@pytest.mark.parametrize("index", range(len(commands())), ids=lambda index: commands()[index].line.splitlines()[-1])
def test_commands_print_what_the_page_says(carried_out, index):
    command = carried_out[0][index]
    assert (command.code != 0) == command.fails, command.printed
    if command.expected is not None:
        printed = without_what_varies(command.printed, numbers_vary=command.numbers_vary)
        expected = without_what_varies(command.expected, numbers_vary=command.numbers_vary)
        assert re.fullmatch(pattern_of(expected), printed), (
            f"the page says\n{expected}\nbut what is printed is\n{printed}"
        )


@pytest.mark.slow
def test_the_classifier_of_step_2_is_taken_from_the_store_in_step_4(carried_out):
    stored = [(one.step, re.search(r"(\d+) stages stored", one.printed)) for one in carried_out[0]]
    assert [(step, found[1] == "0") for step, found in stored if found][:2] == [(2, True), (4, False)]


@pytest.mark.slow
def test_several_steps_correct_at_least_as_much_as_one(carried_out):
    corrected = {}
    for step in (2, 4):
        [table] = carried_out[1][step]["tables"]
        [row] = [row for row in table["rows"] if row["corrector"] == "sign-steps"]
        corrected[step] = row["correction"]["corrected"]["mean"]
    assert corrected[4] >= corrected[2] > 0


@pytest.mark.parametrize(
    ("expected", "printed", "fits"),
    [
        ("a\n…\nd\n", "a\nb\nc\nd\n", True),
        ("…\nd\n", "d\n", True),
        ("a … d\n", "a b c d\n", True),
        ("a … d\n", "a b\nc d\n", False),
        ("a\n…\n", "b\na\n", False),
        ("(a)\n", "a\n", False),
    ],
)
def test_what_is_left_out_stands_for_any_lines_or_words_and_for_nothing_else(expected, printed, fits):
    assert bool(re.fullmatch(pattern_of(expected), printed)) == fits


def test_numbers_are_compared_unless_the_page_says_that_they_vary():
    assert without_what_varies("x  1.5\n", numbers_vary=False) == "x 1.5\n"
    for vague in ("a 99.5* (61%)\n────\n", "a  7 (5%)\n─\n"):
        assert without_what_varies(vague, numbers_vary=True) == "a # (#%)\n─\n"
