"""Classifiers from cards, files and functions: what they see, what tells them apart, what is said when they do not fit."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn
from toys import states_equal

from harness.catalogue import IMAGENET, Normalization
from harness.data import DataDescription
from harness.errors import ContractError, DataError
from harness.manager import Manager
from harness.models import Input, build_network, input_of, model_identity
from harness.resolved import ResolvedModel, ResolvedPlugin

OWN = Normalization(mean=(0.1, 0.2, 0.3), std=(0.4, 0.5, 0.6))
CARD = Normalization(mean=(0.5,), std=(0.25,))
SHAPE = Input(1, 6, 4, CARD)
DATA = DataDescription("fingerprint", 10, 5, 3, 8, 8, ("a", "b"), OWN.mean, OWN.std)


@pytest.fixture(scope="module")
def manager():
    return Manager.discover()


def model(manager, **changes):
    plugin = manager.find("classifier", "small-cnn")
    architecture = ResolvedPlugin(plugin, manager.load(plugin).options_type(width=2))
    fields = ("toy", architecture, None, Path(), None, False, None, "dataset")
    return replace(ResolvedModel(*fields), **changes)


# -- input ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "of_dataset", "expected"),
    [("dataset", CARD, CARD), ("dataset", None, OWN), (CARD, None, CARD), (IMAGENET, CARD, IMAGENET)],
)
def test_normalization_is_the_models_else_the_data_sets_card_else_the_images_own(manager, asked, of_dataset, expected):
    assert input_of(model(manager, normalization=asked), DATA, of_dataset).normalization == expected


def test_gray_images_do_not_take_the_three_channels_of_imagenet(manager):
    gray = replace(DATA, channels=1, mean=(0.1,), std=(0.2,))
    seen = input_of(model(manager, normalization=IMAGENET), gray, None)
    assert seen == Input(1, 8, 2, Normalization(mean=(0.1,), std=(0.2,)))


def test_the_image_size_is_the_models_else_the_images_own(manager):
    assert input_of(model(manager), DATA, None).image_size == 8
    assert input_of(model(manager, image_size=224), replace(DATA, width=9), None).image_size == 224


def test_images_that_are_not_square_need_an_image_size(manager):
    with pytest.raises(DataError) as caught:
        input_of(model(manager), replace(DATA, width=9), None)
    assert str(caught.value) == 'model "toy": the images are 8x9, not square; give the model an image_size'


def test_a_normalization_of_another_number_of_channels_is_refused(manager):
    two = Normalization(mean=(0.1, 0.2), std=(0.3, 0.3))
    with pytest.raises(DataError) as caught:
        input_of(model(manager, normalization=two), DATA, None)
    assert str(caught.value) == (
        'model "toy": normalization has 2 means and 2 stds, the images have 3 channels; give one per channel'
    )


# -- networks -------------------------------------------------------------------------------------------------------------


def test_a_network_normalizes_as_its_input_says(manager):
    network = build_network(model(manager), SHAPE, manager, seed=1)
    images = torch.rand(3, 1, 6, 6, generator=torch.Generator().manual_seed(0))
    network.eval()
    torch.testing.assert_close(network(images), network.net((images - 0.5) / 0.25))
    assert network.num_classes == 4


def test_a_network_is_initialized_by_its_seed_alone(manager):
    before = torch.get_rng_state()
    first = build_network(model(manager), SHAPE, manager, seed=1).state_dict()
    assert torch.equal(torch.get_rng_state(), before)
    torch.rand(5)
    assert states_equal(build_network(model(manager), SHAPE, manager, seed=1).state_dict(), first)
    assert not states_equal(build_network(model(manager), SHAPE, manager, seed=2).state_dict(), first)


def saved(manager, path, *, seed):
    torch.save(build_network(model(manager), SHAPE, manager, seed=seed).net.state_dict(), path)
    return path


def test_given_weights_are_the_networks_whatever_the_seed(manager, tmp_path):
    weights = saved(manager, tmp_path / "net.pth", seed=7)
    network = build_network(model(manager, weights=weights), SHAPE, manager, seed=1)
    assert states_equal(network.net.state_dict(), torch.load(weights, weights_only=True))


MODULE = """
from torch import nn

class Net(nn.Module):
    def __init__(self, num_classes):
        super().__init__()
        self.body = nn.Sequential(nn.Flatten(), nn.Linear(36, num_classes))
    def forward(self, images):
        return self.body(images) * 1

def make(num_classes): return Net(num_classes)
def plain(num_classes): return nn.Sequential(nn.Flatten(), nn.Linear(36, num_classes))
def too_many(num_classes): return Net(num_classes + 1)
def too_wide(num_classes): return nn.Sequential(nn.Flatten(), nn.Linear(37, num_classes))
class Pair(Net):
    def forward(self, images): return super().forward(images), None
