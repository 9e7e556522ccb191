"""Cards are read from folders; a broken or doubled one is its own problem."""

from __future__ import annotations

import pytest

from harness.catalogue import BrokenCardError, Catalogue, Normalization
from harness.errors import PluginError, SpecError
from harness.manager import Manager

DIGITS = """\
description: Digits.
source: somewhere
provider: digits
classes: 10
image_size: 8
channels: 1
normalization: {mean: [0.3], std: [0.4]}
standard_eps: {linf: 8/255}
"""


@pytest.fixture(scope="module")
def registry():
    return Catalogue(Manager.discover().catalogues())


@pytest.fixture
def folder(tmp_path):
    """Return a function that writes cards, ``kind/name=text``, and returns their folder."""

    def write(where: str, **cards: str):
        for name, text in cards.items():
            path = tmp_path / where / "datasets" / f"{name}.yaml"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return tmp_path / where

    return write


@pytest.mark.parametrize("kind", ["dataset", "model", "corrector", "suite"])
def test_every_registered_card_can_be_read(registry, kind):
    for name in registry.paths(f"{kind}s"):
        assert getattr(registry, kind)(name).source


def test_card_is_read_as_it_is_written(folder):
    card = Catalogue([folder("a", mine=DIGITS)]).dataset("mine")
    assert (card.provider, card.classes, card.image_size, card.channels) == ("digits", 10, 8, 1)
    assert card.normalization == Normalization(mean=(0.3,), std=(0.4,))
    assert card.standard_eps == {"linf": 8 / 255}


def test_cards_of_several_folders_are_listed_together_and_sorted(folder):
    catalogue = Catalogue([folder("a", second=DIGITS), folder("b", first=DIGITS), folder("c")])
    assert list(catalogue.paths("datasets")) == ["first", "second"]


def test_name_that_two_folders_have_fails_when_it_is_used_and_names_both(folder):
    first, second = folder("a", mine=DIGITS, other=DIGITS), folder("b", mine=DIGITS)
    catalogue = Catalogue([first, second])
    assert catalogue.dataset("other").classes == 10
    with pytest.raises(PluginError) as raised:
        catalogue.dataset("mine")
    assert str(raised.value) == (
        f'ambiguous data set "mine": "{first}/datasets/mine.yaml" and "{second}/datasets/mine.yaml"; '
        "remove one of the packages that bring them"
    )


@pytest.mark.parametrize(
    ("kind", "name", "message"),
    [
        ("dataset", "digts", 'unknown data set "digts"; did you mean "digits"? See "harness datasets".'),
        ("model", "xyz", 'unknown model "xyz". See "harness models".'),
        ("corrector", "vbii", 'unknown corrector preset "vbii"; did you mean "vbi"?'),
        ("suite", "xyz", 'unknown suite "xyz". See "harness experiments".'),
        (
            "experiment",
            "digits-dem",
            'unknown experiment "digits-dem"; did you mean "digits-demo"? See "harness experiments".',
        ),
        (
            "dataset",
            "../datasets/digits",
            'unknown data set "../datasets/digits". See "harness datasets".',
        ),
    ],
)
def test_unknown_name_is_answered_with_the_nearest(registry, kind, name, message):
    with pytest.raises(SpecError) as raised:
        getattr(registry, kind)(name)
    assert str(raised.value).startswith(message)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "1:1: got nothing, expected a mapping"),
        ("- a", "1:1: got a list, expected a mapping"),
        (DIGITS.replace("classes: 10", "classes: ten"), '4:10: classes: got "ten", expected a whole number'),
        (DIGITS.replace("classes", "clases"), '4:1: unknown key "clases"; did you mean "classes"?'),
        (
            DIGITS.replace("channels: 1\n", ""),
            '1:1: the key "channels" is missing; expected the images\' channels',
        ),
        (DIGITS.replace("[0.4]", "[-0.4]"), "7:36: normalization.std[0]: got -0.4, expected a number greater than 0"),
        (
            DIGITS.replace("8/255", "8/0"),
            '8:22: standard_eps.linf: got "8/0", expected a number or a fraction such as 8/255',
        ),
        (DIGITS + "classes: 9\n", '9:1: the key "classes" stands twice in one mapping, first in line 4; keep one'),
    ],
)
def test_broken_card_says_what_is_wrong_in_its_file(folder, text, said):
    where = folder("a", mine=text)
    with pytest.raises(BrokenCardError) as raised:
        Catalogue([where]).dataset("mine")
    assert str(raised.value) == f"{where}/datasets/mine.yaml:{said}"
    assert raised.value.exit_code == 3


def test_presets_of_the_registry_name_installed_attacks(registry):
    manager = Manager.discover()
    for name in registry.paths("correctors"):
        card = registry.corrector(name)
        assert card.attack is None or manager.find("attack", card.attack)
