"""What adv-lib's signatures do not say of its parameters: meanings and limits, by our names."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.api import Word

if TYPE_CHECKING:
    from collections.abc import Mapping

ALWAYS_GIVEN = frozenset({"model", "inputs", "images", "labels", "targeted", "kwargs"})
"""Parameters that every call sets."""

UNOFFERED: Mapping[str, str] = {
    "best_loss": "then the library runs 100 steps, whatever the number asked for",
    "callback": "plots",
    "init_lr_distance": "the search for it never ends where no step reaches the distance",
    "large_memory": "how much memory a forward pass takes",
    "num_classes": "read from the classifier",
    "penalty": "a function",
    "return_targets": "for the library's own use",
    "return_unsuccessful": "for the library's own use",
    "starting_points": "images",
}
"""Parameters that are no options, and why."""

UNOFFERED_IN: Mapping[tuple[str, str], str] = {
    ("perc_al", "confidence"): "any value but zero asks for a margin of 40",
}
"""Likewise, for one attack."""

L1_ONLY = frozenset({"use_large_reps", "use_rs"})
"""Parameters that hold for the L1 norm alone."""

PIXEL_UNITS = frozenset({"absolute_step_size", "eps", "max_eps", "radius", "start_eps"})
"""Options that are a perturbation's size where the norm is L-inf: 1 is the range of the pixels."""

WORDS: Mapping[str, Word] = {
    "abort_early": Word("Stop when the batch's losses no longer decrease."),
    "absolute_step_size": Word("Step size, instead of the relative one.", above=0),
    "adaptive": Word("Widen and shrink the radius as the linear model holds."),
    "alpha": Word("Weight of the past in moving averages.", minimum=0, maximum=1),
    "alpha_c_init": Word("First step size along the color distance.", above=0),
    "alpha_final": Word("Last step size; a hundredth of the first if null.", above=0),
    "alpha_init": Word("First step size.", above=0),
    "alpha_l_init": Word("First step size along the classification loss.", above=0),
    "alpha_max": Word("Largest weight of the step that starts from the original image.", minimum=0, maximum=1),
    "alpha_rms": Word(
        "Weight of the past in the moving average of squared gradients; alpha if null.", minimum=0, maximum=1
    ),
    "beta": Word("Weight of the backward step, toward the original image.", minimum=0, maximum=1),
    "beta_1": Word("Weight of the past in Adam's moving average of gradients.", minimum=0, maximum=0.9999),
    "beta_2": Word("Weight of the past in Adam's moving average of squared gradients.", minimum=0, maximum=0.9999),
    "binary_search_steps": Word("Steps of the binary search.", minimum=1),
    "c": Word("Labels that are considered, the likeliest first.", minimum=1),
    "check_steps": Word("Steps between two looks at the constraint.", minimum=1),
    "confidence": Word("Margin of the logits that is asked for.", minimum=0),
    "const_factor": Word("Factor of the constant after a failure.", minimum=1.01),
    "decrease_factor": Word("Factor of the largest perturbation after a success.", above=0, maximum=0.99),
    "df_steps": Word("Largest number of DeepFool's steps per step.", minimum=1),
    "dual_ema": Word("Weight of the past in the moving average of the dual variables.", minimum=0, maximum=1),
    "dual_lr": Word("First step size of the dual variables.", above=0),
    "dual_lr_decrease": Word("Last step size of the dual variables, as a fraction of the first.", above=0, maximum=1),
    "dual_min_ratio": Word("Smallest ratio of the dual variables.", above=0, maximum=1),
    "dual_ratio_init": Word("First ratio of the norm's weight to the loss's.", above=0, maximum=1),
    "eot_iter": Word("Gradients averaged per step.", minimum=1),
    "eps": Word("Largest perturbation, in the norm that is bounded.", above=0),
    "eps_threshold": Word("Relative change at which the proximal steps end.", above=0),
    "eta": Word("Factor by which a step overshoots the decision boundary.", above=0),
    "eta_0": Word("First step size.", above=0),
    "fix_y_step": Word("Sum over overlapping groups, unlike the original code."),
    "gamma": Word("Relative change of the norm per step.", minimum=0, maximum=0.99),
    "gamma_final": Word("Last relative change of the norm per step.", minimum=0, maximum=0.99),
    "gamma_init": Word("First relative change of the norm per step.", minimum=0, maximum=0.99),
    "grad_norm": Word("Norm that gradients are divided by.", kind="str", choices=("1", "2", "inf")),
    "group_size": Word("Side of the groups of pixels.", minimum=1),
    "increasing": Word("Add to entries, rather than take from them."),
    "init_norm": Word("First norm of the perturbation.", above=0),
    "initial_const": Word("First constant between norm and loss.", above=0),
    "largest_const": Word("Largest constant between norm and loss.", above=0),
    "learning_rate": Word("Step size of Adam.", above=0),
    "levels": Word("Values that a pixel may take, evenly spaced; any if null.", minimum=2),
    "logit_tolerance": Word("Margin that the loss asks for.", minimum=0),
    "loss_function": Word("Loss that is climbed; dlr needs three classes, four where labels are approached."),
    "lr_init": Word("First step size.", above=0),
    "lr_reduction": Word("Last step size, as a fraction of the first.", above=0, maximum=1),
    "max_eps": Word("Where the search starts; it goes up to twice as far.", above=0),
    "momentum": Word("Momentum of the gradients; alpha if null.", minimum=0, maximum=1),
    "mu_init": Word("First multiplier of the penalty.", above=0),
    "n_restarts": Word("Random starts, for the samples that have resisted.", minimum=1),
    "n_samples": Word("Random values tried per step.", minimum=1),
    "num_targets": Word("Labels approached in turn, the likeliest first; all if null.", minimum=1),
    "overshoot": Word("Fraction by which a step overshoots the decision boundary.", minimum=0),
    "primal_lr": Word("First step size of the perturbation.", above=0),
    "primal_lr_decrease": Word("Last step size of the perturbation, as a fraction of the first.", above=0, maximum=1),
    "proximal_operator": Word(
        "Norm of the proximal operator; 23 stands for 2/3. The minimized one if null.",
        kind="str",
        choices=("0", "23", "1", "2", "inf"),
    ),
    "proximal_steps": Word("Proximal steps per step.", minimum=1),
    "radius": Word("Largest change per step, in the norm that is minimized.", above=0),
    "reduce_const": Word("Halve the constant after a success."),
    "relative_step_size": Word("Step size, as a fraction of eps.", above=0),
    "retrain": Word("Refine what was found on few entries."),
    "rho": Word("Fraction of improving steps below which the step is halved.", above=0, maximum=1),
    "rho_init": Word("First parameter of the penalty.", above=0),
    "search_iter": Word("Steps of the binary search toward the image at the end.", minimum=0),
    "sigma": Word("Smoothness of the approximated L0 norm.", above=0),
    "start_eps": Word("Largest norm of random starts; by the norm if null.", above=0),
    "steps": Word("Number of steps.", minimum=1),
    "stride": Word("Distance between groups of pixels.", minimum=1),
    "targeted_restarts": Word("Approach every other label in turn."),
    "targeted_version": Word("Approach every other label in turn."),
    "tau": Word("Factor by which the constraint must have improved.", above=0, maximum=1),
    "tau_0": Word("First threshold below which entries are dropped.", minimum=0, maximum=1),
    "tau_factor": Word("Change of the threshold per step, as a fraction of the step size.", minimum=0),
    "use_large_reps": Word("Start with a larger eps, in three phases."),
    "use_rs": Word("Start the phases at random."),
    "worst_case": Word("Approach the farthest label rather than the nearest."),
}
"""Parameters by name."""

