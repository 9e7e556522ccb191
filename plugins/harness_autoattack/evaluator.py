"""AutoAttack as a robustness test, run by pyautoattack (Croce and Hein, 2020, arXiv:2003.01690)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, ValidationInfo, field_validator

from harness.api import (
    DEFAULT_EPS,
    Evaluation,
    Evaluator,
    EvaluatorEps,
    Findings,
    FractionalFloat,
    Norm,
    Options,
    Part,
    PluginError,
)
from harness_autoattack.attacks import BRIDGE
from harness_autoattack.limits import impossible, instead, refuse_training

if TYPE_CHECKING:
    from torch import Tensor

    from harness.api import Classifier
    from harness_autoattack.evaluating import Evaluating, Found

AttackName = Literal["apgd-ce", "apgd-dlr", "apgd-t", "fab", "fab-t", "square"]
Temperature = Annotated[FractionalFloat, Field(gt=0)] | Literal["margin"]

VERSIONS: dict[str, tuple[AttackName, ...]] = {
    "standard": ("apgd-ce", "apgd-t", "fab-t", "square"),
    "plus": ("apgd-ce", "apgd-dlr", "fab", "square", "apgd-t", "fab-t"),
    "rand": ("apgd-ce", "apgd-dlr"),
}
"""The attacks of each version, in the library's order."""

SCALED: AttackName = "apgd-ce"
"""The attack whose verdicts depend on the scale of the logits."""

SQUARE_GAIN = 0.002
"""The share of samples beyond which the library warns that square broke more than gradients did."""


class AutoAttackOptions(Options):
    """The options of AutoAttack."""

    version: Literal["standard", "plus", "rand"] = Field(
        default="standard",
        description="Which attacks run, with which restarts; rand averages gradients, for classifiers that answer randomly.",
    )
    norm: Literal["linf", "l2", "l1"] = Field(default="linf", description="The norm of the perturbation.")
    eps: EvaluatorEps | None = Field(
        default=None,
        description="Largest norm of the perturbation; standard: the data set's usual one; unless given, 8/255 in linf, 0.5 in l2, "
        "12 in l1.",
    )
    attacks: tuple[AttackName, ...] | None = Field(
        default=None,
        min_length=1,
        description="Run these alone, in this order, with the version's restarts; unless given, all of the version's.",
    )
    temperatures: tuple[Temperature, ...] | None = Field(
        default=None,
        description="Numbers that logits are divided by, or margin: each image's by how far its label's logit is above the others. "
        "What holds is attacked once more by apgd-ce at each; the scale changes no other attack's verdicts. Unless given, margin "
        "where apgd-ce runs, but for version rand.",
    )

    @field_validator("attacks", "temperatures")
    @classmethod
    def _each_once(cls, given: tuple[object, ...] | None) -> tuple[object, ...] | None:
        for place, one in enumerate(given or ()):
            if one in (given or ())[:place]:
                raise ValueError(f"{one if isinstance(one, str) else f'{one:.12g}'} stands twice; keep one of them")
        return given

    @field_validator("temperatures")
    @classmethod
    def _scale_matters(cls, given: tuple[Temperature, ...] | None, info: ValidationInfo) -> object:
        attacks = info.data.get("attacks")
        if given and attacks and SCALED not in attacks:
            raise ValueError(
                f"have no influence on {' and '.join(attacks)}; add {SCALED} to attacks, or leave them out"
            )
        return given

    def attack_names(self) -> tuple[AttackName, ...]:
        """Return the attacks that are to run, in their order."""
        return self.attacks or VERSIONS[self.version]

    def checks(self) -> tuple[Temperature, ...]:
        """Return the temperatures at which what holds is attacked again."""
        if self.temperatures is None:
            return ("margin",) if SCALED in self.attack_names() and self.version != "rand" else ()
        return self.temperatures


