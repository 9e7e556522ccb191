"""The attack-ready twin of a classifier: frozen, batch normalization folded into convolutions, sums and ReLUs in place.

In eval mode a convolution and its batch-norm are one affine map (Jacob et al., 2018, section 3.2), so the twin's logits agree with
the original's up to float rounding while a forward and backward pass costs less. What a twin says is never the verdict: the
harness decides every correction with the original.
"""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING

import torch
from torch import nn

from harness.engine.networks import BATCH_NORMS, HOOKS, PixelClassifier, frozen_copy

if TYPE_CHECKING:
    from torch import Tensor, fx


_FRESH_LAYERS = (nn.Conv2d, nn.BatchNorm2d)
_FRESH_SUMS = (operator.add, operator.iadd, torch.add)
"""What makes a tensor that its own gradient, in eval mode, has no need of."""


def attack_ready(network: PixelClassifier) -> PixelClassifier:
    """Return a frozen copy of ``network`` in eval mode, folded where its graph can be traced; ``unfolded`` tells where not."""
    from torch import fx

    twin = frozen_copy(network)
    twin.net = fold_batch_norm(twin.net)
    if isinstance(twin.net, fx.GraphModule):
        _rectify_in_place(twin.net)
        _sum_in_place(twin.net)
        twin.net.recompile()
    return twin


def unfolded(twin: nn.Module) -> str | None:
    """Say how many batch-norm layers a twin still has, whose attacks take longer for it; None where it has none."""
    left = sum(isinstance(module, BATCH_NORMS) for module in twin.modules())
    if not left:
        return None
    layers = f"{left} batch-norm layer{'s' if left > 1 else ''}"
    return f"attacked with {layers} that could not be folded into convolutions: it takes longer"


def fold_batch_norm(net: nn.Module) -> nn.Module:
    """Fold every convolution whose only reader is a batch-norm; returns ``net`` itself where it cannot be traced or has none.

    What is folded is frozen, and the network returned is in eval mode.
    """
    from torch.fx import symbolic_trace

    try:
        graph_module = symbolic_trace(net)
    except Exception:  # noqa: BLE001 (tracing runs the network's own code, which may raise anything)
        return net
    modules = dict(graph_module.named_modules())
    pairs = [pair for node in graph_module.graph.nodes if (pair := _convolution_before(node, modules)) is not None]
    if not pairs:
        return net
    for node, convolution, batch_norm in pairs:
        _replace(graph_module, node, convolution, batch_norm)
    graph_module.delete_all_unused_submodules()
    graph_module.graph.lint()
    graph_module.recompile()
    return graph_module.eval()


def _convolution_before(
    node: fx.Node, modules: dict[str, nn.Module]
) -> tuple[fx.Node, nn.Conv2d, nn.BatchNorm2d] | None:
    if node.op != "call_module" or type(batch_norm := modules[str(node.target)]) is not nn.BatchNorm2d:
        return None
    source = _input(node)
    if source is None or source.op != "call_module" or len(source.users) > 1:
        return None
    convolution = modules[str(source.target)]
    # A subclass (a parametrized weight) or a hook (weight norm's old form) makes the weight anew at each call.
    if type(convolution) is not nn.Conv2d or batch_norm.running_mean is None or _hooked(convolution, batch_norm):
        return None
    shared = sum(other.op == "call_module" and other.target == source.target for other in node.graph.nodes) > 1
    return None if shared else (node, convolution, batch_norm)


def _input(node: fx.Node) -> fx.Node | None:
    """Return what a layer or a function of one tensor is given, by place or as ``input=``; None where that is no tensor."""
    return next(iter(node.all_input_nodes), None)


def _hooked(*modules: nn.Module) -> bool:
    return any(getattr(module, kind) for module in modules for kind in HOOKS)


def _replace(graph_module: fx.GraphModule, node: fx.Node, convolution: nn.Conv2d, batch_norm: nn.BatchNorm2d) -> None:
    from torch.nn.utils.fusion import fuse_conv_bn_eval

    source = _input(node)
    assert source is not None  # noqa: S101 (the caller checked; this tells the type checker)
    parent, _, name = str(source.target).rpartition(".")
    fused = fuse_conv_bn_eval(convolution, batch_norm)
    fused.requires_grad_(requires_grad=False)
    setattr(graph_module.get_submodule(parent), name, fused)
    node.replace_all_uses_with(source)
    graph_module.graph.erase_node(node)


def _rectify_in_place(net: fx.GraphModule) -> None:
    """Let ReLU write over a tensor that nothing else reads: the same numbers, without memory of its own."""
    modules = dict(net.named_modules())
    for node in net.graph.nodes:
        if _is_relu(node, modules) and _is_fresh(source := _input(node), modules):
            with net.graph.inserting_before(node):
                rectified = net.graph.call_function(torch.relu_, (source,))
            node.replace_all_uses_with(rectified)
            net.graph.erase_node(node)


def _sum_in_place(net: fx.GraphModule) -> None:
    """Let a sum write over what a layer made for it alone."""
    from torch import fx

    modules = dict(net.named_modules())
    for node in net.graph.nodes:
        if node.op != "call_function" or node.target not in (operator.add, torch.add) or node.kwargs:
            continue
        made = next((one for one in node.args if isinstance(one, fx.Node) and _made_by_layer(one, modules)), None)
        if made is not None and len(node.all_input_nodes) == len(node.args) == 2:
            node.target = _added_in_place
            node.args = (made, *(one for one in node.args if one is not made))


def _added_in_place(values: Tensor, more: Tensor) -> Tensor:
    """Return the sum, written over ``values`` where it is of their shape and type."""
    # A size of the batch is a node of the graph, too, and no tensor.
    alike = isinstance(more, torch.Tensor) and values.shape == more.shape and values.dtype == more.dtype
    return values.add_(more) if alike else values + more


def _is_relu(node: fx.Node, modules: dict[str, nn.Module]) -> bool:
    if node.op == "call_module":
        layer = modules[str(node.target)]
        return type(layer) is nn.ReLU and not _hooked(layer)
    return node.op == "call_function" and node.target in (nn.functional.relu, torch.relu)


def _is_fresh(source: fx.Node | None, modules: dict[str, nn.Module]) -> bool:
    """Whether a tensor is new, read once, and of no use to the gradient of what made it."""
    if source is None or len(source.users) > 1:
        return False
    if _made_by_layer(source, modules):
        return True
    if source.op != "call_function" or source.target not in _FRESH_SUMS:
        return False
    # What "+=" returns is the tensor that it wrote over, which others may still read.
    written = _input(source)
    return source.target is not operator.iadd or (written is not None and len(written.users) == 1)


def _made_by_layer(source: fx.Node, modules: dict[str, nn.Module]) -> bool:
    """Whether a tensor is a layer's, read once, and of no use to the layer's gradient."""
    if source.op != "call_module" or len(source.users) > 1:
        return False
    layer = modules[str(source.target)]
    return type(layer) in _FRESH_LAYERS and not _hooked(layer)
