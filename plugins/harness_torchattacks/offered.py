"""What torchattacks' signatures do not say of its attacks: what each is, can do and needs, and which are left out."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from harness.api import Norm, Spending

LEFT_OUT: Mapping[str, str] = {
    "AutoAttack": "runs four attacks that are offered singly; plugin autoattack has the ensemble, from a maintained source",
    "LGV": "trains surrogate models on training data",
    "MultiAttack": "runs other attacks in turn",
    "VANILA": "returns the images as they are",
}
"""What the library exports and this bridge does not offer, and why."""

_VANISHED = "A sample whose gradient vanishes becomes NaN in the library; it stays unperturbed, unless all of the batch are NaN."
_BEYOND = "The library's first step leaves the pixels' bounds; its result is clipped."
_STUCK = "A sample whose gradient vanishes once stays where it is: the library divides by the gradient's mean."
_SQUARE = "Try random squares, without gradients (Andriushchenko et al., 2020, arXiv:1912.00049)."
_RGB = "Needs images of three channels."
_BATCH = "The whole batch stops when its summed loss grows, so a sample's result may depend on its batch."


@dataclass(frozen=True)
class Offer:
    """One attack, or one norm of it; ``constants`` are arguments that are no options."""

    target: str
    summary: str
    norm: Norm
    suffix: str = ""
    name: str | None = None
    targeted: bool = True
    untargeted: bool = True
    gradients: bool = True
    stochastic: bool = False
    budget: Spending = "fixed"
    constants: Mapping[str, object] = field(default_factory=dict)
    remark: str | None = None

    @property
    def label(self) -> str:
        """The attack's name: the class's in lower case, with the norm where the class takes one."""
        return (self.name or self.target.lower()) + (f"-{self.suffix}" if self.suffix else "")


def _each_norm(target: str, norms: tuple[Norm, ...], **facts: object) -> tuple[Offer, ...]:
    """Return one offer per norm of a class that takes it as an argument."""
    constants: Mapping[str, object] = facts.pop("constants", {})  # type: ignore[assignment]
    return tuple(
        Offer(target, norm=norm, suffix=norm, constants={"norm": norm.capitalize(), **constants}, **facts)  # type: ignore[arg-type]
        for norm in norms
    )


_LINF = (
    Offer("FGSM", "Take one step along the sign of the gradient (Goodfellow et al., 2015, arXiv:1412.6572).", "linf"),
    Offer("BIM", "Step along the sign of the gradient (Kurakin et al., 2017, arXiv:1607.02533).", "linf"),
    Offer(
        "RFGSM",
        "Step along the sign of the gradient after a random step (Tramèr et al., 2018, arXiv:1705.07204).",
        "linf",
        stochastic=True,
    ),
    Offer(
        "PGD",
        "Step along the sign of the gradient from a random start (Madry et al., 2018, arXiv:1706.06083).",
        "linf",
        stochastic=True,
    ),
    Offer(
        "EOTPGD",
        "PGD with gradients averaged over passes, for random classifiers (Zimmermann, 2019, arXiv:1907.00895).",
        "linf",
        stochastic=True,
    ),
    Offer(
        "FFGSM",
        "Take one gradient-sign step from a random start (Wong et al., 2020, arXiv:2001.03994).",
        "linf",
        stochastic=True,
    ),
    Offer(
        "TPGD",
        "PGD on the divergence from the unperturbed prediction (Zhang et al., 2019, arXiv:1901.08573).",
        "linf",
        targeted=False,
        stochastic=True,
        remark="Flees what the classifier predicts, whatever the labels are.",
    ),
    Offer("MIFGSM", "BIM with momentum (Dong et al., 2018, arXiv:1710.06081).", "linf", remark=_STUCK),
    Offer(
        "UPGD",
        "PGD with a choice of loss, momentum and averaging.",
        "linf",
        remark=f"With random_start it is stochastic. {_STUCK}",
    ),
    Offer(
        "DIFGSM",
        "BIM on images resized and padded at random (Xie et al., 2019, arXiv:1803.06978).",
        "linf",
        stochastic=True,
        remark=f"Needs square images. {_STUCK}",
    ),
    Offer(
        "TIFGSM",
        "DI-FGSM with smoothed gradients (Dong et al., 2019, arXiv:1904.02884).",
        "linf",
        stochastic=True,
        remark=f"Needs square images of three channels. {_STUCK}",
    ),
    Offer(
        "Jitter",
        "PGD on scaled, noisy logits (Schwinn et al., 2021, arXiv:2105.10304).",
        "linf",
        stochastic=True,
    ),
    Offer("NIFGSM", "BIM with Nesterov's momentum (Lin et al., 2020, arXiv:1908.06281).", "linf", remark=_STUCK),
    Offer(
        "PGDRS",
        "PGD against a classifier smoothed with noise (Salman et al., 2019, arXiv:1906.04584).",
        "linf",
        stochastic=True,
    ),
    Offer(
        "SINIFGSM",
        "NI-FGSM over darker copies of the image (Lin et al., 2020, arXiv:1908.06281).",
        "linf",
        remark=_STUCK,
    ),
    Offer(
        "VMIFGSM",
        "MI-FGSM corrected by the gradients of neighbors (Wang and He, 2021, arXiv:2103.15571).",
        "linf",
        stochastic=True,
        remark=_STUCK,
    ),
    Offer(
        "VNIFGSM",
        "NI-FGSM corrected by the gradients of neighbors (Wang and He, 2021, arXiv:2103.15571).",
        "linf",
        stochastic=True,
        remark=_STUCK,
    ),
    Offer(
        "SPSA",
        "Follow gradients estimated from random directions (Uesato et al., 2018, arXiv:1802.05666).",
        "linf",
        gradients=False,
        stochastic=True,
    ),
    Offer(
        "PIFGSM",
        "Long gradient-sign steps whose excess goes to neighboring pixels (Gao et al., 2020, arXiv:2007.06765).",
        "linf",
        targeted=False,
        remark=_RGB,
    ),
    Offer(
        "PIFGSMPP",
        "PI-FGSM with smoothed gradients (Gao et al., 2020, arXiv:2012.15503).",
        "linf",
        remark=_RGB,
    ),
)
_L2 = (
    Offer(
        "PGDL2",
        "Step along the normalized gradient from a random start (Madry et al., 2018, arXiv:1706.06083).",
        "l2",
        stochastic=True,
    ),
    Offer(
        "PGDRSL2",
        "PGD in L2 against a classifier smoothed with noise (Salman et al., 2019, arXiv:1906.04584).",
        "l2",
        stochastic=True,
    ),
    Offer(
        "CW",
        "Minimize the squared norm and a margin of logits together (Carlini and Wagner, 2017, arXiv:1608.04644).",
        "l2",
        budget="minimal",
        remark=f"Pixels that are exactly 0 or 1 never move. {_BATCH}",
    ),
    Offer(
        "DeepFool",
        "Step to the nearest boundary of the linearized classifier (Moosavi-Dezfooli et al., 2016, arXiv:1511.04599).",
        "l2",
        targeted=False,
        budget="minimal",
        remark=_VANISHED,
    ),
    Offer(
        "EADEN",
        "Minimize the elastic net of the perturbation and a margin of logits (Chen et al., 2018, arXiv:1709.04114).",
        "l2",
        budget="minimal",
        remark=f"What it minimizes is the squared L2 norm plus beta times the L1 norm. {_BATCH} {_BEYOND}",
    ),
    Offer(
        "GN",
        "Add Gaussian noise.",
        "l2",
        targeted=False,
        gradients=False,
        stochastic=True,
        remark="Labels play no part in it.",
    ),
)
_SPARSE = (
    Offer(
        "EADL1",
        "Minimize the L1 norm with the elastic-net attack (Chen et al., 2018, arXiv:1709.04114).",
        "l1",
        budget="minimal",
        remark=f"{_BATCH} {_BEYOND}",
    ),
    Offer(
        "SparseFool",
        "Change few entries, one after another, up to DeepFool's boundary (Modas et al., 2019, arXiv:1811.02248).",
        "l0",
        targeted=False,
        budget="minimal",
        remark=_VANISHED,
    ),
    Offer(
        "OnePixel",
        "Change one pixel, or a few, by differential evolution (Su et al., 2019, arXiv:1710.08864).",
        "l0",
        gradients=False,
        stochastic=True,
    ),
    Offer(
        "Pixle",
        "Copy pixels of a patch to other places (Pomponi et al., 2022, arXiv:2202.02236).",
        "l0",
        gradients=False,
        stochastic=True,
        remark="Needs square images.",
    ),
    Offer(
        "JSMA",
        "Change the most salient pairs of entries until the label is reached (Papernot et al., 2016, arXiv:1511.07528).",
        "l0",
        untargeted=False,
        budget="minimal",
        remark="Memory grows with the square of the image's size: for small images.",
    ),
)
_BY_NORM = (
    *_each_norm(
        "APGD",
        ("linf", "l2"),
        summary="PGD that sets its own step size (Croce and Hein, 2020, arXiv:2003.01690).",
        targeted=False,
        stochastic=True,
    ),
    *_each_norm(
        "APGDT",
        ("linf", "l2"),
        summary="APGD toward every other class in turn (Croce and Hein, 2020, arXiv:2003.01690).",
        targeted=False,
        stochastic=True,
        remark="Needs four classes.",
    ),
    *_each_norm(
        "FAB",
        ("linf", "l2"),
        summary="Project onto the boundaries of the linearized classifier (Croce and Hein, 2020, arXiv:1907.02044).",
        budget="minimal",
        # One run: a second one would aim at another sample's target.
        constants={"n_restarts": 1, "multi_targeted": False, "n_classes": 10},
        remark="Perturbations beyond eps are dropped.",
    ),
    *_each_norm(
        "FAB",
        ("linf", "l2"),
        name="fabt",
        summary="FAB toward every other class in turn (Croce and Hein, 2020, arXiv:2003.01690).",
        targeted=False,
        budget="minimal",
        constants={"n_restarts": 1, "multi_targeted": True},
        remark="Perturbations beyond eps are dropped.",
    ),
    *_each_norm(
        "Square",
        ("linf",),
        summary=_SQUARE,
        gradients=False,
        stochastic=True,
    ),
    *_each_norm(
        "Square",
        ("l2",),
        summary=_SQUARE,
        gradients=False,
        stochastic=True,
        remark="Needs square images.",
    ),
)

OFFERS: tuple[Offer, ...] = (*_LINF, *_L2, *_SPARSE, *_BY_NORM)
"""Every attack that is offered."""
