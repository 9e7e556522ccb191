"""Quantities of a row's records, averaged over its seeds."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING, TypeVar

from harness.compare import sample_std

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

RecordT = TypeVar("RecordT")


@dataclass(frozen=True, kw_only=True)
class Statistic:
    """A quantity over seeds: its mean and sample std (n-1; None for one seed)."""

    mean: float
    std: float | None
    per_seed: Mapping[int, float]


def statistic(per_seed: Mapping[int, float]) -> Statistic:
    """Average one number a seed, of which there is at least one."""
    values = list(per_seed.values())
    return Statistic(mean=fmean(values), std=sample_std(values), per_seed=per_seed)


def over_seeds(records: Mapping[int, RecordT], value: Callable[[RecordT], float]) -> Statistic:
    """Average a quantity that every seed has."""
    return statistic({seed: value(record) for seed, record in records.items()})


def if_all_have(records: Mapping[int, RecordT], value: Callable[[RecordT], float | None]) -> Statistic | None:
    """Average a quantity, None where a seed lacks it."""
    found = _found(records, value)
    return statistic(found) if len(found) == len(records) else None


def where_any_has(records: Mapping[int, RecordT], value: Callable[[RecordT], float | None]) -> Statistic | None:
    """Average a quantity over the seeds that have it, None where none does."""
    found = _found(records, value)
    return statistic(found) if found else None


def _found(records: Mapping[int, RecordT], value: Callable[[RecordT], float | None]) -> dict[int, float]:
    values = {seed: value(record) for seed, record in records.items()}
    return {seed: number for seed, number in values.items() if number is not None}
