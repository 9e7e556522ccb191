"""What torchattacks' signatures do not say of its parameters: our names for them, meanings, limits."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.api import Word

if TYPE_CHECKING:
    from collections.abc import Mapping

RENAMED: Mapping[str, str] = {
    "max_epsilon": "eps",
    "num_iter_set": "steps",
    "nb_iter": "steps",
    "n_classes": "target_classes",
}
"""The library's parameters that go by the field's terms here, for every attack."""

RENAMED_IN: Mapping[tuple[str, str], str] = {("EADL1", "max_iterations"): "steps", ("EADEN", "max_iterations"): "steps"}
"""Likewise, for one attack."""

UNOFFERED: Mapping[str, str] = {
    "eps_for_division": "a guard against division by zero",
    "inf_batch": "how much memory a forward pass takes",
    "batch_max": "how much memory a forward pass takes",
    "seed": "drawn from the generator that the harness seeds",
    "verbose": "prints",
}
"""Parameters that are no options, and why."""

UNOFFERED_IN: Mapping[tuple[str, str], str] = {
    ("EADL1", "kappa"): "shifts the logits of every label in the batch, not of the sample's own",
    ("EADEN", "kappa"): "shifts the logits of every label in the batch, not of the sample's own",
    ("PIFGSM", "momentum"): "not used by the library",
    ("PIFGSM", "prob"): "not used by the library",
    ("PIFGSMPP", "momentum"): "not used by the library",
    ("PIFGSMPP", "prob"): "not used by the library",
}
"""Likewise, for one attack."""

GAUSSIAN = "gaussian"
"""Our spelling of the noise that the library calls ``guassian``."""

PIXEL_UNITS = frozenset({"alpha", "eps"})
"""Options that are a perturbation's size where the norm is L-inf: 1 is the range of the pixels."""

PIXEL_UNITS_IN = frozenset({("SPSA", "delta"), ("SPSA", "lr")})
"""Likewise, for one attack."""

_RANDOM_START = Word("Start from a random point of the eps-ball.")
_NOISE = (GAUSSIAN, "uniform")

WORDS: Mapping[str, Word] = {
    "N": Word("Neighbors drawn around an iterate.", minimum=1),
    "abort_early": Word("Stop when the batch's loss no longer decreases."),
    "alpha": Word("Step size, in the norm that is bounded.", above=0),
    "alpha_max": Word("Largest weight of the step that starts from the original image.", minimum=0, maximum=1),
    "amplification": Word("Factor by which a step exceeds eps / steps.", kind="float", above=0),
    "beta": Word("Weight of the backward step, toward the original image.", minimum=0, maximum=1),
    "binary_search_steps": Word("Steps of the search for the constant between norm and loss.", minimum=1),
    "c": Word("Weight of the classification loss beside the squared norm.", kind="float", above=0),
    "decay": Word("Momentum of the gradients.", minimum=0),
    "delta": Word("Finite difference by which pixels are moved to estimate a gradient.", above=0),
    "diversity_prob": Word("Probability that a query is resized and padded.", minimum=0, maximum=1),
    "eot_iter": Word("Gradients averaged per step.", minimum=1),
    "eps": Word("Largest perturbation, in the norm that is bounded.", above=0),
    "eta": Word("Factor by which a step overshoots the decision boundary.", above=0),
    "gamma": Word("Largest fraction of the entries that is changed.", above=0, maximum=1),
    "initial_const": Word("First constant between norm and loss.", above=0),
    "kappa": Word("Margin of the logits that the loss asks for.", kind="float", minimum=0),
    "kernel_name": Word("Kernel that smooths the gradient.", choices=("gaussian", "linear", "uniform")),
    "lam": Word("Factor by which the step to the boundary is lengthened.", kind="float", above=0),
    "len_kernel": Word("Side of the smoothing kernel, in pixels; odd.", minimum=1),
    "lr": Word("Step size of the optimizer.", above=0),
    "m": Word("Copies of the image, each half as bright as the one before.", minimum=1),
    "max_batch_size": Word("Random directions tried at once, for every image of the batch.", minimum=1),
    "max_iterations": Word("Patches tried per restart.", minimum=1),
    "n_queries": Word("Largest number of queries.", minimum=1),
    "n_restarts": Word("Random starts, for the samples that have resisted.", minimum=1),
    "nb_sample": Word("Random directions per estimated gradient.", minimum=1),
    "noise_batch_size": Word("Noisy copies whose probabilities are averaged.", minimum=1),
    "noise_sd": Word("Standard deviation of the noise, or half its range where it is uniform.", above=0),
    "noise_type": Word("Noise of the smoothed classifier.", choices=_NOISE),
    "nsig": Word("Half the kernel's side, in standard deviations.", kind="float", above=0),
    "overshoot": Word("Fraction by which a step overshoots the decision boundary.", minimum=0),
    "p_init": Word("Fraction of the pixels that the first square covers.", above=0, maximum=1),
    "pixel_mapping": Word(
        "Which pixels a patch's pixels replace.",
        choices=("random", "similarity", "similarity_random", "distance", "distance_random"),
    ),
    "pixels": Word("Pixels that are changed, in all their channels.", minimum=1),
    "popsize": Word("Candidates of the evolution.", minimum=1),
    "project_factor": Word("Fraction of the excess that is given to neighboring pixels.", above=0),
    "random_start": _RANDOM_START,
    "resc_schedule": Word("Fit the schedule of the squares' sides to n_queries."),
    "resize_rate": Word("Smallest side that a query is shrunk to, as a fraction.", minimum=0.25, maximum=0.99),
    "restarts": Word("Times that patches are tried, each from the best so far.", minimum=1),
    "rho": Word("Fraction of improving steps below which the step is halved.", above=0, maximum=1),
    "scale": Word("Factor of the normalized logits.", kind="float", above=0),
    "std": Word("Standard deviation of the noise.", minimum=0),
    "steps": Word("Number of steps.", minimum=1),
    "target_classes": Word("Labels approached in turn, the likeliest first.", minimum=1),
    "theta": Word("What is added to a chosen entry: darker pixels below zero.", minimum=-1, maximum=1),
    "update_each_iteration": Word("Try every patch on the best image so far, without restarts."),
}
"""Parameters by name."""

WORDS_IN: Mapping[tuple[str, str], Word] = {
    ("APGD", "loss"): Word("Loss that is climbed; dlr needs three classes.", choices=("ce", "dlr")),
    ("BIM", "steps"): Word(
        "Number of steps; 0 takes min(eps + 4, 1.25 eps), eps in units of 1/255, as the paper does.", minimum=0
    ),
    ("CW", "lr"): Word("Step size of Adam.", above=0),
    ("EADEN", "beta"): Word("Weight of the L1 norm.", minimum=0),
    ("EADEN", "steps"): Word("Largest number of steps per constant.", minimum=10),
    ("EADL1", "beta"): Word("Weight of the L1 norm.", minimum=0),
    ("EADL1", "steps"): Word("Largest number of steps per constant.", minimum=10),
    ("Square", "loss"): Word("Loss that is climbed.", choices=("margin", "ce")),
    ("UPGD", "loss"): Word(
        "Loss that is climbed; dlr needs three classes, four where labels are approached.",
        choices=("ce", "dlr", "margin"),
    ),
    ("VMIFGSM", "beta"): Word("Side of the neighborhood, in units of eps.", above=0),
    ("VNIFGSM", "beta"): Word("Side of the neighborhood, in units of eps.", above=0),
}
"""Parameters that mean something else, or have other limits, in one attack (by our name)."""
