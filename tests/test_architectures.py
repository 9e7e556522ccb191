"""The first-party architectures against the papers' figures, hand computations and torchvision's own numbers."""

import hashlib
import socket
import urllib.request
from importlib import import_module
from pathlib import Path
from urllib.error import URLError

import pytest
import torch
from ruamel.yaml import YAML
from torch import nn

from harness.api import DataError, InputShape
from harness.engine.torchvision_compat import import_torchvision
from harness_classifiers import harness_classifiers, torchvision_nets
from harness_classifiers.residual import PaddedShortcut, ResidualBlock

CARDS = Path(import_module("harness_registry").__file__ or "").parent / "models"
NAMES = sorted(harness_classifiers())
TORCHVISION = ("resnet18", "resnet34", "resnet50", "resnet152", "efficientnet_v2_m")
CIFAR = ("cifar-resnet20", "cifar-resnet32", "cifar-resnet44", "cifar-resnet56", "cifar-resnet110")
# He et al., 2016, table 6, in millions, to the digits printed there.
PUBLISHED_MILLIONS = dict(zip(CIFAR, ("0.27", "0.46", "0.66", "0.85", "1.7"), strict=True))


def architecture(name, **options):
    module, _, attribute = harness_classifiers()[name].partition(":")
    kind = getattr(import_module(module), attribute)
    return kind(kind.options_type(**options))


def build(name, *, channels=3, image_size=32, num_classes=10, **options):
    shape = InputShape(channels=channels, image_size=image_size, num_classes=num_classes)
    return architecture(name, **options).build(shape)


def random_options(name):
    return {"pretrained": None} if name in TORCHVISION else {}


def count(module):
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize("name", NAMES)
def test_every_architecture_has_a_card_whose_numbers_are_true(name):
    card = YAML(typ="safe").load(CARDS / f"{name}.yaml")
    assert set(card) - {"image_size", "normalization"} == {
        "description",
        "source",
        "architecture",
        "options",
        "parameters",
    }
    assert card["architecture"] == f"classifiers/{name}"
    declared = architecture(name, **card["options"])
    assert card.get("image_size") == declared.default_image_size
    assert card.get("normalization") == declared.default_normalization
    with torch.device("meta"):
        assert card["parameters"] == count(build(name, **random_options(name)))


def test_no_card_names_an_architecture_that_is_not_there():
    assert {path.stem for path in CARDS.glob("*.yaml")} == set(NAMES)


@pytest.mark.parametrize("name", CIFAR)
def test_cifar_resnets_have_the_papers_parameters_and_layers(name):
    network = build(name)
    published = PUBLISHED_MILLIONS[name]
    assert f"{count(network) / 1e6:.{len(published.partition('.')[2])}f}" == published
    layers = [module for module in network.modules() if isinstance(module, nn.Conv2d | nn.Linear)]
    assert len(layers) == int(name.removeprefix("cifar-resnet"))


def test_cifar_resnet_parameters_carry_the_names_of_the_shared_checkpoints():
    norm = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
    block = [f"{part}" for i in (1, 2) for part in (f"conv{i}.weight", *(f"bn{i}.{entry}" for entry in norm))]
    blocks = [f"layer{stage}.{index}.{part}" for stage in (1, 2, 3) for index in (0, 1, 2) for part in block]
    expected = ["conv1.weight", *(f"bn1.{entry}" for entry in norm), *blocks, "linear.weight", "linear.bias"]
    assert list(build("cifar-resnet20").state_dict()) == expected


def test_the_padded_shortcut_takes_every_second_pixel_and_adds_channels_of_zeros_on_both_sides():
    images = torch.arange(18.0).reshape(1, 2, 3, 3)
    zeros = [[0.0, 0.0], [0.0, 0.0]]
    expected = [zeros, [[0.0, 2.0], [6.0, 8.0]], [[9.0, 11.0], [15.0, 17.0]], zeros]
    assert PaddedShortcut(2)(images)[0].tolist() == expected


def test_a_block_whose_convolutions_are_silent_is_the_rectified_shortcut():
    block = ResidualBlock(2, 4, stride=2).eval()
    nn.init.zeros_(block.bn2.weight)
    images = torch.arange(-9.0, 9.0).reshape(1, 2, 3, 3)
    expected = [[[0.0, 0.0], [0.0, 0.0]], [[0.0, 0.0], [0.0, 0.0]], [[0.0, 2.0], [6.0, 8.0]], [[0.0, 0.0], [0.0, 0.0]]]
    assert block(images)[0].tolist() == expected


def test_cifar_resnet_stages_halve_the_image_and_double_the_channels():
    network, shapes = build("cifar-resnet20"), []
    for stage in (network.layer1, network.layer2, network.layer3):
        stage.register_forward_hook(lambda _module, _inputs, output: shapes.append(tuple(output.shape[1:])))
    network(torch.rand(1, 3, 32, 32))
    assert shapes == [(16, 32, 32), (32, 16, 16), (64, 8, 8)]


