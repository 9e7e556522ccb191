"""Approaches ranked over many problems: mean ranks, Friedman's test, and the groups that cannot be told apart.

Friedman's test on ranks, with the F statistic of Iman and Davenport, and Nemenyi's critical difference as for classifiers over data
sets (Demšar, JMLR 7, 2006); pairwise Wilcoxon tests under Holm, which unlike mean ranks do not depend on what else was ranked
(Benavoli, Corani and Mangili, JMLR 17, 2016). Imported by the commands that rank alone, so scipy.stats may take its time.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Literal, NamedTuple

from harness.compare import LEVEL, holm, wilcoxon_exact
from harness.errors import UsageError
from harness.power import pairs_for_wilcoxon

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

PostHoc = Literal["nemenyi", "wilcoxon-holm"]
Pair = frozenset[str]

MIN_BLOCKS = 8
MIN_NAMES = 3
_DIGITS = 9  # scores that agree this far are tied: means over seeds differ by rounding alone


class Friedman(NamedTuple):
    """The test of no difference: chi-squared (corrected for ties), Iman and Davenport's F, and the p of each."""

    chi_squared: float
    chi_squared_p: float
    f: float
    p: float


@dataclass(frozen=True, kw_only=True)
class Ranking:
    """Names ranked by score over blocks, 1 for the highest.

    ``mean_ranks`` are best first, ``friedman`` is None where everything ties everywhere. ``p_values``: each pair's by post-hoc
    test, adjusted for all pairs. ``groups``: the largest sets without a pair that differs at ``LEVEL``, best first; one group of
    all where Friedman's test does not say that there are differences. ``dropped``: sentences on what had no complete scores.
    ``data_sets``: how many the blocks are of, None where that is not known.
    """

    blocks: tuple[str, ...]
    mean_ranks: Mapping[str, float]
    friedman: Friedman | None
    critical_difference: float
    p_values: Mapping[PostHoc, Mapping[Pair, float]]
    groups: Mapping[PostHoc, tuple[tuple[str, ...], ...]]
    dropped: tuple[str, ...]
    data_sets: int | None = None

    @property
    def problems(self) -> str:
        """What the ranks are taken over: ``8 blocks over 2 data sets``."""
        over = "" if self.data_sets is None else f" over {self.data_sets} data set{'s' * (self.data_sets != 1)}"
        return f"{len(self.blocks)} blocks{over}"

    @property
    def shares_data_sets(self) -> bool:
        """Whether some blocks are of one data set, and so less than independent."""
        return self.data_sets is not None and self.data_sets < len(self.blocks)

    @property
    def differ(self) -> bool:
        """Whether Friedman's test says that the names differ at all."""
        return self.friedman is not None and self.friedman.p < LEVEL

    def __str__(self) -> str:
        ranks = ", ".join(f"{name} {rank:.2f}" for name, rank in self.mean_ranks.items())
        return f"mean ranks over {self.problems}: {ranks}"


def rank(blocks: Mapping[str, Mapping[str, float]], *, data_sets: Mapping[str, str] | None = None) -> Ranking:
    """Rank names by their scores in each block, a problem of its own such as a data set with a model; higher is better.

    ``data_sets``: which one each block is of; the tests take blocks to be independent, and those that share one are less than that.
    Only complete cases count: of blocks and names, what lacks the largest share of scores is dropped until every name has one in
    every block; but of the last eight blocks none that has half of the names. Raises ``UsageError`` where fewer than eight
    blocks or three names are left, and for scores that are no finite numbers.
    """
    _check_finite(blocks)
    kept, names, dropped = _complete(blocks)
    _check_enough(kept, names, dropped)
    scores = [[round(blocks[block][name], _DIGITS) for name in names] for block in kept]
    ranks = _ranks(scores)
    means = {name: sum(row[place] for row in ranks) / len(ranks) for place, name in enumerate(names)}
    mean_ranks = dict(sorted(means.items(), key=lambda item: (item[1], item[0])))
    friedman = _friedman(ranks)
    p_values: dict[PostHoc, dict[Pair, float]] = {
        "nemenyi": _nemenyi(mean_ranks, len(kept)),
        "wilcoxon-holm": _wilcoxon_holm(names, scores),
    }
    differ = friedman is not None and friedman.p < LEVEL
    groups = {test: _groups(list(mean_ranks), p if differ else dict.fromkeys(p, 1.0)) for test, p in p_values.items()}
    return Ranking(
        blocks=tuple(kept),
        mean_ranks=mean_ranks,
        friedman=friedman,
        critical_difference=critical_difference(len(names), len(kept)),
        p_values=p_values,
        groups=groups,
        dropped=dropped,
        data_sets=len({data_sets[block] for block in kept}) if data_sets else None,
    )


