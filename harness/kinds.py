"""The kinds of plugins: the hook that offers each, the class it derives from, what messages call it. And the norms of attacks."""

from __future__ import annotations

from typing import Literal, get_args

Kind = Literal["attack", "adapter", "classifier", "dataset", "quantizer", "evaluator", "figure", "report-format"]
KINDS: tuple[Kind, ...] = get_args(Kind)

Norm = Literal["l0", "l1", "l2", "linf"]
NORMS: tuple[Norm, ...] = get_args(Norm)

HOOKS: dict[Kind, str] = {
    "attack": "harness_attacks",
    "adapter": "harness_adapters",
    "classifier": "harness_classifiers",
    "dataset": "harness_datasets",
    "quantizer": "harness_quantizers",
    "evaluator": "harness_evaluators",
    "figure": "harness_figures",
    "report-format": "harness_report_formats",
}
TITLES: dict[Kind, str] = {
    "attack": "attack",
    "adapter": "adapter",
    "classifier": "classifier",
    "dataset": "data set plugin",
    "quantizer": "quantizer",
    "evaluator": "evaluator",
    "figure": "figure",
    "report-format": "report format",
}
BASES: dict[Kind, str] = {
    "attack": "Attack",
    "adapter": "Adapter",
    "classifier": "Architecture",
    "dataset": "DatasetProvider",
    "quantizer": "Quantizer",
    "evaluator": "Evaluator",
    "figure": "Figure",
    "report-format": "ReportFormat",
}
