"""The JSON Schema of a spec accepts what the harness accepts, and refuses what no editor should let pass."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from types import SimpleNamespace

import pytest
from broken_specs import FRACTIONS, KEYS, NAMES, PLUGINS, TYPES
from first_party import own_manager
from jsonschema import Draft202012Validator
from pydantic import ConfigDict

from harness.api import Attack, Capabilities, Options, hookimpl
from harness.catalogue import Catalogue
from harness.manager import Manager
from harness.schema import json_schema
from harness.yamlio import parse_yaml, read_yaml

BASE = {
    "name": "mine",
    "dataset": "digits",
    "models": ["small-cnn"],
    "correctors": ["vbi"],
    "adapters": ["deep-coral"],
}

# Faults that only looking things up shows: a schema without them is still right about the rest.
BEYOND_A_SCHEMA = {
    "steps and epochs",
    "trained without weights",
    "two correctors of one name",
    "two models given one name",
    "two adapters of one name",
    "a factory that is a file",
    "a broken number as attack_batch_size",  # JSON knows one kind of number: 1e3 is 1000
    "a fraction larger than one",  # to a schema, a fraction is a text
    "a negative fraction",
}


class Unschemable:
    """What no JSON schema can describe."""


class OddOptions(Options):
    """Options with a field that no schema can describe."""

    model_config = ConfigDict(arbitrary_types_allowed=True)

    thing: Unschemable | None = None


class Odd(Attack[OddOptions]):
    """An attack with such options."""

    capabilities = Capabilities(norm="l2", targeted=True, untargeted=True, gradients=False)

    def run(self, classifier, images, criterion):
        """Do nothing."""
        return images


@pytest.fixture(scope="module")
def manager():
    return own_manager()


@pytest.fixture(scope="module")
def catalogue(manager):
    return Catalogue(manager.catalogues())


@pytest.fixture(scope="module")
def validator(manager, catalogue):
    schema = json_schema(manager, catalogue)
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(json.loads(json.dumps(schema)))


def test_every_registered_experiment_fits(catalogue):
    validator = Draft202012Validator(json_schema(Manager.discover(), catalogue))
    for path in catalogue.paths("experiments").values():
        assert list(validator.iter_errors(read_yaml(path).data)) == []


@pytest.mark.parametrize(
    "sections",
    [
        {},
        {"dataset": {"card": "cifar10", "root": "data", "download": False}},
        {"dataset": {"provider": "datasets/image-folder", "root": "photos", "channels": 1}},
        {"dataset": {"image_folder": "photos", "image_size": 32, "name": "mine"}},
        {"models": ["resnet18", {"card": "resnet18", "pretrained": None, "name": "a"}]},
        {"models": [{"architecture": "small-cnn", "width": 3, "weights": "a.pt", "trained": False}]},
        {"models": [{"factory": "nets:make", "normalization": {"mean": [0.5], "std": [0.5]}}]},
        {"correctors": ["none", {"preset": "vbi", "steps": 3, "keep": "all"}]},
        {"correctors": [{"attack": "adcorda-harness/bim", "eps": "8/255", "objective": "away-from-true"}]},
        {"adapters": [{"adapter": "deep-coral", "weight": "1/25", "on": "features"}]},
        {"controls": ["none", "sham"], "validation": 5000, "seeds": [1]},
        {"controls": "none", "baseline": {"lr": "1/100"}, "adaptation": {"epochs": 3, "batch_norm": "frozen"}},
    ],
    ids=str,
)
def test_valid_sections_fit(validator, sections):
    assert list(validator.iter_errors(BASE | sections)) == []


@pytest.mark.parametrize(
    "case",
    [case for case in [*KEYS, *TYPES, *FRACTIONS, *NAMES, *PLUGINS] if case.title not in BEYOND_A_SCHEMA],
    ids=lambda case: case.title,
)
def test_schema_refuses_what_the_harness_refuses(validator, case):
    assert not validator.is_valid(parse_yaml(case.content.decode(), name="spec.yaml").data)


def test_options_have_descriptions_and_defaults(validator):
    entries = validator.schema["properties"]["correctors"]["items"]["anyOf"]
    (bim,) = [entry for entry in entries if "bim" in entry.get("properties", {}).get("attack", {}).get("enum", [])]
    eps = bim["properties"]["eps"]
    assert eps["description"].startswith("Largest change of a pixel")
    assert eps["default"] == 8 / 255
    assert bim["description"].startswith("Step along the sign of the gradient")


def test_names_are_offered_with_what_their_cards_say(validator, catalogue):
    names = validator.schema["properties"]["models"]["items"]["anyOf"][0]["anyOf"]
    described = {name["const"]: name["description"] for name in names}
    assert described["resnet18"] == catalogue.model("resnet18").description


def test_controls_are_not_offered_as_adapters(validator):
    assert not validator.is_valid(BASE | {"adapters": ["finetune"]})
    assert not validator.is_valid(BASE | {"adapters": ["recalibrate-bn"]})


def test_plugins_and_cards_that_are_broken_are_left_out(catalogue, tmp_path):
    manager = own_manager()
    attacks = {"odd": f"{__name__}:Odd", "missing": "no_such_module_anywhere:Attack"}
    plugin = SimpleNamespace(harness_attacks=hookimpl(lambda: attacks))
    plugin.harness_attacks.__name__ = "harness_attacks"
    manager.register(plugin, package="other", distribution="other-attacks", version="2.1")
    for kind, name, text in (
        ("correctors", "broken", "attack: 5"),
        ("correctors", "of-missing", "{description: a, source: b, attack: missing}"),
        ("datasets", "of-missing", "{description: a}"),
    ):
        path = tmp_path / kind / f"{name}.yaml"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    text = json.dumps(json_schema(manager, Catalogue([*manager.catalogues(), tmp_path])))
    assert "vbi" in text
    assert "other/" not in text
    assert '"broken"' not in text


def test_name_that_two_plugins_claim_is_offered_only_qualified(catalogue):
    manager = own_manager()
    plugin = SimpleNamespace(harness_attacks=hookimpl(lambda: {"bim": "harness_paper.bim:BIM"}))
    manager.register(plugin, package="other", distribution="other-attacks", version="2.1")
    validator = Draft202012Validator(json_schema(manager, catalogue))
    assert not validator.is_valid(BASE | {"correctors": [{"attack": "bim"}]})
    for name in ("paper/bim", "other/bim"):
        assert validator.is_valid(BASE | {"correctors": [{"attack": name}]})


def test_schema_is_made_without_torch():
    program = """
        import sys
        from harness.catalogue import Catalogue
        from harness.manager import Manager
        from harness.schema import json_schema

        manager = Manager.discover()
        assert json_schema(manager, Catalogue(manager.catalogues()))["properties"]
        print([name for name in ("torch", "torchvision", "numpy", "sklearn", "scipy") if name in sys.modules])
    """
    output = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, check=True
    ).stdout
    assert output == "[]\n"
