"""AutoAttack as a robustness test, run by pyautoattack (Croce and Hein, 2020, arXiv:2003.01690)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from harness.api import Evaluation, Evaluator, FractionalFloat, Norm, Options, PluginError
from harness_autoattack.attacks import BRIDGE
from harness_autoattack.limits import impossible, instead, refuse_training
from harness_autoattack.vocabulary import DEFAULT_EPS

if TYPE_CHECKING:
    from torch import Tensor

    from harness.api import Classifier

Part = Literal["apgd-ce", "apgd-dlr", "apgd-t", "fab", "fab-t", "square"]

VERSIONS: dict[str, tuple[Part, ...]] = {
    "standard": ("apgd-ce", "apgd-t", "fab-t", "square"),
    "plus": ("apgd-ce", "apgd-dlr", "fab", "square", "apgd-t", "fab-t"),
    "rand": ("apgd-ce", "apgd-dlr"),
}
"""The attacks of each version, in the library's order."""


class AutoAttackOptions(Options):
    """The options of AutoAttack."""

    version: Literal["standard", "plus", "rand"] = Field(
        default="standard",
        description="Which attacks run, with which restarts; rand averages gradients, for classifiers that answer randomly.",
    )
    norm: Literal["linf", "l2", "l1"] = Field(default="linf", description="The norm of the perturbation.")
    eps: FractionalFloat | None = Field(
        default=None,
        gt=0,
        description="Largest norm of the perturbation; unless given, 8/255 in linf, 0.5 in l2, 12 in l1.",
    )
    attacks: tuple[Part, ...] | None = Field(
        default=None,
        min_length=1,
        description="Run these alone, in this order, with the version's restarts; unless given, all of the version's.",
    )


class AutoAttackEvaluator(Evaluator[AutoAttackOptions]):
    """Attack what the classifier labels right with one attack after the other until one of them succeeds.

    ``shares``: the library's own robust accuracy after each of its attacks, and after all of them. Its warnings are flags.
    """

    library = BRIDGE.library

    def threat(self) -> tuple[Norm, float]:
        """Return the norm and the eps of the perturbation."""
        eps = self.options.eps
        return self.options.norm, DEFAULT_EPS[self.options.norm] if eps is None else eps

    def evaluate(self, classifier: Classifier, images: Tensor, labels: Tensor) -> Evaluation:
        """Attack one batch: images (N, C, H, W) in ``classifier.bounds``, true labels (N,).

        Raises ``PluginError`` for an attack that was asked for by name and cannot attack these classes or images, and for a
        classifier in train mode. One that merely belongs to the version is left out, and flagged.
        """
        from harness_autoattack.evaluating import Evaluating

        refuse_training(classifier)
        attacks, flags = self.possible(classifier.num_classes, tuple(images.shape[-2:]))
        norm, eps = self.threat()
        # All of a batch's attacks start from one seed, as in the library: that of its first sample's stream.
        seed = int(self.random.uniform(())[0] * 2**24)
        evaluating = Evaluating(self.options.version, norm, eps, attacks, seed)
        found = evaluating(classifier, images, labels)
        return Evaluation(perturbed=found.perturbed, shares=found.shares, flags=(*flags, *found.flags))

    def possible(self, classes: int, size: tuple[int, ...]) -> tuple[tuple[Part, ...], tuple[str, ...]]:
        """Return the attacks that run on images of ``size`` (height, width), and a flag for each that is left out."""
        norm, asked = self.options.norm, self.options.attacks
        attacks: list[Part] = []
        flags = ["version plus is not one that its authors describe in l1"] * (
            self.options.version == "plus" and norm == "l1"
        )
        for part in asked or VERSIONS[self.options.version]:
            why = impossible(part, norm, classes=classes, size=size)
            if why is None:
                attacks.append(part)
            elif asked:
                raise PluginError(f"autoattack: {part} {why}: leave it out of attacks, {self._others(part, classes)}")
            else:
                flags.append(f"{part} was left out, since it {why}")
        return tuple(attacks), tuple(flags)

    def _others(self, part: str, classes: int) -> str:
        names = instead(part, self.options.norm, classes)
        return "or use another" if part == "square" else f"or name {names.replace(f'-{self.options.norm}', '')}"
