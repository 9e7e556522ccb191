"""A run beside a published table, on a terminal: theirs, ours and the difference in three lines a row."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING

from rich.text import Text

from harness.comparability import title
from harness.published import UNITS
from harness.report.notation import ABSENT, COLUMN_WORDS, rate, whole_percent
from harness.report.terminal_grid import add_names, fits, new_grid, plain, say

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from rich.console import Console
    from rich.table import Table as Grid

    from harness.printed_settings import ComparedSetting, Status
    from harness.published import Figure, PublishedRow, Unit
    from harness.published_comparison import ComparedRow, Comparison, PublishedComparison
    from harness.published_figures import ComparedFigure

FIGURE_WORDS: Mapping[Figure, str] = {
    "rate": "Corr. rate",
    "source_size": "T' of T",
    "source": COLUMN_WORDS["source"],
    "train": COLUMN_WORDS["train"],
    "valid": COLUMN_WORDS["valid"],
    "test": COLUMN_WORDS["test"],
    "delta": COLUMN_WORDS["delta"],
    "clean": "Clean",
    "autoattack": "AutoAttack",
    "loss_target": "Loss on T",
    "loss_source": "Loss on T'",
    "size": "MB",
}
UNIT_WORDS: Mapping[Unit, str] = {"nats": "losses in nats", "MB": "MB of 2**20 bytes"}
CAPTION = (
    "Differences are ours minus theirs, in points and, in brackets, in multiples of the std that they print: a rough ruler, since "
    "a std of three seeds is itself uncertain by about half."
)
STAND_IN = "Another model or other data stands for theirs: compare the pattern of the rows, not the numbers."

_DROPPED: tuple[tuple[Figure, ...], ...] = (
    (),
    ("train",),
    ("train", "source"),
    ("train", "source", "valid"),
    ("train", "source", "valid", "rate"),
)


@dataclass(frozen=True)
class _Layout:
    figures: tuple[Figure, ...]
    std: bool


def render_published(compared: PublishedComparison, console: Console) -> None:
    """Print every comparison, then the settings that differ, what is missing on either side, and the table's slips."""
    say(console, [compared.table.title], style="bold")
    say(console, [compared.table.paper.source])
    for one in compared.comparisons:
        _render_comparison(one, compared.table.figures, console)
    console.print()
    units = {UNITS[figure] for figure in compared.table.figures if figure in UNITS}
    said = [words for unit, words in UNIT_WORDS.items() if unit in units]
    say(console, [f"{'; '.join(['Percent', *said])}. {CAPTION}"])
    _render_settings(compared.comparisons, console)
    say(console, missing_lines(compared), heading="Not compared")
    say(console, [f"- {slip}" for slip in slip_lines(compared)], heading="Inconsistent as printed")


def missing_lines(compared: PublishedComparison) -> list[str]:
    """Say which rows of theirs nothing of ours answers, and which of ours nothing of theirs."""
    pairs = [
        f"{model} on {dataset} ({len(compared.table.rows_of(model, dataset))} rows)"
        for model, dataset in compared.missing
    ]
    lines = [f"Theirs, with no run of it or of what stands for it: {', '.join(pairs)}."] if pairs else []
    for one in compared.comparisons:
        absent = [row.published.label for row in one.rows if row.ours is None]
        if absent:
            lines.append(f"{one.theirs}: no row of ours for {'; '.join(absent)}.")
        if one.beside:
            lines.append(f"{one.subject.label}: not in their table: {', '.join(key.label for key in one.beside)}.")
    lines += [
        f"{subject.label}: stands for nothing of theirs; say what with --as OURS=THEIRS."
        for subject in compared.left_out
    ]
    return lines


def slip_lines(compared: PublishedComparison) -> list[str]:
    """Say what is inconsistent in the rows that are compared, and in the table as a whole."""
    rows = [row.published for one in compared.comparisons for row in one.rows]
    noted = [f"{row.model}, {row.dataset}, {row.label}: {row.note}." for row in rows if row.note]
    return [*dict.fromkeys(noted), *compared.table.slips]


