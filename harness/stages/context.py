"""What a stage is given to work with: data, networks, the device, checkpoints, somewhere to tell its progress."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch

from harness.data import Data, load_data
from harness.engine.domains import DomainView
from harness.engine.images import ImageSet, stays_on
from harness.engine.networks import evaluating, placed
from harness.engine.quantizing import quantized
from harness.engine.randomness import derive_seed, generator
from harness.errors import StoreError
from harness.models import build_network
from harness.store import content_key
from harness.weights import weights_digest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from torch import Tensor

    from harness.contract import Options
    from harness.engine.networks import PixelClassifier
    from harness.manager import Manager
    from harness.measuring import Quantizer
    from harness.stages.jobs import Subject
    from harness.store import Artifact, Partial, Store


TWINS_KEPT = 2
"""Quantized networks held at once, the ones made last; each takes the memory of a network."""


@dataclass(frozen=True)
class Split:
    """T and the validation samples: rows of the stored training images, sorted."""

    train: Tensor
    valid: Tensor


@dataclass
class Workshop:
    """What a process keeps between stages: plugins, the store, the device, data already mapped, or laid on a GPU."""

    store: Store
    manager: Manager
    device: torch.device
    checkpoint_seconds: float = 20.0
    _data: dict[str, Data] = field(default_factory=dict)
    _twins: dict[str, PixelClassifier] = field(default_factory=dict)

    def data(self, fingerprint: str) -> Data:
        """Return a data set, mapped once."""
        if fingerprint not in self._data:
            data = load_data(fingerprint, self.store)
            self._data[fingerprint] = replace(
                data, **{name: images.to(self.device) for name, images in self._resident(data)}
            )
        return self._data[fingerprint]

    def _resident(self, data: Data) -> Iterator[tuple[str, Tensor]]:
        for name in ("train_images", "test_images"):
            if stays_on(self.device, getattr(data, name)):
                yield name, getattr(data, name)

    def twin(self, key: str, make: Callable[[], PixelClassifier]) -> PixelClassifier:
        """Return a quantized network, made once: the baseline's is asked for by every stage of its rows."""
        if key not in self._twins:
            while len(self._twins) >= TWINS_KEPT:
                del self._twins[next(iter(self._twins))]
            self._twins[key] = make()
        return self._twins[key]


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
        network = build_network(model, shape, self.workshop.manager, seed=self.subject.training_seed)
        if state is not None:
            try:
                network.net.load_state_dict(dict(state))
            except RuntimeError as error:
                raise StoreError(
                    f'model "{model.name}": the stored weights do not fit what it builds now; has its code changed '
                    f"without its version? Remove the store to start anew ({str(error).splitlines()[0]})"
                ) from error
        return placed(network, self.workshop.device)

    def widths(self, network: PixelClassifier) -> tuple[int, int]:
        """Return how many features and logits a network has."""
        with torch.no_grad(), evaluating(network):
            outputs = network.outputs(self.train.gather(self.train.rows[:2])[0])
        return outputs.features.shape[1], outputs.logits.shape[1]

    def judge(self, network: PixelClassifier) -> PixelClassifier:
        """Return who decides what is labelled right: the network itself, or its quantized twin where one is the subject."""
        quantizer, asked = self.quantizer(), self.subject.quantizer
        if quantizer is None or asked is None:
            return network
        shown = [self.subject.data, self.subject.validation, self.subject.seed, str(self.subject.shape)]
        made_of = [repr(network), weights_digest(network.state_dict()), asked.quantizer.identity()]
        key = content_key(made_of, shown)
        return self.workshop.twin(key, lambda: self.quantized(network, quantizer))

    def quantizer(self) -> Quantizer[Options] | None:
        """Return the subject's quantizer, made anew; None for a full-precision subject."""
        asked = self.subject.quantizer
        if asked is None:
            return None
        kind: Any = self.workshop.manager.load(asked.quantizer.plugin)
        made: Quantizer[Options] = kind(asked.quantizer.options)
        return made

    def quantized(self, network: PixelClassifier, quantizer: Quantizer[Options]) -> PixelClassifier:
        """Return a network's twin, calibrated on T in an order drawn by the seed: stored images may be sorted by class."""
        assert self.subject.quantizer is not None  # noqa: S101 (there is a quantizer)
        name = self.subject.quantizer.quantizer.plugin.name
        seed = derive_seed("quantize", name, self.subject.seed)
        order = torch.randperm(len(self.train), generator=generator("calibration", seed))
        calibration = DomainView(self.train.subset(self.train.rows[order]))
        return quantized(quantizer, network, calibration, name=name, seed=seed)

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
