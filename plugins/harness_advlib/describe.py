"""Make the table of adv-lib's attacks: ``python -m harness_advlib.describe`` writes attacks.json."""

from __future__ import annotations

import inspect
from types import NoneType
from typing import TYPE_CHECKING, Any, cast, get_args, get_type_hints

from harness.api import DEFAULT_EPS, Entry, Norm, Parameter, Table, ValueType
from harness_advlib.attacks import BRIDGE
from harness_advlib.library import function
from harness_advlib.names import our_name
from harness_advlib.offered import LEFT_OUT, OFFERS
from harness_advlib.vocabulary import ALWAYS_GIVEN, L1_ONLY, PIXEL_UNITS, UNOFFERED, UNOFFERED_IN, WORDS, WORDS_IN

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from harness_advlib.offered import Offer

__all__ = ["LEFT_OUT", "describe"]

_CHOICES: Mapping[str, tuple[str, ...]] = {"loss_function": ("ce", "dlr")}


def describe() -> Table:
    """Return the table of the installed library's attacks. Raises ``PluginError`` where it is not installed."""
    return BRIDGE.described(_entry(offer) for offer in OFFERS)


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
    word = word.sized(offer.norm) if name in PIXEL_UNITS else word
    return word.parameter(
        name,
        _default(name, offer.norm, default),
        kind=_kind(hint),
        optional=NoneType in get_args(hint),
        choices=_CHOICES.get(name, ()),
    )


def _kind(hint: Any) -> ValueType:
    """Return the one of our types that an annotation names, alone or among others such as None and tensors."""
    for kind in (bool, int, float, str):
        if hint is kind or kind in get_args(hint):
            return cast("ValueType", kind.__name__)
    raise TypeError(f"an annotation {hint}: expected bool, int, float or str")


def _default(name: str, norm: Norm, default: Any) -> Any:
    if name == "eps":
        return DEFAULT_EPS[norm]
    return 4 * DEFAULT_EPS[norm] if name == "max_eps" else default


if __name__ == "__main__":
    BRIDGE.write(describe())
