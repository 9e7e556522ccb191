"""From names to plugins with options: presets, variants, paths, and what is imported on the way."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from types import SimpleNamespace

import pytest
from first_party import own_manager

from harness.api import Attack, Capabilities, FractionalFloat, Options, hookimpl
from harness.catalogue import IMAGENET, Catalogue, Normalization
from harness.errors import HarnessError
from harness.resolve import resolve
from harness.spec import load_specs

VALID = {
    "name": "name: mine",
    "dataset": "dataset: digits",
    "models": "models: [small-cnn]",
    "correctors": "correctors: [vbi]",
    "adapters": "adapters: [deep-coral]",
}


class OneWayOptions(Options):
    """Options with every kind of value that needs care."""

    eps: FractionalFloat = 0.5
    pattern: str | None = None


class OneWay(Attack[OneWayOptions]):
    """An attack that can only flee."""

    capabilities = Capabilities(norm="l2", targeted=False, untargeted=True, gradients=False)

    def run(self, classifier, images, criterion):
        """Do nothing."""
        return images


class OnlyToward(OneWay):
    """An attack that can only approach."""

    capabilities = Capabilities(norm="l2", targeted=True, untargeted=False, gradients=False)


class RaisingOptions(Options):
    """Options that raise what pydantic does not catch."""

    def model_post_init(self, _context):
        """Raise."""
        raise RuntimeError("no such device")


class Raising(Attack[RaisingOptions]):
    """An attack whose options raise."""

    capabilities = Capabilities(norm="l2", targeted=True, untargeted=True, gradients=False)

    def run(self, classifier, images, criterion):
        """Do nothing."""
        return images


@pytest.fixture
def manager():
    manager = own_manager()
    plugin = SimpleNamespace(
        harness_attacks=hookimpl(
            lambda: {
                "one-way": f"{__name__}:OneWay",
                "only-toward": f"{__name__}:OnlyToward",
                "raising": f"{__name__}:Raising",
                "missing": "no_such_module_anywhere:Attack",
            }
        )
    )
    plugin.harness_attacks.__name__ = "harness_attacks"
    manager.register(plugin, package="other", distribution="other-attacks", version="2.1")
    return manager


@pytest.fixture
def resolved(manager, tmp_path):
    """Resolve a valid spec in which some sections are written otherwise."""

    def resolve_sections(folder=tmp_path, catalogue=None, **sections):
        path = folder / "spec.yaml"
        path.write_text("\n".join((VALID | sections).values()))
        return resolve(load_specs(path)[0], manager, catalogue or Catalogue(manager.catalogues()))

    return resolve_sections


@pytest.fixture
def refused(resolved, tmp_path):
    """Return what is said of a spec, without the file's name, and the exit code."""

    def resolve_refused(**sections):
        with pytest.raises(HarnessError) as raised:
            resolved(**sections)
        return str(raised.value).replace(f"{tmp_path}/", ""), raised.value.exit_code

    return resolve_refused


def test_presets_are_the_papers_correctors(resolved):
    correctors = resolved(correctors="correctors: [bi, bih, vbi, vbi-iter1, ll]").correctors
    assert [corrector.objective for corrector in correctors] == [
        "away-from-true",
        "away-from-predicted",
        "toward-true",
        "toward-true",
        "toward-least-likely",
    ]
    assert {corrector.attack.plugin.name for corrector in correctors} == {"bim"}
    assert {corrector.attack.options.eps for corrector in correctors} == {8 / 255}
    assert [corrector.attack.options.steps for corrector in correctors] == [None, None, 5, 1, None]


def test_preset_none_attacks_nothing(resolved):
    (corrector,) = resolved(correctors="correctors: [none]").correctors
    assert corrector.attack is None


def test_preset_is_changed_inline_and_named_after_the_change(resolved):
    correctors = resolved(
        correctors="""correctors:
  - vbi
  - {preset: vbi, steps: 3}
  - {preset: vbi, eps: 4/255}
  - {preset: vbi, steps: null}
  - {preset: vbi, keep: all}
  - {preset: vbi, select: final, objective: away-from-true}
  - {preset: vbi, steps: 3, name: three}
  - {preset: none, keep: all}
"""
    ).correctors
    assert [corrector.name for corrector in correctors] == [
        "vbi",
        "vbi(steps=3)",
        "vbi(eps=4/255)",
        "vbi(steps=null)",
        "vbi(keep=all)",
        "vbi(objective=away-from-true, select=final)",
        "three",
        "none(keep=all)",
    ]
    options = [corrector.attack.options for corrector in correctors[:4]]
    assert [(option.eps, option.steps) for option in options] == [
        (8 / 255, 5),
        (8 / 255, 3),
        (4 / 255, 5),
        (8 / 255, None),
    ]