def test_cifar_resnet_weights_are_drawn_with_he_initialization():
    weight = build("cifar-resnet20").layer3[2].conv2.weight
    assert weight.std().item() == pytest.approx((2 / (64 * 9)) ** 0.5, rel=0.03)


@pytest.mark.parametrize("name", ["small-cnn", "cifar-resnet20", "resnet18"])
def test_networks_can_be_traced_symbolically(name):
    network = build(name, **random_options(name)).eval()
    images = torch.rand(2, 3, 32, 32)
    torch.testing.assert_close(torch.fx.symbolic_trace(network)(images), network(images))


@pytest.mark.parametrize(
    ("name", "channels", "image_size", "num_classes"),
    [
        ("small-cnn", 1, 8, 10),
        ("small-cnn", 1, 28, 10),
        ("small-cnn", 3, 32, 100),
        ("small-cnn", 3, 1, 2),
        ("cifar-resnet20", 3, 32, 100),
        ("cifar-resnet20", 1, 28, 10),
        ("cifar-resnet20", 3, 15, 2),
        ("resnet18", 3, 32, 7),
        ("resnet18", 3, 224, 7),
    ],
)
def test_logits_come_for_any_image_size_and_number_of_classes(name, channels, image_size, num_classes):
    options = random_options(name)
    network = build(name, channels=channels, image_size=image_size, num_classes=num_classes, **options)
    assert network(torch.rand(2, channels, image_size, image_size)).shape == (2, num_classes)


@pytest.mark.parametrize("name", ["small-cnn", "cifar-resnet20", "resnet18"])
def test_batch_statistics_matter(name):
    network = build(name, **random_options(name))
    images = 3 + torch.rand(8, 3, 32, 32)
    with torch.no_grad():
        trained, evaluated = network.train()(images), network.eval()(images)
    assert (trained - evaluated).abs().max() > 0.01


def test_the_small_cnn_of_the_demonstration_has_the_documented_parameters():
    # Convolutions 1·16·9, 16·32·9 and 32·64·9, two per batch-norm channel, and a 64 to 10 linear layer.
    assert count(build("small-cnn", channels=1)) == 144 + 4608 + 18432 + 2 * (16 + 32 + 64) + 650 == 24_058


def test_the_small_cnn_grows_with_its_width():
    network = build("small-cnn", width=4)
    assert [module.out_channels for module in network if isinstance(module, nn.Conv2d)] == [4, 8, 16]


def test_the_same_seed_builds_the_same_network():
    networks = []
    for _ in range(2):
        torch.manual_seed(5)
        networks.append(build("cifar-resnet20").state_dict())
    assert all(torch.equal(networks[0][name], networks[1][name]) for name in networks[0])


@pytest.mark.parametrize("name", TORCHVISION)
def test_torchvision_nets_have_torchvisions_parameters_with_a_head_for_the_classes(name):
    weights = import_torchvision().models.get_model_weights(name).IMAGENET1K_V1
    with torch.device("meta"):
        network = build(name, num_classes=7, pretrained=None)
    (*_, head) = (module for module in network.modules() if isinstance(module, nn.Linear))
    assert head.out_features == 7
    assert count(network) == weights.meta["num_params"] - (1000 - 7) * (head.in_features + 1)


def test_torchvision_nets_say_what_they_start_from():
    assert architecture("resnet18").pretrained_source() == "imagenet"
    assert architecture("resnet18", pretrained=None).pretrained_source() is None
    assert architecture("cifar-resnet20").pretrained_source() is None


