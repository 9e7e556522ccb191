"""Make the table of adv-lib's attacks: ``python -m harness_advlib.describe`` writes attacks.json."""

from __future__ import annotations

import inspect
import json
from types import NoneType
from typing import TYPE_CHECKING, Any, cast, get_args, get_type_hints

from harness.api import Entry, Norm, Parameter, Table
from harness_advlib.attacks import BRIDGE
from harness_advlib.library import function
from harness_advlib.names import our_name
from harness_advlib.offered import LEFT_OUT, OFFERS
from harness_advlib.vocabulary import ALWAYS_GIVEN, L1_ONLY, PIXEL_UNITS, UNOFFERED, UNOFFERED_IN, WORDS, WORDS_IN, Kind

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from harness_advlib.offered import Offer

__all__ = ["LEFT_OUT", "describe"]

DEFAULT_EPS: Mapping[str, float] = {"l1": 12.0, "l2": 0.5, "linf": 8 / 255}
"""The budget that attacks of every library start from here."""

_CHOICES: Mapping[str, tuple[str, ...]] = {"loss_function": ("ce", "dlr")}


def describe() -> dict[str, Any]:
    """Return the table of the installed library's attacks."""
    entries = sorted((_entry(offer) for offer in OFFERS), key=lambda entry: entry.name)
    version = str(BRIDGE.library.version)
    table = Table(distribution=BRIDGE.library.distribution, version=version, attacks=tuple(entries))
    return table.model_dump(mode="json", exclude_defaults=True)


def _entry(offer: Offer) -> Entry:
    return Entry(
        name=offer.name,
        attribute="".join(part.capitalize() for part in offer.name.split("-")),
        target=offer.target,
        summary=offer.summary,
        norm=offer.norm,
        targeted=offer.targeted,
        untargeted=offer.untargeted,
        gradients=True,
        stochastic=offer.stochastic,
        budget=offer.budget,
        options=tuple(_options(offer)),
        constants=dict(offer.constants),
        remark=offer.remark,
    )


def _options(offer: Offer) -> Iterator[Parameter]:
    attack = function(offer.target)
    hints = get_type_hints(attack)
    for name, parameter in inspect.signature(attack).parameters.items():
        left_out = (
            ALWAYS_GIVEN | UNOFFERED.keys() | offer.constants.keys() | ({*L1_ONLY} if offer.norm != "l1" else set())
        )
        if name not in left_out and (offer.target, name) not in UNOFFERED_IN:
            yield _parameter(offer, our_name(offer.target, name), hints[name], parameter.default)


def _parameter(offer: Offer, name: str, hint: Any, default: Any) -> Parameter:
    word = WORDS_IN.get((offer.target, name)) or WORDS[name]
    kind = word.kind or _kind(hint)
    return Parameter(
        name=name,
        type=kind,
        default=_default(name, offer.norm, kind, default),
        optional=NoneType in get_args(hint),
        description=word.description,
        minimum=word.minimum,
        above=word.above,
        maximum=1.0 if offer.norm == "linf" and name in PIXEL_UNITS else word.maximum,
        choices=word.choices or _CHOICES.get(name, ()),
    )


def _kind(hint: Any) -> Kind:
    """Return the one of our types that an annotation names, alone or among others such as None and tensors."""
    for kind in (bool, int, float, str):
        if hint is kind or kind in get_args(hint):
            return cast("Kind", kind.__name__)
    raise TypeError(f"an annotation {hint}: expected bool, int, float or str")


def _default(name: str, norm: Norm, kind: Kind, default: Any) -> Any:
    if name == "eps":
        return DEFAULT_EPS[norm]
    if name == "max_eps":
        return 4 * DEFAULT_EPS[norm]
    if default is None:
        return None
    return {"float": float, "str": str}.get(kind, type(default))(default)


if __name__ == "__main__":
    BRIDGE.table_path.write_text(json.dumps(describe(), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
