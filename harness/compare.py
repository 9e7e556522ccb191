"""Paired statistics on numbers: differences over seeds, McNemar on predictions, Holm over a family.

The t-interval is Student's; McNemar's test is the exact binomial one (McNemar, 1947); Wilcoxon's signed-rank test
(1945) is exact under ties too; adjusted p-values are Holm's (1979).

Distributions are scipy.special's, imported in 0.25 s. scipy.stats takes 0.6 s and statsmodels 0.85 s, which every leaderboard
would wait for, and what they add is a line or two each: the tests hold these functions against theirs.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import groupby
from statistics import fmean, stdev
from typing import TYPE_CHECKING, NamedTuple

from harness.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

LEVEL = 0.05
CONFIDENCE = 1 - LEVEL
MIN_SEEDS_WILCOXON = 6
_DIGITS = 9  # differences of accuracies that agree this far differ by rounding alone


@dataclass(frozen=True, kw_only=True)
class PairedDifference:
    """Ours minus theirs over the ``n`` common seeds, in the unit of the numbers compared.

    ``low`` and ``high`` bound the mean (95% t-interval), None for one seed. ``p`` is the paired t-test's, two-sided, None
    for one seed or where all differences are equal; ``wilcoxon_p`` is None below six seeds or where all are zero.
    """

    n: int
    mean: float
    low: float | None
    high: float | None
    p: float | None
    wilcoxon_p: float | None
    per_seed: Mapping[int, float]

    @property
    def spread(self) -> float | None:
        """Sample standard deviation (n-1) of the differences, None for one seed."""
        return sample_std(list(self.per_seed.values()))

    def __str__(self) -> str:
        if self.low is None or self.high is None:
            return f"{self.mean:+z.2f}"
        if self.p is None:
            return f"{self.mean:+z.2f} (every seed)"
        return f"{self.mean:+z.2f} [{self.low:+z.2f}, {self.high:+z.2f}]"


class McNemar(NamedTuple):
    """``b``: examples that we alone get right; ``c``: those that they alone do; ``p``: exact, two-sided."""

    b: int
    c: int
    p: float


def paired_difference(ours: Mapping[int, float], theirs: Mapping[int, float]) -> PairedDifference:
    """Compare two results by their common seeds. Raises ``UsageError`` where there is none."""
    seeds = sorted(ours.keys() & theirs.keys())
    if not seeds:
        raise UsageError(
            f"paired comparison: no seed in common, got {_listed(ours)} and {_listed(theirs)}; "
            "run both for the same seeds"
        )
    per_seed = {seed: round(ours[seed] - theirs[seed], _DIGITS) for seed in seeds}
    values = list(per_seed.values())
    mean = fmean(values)
    low, high, p = _student(values, mean)
    wilcoxon_p = wilcoxon_exact(values) if len(values) >= MIN_SEEDS_WILCOXON else None
    return PairedDifference(n=len(values), mean=mean, low=low, high=high, p=p, wilcoxon_p=wilcoxon_p, per_seed=per_seed)


def mcnemar_exact(labels: Sequence[int], ours: Sequence[int], theirs: Sequence[int]) -> McNemar:
    """Test two models' predictions on the same examples, as statsmodels' ``mcnemar(exact=True)`` does.

    Raises ``UsageError`` where the lengths differ.
    """
    if not len(labels) == len(ours) == len(theirs):
        raise UsageError(
            f"McNemar's test: got {len(labels)} labels, {len(ours)} and {len(theirs)} predictions, "
            "expected as many of each; compare models on the same test examples"
        )
    b = c = 0
    for label, mine, other in zip(labels, ours, theirs, strict=True):
        b += mine == label != other
        c += other == label != mine
    return McNemar(b, c, _two_sided_binomial(min(b, c), b + c))


def sample_std(values: Sequence[float]) -> float | None:
    """Return the sample standard deviation (n-1), None for fewer than two values."""
    return stdev(values) if len(values) > 1 else None


def holm(p_values: Sequence[float]) -> list[float]:
    """Return Holm's adjusted p-values, in the order given: those of statsmodels' ``multipletests(method="holm")``."""
    adjusted = [0.0] * len(p_values)
    running = 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        running = max(running, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = running
    return adjusted


def wilcoxon_exact(differences: Sequence[float]) -> float | None:
    """Return the signed-rank test's two-sided p: zeros dropped, ties at their mean rank; None if all are zero.

    Exact for any number of values: ``scipy.stats.wilcoxon(method="exact")`` takes the distribution without ties whatever the ties,
    and its permutations, which are right, come in full for few values alone.
    """
    doubled = _doubled_ranks([value for value in differences if value])
    if not doubled:
        return None
    ways = _subset_sums([rank for rank, _ in doubled])
    positive = sum(rank for rank, sign in doubled if sign)
    smaller = min(positive, len(ways) - 1 - positive)
    return min(1.0, 2 * sum(ways[: smaller + 1]) / (1 << len(doubled)))


def _doubled_ranks(values: Sequence[float]) -> list[tuple[int, bool]]:
    """Return twice the mid-rank of each |value|, an integer, and whether the value is positive."""
    ranked: list[tuple[int, bool]] = []
    for _, tied in groupby(sorted(values, key=abs), key=abs):
        group = list(tied)
        first, last = len(ranked) + 1, len(ranked) + len(group)
        ranked += [(first + last, value > 0) for value in group]
    return ranked


def _subset_sums(weights: Sequence[int]) -> list[int]:
    """Count, for each total, the subsets of ``weights`` that add up to it."""
    ways = [1]
    for weight in weights:
        padded = ways + [0] * weight
        ways = [count + (padded[total - weight] if total >= weight else 0) for total, count in enumerate(padded)]
    return ways


def _student(values: Sequence[float], mean: float) -> tuple[float | None, float | None, float | None]:
    spread = sample_std(values)
    if spread is None:
        return None, None, None
    if spread == 0:
        return mean, mean, None
    from scipy.special import stdtr, stdtrit

    freedom = len(values) - 1
    error = spread / math.sqrt(len(values))
    margin = float(stdtrit(freedom, (1 + CONFIDENCE) / 2)) * error
    return mean - margin, mean + margin, float(2 * stdtr(freedom, -abs(mean) / error))


def _two_sided_binomial(successes: int, trials: int) -> float:
    from scipy.special import bdtr

    return min(1.0, 2 * float(bdtr(successes, trials, 0.5))) if trials else 1.0


def _listed(by_seed: Mapping[int, float]) -> str:
    return f"seeds {', '.join(map(str, sorted(by_seed)))}" if by_seed else "no seeds"
