"""Data sets: read once, kept decoded by content, shared between processes as mapped files, never whole in memory."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from harness.catalogue import Normalization
from harness.contract import ImageData
from harness.errors import ContractError, DataError, StoreError
from harness.store import Artifact, CorruptArtifactError, atomic_write, content_key
from harness.subsets import VERSION as DRAWING
from harness.subsets import subset
from harness.tensor_files import TensorFile, row_chunks

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from harness.manager import Manager
    from harness.resolved import ResolvedDataset
    from harness.store import Store


@dataclass(frozen=True)
class DataDescription:
    """What is known of a data set without its images; ``fingerprint`` is by content."""

    fingerprint: str
    num_train: int
    num_test: int
    channels: int
    height: int
    width: int
    classes: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]

    @property
    def own_normalization(self) -> Normalization:
        """The mean and standard deviation per channel of the training images."""
        return Normalization(mean=self.mean, std=self.std)


@dataclass(frozen=True)
class Data:
    """Images uint8 (N, C, H, W) and labels int64 (N,), train and test."""

    train_images: Tensor
    train_labels: Tensor
    test_images: Tensor
    test_labels: Tensor


def describe_data(dataset: ResolvedDataset, manager: Manager, store: Store) -> DataDescription:
    """Return a data set's description; its images are read only where the store does not hold them yet."""
    provider: Any = manager.load(dataset.provider.plugin)(dataset.provider.options)
    listing = provider.listing()
    index = None
    counts = (dataset.train_samples, dataset.test_samples)
    wanted = [] if counts == (None, None) else [[*counts, DRAWING]]
    if listing is not None:
        key = content_key(dataset.provider.identity(), listing, *wanted)
        index = store.root / "data-index" / f"{key}.json"
        if index.is_file() and (known := _read_index(index)) and store.has("data", known.fingerprint):
            return known
    provider.scratch = store.root / "scratch"
    images = provider.load()
    _check(images, dataset.name)
    if wanted:
        train, test = counts
        images = subset(images, train_samples=train, test_samples=test, scratch=provider.scratch, name=dataset.name)
    description = _description(images)
    if not store.has("data", description.fingerprint):
        _keep(images, description.fingerprint, store)
    if index is not None:
        atomic_write(index, json.dumps(asdict(description)).encode())
    return description


def load_data(fingerprint: str, store: Store) -> Data:
    """Map a stored data set into memory; several processes share one copy.

    Raises ``StoreError`` where it is missing or damaged, and removes it then, so that the next run reads it anew.
    """
    try:
        tensors = store.load("data", fingerprint).tensors
    except CorruptArtifactError as error:
        store.discard("data", fingerprint)
        raise StoreError(f"{error}; the store's copy of the data set is removed: run again to read it anew") from error
    return Data(tensors["train_images"], tensors["train_labels"], tensors["test_images"], tensors["test_labels"])


def validation_size(validation: float, num_train: int) -> int:
    """Return how many of the training samples are held out: a count, or a share below 1."""
    count = validation if validation >= 1 else max(1, round(validation * num_train))
    if count >= num_train:
        raise DataError(f"validation: {count} samples leave nothing of {num_train} training images; hold out fewer")
    return int(count)


def _read_index(path: Any) -> DataDescription | None:
    try:
        fields: dict[str, Any] = json.loads(path.read_text())
        values: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value for key, value in fields.items()
        }
        return DataDescription(**values)
    except (ValueError, TypeError, AttributeError):
        return None


def _check(images: ImageData, name: str) -> None:
    if not isinstance(images, ImageData):
        returned = type(images).__name__
        raise ContractError(f'data set "{name}": its provider returned a {returned}; expected harness.api.ImageData')
    if len(images.classes) < 2:
        raise DataError(f'data set "{name}": has {len(images.classes)} class; a classifier needs two or more')
    for split in ("train", "test"):
        _check_split(
            getattr(images, f"{split}_images"), getattr(images, f"{split}_labels"), len(images.classes), name, split
        )
    if images.train_images.shape[1:] != images.test_images.shape[1:]:
        raise DataError(
            f'data set "{name}": training images are {images.train_images.shape[1:]}, '
            f"test images {images.test_images.shape[1:]}; expected one shape: give image_size or channels, where it "
            "takes them"
        )


