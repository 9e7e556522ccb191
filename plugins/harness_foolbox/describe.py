"""Write ``attacks.json``: the options as Foolbox's signatures have them, and what these do not say.

``python -m harness_foolbox.describe`` writes the table for the Foolbox that is installed.
"""

from __future__ import annotations

import inspect
import re
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin

from harness.api import Entry, Parameter, Table
from harness_foolbox.attacks import BRIDGE
from harness_foolbox.facts import FACTS
from harness_foolbox.library import load
from harness_foolbox.vocabulary import DEFAULTS, EPS, LEFT_OUT_OPTIONS, PIXEL_UNITS, vocabulary

if TYPE_CHECKING:
    from collections.abc import Mapping

    from harness.api import Norm
    from harness_foolbox.fact import Fact

_NONE = type(None)

LEFT_OUT: Mapping[str, str] = {"Attack": "the base class of the others, no attack of its own"}
"""What ``foolbox.attacks`` exports and this bridge does not offer, with the reason."""

_WORDS = re.compile(r"Linfinity|Linf|LInf|L[012]|DeepFool|NewtonFool|[A-Z]+(?![a-z])|[A-Z][a-z]+")


def describe() -> Table:
    """Return the table of the Foolbox that is installed.

    Raises ``PluginError`` where none is, ``KeyError`` for a parameter that nobody described.
    """
    attacks = load().attacks
    return BRIDGE.described(_entry(getattr(attacks, target), fact) for target, fact in FACTS.items())


def exported() -> dict[str, type]:
    """Return the attack classes that ``foolbox.attacks`` exports, each once, by their own names."""
    attacks = load().attacks
    found = (value for value in vars(attacks).values() if isinstance(value, type) and issubclass(value, attacks.Attack))
    return {kind.__name__: kind for kind in found}


def kebab(target: str) -> str:
    """Return a class's name in kebab-case, without its last word ``Attack``; GenAttack keeps it, being called so."""
    stem = target if target == "GenAttack" else target.removesuffix("Attack")
    return "-".join(word.lower() for word in _WORDS.findall(stem))


def _entry(kind: type, fact: Fact) -> Entry:
    base = load().attacks.base
    target, fixed = kind.__name__, issubclass(kind, base.FixedEpsilonAttack)
    eps = (EPS[fact.norm],) if fixed else ()
    return Entry(
        name=kebab(target),
        attribute=target,
        target=target,
        summary=fact.summary,
        norm=fact.norm,
        targeted=fact.targeted,
        untargeted=fact.untargeted,
        gradients=fact.gradients,
        stochastic=fact.stochastic,
        budget="minimal" if issubclass(kind, base.MinimizationAttack) else "fixed",
        examples=fact.examples,
        options=(*eps, *_options(kind, fact.norm)),
        needs=fact.needs,
        remark=fact.remark,
    )


def _options(kind: type, norm: Norm) -> list[Parameter]:
    parameters = inspect.signature(kind).parameters
    skipped = LEFT_OUT_OPTIONS.get(kind.__name__, frozenset()) | LEFT_OUT_OPTIONS[""]
    return [_option(kind.__name__, name, parameters[name], norm) for name in parameters if name not in skipped]


def _option(target: str, name: str, parameter: inspect.Parameter, norm: Norm) -> Parameter:
    word = vocabulary(target, name)
    word = word.sized(norm) if name in PIXEL_UNITS else word
    default = DEFAULTS[target, name] if parameter.default is inspect.Parameter.empty else parameter.default
    kinds = [kind for kind in (get_args(parameter.annotation) or (parameter.annotation,)) if kind is not _NONE]
    choices = tuple(choice for kind in kinds if get_origin(kind) is Literal for choice in get_args(kind))
    shown: Any = "str" if choices else kinds[0].__name__
    return word.parameter(name, default, kind=shown, optional=_NONE in get_args(parameter.annotation), choices=choices)


if __name__ == "__main__":
    BRIDGE.write(describe())
