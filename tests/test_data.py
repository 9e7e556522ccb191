"""Data sets: fingerprints by content, images that are decoded once, messages of the checks."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from harness import tensor_files
from harness.contract import DatasetProvider, ImageData, NoOptions
from harness.data import describe_data, load_data, validation_size
from harness.errors import ContractError, DataError, StoreError
from harness.manager import Manager
from harness.resolved import ResolvedDataset, ResolvedPlugin
from harness.stages.context import Workshop
from harness.store import TENSORS, Store


@dataclass(frozen=True)
class FakePlugin:
    """A provider that need not be installed."""

    options: Any
    plugin: Any = None

    def identity(self):
        return {"plugin": "toy"}


class FakeManager:
    def __init__(self, provider):
        self.provider = provider

    def load(self, _plugin):
        return lambda _options: self.provider


class Toy(DatasetProvider[NoOptions]):
    def __init__(self, images, listing=None):
        super().__init__(NoOptions())
        self.images = images
        self.listed = listing
        self.loaded = 0

    def load(self):
        self.loaded += 1
        return self.images

    def listing(self):
        return self.listed


def images(**changes):
    draws = np.random.default_rng(0)
    fields = {
        "train_images": draws.integers(0, 256, (12, 3, 4, 4)).astype(np.uint8),
        "train_labels": np.arange(12) % 3,
        "test_images": draws.integers(0, 256, (6, 3, 4, 4)).astype(np.uint8),
        "test_labels": np.arange(6) % 3,
        "classes": ("a", "b", "c"),
    }
    return ImageData(**{**fields, **changes})


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "store")


def describe(provider, store):
    return describe_data(ResolvedDataset("toy", FakePlugin(NoOptions()), None), FakeManager(provider), store)


def test_a_description_has_the_numbers_that_numpy_finds(store):
    description = describe(Toy(images()), store)
    pixels = images().train_images / 255
    assert (description.num_train, description.num_test, description.classes) == (12, 6, ("a", "b", "c"))
    assert (description.channels, description.height, description.width) == (3, 4, 4)
    np.testing.assert_allclose(description.mean, pixels.mean((0, 2, 3)), atol=1e-6)
    np.testing.assert_allclose(description.std, pixels.std((0, 2, 3)), atol=1e-6)
    assert description.own_normalization.mean == description.mean


def test_a_channel_of_one_colour_can_still_be_divided_by_its_deviation(store):
    flat = images(train_images=np.zeros((12, 3, 4, 4), np.uint8))
    assert describe(Toy(flat), store).std == (0.001, 0.001, 0.001)


def test_the_images_are_kept_under_their_fingerprint(store):
    data = load_data(describe(Toy(images()), store).fingerprint, store)
    for name in ("train_images", "train_labels", "test_images", "test_labels"):
        assert np.array_equal(getattr(data, name).numpy(), getattr(images(), name))
    assert data.train_images.dtype == torch.uint8


def changed_pixel():
    other = images()
    other.test_images[3, 1, 2, 0] ^= 1
    return other


def changed_label():
    other = images()
    other.train_labels[0] = 2
    return other


def test_the_fingerprint_is_the_contents(store):
    variants = [
        images(),
        changed_pixel(),
        changed_label(),
        images(classes=("a", "b", "d")),
        images(train_images=images().train_images[::-1]),
        images(
            train_images=images().train_images.reshape(12, 3, 2, 8),
            test_images=images().test_images.reshape(6, 3, 2, 8),
        ),
    ]
    assert len({describe(Toy(variant), store).fingerprint for variant in variants}) == len(variants)
    assert describe(Toy(images()), store) == describe(Toy(images()), store)
    strided = images(train_images=np.repeat(images().train_images, 2, axis=0)[::2])
    assert describe(Toy(strided), store) == describe(Toy(images()), store)


def test_images_may_be_maps_of_files_that_cannot_be_written_to(store, tmp_path):
    mapped = {}
    for name in ("train_images", "train_labels", "test_images", "test_labels"):
        np.save(tmp_path / f"{name}.npy", getattr(images(), name))
        mapped[name] = np.load(tmp_path / f"{name}.npy", mmap_mode="r")
    assert describe(Toy(images(**mapped)), store) == describe(Toy(images()), Store(tmp_path / "other"))
    data = load_data(describe(Toy(images()), store).fingerprint, store)
    assert np.array_equal(data.train_images.numpy(), images().train_images)


def test_a_workshop_lays_on_its_device_what_stays_there_and_only_that(store, monkeypatch):
    fingerprint = describe(Toy(images()), store).fingerprint
    # No GPU is needed: of what a meta device holds there is nothing but the shape.
    size = len(images().train_images)
    monkeypatch.setattr("harness.stages.context.stays_on", lambda device, stored: len(stored) == size)
    workshop = Workshop(store, FakeManager(None), torch.device("meta"))
    data = workshop.data(fingerprint)
    devices = {name: value.device.type for name, value in vars(data).items()}
    assert devices == {"train_images": "meta", "train_labels": "cpu", "test_images": "cpu", "test_labels": "cpu"}
    assert data.train_images.shape == images().train_images.shape
    assert workshop.data(fingerprint) is data


@pytest.mark.parametrize("chunk", [1, 48, 100, 10**6])
def test_a_description_does_not_tell_in_which_pieces_the_images_were_read(store, tmp_path, monkeypatch, chunk):
    expected = describe(Toy(images()), store)
    monkeypatch.setattr(tensor_files, "CHUNK_BYTES", chunk)
    other = Store(tmp_path / "other")
    assert describe(Toy(images()), other) == expected
    assert load_data(expected.fingerprint, other).test_images.tolist() == images().test_images.tolist()


def test_the_fingerprint_is_the_sha256_of_classes_types_shapes_and_bytes(store):
    given = images()
    parts = [b'["a", "b", "c"]']
    for array in (given.train_images, given.train_labels, given.test_images, given.test_labels):
        parts += [f"{array.dtype}{array.shape}".encode(), array.tobytes()]
    assert describe(Toy(given), store).fingerprint == hashlib.sha256(b"".join(parts)).hexdigest()


def test_nothing_but_the_artifact_is_left_in_the_store(store):
    describe(Toy(images()), store)
    left = {path.relative_to(store.root).parts[0] for path in store.root.rglob("*") if path.is_file()}
    assert left == {"data"}


class Filling(Toy):
    """Fills an array that the harness gives it."""

    def load(self):
        train = self.empty(self.images.train_images.shape)
        train[:] = self.images.train_images
        self.given = train
        return replace(self.images, train_images=train)


def test_a_provider_fills_a_large_array_on_the_stores_disk(store, monkeypatch):
    monkeypatch.setattr(tensor_files, "IN_MEMORY_BYTES", 10)
    provider = Filling(images())
    assert describe(provider, store) == describe(Toy(images()), store)
    assert isinstance(provider.given, np.memmap)
    assert provider.scratch == store.root / "scratch"


def write_folder(root, *, pixel=0):
    for split, count in (("train", 4), ("test", 2)):
        for label in ("cat", "dog"):
            (root / split / label).mkdir(parents=True)
            for number in range(count):
                pixels = np.full((5, 5), 40 * number + len(label) + (label == "dog"), np.uint8)
                pixels[0, 0] += pixel if (split, label, number) == ("train", "dog", 2) else 0
                Image.fromarray(pixels).save(root / split / label / f"{number}.png")
    return root


def folder_fingerprint(root, store):
    manager = Manager.discover()
    plugin = manager.find("dataset", "image-folder")
    options = manager.load(plugin).options_type(root=str(root))
    return describe_data(ResolvedDataset("f", ResolvedPlugin(plugin, options), None), manager, store).fingerprint


def test_the_same_images_in_two_folders_are_one_data_set_and_one_pixel_makes_another(tmp_path, store):
    first, second, other = (
        folder_fingerprint(write_folder(tmp_path / name, pixel=pixel), store)
        for name, pixel in (("one", 0), ("two", 0), ("three", 1))
    )
    assert first == second != other
    assert len(list((store.root / "data").glob("*/*"))) == 2


def test_images_are_decoded_once_as_long_as_their_files_are_listed_alike(store):
    provider = Toy(images(), listing=[["a.png", 10, 1.5]])
    first = describe(provider, store)
    assert describe(provider, store) == first
    assert provider.loaded == 1
    provider.listed = [["a.png", 10, 2.5]]
    assert describe(provider, store) == first
    assert provider.loaded == 2


def test_images_are_decoded_again_where_the_store_lost_them_or_their_index_is_damaged(store):
    provider = Toy(images(), listing="files")
    first = describe(provider, store)
    store.discard("data", first.fingerprint)
    assert describe(provider, store) == first
    assert store.has("data", first.fingerprint)
    (index,) = (store.root / "data-index").iterdir()
    for damage in (b"{", b"[]", b"{}", b'"text"', b"\xff"):
        index.write_bytes(damage)
        assert describe(provider, store) == first
    assert provider.loaded == 7


def test_a_damaged_copy_is_removed_and_read_anew_by_the_next_run(store):
    provider = Toy(images(), listing="files")
    fingerprint = describe(provider, store).fingerprint
    path = store.folder("data", fingerprint) / TENSORS
    path.write_bytes(path.read_bytes()[:-1] + b"\x7f")
    with pytest.raises(StoreError) as caught:
        load_data(fingerprint, store)
    assert str(caught.value) == (
        f"{path}: its checksum does not fit; the store's copy of the data set is removed: run again to read it anew"
    )
    describe(provider, store)
    assert provider.loaded == 2
    assert len(load_data(fingerprint, store).train_labels) == 12


def test_without_a_listing_images_are_read_each_time(store):
    provider = Toy(images())
    describe(provider, store)
    describe(provider, store)
    assert provider.loaded == 2
    assert not (store.root / "data-index").exists()


LEAST = images()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            replace(LEAST, train_images=LEAST.train_images / 255),
            "train images are float64 (12, 3, 4, 4); expected uint8 (N, C, H, W) with N > 0",
        ),
        (
            replace(LEAST, test_images=LEAST.test_images[:, 0]),
            "test images are uint8 (6, 4, 4); expected uint8 (N, C, H, W) with N > 0",
        ),
        (
            replace(LEAST, test_images=LEAST.test_images[:0]),
            "test images are uint8 (0, 3, 4, 4); expected uint8 (N, C, H, W) with N > 0",
        ),
        (replace(LEAST, train_labels=LEAST.train_labels[:5]), "train labels are int64 (5,); expected int64 (12,)"),
        (
            replace(LEAST, train_labels=LEAST.train_labels.astype(np.int32)),
            "train labels are int32 (12,); expected int64 (12,)",
        ),
        (
            replace(LEAST, test_labels=LEAST.test_labels + 1),
            "test labels go from 1 to 3; expected 0 to 2, for it names 3 classes",
        ),
        (
            replace(LEAST, train_labels=LEAST.train_labels - 1),
            "train labels go from -1 to 1; expected 0 to 2, for it names 3 classes",
        ),
    ],
)
def test_a_provider_that_breaks_the_contract_is_told_what_was_expected(store, given, message):
    with pytest.raises(ContractError) as caught:
        describe(Toy(given), store)
    assert str(caught.value) == f'data set "toy": {message}'
    assert not (store.root / "data").exists()


def test_what_is_no_image_data_is_told(store):
    with pytest.raises(DataError) as caught:
        describe(Toy(replace(LEAST, classes=("one",))), store)
    assert str(caught.value) == 'data set "toy": has 1 class; a classifier needs two or more'
    with pytest.raises(ContractError) as caught:
        describe(Toy((1, 2)), store)
    assert str(caught.value) == 'data set "toy": its provider returned a tuple; expected harness.api.ImageData'
    with pytest.raises(ContractError) as caught:
        describe(Toy(replace(LEAST, test_labels=[0, 1])), store)
    assert str(caught.value) == 'data set "toy": test labels are a list; expected a numpy array'


def test_training_and_test_images_of_two_sizes_are_refused(store):
    with pytest.raises(DataError) as caught:
        describe(Toy(replace(LEAST, test_images=np.zeros((6, 3, 5, 5), np.uint8))), store)
    assert str(caught.value) == (
        'data set "toy": training images are (3, 4, 4), test images (3, 5, 5); expected one shape: give image_size or '
        "channels, where it takes them"
    )


@pytest.mark.parametrize(
    ("validation", "expected"),
    [(0.1, 10), (0.001, 1), (0.255, 26), (1, 1), (5, 5), (5000, None), (99, 99), (100, None)],
)
def test_the_validation_samples_are_a_count_or_a_share(validation, expected):
    if expected is not None:
        assert validation_size(validation, 100) == expected
        return
    with pytest.raises(DataError) as caught:
        validation_size(validation, 100)
    assert str(caught.value) == (
        f"validation: {validation} samples leave nothing of 100 training images; hold out fewer"
    )