def critical_difference(names: int, blocks: int, *, level: float = LEVEL) -> float:
    """Return how far apart two mean ranks must lie to differ by Nemenyi's test: q · sqrt(k(k + 1) / 6N) (Demšar, 2006)."""
    from scipy.stats import studentized_range

    quantile = float(studentized_range.ppf(1 - level, names, math.inf)) / math.sqrt(2)
    return quantile * _rank_error(names, blocks)


def ranking_sentences(ranking: Ranking) -> list[str]:
    """Say what the tests found, what they could have found, and what was dropped."""
    count, blocks = len(ranking.mean_ranks), len(ranking.blocks)
    pairs = count * (count - 1) // 2
    needed = pairs_for_wilcoxon(pairs)
    power = f"by Wilcoxon and Holm {blocks} blocks {'can' if blocks >= needed else 'cannot'} tell one of {pairs} pairs apart"
    power += "" if blocks >= needed else f", {needed} can"
    return [
        *_independence(ranking),
        _friedman_sentence(ranking),
        f"Nemenyi: mean ranks differ from {ranking.critical_difference:.2f} on (k = {count}, N = {blocks}, level {LEVEL})",
        f"power: {power}",
        *ranking.dropped,
    ]


def _independence(ranking: Ranking) -> list[str]:
    if not ranking.shares_data_sets:
        return []
    said = "pairs that share a data set are less than independent, which these tests take them for: p-values tend to be too small"
    return [f"{ranking.problems}: {said}"]


def _friedman_sentence(ranking: Ranking) -> str:
    found = ranking.friedman
    if found is None:
        return "Friedman: all rows tie in every block: nothing tells them apart"
    by_f = f"F = {found.f:.2f}, p = {found.p:.2g} (Iman and Davenport)"
    by_chi_squared = f"chi-squared = {found.chi_squared:.2f}, p = {found.chi_squared_p:.2g}"
    verdict = "the rows differ" if ranking.differ else "not shown that any rows differ, and so all stand in one group"
    return f"Friedman: {by_f}; {by_chi_squared}: {verdict}"


def _check_finite(blocks: Mapping[str, Mapping[str, float]]) -> None:
    for block, scores in blocks.items():
        for name, score in scores.items():
            if not math.isfinite(score):
                raise UsageError(
                    f'ranking: "{name}" has the score {score} in block "{block}", expected a finite number; leave it out there'
                )


def _complete(blocks: Mapping[str, Mapping[str, float]]) -> tuple[list[str], list[str], tuple[str, ...]]:
    """Return the blocks and names that are left when each has all of the other, and sentences on what was dropped."""
    kept = list(blocks)
    names = list(dict.fromkeys(name for scores in blocks.values() for name in scores))
    dropped: list[str] = []
    while True:
        absent = [(block, name) for block in kept for name in names if name not in blocks[block]]
        if not absent:
            return kept, names, tuple(dropped)
        by_name, by_block = Counter(name for _, name in absent), Counter(block for block, _ in absent)
        (name, blocks_without), (block, names_without) = by_name.most_common(1)[0], by_block.most_common(1)[0]
        needed = len(kept) <= MIN_BLOCKS and names_without <= len(names) / 2
        if needed or blocks_without / len(kept) >= names_without / len(names):
            dropped.append(f'dropped: "{name}", which has no score in {blocks_without} of {len(kept)} blocks')
            names.remove(name)
        else:
            dropped.append(f'dropped: block "{block}", which lacks {names_without} of {len(names)} rows')
            kept.remove(block)


