"""Make the table of torchattacks' attacks: ``python -m harness_torchattacks.describe`` writes attacks.json."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

from harness.api import DEFAULT_EPS, Entry, Norm, Parameter, Table, Word
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
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from harness_torchattacks.offered import Offer

__all__ = ["LEFT_OUT", "describe"]


def describe() -> Table:
    """Return the table of the installed library's attacks. Raises ``PluginError`` where it is not installed."""
    library = import_torchattacks()
    return BRIDGE.described(_entry(offer, getattr(library, offer.target)) for offer in OFFERS)


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
        word = Word(f"{kind.capitalize()} {axis} of a patch, in pixels.", minimum=1)
        yield word.parameter(f"{kind}_{axis}", value)


def _parameter(offer: Offer, name: str, default: Any) -> Parameter:
    word = WORDS_IN.get((offer.target, name)) or WORDS[name]
    if name in PIXEL_UNITS or (offer.target, name) in PIXEL_UNITS_IN:
        word = word.sized(offer.norm)
    return word.parameter(name, _default(name, offer.norm, default))


def _default(name: str, norm: Norm, default: Any) -> Any:
    if name == "eps":
        return DEFAULT_EPS[norm]
    if name == "target_classes":  # the library counts the label to leave
        return default - 1
    return GAUSSIAN if default == "guassian" else default


if __name__ == "__main__":
    BRIDGE.write(describe())
