"""CIFAR's batches, against torchvision's reader on the same tiny files, and what is said of bad ones."""

import os
import pickle
import struct

import numpy as np
import pytest
from dataset_files import cifar_entries, load, refusal, write_cifar, write_cifar_archive

from harness.engine.torchvision_compat import import_torchvision
from harness_datasets import cifar_files
from harness_datasets.cifar_layouts import CIFAR10, CIFAR100
from harness_datasets.torchvision_sets import Cifar10, Cifar100


@pytest.mark.parametrize("protocol", [2, 5])
@pytest.mark.parametrize(("provider", "layout"), [(Cifar10, CIFAR10), (Cifar100, CIFAR100)])
def test_cifar_agrees_with_torchvisions_reader(tmp_path, monkeypatch, provider, layout, protocol):
    write_cifar(tmp_path, layout, cifar_entries(layout), protocol)
    data = load(provider, tmp_path)
    torchvision = import_torchvision()
    monkeypatch.setattr(torchvision.datasets.cifar, "check_integrity", lambda path, md5: True)
    peer_type = torchvision.datasets.CIFAR10 if layout is CIFAR10 else torchvision.datasets.CIFAR100
    for train, images, labels in (
        (True, data.train_images, data.train_labels),
        (False, data.test_images, data.test_labels),
    ):
        peer = peer_type(tmp_path, train=train)
        assert (images.transpose(0, 2, 3, 1) == peer.data).all()
        assert labels.tolist() == peer.targets
    assert data.classes == tuple(peer.classes)
    assert data.train_images.shape == (3 * len(layout.train), 3, 32, 32)
    assert data.train_labels.dtype == np.int64


@pytest.mark.parametrize("where", ["archive", "folder itself", "folder of the name"])
def test_cifar_is_read_alike_from_the_archive_and_the_folder(tmp_path, where):
    entries = cifar_entries(CIFAR10)
    if where == "archive":
        write_cifar_archive(tmp_path, CIFAR10, entries)
        data = load(Cifar10, tmp_path)
    elif where == "folder itself":
        data = load(Cifar10, write_cifar(tmp_path, CIFAR10, entries))
    else:
        write_cifar(tmp_path / "cifar10", CIFAR10, entries)
        data = load(Cifar10, tmp_path)
    assert (data.train_images[3].ravel() == entries["data_batch_2"]["data"][0]).all()
    assert data.test_labels.tolist() == entries["test_batch"]["labels"]


def python2_string(value):
    return b"T" + struct.pack("<i", len(value)) + value


def python2_integers(values):
    return b"".join(b"J" + struct.pack("<i", value) for value in values)


def python2_batch(pixels, labels):
    """Write what Python 2 and numpy 1 wrote, as in the published files: strings of bytes, flags as integers."""
    dtype = b"cnumpy\ndtype\n(" + python2_string(b"u1") + b"K\x00K\x01tR"
    dtype += b"(K\x03" + python2_string(b"|") + b"NNN" + python2_integers([-1, -1, 0]) + b"tb"
    array = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(K\x00t" + python2_string(b"b") + b"tR"
    array += (
        b"(K\x01(" + python2_integers(pixels.shape) + b"t" + dtype + b"\x89" + python2_string(pixels.tobytes()) + b"tb"
    )
    entries = python2_string(b"data") + array + python2_string(b"labels") + b"](" + python2_integers(labels) + b"e"
    return b"\x80\x02}(" + entries + b"u."


def test_cifar_batch_written_by_python_2_is_read_without_a_warning(tmp_path):
    entries = cifar_entries(CIFAR10)
    folder = write_cifar(tmp_path, CIFAR10, entries)
    batch = entries["data_batch_4"]
    (folder / "data_batch_4").write_bytes(python2_batch(batch["data"], batch["labels"]))
    data = load(Cifar10, tmp_path)
    assert (data.train_images[9:12].reshape(3, -1) == batch["data"]).all()
    assert data.train_labels[9:12].tolist() == batch["labels"]


def test_integer_flags_in_pickled_dtypes_reach_numpy_as_booleans():
    # newer numpy excuses the pair 0 and 1 alone, so another pair shows whether they are converted
    assert cifar_files._dtype("u1", 0, 0) == np.uint8


class Malicious:
    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return os.mkdir, (self.marker,)


def test_cifar_pickle_that_would_run_a_command_is_refused_and_runs_nothing(tmp_path):
    folder = write_cifar(tmp_path, CIFAR10, cifar_entries(CIFAR10))
    marker = tmp_path / "was-run"
    (folder / "data_batch_3").write_bytes(pickle.dumps({"data": Malicious(str(marker))}))
    message = refusal(Cifar10, tmp_path)
    assert f"{folder / 'data_batch_3'}: cannot be read" in message
    assert "mkdir, which no CIFAR file needs" in message
    assert not marker.exists()


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ([1, 2], "got a list, expected a dictionary"),
        ({"data": np.zeros((1, 3072), np.uint8)}, 'expected "labels" among them'),
        ({"data": np.zeros((1, 3071), np.uint8), "labels": [0]}, "shape (1, 3071), expected uint8 of shape (N, 3072)"),
        ({"data": np.zeros((1, 3072), np.float32), "labels": [0]}, "float32 data"),
        ({"data": np.zeros((1, 3072), np.uint8), "labels": [0, 1]}, "got 1 images and 2 labels"),
        ({"data": np.zeros((1, 3072), np.uint8), "labels": [10]}, "got labels 10 to 10, expected 0 to 9"),
        ({"data": np.zeros((0, 3072), np.uint8), "labels": []}, "got no images"),
    ],
)
def test_cifar_batch_that_does_not_fit_is_named(tmp_path, entry, message):
    write_cifar(tmp_path, CIFAR10, {**cifar_entries(CIFAR10), "data_batch_2": entry})
    refused = refusal(Cifar10, tmp_path)
    assert "data_batch_2" in refused
    assert message in refused


def test_truncated_cifar_archive_is_named(tmp_path):
    write_cifar_archive(tmp_path, CIFAR10, cifar_entries(CIFAR10))
    path = tmp_path / CIFAR10.archive
    path.write_bytes(path.read_bytes()[:20000])
    message = refusal(Cifar10, tmp_path)
    assert str(path) in message
    assert "cannot be read" in message
    assert "fetch" in message


def test_cifar_archive_without_a_batch_names_the_batch(tmp_path):
    entries = cifar_entries(CIFAR10)
    del entries["data_batch_5"]
    write_cifar_archive(tmp_path, CIFAR10, entries)
    assert "got no data_batch_5 in cifar-10-batches-py" in refusal(Cifar10, tmp_path)


def test_whole_cifar_archive_is_preferred_to_a_folder_half_extracted(tmp_path):
    entries = cifar_entries(CIFAR10)
    write_cifar_archive(tmp_path, CIFAR10, entries)
    write_cifar(tmp_path, CIFAR10, entries)
    (tmp_path / CIFAR10.folder / "test_batch").unlink()
    assert load(Cifar10, tmp_path).test_labels.tolist() == entries["test_batch"]["labels"]


def test_cifar_100_meta_with_other_classes_is_refused(tmp_path):
    entries = cifar_entries(CIFAR100)
    write_cifar(tmp_path, CIFAR100, {**entries, "meta": {"fine_label_names": ["one", "two"]}})
    assert "meta names 2 classes, expected 100" in refusal(Cifar100, tmp_path)