def test_attack_without_a_preset_drives_toward_the_true_label(resolved):
    (corrector,) = resolved(correctors="correctors: [{attack: bim}]").correctors
    assert (corrector.name, corrector.objective, corrector.select, corrector.keep) == (
        "bim",
        "toward-true",
        "first-hit",
        "corrected",
    )


@pytest.mark.parametrize("name", ["bim", "paper/bim", "adcorda-harness/bim"])
def test_attack_answers_to_three_names_and_is_one(resolved, name):
    (corrector,) = resolved(correctors=f"correctors: [{{attack: {name}}}]").correctors
    assert corrector.attack.identity()["plugin"] == "adcorda-harness/paper/bim"
    assert corrector.name == name  # as it is written, so that a table of several libraries' attacks says whose


def test_variants_of_an_adapter_are_rows_of_their_own(resolved):
    adapters = resolved(adapters="adapters: [deep-coral, {adapter: deep-coral, weight: 1/25, on: features}]").adapters
    assert [adapter.name for adapter in adapters] == ["deep-coral", "deep-coral(weight=1/25, on=features)"]
    assert adapters[1].adapter.options.weight == 1 / 25


def test_derived_names_stay_short(resolved):
    (corrector,) = resolved(
        correctors=f"correctors: [{{attack: one-way, objective: away-from-true, pattern: {'x' * 200}}}]"
    ).correctors
    assert len(corrector.name) == 80
    assert corrector.name.endswith("…")


def test_attack_that_cannot_approach_is_refused_an_objective_that_does(refused):
    said, code = refused(correctors="correctors:\n  - {attack: one-way, objective: toward-true}")
    assert said == (
        'spec.yaml:5:34: attack "one-way" cannot approach labels, as toward-true asks; choose another objective, such as '
        "away-from-predicted"
    )
    assert code == 2


def test_attack_that_cannot_flee_is_refused_an_objective_that_does(refused):
    said, _ = refused(correctors="correctors:\n  - {attack: only-toward, objective: away-from-true}")
    assert said == (
        'spec.yaml:5:38: attack "only-toward" cannot flee labels, as away-from-true asks; choose another objective, such '
        "as toward-true"
    )


def test_plugin_whose_module_is_missing_is_named_with_its_distribution_and_version(refused):
    said, code = refused(correctors="correctors: [{attack: missing}]")
    assert said == (
        'spec.yaml:4:23: attack "other/missing" (other-attacks 2.1) is broken: "no_such_module_anywhere" cannot be '
        "imported: ModuleNotFoundError: No module named 'no_such_module_anywhere'"
    )
    assert code == 3


def test_plugin_whose_options_raise_is_named_with_its_distribution_and_version(refused):
    said, code = refused(correctors="correctors: [{attack: raising}]")
    assert said == (
        'spec.yaml:4:14: attack "other/raising" (other-attacks 2.1) is broken: its options raise RuntimeError: '
        "no such device"
    )
    assert code == 3


def test_broken_plugin_does_not_keep_others_from_being_told(refused):
    said, code = refused(correctors="correctors: [{attack: missing}, vbj]", dataset="dataset: digit")
    assert [line.partition(": ")[0] for line in said.splitlines()] == [
        "spec.yaml:2:10",
        "spec.yaml:4:23",
        "spec.yaml:4:33",
    ]
    assert code == 2  # the first finding's


def test_paths_are_taken_from_the_specs_folder(resolved, tmp_path, monkeypatch):
    home, elsewhere = tmp_path / "home", tmp_path / "elsewhere"
    for folder in (home / "nets", home / "photos", elsewhere):
        folder.mkdir(parents=True)
    (home / "nets" / "a.pt").touch()
    monkeypatch.chdir(elsewhere)
    experiment = resolved(
        folder=home,
        dataset="dataset: {image_folder: photos}",
        models="models: [{architecture: resnet18, weights: nets/a.pt, name: a}, {factory: 'nets:make'}]",
    )
    assert experiment.dataset.provider.options.root == home / "photos"
    assert experiment.dataset.name == "photos"
    assert experiment.models[0].weights == home / "nets" / "a.pt"
    assert experiment.models[1].folder == home


