"""Variants of a spec: what each holds, where its faults are told, how they come together in one results folder."""

from __future__ import annotations

import contextlib

import jsonschema
import pytest
import torch
from running import TINY, run_spec, write_spec
from safetensors.torch import save_file

from harness.catalogue import Catalogue
from harness.cli import main
from harness.errors import DataError, PluginError, SpecError
from harness.launch import Options, check_models, prepare, tables_of
from harness.manager import Manager
from harness.resolve import resolve_all
from harness.run_state import survey
from harness.schema import json_schema
from harness.spec import load_specs
from harness.yamlio import read_yaml

SPEC = """\
name: two
dataset: digits
models: [small-cnn]
seeds: [3]
baseline: {epochs: 3, lr: 0.05}
correctors: [none, vbi]
adapters: [deep-coral]
adaptation: {steps: 40, lr: 0.01}
variants:
  - dataset: digits
  - models: [cifar-resnet20]
    baseline: {batch_size: 64}
    correctors: [ll]
"""


def write(tmp_path, text=SPEC):
    path = tmp_path / "two.yaml"
    path.write_text(text)
    return path


def load(tmp_path, text=SPEC):
    return [loaded.experiment for loaded in load_specs(write(tmp_path, text))]


def test_a_variant_changes_the_keys_it_has_and_shares_the_others(tmp_path):
    first, second = load(tmp_path)
    assert [first.name, second.name] == ["two", "two"]
    assert [one.card for one in first.models] == ["small-cnn"]
    assert [one.card for one in second.models] == ["cifar-resnet20"]
    assert [one.preset for one in second.correctors] == ["ll"]
    assert second.seeds == [3]


def test_the_training_sections_are_changed_key_by_key(tmp_path):
    first, second = load(tmp_path)
    assert (first.baseline.batch_size, second.baseline.batch_size) == (128, 64)
    assert (second.baseline.epochs, second.baseline.lr) == (3, 0.05)
    assert second.adaptation == first.adaptation


def test_a_spec_without_variants_is_one_experiment(tmp_path):
    assert len(load(tmp_path, SPEC[: SPEC.index("variants")])) == 1


def test_a_key_may_stand_in_every_variant_and_not_above_them(tmp_path):
    text = SPEC.replace("dataset: digits\nmodels", "models", 1).replace("  - models", "  - dataset: digits\n    models")
    assert len(load(tmp_path, text)) == 2


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "batch_size: 64",
            "batch_siz: 64",
            'two.yaml:12:16: baseline: unknown key "batch_siz"; did you mean "batch_size"?',
        ),
        ("[ll]", "7", "two.yaml:13:17: correctors: got 7, expected a list"),
        ("lr: 0.05", "lr: -1", "two.yaml:5:27: baseline.lr: got -1, expected a number greater than 0"),
        (
            "  - dataset",
            "  - name: other\n    dataset",
            'two.yaml:10:5: variants[0]: "name" is the same for all variants',
        ),
        ("  - dataset: digits\n", "  - digits\n", 'two.yaml:10:5: variants[0]: got "digits", expected a mapping'),
        (SPEC[SPEC.index("variants") :], "variants: none\n", 'two.yaml:9:11: variants: got "none", expected a list'),
        ("variants:", "variant:", 'two.yaml:9:1: unknown key "variant"; did you mean "variants"?'),
    ],
)
def test_a_fault_is_told_where_it_stands(tmp_path, old, new, message):
    assert old in SPEC
    with pytest.raises(SpecError) as raised:
        load(tmp_path, SPEC.replace(old, new, 1))
    found = str(raised.value).replace(f"{tmp_path}/", "")
    assert found.startswith(message)
    assert len(found.splitlines()) == 1, "what is shared is told once"


def test_a_wrong_name_in_what_is_shared_is_told_once(tmp_path):
    manager = Manager.discover()
    path = write(tmp_path, SPEC.replace("deep-coral", "deep-choral"))
    with pytest.raises(PluginError, match="deep-choral") as raised:
        resolve_all(load_specs(path), manager, Catalogue(manager.catalogues()))
    assert len(str(raised.value).splitlines()) == 1


