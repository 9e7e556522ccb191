"""``eps: standard``: the data set's usual bound in the evaluator's norm, from its card."""

from __future__ import annotations

import json

import jsonschema
import pytest

from harness.catalogue import Catalogue
from harness.errors import SpecError
from harness.manager import Manager
from harness.resolve import resolve
from harness.schema import json_schema
from harness.spec import load_specs


@pytest.fixture(scope="module")
def manager():
    return Manager.discover()


@pytest.fixture(scope="module")
def catalogue(manager):
    return Catalogue(manager.catalogues())


@pytest.fixture
def resolved(manager, catalogue, tmp_path):
    """Resolve a spec with this data set and these evaluators."""

    def resolve_with(dataset, *evaluate):
        path = tmp_path / "mine.yaml"
        given = {"name": "mine", "dataset": dataset, "models": ["small-cnn"], "evaluate": list(evaluate)}
        path.write_text(json.dumps({**given, "correctors": ["none"], "adapters": ["deep-coral"]}, indent=1))
        [loaded] = load_specs(path)
        return resolve(loaded, manager, catalogue).evaluators

    return resolve_with


def autoattack(**options):
    return {"evaluator": "autoattack", "eps": "standard", **options}


@pytest.mark.parametrize(("dataset", "eps"), [("cifar10", 8 / 255), ("mnist", 0.3), ("fashion-mnist", 0.1)])
def test_standard_is_the_data_sets_usual_eps(resolved, dataset, eps):
    [evaluator] = resolved(dataset, autoattack(samples=100))
    assert evaluator.evaluator.options.eps == eps
    assert evaluator.name == "autoattack(eps=standard, samples=100)"


def test_other_options_stay_as_written(resolved):
    one, other = resolved("cifar10", autoattack(attacks=["square"]), {"evaluator": "autoattack", "eps": "1/2000"})
    assert one.evaluator.options.attacks == ("square",)
    assert other.evaluator.options.eps == 5e-4


@pytest.mark.parametrize(
    ("dataset", "options", "told"),
    [
        ("cifar10", {"norm": "l2"}, 'data set "cifar10" has one in linf alone; write a number, such as 8/255'),
        ("digits", {}, 'data set "digits" has none; write a number, such as 8/255'),
        ({"provider": "digits"}, {}, "a data set without a card has none; write a number, such as 8/255"),
    ],
)
def test_a_data_set_without_a_usual_eps_in_the_norm_is_told_with_its_place(resolved, dataset, options, told):
    with pytest.raises(SpecError) as raised:
        resolved(dataset, autoattack(**options))
    text = str(raised.value)
    assert f'evaluate[0].eps: got "standard", {told}' in text
    line, column = text.partition("mine.yaml:")[2].split(":")[:2]
    assert int(line) > 1
    assert int(column) > 1


def test_an_unknown_data_set_is_told_once(resolved):
    with pytest.raises(SpecError) as raised:
        resolved("cifar11", autoattack())
    assert len(str(raised.value).splitlines()) == 1


@pytest.mark.parametrize("eps", [0, -1, "usual", "0/255", True])
def test_what_is_neither_a_bound_nor_standard_is_told(resolved, eps):
    with pytest.raises(SpecError, match=r"mine\.yaml:\d+:\d+: evaluate\[0\]\.eps: got"):
        resolved("cifar10", autoattack(eps=eps))


def test_the_schema_knows_standard(manager, catalogue):
    schema = json_schema(manager, catalogue)
    spec = {
        "name": "mine",
        "dataset": "cifar10",
        "models": ["small-cnn"],
        "correctors": ["none"],
        "adapters": ["deep-coral"],
    }
    for eps in ("standard", 0.1, "8/255"):
        jsonschema.validate({**spec, "evaluate": [autoattack(eps=eps)]}, schema)
    for eps in ("usual", 0, -1):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate({**spec, "evaluate": [autoattack(eps=eps)]}, schema)
