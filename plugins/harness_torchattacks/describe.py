"""Make the table of torchattacks' attacks: ``python -m harness_torchattacks.describe`` writes attacks.json."""

from __future__ import annotations

import inspect
import json
from typing import TYPE_CHECKING, Any, get_args

from harness.api import Entry, Norm, Parameter, Table
from harness_torchattacks.attacks import BRIDGE
from harness_torchattacks.library import import_torchattacks
from harness_torchattacks.offered import LEFT_OUT, OFFERS
from harness_torchattacks.vocabulary import (
    GAUSSIAN,
    PIXEL_UNITS,
    PIXEL_UNITS_IN,
    RENAMED,
    RENAMED_IN,
    UNOFFERED,
    UNOFFERED_IN,
    WORDS,
    WORDS_IN,
    Kind,
    Word,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from harness_torchattacks.offered import Offer

__all__ = ["LEFT_OUT", "describe"]

DEFAULT_EPS: Mapping[str, float] = {"linf": 8 / 255, "l2": 0.5}
"""The budget that attacks of every library start from here."""


def describe() -> dict[str, Any]:
    """Return the table of the installed library's attacks."""
    library = import_torchattacks()
    entries = sorted((_entry(offer, getattr(library, offer.target)) for offer in OFFERS), key=lambda entry: entry.name)
    version = str(BRIDGE.library.version)
    table = Table(distribution=BRIDGE.library.distribution, version=version, attacks=tuple(entries))
    return table.model_dump(mode="json", exclude_defaults=True)


def _entry(offer: Offer, attack: type) -> Entry:
    return Entry(
        name=offer.label,
        attribute="".join(part.capitalize() for part in offer.label.split("-")),
        target=offer.target,
        summary=offer.summary,
        norm=offer.norm,
        targeted=offer.targeted,
        untargeted=offer.untargeted,
        gradients=offer.gradients,
        stochastic=offer.stochastic,
        budget=offer.budget,
        options=tuple(_options(offer, attack)),
        constants=dict(offer.constants),
        remark=offer.remark,
    )


def _options(offer: Offer, attack: type) -> Iterator[Parameter]:
    for name, parameter in inspect.signature(attack).parameters.items():
        where = (offer.target, name)
        if name == "model" or name in offer.constants or name in UNOFFERED or where in UNOFFERED_IN:
            continue
        if isinstance(parameter.default, tuple):
            yield from _range(name, parameter.default)
        else:
            yield _parameter(offer, RENAMED_IN.get(where, RENAMED.get(name, name)), parameter.default)


def _range(name: str, default: tuple[int, int]) -> Iterator[Parameter]:
    """Split a pair of limits, such as a patch's smallest and largest side, into two options."""
    axis = {"x": "width", "y": "height"}[name[0]]
    for kind, value in zip(("smallest", "largest"), default, strict=True):
        described = f"{kind.capitalize()} {axis} of a patch, in pixels."
        yield Parameter(name=f"{kind}_{axis}", type="int", default=value, description=described, minimum=1)


def _parameter(offer: Offer, name: str, default: Any) -> Parameter:
    word = WORDS_IN.get((offer.target, name)) or WORDS[name]
    kind = word.kind or _kind(default)
    return Parameter(
        name=name,
        type=kind,
        default=_default(name, offer.norm, float(default) if kind == "float" else default),
        description=word.description,
        **{**_limits(word), "maximum": _largest(offer, name, word)},
    )


def _largest(offer: Offer, name: str, word: Word) -> float | None:
    """Return the limit of an option; what is in pixels' units in L-inf cannot exceed their range."""
    return (
        1.0
        if offer.norm == "linf" and (name in PIXEL_UNITS or (offer.target, name) in PIXEL_UNITS_IN)
        else word.maximum
    )


def _limits(word: Word) -> dict[str, Any]:
    return {"minimum": word.minimum, "above": word.above, "maximum": word.maximum, "choices": word.choices}


def _kind(default: Any) -> Kind:
    found = type(default).__name__
    for kind in get_args(Kind):
        if found == kind:
            return kind  # type: ignore[no-any-return]
    raise TypeError(f"a default of type {found}: expected one of {', '.join(get_args(Kind))}")


def _default(name: str, norm: Norm, default: Any) -> Any:
    if name == "eps":
        return DEFAULT_EPS[norm]
    if name == "target_classes":  # the library counts the label to leave
        return default - 1
    return GAUSSIAN if default == "guassian" else default


if __name__ == "__main__":
    BRIDGE.table_path.write_text(json.dumps(describe(), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
