"""The three paired claims of a leaderboard: correction helps, alignment helps, the method helps.

Each may be made only against the controls that isolate it, so each difference here is in test accuracy (points), paired
by seed, between a row and one such control; or in robust accuracy, where an evaluator perturbed the test images.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Literal

from harness.compare import LEVEL, McNemar, PairedDifference, holm, mcnemar_exact, paired_difference
from harness.measures import MeasureSetting
from harness.power import power_sentence

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from harness.records import CellRecord
    from harness.rows import RowKey

ClaimName = Literal["correction", "alignment", "method"]
ReferenceName = Literal["curriculum", "sham", "finetune-source", "target-to-target", "finetune-target"]
Verdict = Literal["shown", "not shown", "harmful", "no interval", "not applicable"]

REFERENCES: Mapping[ClaimName, tuple[ReferenceName, ...]] = {
    "correction": ("curriculum", "sham"),
    "alignment": ("finetune-source", "target-to-target"),
    "method": ("finetune-target",),
}
CLAIM_WORDS: Mapping[ClaimName, str] = {
    "correction": "correction helps",
    "alignment": "alignment helps",
    "method": "the method helps",
}
REFERENCE_WORDS: Mapping[ReferenceName, str] = {
    "curriculum": "curriculum",
    "sham": "sham",
    "finetune-source": "finetune-source",
    "target-to-target": "T→T",
    "finetune-target": "finetune-target",
}


@dataclass(frozen=True, kw_only=True)
class Reference:
    """A row against one control: the difference in points and McNemar's test per seed, or why there is none."""

    name: ReferenceName
    difference: PairedDifference | None = None
    mcnemar: Mapping[int, McNemar] = field(default_factory=dict)
    missing: str | None = None


@dataclass(frozen=True, kw_only=True)
class Claim:
    """One claim of one row.

    ``p`` is that of its weakest reference, 1 where one points down; ``harm_p`` that of the opposite, 1 where one points up;
    ``holm_p`` and ``harm_holm_p`` are the same adjusted over the table's rows.
    """

    name: ClaimName
    references: tuple[Reference, ...]
    verdict: Verdict
    p: float | None = None
    holm_p: float | None = None
    harm_p: float | None = None
    harm_holm_p: float | None = None

    @property
    def lasts(self) -> bool:
        """Whether what is shown, or the harm, outlasts Holm's adjustment over the table's rows."""
        p = self.harm_holm_p if self.verdict == "harmful" else self.holm_p
        return p is not None and p <= LEVEL

    @property
    def missing(self) -> tuple[str, ...]:
        """Why references are missing."""
        return tuple(reference.missing for reference in self.references if reference.missing)


@dataclass(frozen=True, kw_only=True)
class Claims:
    """The three claims of one row."""

    correction: Claim
    alignment: Claim
    method: Claim

    def __iter__(self) -> Iterator[Claim]:
        yield from (self.correction, self.alignment, self.method)

    @property
    def references(self) -> tuple[Reference, ...]:
        """All five references, in the order of the claims."""
        return tuple(reference for claim in self for reference in claim.references)


@dataclass(frozen=True)
class Outcome:
    """What rows are compared by: a record's share of right labels, and for each test image whether its label is right."""

    share: Callable[[CellRecord], float]
    right: Callable[[CellRecord], Sequence[bool]]

    def points(self, records: Mapping[int, CellRecord]) -> dict[int, float]:
        """Return the share in points, by seed."""
        return {seed: 100 * self.share(record) for seed, record in records.items()}


def _accuracy(record: CellRecord) -> float:
    return record.accuracy.test


def _right(record: CellRecord) -> list[bool]:
    return [label == said for label, said in zip(record.test.labels, record.test.predictions, strict=True)]


def _held(name: str, record: CellRecord) -> list[bool]:
    return next(one.held or [] for one in record.measures if one.name == name)


def _held_share(name: str, record: CellRecord) -> float:
    held = _held(name, record)
    return sum(held) / len(held)


CLEAN = Outcome(_accuracy, _right)


def _robust(name: str) -> Outcome:
    return Outcome(partial(_held_share, name), partial(_held, name))


def claims_of(groups: Mapping[RowKey, Mapping[int, CellRecord]], outcome: Outcome = CLEAN) -> dict[RowKey, Claims]:
    """Judge every method row of a table: ``groups`` are its rows' records by seed."""
    controls = _controls(groups)
    raw = {
        key: {name: _claim(name, key, groups, controls, outcome) for name in REFERENCES}
        for key in groups
        if key.is_method
    }
    for name in REFERENCES:
        _adjust(name, raw)
    return {key: Claims(**claims) for key, claims in raw.items()}


