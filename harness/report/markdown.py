"""Tables as GitHub Markdown."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from harness.comparability import budget
from harness.leaderboard import COLUMNS, summaries, verdicts
from harness.report.notation import (
    ABSENT,
    COLUMN_WORDS,
    CONTROL_MEANINGS,
    DIFFERENCES_TITLE,
    READING,
    cell,
    clear_gain,
    difference,
    failure_lines,
    flag_lines,
    missing_lines,
    rate,
    reference_columns,
    reference_heading,
    seeds_words,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from harness.leaderboard import Column, Row, Table

_SPECIAL = re.compile(r"([\\|<>*`~])")


def to_markdown(tables: Sequence[Table]) -> str:
    """Return a page with every table, its paired differences, verdicts, flags and failed cells, and how to read them."""
    sections = [block for table in tables for block in _section(table)]
    return "\n\n".join(["# Leaderboard", *sections, *_reading()]) + "\n"


def _section(table: Table) -> list[str]:
    blocks = [f"## {_escape(table.title)}"]
    if table.note:
        blocks.append(_escape(table.note) + ".")
    if table.rows:
        blocks += [_escape(seeds_words(table)) + " **Bold**: best mean.", _accuracies(table.rows)]
    judged = [row for row in table.rows if row.claims]
    if judged:
        blocks += [f"### {DIFFERENCES_TITLE}", _differences(judged), *_list(missing_lines(table))]
        blocks += ["### Verdicts", *_list(summaries(table)), "Row by row:", *_list(verdicts(table))]
    for heading, lines in (("Flags", flag_lines(table)), ("Failed cells", failure_lines(table))):
        blocks += [f"### {heading}", *_list(lines)] if lines else []
    if table.comparable:
        blocks.append(f"Budget: {_escape(budget(table.comparable) or 'not recorded')}.")
    return blocks


def _accuracies(rows: Iterable[Row]) -> str:
    heads = ["Corrector", "Adapter", "Corr. rate", *(COLUMN_WORDS[name] for name in COLUMNS)]
    lines = [
        [
            _escape(row.key.source_label or ABSENT),
            _escape(row.key.adapter_label or ABSENT),
            _escape(rate(row.correction)),
            *(_accuracy(row, name) for name in COLUMNS),
        ]
        for row in rows
    ]
    return _grid(heads, lines, names=2)


def _accuracy(row: Row, column: Column) -> str:
    text = _escape(cell(row, column))
    return f"**{text}**" if column in row.best else text


def _differences(rows: Iterable[Row]) -> str:
    heads = ["Row", *(" ".join(reference_heading(claim, name)) for claim, name in reference_columns())]
    lines = [
        [
            _escape(row.key.label),
            *(
                f"**{difference(reference)}**" if clear_gain(reference) else difference(reference)
                for reference in (row.claims.references if row.claims else ())
            ),
        ]
        for row in rows
    ]
    return _grid(heads, lines, names=1)


def _grid(heads: Sequence[str], lines: Iterable[Sequence[str]], *, names: int) -> str:
    rule = ["---" if index < names else "---:" for index in range(len(heads))]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (heads, rule, *lines))


def _reading() -> list[str]:
    controls = _list(f"{name}: {does}" for name, does in CONTROL_MEANINGS.items())
    return ["## How to read this", *_list(READING), "What each control isolates:", *controls]


def _list(lines: Iterable[str]) -> list[str]:
    """Return one block, or none where there is no line."""
    items = [f"- {_escape(line)}" for line in lines]
    return ["\n".join(items)] if items else []


def _escape(text: str) -> str:
    return _SPECIAL.sub(r"\\\1", text)
