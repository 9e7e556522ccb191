"""Random streams: derived per purpose and seed, per sample where a batch must not matter; the global ones are left alone."""

from __future__ import annotations

import hashlib
import json
import random
from contextlib import contextmanager
from math import prod
from typing import TYPE_CHECKING

import numpy as np
import torch

from harness.engine.images import moved

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from torch import Tensor


def derive_seed(*parts: object) -> int:
    """Return 63 bits that depend on every part, so that no two purposes share a stream."""
    text = json.dumps(parts, separators=(",", ":"), ensure_ascii=False)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def generator(*parts: object) -> torch.Generator:
    """Return a CPU generator seeded from the parts."""
    return torch.Generator().manual_seed(derive_seed(*parts))


def seed_torch(seed: int) -> None:
    """Seed torch's global generators, of the CPU and of all GPUs.

    ``torch.manual_seed`` does the same, and takes longer where there is no GPU: it keeps a stack trace for when there is one.
    """
    torch.default_generator.manual_seed(seed)
    if torch.cuda.is_available():
        torch.cuda.manual_seed_all(seed)


@contextmanager
def isolated_generators(seed: int) -> Iterator[None]:
    """Seed the global generators of torch, numpy and Python inside, and put them back as they were.

    For code that draws from them, such as initializers and attack libraries.
    """
    python_state, numpy_state = random.getstate(), np.random.get_state()  # noqa: NPY002 (the global one is what is saved)
    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        seed_torch(seed)
        random.seed(seed)
        np.random.seed(seed % 2**32)  # noqa: NPY002
        try:
            yield
        finally:
            random.setstate(python_state)
            np.random.set_state(numpy_state)  # noqa: NPY002


class PerSampleStreams:
    """One counter-based stream (Philox) per sample, keyed by the sample and not by its place in a batch."""

    def __init__(self, streams: Sequence[np.random.Generator], device: torch.device) -> None:
        self._streams = streams
        self._device = device

    @classmethod
    def of(cls, samples: Tensor, *, seed: int, device: torch.device) -> PerSampleStreams:
        """Open the streams of ``samples`` (N,): identifiers that are the same wherever the sample stands."""
        words = [seed & 0xFFFFFFFF, seed >> 32]
        return cls([_stream(words, int(sample)) for sample in samples], device)

    def uniform(self, shape: Sequence[int]) -> Tensor:
        """Draw (N, *shape) float32 numbers from [0, 1)."""
        drawn = np.empty((len(self._streams), prod(shape)), dtype=np.float32)
        for row, stream in zip(drawn, self._streams, strict=True):
            stream.random(dtype=np.float32, out=row)
        return self._shaped(drawn, shape)

    def normal(self, shape: Sequence[int]) -> Tensor:
        """Draw (N, *shape) standard normal float32 numbers."""
        drawn = np.empty((len(self._streams), prod(shape)), dtype=np.float32)
        for row, stream in zip(drawn, self._streams, strict=True):
            stream.standard_normal(dtype=np.float32, out=row)
        return self._shaped(drawn, shape)

    def __getitem__(self, rows: Tensor) -> PerSampleStreams:
        """Return the streams of part of the batch (indices or a mask); they advance together with the whole's."""
        chosen = rows.nonzero().flatten() if rows.dtype == torch.bool else rows
        return PerSampleStreams([self._streams[row] for row in chosen.tolist()], self._device)

    def _shaped(self, drawn: np.ndarray, shape: Sequence[int]) -> Tensor:
        return moved(torch.from_numpy(drawn).reshape(len(self._streams), *shape), self._device)


def _stream(words: list[int], sample: int) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(np.random.SeedSequence([*words, sample])))
