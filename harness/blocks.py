"""The blocks that rows are ranked over: one for each data set and model of a leaderboard's tables."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.errors import UsageError
from harness.row_patterns import check_patterns, matches

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from harness.leaderboard import Table
    from harness.marks import Uses

Blocks = dict[str, dict[str, float]]


def blocks_of(tables: Iterable[Table], *, only: str = "") -> Blocks:
    """Return each row's mean test accuracy over seeds (percent), by block and row.

    A row without every seed of its table has no score there: a mean over the easier seeds must not win. ``only`` takes the tables
    in whose title it stands. Raises ``UsageError`` where a data set and model have two tables: that is one problem, not two.
    """
    finished = [table for table in tables if table.comparable]
    chosen = [table for table in finished if only in table.title]
    if not chosen:
        titles = "; ".join(table.title for table in finished) or "no finished cell"
        raise UsageError(f"ranking: no table{f' has {only!r} in its title' if only else ''}; there are: {titles}")
    titles_of: dict[str, str] = {}
    blocks: Blocks = {}
    for table in chosen:
        name = _name(table)
        if name in titles_of:
            raise UsageError(
                f'ranking: "{name}" has two tables, "{titles_of[name]}" and "{table.title}", expected one: they are one problem, '
                "not two; name the one with --only WORDS of its title, or give folders that hold one each"
            )
        titles_of[name] = table.title
        blocks[name] = _scores(table)
    return blocks


def select_rows(blocks: Mapping[str, Mapping[str, float]], patterns: Sequence[str]) -> Blocks:
    """Keep the rows that match one of the patterns (``*`` and ``?``). Raises ``UsageError`` for a pattern that matches none."""
    check_patterns(patterns, [name for scores in blocks.values() for name in scores])
    return {
        block: {name: score for name, score in scores.items() if matches(name, patterns)}
        for block, scores in blocks.items()
    }


def data_sets_of(tables: Iterable[Table]) -> dict[str, str]:
    """Return each block's data set: blocks that share one are not independent problems."""
    return {_name(table): table.comparable.dataset for table in tables if table.comparable}


def uses_of_rows(tables: Iterable[Table]) -> dict[str, Uses]:
    """Return by label what the adapters of the tables' rows use."""
    return {row.key.label: row.uses for table in tables for row in table.rows}


def _name(table: Table) -> str:
    return f"{table.comparable.dataset} · {table.comparable.model}" if table.comparable else ""


def _scores(table: Table) -> dict[str, float]:
    seeds = {seed for row in table.rows for seed in row.seeds}
    return {row.key.label: 100 * row.test.mean for row in table.rows if set(row.seeds) == seeds}
