"""SVHN's MATLAB files, against torchvision's reader on the same tiny files, and what is said of bad ones."""

import numpy as np
import pytest
from dataset_files import load, refusal, svhn_arrays
from scipy.io import savemat

from harness.engine.torchvision_compat import import_torchvision
from harness_datasets.torchvision_sets import Svhn


def test_svhn_agrees_with_torchvisions_reader_and_calls_zero_0(tmp_path, monkeypatch):
    for split, seed in (("train", 0), ("test", 1)):
        savemat(tmp_path / f"{split}_32x32.mat", svhn_arrays(seed))
    data = load(Svhn, tmp_path)
    torchvision = import_torchvision()
    monkeypatch.setattr(torchvision.datasets.svhn, "check_integrity", lambda path, md5: True)
    for split, images, labels in (
        ("train", data.train_images, data.train_labels),
        ("test", data.test_images, data.test_labels),
    ):
        peer = torchvision.datasets.SVHN(tmp_path, split=split)
        assert (images == peer.data).all()
        assert (labels == peer.labels).all()
    assert data.train_labels.tolist() == [0, 1, 2, 3, 4, 5]
    assert data.train_images.flags["C_CONTIGUOUS"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"X": np.zeros((32, 32, 3, 2), np.uint8)}, "expected the variables X and y"),
        ({"X": np.zeros((32, 32, 2), np.uint8), "y": [[1], [2]]}, "X holds uint8 values of shape (32, 32, 2)"),
        ({"X": np.zeros((32, 32, 3, 2)), "y": [[1], [2]]}, "X holds float64 values"),
        ({"X": np.zeros((32, 32, 3, 2), np.uint8), "y": [[0], [2]]}, "labels 0 to 2, expected 1 to 10"),
        ({"X": np.zeros((32, 32, 3, 2), np.uint8), "y": [[1], [2], [3]]}, "got 2 images and 3 labels"),
    ],
)
def test_svhn_file_that_does_not_fit_is_named(tmp_path, content, message):
    savemat(tmp_path / "train_32x32.mat", content)
    savemat(tmp_path / "test_32x32.mat", svhn_arrays())
    refused = refusal(Svhn, tmp_path)
    assert str(tmp_path / "train_32x32.mat") in refused
    assert message in refused


def test_svhn_file_that_is_no_matlab_file_is_named(tmp_path):
    (tmp_path / "train_32x32.mat").write_bytes(b"<html>not found</html>" * 20)
    savemat(tmp_path / "test_32x32.mat", svhn_arrays())
    assert f"{tmp_path / 'train_32x32.mat'}: cannot be read as a MATLAB file" in refusal(Svhn, tmp_path)
