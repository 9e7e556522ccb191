"""Budget curves as tables of text: what every row has after so many steps or seconds, every corrector after so many passes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.marks import mark_notes
from harness.report.notation import ABSENT, percent, significant, whole_percent
from harness.report.terminal_grid import say
from harness.report.text_table import TextColumn, TextTable, print_table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from harness.curves import Axis, Reach, RowCurve, TableCurves

TITLE = "Validation accuracy against the budget"
CORRECTORS_TITLE = "Correction rate against passes per attacked image"
NO_TEST = "It chooses the checkpoint that is kept: it is no test result."
MACHINE = (
    "Seconds are those of training alone, without validations, corrections and searches; they depend on the machine and on "
    "what else ran on it."
)
_CORRECTORS_NOTE = (
    "Share of the wrong samples, of all seeds, that are corrected after so many forward and backward passes per attacked image, on "
    "average over its batch; a step of a gradient attack takes two. Passes: what the attack spent in all."
)
_COLUMNS = 5  # of checkpoints, the start apart
_MARKS = (1, 2, 5)  # times powers of ten
_DOUBLINGS = 4


def render(
    tables: Sequence[TableCurves], console: Console, *, axis: Axis = "steps", raw: bool = False, share: float = 1
) -> None:
    """Print the curves of every table, and those of its correctors."""
    for index, curves in enumerate(tables):
        if index:
            console.print()
        say(console, [curves.title], style="bold")
        say(console, [curves.note] if curves.note else [])
        say(console, [f"{TITLE}: {'seconds of training' if axis == 'seconds' else 'optimizer steps'}"])
        print_table(curve_table(curves, axis=axis, raw=raw, share=share), console)
        if curves.correctors or curves.untold:
            console.print()
            say(console, [CORRECTORS_TITLE], style="bold")
            print_table(corrector_table(curves), console)


def curve_table(curves: TableCurves, *, axis: Axis = "steps", raw: bool = False, share: float = 1) -> TextTable:
    """Return the table of accuracies: columns are checkpoints, or seconds, and when ``finetune-target`` is caught up with.

    ``share``: how much of its gain is to be caught up with.
    """
    places = step_marks(curves) if axis == "steps" else second_marks(curves)
    columns = []
    for number, place in enumerate(places):
        last = number == len(places) - 1
        points = [row.at(place, axis) for row in curves.rows]
        cells = [percent(point.accuracy(raw=raw), std=last) if point else ABSENT for point in points]
        rank = 0 if last else 3 + number % 2 if number else 2
        columns.append(TextColumn(_heading(place, places[-1], axis), tuple(cells), rank))
    return TextTable(
        heading="Row",
        labels=tuple(row.label for row in curves.rows),
        dim=tuple(not row.key.is_method for row in curves.rows),
        columns=(*columns, *_reach_columns(curves, axis, share)),
        notes=tuple(notes(curves, axis=axis, raw=raw, share=share)),
    )


def corrector_table(curves: TableCurves) -> TextTable:
    """Return the table of correction rates: columns are passes, forward and backward, per attacked image."""
    columns = [
        TextColumn(f"{mark:,}", tuple(whole_percent(one.rate(mark)) for one in curves.correctors), rank=2)
        for mark in pass_marks(curves)
    ]
    ends = TextColumn("Corr. rate", tuple(whole_percent(one.points()[-1][1]) for one in curves.correctors))
    spent = TextColumn("Passes", tuple(significant(one.spent) for one in curves.correctors), rank=1)
    untold = f"No curve in records of before it was kept: {', '.join(curves.untold)}; run the spec again."
    return TextTable(
        heading="Corrector",
        labels=tuple(one.corrector for one in curves.correctors),
        dim=(False,) * len(curves.correctors),
        columns=(*columns, ends, spent),
        notes=(*([_CORRECTORS_NOTE] if curves.correctors else []), *([untold] if curves.untold else [])),
    )


def notes(curves: TableCurves, *, axis: Axis, raw: bool, share: float) -> list[str]:
    """Say what the numbers are, which rows are special, and what is not told."""
    listed = ", ".join(map(str, curves.seeds))
    seeds = f"seed {listed} alone" if len(curves.seeds) == 1 else f"mean over seeds {listed} (± sample std)"
    what = "of each checkpoint" if raw else "of the best checkpoint so far, which is what would be kept"
    weights = " It is that of the full-precision weights." if curves.precise else ""
    lines = [f"Percent, {seeds}, {what}.{weights} {NO_TEST}"]
    if any(row.is_timed for row in curves.trained):
        lines.append(MACHINE)
    untrained = [row.label for row in curves.rows if not row.is_trained]
    if untrained and axis == "steps":
        lines.append(f"Not trained, the same at every step: {', '.join(untrained)}.")
    partial = [f"{row.label} ({', '.join(map(str, row.per_seed))})" for row in curves.rows if _lacks(row, curves)]
    if partial:
        lines.append(f"Not of every seed: {', '.join(partial)}.")
    return [*lines, *_reach_notes(curves, share), *mark_notes(curves.rows)]


def reach_words(reach: Reach) -> str:
    """Say in a sentence how fast a row is: ``2.1 times the steps of finetune-target``."""
    if reach.step is None:
        return f"never reaches {100 * reach.level:.2f}%"
    ratio = f", {reach.steps_ratio:.2g} times the steps of finetune-target" if reach.steps_ratio else ""
    return f"reaches {100 * reach.level:.2f}% at step {reach.step:,}{ratio}"


def step_marks(curves: TableCurves) -> list[int]:
    """Return the steps of the columns: the start, and at most five checkpoints, evenly spaced, the last one always."""
    steps = sorted({step for row in curves.trained for step in row.steps if step})
    count = min(_COLUMNS, len(steps))
    return [0, *(steps[round(len(steps) * (number + 1) / count) - 1] for number in range(count))]


def second_marks(curves: TableCurves) -> list[float]:
    """Return the seconds of the columns: parts and multiples of what ``finetune-target`` takes, or else the fastest row.

    They end where every row has, after four doublings at the latest.
    """
    ends = [row.end.seconds for row in curves.trained if row.end.seconds]
    if not ends:
        return [0.0]
    unit = (curves.reference.end.seconds if curves.reference else None) or min(ends)
    needed = next((power for power in range(_DOUBLINGS) if unit * 2**power >= max(ends)), _DOUBLINGS)
    return [0.0, unit / 4, unit / 2, *(unit * 2**power for power in range(needed + 1))]


def pass_marks(curves: TableCurves) -> list[int]:
    """Return 1, 2, 5, 10, … as long as an attack goes on after so many passes."""
    most = max((one.points()[-1][0] for one in curves.correctors), default=0)
    marks: list[int] = []
    while (mark := _MARKS[len(marks) % 3] * 10 ** (len(marks) // 3)) < most:
        marks.append(mark)
    return marks


def highlights(curves: TableCurves) -> dict[str, RowCurve]:
    """Choose the rows that a picture shows by name, as few as decide.

    The best method row, ``finetune-target``, T→T and the curriculum with the best row's adapter, and the best control where it is
    none of these and no worse than the best method row. Rows that use T's labels are chosen only where none does without.
    """
    trained = curves.trained
    methods = [row for row in trained if row.key.control is None and not row.key.is_curriculum]
    best = _best(methods, curves)
    chosen = {"best": best, "finetune-target": curves.reference}
    adapter = best.key.adapter if best else None
    for role, rows in (
        ("target-to-target", [row for row in trained if row.key.control == "target-to-target"]),
        ("curriculum", [row for row in trained if row.key.is_curriculum]),
    ):
        chosen[role] = next((row for row in rows if row.key.adapter == adapter), None) or _best(rows, curves)
    others = [row for row in trained if row not in methods and row not in chosen.values()]
    rival = _best(others, curves)
    if rival and (best is None or rival.end.kept.mean >= best.end.kept.mean):
        chosen["rival"] = rival
    return {role: row for role, row in chosen.items() if row is not None}


def _best(rows: Sequence[RowCurve], curves: TableCurves) -> RowCurve | None:
    """Return the row that ends highest: of those without T's labels, then of those of every seed, where there are any."""
    fair = [row for row in rows if not row.uses.target_labels] or rows
    complete = [row for row in fair if not _lacks(row, curves)]
    return max(complete or fair, key=lambda row: row.end.kept.mean, default=None)