def test_a_torchvision_net_refuses_gray_images_and_says_what_to_do():
    with pytest.raises(DataError) as caught:
        build("resnet18", channels=1)
    assert str(caught.value) == (
        'architecture "resnet18": expected images of 3 channels, got 1; give the data set in colour ("channels: 3" is '
        "an option of image-folder), or choose an architecture that takes any number of channels, such as "
        '"small-cnn" or "cifar-resnet20"'
    )


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """Point torch hub at a folder of the test's own."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "home"))
    return tmp_path / "home" / "hub" / "checkpoints"


def serve(name, url, monkeypatch):
    entry = import_torchvision().models.get_model_weights(name).IMAGENET1K_V1
    monkeypatch.setattr(entry.value, "url", url)


def write_imagenet_file(folder):
    original = import_torchvision().models.resnet18(weights=None)
    torch.save(original.state_dict(), folder / "unnamed.pth")
    digest = hashlib.sha256((folder / "unnamed.pth").read_bytes()).hexdigest()
    return original, (folder / "unnamed.pth").rename(folder / f"resnet18-{digest[:8]}.pth")


def test_imagenet_weights_are_fetched_once_and_fill_all_but_the_head(tmp_path, hub, monkeypatch, capsys):
    original, file = write_imagenet_file(tmp_path)
    serve("resnet18", file.as_uri(), monkeypatch)
    network = build("resnet18")
    assert network.fc.out_features == 10
    expected = {name: tensor for name, tensor in original.state_dict().items() if not name.startswith("fc.")}
    found = network.state_dict()
    assert all(torch.equal(found[name], tensor) for name, tensor in expected.items())
    assert capsys.readouterr().out == ""
    file.unlink()
    assert torch.equal(build("resnet18").conv1.weight, original.conv1.weight)


def refusal(name="resnet18"):
    with pytest.raises(DataError) as caught:
        build(name)
    assert caught.value.exit_code == 4
    return str(caught.value)


def next_step(hub, url, name="resnet18-01234567.pth"):
    return (
        f'fetch {url} (sha256 {name[-12:-4]}…, 44.7 MB) where there is a network and put it at "{hub / name}", or set TORCH_HOME '
        f'to a folder that has it as hub/checkpoints/{name}; without it, "weights: FILE" with "trained: false" starts from a file '
        'of yours, "pretrained: null" from random weights'
    )


def test_imagenet_weights_out_of_reach_say_what_to_fetch_where_to_put_it_and_what_else_there_is(
    tmp_path, hub, monkeypatch
):
    url = (tmp_path / "absent" / "resnet18-01234567.pth").as_uri()
    serve("resnet18", url, monkeypatch)
    assert refusal() == (
        "ImageNet weights of resnet18: not on this machine, and the download failed (No such file or directory); "
        + next_step(hub, url)
    )


def test_the_real_weights_are_named_by_torchvisions_address_and_checksum(hub, monkeypatch):
    asked = []

    def refuse(url, path, hash_prefix, progress):
        asked.append((url, path, hash_prefix))
        raise URLError(ConnectionRefusedError(111, "Connection refused"))

    monkeypatch.setattr(torch.hub, "download_url_to_file", refuse)
    url, name = "https://download.pytorch.org/models/resnet18-f37072fd.pth", "resnet18-f37072fd.pth"
    assert refusal() == (
        "ImageNet weights of resnet18: not on this machine, and the download failed (Connection refused); "
        + next_step(hub, url, name)
    )
    assert asked == [(url, str(hub / name), "f37072fd")]


def test_a_network_that_never_answers_is_given_up(hub, monkeypatch):
    before = socket.getdefaulttimeout()
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        serve("resnet18", f"http://127.0.0.1:{silent.getsockname()[1]}/resnet18-01234567.pth", monkeypatch)
        monkeypatch.setattr(torchvision_nets, "_PATIENCE_SECONDS", 0.05)
        # urllib keeps what it once read of the proxies
        monkeypatch.setattr(urllib.request, "_opener", urllib.request.build_opener(urllib.request.ProxyHandler({})))
        assert "and the download failed (timed out); fetch http://127.0.0.1:" in refusal()
    assert socket.getdefaulttimeout() == before


def test_a_torch_home_that_cannot_be_written_is_told_from_a_network_that_is_down(tmp_path, hub, monkeypatch):
    hub.parents[1].write_text("a file where the folder should be")
    serve("resnet18", "file:///absent/resnet18-01234567.pth", monkeypatch)
    said = refusal()
    assert said.startswith("ImageNet weights of resnet18: ")
    assert f'"{hub}" cannot be written (Not a directory); make it writable, or fetch file:///absent' in said


def test_weights_that_cannot_be_read_are_told_from_missing_ones(hub, monkeypatch):
    serve("resnet18", "file:///absent/resnet18-01234567.pth", monkeypatch)
    path = hub / "resnet18-01234567.pth"
    path.mkdir(parents=True)
    assert f'"{path}" cannot be read (Is a directory); make it readable, or fetch file:///absent' in refusal()


def test_a_damaged_copy_of_imagenet_weights_is_refused_by_its_checksum(hub, monkeypatch):
    url = "file:///absent/resnet18-01234567.pth"
    serve("resnet18", url, monkeypatch)
    hub.mkdir(parents=True)
    (hub / "resnet18-01234567.pth").write_bytes(b"cut short")
    digest = hashlib.sha256(b"cut short").hexdigest()
    assert refusal() == (
        f'ImageNet weights of resnet18: "{hub / "resnet18-01234567.pth"}": expected a sha256 that starts with 01234567, got '
        f"{digest[:8]} (0.0 MB): the file is cut short or another one; delete it, then run again or {next_step(hub, url)}"
    )


def test_a_download_that_arrives_damaged_is_not_kept(tmp_path, hub, monkeypatch):
    (tmp_path / "resnet18-01234567.pth").write_bytes(b"cut short")
    serve("resnet18", (tmp_path / "resnet18-01234567.pth").as_uri(), monkeypatch)
    with pytest.raises(DataError, match="invalid hash value"):
        build("resnet18")
    assert list(hub.iterdir()) == []
