"""`harness plugins`, `datasets`, `models`, `experiments`, `schema` and `doctor`."""

from __future__ import annotations

import json

import pytest
from running import install_broken_plugins


@pytest.fixture
def broken_plugins(tmp_path, monkeypatch):
    install_broken_plugins(tmp_path / "site")
    monkeypatch.syspath_prepend(tmp_path / "site")
    return tmp_path / "site"


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    monkeypatch.setattr("harness.diagnosis._gradient_seconds", lambda: 0.1)


def test_plugins_list_what_is_installed(call):
    shown = json.loads(call("plugins", "list", "--json").out)
    assert shown["problems"] == []
    assert {"bim", "ddn", "deep-coral", "small-cnn", "digits"} <= {plugin["name"] for plugin in shown["plugins"]}
    attacks = json.loads(call("plugins", "list", "--kind", "attack", "--json").out)["plugins"]
    assert {plugin["kind"] for plugin in attacks} == {"attack"}
    assert "deep-coral" in call("plugins", "list").out


def test_plugins_with_problems_are_listed_apart(call, broken_plugins):
    (broken_plugins / "broken-1.0.dist-info" / "entry_points.txt").write_text("[harness.v1]\nbroken = no_module\n")
    called = call("plugins", "list")
    assert called.code == 0
    assert "broken/broken cannot be imported: ModuleNotFoundError: No module named 'no_module'" in called.err
    [problem] = json.loads(call("plugins", "list", "--json").out)["problems"]
    assert problem["plugin"] == "broken"


def test_a_plugin_is_shown_with_its_options(call):
    shown = json.loads(call("plugins", "show", "paper/bim", "--json").out)["plugin"]
    eps, *_ = shown["options"]
    assert (eps["name"], eps["default"]) == ("eps", 8 / 255)
    assert shown["capabilities"]["norm"] == "linf"
    text = call("plugins", "show", "paper/bim").out
    assert "paper/bim: attack of adcorda-harness" in text
    assert "norm linf" in text


def test_an_adapter_is_shown_with_its_paper_and_listed_with_what_it_uses(call):
    text = call("plugins", "show", "mcd").out
    assert "arXiv:1712.02560" in text
    assert "``" not in text
    listed = call("plugins", "list", "--kind", "adapter").out
    lines = {line.split()[0]: " ".join(line.split()) for line in listed.splitlines() if line.strip()}
    assert "source, target, labels" in lines["adaptation/joint"]
    assert "source, target adcorda" in lines["adaptation/mcd"]


def test_datasets_say_where_they_come_from(call):
    [digits] = [one for one in json.loads(call("datasets", "--json").out)["datasets"] if one["name"] == "digits"]
    assert (digits["classes"], digits["images"]) == (10, "1x8x8")
    assert "Alpaydin" in digits["source"]
    assert "image-folder" in call("datasets").out  # a provider without a card


def test_models_say_how_large_they_are(call):
    found = {one["name"]: one for one in json.loads(call("models", "--json").out)["models"]}
    assert found["cifar-resnet20"]["parameters"] == "269,722"
    assert "small-cnn" in call("models").out


def test_experiments_and_suites_are_listed(call):
    found = {one["name"]: one for one in json.loads(call("experiments", "--json").out)["experiments"]}
    assert found["digits-demo"]["size"] == "8 rows, 3 seeds"
    assert found["demo"]["kind"] == "suite"
    assert "digits-demo" in call("experiments").out


def test_schema_is_json_and_knows_the_plugins(call):
    called = call("schema")
    schema = json.loads(called.out)
    assert schema["$schema"].startswith("https://json-schema.org/")
    assert "salt-and-pepper" in called.out


def test_doctor_exits_with_0_on_a_sound_installation(call):
    called = call("doctor")
    assert called.code == 0
    assert "broken" not in called.out


def test_doctor_exits_with_1_on_a_broken_plugin(call, broken_plugins):
    called = call("doctor", "--json")
    assert called.code == 1
    broken = [one for one in json.loads(called.out)["findings"] if one["verdict"] == "broken"]
    assert [one["subject"] for one in broken] == ["attack broken/missing"]
