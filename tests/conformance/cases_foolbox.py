"""Foolbox's attacks on a toy: options that make them quick or strong enough, and what they cannot do."""

from __future__ import annotations

from casing import Case

_ODD = "a toy that is nearly odd about gray turns likely labels into unlikely ones when the image is inverted"
_GRAY = "the toy's images are noise: blurred they lose what tells labels apart, and none gets the label that is wanted"

CASES: dict[str, Case] = {
    "binary-search-contrast-reduction": Case(objective="away-from-predicted"),
    "boundary": Case({"steps": 50}),
    "ead": Case({"steps": 30, "binary_search_steps": 3, "initial_const": 1.0}),
    "gaussian-blur": Case({"steps": 30}, objective="away-from-predicted", cannot_correct=_GRAY),
    "gen-attack": Case({"steps": 20, "eps": 0.2}),
    "hop-skip-jump": Case({"steps": 2, "initial_gradient_eval_steps": 20}),
    "inversion": Case(objective="away-from-predicted", cannot_correct=_ODD),
    "l2-additive-gaussian-noise": Case({"eps": 12.0}, objective="away-from-predicted"),
    "l2-additive-uniform-noise": Case({"eps": 12.0}, objective="away-from-predicted"),
    "l2-carlini-wagner": Case({"steps": 30, "binary_search_steps": 3, "stepsize": 0.05, "initial_const": 1.0}),
    "l2-clipping-aware-additive-gaussian-noise": Case({"eps": 8.0}, objective="away-from-predicted"),
    "l2-clipping-aware-additive-uniform-noise": Case({"eps": 8.0}, objective="away-from-predicted"),
    "l2-contrast-reduction": Case({"eps": 9.0}, objective="away-from-predicted"),
    "l2-repeated-additive-gaussian-noise": Case({"eps": 8.0}),
    "l2-repeated-additive-uniform-noise": Case({"eps": 8.0}),
    "l2-clipping-aware-repeated-additive-gaussian-noise": Case({"eps": 8.0}),
    "l2-clipping-aware-repeated-additive-uniform-noise": Case({"eps": 8.0}),
    "linf-repeated-additive-uniform-noise": Case({"eps": 0.5}),
    "linf-additive-uniform-noise": Case({"eps": 0.8}, objective="away-from-predicted"),
    "linear-search-blended-uniform-noise": Case({"steps": 50, "directions": 100}),
    "linear-search-contrast-reduction": Case({"steps": 50}, objective="away-from-predicted"),
    "pointwise": Case({"l2_binary_search": False}),
    "salt-and-pepper-noise": Case({"steps": 100}),
    **{f"{norm}-brendel-bethge": Case({"steps": 5}) for norm in ("l0", "l1", "l2", "linfinity")},
    "virtual-adversarial": Case({"eps": 8.0}, objective="away-from-predicted"),
}
