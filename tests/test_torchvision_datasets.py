"""Where torchvision's data sets are searched for, and how they are fetched; nothing is ever really fetched here."""

import gzip
import os
from types import SimpleNamespace
from urllib.error import URLError

import pytest
from dataset_files import (
    MNIST_FILES,
    cifar_entries,
    idx,
    load,
    mnist_arrays,
    refusal,
    write_cifar,
    write_mnist,
)

from harness.engine.torchvision_compat import import_torchvision
from harness_datasets.cifar_layouts import CIFAR10
from harness_datasets.torchvision_sets import Cifar10, Cifar100, FashionMnist, Mnist, Svhn, TorchvisionOptions

SETS = (Cifar10, Cifar100, FashionMnist, Mnist, Svhn)


@pytest.fixture(autouse=True)
def no_data_elsewhere(monkeypatch, tmp_path):
    """Keep the user's data and the network out of the tests."""
    monkeypatch.delenv("HARNESS_DATA", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    fake_downloads(monkeypatch, unreachable)


def unreachable(url, root, filename, md5):
    raise URLError("no route to host")


def fake_downloads(monkeypatch, download_url):
    torchvision = SimpleNamespace(datasets=SimpleNamespace(utils=SimpleNamespace(download_url=download_url)))
    monkeypatch.setattr("harness.api.import_torchvision", lambda: torchvision, raising=False)


def test_cifar_folder_without_a_batch_names_the_batch_and_downloads_nothing(tmp_path):
    folder = write_cifar(tmp_path, CIFAR10, cifar_entries(CIFAR10))
    (folder / "data_batch_5").unlink()
    message = refusal(Cifar10, tmp_path, download=True)
    assert "lacks data_batch_5; expected cifar-10-python.tar.gz or the folder cifar-10-batches-py" in message


def test_files_to_download_are_those_that_torchvision_names():
    datasets = import_torchvision().datasets
    for provider, peer in ((Cifar10, datasets.CIFAR10), (Cifar100, datasets.CIFAR100)):
        assert [(file.name, file.md5, file.urls) for file in provider.remote.values()] == [
            (peer.filename, peer.tgz_md5, (peer.url,))
        ]
    for provider, peer in ((Mnist, datasets.MNIST), (FashionMnist, datasets.FashionMNIST)):
        assert [(file.name, file.md5, file.urls) for file in provider.remote.values()] == [
            (name, md5, tuple(f"{mirror}{name}" for mirror in peer.mirrors)) for name, md5 in peer.resources
        ]
    assert [(file.urls[0], file.name, file.md5) for file in Svhn.remote.values()] == [
        tuple(datasets.SVHN.split_list[split]) for split in ("train", "test")
    ]


def test_data_variable_is_searched_when_no_root_is_given(tmp_path, monkeypatch):
    arrays = mnist_arrays()
    write_mnist(tmp_path / "data" / "mnist", arrays)
    monkeypatch.setenv("HARNESS_DATA", str(tmp_path / "data"))
    assert (load(Mnist).train_labels == arrays["train-labels-idx1-ubyte"]).all()


def test_root_comes_before_the_data_variable(tmp_path, monkeypatch):
    mine, other = mnist_arrays(1), mnist_arrays(2)
    write_mnist(tmp_path / "other", other)
    write_mnist(tmp_path / "mine", mine)
    monkeypatch.setenv("HARNESS_DATA", str(tmp_path / "other"))
    assert (load(Mnist, tmp_path / "mine").train_labels == mine["train-labels-idx1-ubyte"]).all()


def test_root_or_variable_that_is_no_folder_is_refused(tmp_path, monkeypatch):
    missing, file = tmp_path / "typo", tmp_path / "file"
    file.write_text("")
    assert f'the option "root" is {missing}: got nothing there, expected a folder' in refusal(
        Mnist, missing, download=True
    )
    assert f'the option "root" is {file}: got a file, expected a folder' in refusal(Mnist, file)
    monkeypatch.setenv("HARNESS_DATA", str(missing))
    assert f"HARNESS_DATA is {missing}: got nothing there" in refusal(Cifar10)


@pytest.mark.parametrize("provider", SETS)
def test_without_files_or_downloading_the_error_says_what_to_fetch_and_where_to_put_it(tmp_path, provider):
    message = refusal(provider, tmp_path)
    assert message.startswith(f"{provider.name}: {tmp_path} lacks ")
    for file in provider.remote.values():
        assert file.urls[0] in message
    assert f"in {tmp_path}" in message
    assert "HARNESS_DATA" in message
    assert "downloading is off" in message


@pytest.mark.parametrize("provider", SETS)
def test_without_network_the_error_says_what_to_fetch_and_leaves_nothing_behind(tmp_path, provider):
    message = refusal(provider, tmp_path, download=True)
    assert "no route to host" in message
    for file in provider.remote.values():
        assert file.urls[0] in message
    assert f"put {'it' if len(provider.remote) == 1 else 'them'} in {tmp_path}" in message
    assert not list(tmp_path.iterdir())


def test_downloads_go_to_the_cache_and_are_read_from_there(tmp_path, monkeypatch):
    arrays, urls = mnist_arrays(), []

    def download_url(url, root, filename, md5):
        urls.append(url)
        (root / filename).write_bytes(gzip.compress(idx(arrays[filename.removesuffix(".gz")])))

    fake_downloads(monkeypatch, download_url)
    assert (load(Mnist, download=True).train_labels == arrays["train-labels-idx1-ubyte"]).all()
    cache = tmp_path / "home" / ".cache" / "adcorda-harness" / "data" / "mnist"
    assert sorted(path.name for path in cache.iterdir()) == sorted(f"{name}.gz" for name in MNIST_FILES)
    load(Mnist, download=True)
    assert len(urls) == 4


def test_second_mirror_is_tried_when_the_first_fails(tmp_path, monkeypatch):
    arrays = mnist_arrays()

    def download_url(url, root, filename, md5):
        if "ossci" in url:
            raise RuntimeError("File not found or corrupted.")
        (root / filename).write_bytes(gzip.compress(idx(arrays[filename.removesuffix(".gz")])))

    fake_downloads(monkeypatch, download_url)
    assert len(load(Mnist, tmp_path, download=True).train_labels) == 12


def test_download_that_breaks_off_leaves_no_part_of_a_file(tmp_path, monkeypatch):
    def download_url(url, root, filename, md5):
        (root / filename).write_bytes(b"half")
        raise URLError("connection reset")

    fake_downloads(monkeypatch, download_url)
    assert "connection reset" in refusal(Svhn, tmp_path, download=True)
    assert not list(tmp_path.iterdir())


def test_only_the_missing_files_are_downloaded(tmp_path, monkeypatch):
    arrays, fetched = mnist_arrays(), []
    write_mnist(tmp_path, arrays)
    (tmp_path / "t10k-labels-idx1-ubyte.gz").unlink()

    def download_url(url, root, filename, md5):
        fetched.append(filename)
        (root / filename).write_bytes(gzip.compress(idx(arrays[filename.removesuffix(".gz")])))

    fake_downloads(monkeypatch, download_url)
    load(Mnist, tmp_path, download=True)
    assert fetched == ["t10k-labels-idx1-ubyte.gz"]


def test_listing_changes_with_a_files_time_and_is_none_before_the_download(tmp_path):
    provider = Mnist(TorchvisionOptions(root=tmp_path))
    assert provider.listing() is None
    write_mnist(tmp_path, mnist_arrays())
    before = provider.listing()
    assert before == provider.listing()
    assert len(before) == 4
    os.utime(tmp_path / "t10k-labels-idx1-ubyte.gz", ns=(1, 1))
    assert provider.listing() != before
