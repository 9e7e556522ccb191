"""Describe the installed pyautoattack: ``python -m harness_autoattack.describe`` writes the table of its attacks."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

from harness.api import DEFAULT_EPS, Entry, Parameter, Table
from harness_autoattack.attacks import BRIDGE
from harness_autoattack.vocabulary import EPS, NORM_NAMES, NOT_OPTIONS, UNUSED, WORDS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from harness.api import Norm, Spending

LEFT_OUT: Mapping[str, str] = {
    "AutoAttack": "runs the others one after the other: the evaluator autoattack",
    "FABAttack": "the abstract base of FABAttack_PT",
    "FABAttack_TF": "for TensorFlow",
}
"""Classes of the library that are no attack of the table, with the reason."""

_APGD_L1 = "; in l1 by Croce and Hein, 2021, arXiv:2103.01208"
_ROUNDING = (
    "Its projection misses the l1 ball by float32's rounding, the more the larger the image, when it projects a random start "
    "(5e-4 at 3 × 32 × 32, 1e-2 at 3 × 224 × 224): what it returns is scaled back onto the ball."
)


@dataclass(frozen=True)
class Kind:
    """One of AutoAttack's parts, whatever the norm."""

    name: str
    attribute: str
    target: str
    summary: str
    constants: Mapping[str, Any]
    remark: str
    targeted: bool = True
    gradients: bool = True
    stochastic: bool = True
    budget: Spending = "fixed"
    without: frozenset[str] = frozenset()
    l1: str = ""


KINDS = (
    Kind(
        "apgd-ce",
        "APGDCE",
        "autopgd_base.APGDAttack",
        "Climb the cross-entropy in steps that halve when progress stalls (Croce and Hein, 2020, arXiv:2003.01690{l1}).",
        {"loss": "ce"},
        "Toward given labels it lowers the cross-entropy with them, by the library's own loss.",
        l1=_APGD_L1,
    ),
    Kind(
        "apgd-dlr",
        "APGDDLR",
        "autopgd_base.APGDAttack",
        "Climb the difference of logits ratio, which rescaled logits do not change (Croce and Hein, 2020, "
        "arXiv:2003.01690{l1}).",
        {"loss": "dlr"},
        "Needs at least 3 classes. It flees labels alone; apgd-t approaches them.",
        targeted=False,
        l1=_APGD_L1,
    ),
    Kind(
        "apgd-t",
        "APGDT",
        "autopgd_base.APGDAttack_targeted",
        "Climb the targeted difference of logits ratio, one target class after the other (Croce and Hein, 2020, "
        "arXiv:2003.01690{l1}).",
        {},
        "Needs at least 4 classes. Toward given labels it makes for those alone, away from the likeliest other label of each "
        "iterate.",
        l1=_APGD_L1,
    ),
    Kind(
        "fab",
        "FAB",
        "fab_pt.FABAttack_PT",
        "Project onto the nearest linearized decision boundary, for a minimal perturbation (Croce and Hein, 2020, "
        "arXiv:1907.02044).",
        {"targeted": False},
        "Takes as many backward passes a step as there are classes. What it finds beyond eps does not count. With "
        "n_restarts above 1 it is stochastic: the later starts are random. It flees labels alone; fab-t approaches them.",
        targeted=False,
        budget="minimal",
        stochastic=False,
        without=frozenset({"n_target_classes"}),
    ),
    Kind(
        "fab-t",
        "FABT",
        "fab_pt.FABAttack_PT",
        "Project onto the linearized boundary with one target class after the other, for a minimal perturbation (Croce and "
        "Hein, 2020, arXiv:2003.01690).",
        {"targeted": True},
        "What it finds beyond eps does not count. With n_restarts above 1 it is stochastic: the later starts are random. "
        "Toward given labels it projects onto their boundary with the likeliest other label of each iterate.",
        budget="minimal",
        stochastic=False,
    ),
    Kind(
        "square",
        "Square",
        "square.SquareAttack",
        "Try random squares, without gradients, and keep those that help (Andriushchenko et al., 2020, arXiv:1912.00049{l1}).",
        {},
        "In l2 and l1 it needs images of at least 5 × 5 pixels that its tiles fit.",
        gradients=False,
        l1=_APGD_L1,
    ),
)


def describe() -> Table:
    """Return the table of the installed version. Raises ``PluginError`` where none is installed."""
    return BRIDGE.described(_entry(kind, norm) for kind in KINDS for norm in NORM_NAMES)


def _entry(kind: Kind, norm: Norm) -> Entry:
    return Entry(
        name=f"{kind.name}-{norm}",
        attribute=f"{kind.attribute}{norm.capitalize()}",
        target=kind.target,
        summary=kind.summary.format(l1=kind.l1 if norm == "l1" else ""),
        norm=norm,
        targeted=kind.targeted,
        untargeted=True,
        gradients=kind.gradients,
        stochastic=kind.stochastic,
        budget=kind.budget,
        options=tuple(_options(kind, norm)),
        constants={"norm": NORM_NAMES[norm], **kind.constants},
        remark=f"{kind.remark} {_ROUNDING}" if norm == "l1" and kind.target.startswith("autopgd") else kind.remark,
    )


def _options(kind: Kind, norm: Norm) -> Iterator[Parameter]:
    module, _, name = kind.target.rpartition(".")
    parameters = inspect.signature(getattr(import_module(f"pyautoattack.{module}"), name)).parameters
    words = WORDS[name]
    unknown = set(parameters) - set(words) - set(NOT_OPTIONS) - set(kind.constants)
    if unknown:
        raise ValueError(f"{name} takes {', '.join(sorted(unknown))}, which vocabulary.py has no word for: add one")
    yield EPS.sized(norm).parameter("eps", DEFAULT_EPS[norm])
    left_out = {*UNUSED[norm], *kind.without, *kind.constants}
    for option, word in words.items():
        if option not in left_out:
            yield word.parameter(option, parameters[option].default)


if __name__ == "__main__":
    BRIDGE.write(describe())
