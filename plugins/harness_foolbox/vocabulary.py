"""What Foolbox's parameters mean, and which values they may have: what its signatures do not say."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.api import DEFAULT_EPS, Word

if TYPE_CHECKING:
    from collections.abc import Mapping

    from harness.api import Norm, Parameter


def vocabulary(target: str, name: str) -> Word:
    """Return the word for a parameter: that for its class, else that for its name. Raises ``KeyError`` without any."""
    return _OF_CLASS[target, name] if (target, name) in _OF_CLASS else _OF_NAME[name]


_SHOWN: Mapping[Norm, str] = {"linf": "L-inf", "l2": "L2", "l1": "L1"}

EPS: Mapping[Norm, Parameter] = {
    norm: Word(f"Largest {shown} norm of the perturbation (pixels in [0, 1]).", above=0)
    .sized(norm)
    .parameter("eps", DEFAULT_EPS[norm])
    for norm, shown in _SHOWN.items()
}
"""The budget of the attacks that spend one, which Foolbox takes when an attack is called."""

DEFAULTS: Mapping[tuple[str, str], int | float] = {("VirtualAdversarialAttack", "steps"): 10}
"""Defaults of the parameters that have none in Foolbox."""

LEFT_OUT_OPTIONS: Mapping[str, frozenset[str]] = {
    # Objects, folders to log to, and what the harness decides: images are (N, C, H, W), norms are the capabilities'.
    "": frozenset({"distance", "init_attack", "tensorboard", "channel_axis", "reduced_dims"}),
    # Never read, since these two build no Adam optimizer.
    **dict.fromkeys(
        ("L1AdamBasicIterativeAttack", "L2AdamBasicIterativeAttack"),
        frozenset({"adam_beta1", "adam_beta2", "adam_epsilon"}),
    ),
    # Read only where the attack starts from another image, which it then must be given as an object.
    **dict.fromkeys(("L0FMNAttack", "L1FMNAttack", "L2FMNAttack", "LInfFMNAttack"), frozenset({"binary_search_steps"})),
}
"""Parameters that are no options: of single classes, and (under the empty name) of all."""

_OF_NAME: Mapping[str, Word] = {
    "abort_early": Word(
        "Whether a search ends once a tenth of its steps has not lowered the loss, summed over the batch."
    ),
    "abs_stepsize": Word("Length of a step in the attack's norm; takes precedence over rel_stepsize.", above=0),
    "across_channels": Word("Whether a noisy pixel is white or black in all of its channels at once."),
    "adam_beta1": Word("Decay of Adam's first moment.", minimum=0, maximum=0.9999),
    "adam_beta2": Word("Decay of Adam's second moment.", minimum=0, maximum=0.99999),
    "adam_epsilon": Word("What Adam adds to the denominator.", above=0),
    "binary_search_steps": Word("Steps of the binary search.", minimum=1),
    "candidates": Word("How many of the likeliest labels are considered; None considers all.", minimum=2),
    "check_trivial": Word("Whether an image that reaches the objective unperturbed is returned as it is."),
    "confidence": Word("By how much the logit of the wanted label must lead.", minimum=0),
    "constraint": Word("Norm that is minimized."),
    "decision_rule": Word("What the result is chosen by: the elastic-net distance (EN) or L1."),
    "directions": Word("Random images drawn per sample, at most, until one reaches the objective.", minimum=1),
    "gamma": Word("Share by which the norm shrinks or grows after each step.", above=0, maximum=1),
    "grid_search": Word("Whether angles and shifts are taken from a grid, or else drawn at random."),
    "included_in": Word("Whether the threshold itself belongs to the lower or the upper interval."),
    "init_epsilon": Word("L2 norm of the first perturbation (pixels in [0, 1]).", above=0),
    "initial_const": Word("First weight of the objective against the distance.", above=0),
    "initial_gradient_eval_steps": Word("Queries for the first estimate of a gradient.", minimum=1),
    "initial_stepsize": Word("Length of the first step; it shrinks with the square root of what remains.", above=0),
    "l2_binary_search": Word(
        "Whether values that cannot be reset are brought nearer to the original's, to lower the L2 norm."
    ),
    "loss": Word("What the boundaries are linearized in: logits or their cross-entropy."),
    "lr": Word("Radius of the trust region in which a step is chosen.", above=0),
    "lr_decay": Word("Factor by which the radius shrinks.", above=0, maximum=1),
    "lr_num_decay": Word("How often the radius shrinks over the steps.", minimum=1),
    "max_gradient_eval_steps": Word("Queries for an estimate of a gradient, at most.", minimum=1),
    "max_rotation": Word("Largest angle, in degrees, either way.", minimum=0),
    "max_sigma": Word(
        "Largest standard deviation of the blur, in pixels; None takes the longer side of the image.", above=0
    ),
    "max_stepsize": Word("Length of the first step.", above=0),
    "max_translation": Word("Largest shift, in pixels, either way.", minimum=0),
    "min_stepsize": Word("Length of the last step; None takes a hundredth of max_stepsize.", above=0),
    "momentum": Word("Share of the accumulated gradients that is kept at each step.", minimum=0),
    "mutation_probability": Word("Share of entries that mutate, at least.", minimum=0, maximum=1),
    "mutation_range": Word("Largest mutation as a share of eps, at least.", minimum=0),
    "num_rotations": Word("Angles on the grid.", minimum=1),
    "num_translations": Word("Shifts on the grid along each axis.", minimum=1),
    "overshoot": Word("Share by which a step goes beyond the boundary.", minimum=0),
    "population": Word("Candidates kept for a sample.", minimum=2),
    "quantile": Word(
        "Share of the gradient's entries, the smallest ones, that a step leaves alone.", minimum=0, maximum=1
    ),
    "random_start": Word("Whether the search starts at a random point of the eps-ball."),
    "random_steps": Word("Pairs of an angle and a shift drawn where there is no grid.", minimum=1),
    "regularization": Word("Weight of the L1 distance: changes below it are set to zero.", minimum=0),
    "rel_stepsize": Word("Length of a step as a share of eps.", above=0),
    "repeats": Word("Perturbations drawn, at most.", minimum=1),
    "sampling_temperature": Word("Temperature at which fitness makes a candidate a parent.", above=0),
    "source_step": Word("First step towards the sample, as a share of the distance.", above=0),
    "source_step_convergance": Word("Step towards the sample below which the search has converged.", minimum=0),
    "spherical_step": Word("First step on the sphere around the sample, as a share of the distance.", above=0),
    "step_adaptation": Word("Factor by which both steps grow or shrink.", above=1),
    "steps": Word("Steps, each one forward and one backward pass.", minimum=1),
    "stepsize": Word("Length of a step.", above=0),
    "stepsize_search": Word(
        "How the length of a step is found: by halving it, or on a grid that a whole batch shares."
    ),
    "target": Word("Gray value that the image is drawn to, as a share of the pixel range.", minimum=0, maximum=1),
    "threshold": Word("Where the classifier cuts pixels in two; None takes the middle of the pixel range."),
    "update_stats_every_k": Word("Steps between two adaptations of the step lengths.", minimum=1),
    "xi": Word("L2 distance at which the curvature is probed (pixels in [0, 1]).", above=0),
}

PIXEL_UNITS = frozenset({"abs_stepsize"})
"""Options that are a perturbation's size where the norm is L-inf: 1 is the range of the pixels."""

