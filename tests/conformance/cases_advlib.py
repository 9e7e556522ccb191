"""How adv-lib's attacks are tried on a toy classifier: 3 × 16 × 16 pixels, five classes."""

from __future__ import annotations

from casing import Case

_NORMS = ("l1", "l2", "linf")

CASES: dict[str, Case] = {
    **{f"alma-{distance}": Case({"steps": 40}) for distance in ("l1", "l2")},
    **{f"alma-{distance}": Case({"steps": 20}) for distance in ("ssim", "ciede2000")},
    **{f"apgd-{norm}": Case({"steps": 20}) for norm in _NORMS},
    **{f"apgd-targeted-{norm}": Case({"steps": 20}) for norm in _NORMS},
    "carlini-wagner-l2": Case({"steps": 20, "binary_search_steps": 3, "initial_const": 1.0, "learning_rate": 0.05}),
    "carlini-wagner-linf": Case(
        {"steps": 10, "initial_const": 1.0, "const_factor": 4.0, "decrease_factor": 0.5, "learning_rate": 0.05}
    ),
    "ddn": Case({"steps": 30}),
    **{f"fab-{norm}": Case({"steps": 10}) for norm in _NORMS},
    "fga": Case({"steps": 40}),
    **{f"minimal-apgd-{norm}": Case({"steps": 10, "binary_search_steps": 4}) for norm in _NORMS},
    "pdgd": Case({"steps": 40}),
    **{f"pdpgd-{norm}": Case({"steps": 40}) for norm in ("l0", *_NORMS)},
    "perc-al": Case({"steps": 20}),
    "sigma-zero": Case({"steps": 50}),
    "str-attack": Case({"steps": 60, "binary_search_steps": 3, "initial_const": 10.0, "retrain": False}),
    "superdeepfool": Case({"steps": 5, "df_steps": 20}),
    "vfga": Case({"steps": 40}),
}