def _lacks(row: RowCurve, curves: TableCurves) -> bool:
    return len(row.per_seed) < len(curves.seeds)


def _heading(place: float, last: float, axis: Axis) -> str:
    if place == 0:
        return "Start"
    return f"Step {place:,.0f}\n{whole_percent(place / last)}" if axis == "steps" else f"{significant(place)} s"


def _reach_columns(curves: TableCurves, axis: Axis, share: float) -> list[TextColumn]:
    found = [curves.reach(row, share=share) for row in curves.rows]
    if not any(found):
        return []
    steps = [_reached(one, one.step, one.steps_ratio) if one else ABSENT for one in found]
    seconds = [
        _reached(one, one.seconds, one.seconds_ratio) if one and one.step is not None else ABSENT for one in found
    ]
    seeds = [f"{one.seeds_reached}/{one.seeds}" if one and one.seeds else ABSENT for one in found]
    columns = [TextColumn("Steps to\nfinetune", tuple(steps), rank=1 if axis == "steps" else 5)]
    if any(text != ABSENT for text in seconds):
        columns.append(TextColumn("Seconds to\nfinetune", tuple(seconds), rank=1 if axis == "seconds" else 5))
    if len(curves.seeds) > 1:
        columns.append(TextColumn("Seeds\nthat do", tuple(seeds), rank=6))
    return columns


def _reached(reach: Reach, place: float | None, ratio: float | None) -> str:
    if reach.step is None:
        return "never"
    if place is None:
        return ABSENT
    shown = f"{place:,}" if isinstance(place, int) else significant(place)
    return f"{shown} ({ratio:.2g}x)" if ratio else shown


def _reach_notes(curves: TableCurves, share: float) -> list[str]:
    reference = curves.reference
    if reference is None:
        return ["No finetune-target row, and so no speed to compare with."]
    own = curves.reach(reference, share=share)
    if own is None:
        return ["finetune-target ends no higher than it starts: there is nothing to reach, and no speed to compare."]
    what = "what finetune-target ends with" if share == 1 else f"{whole_percent(share)} of finetune-target's gain"
    line = (
        f"To finetune: the first checkpoint by which the mean has {what} ({100 * own.level:.2f}%), and how many times that of "
        f"finetune-target itself (step {own.step:,}) it is. Seeds that do: each against its own finetune-target"
        f"{_idle_seeds(curves, own)}. A checkpoint more or less is within the noise."
    )
    return [line]


def _idle_seeds(curves: TableCurves, own: Reach) -> str:
    """Say how many seeds have nothing to reach, which are in no count."""
    idle = len(curves.reference.per_seed) - own.seeds if curves.reference else 0
    return f", {idle} left out in which that ends no higher than it starts" if idle else ""