class AutoAttackEvaluator(Evaluator[AutoAttackOptions]):
    """Attack what the classifier labels right with one attack after the other until one of them succeeds.

    Then attack what holds with apgd-ce on divided logits: dividing changes no label, so an image that falls shows that the scale
    of the logits, and no robustness, had held it. The verdicts stay AutoAttack's; what falls is told apart. The library's warnings
    are flags.
    """

    library = BRIDGE.library

    def threat(self) -> tuple[Norm, float]:
        """Return the norm and the eps of the perturbation."""
        norm, eps = self.options.norm, self.options.eps
        if isinstance(eps, str):
            raise PluginError(f"autoattack: eps: {eps} has a meaning beside a data set, in a spec: give a number here")
        return norm, DEFAULT_EPS[norm] if eps is None else eps

    def parts(self) -> tuple[Part, ...]:
        """Return the attacks, and a check for each temperature."""
        attacks = [Part(attack) for attack in self.options.attack_names()]
        return (*attacks, *(Part(_called(temperature), check=True) for temperature in self.options.checks()))

    def evaluate(self, classifier: Classifier, images: Tensor, labels: Tensor) -> Evaluation:
        """Run one attack, or one check, on images (N, C, H, W) in ``classifier.bounds`` with true labels (N,).

        Raises ``PluginError`` for an attack that was asked for by name and cannot attack these classes or images, and for a
        classifier in train mode. One that merely belongs to the version is left out, and flagged.
        """
        from harness_autoattack.evaluating import Evaluating

        refuse_training(classifier)
        left_out = self.left_out(classifier.num_classes, tuple(images.shape[-2:]))
        evaluating = Evaluating(self.options.version, *self.threat(), self.seed)
        asked = self._asked()
        if asked in left_out:
            return Evaluation(flags=(f"{asked} was left out, since it {left_out[asked]}",))
        found = self._attacked(evaluating, asked, classifier, images, labels)
        counts = {"differing": found.differing, "zero gradients": found.zero_gradients}
        return Evaluation(perturbed=found.perturbed, flags=found.flags, counts=counts)

    def left_out(self, classes: int, size: tuple[int, ...]) -> dict[str, str]:
        """Return why which of the version's attacks cannot attack images of ``size`` (height, width)."""
        norm, asked = self.options.norm, self.options.attacks
        whys = {name: impossible(name, norm, classes=classes, size=size) for name in self.options.attack_names()}
        left_out: dict[str, str] = {name: why for name, why in whys.items() if why is not None}
        if asked and left_out:
            name, why = next(iter(left_out.items()))
            names = instead(name, norm, classes).replace(f"-{norm}", "")
            others = "use another" if name == "square" else f"name {names}"
            raise PluginError(f"autoattack: {name} {why}: leave it out of attacks, or {others}")
        return left_out

    def remarks(self, findings: Findings) -> tuple[str, ...]:
        """Return what all samples together tell: masked gradients, and robustness that is the scale of the logits."""
        said = []
        if self.options.version == "plus" and self.options.norm == "l1":
            said.append("version plus is not one that its authors describe in l1")
        if differing := findings.counts.get("differing", 0):
            said.append(f"{differing} times AutoAttack's verdict is not what the classifier then says of its image")
        if zeros := findings.counts.get("zero gradients", 0):
            said.append(
                f"{zeros} starts of gradient attacks, of one image each, found zero gradients: gradients may be masked"
            )
        return (*said, *self._square(findings), *self._scale(findings))

    def _asked(self) -> AttackName | Temperature:
        """Return which attack, or which check's temperature, the harness asks for."""
        names: tuple[AttackName | Temperature, ...] = (*self.options.attack_names(), *self.options.checks())
        return dict(zip(self.parts(), names, strict=True))[self.part or self.parts()[0]]

    def _attacked(
        self,
        evaluating: Evaluating,
        asked: AttackName | Temperature,
        classifier: Classifier,
        images: Tensor,
        labels: Tensor,
    ) -> Found:
        if asked == "margin" or not isinstance(asked, str):
            return evaluating.rescaled(asked, classifier, images, labels)
        return evaluating(asked, classifier, images, labels)

    def _square(self, findings: Findings) -> list[str]:
        """Tell where an attack without gradients broke what those with gradients had not."""
        names = self.options.attack_names()
        place = names.index("square") if "square" in names else 0
        if place == 0:
            return []
        before, after = (findings.held.get(name, 0) for name in names[place - 1 : place + 1])
        if before - after <= SQUARE_GAIN * findings.samples:
            return []
        return [
            f"square, without gradients, broke {before - after} of the {before} labels left: gradients may be masked"
        ]

    def _scale(self, findings: Findings) -> list[str]:
        """Tell at which temperatures verdicts change."""
        held = findings.held.get(self.options.attack_names()[-1], 0)
        changes = {
            temperature: held - findings.held.get(_called(temperature), held) for temperature in self.options.checks()
        }
        return [
            f"{changed} of {findings.samples} verdicts change when logits are divided by {_divisor(temperature)}: "
            "part of the robustness is scaling"
            for temperature, changed in changes.items()
            if changed
        ]


def _called(temperature: Temperature) -> str:
    return f"logits / {temperature if isinstance(temperature, str) else f'{temperature:.12g}'}"


def _divisor(temperature: Temperature) -> str:
    return "each image's margin" if isinstance(temperature, str) else f"{temperature:.12g}"
