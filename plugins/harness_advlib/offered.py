"""What adv-lib's signatures do not say of its attacks: what each is, can do and needs, and which are left out."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from harness.api import Norm, Spending

_SEGMENTS = "attacks segmentation, not classification"

LEFT_OUT: Mapping[str, str] = {
    "segmentation.alma_prox": _SEGMENTS,
    "segmentation.asma": _SEGMENTS,
    "segmentation.dag": _SEGMENTS,
    "segmentation.pdgd": _SEGMENTS,
    "segmentation.pdpgd": _SEGMENTS,
}
"""What the library exports and this bridge does not offer, and why."""

DISTANCES_LEFT_OUT: Mapping[str, str] = {
    "lpips": "downloads the weights of AlexNet",
    "msssim": "needs images of more than 160 pixels a side",
}
"""Distances of ALMA that are not offered, and why."""


@dataclass(frozen=True)
class Offer:
    """One attack, or one norm of it; ``constants`` are arguments that are no options."""

    target: str
    name: str
    summary: str
    norm: Norm
    targeted: bool = True
    untargeted: bool = True
    stochastic: bool = False
    budget: Spending = "minimal"
    constants: Mapping[str, object] = field(default_factory=dict)
    remark: str | None = None


def _each_norm(target: str, name: str, norms: tuple[Norm, ...], **facts: object) -> tuple[Offer, ...]:
    """Return one offer per norm of a function that takes it as an argument, ``p`` or ``norm``."""
    argument = str(facts.pop("argument", "norm"))
    return tuple(
        Offer(target, f"{name}-{norm}", norm=norm, constants={argument: norm[1:]}, **facts)  # type: ignore[arg-type]
        for norm in norms
    )


_APGD = "PGD that sets its own step size (Croce and Hein, 2020, arXiv:2003.01690; in L1 2021, arXiv:2103.01208)."
_ALMA = "Minimize {} by an augmented Lagrangian (Rony et al., 2021, arXiv:2011.11857)."
_CW = "Minimize the {} norm and a margin of logits together (Carlini and Wagner, 2017, arXiv:1608.04644)."
_RANDOM_INIT = "With random_init above 0 it is stochastic."
_PIXELWISE = "What it minimizes is {}, no norm; its perturbations are measured in L2."

OFFERS: tuple[Offer, ...] = (
    Offer("alma", "alma-l1", _ALMA.format("the L1 norm"), "l1", constants={"distance": "l1"}),
    Offer("alma", "alma-l2", _ALMA.format("the L2 norm"), "l2", constants={"distance": "l2"}),
    Offer(
        "alma",
        "alma-ssim",
        _ALMA.format("the structural dissimilarity"),
        "l2",
        constants={"distance": "ssim"},
        remark=_PIXELWISE.format("one minus the structural similarity") + " Needs images of at least 11 pixels a side.",
    ),
    Offer(
        "alma",
        "alma-ciede2000",
        _ALMA.format("the color difference CIEDE2000"),
        "l2",
        constants={"distance": "ciede2000"},
        remark=_PIXELWISE.format("a perceptual color difference") + " Needs images of three channels.",
    ),
    *_each_norm("apgd", "apgd", ("l1", "l2", "linf"), summary=_APGD, stochastic=True, budget="fixed"),
    *_each_norm(
        "apgd_targeted",
        "apgd-targeted",
        ("l1", "l2", "linf"),
        summary="APGD toward every other class in turn (Croce and Hein, 2020, arXiv:2003.01690).",
        targeted=False,
        stochastic=True,
        budget="fixed",
    ),
    *_each_norm(
        "minimal_apgd",
        "minimal-apgd",
        ("l1", "l2", "linf"),
        summary="Search the smallest eps at which APGD succeeds (Croce and Hein, 2020, arXiv:2003.01690).",
        targeted=False,
        stochastic=True,
    ),
    Offer("carlini_wagner_l2", "carlini-wagner-l2", _CW.format("L2"), "l2"),
    Offer("carlini_wagner_linf", "carlini-wagner-linf", _CW.format("L-inf"), "linf"),
    Offer(
        "ddn",
        "ddn",
        "Step along the gradient at a norm that shrinks and grows (Rony et al., 2019, arXiv:1811.09600).",
        "l2",
        stochastic=True,
        remark="Iterates are rounded to `levels` values of a pixel unless it is null. It draws where a gradient vanishes alone.",
    ),
    *_each_norm(
        "df",
        "deepfool",
        ("l2", "linf"),
        summary="Step to the nearest boundary of the linearized classifier (Moosavi-Dezfooli et al., 2016, arXiv:1511.04599).",
        targeted=False,
    ),
    *_each_norm(
        "fab",
        "fab",
        ("l1", "l2", "linf"),
        summary="Project onto the boundaries of the linearized classifier (Croce and Hein, 2020, arXiv:1907.02044).",
        targeted=False,
        remark="With restarts above 1 it is stochastic (with targeted_restarts, above the number of other labels).",
    ),
    Offer(
        "fga",
        "fga",
        "Change the most salient entries to random values (Césaire et al., 2021, arXiv:2011.12423).",
        "l0",
        stochastic=True,
    ),
    *_each_norm(
        "fmn",
        "fmn",
        ("l0", "l1", "l2", "linf"),
        summary="Step inside a ball that shrinks and grows (Pintor et al., 2021, arXiv:2102.12827).",
    ),
    Offer(
        "pdgd",
        "pdgd",
        "Descend on the L2 norm and the loss, with weights that adapt (Matyasko and Chau, 2021, arXiv:2106.01538).",
        "l2",
        remark=_RANDOM_INIT,
    ),
    *_each_norm(
        "pdpgd",
        "pdpgd",
        ("l0", "l1", "l2", "linf"),
        summary="PDGD with proximal steps for the norm (Matyasko and Chau, 2021, arXiv:2106.01538).",
        remark=_RANDOM_INIT,
    ),
    Offer(
        "perc_al",
        "perc-al",
        "Step along the loss and the color distance in turn (Zhao et al., 2020, arXiv:1911.02466).",
        "l2",
        remark=_PIXELWISE.format("a perceptual color difference")
        + " Needs images of three channels; what it returns is rounded to 8 bits.",
    ),
    Offer(
        "pgd_linf",
        "pgd-linf",
        "Step along the sign of the gradient (Madry et al., 2018, arXiv:1706.06083).",
        "linf",
        stochastic=True,
        budget="fixed",
    ),
    Offer(
        "sigma_zero",
        "sigma-zero",
        "Minimize a smooth L0 norm, dropping small entries (Cinà et al., 2024, arXiv:2402.01879).",
        "l0",
        targeted=False,
    ),
    Offer(
        "str_attack",
        "str-attack",
        "Minimize groups of changed pixels (Xu et al., 2019, arXiv:1808.01664).",
        "l2",
        remark="It keeps the smallest L2 norm. Refining takes 3,200 steps, with a threshold that the whole batch shares.",
    ),
    Offer(
        "sdf",
        "superdeepfool",
        "DeepFool followed by a projection, until both agree (Abdollahpourrostam et al., 2023, arXiv:2303.12481).",
        "l2",
        targeted=False,
    ),
    *_each_norm(
        "tr",
        "trust-region",
        ("l2", "linf"),
        summary="Take short steps toward the label nearest at the start (Yao et al., 2019, arXiv:1812.06371).",
        targeted=False,
        argument="p",
    ),
    Offer(
        "vfga",
        "vfga",
        "FGA that tries to add and to take, and keeps the better (Césaire et al., 2021, arXiv:2011.12423).",
        "l0",
        stochastic=True,
    ),
)
"""Every attack that is offered; all use gradients."""
