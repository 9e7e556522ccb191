"""The records of several results folders as those of one: what folders share is taken once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from harness.printed_settings import robust_measure

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from harness.records import CellRecord


def distinct(records: Iterable[CellRecord], wanted: Mapping[str, Any]) -> list[CellRecord]:
    """Return each cell once, in the order of its first record.

    Where records of a cell differ in what evaluators measured alone, the one with the ``wanted`` measure (see
    ``measure_wanted``) on most samples is kept. Records that contradict each other are all kept: whoever groups them says so.
    """
    groups: dict[str, list[CellRecord]] = {}
    for record in records:
        name = f"{record.comparable.key} {record.cell.model_dump_json()}"
        groups.setdefault(name, []).append(record)
    return [record for group in groups.values() for record in _best(group, wanted)]


def _best(group: Sequence[CellRecord], wanted: Mapping[str, Any]) -> Sequence[CellRecord]:
    if any(_result(record) != _result(group[0]) for record in group):
        return group
    return [max(group, key=lambda record: (_samples(record, wanted), len(record.measures)))]


def _result(record: CellRecord) -> tuple[object, ...]:
    """Return what a cell came to, evaluators aside."""
    return record.correction, record.adaptation, record.accuracy, record.test, record.quantized, record.search


def _samples(record: CellRecord, wanted: Mapping[str, Any]) -> int:
    measure = robust_measure(record, wanted) if wanted else None
    return measure.samples if measure else 0
