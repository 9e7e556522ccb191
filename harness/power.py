"""What a comparison over few seeds can show at all: the smallest p of a rank test, the smallest gain that a t-test would see.

A signed-rank test over n pairs has 2^n equally likely outcomes under its null hypothesis (Wilcoxon, 1945), two of which are
the most extreme. The power of a t-test is the noncentral t distribution's (Cohen, Statistical Power Analysis, 1988), from
scipy.special: statsmodels' ``TTestPower``, which gives the same, takes 0.85 s to import, and every leaderboard states its power.
"""

from __future__ import annotations

import math
from statistics import median
from typing import TYPE_CHECKING

from harness.compare import LEVEL

if TYPE_CHECKING:
    from collections.abc import Sequence

    from harness.compare import PairedDifference

POWER = 0.8


def smallest_wilcoxon_p(n: int) -> float:
    """Return the smallest two-sided p that ``n`` >= 1 pairs can give, none of them zero; ties do not change it."""
    return math.ldexp(2.0, -n)


def pairs_for_wilcoxon(comparisons: int = 1, *, level: float = LEVEL) -> int:
    """Return how many pairs the test needs for a p below ``level`` after Holm over so many ``comparisons``."""
    n = 1
    while comparisons * smallest_wilcoxon_p(n) >= level:
        n += 1
    return n


def detectable_difference(spread: float, n: int, *, level: float = LEVEL, power: float = POWER) -> float:
    """Return the true difference that a two-sided paired t-test over ``n`` >= 2 pairs finds with probability ``power``.

    ``spread`` is the true standard deviation of the paired differences; the result is in its unit. A finding of the wrong sign
    does not count, whose probability is below 1e-6 at 80%.
    """
    from scipy.special import nctdtrinc, stdtrit

    critical = stdtrit(n - 1, 1 - level / 2)
    return spread * float(nctdtrinc(n - 1, 1 - power, critical)) / math.sqrt(n)


def median_unbiased(sample_spread: float, n: int) -> float:
    """Return an estimate of the true standard deviation that is too small half the time.

    A sample's own is too small more often: of three values, by a sixth in the median. Of normal values n-1 variances over the true
    one follow a chi-squared distribution with n-1 degrees of freedom.
    """
    from scipy.special import chdtri

    return sample_spread * math.sqrt((n - 1) / float(chdtri(n - 1, 0.5)))


def power_sentence(differences: Sequence[PairedDifference], *, comparisons: int) -> str:
    """Say what differences in points, one or more, could have shown over their seeds; Holm adjusts over so many ``comparisons``."""
    counts = sorted({difference.n for difference in differences})
    return f"power: {_student_words(differences, counts)}; by Wilcoxon {_wilcoxon_words(counts, comparisons)}"


def _student_words(differences: Sequence[PairedDifference], counts: Sequence[int]) -> str:
    found = [
        detectable_difference(median_unbiased(difference.spread, difference.n), difference.n)
        for difference in differences
        if difference.spread
    ]
    if not found:
        return (
            f"{_seeds(counts)}, and so no spread to test against"
            if counts == [1]
            else "no difference varies over seeds"
        )
    points = median(found)
    among = f", median of {len(found)} differences" if len(found) > 1 else ""
    return (
        f"with {_seeds(counts)} a difference of {points:.{1 if points >= 1 else 2}f} points would be seen 4 times in 5 "
        f"(t-test{among})"
    )


def _wilcoxon_words(counts: Sequence[int], comparisons: int) -> str:
    alone, adjusted = pairs_for_wilcoxon(), pairs_for_wilcoxon(max(1, comparisons))
    holm = f"after Holm over {comparisons} rows" if adjusted > alone else ""
    seeds, most = _seeds(counts), counts[-1]
    if most < alone:
        return f"{seeds} cannot reach p < {LEVEL}, {alone} can" + (f", {adjusted} {holm}" if holm else "")
    reached = f"{_seeds([most])} can reach p < {LEVEL}"
    if not holm:
        return reached
    return f"{reached}, {holm} too" if most >= adjusted else f"{reached}, but not {holm}: {adjusted} can"


def _seeds(counts: Sequence[int]) -> str:
    few, most = counts[0], counts[-1]
    return f"{most} seed{'s' * (most > 1)}" if few == most else f"{few} to {most} seeds"
