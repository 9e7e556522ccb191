"""What may stand in one table: titles, and the fields in which tables differ."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from harness.records import Comparable

_GIST = {
    "steps": "{:,} steps",
    "epochs": "{:,} epochs",
    "batch_size": "batch {}",
    "optimizer": "{}",
    "lr": "lr {}",
    "sampler": "{} search",
    "trials": "{} trials",
}
_SHORT = 8  # letters of a fingerprint that are shown


def title(comparable: Comparable) -> str:
    """Name a table by its data set, model and the gist of its budget."""
    budget = {name.rpartition(".")[2]: value for name, value in _flat(comparable.budget) if ".space." not in name}
    gist = ", ".join(words.format(budget[name]) for name, words in _GIST.items() if budget.get(name) is not None)
    return " · ".join(part for part in (comparable.dataset, comparable.model, gist) if part)


def budget(comparable: Comparable) -> str:
    """Say all of the budget that is set: ``lr 0.01, momentum 0.9, …``."""
    return ", ".join(f"{_spaced(name)} {value}" for name, value in _flat(comparable.budget) if value is not None)


def notes(comparables: Sequence[Comparable]) -> list[str | None]:
    """Say for each table in which fields it differs from the others, None for the only one."""
    if len(comparables) == 1:
        return [None]
    fields = [_fields(comparable) for comparable in comparables]
    names = dict.fromkeys(name for one in fields for name in one)
    differing = [name for name in names if len({str(one.get(name)) for one in fields}) > 1]
    for whole, part in (
        ("model", "model_fingerprint"),
        ("dataset", "data_fingerprint"),
        ("model", "quantization.quantizer"),
    ):
        if whole in differing and part in differing:
            differing.remove(part)  # it follows, and says nothing more
    others = "table" if len(comparables) == 2 else "tables"
    return [
        f"Not comparable with the other {others}; here "
        + (
            ", ".join(
                f"{_spaced(name).removeprefix('budget.')} = {_value(one.get(name))}"
                for name in differing
                if name in one or not name.startswith("quantization.")  # full precision has none of it
            )
            or "another key"
        )
        for one in fields
    ]


def _fields(comparable: Comparable) -> dict[str, object]:
    whole = comparable.model_dump(exclude={"key"})
    fields = dict(_flat(whole))
    for name in ("data_fingerprint", "model_fingerprint"):
        fields[name] = str(fields[name])[:_SHORT]
    return fields


def _flat(mapping: Mapping[str, Any], prefix: str = "") -> list[tuple[str, object]]:
    pairs: list[tuple[str, object]] = []
    for name, value in mapping.items():
        pairs += _flat(value, f"{prefix}{name}.") if isinstance(value, dict) else [(prefix + name, value)]
    return pairs


def _value(value: object) -> str:
    return "not set" if value is None else str(value)


def _spaced(name: str) -> str:
    return name.replace("_", " ")
