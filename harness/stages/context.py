"""What a stage is given to work with: data, networks, the device, checkpoints, somewhere to tell its progress."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch

from harness.data import Data, load_data
from harness.engine.domains import DomainView
from harness.engine.images import ImageSet
from harness.engine.quantizing import quantized
from harness.engine.randomness import derive_seed, generator
from harness.errors import StoreError
from harness.models import build_network

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from torch import Tensor

    from harness.engine.networks import PixelClassifier
    from harness.manager import Manager
    from harness.stages.jobs import Subject
    from harness.store import Artifact, Partial, Store


@dataclass(frozen=True)
class Split:
    """T and the validation samples: rows of the stored training images, sorted."""

    train: Tensor
    valid: Tensor


@dataclass
class Workshop:
    """What a process keeps between stages: plugins, the store, the device, data already mapped."""

    store: Store
    manager: Manager
    device: torch.device
    checkpoint_seconds: float = 20.0
    _data: dict[str, Data] = field(default_factory=dict)

    def data(self, fingerprint: str) -> Data:
        """Return a data set, mapped once."""
        if fingerprint not in self._data:
            self._data[fingerprint] = load_data(fingerprint, self.store)
        return self._data[fingerprint]


@dataclass
class Context:
    """One stage's surroundings."""

    workshop: Workshop
    subject: Subject
    partial: Partial
    progress: Callable[[int, int], None]

    @cached_property
    def data(self) -> Data:
        """The images."""
        return self.workshop.data(self.subject.data)

    @cached_property
    def split(self) -> Split:
        """The random split by seed."""
        return split_rows(len(self.data.train_labels), self.subject.validation, seed=self.subject.seed)

    @cached_property
    def train(self) -> ImageSet:
        """T."""
        return self._images(self.data.train_images, self.data.train_labels, self.split.train)

    @cached_property
    def valid(self) -> ImageSet:
        """The validation samples."""
        return self._images(self.data.train_images, self.data.train_labels, self.split.valid)

    def test(self) -> ImageSet:
        """Return the test split: for the evaluation, and for nothing before it."""
        rows = torch.arange(len(self.data.test_labels))
        return self._images(self.data.test_images, self.data.test_labels, rows)

    def network(self, state: Mapping[str, Tensor] | None = None) -> PixelClassifier:
        """Return the subject's network on the device: as it is built, or in a stored state."""
        model, shape = self.subject.model, self.subject.shape
        network = build_network(model, shape, self.workshop.manager, seed=self.subject.seed)
        if state is not None:
            try:
                network.net.load_state_dict(dict(state))
            except RuntimeError as error:
                raise StoreError(
                    f'model "{model.name}": the stored weights do not fit what it builds now; has its code changed '
                    f"without its version? Remove the store to start anew ({str(error).splitlines()[0]})"
                ) from error
        network = network.to(self.workshop.device)
        # On CPUs convolutions are a tenth to a quarter faster with channels last; what they compute is the same.
        if network.device.type == "cpu":
            network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stubs lack it
        return network

    def judge(self, network: PixelClassifier) -> PixelClassifier:
        """Return who decides what is labelled right: the network itself, or its quantized twin where one is the subject."""
        asked = self.subject.quantizer
        if asked is None:
            return network
        plugin = asked.quantizer.plugin
        kind: Any = self.workshop.manager.load(plugin)
        seed = derive_seed("quantize", plugin.name, self.subject.seed)
        return quantized(kind(asked.quantizer.options), network, DomainView(self.train), name=plugin.name, seed=seed)

    def num_bytes(self, judge: PixelClassifier) -> int | None:
        """Return what the quantized twin's weights take when they are stored, where its quantizer knows it."""
        assert self.subject.quantizer is not None  # noqa: S101 (asked of quantized subjects alone)
        asked = self.subject.quantizer.quantizer
        kind: Any = self.workshop.manager.load(asked.plugin)
        size: int | None = kind(asked.options).num_bytes(judge.net)
        return size

    def _images(self, images: Tensor, labels: Tensor, rows: Tensor) -> ImageSet:
        return ImageSet(images, labels, rows, self.subject.shape.image_size, self.workshop.device)


def split_rows(num_train: int, validation: int, *, seed: int) -> Split:
    """Split the training samples at random by seed, as the paper splits 50,000 into 45,000 and 5,000."""
    order = torch.randperm(num_train, generator=generator("split", seed))
    return Split(train=order[validation:].sort().values, valid=order[:validation].sort().values)


def state_of(artifact: Artifact) -> dict[str, Tensor]:
    """Return the network's state that a baseline or an adaptation left."""
    return {name.removeprefix("net."): value for name, value in artifact.tensors.items() if name.startswith("net.")}


def as_state(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return a network's state as an artifact's tensors."""
    return {f"net.{name}": value.detach().cpu() for name, value in state.items()}