_TRIED = Word("Strengths tried, each one forward pass.", minimum=1)
_CW_STEPS = Word("Steps for each weight that the binary search tries.", minimum=1)
_CW_SEARCH = Word("Weights of the objective that are tried.", minimum=1)
_BB_OVERSHOOT = Word("How far a step aims over the boundary; 1 aims at the boundary itself.", minimum=1, maximum=2)
_BB_MOMENTUM = Word("Share of the earlier estimates of the boundary that is kept.", minimum=0, maximum=1)
_BB_STEPS = Word("Steps along the boundary, each one forward and one backward pass.", minimum=1)
_BRENDEL_BETHGE = tuple(f"{norm}BrendelBethgeAttack" for norm in ("L0", "L1", "L2", "Linfinity"))

_OF_CLASS: Mapping[tuple[str, str], Word] = {
    ("BoundaryAttack", "steps"): Word("Steps along the boundary, each one or two forward passes.", minimum=1),
    ("EADAttack", "binary_search_steps"): _CW_SEARCH,
    ("EADAttack", "steps"): _CW_STEPS,
    ("GaussianBlurAttack", "steps"): _TRIED,
    ("GenAttack", "steps"): Word("Generations, each as many forward passes as the population has.", minimum=1),
    ("HopSkipJumpAttack", "gamma"): Word(
        "Precision of the search for the boundary: it ends below gamma / d^1.5 (L2) or gamma / d^2 (L-inf), d being the number "
        "of entries.",
        above=0,
    ),
    ("HopSkipJumpAttack", "steps"): Word(
        "Steps, each with as many queries as an estimate of the gradient takes.", minimum=1
    ),
    ("L2CarliniWagnerAttack", "binary_search_steps"): _CW_SEARCH,
    ("L2CarliniWagnerAttack", "steps"): _CW_STEPS,
    ("L2DeepFoolAttack", "steps"): Word(
        "Steps, each one forward and backward pass per other label considered.", minimum=1
    ),
    ("LinfDeepFoolAttack", "steps"): Word(
        "Steps, each one forward and backward pass per other label considered.", minimum=1
    ),
    ("LinearSearchBlendedUniformNoiseAttack", "steps"): _TRIED,
    ("LinearSearchContrastReductionAttack", "steps"): _TRIED,
    ("SaltAndPepperNoiseAttack", "steps"): Word("Noise patterns tried, each one forward pass.", minimum=1),
    ("VirtualAdversarialAttack", "steps"): Word("Power iterations, each one forward and one backward pass.", minimum=1),
    **{(target, "overshoot"): _BB_OVERSHOOT for target in _BRENDEL_BETHGE},
    **{(target, "momentum"): _BB_MOMENTUM for target in _BRENDEL_BETHGE},
    **{(target, "steps"): _BB_STEPS for target in _BRENDEL_BETHGE},
}
