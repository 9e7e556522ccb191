"""What adv-lib's parameters are called here: Latin letters, and the field's terms."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

_LETTERS: Mapping[str, str] = {
    "α": "alpha",
    "β": "beta",
    "γ": "gamma",
    "ε": "eps",
    "η": "eta",
    "μ": "mu",
    "ρ": "rho",
    "σ": "sigma",
    "τ": "tau",
}
_STEPS = frozenset({"iter", "max_iter", "max_iterations", "n_iter", "num_steps"})
_RENAMED_IN: Mapping[tuple[str, str], str] = {
    # Neither bounds the perturbation, as an option called eps does.
    ("fab", "ε"): "start_eps",
    ("tr", "eps"): "radius",
}
NUMBERS = frozenset({"grad_norm", "norm", "p", "proximal_operator"})
"""Parameters that are numbers there, infinity among them, and texts here."""


def our_name(target: str, name: str) -> str:
    """Return what the parameter ``name`` of the function ``target`` is called here."""
    if (target, name) in _RENAMED_IN:
        return _RENAMED_IN[target, name]
    return "steps" if name in _STEPS else "".join(_LETTERS.get(letter, letter) for letter in name)