def _check_enough(kept: Sequence[str], names: Sequence[str], dropped: Sequence[str]) -> None:
    left = f" left ({'; '.join(dropped)})" if dropped else ""
    if len(kept) < MIN_BLOCKS:
        raise UsageError(
            f"ranking: got {len(kept)} block{'s' * (len(kept) != 1)}{left}, expected at least {MIN_BLOCKS} pairs of a data set "
            "and a model; seeds are no blocks, since runs on one data set with one model are not independent problems; run the "
            'experiment on more data sets or models, or compare two rows seed by seed with "harness compare"'
        )
    if len(names) < MIN_NAMES:
        raise UsageError(
            f"ranking: got {len(names)} row{'s' * (len(names) != 1)}{left}, expected at least {MIN_NAMES} that every block has; "
            'compare two rows with "harness compare"'
        )


def _ranks(scores: Sequence[Sequence[float]]) -> list[list[float]]:
    from scipy.stats import rankdata

    return [[float(place) for place in rankdata([-score for score in row])] for row in scores]


def _friedman(ranks: Sequence[Sequence[float]]) -> Friedman | None:
    """Test the ranks (N, k); they are what scipy's test would rank again."""
    from scipy.stats import f as f_distribution
    from scipy.stats import friedmanchisquare

    blocks, names = len(ranks), len(ranks[0])
    if all(len(set(row)) == 1 for row in ranks):
        return None
    tested = friedmanchisquare(*zip(*ranks, strict=True))
    chi_squared = float(tested.statistic)
    # At the largest value that chi-squared can take, all blocks agree and F is infinite; rounding must not make it negative.
    room = max(0.0, blocks * (names - 1) - chi_squared)
    f = (blocks - 1) * chi_squared / room if room > 1e-9 else math.inf
    p = float(f_distribution.sf(f, names - 1, (names - 1) * (blocks - 1)))
    return Friedman(chi_squared, float(tested.pvalue), f, p)


def _rank_error(names: int, blocks: int) -> float:
    return math.sqrt(names * (names + 1) / (6 * blocks))


def _nemenyi(mean_ranks: Mapping[str, float], blocks: int) -> dict[Pair, float]:
    from scipy.stats import studentized_range

    error = _rank_error(len(mean_ranks), blocks) / math.sqrt(2)
    pairs = list(combinations(mean_ranks, 2))
    apart = [abs(mean_ranks[one] - mean_ranks[other]) / error for one, other in pairs]
    p_values = studentized_range.sf(apart, len(mean_ranks), math.inf)
    return {frozenset(pair): float(p) for pair, p in zip(pairs, p_values, strict=True)}


def _wilcoxon_holm(names: Sequence[str], scores: Sequence[Sequence[float]]) -> dict[Pair, float]:
    raw: dict[Pair, float] = {}
    for (place, one), (other_place, other) in combinations(enumerate(names), 2):
        p = wilcoxon_exact([round(row[place] - row[other_place], _DIGITS) for row in scores])
        raw[frozenset({one, other})] = 1.0 if p is None else p
    return dict(zip(raw, holm(list(raw.values())), strict=True))


def _groups(names: Sequence[str], p_values: Mapping[Pair, float]) -> tuple[tuple[str, ...], ...]:
    """Return the maximal cliques of names whose pairs do not differ, each in the order of ``names``."""
    import networkx as nx

    graph = nx.Graph()
    graph.add_nodes_from(names)
    graph.add_edges_from(tuple(pair) for pair, p in p_values.items() if p >= LEVEL)
    places = {name: place for place, name in enumerate(names)}
    cliques = [sorted(places[name] for name in clique) for clique in nx.find_cliques(graph)]
    return tuple(tuple(names[place] for place in clique) for clique in sorted(cliques))
