"""All that a plugin may import: ``from harness.api import Attack, Capabilities, Options, hookimpl``.

Names are resolved when they are first used, so that a plugin's hooks are read without pydantic or torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from harness.contract import (
        Adapter,
        AdapterCapabilities,
        Architecture,
        Attack,
        Batch,
        Capabilities,
        Classifier,
        Criterion,
        DatasetProvider,
        Domain,
        FractionalFloat,
        ImageData,
        InputShape,
        NoOptions,
        Norm,
        Options,
        SampleStreams,
    )
    from harness.engine.gradients import input_gradient, loss_gradient
    from harness.engine.norms import per_sample, per_sample_norm
    from harness.engine.torchvision_compat import import_torchvision
    from harness.errors import ContractError, DataError, HarnessError, PluginError, did_you_mean
    from harness.hookspecs import hookimpl

_HOMES = {
    "harness.contract": (
        "Adapter",
        "AdapterCapabilities",
        "Architecture",
        "Attack",
        "Batch",
        "Capabilities",
        "Classifier",
        "Criterion",
        "DatasetProvider",
        "Domain",
        "FractionalFloat",
        "ImageData",
        "InputShape",
        "NoOptions",
        "Norm",
        "Options",
        "SampleStreams",
    ),
    "harness.engine.gradients": ("input_gradient", "loss_gradient"),
    "harness.engine.norms": ("per_sample", "per_sample_norm"),
    "harness.engine.torchvision_compat": ("import_torchvision",),
    "harness.errors": ("ContractError", "DataError", "HarnessError", "PluginError", "did_you_mean"),
    "harness.hookspecs": ("hookimpl",),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "Adapter",
    "AdapterCapabilities",
    "Architecture",
    "Attack",
    "Batch",
    "Capabilities",
    "Classifier",
    "ContractError",
    "Criterion",
    "DataError",
    "DatasetProvider",
    "Domain",
    "FractionalFloat",
    "HarnessError",
    "ImageData",
    "InputShape",
    "NoOptions",
    "Norm",
    "Options",
    "PluginError",
    "SampleStreams",
    "did_you_mean",
    "hookimpl",
    "import_torchvision",
    "input_gradient",
    "loss_gradient",
    "per_sample",
    "per_sample_norm",
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