def _render_comparison(one: Comparison, figures: Sequence[Figure], console: Console) -> None:
    console.print()
    say(console, [f"{one.theirs} | ours: {title(one.subject.records[0].comparable)}"], style="bold")
    say(console, [] if one.exact else [f"{STAND_IN}{f' Ours: {one.part}.' if one.part else ''}"])
    layout = _fitting(one, figures, console)
    if layout is None:
        say(console, [_sigma(line, console) for row in one.rows for line in _row_lines(row)])
    else:
        console.print(_grid(one, layout, console))
        if hidden := [FIGURE_WORDS[figure] for figure in figures if figure not in layout.figures]:
            say(console, [f"Too narrow for {', '.join(hidden)}."])
        say(console, [] if layout.std else ["Too narrow for the std."])
    say(console, [*_seeds(one), *one.remarks])


def _fitting(one: Comparison, figures: Sequence[Figure], console: Console) -> _Layout | None:
    for std in (True, False):
        for dropped in _DROPPED:
            layout = _Layout(tuple(figure for figure in figures if figure not in dropped), std)
            if fits(_grid(one, layout, console), console, wrap=dropped == _DROPPED[-1] or not std):
                return layout
    return None


def _grid(one: Comparison, layout: _Layout, console: Console) -> Grid:
    grid = new_grid()
    labels = [label for row in one.rows for label in (row.published.label, _our_label(row))]
    add_names(grid, "Theirs, ours", [plain(label, console) for label in labels])
    for figure in layout.figures:
        grid.add_column(plain(FIGURE_WORDS[figure], console), justify="right", no_wrap=True)
    for row in one.rows:
        cells = [row.figure(figure) for figure in layout.figures]
        theirs = [their_words(row.published, cell, std=layout.std) for cell in cells]
        ours = [our_words(row, cell, std=layout.std) for cell in cells]
        grid.add_row(*_texts([row.published.label, *theirs], console))
        grid.add_row(*_texts([_our_label(row), *ours], console), end_section=row.ours is None)
        if row.ours:
            grid.add_row(*_texts(["", *map(difference_words, cells)], console), style="bold", end_section=True)
    return grid


def _texts(words: Iterable[str], console: Console) -> list[Text]:
    return [Text(_sigma(plain(word, console), console)) for word in words]


def _sigma(text: str, console: Console) -> str:
    return text.replace("σ", " std") if console.options.ascii_only else text


def _our_label(row: ComparedRow) -> str:
    if row.ours is None:
        return "  no row of ours"
    return f"  {row.ours.key.label}{', before' if row.ours.before else ''}"


def their_words(row: PublishedRow, cell: ComparedFigure, *, std: bool = True) -> str:
    """Write a number as printed; a rate or a size with the counts that it is made of."""
    if cell.theirs is None:
        return ABSENT
    if cell.figure == "rate":
        meant = f" ({row.wrong_meant} meant)" if row.wrong_meant else ""
        return f"{row.corrected}/{row.wrong}{meant} ({whole_percent(cell.theirs.mean / 100)})"
    if cell.figure == "source_size":
        return f"{row.source_size:,} ({cell.theirs.mean:.2f})"
    return _words(cell.figure, cell.theirs.mean, cell.theirs.std if std else None)


def our_words(row: ComparedRow, cell: ComparedFigure, *, std: bool = True) -> str:
    """Write our number as theirs are; that of an evaluator with the number of its images."""
    if cell.ours is None:
        return ABSENT
    if cell.figure == "rate":
        return rate(row.counts)
    if cell.figure == "source_size" and row.ours is not None:
        size = fmean(record.counts["source"] for record in row.ours.records.values())
        return f"{size:,.0f} ({cell.ours.mean:.2f})"
    said = _words(cell.figure, cell.ours.mean, cell.ours.std if std else None)
    return said if cell.samples is None else f"{said} (n = {cell.samples:,})"


def difference_words(cell: ComparedFigure) -> str:
    """Write a difference in the figure's unit, percentages' in points, and in their std where they print one."""
    if cell.difference is None:
        return ""
    spread = "" if cell.in_their_std is None else f" ({cell.in_their_std:+z.1f}σ)"
    return f"{cell.difference:+z.{_digits(cell.figure)}f}{spread}"


