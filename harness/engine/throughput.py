"""How fast a network classifies, and what its numbers take: the figures that quantizing is done for."""

from __future__ import annotations

import time
from statistics import median
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor, nn

WARM_UP = 2
"""Passes before the timed ones: kernels are chosen and memory is taken at the first."""

LEAST_PASSES = 5
MOST_PASSES = 1000


def images_per_second(
    network: nn.Module, images: Tensor, *, seconds: float = 0.5, clock: Callable[[], float] = time.perf_counter
) -> float:
    """Return how many of the images (N, C, H, W) a network in eval mode classifies in a second.

    The median over passes of the whole batch, each timed alone, for ``seconds`` and at least five times: the odd pass that
    something else held up does not count. Without gradients, on the device where the images are, in as many threads as are set.
    """
    passes: list[float] = []
    with torch.inference_mode():
        for _ in range(WARM_UP):
            network(images)
        while len(passes) < LEAST_PASSES or (sum(passes) < seconds and len(passes) < MOST_PASSES):
            passes.append(_timed(network, images, clock))
    # A clock that ticks too coarsely for a tiny network may see no time pass at all.
    return len(images) / max(median(passes), time.get_clock_info("perf_counter").resolution)


def state_bytes(network: nn.Module) -> int:
    """Return the bytes of parameters and buffers as they are stored, one that several layers share counted once."""
    return sum(value.numel() * value.element_size() for value in {id(v): v for v in _state(network)}.values())


def _state(network: nn.Module) -> list[Tensor]:
    # What is not persistent, such as the means of a normalization, is made with the network and never stored.
    return [value for value in network.state_dict(keep_vars=True).values() if isinstance(value, torch.Tensor)]


def _timed(network: nn.Module, images: Tensor, clock: Callable[[], float]) -> float:
    _wait_for(images.device)
    start = clock()
    network(images)
    _wait_for(images.device)
    return clock() - start


def _wait_for(device: torch.device) -> None:
    """Wait until what was handed to an accelerator is done: its calls return before that."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
