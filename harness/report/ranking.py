"""A ranking on a terminal and as JSON: mean ranks, and by letters which rows cannot be told apart."""

from __future__ import annotations

from string import ascii_lowercase
from typing import TYPE_CHECKING, Any

from harness.ranking import ranking_sentences
from harness.report.terminal_grid import add_names, new_grid, plain, say

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rich.console import Console

    from harness.ranking import PostHoc, Ranking

VERSION = 1
TITLE = "Mean ranks in test accuracy, 1 is best"
POST_HOC_WORDS: Mapping[PostHoc, str] = {"nemenyi": "Nemenyi", "wilcoxon-holm": "Wilcoxon–Holm"}
_LETTERS = "Rows that share a letter are not shown to differ by that test."


def group_letters(names: Sequence[str], groups: Sequence[Sequence[str]]) -> dict[str, str]:
    """Return for each name the letters of its groups, ``a b``; numbers where there are more groups than letters."""
    signs = ascii_lowercase if len(groups) <= len(ascii_lowercase) else [str(place + 1) for place in range(len(groups))]
    return {name: " ".join(sign for sign, group in zip(signs, groups, strict=False) if name in group) for name in names}


def render(ranking: Ranking, console: Console) -> None:
    """Print the mean ranks with the groups of each test, the blocks and what the tests found."""
    names = list(ranking.mean_ranks)
    letters = {test: group_letters(names, groups) for test, groups in ranking.groups.items()}
    grid = new_grid()
    add_names(grid, "Row", names)
    grid.add_column("Mean rank", justify="right", no_wrap=True)
    for test in letters:
        grid.add_column(plain(POST_HOC_WORDS[test], console), overflow="fold")
    for name, mean in ranking.mean_ranks.items():
        grid.add_row(plain(name, console), f"{mean:.2f}", *(of_test[name] for of_test in letters.values()))
    say(console, [TITLE], style="bold")
    console.print(grid)
    say(console, [_LETTERS, f"{len(ranking.blocks)} blocks: {'; '.join(ranking.blocks)}."])
    say(console, ranking_sentences(ranking))


def to_json(ranking: Ranking) -> dict[str, Any]:
    """Return plain dicts, lists, strings and numbers; p-values are adjusted for all pairs."""
    return {
        "version": VERSION,
        "blocks": list(ranking.blocks),
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
