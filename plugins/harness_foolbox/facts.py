"""What is known of each Foolbox attack (version 3.3.4): sources, capabilities as measured, and what to know before choosing it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness_foolbox.fact import Fact

if TYPE_CHECKING:
    from collections.abc import Mapping

    from harness.api import Norm

_FOOLBOX = "Rauber et al., 2020, doi:10.21105/joss.02607"
_GOODFELLOW = "Goodfellow et al., 2015, arXiv:1412.6572"
_KURAKIN = "Kurakin et al., 2017, arXiv:1607.02533"
_MADRY = "Madry et al., 2018, arXiv:1706.06083"
_ADAM = "Kingma and Ba, 2015, arXiv:1412.6980"
_DONG = "Dong et al., 2018, arXiv:1710.06081"
_PINTOR = "Pintor et al., 2021, arXiv:2102.12827"
_BRENDEL = "Brendel et al., 2019, arXiv:1907.01003"
_RAUBER = "Rauber and Bethge, 2020, arXiv:2007.07677"
_DEEPFOOL = "Moosavi-Dezfooli et al., 2016, arXiv:1511.04599"

_ONE_STEP = "Foolbox approaches no labels with it; the basic iterative attack of this norm does, with steps: 1, rel_stepsize: 1."
_PLAIN_DESCENT = (
    "Foolbox never builds its Adam optimizer: it takes the plain steps of the basic iterative attack of this norm."
)
_SIGNS = (
    "The accumulated gradients are normalized in the attack's norm (L-inf: their signs), in the paper by their L1 norm."
)
_BLIND = "It looks at no label: what it does is the same whatever the objective."
_NOT_LP = "It has no norm of its own; its perturbation is measured in L2."
_OWN_DIRECTION = (
    "It flees the label predicted for the unperturbed image, and stops where the objective is reached: approaching labels is "
    "left to others."
)
_BLACK = "A sample that it finds nothing for stays unperturbed; Foolbox returns a black image for it."
_STARTS = (
    "It starts from another image: where labels are approached, a training image of the wanted label; where they are fled, what "
    "Foolbox's own search finds, else a training image."
)
_NUMBA = "It needs numba, and compiles its solver at the first use (a minute or more)."
_RANDOM_START = "With random_start it is stochastic."
_VANISHED = (
    "A sample whose gradient vanishes (a very confident one) becomes NaN in Foolbox; it stays unperturbed, unless all of the "
    "batch are NaN."
)
_TRUST = "Its trust region grows with the batch, so results depend on the batch size."


def _joined(*remarks: str) -> str:
    return " ".join(remarks)


def _descent(name: str, norm: Norm, shown: str, *remarks: str) -> Fact:
    """Describe a descent that starts at the image unless it is told otherwise."""
    return Fact(summary=name.format(shown), norm=norm, stochastic=False, remark=_joined(*remarks, _RANDOM_START))


def _random_descent(name: str, norm: Norm, shown: str) -> Fact:
    return Fact(summary=name.format(shown), norm=norm)


def _noise(kind: str, norm: Norm, *, clipped: str, source: str, repeated: bool, remark: str | None = None) -> Fact:
    shown = "L-inf" if norm == "linf" else "L2"
    drawn = f"{kind} noise of a fixed {shown} norm{clipped}"
    if repeated:
        return Fact(
            summary=f"Draw {drawn}, again until the objective is reached ({source}).",
            norm=norm,
            gradients=False,
            remark=remark,
        )
    said = _joined(*([remark] if remark else []), _BLIND)
    return Fact(summary=f"Add {drawn}, once ({source}).", norm=norm, targeted=False, gradients=False, remark=said)


_TOO_LONG = "Foolbox scales by the largest entry and not the largest absolute one; what then exceeds eps is clipped."
_NORMS: tuple[tuple[str, Norm, str], ...] = (("L1", "l1", "L1"), ("L2", "l2", "L2"), ("Linf", "linf", "L-inf"))
_BALLS: tuple[tuple[str, Norm, str], ...] = (("L0", "l0", "L0"), *_NORMS[:2], ("Linfinity", "linf", "L-inf"))
_FGM = f"Take one step along the gradient, {{}} norm eps ({_GOODFELLOW})."
_FGSM = f"Take one step along the sign of the gradient ({_GOODFELLOW})."
_BIM = f"Step along the gradient in {{}}, then project onto the eps-ball ({_KURAKIN})."
_PGD = f"Step along the gradient in {{}} from a random start, then project onto the eps-ball ({_MADRY})."
_ADAM_BIM = f"Step as Adam does along the gradient in {{}}, then project onto the eps-ball ({_KURAKIN}; {_ADAM})."
_ADAM_PGD = f"Step as Adam does along the gradient in {{}} from a random start, then project onto the eps-ball ({_MADRY}; {_ADAM})."
_MIM = f"Step along accumulated gradients in {{}}, then project onto the eps-ball ({_DONG})."
_FMN = f"Minimize the {{}} norm, adapting the ball onto which each step is projected ({_PINTOR})."
_BB = f"Walk along the decision boundary towards the sample, {{}} norm, by trust-region steps ({_BRENDEL})."

_DESCENTS: Mapping[str, Fact] = {
    **{
        f"{prefix}FastGradientAttack": Fact(
            summary=_FGSM if norm == "linf" else _FGM.format(shown),
            norm=norm,
            targeted=False,
            stochastic=False,
            remark=_joined(_ONE_STEP, _RANDOM_START),
        )
        for prefix, norm, shown in _NORMS
    },
    **{f"{prefix}BasicIterativeAttack": _descent(_BIM, norm, shown) for prefix, norm, shown in _NORMS},
    **{f"{prefix}ProjectedGradientDescentAttack": _random_descent(_PGD, norm, shown) for prefix, norm, shown in _NORMS},
    **{
        f"{prefix}AdamProjectedGradientDescentAttack": _random_descent(_ADAM_PGD, norm, shown)
        for prefix, norm, shown in _NORMS
    },
    **{
        f"{prefix}AdamBasicIterativeAttack": _descent(
            _ADAM_BIM, norm, shown, *(() if norm == "linf" else (_PLAIN_DESCENT,))
        )
        for prefix, norm, shown in _NORMS
    },
    **{
        f"{prefix}MomentumIterativeFastGradientMethod": _descent(_MIM, norm, shown, _SIGNS)
        for prefix, norm, shown in _NORMS
    },
    "SparseL1DescentAttack": Fact(
        summary="Step along the signs of the largest gradient entries alone, L1 norm (Tramèr and Boneh, 2019, arXiv:1904.13000).",
        norm="l1",
        stochastic=False,
        remark=_joined(
            "Foolbox's projection misses the eps-ball and lets the samples of a batch influence each other; here it is that of "
            "Foolbox's minimum-norm attack.",
            _RANDOM_START,
        ),
    ),
}

_NOISE_KINDS: tuple[tuple[str, Norm, tuple[str, ...]], ...] = (
    ("L2", "l2", ("Gaussian", "Uniform")),
    ("L2ClippingAware", "l2", ("Gaussian", "Uniform")),
    ("Linf", "linf", ("Uniform",)),
)

_NOISES: Mapping[str, Fact] = {
    f"{prefix}{repeats}Additive{kind}NoiseAttack": _noise(
        kind,
        norm,
        clipped=" after clipping" if "Clipping" in prefix else "",
        source=_RAUBER if "Clipping" in prefix else _FOOLBOX,
        repeated=bool(repeats),
        remark=_TOO_LONG if norm == "linf" else None,
    )
    for prefix, norm, kinds in _NOISE_KINDS
    for kind in kinds
    for repeats in ("", "Repeated")
}

_MINIMAL: Mapping[str, Fact] = {
    "DDNAttack": Fact(
        summary="Minimize the L2 norm by deciding on the direction and the norm of each step apart (Rony et al., 2019, "
        "arXiv:1811.09600).",
        norm="l2",
        remark="It draws where a gradient vanishes alone.",
    ),
    "L2CarliniWagnerAttack": Fact(
        summary="Minimize the L2 norm plus a weighted lead of the unwanted label, searching the weight (Carlini and Wagner, 2017, "
        "arXiv:1608.04644).",
        norm="l2",
        stochastic=False,
        remark=_BLACK,
    ),
    "EADAttack": Fact(
        summary="Minimize a sum of the L1 and L2 norms plus a weighted lead of the unwanted label (Chen et al., 2018, "
        "arXiv:1709.04114).",
        norm="l1",
        stochastic=False,
        remark=_BLACK,
    ),
    "L2DeepFoolAttack": Fact(
        summary=f"Step over the nearest of the linearized decision boundaries, L2 norm ({_DEEPFOOL}).",
        norm="l2",
        targeted=False,
        stochastic=False,
        remark=_OWN_DIRECTION,
    ),
    "LinfDeepFoolAttack": Fact(
        summary=f"Step over the nearest of the linearized decision boundaries, L-inf norm ({_DEEPFOOL}).",
        norm="linf",
        targeted=False,
        stochastic=False,
        remark=_OWN_DIRECTION,
    ),
    "NewtonFoolAttack": Fact(
        summary="Lower the label's probability by steps of Newton's method (Jang et al., 2017, doi:10.1145/3134600.3134635).",
        norm="l2",
        targeted=False,
        stochastic=False,
        remark=_VANISHED,
    ),
    "L0FMNAttack": Fact(
        summary=_FMN.format("L0"),
        norm="l0",
        stochastic=False,
        remark="Foolbox crashes once all entries may change; here all but one may.",
    ),
    "L1FMNAttack": Fact(summary=_FMN.format("L1"), norm="l1", stochastic=False),
    "L2FMNAttack": Fact(
        summary=_FMN.format("L2"),
        norm="l2",
        stochastic=False,
        remark="Foolbox's projection does nothing in L2, so the norm is lowered by ever shorter steps alone.",
    ),
    "LInfFMNAttack": Fact(summary=_FMN.format("L-inf"), norm="linf", stochastic=False),
}

_SEARCHES: Mapping[str, Fact] = {
    "SaltAndPepperNoiseAttack": Fact(
        summary=f"Turn random pixels black and white, ever fewer once the objective was reached ({_FOOLBOX}).",
        norm="l2",
        gradients=False,
    ),
    "LinearSearchBlendedUniformNoiseAttack": Fact(
        summary=f"Blend the image with random noise that reaches the objective, as little as suffices ({_FOOLBOX}).",
        norm="l2",
        gradients=False,
        remark=_joined(_NOT_LP, "A sample for which no noise reaches the objective becomes noise."),
    ),
    "GaussianBlurAttack": Fact(
        summary=f"Blur the image until the objective is reached ({_FOOLBOX}).",
        norm="l2",
        gradients=False,
        stochastic=False,
        remark=_NOT_LP,
    ),
    "BinarySearchContrastReductionAttack": Fact(
        summary=f"Reduce the contrast as little as suffices, by a binary search ({_FOOLBOX}).",
        norm="l2",
        gradients=False,
        stochastic=False,
        remark=_joined(_NOT_LP, "A sample that never reaches the objective becomes gray."),
    ),
    "LinearSearchContrastReductionAttack": Fact(
        summary=f"Reduce the contrast until the objective is reached ({_FOOLBOX}).",
        norm="l2",
        gradients=False,
        stochastic=False,
        remark=_joined(_NOT_LP, "A sample that never reaches the objective becomes gray."),
    ),
    "L2ContrastReductionAttack": Fact(
        summary=f"Reduce the contrast by a perturbation of the L2 norm eps ({_FOOLBOX}).",
        norm="l2",
        targeted=False,
        gradients=False,
        stochastic=False,
        remark=_BLIND,
    ),
    "InversionAttack": Fact(
        summary="Turn the image into its negative (Hosseini et al., 2017, arXiv:1703.06857).",
        norm="l2",
        targeted=False,
        gradients=False,
        stochastic=False,
        remark=_joined(_BLIND, "Nothing is minimized.", _NOT_LP),
    ),
    "SpatialAttack": Fact(
        summary="Rotate and shift the image until the objective is reached (Engstrom et al., 2019, arXiv:1712.02779).",
        norm="l2",
        gradients=False,
        stochastic=False,
        remark=_joined(
            _NOT_LP, "What limits it are the largest angle and shift. Without grid_search it is stochastic."
        ),
    ),
    "GenAttack": Fact(
        summary="Breed perturbations that raise the wanted label's score, by a genetic search (Alzantot et al., 2019, "
        "arXiv:1805.11090).",
        norm="linf",
        untargeted=False,
        gradients=False,
    ),
    "VirtualAdversarialAttack": Fact(
        summary="Step in the direction that changes the predicted distribution most, L2 norm (Miyato et al., 2016, "
        "arXiv:1507.00677).",
        norm="l2",
        targeted=False,
        remark=_VANISHED,
    ),
}

_WALKS: Mapping[str, Fact] = {
    "BoundaryAttack": Fact(
        summary="Walk at random along the decision boundary towards the sample, by labels alone (Brendel et al., 2018, "
        "arXiv:1712.04248).",
        norm="l2",
        gradients=False,
        examples=True,
        remark=_joined(_STARTS, "The samples of a batch share their random directions."),
    ),
    "HopSkipJumpAttack": Fact(
        summary="Walk along the decision boundary by gradients estimated from labels alone (Chen et al., 2020, "
        "arXiv:1904.02144).",
        norm="l2",
        gradients=False,
        examples=True,
        remark=_joined(
            _STARTS,
            "Foolbox normalizes steps and probes over the whole batch, so norms grow with it; attack_batch_size: 1 gives the "
            "paper's attack.",
            "The norm named here is that of constraint: l2.",
        ),
    ),
    "PointwiseAttack": Fact(
        summary="Reset the entries of a wanted image to the sample's, one by one, where the objective holds (Schott et al., "
        "2019, arXiv:1805.09190).",
        norm="l0",
        gradients=False,
        examples=True,
        remark=_joined(_STARTS, "It queries once per changed entry, again and again: slow on large images."),
    ),
    **{
        f"{prefix}BrendelBethgeAttack": Fact(
            summary=_BB.format(shown),
            norm=norm,
            examples=True,
            needs=("numba",),
            remark=_joined(_NUMBA, _STARTS, _TRUST),
        )
        for prefix, norm, shown in _BALLS
    },
    "DatasetAttack": Fact(
        summary=f"Replace the sample by a data set's image that reaches the objective ({_FOOLBOX}).",
        norm="l2",
        gradients=False,
        examples=True,
        remark=_joined(
            "The images are those that the harness gives the samples of a batch. Nothing is minimized.", _NOT_LP
        ),
    ),
    "BinarizationRefinementAttack": Fact(
        summary=f"Move a wanted image's entries to the sample's side of the classifier's threshold ({_FOOLBOX}).",
        norm="l2",
        gradients=False,
        examples=True,
        remark=_joined(
            "For classifiers that binarize their pixels at the threshold alone; with others a sample whose label would change "
            "stays as it is.",
            "It starts from a training image that reaches the objective, which the harness draws: nothing else is drawn.",
            _NOT_LP,
        ),
    ),
}

FACTS: Mapping[str, Fact] = {**_DESCENTS, **_NOISES, **_MINIMAL, **_SEARCHES, **_WALKS}
"""What is offered, by the names of Foolbox's classes."""
