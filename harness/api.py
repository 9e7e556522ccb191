"""All that a plugin may import: ``from harness.api import Attack, Capabilities, Options, hookimpl``.

Names are resolved when they are first used, so that a plugin's hooks are read without pydantic or torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from harness.adapting import (
        AdaptedNetwork,
        Adapter,
        AdapterCapabilities,
        Batch,
        Corrections,
        Domain,
        Loop,
        Outputs,
        Sampling,
        Shrinkage,
        WeightAveraging,
    )
    from harness.bridging import DEFAULT_EPS, Bridge, Entry, Parameter, Table, ValueType, Word
    from harness.contract import (
        Architecture,
        Attack,
        Capabilities,
        Classifier,
        Criterion,
        DatasetProvider,
        Examples,
        FractionalFloat,
        ImageData,
        InputShape,
        Library,
        NoOptions,
        Norm,
        Options,
        SampleStreams,
        Spending,
    )
    from harness.drawing import Drawing, Figure, Perturbed
    from harness.engine.folding import fold_batch_norm
    from harness.engine.gradients import input_gradient, loss_gradient
    from harness.engine.images import moved
    from harness.engine.norms import per_sample, per_sample_norm
    from harness.engine.rounding import undo_rounding
    from harness.engine.torchvision_compat import import_torchvision
    from harness.errors import ContractError, DataError, HarnessError, PluginError, did_you_mean
    from harness.hookspecs import hookimpl
    from harness.measuring import Evaluation, Evaluator, EvaluatorEps, Findings, Part, Quantizer, ReportFormat

_HOMES = {
    "harness.adapting": (
        "AdaptedNetwork",
        "Adapter",
        "AdapterCapabilities",
        "Batch",
        "Corrections",
        "Domain",
        "Loop",
        "Outputs",
        "Sampling",
        "Shrinkage",
        "WeightAveraging",
    ),
    "harness.bridging": ("DEFAULT_EPS", "Bridge", "Entry", "Parameter", "Table", "ValueType", "Word"),
    "harness.contract": (
        "Architecture",
        "Attack",
        "Capabilities",
        "Classifier",
        "Criterion",
        "DatasetProvider",
        "Examples",
        "FractionalFloat",
        "ImageData",
        "InputShape",
        "Library",
        "NoOptions",
        "Norm",
        "Options",
        "SampleStreams",
        "Spending",
    ),
    "harness.drawing": ("Drawing", "Figure", "Perturbed"),
    "harness.engine.folding": ("fold_batch_norm",),
    "harness.engine.gradients": ("input_gradient", "loss_gradient"),
    "harness.engine.images": ("moved",),
    "harness.engine.norms": ("per_sample", "per_sample_norm"),
    "harness.engine.rounding": ("undo_rounding",),
    "harness.engine.torchvision_compat": ("import_torchvision",),
    "harness.errors": ("ContractError", "DataError", "HarnessError", "PluginError", "did_you_mean"),
    "harness.hookspecs": ("hookimpl",),
    "harness.measuring": (
        "Evaluation",
        "Evaluator",
        "EvaluatorEps",
        "Findings",
        "Part",
        "Quantizer",
        "ReportFormat",
    ),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "DEFAULT_EPS",
    "AdaptedNetwork",
    "Adapter",
    "AdapterCapabilities",
    "Architecture",
    "Attack",
    "Batch",
    "Bridge",
    "Capabilities",
    "Classifier",
    "ContractError",
    "Corrections",
    "Criterion",
    "DataError",
    "DatasetProvider",
    "Domain",
    "Drawing",
    "Entry",
    "Evaluation",
    "Evaluator",
    "EvaluatorEps",
    "Examples",
    "Figure",
    "Findings",
    "FractionalFloat",
    "HarnessError",
    "ImageData",
    "InputShape",
    "Library",
    "Loop",
    "NoOptions",
    "Norm",
    "Options",
    "Outputs",
    "Parameter",
    "Part",
    "Perturbed",
    "PluginError",
    "Quantizer",
    "ReportFormat",
    "SampleStreams",
    "Sampling",
    "Shrinkage",
    "Spending",
    "Table",
    "ValueType",
    "WeightAveraging",
    "Word",
    "did_you_mean",
    "fold_batch_norm",
    "hookimpl",
    "import_torchvision",
    "input_gradient",
    "loss_gradient",
    "moved",
    "per_sample",
    "per_sample_norm",
    "undo_rounding",
]


def __getattr__(name: str) -> Any:
    home = _HOME_OF.get(name)
    if home is None:
        raise AttributeError(f"module 'harness.api' has no attribute {name!r}")
    value = getattr(import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
