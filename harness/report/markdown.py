"""Tables as GitHub Markdown."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from harness.comparability import budget
from harness.leaderboard import COLUMNS, summaries, verdicts
from harness.marks import mark_notes
from harness.report.correctors import WORK_TITLE, work_caption, work_columns
from harness.report.figures import figures_section
from harness.report.gain_matrix import TITLE as GAINS_TITLE
from harness.report.gain_matrix import gain_matrix
from harness.report.measures import side_sections
from harness.report.notation import (
    ABSENT,
    COLUMN_WORDS,
    DIFFERENCES_TITLE,
    best_words,
    cell,
    clear_gain,
    difference,
    rate,
    reference_columns,
    reference_heading,
    seeds_words,
)
from harness.report.reading import CONTROL_MEANINGS, reading_notes
from harness.report.remarks import failure_lines, flag_lines, missing_lines, one_seed_lines, part_lines

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from harness.leaderboard import Column, Row, Table
    from harness.report.measures import SideSection

_SPECIAL = re.compile(r"([\\|<>*`~])")
_LINE_BREAK = "\\\n  \u00a0"  # the no-break space keeps a message's next line from being read as a list or a heading


def to_markdown(tables: Sequence[Table]) -> str:
    """Return a page with every table, its paired differences, verdicts, flags and failed cells, and how to read them."""
    sections = [block for table in tables for block in _section(table)]
    return "\n\n".join(["# Leaderboard", *sections, *_reading(tables)]) + "\n"


def to_excerpt(table: Table) -> str:
    """Return a table's accuracies, paired differences and summaries alone: what a page that quotes it needs."""
    judged = [row for row in table.rows if row.claims]
    differences = (
        [f"**{DIFFERENCES_TITLE}**", *one_seed_lines(table), _differences(judged), *_list(summaries(table))]
        if judged
        else []
    )
    return "\n\n".join([*_headline(table), *differences])


def _section(table: Table) -> list[str]:
    blocks = [f"## {escape(table.title)}"]
    if table.note:
        blocks.append(escape(table.note) + ".")
    blocks += _headline(table)
    judged = [row for row in table.rows if row.claims]
    if judged:
        blocks += [
            f"### {DIFFERENCES_TITLE}",
            *one_seed_lines(table),
            _differences(judged),
            *_list(missing_lines(table)),
        ]
        blocks += ["### Verdicts", *_list(summaries(table)), "Row by row:", *_list(verdicts(table))]
    blocks += [
        *(block for section in side_sections(table) for block in _side_section(section)),
        *_works(table),
        *(_side_section(figures) if (figures := figures_section(table)) else []),
    ]
    for heading, lines in (("Flags", flag_lines(table)), ("Failed cells", failure_lines(table))):
        blocks += [f"### {heading}", *_list(lines)] if lines else []
    if table.comparable:
        blocks.append(f"Budget: {escape(budget(table.comparable) or 'not recorded')}.")
    return blocks


def _headline(table: Table) -> list[str]:
    if not table.rows:
        return []
    words = escape(seeds_words(table)) + best_words(table, "**Bold**")
    notes = [escape(line) for line in (*part_lines(table), *mark_notes(table.rows))]
    return [*_glance(table), words, _accuracies(table.rows), *notes]


def _glance(table: Table) -> list[str]:
    """Return the overview of a long table, nothing for a short one."""
    overview = gain_matrix(table)
    if overview is None:
        return []
    lines = [
        [escape(text) for text in (label, *(column.cells[index] for column in overview.columns))]
        for index, label in enumerate(overview.labels)
    ]
    heads = [overview.heading, *(escape(column.heading) for column in overview.columns)]
    return [f"### {GAINS_TITLE}", _grid(heads, lines, names=1), *map(escape, overview.notes), "### All rows"]


def _accuracies(rows: Iterable[Row]) -> str:
    heads = ["Corrector", "Adapter", "Corr. rate", *(COLUMN_WORDS[name] for name in COLUMNS)]
    lines = [
        [
            escape(row.key.source_label or ABSENT),
            escape(row.adapter_label or ABSENT),
            escape(rate(row.correction)),
            *(_accuracy(row, name) for name in COLUMNS),
        ]
        for row in rows
    ]
    return _grid(heads, lines, names=2)


def _accuracy(row: Row, column: Column) -> str:
    text = escape(cell(row, column))
    return f"**{text}**" if column in row.best else text


def _differences(rows: Iterable[Row]) -> str:
    heads = ["Row", *(" ".join(reference_heading(claim, name)) for claim, name in reference_columns())]
    lines = [
        [
            escape(row.label),
            *(
                f"**{difference(reference)}**" if clear_gain(reference) else difference(reference)
                for reference in (row.claims.references if row.claims else ())
            ),
        ]
        for row in rows
    ]
    return _grid(heads, lines, names=1)


def _side_section(section: SideSection) -> list[str]:
    blocks = [f"### {section.title}", escape(section.caption)]
    for one in section.tables:
        lines = [[escape(text) for text in (label, *cells)] for _, label, cells in one.lines]
        blocks += [
            f"{escape(one.title)}.",
            _grid(["Row", *map(escape, one.headings)], lines, names=1),
            *_list(one.notes),
        ]
    return blocks


def _works(table: Table) -> list[str]:
    if not table.works:
        return []
    columns = work_columns(table.works)
    heads = [column.heading for column in columns]
    lines = [[escape(column.text(work)) for column in columns] for work in table.works]
    grid = _grid(heads, lines, names=sum(column.is_name for column in columns))
    return [f"### {WORK_TITLE}", work_caption(columns), grid]


def _grid(heads: Sequence[str], lines: Iterable[Sequence[str]], *, names: int) -> str:
    rule = ["---" if index < names else "---:" for index in range(len(heads))]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (heads, rule, *lines))


def _reading(tables: Sequence[Table]) -> list[str]:
    controls = _list(f"{name}: {does}" for name, does in CONTROL_MEANINGS.items())
    return ["## How to read this", *_list(reading_notes(tables)), "What each control isolates:", *controls]


def _list(lines: Iterable[str]) -> list[str]:
    """Return one block, or none where there is no line."""
    items = [f"- {escape(line)}".replace("\n", _LINE_BREAK) for line in lines]
    return ["\n".join(items)] if items else []


def escape(text: str) -> str:
    """Return text that Markdown shows as it is, in a table's cell too."""
    return _SPECIAL.sub(r"\\\1", text)
