"""The idx reader on bytes written by hand; MNIST and Fashion-MNIST against torchvision's reader on the same files."""

import gzip

import numpy as np
import pytest
from dataset_files import idx, load, mnist_arrays, refusal, write_mnist

from harness.api import DataError
from harness.engine.torchvision_compat import import_torchvision
from harness_datasets.idx import read_idx
from harness_datasets.torchvision_sets import FIRST_LABELS, FashionMnist, Mnist


@pytest.mark.parametrize("zipped", [True, False])
def test_idx_values_come_in_row_major_order(tmp_path, zipped):
    content = bytes([0, 0, 8, 2, 0, 0, 0, 2, 0, 0, 0, 3, 1, 2, 3, 4, 5, 6])
    path = tmp_path / "file"
    path.write_bytes(gzip.compress(content) if zipped else content)
    assert read_idx(path, dims=2).tolist() == [[1, 2, 3], [4, 5, 6]]


IDX = idx(np.arange(6, dtype=np.uint8).reshape(2, 3))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "begins with nothing, expected an idx file of unsigned bytes with 2 dimensions"),
        (b"<html>", "begins with 3c 68 74 6d"),
        (IDX[:2] + b"\x0d" + IDX[3:], "type 0x0d"),
        (IDX[:3] + b"\x03" + IDX[4:], "with 3 dimensions"),
        (IDX[:7], "got 7 bytes, expected a header of 12"),
        (IDX[:-1], r"got 5 values, expected 6 \(2x3\)"),
        (IDX + b"\0", "got 7 values, expected 6"),
        (gzip.compress(IDX, mtime=0)[:-9], "cannot be read"),
        (gzip.compress(IDX, mtime=0)[:-8] + b"12345678", "cannot be read"),
    ],
)
def test_damaged_idx_file_is_named_with_what_was_found(tmp_path, content, message):
    path = tmp_path / "train-images"
    path.write_bytes(content)
    with pytest.raises(DataError, match=message) as error:
        read_idx(path, dims=2)
    assert str(error.value).startswith(f"{path}: ")
    assert str(error.value).endswith("fetch the file again")


def test_mnist_agrees_with_torchvisions_reader(tmp_path):
    write_mnist(tmp_path / "MNIST" / "raw", mnist_arrays(), zipped=False)
    data = load(Mnist, tmp_path)
    for train, images, labels in (
        (True, data.train_images, data.train_labels),
        (False, data.test_images, data.test_labels),
    ):
        peer = import_torchvision().datasets.MNIST(tmp_path, train=train)
        assert (images[:, 0] == peer.data.numpy()).all()
        assert (labels == peer.targets.numpy()).all()
        assert images.dtype == np.uint8
        assert labels.dtype == np.int64
    assert data.train_images.shape == (12, 1, 4, 4)
    assert data.classes == tuple("0123456789")


@pytest.mark.parametrize("folder", ["", "FashionMNIST/raw", "fashion-mnist", "fashion-mnist/FashionMNIST/raw"])
@pytest.mark.parametrize("zipped", [True, False])
def test_fashion_mnist_is_found_in_each_documented_folder(tmp_path, folder, zipped):
    arrays = mnist_arrays()
    write_mnist(tmp_path / folder, arrays, zipped=zipped)
    data = load(FashionMnist, tmp_path)
    assert (data.test_images[:, 0] == arrays["t10k-images-idx3-ubyte"]).all()
    assert data.classes == tuple(import_torchvision().datasets.FashionMNIST.classes)


def test_folder_of_the_data_sets_name_comes_before_a_namesakes_files(tmp_path):
    mnist, fashion = mnist_arrays(1), mnist_arrays(2)
    write_mnist(tmp_path, mnist)
    write_mnist(tmp_path / "fashion-mnist", fashion)
    assert (load(FashionMnist, tmp_path).train_labels == fashion["train-labels-idx1-ubyte"]).all()
    assert (load(Mnist, tmp_path).train_labels == mnist["train-labels-idx1-ubyte"]).all()


@pytest.mark.parametrize(("provider", "other"), [(Mnist, "fashion-mnist"), (FashionMnist, "mnist")])
def test_files_of_the_other_mnist_are_refused(tmp_path, provider, other):
    arrays = mnist_arrays()
    arrays["train-labels-idx1-ubyte"][:10] = FIRST_LABELS[other]
    write_mnist(tmp_path, arrays)
    assert f"holds the labels of {other}, whose files have the same names" in refusal(provider, tmp_path)


def test_images_and_labels_of_different_number_are_refused(tmp_path):
    arrays = mnist_arrays()
    arrays["t10k-labels-idx1-ubyte"] = arrays["t10k-labels-idx1-ubyte"][:-1]
    write_mnist(tmp_path, arrays)
    message = refusal(Mnist, tmp_path)
    assert "t10k-images-idx3-ubyte.gz and t10k-labels-idx1-ubyte.gz: got 5 images and 4 labels" in message


def test_labels_beyond_the_classes_are_refused(tmp_path):
    arrays = mnist_arrays()
    arrays["train-labels-idx1-ubyte"][3] = 10
    write_mnist(tmp_path, arrays)
    assert "to 10, expected 0 to 9" in refusal(Mnist, tmp_path)


def test_train_and_test_images_of_different_size_are_refused(tmp_path):
    arrays = mnist_arrays()
    arrays["t10k-images-idx3-ubyte"] = arrays["t10k-images-idx3-ubyte"][:, :3]
    write_mnist(tmp_path, arrays)
    assert "shape (1, 4, 4) and test images of shape (1, 3, 4)" in refusal(Mnist, tmp_path)
