"""What a spec says when it is valid: defaults, the registry's experiments, and which file a name means."""

from __future__ import annotations

import os
from math import ceil

import pytest

from harness.budget import Adaptation
from harness.catalogue import Catalogue
from harness.controls import ALL_CONTROLS, DEFAULT_CONTROLS
from harness.errors import SpecError
from harness.manager import Manager
from harness.spec import find_spec, load_specs

SHORTEST = """\
name: shortest
dataset: digits
models: [small-cnn]
correctors: [vbi]
adapters: [deep-coral]
"""


@pytest.fixture(scope="module")
def catalogue():
    return Catalogue(Manager.discover().catalogues())


@pytest.fixture
def load(tmp_path):
    def load_text(text: str):
        path = tmp_path / "spec.yaml"
        path.write_text(text)
        return load_specs(path)[0].experiment

    return load_text


def test_defaults_of_the_baseline_are_the_papers(load):
    baseline = load(SHORTEST).baseline
    assert (baseline.optimizer, baseline.momentum, baseline.weight_decay) == ("sgd", 0.9, 1e-4)
    assert (baseline.batch_size, baseline.lr, baseline.schedule, baseline.epochs) == (128, 1e-4, "constant", 100)


def test_default_seeds_are_the_papers(load):
    assert load(SHORTEST).seeds == [1, 2, 5]


def test_default_controls_are_all_the_rows_of_the_method(load):
    assert load(SHORTEST).control_names == DEFAULT_CONTROLS
    assert set(DEFAULT_CONTROLS) == {
        "none",
        "recalibrate-bn",
        "finetune-target",
        "finetune-source",
        "curriculum",
        "target-to-target",
        "sham",
        "random-subset",
    }


def test_a_list_of_controls_may_hold_the_default_ones_and_others(load):
    named = load(f"{SHORTEST}controls: [ema, default, sham]\n").control_names
    assert named == ("ema", *DEFAULT_CONTROLS)
    assert load(f"{SHORTEST}controls: all\n").control_names == ALL_CONTROLS
    assert set(ALL_CONTROLS) > set(DEFAULT_CONTROLS)


def test_no_controls_must_be_said_aloud(load):
    assert load(SHORTEST + "controls: none\n").control_names == ()


def test_none_in_a_list_of_controls_is_the_control_none(load):
    assert load(SHORTEST + "controls: [none, sham]\n").control_names == ("none", "sham")


@pytest.mark.parametrize("text", ["8/255", "8 / 255", "0.03137254901960784"])
def test_fraction_means_its_quotient(load, text):
    assert load(SHORTEST + f"baseline: {{lr: {text}}}\n").baseline.lr == pytest.approx(8 / 255, abs=1e-17)


@pytest.mark.parametrize(("text", "value", "kind"), [("0.2", 0.2, float), ("5000", 5000, int), ("1", 1, int)])
def test_validation_is_a_share_or_a_count(load, text, value, kind):
    validation = load(SHORTEST + f"validation: {text}\n").validation
    assert validation == value
    assert type(validation) is kind


def test_steps_are_steps_whatever_the_size_of_the_target():
    assert Adaptation(steps=7).total_steps(50000) == 7


@pytest.mark.parametrize("num_target", [1, 16, 17, 50000])
def test_epochs_are_turned_into_steps_by_the_target(num_target):
    assert Adaptation(epochs=3, batch_size=16).total_steps(num_target) == 3 * ceil(num_target / 16)


def test_twenty_epochs_are_the_papers_length():
    assert Adaptation(batch_size=16).total_steps(45000) == 20 * 2813


def test_unicode_is_allowed_where_people_write(load):
    experiment = load(SHORTEST + 'description: "Größe — λ"\n')
    assert experiment.description == "Größe — λ"


def test_every_registered_experiment_is_valid_and_named_as_its_file(catalogue):
    paths = catalogue.paths("experiments")
    assert paths
    for name, path in paths.items():
        assert load_specs(path)[0].experiment.name == name


def test_name_means_a_registered_experiment(catalogue):
    assert find_spec("digits-demo", catalogue) == catalogue.paths("experiments")["digits-demo"]


def test_path_means_a_file(catalogue, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.yaml").write_text(SHORTEST)
    assert os.fspath(find_spec("mine.yaml", catalogue)) == "mine.yaml"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("mine.yaml", 'mine.yaml: does not exist; expected a YAML file or a name from "harness experiments"'),
        ("a/b", 'a/b: does not exist; expected a YAML file or a name from "harness experiments"'),
        ("./", './: is a folder; expected a YAML file or a name from "harness experiments"'),
        ("a\0.yaml", 'a\0.yaml: does not exist; expected a YAML file or a name from "harness experiments"'),
        ("digits-dmo", 'unknown experiment "digits-dmo"; did you mean "digits-demo"? See "harness experiments".'),
        ("xyz", 'unknown experiment "xyz". See "harness experiments".'),
    ],
)
def test_name_of_nothing_is_answered(catalogue, tmp_path, monkeypatch, name, message):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SpecError) as raised:
        find_spec(name, catalogue)
    assert str(raised.value) == message


def test_name_that_is_too_long_is_answered(catalogue):
    for name in ("a" * 5000 + ".yaml", "a" * 5000):
        with pytest.raises(SpecError, match=r"a…"):
            find_spec(name, catalogue)


def test_file_beside_an_unknown_name_is_proposed(catalogue, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.yaml").write_text(SHORTEST)
    with pytest.raises(SpecError) as raised:
        find_spec("mine", catalogue)
    assert str(raised.value) == 'unknown experiment "mine"; did you mean the file "mine.yaml"?'


def test_findings_name_the_file_as_it_was_given(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "specs").mkdir()
    (tmp_path / "specs" / "a.yaml").write_text("name: 5\n" + SHORTEST.partition("\n")[2])
    with pytest.raises(SpecError) as raised:
        load_specs((tmp_path / "specs" / "a.yaml").relative_to(tmp_path))[0]
    assert str(raised.value) == "specs/a.yaml:1:7: name: got 5, expected text"
