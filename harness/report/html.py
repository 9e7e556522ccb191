"""Tables as one self-contained page: no scripts, no files beside it."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from harness.comparability import budget
from harness.leaderboard import COLUMNS, summaries, verdicts
from harness.marks import mark_notes
from harness.report.correctors import WORK_TITLE, work_caption, work_columns
from harness.report.curves import CORRECTORS_TITLE, TITLE, corrector_table, curve_table
from harness.report.dot_plot import dot_plot
from harness.report.figures import figures_section
from harness.report.gain_matrix import TITLE as GAINS_TITLE
from harness.report.gain_matrix import gain_matrix
from harness.report.line_plot import accuracy_plot, corrector_plot
from harness.report.measures import side_sections
from harness.report.notation import (
    ABSENT,
    COLUMN_WORDS,
    DIFFERENCES_TITLE,
    best_words,
    cell,
    clear_gain,
    difference,
    loss,
    rate,
    reference_columns,
    reference_heading,
    seeds_words,
)
from harness.report.reading import CONTROL_MEANINGS, reading_notes
from harness.report.remarks import failure_lines, flag_lines, missing_lines, one_seed_lines, part_lines

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from harness.curves import TableCurves
    from harness.leaderboard import Column, Row, Table
    from harness.report.measures import SideSection, SideTable
    from harness.report.text_table import TextTable

DENSE = 10  # columns beyond which a table is set closer
STYLE = """
:root { color-scheme: light dark; --ink: #1d2330; --soft: #5d6678; --paper: #fdfdfb; --line: #d9dce3; --band: #f2f3f6;
  --mark: #1f5fbf; --good: #17743f; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e8ee; --soft: #9aa3b5; --paper: #14171d; --line: #323846;
  --band: #1c212a; --mark: #7fb0ff; --good: #6fd39a; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 72rem; padding: 1rem 1.25rem 3rem; background: var(--paper); color: var(--ink);
  font: 16px/1.5 system-ui, sans-serif; overflow-wrap: anywhere; }
