"""Rows whose arms were tuned, over their seeds: what was tried and what was chosen, by validation alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from harness.averages import over_seeds

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from harness.averages import Statistic
    from harness.records import CellRecord, Search


@dataclass(frozen=True, kw_only=True)
class Tuning:
    """A row's searches. ``trials`` are those of each seed, ``distinct`` their settings apart from the order of the batches.

    ``valid`` is the winners' validation accuracy in [0, 1]; ``chosen`` holds each dimension's value a seed, ``repetitions`` how
    often a winner's settings had been tried before it. ``failed`` counts the trials of all seeds that came to nothing.
    """

    sampler: str
    trials: int
    distinct: Mapping[int, int]
    failed: int
    valid: Statistic
    chosen: Mapping[str, Mapping[int, Any]]
    repetitions: Mapping[int, int]


def tuning_of(records: Mapping[int, CellRecord]) -> Tuning | None:
    """Say how a row was tuned, None where a seed was not."""
    found = {seed: record.search for seed, record in records.items() if record.search}
    first = next(iter(found.values()), None)
    if first is None or len(found) < len(records):
        return None
    return Tuning(
        sampler=first.sampler,
        trials=len(first.trials),
        distinct={seed: sum(trial.repetition == 0 for trial in one.trials) for seed, one in found.items()},
        failed=sum(trial.failed is not None for one in found.values() for trial in one.trials),
        valid=over_seeds(found, lambda one: one.winner.valid or 0.0),
        chosen={name: {seed: one.winner.settings[name] for seed, one in found.items()} for name in first.space},
        repetitions={seed: one.winner.repetition for seed, one in found.items()},
    )


def untuned(options: Mapping[str, Any], search: Search | None, section: str) -> dict[str, Any]:
    """Return a plugin's options without those that were tuned, which may differ from seed to seed."""
    return {name: value for name, value in options.items() if name not in tuned_options(search, section)}


def tuned_options(search: Search | None, section: str) -> list[str]:
    """Name the options of an arm's adapter or corrector that were tuned; ``section`` is adapters or correctors."""
    names = search.space if search else {}
    return [name.rpartition(".")[2] for name in names if name.startswith(f"{section}.")]


def corrector_name(records: Iterable[CellRecord]) -> str:
    """Name the corrector of a row, with the options that a search chose for it where all seeds chose the same."""
    found = list(records)
    first = found[0]
    options = {name: value for name, value in _tuned(first).items() if all(_tuned(one)[name] == value for one in found)}
    told = ", ".join(f"{name}={value}" for name, value in options.items())
    return f"{first.cell.corrector}({told})" if told else str(first.cell.corrector)


def _tuned(record: CellRecord) -> dict[str, Any]:
    options = record.correction.options if record.correction else {}
    return {name: options.get(name) for name in tuned_options(record.search, "correctors")}
