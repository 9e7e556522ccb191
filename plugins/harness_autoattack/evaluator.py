"""AutoAttack as a robustness test, run by pyautoattack (Croce and Hein, 2020, arXiv:2003.01690)."""

from __future__ import annotations

from math import comb
from typing import TYPE_CHECKING, Annotated, Final, Literal

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
Check = Temperature | Literal["apgd-ce again"]

VERSIONS: dict[str, tuple[AttackName, ...]] = {
    "standard": ("apgd-ce", "apgd-t", "fab-t", "square"),
    "plus": ("apgd-ce", "apgd-dlr", "fab", "square", "apgd-t", "fab-t"),
    "rand": ("apgd-ce", "apgd-dlr"),
}
"""The attacks of each version, in the library's order."""

SCALED: AttackName = "apgd-ce"
"""The attack whose verdicts depend on the scale of the logits."""

AGAIN: Final = "apgd-ce again"
"""The check that attacks once more without dividing: what falls to it shows what another run breaks, whatever the scale."""

CHANCE = 0.05
"""Of how many honest classifiers a sign test may accuse one of scaling."""

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
        description="Numbers other than 1 that logits are divided by, or margin: each image's by how far its label's logit is "
        "above the others. What holds is attacked once more by apgd-ce, undivided and from the same starts divided; the scale "
        "changes no other attack's verdicts. Unless given, margin where apgd-ce runs, but for version rand.",
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
        if given and 1 in given:
            raise ValueError(
                "1 divides nothing, and what falls undivided is always found beside the others; leave it out"
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

    Then attack what holds with apgd-ce once more, undivided and, from the same starts, on divided logits. Dividing changes no
    label: where more images fall by it than by not dividing, the scale of the logits, and no robustness, had held them. What
    falls undivided shows how far the verdicts depend on chance. The verdicts stay AutoAttack's; what falls is told apart. The
    library's warnings are flags.
    """

    library = BRIDGE.library

    def threat(self) -> tuple[Norm, float]:
        """Return the norm and the eps of the perturbation."""
        norm, eps = self.options.norm, self.options.eps
        if isinstance(eps, str):
            raise PluginError(f"autoattack: eps: {eps} has a meaning beside a data set, in a spec: give a number here")
        return norm, DEFAULT_EPS[norm] if eps is None else eps

    def parts(self) -> tuple[Part, ...]:
        """Return the attacks; where there are temperatures, a check without them and one for each."""
        attacks = [Part(attack) for attack in self.options.attack_names()]
        return (*attacks, *(Part(_called(check), check=True) for check in self._checks()))

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
        if found.undivided_alone:
            counts[_undivided_alone(asked)] = found.undivided_alone
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
        return (*said, *self._square(findings), *self._again(findings), *self._scale(findings))

    def _checks(self) -> tuple[Check, ...]:
        """Return the checks: undivided first, then the temperatures."""
        temperatures = self.options.checks()
        return (AGAIN, *temperatures) if temperatures else ()

    def _asked(self) -> AttackName | Check:
        """Return which attack, or which check, the harness asks for."""
        names: tuple[AttackName | Check, ...] = (*self.options.attack_names(), *self._checks())
        return dict(zip(self.parts(), names, strict=True))[self.part or self.parts()[0]]

    def _attacked(
        self,
        evaluating: Evaluating,
        asked: AttackName | Check,
        classifier: Classifier,
        images: Tensor,
        labels: Tensor,
    ) -> Found:
        if asked == AGAIN:
            return evaluating.again(classifier, images, labels)
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

    def _again(self, findings: Findings) -> list[str]:
        """Tell where another run breaks what AutoAttack had not."""
        fallen = self._fallen(AGAIN, findings)
        said = (
            f"{fallen} of {findings.samples} verdicts change when {SCALED} runs once more, from other starts: "
            "the robust accuracy is an upper bound, and gradients may be masked"
        )
        return [said] if fallen else []

    def _scale(self, findings: Findings) -> list[str]:
        """Tell at which temperatures images fall that do not fall undivided."""
        temperatures = {temperature: self._fallen(temperature, findings) for temperature in self.options.checks()}
        return [
            _of_scale(temperature, divided, findings.counts.get(_undivided_alone(temperature), 0), findings.samples)
            for temperature, divided in temperatures.items()
            if divided
        ]

    def _fallen(self, check: Check, findings: Findings) -> int:
        """Return how many of the labels that hold in the end a check breaks."""
        held = findings.held.get(self.options.attack_names()[-1], 0)
        return held - findings.held.get(_called(check), held)


def _of_scale(temperature: Temperature, divided: int, undivided: int, samples: int) -> str:
    """Tell how many fall when divided alone, how many undivided alone, and what a sign test makes of it."""
    runs = divided + undivided
    by_chance = sum(comb(runs, more) for more in range(divided, runs + 1)) / 2**runs
    ending = "part of the robustness is scaling" if by_chance <= CHANCE else "too few to tell scaling from chance"
    return (
        f"{divided} of {samples} verdicts change when logits are divided by {_divisor(temperature)} and not when the same starts "
        f"are attacked undivided, {undivided} the other way around: {ending}"
    )


def _undivided_alone(check: AttackName | Check) -> str:
    return f"undivided alone, {check}"


def _called(check: Check) -> str:
    if check == AGAIN:
        return AGAIN
    return f"logits / {check if isinstance(check, str) else f'{check:.12g}'}"


def _divisor(temperature: Temperature) -> str:
    return "each image's margin" if isinstance(temperature, str) else f"{temperature:.12g}"
