"""How torchattacks' attacks are tried on a toy classifier: 3 × 16 × 16 pixels, five classes."""

from __future__ import annotations

from casing import Case

_STRONG_LINF = {"eps": 0.3, "alpha": 0.03}

CASES: dict[str, Case] = {
    "apgd-l2": Case({"eps": 3.0}),
    "apgd-linf": Case({"eps": 0.3}),
    "apgdt-l2": Case({"eps": 3.0}),
    "apgdt-linf": Case({"eps": 0.3}),
    "difgsm": Case(_STRONG_LINF),
    "eaden": Case({"steps": 20, "binary_search_steps": 3, "lr": 0.05, "initial_const": 1.0}),
    "eadl1": Case({"steps": 20, "binary_search_steps": 3, "lr": 0.05, "initial_const": 1.0}),
    "fab-l2": Case({"eps": 3.0}),
    "fab-linf": Case({"eps": 0.3}),
    "fabt-l2": Case({"eps": 3.0}),
    "fabt-linf": Case({"eps": 0.3}),
    "gn": Case({"std": 1.0}),
    "jitter": Case(_STRONG_LINF),
    "jsma": Case({"gamma": 0.05}, cannot_attack="approaches a label and flees none"),
    "onepixel": Case({"pixels": 5, "popsize": 50, "steps": 8}),
    "pifgsm": Case({"eps": 0.3}),
    "spsa": Case({"eps": 0.3, "lr": 0.1, "steps": 3, "nb_sample": 32, "max_batch_size": 32}),
    "square-l2": Case({"eps": 3.0, "n_queries": 60}),
    "square-linf": Case({"eps": 0.3, "n_queries": 60}),
    "tifgsm": Case({**_STRONG_LINF, "len_kernel": 5}),
    "tpgd": Case(_STRONG_LINF),
}
