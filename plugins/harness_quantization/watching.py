"""Watch activations where integer arithmetic rounds them: the graph of a network with observers (torch.ao, FX graph mode).

The places are torch's own: what convolutions and linear layers read and write, sums, products; a ReLU belongs to what is before it,
and the largest of a pool to its input's grid. Averages are float, and have a grid of their own when they are read. Logits are on
no grid: 256 levels would make one image in a hundred a tie.
"""

from __future__ import annotations

import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING, cast

import torch
from torch import fx, nn
from torch.ao.quantization import QConfig, QConfigMapping, get_default_qconfig_mapping
from torch.ao.quantization.observer import ObserverBase
from torch.ao.quantization.quantize_fx import prepare_fx
from torch.nn import functional
from torch.nn.utils import parametrize

from harness.api import fold_batch_norm
from harness_quantization.grids import Weighted, activation_observer, new_weight_observer

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from torch import Tensor

    from harness.api import Domain
    from harness_quantization.options import StaticInt8Options

_TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
_AVERAGES = (
    nn.AvgPool2d,
    nn.AdaptiveAvgPool2d,
    functional.avg_pool2d,
    functional.adaptive_avg_pool2d,
    torch.mean,
    "mean",
)
"""What torch would round to the grid of what is averaged, whose largest values no average comes near."""

_DEPRECATED = (
    ("torch.ao.quantization is deprecated", DeprecationWarning),
    ("torch.quantize_per_tensor, torch.quantize_per_channel", UserWarning),
    ("TypedStorage is deprecated", UserWarning),  # of unpickling torch's own quantized tensors
)
_CALIBRATION_BATCH = 128


class UnquantizableError(Exception):
    """A network without a graph of integer arithmetic: it cannot be traced, or has layers that would stay in float."""


def watched(network: nn.Module, example: Tensor, options: StaticInt8Options, *, largest: int) -> fx.GraphModule:
    """Return a graph of the network, batch-norm folded, with observers; ``example`` are images (N, C, H, W).

    ``largest`` is the largest integer of an activation's grid. Raises ``UnquantizableError``.
    """
    plain_weights(network)
    qconfigs = _qconfigs(options, largest)
    with quiet():
        graph = prepare_fx(fold_batch_norm(_traced(network)), qconfigs, (example,))
    for node in graph.graph.nodes:
        node.type = None  # annotations, which are strings here, would keep the graph from being pickled
    _unwatch_logits(graph)
    graph.delete_all_unused_submodules()
    graph.recompile()
    if left := _unwatched(graph):
        raise UnquantizableError(f"{', '.join(left[:3])} would stay in float")
    return graph


def calibrate(network: nn.Module, calibration: Domain, count: int) -> None:
    """Show a network with observers the first ``count`` images of the domain."""
    with torch.no_grad(), quiet():
        for images in first_images(calibration, count):
            network(images)


def first_images(calibration: Domain, count: int) -> Iterator[Tensor]:
    """Yield the first ``count`` images of the domain, in batches."""
    left = count
    for images in calibration.batches(min(count, _CALIBRATION_BATCH)):
        if left <= 0:
            return
        yield images[:left]
        left -= len(images)


def plain_weights(network: nn.Module) -> None:
    """Keep the weights that parametrizations compute: rounded, they could not be computed anew at each pass."""
    for module in list(network.modules()):
        if parametrize.is_parametrized(module):
            names = list(cast("nn.ModuleDict", module.parametrizations))
            weights = {name: getattr(module, name).detach().clone() for name in names}
            # Not by torch's own remove_parametrizations, which changes the class that this copy shares with its original.
            module.__class__ = type(module).__bases__[0]
            del module.parametrizations
            for name, values in weights.items():
                module.register_parameter(name, nn.Parameter(values, requires_grad=False))


@contextmanager
def quiet() -> Iterator[None]:
    """Silence what torch says of the age of its quantization, and nothing else."""
    with warnings.catch_warnings():
        for message, category in _DEPRECATED:
            warnings.filterwarnings("ignore", message=message, category=category)
        yield


def _traced(network: nn.Module) -> fx.GraphModule:
    try:
        return fx.symbolic_trace(network)
    except Exception as error:  # tracing runs the network's own code, which may raise anything
        raise UnquantizableError(f"{type(error).__name__}: {error}".splitlines()[0]) from error


def _qconfigs(options: StaticInt8Options, largest: int) -> QConfigMapping:
    """Return torch's own mapping, which knows the grids of sigmoids and their like, with our observers."""
    mapping = get_default_qconfig_mapping("qnnpack")
    usual = mapping.global_qconfig.activation  # type: ignore[union-attr]
    activation = activation_observer(options, largest=largest)
    for kind, qconfig in list(mapping.object_type_qconfigs.items()):
        if qconfig is not None and qconfig.activation == usual:
            mapping.set_object_type(kind, QConfig(activation, qconfig.weight))  # type: ignore[no-untyped-call]
    for averaging in _AVERAGES:
        mapping.set_object_type(averaging, None)
    return mapping.set_global(QConfig(activation, new_weight_observer))  # type: ignore[no-untyped-call]


def _unwatch_logits(graph: fx.GraphModule) -> None:
    """Take the observer away from between a linear layer and the network's output."""
    modules = dict(graph.named_modules(remove_duplicate=False))
    end = next(node for node in graph.graph.nodes if node.op == "output")
    observer = end.args[0]
    if not _calls(observer, ObserverBase, modules) or not _calls(observer.args[0], nn.Linear, modules):
        return
    if len(observer.users) == 1:
        end.replace_input_with(observer, observer.args[0])
        graph.graph.erase_node(observer)


def _unwatched(graph: fx.GraphModule) -> list[str]:
    """Return the layers that integer arithmetic would pass by: they read what no observer watches, or not once exactly."""
    modules = dict(graph.named_modules(remove_duplicate=False))
    reading: list[int] = []
    for node in graph.graph.nodes:
        if _calls(node, nn.Module, modules) and _calls(node.args[0], ObserverBase, modules):
            reading.extend(id(module) for module in modules[node.target].modules())
    return [
        f'"{name}" ({type(module).__name__})'
        for name, module in graph.named_modules()
        if isinstance(module, _TRANSPOSED) or (isinstance(module, Weighted) and reading.count(id(module)) != 1)
    ]


def _calls(node: object, kind: type, modules: dict[str, nn.Module]) -> bool:
    return isinstance(node, fx.Node) and node.op == "call_module" and isinstance(modules[str(node.target)], kind)


def weighted_layers(network: nn.Module) -> Iterable[tuple[str, Weighted]]:
    """Yield the convolutions and linear layers with their names."""
    return ((name, module) for name, module in network.named_modules() if isinstance(module, Weighted))
