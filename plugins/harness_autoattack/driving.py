"""Drive pyautoattack's attacks: away from labels as the library does it, toward labels through a view of the classifier.

The library has targets for one purpose, to leave a label by way of every other. Toward a given label its losses and
projections are the same, with two classes in view: the wanted label, and the likeliest of the others.
"""

from __future__ import annotations

import inspect
import logging
from importlib import import_module
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import torch
from pyautoattack.autopgd_base import APGDAttack_targeted
from pyautoattack.fab_pt import FABAttack_PT

from harness.api import per_sample, per_sample_norm, undo_rounding
from harness_autoattack.containing import contained
from harness_autoattack.views import OTHER, WANTED, View, WantedView

if TYPE_CHECKING:
    from torch import Tensor

    from harness.api import Classifier, Criterion, Entry, Norm, Options

ASIDE = SimpleNamespace(warning=logging.getLogger(__name__).info)
"""Takes the place of a logger: zero gradients are common on the way, and an attack has no reader for a warning."""

SECOND_LIKELIEST = 2
"""How the library calls the target class that it tries first; of two classes, the one that is not predicted."""


class Drive:
    """An attack of the table with its options, ready for a batch of samples none of which has reached its objective."""

    def __init__(self, entry: Entry, options: Options) -> None:
        self.entry = entry
        self.options = options.model_dump()
        module, _, name = entry.target.rpartition(".")
        self.kind: Any = getattr(import_module(f"pyautoattack.{module}"), name)
        self.parameters = inspect.signature(self.kind).parameters

    def __call__(self, classifier: Classifier, images: Tensor, criterion: Criterion) -> Tensor:
        """Return the perturbed images (n, C, H, W), those that the attack fails on unperturbed."""
        seed = int(torch.randint(2**31, ()))
        with contained():
            torch.manual_seed(seed)
            view = View(classifier, images)
            unit = view.to_unit(images)
            if criterion.targeted and self.entry.gradients:
                found = self._approach(classifier, images, criterion, unit)
            else:
                attack = self._attack(view, seed, classes=classifier.num_classes, targeted=criterion.targeted)
                found = attack.perturb(unit, criterion.labels)
            eps = self.options["eps"] / view.range
            return view.to_pixels(within(found, unit, self.entry.norm, eps))

    def _approach(self, classifier: Classifier, images: Tensor, criterion: Criterion, unit: Tensor) -> Tensor:
        """Start anew, as often as there are restarts, with those that have not reached their label."""
        perturbed, left = unit.clone(), torch.arange(len(unit), device=unit.device)
        for restart in range(self.options["n_restarts"]):
            width = 2 if issubclass(self.kind, FABAttack_PT) else None
            view = WantedView(classifier[left], images, criterion.labels[left], width=width)
            found = (self._project if width else self._ascend)(view, unit[left], restart)
            reached = (found != unit[left]).flatten(1).any(1)
            perturbed[left[reached]] = found[reached]
            left = left[~reached]
            if len(left) == 0:
                break
        return perturbed

    def _ascend(self, view: WantedView, unit: Tensor, _restart: int) -> Tensor:
        """Run APGD once, on a loss with the wanted label."""
        kind = ApproachByCE if self.entry.constants.get("loss") == "ce" else Approach
        seed = int(torch.randint(2**31, ()))
        attack = kind(view, **self._arguments(view, seed, n_restarts=1, n_target_classes=1), logger=ASIDE)
        found: Tensor = attack.perturb(unit, _others(unit))
        return found

    def _project(self, view: WantedView, unit: Tensor, restart: int) -> Tensor:
        """Run FAB once, from a random start but the first time; what it finds beyond eps does not count."""
        attack = self.kind(view, **self._arguments(view, seed=0))
        attack.target_class = SECOND_LIKELIEST
        found = attack.attack_single_run(unit, _others(unit), use_rand_start=restart > 0, is_targeted=True)
        far = per_sample_norm(found - unit, self.entry.norm) > attack.eps
        return torch.where(per_sample(far, unit), unit, found)

    def _attack(self, view: View, seed: int, *, classes: int, targeted: bool) -> Any:
        changed: dict[str, Any] = {}
        if "n_target_classes" in self.options:
            changed["n_target_classes"] = min(self.options["n_target_classes"], classes - 1)
        if not self.entry.gradients:
            changed["targeted"] = targeted
        if self.kind.__module__.endswith("autopgd_base"):
            changed["logger"] = ASIDE
        return self.kind(view, **{**self.entry.constants, **self._arguments(view, seed, **changed)})

    def _arguments(self, view: View, seed: int, **changed: Any) -> dict[str, Any]:
        eps = self.options["eps"] / view.range
        norm = self.entry.constants["norm"]
        return {
            **self.options,
            "eps": eps,
            "norm": norm,
            "seed": seed,
            "device": view.device,
            "verbose": False,
            **changed,
        }


def _others(unit: Tensor) -> Tensor:
    """Return the label (n,) that every sample of a ``WantedView`` is to leave."""
    return torch.full((len(unit),), OTHER, dtype=torch.long, device=unit.device)


class Approach(APGDAttack_targeted):  # type: ignore[misc]  # the library has no types
    """APGD on the targeted DLR loss, its target the wanted label of a ``WantedView`` rather than the second likeliest."""

    @property
    def y_target(self) -> Tensor | None:
        """The target classes (n,) of the samples that are attacked."""
        return self._y_target

    @y_target.setter
    def y_target(self, ranked: Tensor | None) -> None:
        self._y_target = None if ranked is None else torch.full_like(ranked, WANTED)


class ApproachByCE(Approach):
    """APGD on the cross-entropy with the wanted label, the library's own loss, which its ``perturb`` offers no way to."""

    def dlr_loss_targeted(self, x: Tensor, y: Tensor) -> Tensor:
        """Return the negated cross-entropy (n,) with the wanted labels."""
        loss: Tensor = self.ce_loss_targeted(x, y)
        return loss


def within(found: Tensor, unit: Tensor, norm: Norm, eps: float) -> Tensor:
    """Take back what rounding did: clamp images (n, C, H, W) to [0, 1], and scale perturbations back onto the l1 ball.

    From a random start the library's projection misses that ball: it adds up all pixels of noise in float32, so that the error
    grows with the image (5e-4 at 3 × 32 × 32). Larger violations are left for the harness to see.
    """
    return undo_rounding(found, unit, norm=norm, bounds=(0.0, 1.0), eps=eps if norm == "l1" else None)
