"""Rows of quantized classifiers, averaged over seeds: before and after quantizing, size and speed."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from harness.averages import if_all_have, over_seeds
from harness.records import SPEEDS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from harness.averages import Statistic
    from harness.records import CellRecord, Timed


@dataclass(frozen=True, kw_only=True)
class Precision:
    """A row's classifier in one precision: accuracies as shares in [0, 1], its size in MB (10^6 bytes), images/s.

    ``source`` is None where there is no ``T'``; ``megabytes`` where the quantizer does not know. ``simulated`` where integers were
    computed in float: the size is then what they would take, the speed the simulation's.
    """

    source: Statistic | None
    train: Statistic
    valid: Statistic
    test: Statistic
    megabytes: float | None
    images_per_second: Statistic | None
    simulated: bool = False


@dataclass(frozen=True, kw_only=True)
class BeforeAfter:
    """A row before quantizing, in full precision, and after, which is what the row's own columns show.

    ``timed`` is what both were timed on, None where the seeds differ in that or a record does not tell.
    """

    before: Precision
    after: Precision
    timed: Timed | None = None


def before_after_of(records: Mapping[int, CellRecord]) -> BeforeAfter | None:
    """Average a quantized row's seeds; None where the row is not quantized."""
    found = {seed: record.quantized for seed, record in records.items() if record.quantized is not None}
    if len(found) < len(records):
        return None
    full_speed, quantized_speed = (if_all_have(records, partial(_time, name)) for name in SPEEDS)
    first = next(iter(found.values()))
    return BeforeAfter(
        before=Precision(
            source=if_all_have(found, lambda one: one.before.source),
            train=over_seeds(found, lambda one: one.before.train),
            valid=over_seeds(found, lambda one: one.before.valid),
            test=over_seeds(found, lambda one: one.before.test),
            megabytes=first.full_precision_bytes / 1e6,
            images_per_second=full_speed,
        ),
        after=Precision(
            source=if_all_have(records, lambda record: record.accuracy.source),
            train=over_seeds(records, lambda record: record.accuracy.train),
            valid=over_seeds(records, lambda record: record.accuracy.valid),
            test=over_seeds(records, lambda record: record.accuracy.test),
            megabytes=None if first.num_bytes is None else first.num_bytes / 1e6,
            images_per_second=quantized_speed,
            simulated=any(one.simulated for one in found.values()),
        ),
        timed=first.timed if len({one.timed for one in found.values()}) == 1 else None,
    )


def _time(name: str, record: CellRecord) -> float | None:
    return record.times.get(name)