"""


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "toy_models_of_mine.py").write_text(MODULE)
    yield tmp_path
    sys.modules.pop("toy_models_of_mine", None)


def factory(manager, folder, name):
    return model(manager, architecture=None, factory=f"toy_models_of_mine:{name}", folder=folder)


def test_a_functions_network_is_built_by_the_seed(manager, folder):
    first, again, other = (build_network(factory(manager, folder, "make"), SHAPE, manager, seed=s) for s in (1, 1, 2))
    assert states_equal(first.state_dict(), again.state_dict())
    assert not states_equal(first.state_dict(), other.state_dict())


def test_a_network_that_cannot_take_the_images_says_so_at_once(manager, folder):
    with pytest.raises(DataError) as caught:
        build_network(factory(manager, folder, "too_wide"), SHAPE, manager, seed=1)
    assert str(caught.value) == (
        'model "toy": cannot classify images (2, 1, 6, 6): RuntimeError: mat1 and mat2 shapes cannot be multiplied '
        "(2x36 and 37x4); check image_size and the data set's channels"
    )


@pytest.mark.parametrize(("name", "got"), [("too_many", "(2, 5)"), ("Pair", "tuple")])
def test_a_network_of_other_outputs_is_refused(manager, folder, name, got):
    with pytest.raises(ContractError) as caught:
        build_network(factory(manager, folder, name), SHAPE, manager, seed=1)
    assert str(caught.value) == (
        f'model "toy": returns {got} for images (2, 1, 6, 6), expected logits (2, 4): one per class'
    )


# -- identity -------------------------------------------------------------------------------------------------------------


def test_an_identity_changes_with_the_weights_content_and_not_with_their_path(manager, tmp_path):
    first, same, other = (
        saved(manager, tmp_path / name, seed=seed) for name, seed in (("a.pth", 7), ("b.pth", 7), ("c.pth", 8))
    )
    same.write_bytes(first.read_bytes())
    identities = [model_identity(model(manager, weights=path), SHAPE, manager) for path in (first, same, other)]
    assert identities[0] == identities[1] != identities[2]
    assert model_identity(model(manager), SHAPE, manager)["weights"] is None


@pytest.mark.parametrize(
    "change",
    [
        {"channels": 3},
        {"image_size": 7},
        {"num_classes": 5},
        {"normalization": Normalization(mean=(0.5,), std=(0.3,))},
    ],
)
def test_an_identity_changes_with_what_the_classifier_sees(manager, change):
    shown = model_identity(model(manager), replace(SHAPE, **change), manager)
    assert shown != model_identity(model(manager), SHAPE, manager)


def test_an_identity_does_not_change_with_the_name_a_spec_gives(manager):
    named = model_identity(model(manager, name="mine"), SHAPE, manager)
    assert named == model_identity(model(manager), SHAPE, manager)


def test_an_identity_tells_which_pretrained_weights_a_network_starts_from(manager):
    plugin = manager.find("classifier", "resnet18")
    kind = manager.load(plugin).options_type
    sources = [
        model_identity(model(manager, architecture=ResolvedPlugin(plugin, kind(**options))), SHAPE, manager)[
            "pretrained"
        ]
        for options in ({}, {"pretrained": None})
    ]
    assert sources == ["imagenet", None]


def changed(manager, folder, name, change):
    """Return a function's identity before and after a change of its file, as two runs of the command find it."""
    found = []
    for text in (MODULE, change(MODULE)):
        sys.modules.pop("toy_models_of_mine", None)
        (folder / "toy_models_of_mine.py").write_text(text)
        found.append(model_identity(factory(manager, folder, name), SHAPE, manager))
    return found


@pytest.mark.parametrize("name", ["make", "plain"])
def test_a_functions_identity_changes_with_its_code(manager, folder, name):
    before, after = changed(manager, folder, name, lambda text: text.replace("* 1", "* 2"))
    assert before != after
    # Alike from the outside: nothing but the code tells them apart.
    assert {key: before["factory"][key] for key in ("structure", "weights")} == {
        key: after["factory"][key] for key in ("structure", "weights")
    }


def test_a_functions_identity_does_not_change_with_its_folder(manager, folder, tmp_path_factory):
    first = model_identity(factory(manager, folder, "make"), SHAPE, manager)
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (elsewhere / "toy_models_of_mine.py").write_text(MODULE)
    assert model_identity(factory(manager, elsewhere, "make"), SHAPE, manager) == first


def test_a_functions_identity_changes_with_the_layers_it_takes_from_another_file(manager, folder):
    uses = MODULE + "\nfrom toy_layers_of_mine import Scale\ndef scaled(num_classes):\n"
    uses += "    return nn.Sequential(nn.Flatten(), nn.Linear(36, num_classes), Scale())\n"
    (folder / "toy_models_of_mine.py").write_text(uses)
    found = []
    for factor in (2, 3):
        for name in ("toy_models_of_mine", "toy_layers_of_mine"):
            sys.modules.pop(name, None)
        layer = f"from torch import nn\nclass Scale(nn.Module):\n    def forward(self, x): return {factor} * x\n"
        (folder / "toy_layers_of_mine.py").write_text(layer)
        found.append(model_identity(factory(manager, folder, "scaled"), SHAPE, manager))
    sys.modules.pop("toy_layers_of_mine")
    assert found[0] != found[1]


def test_a_functions_identity_changes_with_a_constant_it_reads_from_another_file(manager, folder):
    uses = MODULE + "\nimport toy_constants_of_mine as constants\nclass Scaled(nn.Module):\n"
    uses += "    def forward(self, x): return constants.SCALE * x.flatten(1)[:, :3]\n"
    uses += "def constant(num_classes): return Scaled()\n"
    (folder / "toy_models_of_mine.py").write_text(uses)
    found = []
    for scale in (1, -20):
        for name in ("toy_models_of_mine", "toy_constants_of_mine"):
            sys.modules.pop(name, None)
        (folder / "toy_constants_of_mine.py").write_text(f"SCALE = {scale}\n")
        found.append(model_identity(factory(manager, folder, "constant"), SHAPE, manager))
    sys.modules.pop("toy_constants_of_mine")
    assert found[0] != found[1]


def test_nothing_is_kept_of_the_check_images(manager):
    network = build_network(model(manager), SHAPE, manager, seed=1)
    layers = [layer for layer in network.modules() if isinstance(layer, nn.BatchNorm2d)]
    assert all(layer.num_batches_tracked == 0 and bool((layer.running_mean == 0).all()) for layer in layers)
    assert all(module.training for module in network.modules())
