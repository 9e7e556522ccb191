"""What pyautoattack's signatures do not say of its options: what they mean, and between which limits they make sense."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.api import Word

if TYPE_CHECKING:
    from collections.abc import Mapping

    from harness.api import Norm

NORM_NAMES: Mapping[Norm, str] = {"l1": "L1", "l2": "L2", "linf": "Linf"}
"""What the library calls the norms."""

EPS = Word("Largest norm of the perturbation, in units of the pixels' range.", above=0)

_RESTARTS = "How often it starts, again with the samples that it has failed on."
_TARGETS = (
    "Likeliest other labels that it makes for, one after the other, to flee a label; the classes may allow fewer."
)

_APGD: Mapping[str, Word] = {
    "n_iter": Word("Steps.", minimum=1),
    "n_restarts": Word(_RESTARTS, minimum=1),
    "eot_iter": Word("Gradients that are averaged for a step, for classifiers that answer randomly.", minimum=1),
    "rho": Word("Share of a stretch's steps that must raise the loss, or the step is halved.", above=0, maximum=1),
    "use_largereps": Word("Begin with balls of three times and twice eps, as AutoAttack's standard version does."),
}

WORDS: Mapping[str, Mapping[str, Word]] = {
    "APGDAttack": _APGD,
    "APGDAttack_targeted": {**_APGD, "n_target_classes": Word(_TARGETS, minimum=1)},
    "FABAttack_PT": {
        "n_iter": Word("Steps.", minimum=1),
        "n_restarts": Word(f"{_RESTARTS} All but the first begin at random.", minimum=1),
        "alpha_max": Word("Largest weight of the step that stays near the unperturbed image.", above=0, maximum=1),
        "eta": Word("Factor by which a step overshoots the boundary.", above=0),
        "beta": Word("Share of the perturbation that is kept when it steps back from a success.", above=0, maximum=1),
        "n_target_classes": Word(_TARGETS, minimum=1),
    },
    "SquareAttack": {
        "n_queries": Word("Queries for a sample at each start.", minimum=1),
        "n_restarts": Word(_RESTARTS, minimum=1),
        "p_init": Word("Share of the image that the first squares cover.", above=0, maximum=1),
        "loss": Word(
            "What must fall where labels are fled; approaching them it is the cross-entropy.", choices=("margin", "ce")
        ),
        "resc_schedule": Word(
            "Whether the squares shrink along n_queries rather than along 10,000 queries. AutoAttack says no."
        ),
    },
}

UNUSED: Mapping[Norm, frozenset[str]] = {
    "linf": frozenset({"use_largereps"}),
    "l2": frozenset({"use_largereps"}),
    "l1": frozenset({"rho"}),
}
"""Options that the library reads in other norms alone."""

NOT_OPTIONS: Mapping[str, str] = {
    "predict": "the classifier",
    "norm": "part of the attack's name",
    "eps": "offered with the harness's default for the norm",
    "seed": "drawn from the global generator, which the harness seeds",
    "verbose": "prints",
    "device": "the images' own",
    "logger": "the bridge's own",
    "is_tf_model": "for TensorFlow",
    "topk": "kept and never read",
    "loss_fn": "never read",
    "targeted": "told by the objective",
}
"""Parameters that a user is not asked for, with the reason."""
