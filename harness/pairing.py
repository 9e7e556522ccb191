"""Compare two sets of rows seed by seed: what `harness compare A B` answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.claims import difference_between, p_words
from harness.compare import LEVEL, McNemar, PairedDifference, holm, mcnemar_exact
from harness.errors import UsageError
from harness.marks import Uses, unmarked, uses_of
from harness.power import power_sentence
from harness.row_patterns import no_row
from harness.rows import RowKey

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from harness.records import CellRecord

EVALUATION_FIELDS = ("dataset", "data_fingerprint", "validation", "evaluation")
"""What must agree before two rows are compared: the same samples, split alike, judged alike."""

BySeed = dict[int, "CellRecord"]


@dataclass(frozen=True)
class Pairing:
    """Row B minus row A in test accuracy (points) over their common seeds, and per seed McNemar's test.

    ``differing`` names what else is not the same, so that a difference is not put down to one cause alone. ``uses``: what A's
    adapter uses, and B's.
    """

    first: str
    second: str
    difference: PairedDifference
    mcnemar: Mapping[int, McNemar]
    differing: tuple[str, ...]
    uses: tuple[Uses, Uses]

    @property
    def names(self) -> tuple[str, str]:
        """A's and B's names as they are shown, with their marks."""
        return self.first + self.uses[0].mark, self.second + self.uses[1].mark


def rows_of(records: Sequence[CellRecord]) -> dict[tuple[str, str], BySeed]:
    """Group records by (model, row label), then seed."""
    rows: dict[tuple[str, str], BySeed] = {}
    for record in records:
        rows.setdefault((record.cell.model, RowKey.of(record.cell).label), {})[record.cell.seed] = record
    return rows


def choose(records: Sequence[CellRecord], label: str, *, where: str) -> dict[tuple[str, str], BySeed]:
    """Return the rows called ``label``, or ``model/label``. Raises ``UsageError`` with the nearest name."""
    rows = rows_of(records)
    wanted = unmarked(label)
    found = {key: row for key, row in rows.items() if wanted in {key[1], f"{key[0]}/{key[1]}"}}
    if not found:
        raise no_row(where, label, sorted({name for _, name in rows}))
    return found


def pair(first: Mapping[tuple[str, str], BySeed], second: Mapping[tuple[str, str], BySeed]) -> list[Pairing]:
    """Pair one row with one row, or the rows of one name. Raises ``UsageError`` where nothing can be compared."""
    if len(first) == 1 and len(second) == 1:
        (one, ours), (other, theirs) = next(iter(first.items())), next(iter(second.items()))
        return [_pairing(" · ".join(one), ours, " · ".join(other), theirs)]
    common = [key for key in first if key in second]
    if not common:
        raise UsageError("the two have no row in common; name one of each with RESULTS#ROW")
    return [_pairing(" · ".join(key), first[key], " · ".join(key), second[key]) for key in common]


def sentences(pairings: Sequence[Pairing]) -> list[str]:
    """Say each difference with its evidence and its verdict, how many last after Holm, and what the seeds could have shown."""
    said = [_sentence(pairing) for pairing in pairings]
    p_values = [pairing.difference.p for pairing in pairings if pairing.difference.p is not None]
    if len(p_values) > 1 and (clear := sum(p < LEVEL for p in p_values)):
        lasting = sum(p < LEVEL for p in holm(p_values))
        said.append(f"Holm over {len(p_values)} comparisons: {lasting} of {clear} with p < {LEVEL} still have it")
    return [*said, power_sentence([pairing.difference for pairing in pairings], comparisons=len(p_values))]


def _sentence(pairing: Pairing) -> str:
    difference = pairing.difference
    evidence = ", ".join([f"n = {difference.n}", *p_words(difference, pairing.mcnemar)])
    first, second = pairing.names
    compared = (
        f"B over A of {second}: {difference} points"
        if pairing.first == pairing.second
        else f"{second}: {difference} points over {first}"
    )
    return f"{compared} ({evidence}): {_verdict(difference)}"


def _verdict(difference: PairedDifference) -> str:
    if difference.low is None or difference.high is None:
        return "n = 1: no interval"
    if difference.p is None:
        same = "the same difference for every seed: no spread to test against"
        return f"not shown ({same})" if difference.mean else "no difference"
    if difference.low > 0:
        return "better"
    return "worse" if difference.high < 0 else "no difference shown"


def _pairing(one: str, ours: BySeed, other: str, theirs: BySeed) -> Pairing:
    seeds = sorted(ours.keys() & theirs.keys())
    if not seeds:
        raise UsageError(f'"{one}" has seeds {sorted(ours)}, "{other}" has {sorted(theirs)}: none in common to pair by')
    differing = tuple(dict.fromkeys(field for seed in seeds for field in _differing(ours[seed], theirs[seed])))
    refused = [field for field in differing if field in EVALUATION_FIELDS]
    if refused:
        raise UsageError(f'"{one}" and "{other}" are not comparable: they differ in {", ".join(refused)}')
    mcnemar = {
        seed: mcnemar_exact(ours[seed].test.labels, theirs[seed].test.predictions, ours[seed].test.predictions)
        for seed in seeds
    }
    uses = (uses_of(ours.values()), uses_of(theirs.values()))
    return Pairing(one, other, difference_between(theirs, ours), mcnemar, differing, uses)


def _differing(one: CellRecord, other: CellRecord) -> tuple[str, ...]:
    ours, theirs = _facts(one), _facts(other)
    return tuple(field for field in ours if ours[field] != theirs[field])


def _facts(record: CellRecord) -> dict[str, object]:
    """Return what may explain a difference between two rows, besides the seed."""
    correction = record.correction
    made = correction and (correction.attack, correction.objective, correction.select, correction.options)
    return {
        **record.comparable.model_dump(exclude={"key"}),
        "source": (record.cell.control, made),
        "adapter": (record.adaptation.adapter, record.adaptation.options),
        "versions": record.versions,
    }
