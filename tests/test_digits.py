"""The embedded digits, against scikit-learn's own arrays, and the data sets' cards."""

import hashlib
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from ruamel.yaml import YAML
from sklearn.datasets import load_digits

from harness.contract import NoOptions
from harness_datasets import harness_datasets
from harness_datasets.digits import Digits

CARDS = Path(__file__).parents[1] / "registry" / "harness_registry" / "datasets"
CARD_NAMES = ("cifar10", "cifar100", "digits", "fashion-mnist", "mnist", "svhn")


@pytest.fixture(scope="module")
def digits():
    return Digits(NoOptions()).load()


def card(name):
    return YAML(typ="safe").load(CARDS / f"{name}.yaml")


def test_digits_are_all_there_once_and_in_the_sources_order(digits):
    source = load_digits()
    # exact arithmetic, halves to the even neighbor: an independent way to the same rounding
    expected = [round(Fraction(int(value) * 255, 16)) for value in source.data.ravel()]
    expected = np.array(expected, np.uint8).reshape(-1, 1, 8, 8)
    rows = {image.tobytes(): index for index, image in enumerate(expected)}
    assert len(rows) == len(expected)
    train = [rows[image.tobytes()] for image in digits.train_images]
    test = [rows[image.tobytes()] for image in digits.test_images]
    assert sorted(train + test) == list(range(1797))
    assert train == sorted(train)
    assert test == sorted(test)
    assert (source.target[train] == digits.train_labels).all()
    assert (source.target[test] == digits.test_labels).all()


def test_digits_have_the_contracts_types(digits):
    assert digits.train_images.shape == (1437, 1, 8, 8)
    assert digits.test_images.shape == (360, 1, 8, 8)
    assert digits.train_images.dtype == digits.test_images.dtype == np.uint8
    assert digits.train_labels.dtype == digits.test_labels.dtype == np.int64
    assert digits.classes == tuple("0123456789")
    assert digits.train_images.max() == 255


def test_digits_split_keeps_a_fifth_of_each_class_for_the_test(digits):
    in_all = np.bincount(load_digits().target)
    in_test = np.bincount(digits.test_labels)
    assert (abs(in_test - in_all / 5) < 1).all()


def test_digits_split_is_the_one_that_earlier_results_were_made_with(digits):
    digest = hashlib.sha256(digits.test_images.tobytes() + digits.test_labels.astype("<i8").tobytes()).hexdigest()
    assert digest[:16] == "99ac20baf448e93e"


def test_digits_do_not_depend_on_the_global_random_stream(digits):
    np.random.seed(7)  # noqa: NPY002 (the stream that must not matter)
    again = Digits(NoOptions()).load()
    assert (again.test_images == digits.test_images).all()


def test_digits_card_states_the_training_splits_mean_and_deviation(digits):
    normalization = card("digits")["normalization"]
    pixels = digits.train_images / 255
    assert normalization["mean"] == pytest.approx([pixels.mean()], abs=1e-3)
    assert normalization["std"] == pytest.approx([pixels.std()], abs=1e-3)
    assert card("digits")["classes"] == len(digits.classes)
    assert (card("digits")["channels"], card("digits")["image_size"]) == digits.train_images.shape[1:3]


@pytest.mark.parametrize("name", CARD_NAMES)
def test_cards_name_a_provider_of_this_package_and_agree_with_themselves(name):
    content = card(name)
    assert content["provider"] == f"datasets/{name}"
    assert name in harness_datasets()
    assert "http" in content["source"]
    for values in content["normalization"].values():
        assert len(values) == content["channels"]
        assert all(0 < value < 1 for value in values)
    assert all(0 < float(Fraction(str(eps))) < 1 for eps in content.get("standard_eps", {}).values())


def test_every_provider_has_a_card_but_those_of_ones_own_images():
    assert {path.stem for path in CARDS.glob("*.yaml")} == set(CARD_NAMES)
    assert set(harness_datasets()) - set(CARD_NAMES) == {"image-folder"}
