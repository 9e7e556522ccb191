"""How AutoAttack's parts are tried on a toy."""

from __future__ import annotations

from casing import Case

EPS = {"linf": 0.1, "l2": 2.0, "l1": 30.0}
"""Wide enough for a few steps to change a toy's labels."""

QUICK = {
    "apgd-ce": {"n_iter": 10},
    "apgd-dlr": {"n_iter": 10},
    "apgd-t": {"n_iter": 10},
    "fab": {"n_iter": 8},
    "fab-t": {"n_iter": 8},
    "square": {"n_queries": 100},
}

UNTARGETED = {"apgd-dlr", "fab"}
"""Those that flee labels alone, and so correct away from the predicted one."""

CASES: dict[str, Case] = {
    f"{part}-{norm}": Case(
        options={"eps": eps, **options}, objective="away-from-predicted" if part in UNTARGETED else "toward-true"
    )
    for part, options in QUICK.items()
    for norm, eps in EPS.items()
}