def robust_claims_of(groups: Mapping[RowKey, Mapping[int, CellRecord]]) -> dict[str, dict[RowKey, Claims]]:
    """Judge the method rows by each evaluator that perturbed, by its name.

    A row is compared only with rows that were measured in the same setting, on the same test images.
    """
    alike: dict[MeasureSetting, dict[RowKey, dict[int, CellRecord]]] = {}
    for key, row in groups.items():
        for seed, record in row.items():
            for setting in [MeasureSetting.of(one) for one in record.measures if one.held]:
                alike.setdefault(setting, {}).setdefault(key, {})[seed] = record
    judged: dict[str, dict[RowKey, Claims]] = {}
    for setting, rows in alike.items():
        judged.setdefault(setting.name, {}).update(claims_of(rows, _robust(setting.name)))
    return judged


def difference_between(
    ours: Mapping[int, CellRecord], theirs: Mapping[int, CellRecord], outcome: Outcome = CLEAN
) -> PairedDifference:
    """Compare test accuracies, or another outcome, in points, paired by seed."""
    return paired_difference(outcome.points(ours), outcome.points(theirs))


def claim_sentence(claim: Claim, label: str) -> str:
    """Say one claim, its evidence and its verdict."""
    return f"{CLAIM_WORDS[claim.name]}: {label} {_evidence(claim)}: {_verdict_words(claim)}"


def summary_sentence(name: ClaimName, claims: Sequence[Claims]) -> str:
    """Say in how many rows a claim is shown; ``claims`` are all method rows' of a table."""
    judged = [claim for row in claims for claim in row if claim.name == name and claim.verdict != "not applicable"]
    if not judged:
        return f"{CLAIM_WORDS[name]}: no row to judge"
    shown, harmful = ([claim for claim in judged if claim.verdict == verdict] for verdict in ("shown", "harmful"))
    clauses = [f"shown in {len(shown)} of {_rows(len(judged))}{_lasting(shown)}"]
    if harmful:
        clauses.append(f"harmful in {len(harmful)}{_lasting(harmful)}")
    if single := sum(claim.verdict == "no interval" for claim in judged):
        clauses.append(f"one seed and so no interval in {single}")
    if lacking := sum(bool(claim.missing) for claim in judged):
        clauses.append(f"a control is missing in {lacking}")
    return f"{CLAIM_WORDS[name]}: {', '.join(clauses)}"


def _lasting(claims: Sequence[Claim]) -> str:
    return f" ({sum(claim.lasts for claim in claims)} after Holm)" if claims else ""


def power_summary(claims: Sequence[Claims]) -> str | None:
    """Say what a table's seeds can show; None where no row is paired with a control, so that there is nothing to test."""
    differences = [reference.difference for row in claims for reference in row.references if reference.difference]
    families = [sum(row_claim.p is not None for row_claim in named) for named in zip(*claims, strict=True)]
    return power_sentence(differences, comparisons=max(families)) if differences else None


def p_words(difference: PairedDifference, mcnemar: Mapping[int, McNemar]) -> list[str]:
    """Say the p-values that stand in place of an interval (one seed), or beside it (Wilcoxon's from enough seeds on)."""
    if difference.n == 1:
        return [f"McNemar p = {test.p:.2g}" for test in mcnemar.values()]
    tests = {"p": difference.p, "Wilcoxon p": difference.wilcoxon_p}
    return [f"{name} = {p:.2g}" for name, p in tests.items() if p is not None]


def _rows(count: int) -> str:
    return "1 row" if count == 1 else f"{count} rows"


def _claim(
    name: ClaimName,
    key: RowKey,
    groups: Mapping[RowKey, Mapping[int, CellRecord]],
    controls: Controls,
    outcome: Outcome,
) -> Claim:
    reason = _moot(name, key, groups[key])
    if reason is not None:
        absent = tuple(Reference(name=reference, missing=reason) for reference in REFERENCES[name])
        return Claim(name=name, references=absent, verdict="not applicable")
    references = tuple(_reference(reference, key, groups, controls, outcome) for reference in REFERENCES[name])
    return Claim(
        name=name,
        references=references,
        verdict=_verdict(references),
        p=_weakest(references, sign=1),
        harm_p=_weakest(references, sign=-1),
    )


def _moot(name: ClaimName, key: RowKey, records: Mapping[int, CellRecord]) -> str | None:
    """Say why a row cannot make a claim at all, None where it can."""
    if name == "correction" and key.is_curriculum:
        return "nothing is corrected in this row"
    if name != "method" and not all(record.adaptation.source for record in records.values()):
        return "the adapter does not look at T'"
    return None