def _words(figure: Figure, mean: float, std: float | None) -> str:
    digits = _digits(figure)
    number = f"{mean:+z.{digits}f}" if figure == "delta" else f"{mean:z.{digits}f}"
    return number if std is None else f"{number} ± {std:.{digits}f}"


def _digits(figure: Figure) -> int:
    return 3 if UNITS.get(figure) == "nats" else 2


def _row_lines(row: ComparedRow) -> list[str]:
    lines = []
    for cell in row.figures:
        if cell.theirs or cell.ours:
            words = f"theirs {their_words(row.published, cell)}, ours {our_words(row, cell)}"
            difference = difference_words(cell)
            lines.append(f"{FIGURE_WORDS[cell.figure]}: {words}{f', {difference}' if difference else ''}")
    return [f"{row.published.label} |{_our_label(row)}", *(f"  {line}" for line in lines)]


def _seeds(one: Comparison) -> list[str]:
    """Say over which seeds ours are, and which rows have fewer."""
    by_row = {row.published.label: tuple(row.ours.records) for row in one.rows if row.ours}
    if not by_row:
        return []
    usual = Counter(by_row.values()).most_common(1)[0][0]
    others = [f"{label} over {_listed(seeds)}" for label, seeds in by_row.items() if seeds != usual]
    said = f"seed {usual[0]} alone" if len(usual) == 1 else f"mean and sample std over seeds {_listed(usual)}"
    return [f"Ours: {said}{'; '.join(['', *others])}."]


def _listed(seeds: Sequence[int]) -> str:
    return ", ".join(map(str, seeds))


def _render_settings(comparisons: Sequence[Comparison], console: Console) -> None:
    console.print()
    say(console, ["What differs in the setting"], style="bold")
    differing = _by_status(comparisons, "differs")
    subjects = _subject_lines(comparisons)
    if subjects or differing:
        console.print(_settings_grid(subjects, differing, console))
    unprinted = [
        f"{setting.label} ({setting.ours})" for setting, _ in _by_status(comparisons, "not printed") if setting.ours
    ]
    unrecorded = [f"{setting.label} ({setting.theirs})" for setting, _ in _by_status(comparisons, "not recorded")]
    same = dict.fromkeys(setting.label for setting, where in _by_status(comparisons, "same") if not where)
    for words, found in (
        ("Not printed in the paper, so not compared; ours in brackets", unprinted),
        ("Not in our records; theirs in brackets", unrecorded),
        ("The same", list(same)),
    ):
        say(console, [f"{words}: {', '.join(dict.fromkeys(found))}."] if found else [])


def _subject_lines(comparisons: Sequence[Comparison]) -> list[tuple[str, str, str]]:
    found = [(one, f"{one.subject.label}{f', {one.part}' if one.part else ''}") for one in comparisons]
    return [("model, data", one.theirs, ours) for one, ours in found if not one.exact]


def _by_status(comparisons: Sequence[Comparison], status: Status) -> list[tuple[ComparedSetting, str]]:
    """Return the settings of one status, each once with the comparisons it is of; with nothing where it is of all."""
    found: dict[ComparedSetting, list[str]] = {}
    for one in comparisons:
        for setting in one.settings:
            if setting.status == status:
                found.setdefault(setting, []).append(one.theirs)
    places = {label: place for place, label in enumerate(dict.fromkeys(setting.label for setting in found))}
    ordered = sorted(found.items(), key=lambda entry: places[entry[0].label])
    return [(setting, "" if len(where) == len(comparisons) else "; ".join(where)) for setting, where in ordered]


def _settings_grid(
    subjects: Sequence[tuple[str, str, str]], settings: Sequence[tuple[ComparedSetting, str]], console: Console
) -> Grid:
    lines = [(*line, "") for line in subjects] + [
        (setting.label, str(setting.theirs), str(setting.ours), where) for setting, where in settings
    ]
    headings = ("Setting", "Theirs", "Ours", "In")
    shown = headings if any(where for *_, where in lines) else headings[:3]
    grid = new_grid()
    for index, heading in enumerate(shown):
        add_names(grid, heading, [plain(line[index], console) for line in lines])
    for line in lines:
        grid.add_row(*_texts(line[: len(shown)], console))
    return grid
