"""A contest: sides that do the same work in turn, round after round, and the rows of a table that come of it.

The machine's speed drifts, by a fifth and more within minutes. So a round has every side once, and what counts is the ratio
within a round.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field

import torch
from contest_sides import ENVIRONMENTS, Work

FORMAT = "adcorda-harness/peers/1"
PEER, KEPT, OURS = ENVIRONMENTS


@dataclass(frozen=True)
class Row:
    """A line of the table: whose seconds are divided by whose, what the ratio is to reach, and what must hold beside it.

    ``kept`` is the entrant that is the peer with our allocator. ``checks``: statements that read well whether they hold or not.
    """

    what: str
    against: str
    target: float | None = None
    peer: str = PEER
    ours: str = OURS
    kept: str | None = KEPT
    checks: dict = field(default_factory=dict)
    remark: str = ""


class Contest:
    """Times entrants in turn. The last one's seconds are pytest-benchmark's too, there with the way to the process and back."""

    def __init__(self, benchmark, sides, data, *, rounds, small):
        self.benchmark = benchmark
        self.sides = sides
        self.rounds = rounds
        self.seconds = {}
        settings = {name: side.settings() for name, side in sides.items()}
        threads, *others = {one["threads"] for one in settings.values()}
        assert not others, settings
        allocator = {name: one["allocator"] for name, one in settings.items()}
        benchmark.extra_info.update(
            format=FORMAT,
            small=small,
            data=data,
            torch=torch.__version__,
            threads=threads,
            allocator=allocator,
            rows=[],
        )

    def race(self, entrants, *, once=()):
        """Time entrants, a name with a side and its work each; returns what each tells of its last result.

        Those named in ``once`` run in the first round alone.
        """
        self.seconds = {name: [] for name in entrants}
        *others, last = entrants
        for side, work in entrants.values():
            self.sides[side].prepare(work)

        def timed(name):
            side, work = entrants[name]
            self.seconds[name].append(self.sides[side].seconds(work))

        def others_first():
            for name in others:
                if not (name in once and self.seconds[name]):
                    timed(name)
            return (last,), {}

        self.benchmark.pedantic(timed, setup=others_first, rounds=self.rounds)
        return {name: self.sides[side].told(work) for name, (side, work) in entrants.items()}

    def ask(self, entrant):
        """Return what an entrant tells that is not in the race."""
        side, work = entrant
        self.sides[side].prepare(work)
        self.sides[side].seconds(work)
        return self.sides[side].told(work)

    def settle(self, *rows):
        """Keep the rows, and hold them to their checks."""
        self.benchmark.extra_info.update(seconds=self.seconds, rows=[asdict(row) for row in rows])
        failed = [said for row in rows for said, holds in row.checks.items() if not holds]
        assert not failed, failed


def both(work):
    """Return a peer's two entrants: as its user has it, and with our workers' allocator."""
    return {PEER: (PEER, work), KEPT: (KEPT, work)}


def ours(function, *, warm=None, **options):
    """Return the harness's entrant."""
    return OURS, Work(f"contest_ours.{function}", options, warm or {})


def theirs(function, *, warm=None, **options):
    """Return the work that a peer is given."""
    return Work(f"contest_theirs.{function}", options, warm or {})