WORDS_IN: Mapping[tuple[str, str], Word] = {
    ("alma", "gamma"): Word("Factor of the penalty's parameter where the constraint has not improved.", minimum=1),
    ("carlini_wagner_l2", "steps"): Word("Largest number of steps per constant.", minimum=10),
    ("carlini_wagner_linf", "steps"): Word("Largest number of steps per constant.", minimum=1),
    ("df", "steps"): Word("Largest number of steps.", minimum=1),
    ("fab", "restarts"): Word(
        "Starts, all but the first random; labels approached in turn, with targeted_restarts. Null: one, or all.",
        minimum=1,
    ),
    ("fga", "steps"): Word("Largest number of entries changed; all if null.", minimum=1),
    ("pdgd", "random_init"): Word(
        "Half the side of the box that the start is drawn from; 0 starts at the image.", minimum=0
    ),
    ("pdgd", "steps"): Word("Number of steps.", minimum=2),
    ("pdpgd", "random_init"): Word(
        "Half the side of the box that the start is drawn from; 0 starts at the image.", minimum=0
    ),
    ("pdpgd", "steps"): Word("Number of steps.", minimum=2),
    ("pgd_linf", "loss_function"): Word(
        "Loss that is climbed; dlr needs three classes, four where labels are approached.", choices=("ce", "dl", "dlr")
    ),
    ("pgd_linf", "random_init"): Word("Start from a random point of the eps-ball."),
    ("pgd_linf", "restarts"): Word("Starts, for the samples that have resisted.", minimum=1),
    ("str_attack", "alpha"): Word("First step size.", above=0),
    ("str_attack", "gamma"): Word("Weight of the L2 norm.", above=0),
    ("str_attack", "rho"): Word(
        "Weight of the constraints: larger converges faster, to larger perturbations.", above=0
    ),
    ("str_attack", "sigma"): Word("Percentile of the changes below which refining drops them.", minimum=0, maximum=100),
    ("str_attack", "tau"): Word("Weight of the groups' sparsity.", minimum=0),
    ("tr", "steps"): Word("Largest number of steps.", minimum=1),
    ("vfga", "steps"): Word("Largest number of steps, each of which changes an entry; all entries if null.", minimum=1),
}
"""Parameters that mean something else, or have other limits, in one attack."""
