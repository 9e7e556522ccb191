"""Networks of torch's int8 kernels, as modules that behave: an engine of their own, copies, pickles, logits off the grid."""

from __future__ import annotations

import copy
import io
import pickle
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, fx, nn
from torch.ao.nn import quantized
from torch.ao.nn.quantized import reference
from torch.ao.quantization.quantize_fx import convert_fx

from harness_quantization.watching import quiet

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Self


class Int8Network(nn.Module):
    """A graph of int8 kernels under the engine that its weights are packed for.

    The kernels are the CPU's: the network stays there, and images and logits travel.
    """

    def __init__(self, graph: fx.GraphModule, engine: str) -> None:
        super().__init__()
        self.graph = graph
        self.engine = engine
        self.training = False

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits (N, K) of images (N, C, H, W), on their device."""
        with engine_set(self.engine), quiet():
            logits: Tensor = self.graph(images.cpu())
        return logits.to(images.device)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:  # noqa: ARG002, FBT001, FBT002 (torch's own)
        return self

    # Copies and pickles pack the weights anew, for whatever engine is set then.

    def __deepcopy__(self, memo: dict[int, Any]) -> Int8Network:
        with engine_set(self.engine), quiet():
            return Int8Network(copy.deepcopy(self.graph, memo), self.engine)

    def __reduce__(self) -> tuple[Callable[[str, bytes], Int8Network], tuple[str, bytes]]:
        with engine_set(self.engine), quiet():
            stream = io.BytesIO()
            _Pickler(stream).dump(self.graph)
        return _unpickled, (self.engine, stream.getvalue())


class Int8Logits(nn.Module):
    """A last linear layer: int8 weights times uint8 activations, summed in int32; its logits are float32, off any grid."""

    weights: Tensor
    scales: Tensor
    bias: Tensor

    def __init__(self, weights: Tensor, bias: Tensor | None) -> None:
        """Take weights (K, D) that are quantized per channel, and biases (K,)."""
        super().__init__()
        self.register_buffer("weights", weights.int_repr())
        self.register_buffer("scales", weights.q_per_channel_scales().float())
        self.register_buffer("bias", torch.zeros(len(weights)) if bias is None else bias.detach().clone())
        self.training = False

    def forward(self, activations: Tensor) -> Tensor:
        """Return the logits (…, K) of quantized activations (…, D)."""
        sums = (activations.int_repr().int() - activations.q_zero_point()) @ self.weights.int().T
        return sums * (activations.q_scale() * self.scales) + self.bias


def converted(graph: fx.GraphModule, engine: str) -> Int8Network:
    """Return the integer network of a calibrated graph with observers."""
    with engine_set(engine), quiet():
        integer = convert_fx(graph.cpu())
        modules = dict(integer.named_modules())
        for node in list(integer.graph.nodes):
            if node.op == "call_module" and isinstance(modules[node.target], reference.Linear):
                _put_logits(integer, node)
        integer.delete_all_unused_submodules()
        integer.graph.eliminate_dead_code()
        integer.recompile()
    return Int8Network(integer.eval(), engine)


def stored_bytes(network: nn.Module) -> int:
    """Return the bytes of all the tensors in a network's state: packed weights with their scales and zero points, and the rest."""
    return sum(_bytes_of(value) for value in network.state_dict().values())


@contextmanager
def engine_set(engine: str) -> Iterator[None]:
    """Compute with an engine, and put back the one that is set for the whole process."""
    before = torch.backends.quantized.engine
    torch.backends.quantized.engine = engine
    try:
        yield
    finally:
        torch.backends.quantized.engine = before


def _put_logits(integer: fx.GraphModule, node: fx.Node) -> None:
    """Let the layer that writes the logits compute with integers too, whose kernels torch gives outputs on a grid alone."""
    layer = integer.get_submodule(str(node.target))
    assert isinstance(layer, reference.Linear)  # noqa: S101 (the caller looked; this tells the type checker)
    parent, _, name = str(node.target).rpartition(".")
    setattr(integer.get_submodule(parent), name, Int8Logits(layer.get_quantized_weight(), layer.bias))  # type: ignore[no-untyped-call]
    dequantized = node.args[0]
    assert isinstance(dequantized, fx.Node)  # noqa: S101 (as above)
    node.replace_input_with(dequantized, dequantized.all_input_nodes[0])


def _bytes_of(value: object) -> int:
    if isinstance(value, tuple):
        return sum(_bytes_of(part) for part in value)
    if not isinstance(value, Tensor):
        return 0
    size = value.numel() * value.element_size()
    if value.is_quantized and value.qscheme() == torch.per_channel_affine:
        size += sum(_bytes_of(part) for part in (value.q_per_channel_scales(), value.q_per_channel_zero_points()))
    return size


class _Pickler(pickle.Pickler):
    """Torch's quantized convolutions tell their state, but come back from a pickle without what every module has."""

    def reducer_override(self, value: object) -> Any:
        if isinstance(value, quantized.Conv1d | quantized.Conv2d | quantized.Conv3d):
            return _with_state, (type(value), value.__getstate__())
        return NotImplemented


def _with_state(kind: type[Any], state: tuple[Any, ...]) -> nn.Module:
    module: Any = object.__new__(kind)
    nn.Module.__init__(module)
    module.__setstate__(state)
    made: nn.Module = module
    return made


def _unpickled(engine: str, graph: bytes) -> Int8Network:
    with engine_set(engine), quiet():
        return Int8Network(pickle.loads(graph), engine)  # noqa: S301 (part of a pickle that is being loaded already)
