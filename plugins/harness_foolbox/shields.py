"""Build Foolbox's attacks, with what keeps their known defects (version 3.3.4) from a user's results."""

from __future__ import annotations

from functools import partial
from math import prod
from typing import TYPE_CHECKING, Any

from harness.api import PluginError, per_sample, undo_rounding
from harness_foolbox.library import load

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from harness.api import Norm

BLACK_WHERE_FAILED = frozenset({"L2CarliniWagnerAttack", "EADAttack"})
"""Attacks that return black images for the samples that they found nothing for."""

NAN_WHERE_FLAT: Mapping[str, str] = {
    "NewtonFoolAttack": "divides by the squared norm of the gradient",
    "VirtualAdversarialAttack": "divides by the norm of the gradient",
}
"""Attacks that are known to return NaN for the samples whose gradient vanishes, and why: they stay unperturbed."""

ONE_FAILS_ALL: Mapping[str, str] = {
    "GenAttack": "probabilities contain NaN",
    "BinarizationRefinementAttack": "threshold does not match",
}
"""Attacks that raise for a whole batch because of one of its samples, and what they say then."""


def build(target: str, arguments: Mapping[str, Any]) -> Any:
    """Return Foolbox's attack of the class ``target``, shielded. Raises ``PluginError`` where it needs another package."""
    try:
        attack = getattr(load().attacks, target)(**arguments)
    except ModuleNotFoundError as error:
        package = str(error.name).partition(".")[0]
        raise PluginError(f'Foolbox\'s {target} needs {package}: run "pip install {package}"') from error
    if target in _PROJECTIONS:
        attack.project = partial(_PROJECTIONS[target], attack.project)
    return attack


def fails_alone(target: str, error: Exception) -> bool:
    """Tell whether the attack raised ``error`` because of one sample of the batch."""
    return target in ONE_FAILS_ALL and ONE_FAILS_ALL[target] in str(error)


def repaired(target: str, perturbed: Tensor, images: Tensor, *, norm: Norm, bounds: tuple[float, float]) -> Tensor:
    """Return ``perturbed`` (N, C, H, W), unperturbed where the attack is known to have no result for a sample.

    What lies beyond ``bounds`` by rounding is brought back. Larger violations are left for the harness to see, and so are values
    that are not finite in attacks that are not known for them.
    """
    perturbed = perturbed.detach()
    found = perturbed.new_ones(len(perturbed)).bool()
    if target in BLACK_WHERE_FAILED:
        found = (perturbed != 0).flatten(1).any(1)
    elif target in NAN_WHERE_FLAT:
        found = perturbed.isfinite().flatten(1).all(1)
    return undo_rounding(perturbed.where(per_sample(found, perturbed), images), images, norm=norm, bounds=bounds)


def _onto_l1(_: Any, x: Any, x0: Any, epsilon: float) -> Any:
    """Project onto the L1 ball as Foolbox's minimum-norm attack does; the sparse attack's own projection misses the ball.

    It enlarges samples inside the ball where another of the batch is outside, and leaves those outside whose entries all stay
    nonzero.
    """
    import eagerpy as ep
    from foolbox.attacks.fast_minimum_norm import project_onto_l1_ball

    return x0 + project_onto_l1_ball(x - x0, ep.full(x, (len(x),), epsilon))


def _onto_l0(project: Any, x: Any, x0: Any, epsilon: Any) -> Any:
    """Project onto the L0 ball; ``project`` reads past the last entry where all entries may change."""
    return project(x, x0, epsilon.minimum(float(prod(x0.shape[1:]) - 1)))


_PROJECTIONS: Mapping[str, Any] = {"SparseL1DescentAttack": _onto_l1, "L0FMNAttack": _onto_l0}