def _reference(
    name: ReferenceName,
    key: RowKey,
    groups: Mapping[RowKey, Mapping[int, CellRecord]],
    controls: Controls,
    outcome: Outcome,
) -> Reference:
    found = controls.get((name, key.model, *_IN_COMMON[name](key)), [])
    if len(found) != 1:
        return Reference(name=name, missing=f"{'several rows' if found else 'no row'} for {REFERENCE_WORDS[name]}")
    ours, theirs = groups[key], groups[found[0]]
    if not ours.keys() & theirs.keys():
        return Reference(name=name, missing=f"no seed in common with {REFERENCE_WORDS[name]}")
    difference = difference_between(ours, theirs, outcome)
    tests = {seed: _mcnemar(outcome.right(ours[seed]), outcome.right(theirs[seed])) for seed in difference.per_seed}
    return Reference(name=name, difference=difference, mcnemar=tests)


Controls = dict[tuple[str, ...], list["RowKey"]]
"""A table's controls by which reference they are, their model, and what they have in common with the rows they control for."""

_IN_COMMON: Mapping[ReferenceName, Callable[[RowKey], tuple[str, ...]]] = {
    "curriculum": lambda key: (key.adapter,),
    "sham": lambda key: (key.corrector or "none", key.adapter),
    "finetune-source": lambda key: (key.corrector or "none",),
    "target-to-target": lambda key: (key.adapter,),
    "finetune-target": lambda _: (),
}


def _controls(rows: Iterable[RowKey]) -> Controls:
    """Sort out which rows are controls, once: a search among all rows for each row grows with the square of a table."""
    found: Controls = {}
    for row in rows:
        for name, in_common in _IN_COMMON.items():
            if row.is_curriculum if name == "curriculum" else row.control == name:
                found.setdefault((name, row.model, *in_common(row)), []).append(row)
    return found


def _verdict(references: Sequence[Reference]) -> Verdict:
    differences = [reference.difference for reference in references if reference.difference]
    if any(difference.n == 1 for difference in differences):
        return "no interval"
    # equal differences have an interval of no width, which is no evidence: p is None for them
    bounds = [(item.low, item.high) for item in differences if item.p is not None]
    if len(bounds) < len(references):
        return "not shown"
    if all(low is not None and low > 0 for low, _ in bounds):
        return "shown"
    if all(high is not None and high < 0 for _, high in bounds):
        return "harmful"
    return "not shown"


def _weakest(references: Sequence[Reference], *, sign: int) -> float | None:
    """Return the p of a claim that needs all its references (an intersection-union test), 1 where one points the other way."""
    differences = [reference.difference for reference in references if reference.difference]
    p_values = [(1.0 if sign * item.mean <= 0 else item.p) for item in differences if item.p is not None]
    return max(p_values) if len(p_values) == len(references) else None


def _adjust(name: ClaimName, raw: Mapping[RowKey, dict[ClaimName, Claim]]) -> None:
    family = [claims for claims in raw.values() if claims[name].p is not None]
    up, down = (holm([getattr(claims[name], field) for claims in family]) for field in ("p", "harm_p"))
    for claims, better, worse in zip(family, up, down, strict=True):
        claims[name] = replace(claims[name], holm_p=better, harm_holm_p=worse)


def _mcnemar(ours: Sequence[bool], theirs: Sequence[bool]) -> McNemar:
    return mcnemar_exact([1] * len(ours), [int(right) for right in ours], [int(right) for right in theirs])


def _evidence(claim: Claim) -> str:
    parts: list[str] = []
    for reference in claim.references:
        if reference.difference:
            unit = "" if parts else " points"
            notes = ", ".join([f"n = {reference.difference.n}", *p_words(reference.difference, reference.mcnemar)])
            parts.append(f"{reference.difference}{unit} over {REFERENCE_WORDS[reference.name]} ({notes})")
    absent = ", ".join(dict.fromkeys(claim.missing))
    return " ".join([*([", ".join(parts)] if parts else []), *([f"({absent})"] if absent else [])])


def _verdict_words(claim: Claim) -> str:
    if claim.verdict == "no interval":
        return "n = 1: no interval"
    lows = [reference.difference.low for reference in claim.references if reference.difference]
    if claim.verdict == "not shown" and not claim.missing and all(low is not None and low > 0 for low in lows):
        return "not shown (the same gain for every seed: no spread to test against)"
    adjusted = claim.harm_holm_p if claim.verdict == "harmful" else claim.holm_p
    if claim.verdict in {"shown", "harmful"} and adjusted is not None and not claim.lasts:
        return f"{claim.verdict}, but not after Holm (p = {adjusted:.2g})"
    return claim.verdict
