"""A ranking on a terminal and as JSON: mean ranks, and by letters which rows cannot be told apart."""

from __future__ import annotations

from dataclasses import dataclass
from string import ascii_lowercase
from typing import TYPE_CHECKING, Any

from harness.marks import mark_notes
from harness.ranking import ranking_sentences
from harness.report.terminal_grid import add_names, new_grid, plain, say

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rich.console import Console

    from harness.marks import Uses
    from harness.ranking import PostHoc, Ranking

VERSION = 1
TITLE = "Mean ranks in test accuracy, 1 is best"
POST_HOC_WORDS: Mapping[PostHoc, str] = {"nemenyi": "Nemenyi", "wilcoxon-holm": "Wilcoxon–Holm"}
_LETTERS = "Rows that share a letter are not shown to differ by that test."


def group_letters(names: Sequence[str], groups: Sequence[Sequence[str]]) -> dict[str, str]:
    """Return for each name the letters of its groups, ``a b``; numbers where there are more groups than letters."""
    signs = ascii_lowercase if len(groups) <= len(ascii_lowercase) else [str(place + 1) for place in range(len(groups))]
    return {name: " ".join(sign for sign, group in zip(signs, groups, strict=False) if name in group) for name in names}


@dataclass(frozen=True)
class RankedRow:
    """A ranked row's name and what its adapter uses."""

    name: str
    uses: Uses


def uses_shown(ranking: Ranking, uses: Mapping[str, Uses]) -> list[RankedRow]:
    """Return those of the ranked rows of which it is known what their adapters use."""
    return [RankedRow(name, uses[name]) for name in ranking.mean_ranks if name in uses]


def shown_labels(ranking: Ranking, uses: Mapping[str, Uses]) -> dict[str, str]:
    """Return each row's label with its marks, by name."""
    marks = {row.name: row.uses.mark for row in uses_shown(ranking, uses)}
    return {name: name + marks.get(name, "") for name in ranking.mean_ranks}


def render(ranking: Ranking, console: Console, *, uses: Mapping[str, Uses] | None = None) -> None:
    """Print the mean ranks with the groups of each test, the blocks and what the tests found; rows marked by what they use."""
    names = list(ranking.mean_ranks)
    labels = shown_labels(ranking, uses or {})
    letters = {test: group_letters(names, groups) for test, groups in ranking.groups.items()}
    grid = new_grid()
    add_names(grid, "Row", labels.values())
    grid.add_column("Mean rank", justify="right", no_wrap=True)
    for test in letters:
        grid.add_column(plain(POST_HOC_WORDS[test], console), overflow="fold")
    for name, mean in ranking.mean_ranks.items():
        grid.add_row(plain(labels[name], console), f"{mean:.2f}", *(of_test[name] for of_test in letters.values()))
    say(console, [TITLE], style="bold")
    console.print(grid)
    say(console, [_LETTERS, f"{len(ranking.blocks)} blocks: {'; '.join(ranking.blocks)}."])
    say(console, [*ranking_sentences(ranking), *mark_notes(uses_shown(ranking, uses or {}))])


def to_json(ranking: Ranking, *, uses: Mapping[str, Uses] | None = None) -> dict[str, Any]:
    """Return plain dicts, lists, strings and numbers; p-values are adjusted for all pairs."""
    rows = uses_shown(ranking, uses or {})
    return {
        "version": VERSION,
        "blocks": list(ranking.blocks),
        "data_sets": ranking.data_sets,
        "target_labels": [row.name for row in rows if row.uses.target_labels],
        "source_free": [row.name for row in rows if row.uses.source_free],
        "mean_ranks": dict(ranking.mean_ranks),
        "friedman": _friedman(ranking),
        "critical_difference": ranking.critical_difference,
        "groups": {test: [list(group) for group in groups] for test, groups in ranking.groups.items()},
        "p_values": {
            test: [{"rows": sorted(pair), "p": p} for pair, p in p_values.items()]
            for test, p_values in ranking.p_values.items()
        },
        "sentences": ranking_sentences(ranking),
    }


def _friedman(ranking: Ranking) -> dict[str, float | None] | None:
    if ranking.friedman is None:
        return None
    # JSON has no infinity: F is infinite where all blocks agree, and p then says it.
    return {name: None if value == float("inf") else float(value) for name, value in ranking.friedman._asdict().items()}
