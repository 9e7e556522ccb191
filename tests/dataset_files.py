"""Tiny data sets in the files of the published ones, for tests."""

import gzip
import pickle
import struct
import tarfile

import numpy as np
import pytest

from harness.api import DataError
from harness_datasets.torchvision_sets import TorchvisionOptions

MNIST_FILES = {
    "train-images-idx3-ubyte": (12, 4, 4),
    "train-labels-idx1-ubyte": (12,),
    "t10k-images-idx3-ubyte": (5, 4, 4),
    "t10k-labels-idx1-ubyte": (5,),
}


def load(provider, root=None, *, download=False):
    return provider(TorchvisionOptions(root=root, download=download)).load()


def refusal(provider, root=None, *, download=False):
    with pytest.raises(DataError) as error:
        load(provider, root, download=download)
    assert error.value.exit_code == 4
    return str(error.value)


def idx(values):
    return struct.pack(f">BBBB{values.ndim}I", 0, 0, 8, values.ndim, *values.shape) + values.tobytes()


def mnist_arrays(seed=0):
    random = np.random.default_rng(seed)
    return {
        name: random.integers(0, 256 if len(shape) == 3 else 10, shape).astype(np.uint8)
        for name, shape in MNIST_FILES.items()
    }


def write_mnist(folder, arrays, *, zipped=True):
    folder.mkdir(parents=True, exist_ok=True)
    for name, values in arrays.items():
        if zipped:
            (folder / f"{name}.gz").write_bytes(gzip.compress(idx(values)))
        else:
            (folder / name).write_bytes(idx(values))
    return folder


def cifar_entries(layout, *, seed=0, rows=3):
    random = np.random.default_rng(seed)
    entries = {
        name: {
            "data": random.integers(0, 256, (rows, 3072)).astype(np.uint8),
            layout.labels_key: random.integers(0, layout.num_classes, rows).tolist(),
        }
        for name in (*layout.train, layout.test)
    }
    return {**entries, layout.meta: {layout.classes_key: [f"class {n}" for n in range(layout.num_classes)]}}


def write_cifar(root, layout, entries, protocol=2):
    folder = root / layout.folder
    folder.mkdir(parents=True)
    for name, entry in entries.items():
        (folder / name).write_bytes(pickle.dumps(entry, protocol))
    return folder


def svhn_arrays(seed=0, rows=6):
    random = np.random.default_rng(seed)
    return {
        "X": random.integers(0, 256, (32, 32, 3, rows)).astype(np.uint8),
        "y": np.array([[10], *([n % 10 + 1] for n in range(rows - 1))], np.uint8),
    }


def write_cifar_archive(root, layout, entries):
    folder = write_cifar(root / "elsewhere", layout, entries)
    with tarfile.open(root / layout.archive, "w:gz") as archive:
        archive.add(folder, layout.folder)