def test_the_variants_stand_in_tables_of_one_results_folder(tmp_path):
    quick = {"architecture": "small-cnn", "width": 2, "name": "thin"}
    spec = write_spec(
        tmp_path, correctors=["none"], controls=["none"], variants=[{"models": TINY["models"]}, {"models": [quick]}]
    )
    witness, state = run_spec(spec, tmp_path / "results")
    assert state.failures == []
    assert witness.kinds["baseline"] == 2
    assert {table.comparable.model for table in tables_of(tmp_path / "results" / "tiny")} == {"net", "thin"}


def test_variants_that_agree_are_run_once(tmp_path):
    spec = write_spec(
        tmp_path, correctors=["none"], controls=["none"], variants=[{"seeds": [1]}, {"dataset": "digits"}]
    )
    witness, state = run_spec(spec, tmp_path / "results")
    assert (len(state.plan.cells), witness.kinds["baseline"]) == (2, 1)


@pytest.mark.parametrize(
    ("old", "new", "fits"),
    [
        ("", "", True),
        ("dataset: digits\nmodels", "models", True),
        ("batch_size: 64", "batch_siz: 64", False),
        ("[ll]", "[lll]", False),
        ("  - dataset", "  - name: other\n    dataset", False),
        (SPEC[SPEC.index("variants") :], "variants: []\n", False),
    ],
)
def test_the_schema_knows_variants(tmp_path, old, new, fits):
    manager = Manager.discover()
    schema = json_schema(manager, Catalogue(manager.catalogues()))
    found = jsonschema.Draft202012Validator(schema).is_valid(read_yaml(write(tmp_path, SPEC.replace(old, new, 1))).data)
    assert found == fits


def test_a_failed_cell_stands_under_the_table_of_its_own_data_set(tmp_path):
    part = {"card": "digits", "train_samples": 300, "name": "part"}
    spec = write_spec(
        tmp_path,
        correctors=["none"],
        controls=["none"],
        variants=[{"dataset": "digits"}, {"dataset": part, "adaptation": {"lr": 1e30}}],
    )
    _, state = run_spec(spec, tmp_path / "results")
    assert [failure.dataset for failure in state.failures] == ["part"]
    failed = {table.comparable.dataset: len(table.failures) for table in tables_of(tmp_path / "results" / "tiny")}
    assert failed == {"digits": 0, "part": 1}


def test_lines_of_a_run_name_the_data_set_where_there_are_several(tmp_path, capsys):
    part = {"card": "digits", "train_samples": 300, "name": "part"}
    for name, variants in (("several", [{"dataset": "digits"}, {"dataset": part}]), ("one", [{"dataset": part}])):
        spec = write_spec(tmp_path / name, correctors=["none"], controls="none", variants=variants)
        with contextlib.suppress(SystemExit):
            main(["run", str(spec), "--results", str(tmp_path / name / "results"), "--workers", "1"])
        lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("[")]
        labels = [line.partition("] ")[2].partition(" · curriculum")[0] for line in lines]
        assert labels == (["digits · net", "part · net"] if name == "several" else ["net"])


def test_variants_that_no_table_could_tell_apart_are_refused_before_anything_runs(tmp_path):
    spec = write_spec(tmp_path, variants=[{"attack_batch_size": 50}, {"attack_batch_size": 100}])
    with pytest.raises(SpecError, match=r'two of them have the row "vbi-iter1 \+ deep-coral" of net on digits, seed 1'):
        prepare(str(spec), Options(results=tmp_path / "results"))


def test_every_variants_model_is_built_before_anything_runs(tmp_path):
    misfit = tmp_path / "misfit.safetensors"
    save_file({"weight": torch.zeros(1)}, misfit)
    broken = {**TINY["models"][0], "weights": str(misfit)}
    spec = write_spec(tmp_path, variants=[{"models": [broken]}, {"models": TINY["models"]}])
    prepared = prepare(str(spec), Options(results=tmp_path / "results"))
    with pytest.raises(DataError, match="misfit"):
        check_models(survey(prepared.plan, prepared.store, prepared.results), prepared.manager)
