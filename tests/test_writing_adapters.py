"""The page on writing adapters, carried out: its adapters are installed and keep the contract, its tables name all there is."""

from __future__ import annotations

import dataclasses
import os
import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest
import torch
from first_party import own_manager
from toys import Run, Surroundings

from harness.adapting import Adapter, AdapterCapabilities, Batch, Loop
from harness.manager import Manager
from harness.testing.conformance import run_checks

PAGE = (Path(__file__).parents[1] / "docs" / "writing-adapters.md").read_text(encoding="utf-8")
FILES = dict(re.findall(r"^`(\w+\.py)`\n\n```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL))
SECTIONS = dict(re.findall(r"^## (.+?)\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL))
MODULES = ("running_mean", "three_kinds")
ADAPTERS = ("running-mean", "class-means", "pull-pairs", "be-certain")


def named(section):
    """Return the names in the first column of a section's table, without what they are called with."""
    rows = re.findall(r"^\| (`.*?) \|", SECTIONS[section], re.MULTILINE)
    return [name.partition("(")[0] for row in rows[rows[0] == "`self.loop`" :] for name in re.findall(r"`(.+?)`", row)]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The page's modules, laid out as pip installs them."""
    folder = tmp_path_factory.mktemp("site")
    for name, text in FILES.items():
        (folder / name).write_text(text, encoding="utf-8")
    for module in MODULES:
        about = folder / f"{module}-1.0.dist-info"
        about.mkdir()
        (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module}\nVersion: 1.0\n")
        (about / "entry_points.txt").write_text(f"[harness.v1]\n{module.replace('_', '-')} = {module}\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        yield folder
        for module in MODULES:
            sys.modules.pop(module, None)


@pytest.fixture(scope="module")
def manager(site):
    return Manager.discover()


@pytest.fixture(scope="module")
def done(tmp_path_factory, site):
    manager = own_manager()
    for module in MODULES:
        manager.register(import_module(module), package=module, distribution=module, version="1.0")
    return Run(Surroundings(tmp_path_factory.mktemp("store"), manager=manager))


def test_the_tables_name_every_hook_every_field_and_everything_that_the_loop_tells():
    public = [name for name, value in vars(Adapter).items() if callable(value) and not name.startswith("_")]
    assert set(named("The order of the hooks")) == set(public) - {"takes_gradient_steps"}
    assert named("What a batch holds") == [field.name for field in dataclasses.fields(Batch)]
    assert named("What it must declare") == [field.name for field in dataclasses.fields(AdapterCapabilities)]
    told = {*Loop.__annotations__, *(name for name in vars(Loop) if not name.startswith("_"))}
    assert set(named("What the loop tells")) == told


@pytest.mark.parametrize("name", ADAPTERS)
def test_every_adapter_of_the_page_keeps_the_contract(manager, name):
    results = list(run_checks(manager, manager.find("adapter", name)))
    assert [result for result in results if result.status == "failed"] == []
    assert {result.name for result in results if result.status == "ok"} >= {"adapts", "hooks-answer", "resumes-alike"}


def test_without_its_buffers_the_example_would_not_go_on_alike(site, manager, monkeypatch):
    """What the page says of state in the instance is what the check tells."""
    loaded = manager.load(manager.find("adapter", "running-mean"))
    monkeypatch.setattr(loaded, "modules", lambda self, *given: forgotten(loaded, self, *given))

    def forgotten(kind, self, num_features, num_classes):
        self.memory = torch.nn.Module()
        self.memory.mean, self.memory.seen = torch.zeros(num_features), torch.zeros(())
        return {}

    results = run_checks(manager, manager.find("adapter", "running-mean"), only=["resumes-alike", "same-losses"])
    assert [result.name for result in results if result.status == "failed"] == ["resumes-alike"]


@pytest.mark.parametrize("name", ADAPTERS)
def test_every_adapter_of_the_page_runs_in_a_cell(done, name):
    artifact = done.adapt(name, perturbed=done.correct("bim", eps=0.05, alpha=0.02), steps=4, validations=4)
    losses = [point["losses"] for point in artifact.meta["history"]]
    assert len(losses) == 4
    if name == "running-mean":
        assert [list(terms) for terms in losses] == [["classification"], ["distance"]] * 2
        assert set(artifact.meta["history"][0]["diagnostics"]) == {"distance", "distance-noise-floor"}


def test_the_tests_of_the_page_pass(site):
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-q", "-W", "error", "test_running_mean.py"]
    environment = {**os.environ, "PYTHONPATH": str(site)}
    ran = subprocess.run(command, cwd=site, capture_output=True, text=True, env=environment, timeout=100, check=False)
    assert ran.returncode == 0, ran.stdout
    assert re.search(r"\d+ passed", ran.stdout)


def test_the_code_of_the_page_is_formatted_and_imports_torch_only_when_it_is_used(tmp_path):
    for name, text in FILES.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
        if not name.startswith("test_"):
            assert set(re.findall(r"harness\.[\w.]+(?= import)", text)) == {"harness.api"}
            assert not re.search(r"^(import|from) torch", text, re.MULTILINE)
    rules = ["--select", "E,F,W,B,UP,SIM,N,PL,RUF", "--ignore", "PLC0415,PLR2004,RUF012"]
    for words in (["format", "--check"], ["check", *rules]):
        command = [sys.executable, "-m", "ruff", *words, "--no-cache", "--isolated", "--line-length", "120", "."]
        ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
        assert ran.returncode == 0, ran.stdout + ran.stderr
