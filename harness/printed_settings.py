"""What differs between a run's setting and a paper's, and what the paper does not print."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from harness.catalogue import PrintedSetting
    from harness.published import PublishedTable
    from harness.records import CellRecord, Measure

Status = Literal["same", "differs", "not printed", "not recorded"]

ROBUST = ("autoattack",)
"""Evaluators whose robust accuracy is the paper's."""
_TRAINED = "none: its weights were given"
_PIXEL_UNITS = ("eps", "alpha")


@dataclass(frozen=True, kw_only=True)
class ComparedSetting:
    """One setting, theirs beside ours, in words; None where the paper does not print it, or the records do not hold it."""

    label: str
    theirs: str | None
    ours: str | None
    status: Status


def compared_settings(
    table: PublishedTable, model: str, dataset: str, rows: Iterable[tuple[str | None, Iterable[CellRecord]]]
) -> list[ComparedSetting]:
    """Compare the settings of our rows with those printed for a model on a data set.

    ``rows`` are the records of each, with the preset that they answer to; None for a baseline.
    """
    facts = facts_of(rows, measure_wanted(table))
    compared = []
    presets = set(table.paper.correctors.values())
    for setting in table.settings:
        part = setting.key.partition(".")[0]
        if part in presets and not any(key.startswith(f"{part}.") for key in facts):
            continue  # of a corrector without a row, or the curriculum, which has no options
        compared.append(_compared(setting, setting.for_pair(model, dataset), facts.get(setting.key, [])))
    return compared


def facts_of(
    rows: Iterable[tuple[str | None, Iterable[CellRecord]]], robust: Mapping[str, Any]
) -> dict[str, list[Any]]:
    """Return what records say of their settings, each distinct value once, by keys such as ``budget.lr`` or ``vbi.steps``."""
    facts: dict[str, list[Any]] = {}
    seeds = set()
    for preset, records in rows:
        for record in records:
            seeds.add(record.cell.seed)
            for key, value in (*_facts(record, robust), *_made(preset, record)):
                known = facts.setdefault(key, [])
                if value not in known:
                    known.append(value)
    return {"seeds": [sorted(seeds)], **facts} if seeds else {}


def measure_wanted(table: PublishedTable) -> dict[str, Any]:
    """Return the norm and eps of the paper's robustness test, empty where it has none."""
    prefix = "robust."
    found = {setting.key.removeprefix(prefix): setting.value for setting in table.settings if prefix in setting.key}
    return {name: found[name] for name in ("norm", "eps") if name in found}


def robust_measure(record: CellRecord, wanted: Mapping[str, Any]) -> Measure | None:
    """Return what a record holds of the paper's robustness test: same evaluator, norm and eps."""
    return next((one for one in record.measures if _is_robust(one) and _fits(one, wanted)), None)


def other_measures(records: Iterable[CellRecord], wanted: Mapping[str, Any]) -> list[str]:
    """Return the threats of the robustness tests that were run with another norm or eps."""
    measures = (one for record in records for one in record.measures if _is_robust(one) and not _fits(one, wanted))
    return list(dict.fromkeys(f"{one.norm} {one.eps:.4g}" for one in measures if one.eps is not None))


def _is_robust(measure: Measure) -> bool:
    return measure.evaluator.rpartition("/")[2] in ROBUST


def _fits(measure: Measure, wanted: Mapping[str, Any]) -> bool:
    return all(same(getattr(measure, name), value) for name, value in wanted.items())


def _facts(record: CellRecord, robust: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    comparable = record.comparable.model_dump(mode="json")
    if record.search is not None:
        comparable["budget"] |= {name: value for name, value in record.search.training.items() if value is not None}
    if comparable["baseline"] is None:
        comparable["baseline"] = dict.fromkeys(("epochs", "batch_size", "optimizer", "lr"), _TRAINED)
    yield from _flat(comparable)
    yield from _flat({"counts": record.counts, "versions": record.versions, "environment": record.environment})
    if record.quantized is not None:
        yield from _flat({"quantized": record.quantized.model_dump(mode="json")})
    if record.adaptation.steps:
        yield "adapter", record.adaptation.adapter.rpartition("/")[2]
        yield from _flat({"adapter": record.adaptation.options})
        # The last batch of an epoch may be smaller.
        epoch = math.ceil(record.counts["train"] / comparable["budget"]["batch_size"])
        yield "adaptation.epochs", round(record.adaptation.steps / epoch, 2)
        yield "tuning", _tuning(record)
    measure = robust_measure(record, robust) if robust else None
    if measure is not None:
        found = {"norm": measure.norm, "eps": measure.eps, "samples": measure.samples}
        if measure.batch_size is not None:
            found["batch_size"] = measure.batch_size
        yield from _flat({"robust": {**measure.options, **found}})


def _made(preset: str | None, record: CellRecord) -> Iterator[tuple[str, Any]]:
    """Return what attacked and how, under the preset's name, whatever the corrector is called."""
    made = record.correction
    if preset is not None and made is not None and made.attack is not None:
        named = {"attack": made.attack, "objective": made.objective, "select": made.select}
        yield from _flat({preset: {**named, **made.options}})


def _tuning(record: CellRecord) -> str:
    """Say what chose the settings of an adaptation: ``grid over batch_size, lr``, or nothing."""
    if record.search is None:
        return "none"
    tuned = sorted(name.removeprefix("adaptation.") for name in record.search.space)
    return f"{record.search.sampler} over {', '.join(tuned)}"


def _flat(mapping: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in mapping.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _compared(setting: PrintedSetting, value: Any, found: Sequence[Any]) -> ComparedSetting:
    name = setting.key.rpartition(".")[2]
    ours = "; ".join(words(one, name) for one in found) if found else None
    if value is None:
        return ComparedSetting(label=setting.label, theirs=None, ours=ours, status="not printed")
    theirs = words(value, name)
    if setting.printed:
        theirs = (
            setting.printed if isinstance(value, str) and not _is_number(value) else f"{theirs} ({setting.printed})"
        )
    status: Status = "not recorded"
    if found:
        status = "same" if all(same(one, value) for one in found) else "differs"
    return ComparedSetting(label=setting.label, theirs=theirs, ours=ours, status=status)


def words(value: Any, name: str = "") -> str:
    """Write a value: pixel units as fractions of 255 where they are, large numbers in groups of three digits."""
    if isinstance(value, list):
        return ", ".join(words(one) for one in value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return "not set" if value is None else str(value)
    if name in _PIXEL_UNITS and value and math.isclose(255 * value, round(255 * value), abs_tol=1e-6):
        return f"{round(255 * value)}/255"
    return f"{value:,}" if isinstance(value, int) else f"{value:.4g}"


def _is_number(value: Any) -> bool:
    return _number(value) is not None


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        return float(Fraction(value))
    except (ValueError, ZeroDivisionError):
        return None


def same(ours: Any, theirs: Any) -> bool:
    """Whether two values are the same, numbers and fractions such as ``8/255`` by what they amount to."""
    first, second = _number(ours), _number(theirs)
    if first is not None and second is not None:
        return math.isclose(first, second, rel_tol=1e-6)
    return bool(ours == theirs)