def _description(images: ImageData) -> DataDescription:
    mean, std = _channel_statistics(images.train_images)
    count, channels, height, width = images.train_images.shape
    fingerprint = _fingerprint(images)
    return DataDescription(
        fingerprint, count, len(images.test_images), channels, height, width, tuple(images.classes), mean, std
    )


def _check_split(images: np.ndarray, labels: np.ndarray, num_classes: int, name: str, split: str) -> None:
    for what, array in (("images", images), ("labels", labels)):
        if not hasattr(array, "dtype"):
            raise ContractError(
                f'data set "{name}": {split} {what} are a {type(array).__name__}; expected a numpy array'
            )
    if images.ndim != 4 or images.dtype != "uint8" or len(images) == 0:
        raise ContractError(
            f'data set "{name}": {split} images are {images.dtype} {images.shape}; expected uint8 (N, C, H, W) with N > 0'
        )
    if labels.shape != (len(images),) or labels.dtype != "int64":
        raise ContractError(
            f'data set "{name}": {split} labels are {labels.dtype} {labels.shape}; expected int64 ({len(images)},)'
        )
    if labels.min() < 0 or labels.max() >= num_classes:
        raise ContractError(
            f'data set "{name}": {split} labels go from {labels.min()} to {labels.max()}; expected 0 to {num_classes - 1}, '
            f"for it names {num_classes} classes"
        )


def _channel_statistics(images: np.ndarray) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return mean and standard deviation per channel of pixels in [0, 1], from exact counts of each of the 256 values."""
    import numpy as np
    import torch

    counts = np.zeros((images.shape[1], 256), np.int64)
    for chunk in row_chunks(images):
        for channel in range(images.shape[1]):
            # A copy, which torch may hold for writable; its bincount takes bytes as they are, numpy's makes each of them 8 bytes.
            pixels = torch.from_numpy(np.array(chunk[:, channel]).reshape(-1))
            counts[channel] += torch.bincount(pixels, minlength=256).numpy()
    values = np.arange(256) / 255
    means, stds = [], []
    for counted in counts:
        mean = float((counted * values).sum() / counted.sum())
        std = float(np.sqrt((counted * (values - mean) ** 2).sum() / counted.sum()))
        means.append(round(mean, 6))
        stds.append(round(max(std, 1e-3), 6))
    return tuple(means), tuple(stds)


def _fingerprint(images: ImageData) -> str:
    import numpy as np

    digest = hashlib.sha256(json.dumps(list(images.classes)).encode())
    for array in (images.train_images, images.train_labels, images.test_images, images.test_labels):
        digest.update(f"{array.dtype}{array.shape}".encode())
        for chunk in row_chunks(array):
            digest.update(np.ascontiguousarray(chunk).data)
    return digest.hexdigest()


def _keep(images: ImageData, fingerprint: str, store: Store) -> None:
    """Store a data set, its images piece by piece; where another run does so at this moment, wait for it."""
    import torch

    with store.claim(fingerprint):
        if store.has("data", fingerprint):
            return
        partial = store.partial(fingerprint)
        files = {}
        for name in ("train_images", "test_images"):
            array: np.ndarray = getattr(images, name)
            files[name] = TensorFile.create(partial.folder, name, array.shape, "uint8")
            for chunk in row_chunks(array):
                files[name].append(chunk)
            files[name].written()
        labels = {name: torch.tensor(getattr(images, name)) for name in ("train_labels", "test_labels")}
        store.save("data", fingerprint, Artifact(labels, {"classes": images.classes}, files=files))
        partial.clear()