h1 { font-size: 1.6rem; margin: 0.5rem 0 1rem; }
h2 { font-size: 1.25rem; margin: 2.5rem 0 0.25rem; padding-top: 1rem; border-top: 2px solid var(--line); }
h3 { font-size: 1rem; margin: 1.75rem 0 0.5rem; }
p, li { max-width: 75ch; }
li { white-space: pre-wrap; }
ul { margin: 0.25rem 0; padding-left: 1.2rem; }
.soft { color: var(--soft); font-size: 0.9rem; }
table { border-collapse: collapse; width: 100%; font-size: 0.9rem; font-variant-numeric: tabular-nums; }
th, td { padding: 0.35rem 0.6rem; text-align: right; border-bottom: 1px solid var(--line); white-space: nowrap; }
th { color: var(--soft); font-weight: 600; vertical-align: bottom; }
th.name, td.name { text-align: left; white-space: normal; min-width: 6.5rem; }
tbody tr:hover { background: var(--band); }
tr.control td { color: var(--soft); }
tr td.best, td.gain { font-weight: 700; color: var(--ink); }
td.gain { color: var(--good); }
svg { display: block; width: 100%; max-width: 46rem; }
svg text { fill: var(--ink); font: 13px system-ui, sans-serif; }
svg text { paint-order: stroke; stroke: var(--paper); stroke-width: 5px; stroke-linejoin: round; }
svg .soft { fill: var(--soft); font-size: 13px; }
svg .axis { stroke: var(--line); }
svg .finetune { stroke: var(--soft); }
summary { cursor: pointer; margin: 0.35rem 0; }
svg .interval { stroke: var(--mark); stroke-width: 2; }
svg .dot { fill: var(--mark); }
svg .hollow { fill: var(--paper); stroke: var(--mark); stroke-width: 2; }
svg .control .interval { stroke: var(--soft); }
svg .control .dot { fill: var(--soft); }
svg .control .hollow { stroke: var(--soft); }
svg .control text { fill: var(--soft); }
svg .curve { fill: none; stroke: var(--line); vector-effect: non-scaling-stroke; }
svg .k0 { stroke: var(--mark); stroke-width: 2.5; }
svg .k1 { stroke: var(--ink); stroke-width: 2; stroke-dasharray: 7 3; }
svg .k2 { stroke: #d5692a; stroke-width: 2; stroke-dasharray: 2 2; }
svg .k3 { stroke: var(--good); stroke-width: 2; stroke-dasharray: 7 2 2 2; }
svg .k4 { stroke: #b0589f; stroke-width: 2; }
svg .k5 { stroke: #97912a; stroke-width: 2; stroke-dasharray: 4 2; }
svg .k6 { stroke: #4a9fc4; stroke-width: 2; stroke-dasharray: 10 2; }
svg .k7 { stroke: var(--soft); stroke-width: 2; }
.scroll { overflow-x: auto; }
figure { margin: 0.5rem 0; max-width: 60rem; }
figure img { display: block; width: 100%; background: #fff; }
figcaption { color: var(--soft); font-size: 0.9rem; margin-top: 0.4rem; max-width: 75ch; }
@media (min-width: 58.01rem) { .dense th, .dense td { padding: 0.3rem 0.4rem; } }
@media (max-width: 72rem) { table { font-size: 0.82rem; } th, td { padding: 0.3rem; } }
@media (max-width: 58rem) {
  table { font-size: 0.9rem; }
  thead { display: none; }
  table, tbody { display: block; }
  tr { display: grid; grid-template-columns: repeat(auto-fill, minmax(12.5rem, 1fr)); column-gap: 1.5rem;
    border-bottom: 1px solid var(--line); padding: 0.5rem 0; }
  .wide tr { grid-template-columns: 1fr; }
  td, td.name { border: 0; padding: 0.1rem 0; display: flex; justify-content: space-between; gap: 1rem; text-align: right; }
  td::before { content: attr(data-label); color: var(--soft); font-weight: 400; text-align: left; }
  td.absent { display: none; }
  td.name { grid-column: 1 / -1; font-weight: 600; }
}
"""


def to_html(tables: Sequence[Table], title: str, drawings: str = "", *, curves: Sequence[TableCurves] = ()) -> str:
    """Return the page; whatever names and messages hold is escaped. ``drawings`` is the section of figures, as HTML.

    ``curves``: the budget curves of these tables, each of which its table's section shows.
    """
    of_table = {one.key: one for one in curves}
    body = "\n".join(
        _section(table, of_table.get(table.comparable.key if table.comparable else "")) for table in tables
    )
    name = escape(title)
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{name}</title>
<style>{STYLE}</style>
</head>
<body>
<h1>{name}</h1>
{body}
{drawings}
{_reading(tables)}
</body>
</html>
"""


def _section(table: Table, curves: TableCurves | None) -> str:
    parts = [f"<h2>{escape(table.title)}</h2>"]
    if table.note:
        parts.append(_soft(f"{table.note}."))
    if overview := gain_matrix(table):
        parts += [f"<h3>{GAINS_TITLE}</h3>", *_text_table(overview), "<h3>All rows</h3>"]
    if table.rows:
        parts += [_soft(seeds_words(table) + best_words(table, "Bold")), _accuracies(table.rows)]
        parts += [_soft(line) for line in (*part_lines(table), *mark_notes(table.rows))]
        parts += ["<h3>Gain in test accuracy</h3>", dot_plot(table.rows)]
    judged = [row for row in table.rows if row.claims]
    if judged:
        parts += [f"<h3>{escape(DIFFERENCES_TITLE)}</h3>", *map(_soft, one_seed_lines(table)), _differences(judged)]
        parts += map(_soft, missing_lines(table))
        parts += ["<h3>Verdicts</h3>", _list(summaries(table)), _list(verdicts(table), css="soft")]
    parts += [
        *(part for section in side_sections(table) for part in _side_section(section)),
        *(_curves(curves) if curves and curves.trained else []),
        *_works(table),
        *(_corrections(curves) if curves and curves.correctors else []),
        *(_folded_section(figures) if (figures := figures_section(table)) else []),
    ]
    for heading, lines in (("Flags", flag_lines(table)), ("Failed cells", failure_lines(table))):
        parts += [f"<h3>{heading}</h3>", _list(lines)] if lines else []
    if table.comparable:
        parts.append(_soft(f"Budget: {budget(table.comparable) or 'not recorded'}."))
    return "\n".join(parts)


def _accuracies(rows: Iterable[Row]) -> str:
    heads = ["Corrector", "Adapter", "Corr. rate", *(COLUMN_WORDS[name] for name in COLUMNS), "Loss T", "Loss T'"]
    lines = []
    for row in rows:
        names = [row.key.source_label or ABSENT, row.adapter_label or ABSENT]
        cells = [_cell(name, head, "name") for name, head in zip(names, heads, strict=False)]
        cells.append(_cell(rate(row.correction), "Corr. rate"))
        cells += [_accuracy(row, column) for column in COLUMNS]
        cells += [_cell(loss(row.loss_target), "Loss T"), _cell(loss(row.loss_source), "Loss T'")]
        lines.append(_line(row, cells))
    return _grid(heads, lines, names=2)


def _accuracy(row: Row, column: Column) -> str:
    return _cell(cell(row, column), COLUMN_WORDS[column], "best" if column in row.best else "")


def _differences(rows: Iterable[Row]) -> str:
    columns = [reference_heading(claim, name) for claim, name in reference_columns()]
    lines = []
    for row in rows:
        references = row.claims.references if row.claims else ()
        cells = [
            _cell(difference(reference), " ".join(heading), "gain" if clear_gain(reference) else "")
            for reference, heading in zip(references, columns, strict=True)
        ]
        lines.append(_line(row, [_cell(row.label, "Row", "name"), *cells]))
    return _grid(["Row", *("\n".join(heading) for heading in columns)], lines, names=1)


def _side_section(section: SideSection) -> list[str]:
    parts = [f"<h3>{section.title}</h3>", _soft(section.caption)]
    for one in section.tables:
        parts += [_soft(f"{one.title}."), *_side_table(one)]
    return parts


def _folded_section(section: SideSection) -> list[str]:
    """Return a section whose tables are opened one by one: there may be one for each of thirty adapters."""
    parts = [f"<h3>{section.title}</h3>", _soft(section.caption)]
    for one in section.tables:
        summary = f"<summary>{escape(one.title)}: {len(one.lines)} row{'s' * (len(one.lines) > 1)}</summary>"
        parts += ["<details>", summary, *_side_table(one), "</details>"]
    return parts


def _side_table(one: SideTable) -> list[str]:
    lines = [
        _line(row, [_cell(label, "Row", "name"), *map(_cell, cells, one.headings)]) for row, label, cells in one.lines
    ]
    return [_grid(["Row", *one.headings], lines, names=1), *([_list(one.notes)] if one.notes else [])]


def _curves(curves: TableCurves) -> list[str]:
    return [f"<h3>{TITLE}</h3>", accuracy_plot(curves), *_text_table(curve_table(curves))]


def _corrections(curves: TableCurves) -> list[str]:
    return [f"<h3>{CORRECTORS_TITLE}</h3>", corrector_plot(curves), *_text_table(corrector_table(curves))]


def _text_table(table: TextTable) -> list[str]:
    lines = []
    for index, (label, control) in enumerate(zip(table.labels, table.dim, strict=True)):
        cells = [_cell(column.cells[index], column.heading.replace("\n", " ")) for column in table.columns]
        name = _cell(label, table.heading, "name")
        lines.append(f"<tr{' class=control' if control else ''}>{name}{''.join(cells)}</tr>")
    heads = [table.heading, *(column.heading for column in table.columns)]
    return [_grid(heads, lines, names=1), *map(_soft, table.notes)]


def _works(table: Table) -> list[str]:
    if not table.works:
        return []
    columns = work_columns(table.works)
    lines = []
    for work in table.works:
        cells = [_cell(column.text(work), column.heading, "name" * column.is_name) for column in columns]
        lines.append(f"<tr>{''.join(cells)}</tr>")
    names = sum(column.is_name for column in columns)
    grid = _grid([column.heading for column in columns], lines, names=names)
    return [f"<h3>{WORK_TITLE}</h3>", _soft(work_caption(columns)), grid]


def _grid(heads: Sequence[str], lines: Iterable[str], *, names: int) -> str:
    head = "".join(
        f'<th scope="col"{" class=name" if index < names else ""}>{escape(text).replace(chr(10), "<br>")}</th>'
        for index, text in enumerate(heads)
    )
    kind = "scroll wide" if names == 1 else "scroll dense" if len(heads) > DENSE else "scroll"
    body = "\n".join(lines)
    return f'<div class="{kind}"><table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody>\n</table></div>'


def _line(row: Row, cells: Iterable[str]) -> str:
    return f"<tr{'' if row.key.is_method else ' class=control'}>{''.join(cells)}</tr>"


def _cell(text: str, label: str, css: str = "") -> str:
    classes = " ".join(part for part in (css, "absent" if text == ABSENT else "") if part)
    marked = f' class="{classes}"' if classes else ""
    return f'<td{marked} data-label="{escape(label)}">{escape(text)}</td>'


def _reading(tables: Sequence[Table]) -> str:
    controls = [f"{name}: {does}" for name, does in CONTROL_MEANINGS.items()]
    return f"<h2>How to read this</h2>\n{_list(reading_notes(tables))}\n<h3>What each control isolates</h3>\n{_list(controls)}"


def _list(lines: Iterable[str], css: str = "") -> str:
    items = "\n".join(f"<li>{escape(line)}</li>" for line in lines)
    return f"<ul{f' class={css}' if css else ''}>\n{items}\n</ul>"


def _soft(text: str) -> str:
    return f'<p class="soft">{escape(text)}</p>'
