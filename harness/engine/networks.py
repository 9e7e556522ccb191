"""A classifier as the harness sees it: pixels in [0, 1] to logits, normalization inside, penultimate features on request."""

from __future__ import annotations

import copy
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from harness.adapting import Outputs

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_INTEGERS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)
HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
"""Where a module keeps what hangs on its passes; torch has no public way to ask."""


class PixelClassifier(nn.Module):
    """Normalize pixels (N, C, H, W) in [0, 1], then classify: logits (N, K)."""

    bounds = (0.0, 1.0)
    mean: Tensor
    std: Tensor

    def __init__(self, net: nn.Module, *, mean: Sequence[float], std: Sequence[float], num_classes: int) -> None:
        super().__init__()
        self.net = net
        self.num_classes = num_classes
        self.register_buffer("mean", torch.tensor(mean).reshape(1, -1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).reshape(1, -1, 1, 1), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits (N, K) of images (N, C, H, W) in [0, 1]."""
        logits: Tensor = self.net((images - self.mean) / self.std)
        return logits

    def outputs(self, images: Tensor) -> Outputs:
        """Return logits and the features that enter the last linear layer; the logits themselves where none is used."""
        head = last_linear(self.net)
        if head is None:
            logits = self(images)
            return Outputs(logits, logits)
        caught: list[Tensor] = []
        handle = head.register_forward_pre_hook(lambda _, inputs: caught.append(inputs[0]))
        try:
            logits = self(images)
        finally:
            handle.remove()
        return Outputs(caught[-1].flatten(1) if caught else logits, logits)

    @property
    def device(self) -> torch.device:
        """Where the classifier is."""
        return self.mean.device


def last_linear(net: nn.Module) -> nn.Linear | None:
    """Return the last linear layer: the classification layer of the common architectures."""
    linears = [module for module in net.modules() if isinstance(module, nn.Linear)]
    return linears[-1] if linears else None


def has_batch_norm(net: nn.Module) -> bool:
    """Whether any layer keeps batch statistics."""
    return bool(batch_norms(net))


def batch_norms(net: nn.Module) -> list[Any]:
    """Return a network's batch-norm layers, of whatever dimension."""
    return [module for module in net.modules() if isinstance(module, BATCH_NORMS)]


@contextmanager
def modes_kept(net: nn.Module) -> Iterator[None]:
    """Put every module's own train/eval flag back afterwards, not the root's alone."""
    flags = [(module, module.training) for module in net.modules()]
    try:
        yield
    finally:
        for module, training in flags:
            module.training = training


@contextmanager
def evaluating(net: nn.Module) -> Iterator[None]:
    """Put every module in eval mode, and back; nothing is touched where all are (exported programs refuse to be asked)."""
    if not any(module.training for module in net.modules()):
        yield
        return
    with modes_kept(net):
        net.eval()
        yield


def frozen_copy(network: PixelClassifier) -> PixelClassifier:
    """Return a copy in eval mode without parameter gradients: what an attack gets, so that the original stays untouched."""
    twin = copy.deepcopy(network).eval()
    twin.requires_grad_(requires_grad=False)
    twin.zero_grad(set_to_none=True)
    return twin


def placed(network: PixelClassifier, device: torch.device) -> PixelClassifier:
    """Move a classifier to a device, with its weights laid out as that is fastest at; returns it."""
    network = network.to(device)
    # On CPUs convolutions are a tenth to a quarter faster with channels last; what they compute is the same.
    if device.type == "cpu":
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stubs lack it
    return network


def state_version(net: nn.Module) -> tuple[int, ...]:
    """Return a checksum of each parameter and buffer, which tells of any change however it was made.

    Torch's own version counters miss what is written through ``.data``, and tensors that were put in another's place.
    """
    sums = checksums([*net.parameters(), *net.buffers()])
    return tuple(sums.tolist())


def checksums(tensors: Sequence[Tensor]) -> Tensor:
    """Return the sum of each tensor's bits, int64 (N,) on the CPU, wherever they are; devices come in order of appearance.

    An integer network keeps its numbers on the CPU while what is around it is on an accelerator.
    """
    sums: dict[torch.device, list[Tensor]] = {}
    for tensor in tensors:
        sums.setdefault(tensor.device, []).append(_bits(tensor.detach()).sum())
    # One transfer from each device for all of its tensors.
    found = [torch.stack(some).cpu() for some in sums.values()]
    return torch.cat(found) if found else torch.empty(0, dtype=torch.int64)


def _bits(tensor: Tensor) -> Tensor:
    """Return the bits as integers, whose sum is exact in any order."""
    if tensor.is_complex():
        tensor = torch.view_as_real(tensor)
    if not tensor.is_floating_point():
        return tensor.to(torch.int64)
    return tensor.contiguous().view(_INTEGERS[tensor.element_size()])


def hung_on(net: nn.Module) -> list[tuple[int, ...]]:
    """Count what hangs on each module's passes: hooks, which some networks are made with, and replaced forward functions."""
    return [(*(len(getattr(module, kind)) for kind in HOOKS), "forward" in vars(module)) for module in net.modules()]