def test_paths_among_a_plugins_options_are_taken_from_the_specs_folder(resolved, tmp_path):
    dataset = resolved(dataset="dataset: {card: cifar10, root: data}").dataset
    assert dataset.provider.options.root == tmp_path / "data"


def test_folder_of_a_spec_that_is_given_relative_is_absolute_for_workers(resolved, manager, tmp_path, monkeypatch):
    resolved()
    (tmp_path / "a.pt").touch()
    monkeypatch.chdir(tmp_path)
    text = (tmp_path / "spec.yaml").read_text().replace("[small-cnn]", "[{card: small-cnn, weights: a.pt}]")
    (tmp_path / "spec.yaml").write_text(text)
    from pathlib import Path

    (model,) = resolve(load_specs(Path("spec.yaml"))[0], manager, Catalogue(manager.catalogues())).models
    assert model.weights == tmp_path / "a.pt"
    assert model.folder == tmp_path


def test_home_folder_may_be_written_as_a_tilde(resolved, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "a.pt").touch()
    (model,) = resolved(models="models: [{card: small-cnn, weights: ~/a.pt}]").models
    assert model.weights == tmp_path / "a.pt"


@pytest.mark.parametrize("card", ["card: resnet18", "architecture: resnet18", "architecture: classifiers/resnet18"])
def test_weights_of_ones_own_keep_the_pretrained_ones_from_being_fetched(resolved, tmp_path, card):
    (tmp_path / "a.pt").touch()
    dataset = "dataset: cifar10"
    (without,) = resolved(dataset=dataset, models=f"models: [{{{card}}}]").models
    assert without.architecture.options.pretrained == "imagenet"
    assert not without.trained
    (own,) = resolved(dataset=dataset, models=f"models: [{{{card}, weights: a.pt}}]").models
    assert own.architecture.options.pretrained is None
    assert own.trained


def test_weights_may_be_only_a_start(resolved, tmp_path):
    (tmp_path / "a.pt").touch()
    (model,) = resolved(models="models: [{card: small-cnn, weights: a.pt, trained: false}]").models
    assert not model.trained


def test_normalization_is_the_specs_or_else_the_architectures_or_else_the_data_sets(resolved):
    models = resolved(
        dataset="dataset: cifar10",
        models="models: [small-cnn, {architecture: cifar-resnet20, name: a}, {architecture: cifar-resnet20, name: b, "
        "normalization: dataset}, {card: small-cnn, name: c, normalization: imagenet}, {card: small-cnn, name: d, "
        "normalization: {mean: [0.5], std: [0.25]}}]",
    ).models
    assert [model.normalization for model in models] == [
        "dataset",
        IMAGENET,
        "dataset",
        IMAGENET,
        Normalization(mean=(0.5,), std=(0.25,)),
    ]


def test_card_with_options_that_its_plugin_does_not_take_is_the_cards_fault(refused, manager, tmp_path):
    card = tmp_path / "cards" / "correctors" / "mine.yaml"
    card.parent.mkdir(parents=True)
    card.write_text("{description: a, source: b, attack: bim, options: {stepz: 3}}")
    catalogue = Catalogue([*manager.catalogues(), tmp_path / "cards"])
    said, code = refused(correctors="correctors: [mine]", catalogue=catalogue)
    assert said == (
        'spec.yaml:4:14: the card\'s option "stepz" does not fit attack "paper/bim" (adcorda-harness 0.1.0); '
        "tell the authors of the card"
    )
    assert code == 3


def test_resolving_the_demo_imports_neither_torch_nor_numpy():
    program = """
        import sys
        from harness.catalogue import Catalogue
        from harness.manager import Manager
        from harness.resolve import resolve
        from harness.spec import find_spec, load_specs

        manager = Manager.discover()
        catalogue = Catalogue(manager.catalogues())
        resolved = resolve(load_specs(find_spec("digits-demo", catalogue))[0], manager, catalogue)
        assert len(resolved.correctors) == 8
        print([name for name in ("torch", "torchvision", "numpy", "sklearn", "scipy", "PIL") if name in sys.modules])
    """
    output = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, check=True
    ).stdout
    assert output == "[]\n"
