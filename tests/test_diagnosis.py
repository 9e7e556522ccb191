"""`harness doctor`: what is broken is found, named and does not hide the rest."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from running import install_broken_plugins

from harness import diagnosis
from harness.diagnosis import examine, required_packages
from harness.hookspecs import hookimpl
from harness.manager import Manager


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    monkeypatch.setattr(diagnosis, "_gradient_seconds", lambda: 0.1)


def findings(manager):
    return {finding.subject: finding for finding in examine(manager)}


def test_a_sound_installation_has_nothing_broken():
    found = findings(Manager.discover())
    assert [finding for finding in found.values() if finding.verdict == "broken"] == []
    assert found["torch"].message == torch.__version__
    assert found["cards"].verdict == "ok"


def test_every_declared_dependency_is_looked_at():
    packages = required_packages()
    assert {"click", "numpy", "pydantic", "torch", "ruamel.yaml"} <= set(packages)
    assert not {"mypy", "pytest", "ruff"} & set(packages)


def test_a_missing_package_is_named_with_its_remedy(monkeypatch):
    monkeypatch.setattr(diagnosis, "required_packages", lambda: ["torch", "no-such-package"])
    finding = findings(Manager())["no-such-package"]
    assert finding.verdict == "broken"
    assert (finding.message, finding.remedy) == ("is not installed", 'run "pip install no-such-package"')


def test_a_plugin_that_does_not_load_is_found(tmp_path, monkeypatch):
    install_broken_plugins(tmp_path / "site")
    monkeypatch.syspath_prepend(tmp_path / "site")
    found = findings(Manager.discover())
    assert found["attack broken/missing"].verdict == "broken"
    assert '"broken_plugins" has no "Missing"' in found["attack broken/missing"].message
    assert "attack broken/raising" not in found
    counted = found["plugins"].message.split()
    assert int(counted[0]) == int(counted[2]) - 1


def test_an_entry_point_that_does_not_import_is_found(tmp_path, monkeypatch):
    install_broken_plugins(tmp_path / "site")
    (tmp_path / "site" / "broken-1.0.dist-info" / "entry_points.txt").write_text("[harness.v1]\nbroken = no_module\n")
    monkeypatch.syspath_prepend(tmp_path / "site")
    finding = findings(Manager.discover())["plugin broken"]
    assert finding.verdict == "broken"
    assert "No module named 'no_module'" in finding.message
    assert finding.remedy == '"pip uninstall broken" removes it'


def test_the_harnesss_own_broken_plugin_is_mended_by_a_new_installation_and_not_removed():
    manager = Manager()
    for distribution in ("adcorda-harness", "theirs"):
        offer = SimpleNamespace(harness_attacks=hookimpl(lambda: {"gone": "no_module:Gone"}))
        manager.register(offer, package=distribution, distribution=distribution, version="1")
    found = findings(manager)
    assert found["attack adcorda-harness/gone"].remedy == "install adcorda-harness again"
    assert found["attack theirs/gone"].remedy == '"pip uninstall theirs" removes it'


class Cards:
    """A plugin that offers a folder of cards, two attacks of one name with another."""

    def __init__(self, folder):
        self.folder = folder

    @hookimpl
    def harness_catalogues(self):
        return [self.folder]

    @hookimpl
    def harness_attacks(self):
        return {"bim": "harness_paper.bim:BIM"}


def test_broken_cards_are_named_and_the_others_read_all_the_same(tmp_path):
    (tmp_path / "models").mkdir()
    for name in ("first", "second"):
        (tmp_path / "models" / f"{name}.yaml").write_text("architecture: 7\n")
    manager = Manager.discover()
    manager.register(Cards(tmp_path), package="cards", distribution="cards", version="1")
    found = findings(manager)
    assert found["card first"].verdict == found["card second"].verdict == "broken"
    assert "first.yaml" in found["card first"].message
    read, _, total = found["cards"].message.split()[:3]
    assert int(read) == int(total) - 2
    assert found["attack bim"].verdict == "note"
    assert "cards/bim and paper/bim" in found["attack bim"].message


def test_a_slow_machine_is_noted(monkeypatch):
    monkeypatch.setattr(diagnosis, "_gradient_seconds", lambda: 60.0)
    finding = findings(Manager())["speed"]
    assert finding.verdict == "note"
    assert finding.remedy == "slow: see whether the machine is busy"
