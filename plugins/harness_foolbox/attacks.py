"""Foolbox's attacks as plugins: classes made of the table in ``attacks.json``, handed to Foolbox when they run."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from harness.api import Attack, Bridge, Classifier, Criterion, Entry, Options, PluginError
from harness_foolbox.criteria import to_foolbox
from harness_foolbox.library import LIBRARY, load, model_of, quiet
from harness_foolbox.shields import build, fails_alone, repaired

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor


class FoolboxAttack(Attack[Options]):
    """An attack of Foolbox, run as Foolbox runs it: its options, its epsilon, its clipped result."""

    entry: ClassVar[Entry]

    def run(self, classifier: Classifier, images: Tensor, criterion: Criterion) -> Tensor:
        """Return the perturbed images (N, C, H, W); a sample that Foolbox has no result for stays as it is."""
        import torch

        with quiet(), torch.enable_grad():
            perturbed = self.perturb(classifier, images, criterion)
        return repaired(self.entry.target, perturbed, images, norm=self.entry.norm, bounds=classifier.bounds)

    def perturb(self, classifier: Classifier, images: Tensor, criterion: Criterion) -> Tensor:
        """Call Foolbox with the whole batch; where one sample makes it give up, with each sample alone."""
        try:
            return self.call(classifier, images, criterion)
        except (RuntimeError, ValueError) as error:
            if not fails_alone(self.entry.target, error):
                raise
            return self.perturb_each(classifier, images, criterion)

    def perturb_each(self, classifier: Classifier, images: Tensor, criterion: Criterion, **more: Tensor) -> Tensor:
        """Call Foolbox with one sample after the other; those that it gives up on stay as they are."""
        import torch

        perturbed = images.clone()
        for place in range(len(images)):
            row = torch.tensor([place], device=images.device)
            own = {name: value[row] for name, value in more.items()}
            try:
                perturbed[row] = self.call(classifier[row], images[row], criterion[row], **own)
            except (RuntimeError, ValueError) as error:
                if not fails_alone(self.entry.target, error):
                    raise
        return perturbed

    def call(self, classifier: Classifier, images: Tensor, criterion: Criterion, **more: Tensor) -> Tensor:
        """Return what Foolbox's attack makes of ``images`` (n, C, H, W), clipped to eps where it has one."""
        model, eps = model_of(classifier, images), getattr(self.options, "eps", None)
        _, clipped, _ = self.made()(model, images, to_foolbox(criterion), epsilons=eps, **more)
        made: Tensor = clipped
        return made

    def made(self) -> Any:
        """Return Foolbox's attack with the options. Raises ``PluginError`` where the installed Foolbox does not fit."""
        target = self.entry.target
        kind = getattr(load().attacks, target, None)
        if kind is None:
            raise PluginError(
                f"foolbox {LIBRARY.version} has no {target}; this bridge was made for {BRIDGE.table.version}: "
                f'run "{LIBRARY.install}"'
            )
        BRIDGE.fits(self.entry, {"eps": None, **inspect.signature(kind).parameters})
        return build(target, self.options.model_dump(exclude={"eps"}))


class StartingAttack(FoolboxAttack):
    """An attack that walks from an image that reaches the objective towards the sample.

    Where labels are to be approached, the harness supplies that image. Where they are to be fled, Foolbox's own initial attack
    looks for it, and the harness supplies those that it did not find. Samples without one stay as they are.
    """

    def perturb(self, classifier: Classifier, images: Tensor, criterion: Criterion) -> Tensor:
        """Call Foolbox with the samples that have an image to start from."""
        starts, found = self._starts(classifier, images, criterion)
        rows, perturbed = found.nonzero().flatten(), images.clone()
        if len(rows):
            own = (classifier[rows], images[rows], criterion[rows])
            perturbed[rows] = self.call(*own, starting_points=starts[rows])
        return perturbed

    def _starts(self, classifier: Classifier, images: Tensor, criterion: Criterion) -> tuple[Tensor, Tensor]:
        """Return images (N, C, H, W) to start from, and for which samples (N,) they reach the objective."""
        if criterion.targeted:
            starts, _ = self.examples.reaching(criterion)
            return starts, criterion.reached(classifier(starts))
        first, arguments = INITIAL_ATTACKS[self.entry.target]
        initial = build(first, arguments)
        starts = initial.run(model_of(classifier, images), images, to_foolbox(criterion))
        found = criterion.reached(classifier(starts))
        if not bool(found.all()):
            missing = (~found).nonzero().flatten()
            starts[missing] = self.examples.reaching(criterion)[0][missing]
            found = criterion.reached(classifier(starts))
        return starts, found


class RefiningAttack(FoolboxAttack):
    """An attack that refines an image of the wanted label, which the harness supplies."""

    def perturb(self, classifier: Classifier, images: Tensor, criterion: Criterion) -> Tensor:
        """Call Foolbox with each sample alone, since it refuses a whole batch because of one."""
        starts, _ = self.examples.reaching(criterion)
        return self.perturb_each(classifier, images, criterion, starting_points=starts)


class ReplacingAttack(FoolboxAttack):
    """An attack that replaces a sample by an image that reaches the objective, one of those that the harness supplies."""

    def perturb(self, classifier: Classifier, images: Tensor, criterion: Criterion) -> Tensor:
        """Give Foolbox every sample twice: it offers a sample the images of all rows but its own."""
        import torch

        starts, _ = self.examples.reaching(criterion)
        rows = torch.arange(len(images), device=images.device).repeat(2)
        model, attack = model_of(classifier[rows], images), self.made()
        attack.feed(model, starts[rows])
        _, perturbed, _ = attack(model, images[rows], to_foolbox(criterion[rows]), epsilons=None)
        first: Tensor = perturbed[: len(images)]
        return first


INITIAL_ATTACKS: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "BoundaryAttack": ("LinearSearchBlendedUniformNoiseAttack", {"steps": 50}),
    "HopSkipJumpAttack": ("LinearSearchBlendedUniformNoiseAttack", {"steps": 50}),
    "PointwiseAttack": ("SaltAndPepperNoiseAttack", {}),
    "L0BrendelBethgeAttack": ("LinearSearchBlendedUniformNoiseAttack", {}),
    "L1BrendelBethgeAttack": ("LinearSearchBlendedUniformNoiseAttack", {}),
    "L2BrendelBethgeAttack": ("LinearSearchBlendedUniformNoiseAttack", {}),
    "LinfinityBrendelBethgeAttack": ("LinearSearchBlendedUniformNoiseAttack", {}),
}
"""What Foolbox itself starts these attacks with."""

_BASES: Mapping[str, type[FoolboxAttack]] = {
    **dict.fromkeys(INITIAL_ATTACKS, StartingAttack),
    "BinarizationRefinementAttack": RefiningAttack,
    "DatasetAttack": ReplacingAttack,
}

BRIDGE: Bridge[FoolboxAttack] = Bridge(
    table_path=Path(__file__).with_name("attacks.json"), module=__name__, library=LIBRARY
)


def __getattr__(name: str) -> Any:
    return BRIDGE.attribute(name, _BASES.get(name.removesuffix("Options"), FoolboxAttack))
