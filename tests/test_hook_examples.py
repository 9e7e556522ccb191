"""The page of examples, carried out: its plugins are installed, its commands are run, and each does what the page says."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from adapter_toys import batch
from fresh_environments import FreshEnvironment
from record_factory import make_failure, method
from ruamel.yaml import YAML
from torch import nn
from toys import threshold_classifier

from harness import hookspecs
from harness.catalogue import Catalogue
from harness.contract import InputShape
from harness.drawings import read_drawings
from harness.engine.attacking import Corrector
from harness.engine.evaluating import EvaluatorRun
from harness.launch import Options, prepare, run
from harness.manager import Manager
from harness.records import read_failures, read_records, write_record
from harness.resolve import resolve
from harness.spec import load_specs
from harness.testing.conformance import run_checks

PAGE = (Path(__file__).parents[1] / "docs" / "examples.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"(?:^`(?P<path>[\w./-]+)`\n\n)?^```(?P<language>\w+)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
SECTIONS = dict(re.findall(r"^## (.+?)\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL))
HOOKS = [name for name in vars(hookspecs) if name.startswith("harness_")]
NAMED = {
    "attack": "random-search",
    "adapter": "mean-matching",
    "classifier": "perceptron",
    "dataset": "stripes",
    "quantizer": "rounded-weights",
    "evaluator": "uniform-noise",
    "figure": "mean-perturbation",
    "report-format": "annotations",
}


def files():
    return {found["path"]: found["text"] for found in BLOCK.finditer(PAGE) if found["path"]}


def blocks(section, language):
    """Return a section's blocks that are no files."""
    found = BLOCK.finditer(SECTIONS[section])
    return [block["text"] for block in found if block["language"] == language and not block["path"]]


def modules():
    """Return the examples of a single module, each of them a distribution."""
    return [path for path in files() if re.fullmatch(r"\w+\.py", path)]


def projects():
    """Return each distribution's description: of a single module's only one is printed, the others have its name instead."""
    printed = files()["pyproject.toml"]
    names = [path.removesuffix(".py") for path in modules()]
    renamed = [
        printed.replace("random_search", name).replace("random-search", name.replace("_", "-")) for name in names
    ]
    return [tomllib.loads(text) for text in [*renamed, files()["gentle/pyproject.toml"]]]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """Install the page's plugins: their modules, and the metadata that an installer writes."""
    folder = tmp_path_factory.mktemp("site")
    for path, text in files().items():
        if path not in {"pyproject.toml", "gentle/pyproject.toml", "examples.yaml"}:
            place = folder / path.removeprefix("gentle/")
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(text, encoding="utf-8")
    for project in (described["project"] for described in projects()):
        name, version = project["name"], project["version"]
        info = folder / f"{name.replace('-', '_')}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        (points,) = project["entry-points"].items()
        lines = [f"{entry} = {module}" for entry, module in points[1].items()]
        (info / "entry_points.txt").write_text("\n".join([f"[{points[0]}]", *lines, ""]))
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        before = set(sys.modules)
        yield folder
        for name in set(sys.modules) - before:
            if str(getattr(sys.modules[name], "__file__", "")).startswith(str(folder)):
                del sys.modules[name]


@pytest.fixture(scope="module")
def manager(site):
    return Manager.discover()


@pytest.fixture
def made(manager):
    """Return a function that makes a plugin of a kind with options: ``made("attack", eps=0.1)``."""

    def making(kind, **options):
        loaded = manager.load(manager.find(kind, NAMED[kind]))
        return loaded(loaded.options_type(**options))

    return making


@pytest.fixture
def call(capsys, monkeypatch, tmp_path):
    """Run one of the page's commands in an empty folder of this process; returns its exit code, its output, its errors."""
    from harness.cli import main

    monkeypatch.delenv("COLUMNS", raising=False)
    monkeypatch.delenv("RUN_LOG", raising=False)
    monkeypatch.chdir(tmp_path)

    def calling(line):
        words = shlex.split(line)
        while "=" in words[0]:
            monkeypatch.setenv(*words.pop(0).split("=", 1))
        assert words.pop(0) == "harness"
        capsys.readouterr()
        with pytest.raises(SystemExit) as end:
            main(words)
        return SimpleNamespace(code=end.value.code, **capsys.readouterr()._asdict())

    return calling


# -- the page --------------------------------------------------------------------------------------------------------------


def test_every_hook_has_an_example_that_implements_it_and_says_what_it_is_for():
    assert [title.strip("`") for title in SECTIONS if title.startswith("`")] == HOOKS
    for hook in HOOKS:
        section = SECTIONS[f"`{hook}`"]
        (code,) = [block["text"] for block in BLOCK.finditer(section) if block["language"] == "python"]
        assert re.findall(r"^@hookimpl\ndef (\w+)\(", code, re.MULTILINE) == [hook]
        assert len(code.splitlines()) <= 35
        assert len(section.partition("\n`")[0].split()) > 20


def test_the_examples_import_nothing_of_ours_but_the_api_and_torch_only_when_it_is_used():
    for path, text in files().items():
        if path.endswith(".py"):
            assert set(re.findall(r"harness\.[\w.]+(?= import)", text)) == {"harness.api"}
            assert not re.search(r"^(import|from) (torch|numpy)", text, re.MULTILINE)


def test_the_examples_are_formatted_and_linted(tmp_path):
    for path, text in files().items():
        if path.endswith(".py"):
            place = tmp_path / path
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(text, encoding="utf-8")
    rules = ["--select", "E,F,W,B,UP,SIM,N,PL,RUF", "--ignore", "PLC0415"]  # torch is imported where it is used
    for words in (["format", "--check"], ["check", *rules]):
        command = [sys.executable, "-m", "ruff", *words, "--no-cache", "--isolated", "--line-length", "120", "."]
        ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
        assert ran.returncode == 0, ran.stdout + ran.stderr


def test_the_fragments_of_a_spec_are_those_of_the_whole_one():
    yaml = YAML(typ="safe", pure=True)
    whole = yaml.load(files()["examples.yaml"])
    fragments = [fragment for title in SECTIONS for fragment in blocks(title, "yaml")]
    assert len(fragments) == 7
    for fragment in fragments:
        ((key, value),) = yaml.load(fragment).items()
        assert whole[key] == value


def test_the_examples_are_installed_without_a_problem(manager):
    assert manager.problems == []
    for kind, name in NAMED.items():
        plugin = manager.find(kind, name)
        assert plugin.distribution == plugin.package == name
        assert manager.load(plugin).__doc__


# -- what each one does ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", NAMED)
def test_the_example_keeps_its_contract(manager, kind):
    results = list(run_checks(manager, manager.find(kind, NAMED[kind])))
    assert [result for result in results if result.status == "failed"] == []
    assert sum(result.status == "ok" for result in results) >= 3


def test_the_random_search_finds_the_corner_of_the_ball_where_the_loss_is_lowest(made):
    """The classifier compares the mean pixel with one half: the corner is every pixel up, or down, by eps."""
    attack = made("attack", eps=0.25, steps=200, share=0.5)
    network = threshold_classifier()
    images = torch.tensor([0.4, 0.9, 0.6]).reshape(-1, 1, 1, 1).expand(3, 1, 2, 2)
    labels = torch.tensor([1, 0, 1])
    corrector = Corrector(attack, network, objective="toward-true", name="random-search", select="final", seed=1)
    found = corrector.correct(images, labels, torch.arange(3))
    assert found.images.flatten(1).tolist() == [pytest.approx([value] * 4) for value in (0.65, 0.65, 0.85)]
    assert found.corrected.tolist() == [True, False, True]


def test_the_distance_of_means_is_that_of_a_hand_computation(made):
    """Means (1, 2) and (1, 5): squared distance 9; two classes with equal logits: ln 2."""
    source = batch(torch.zeros(2, 2), torch.tensor([[0.0, 2.0], [2.0, 2.0]]), torch.tensor([0, 1]))
    target = batch(torch.zeros(2, 2), torch.tensor([[1.0, 4.0], [1.0, 6.0]]))
    losses = made("adapter", weight=0.5).losses(source, target)
    assert {name: loss.item() for name, loss in losses.items()} == pytest.approx(
        {"classification": np.log(2), "means": 4.5}
    )


def test_the_perceptron_has_the_parameters_of_two_layers(made):
    network = made("classifier", hidden=5).build(InputShape(channels=3, image_size=4, num_classes=7))
    assert sum(parameter.numel() for parameter in network.parameters()) == (48 + 1) * 5 + (5 + 1) * 7
    assert network(torch.zeros(2, 3, 4, 4)).shape == (2, 7)


def test_stripes_without_noise_run_the_way_their_label_says_and_are_always_the_same(made):
    data = made("dataset", train=40, test=10, noise=0).load()
    assert (data.train_images.shape, data.test_images.shape) == ((40, 1, 8, 8), (10, 1, 8, 8))
    assert (data.train_images.dtype, data.train_labels.dtype) == (np.uint8, np.int64)
    assert set(np.unique(data.train_images)) == {round(0.25 * 255), round(0.75 * 255)}
    for image, label in zip(data.train_images[:, 0], data.train_labels, strict=True):
        along_rows, along_columns = np.ptp(image, axis=1).max(), np.ptp(image, axis=0).max()
        assert (along_rows == 0, along_columns == 0) == (label == 0, label == 1)
    again = made("dataset", train=40, test=10, noise=0).load()
    assert np.array_equal(again.train_images, data.train_images)


def test_weights_are_rounded_to_steps_of_their_largest_and_counted_as_stored(made):
    """Two bits: the levels -1, 0, 1 times the largest magnitude. 6 weights in 2 bits: 12 bits, 2 bytes; a scale, 2 biases."""
    network = nn.Linear(3, 2).requires_grad_(requires_grad=False)
    network.weight.copy_(torch.tensor([[0.8, -0.3, 0.5], [0.1, -0.8, -0.41]]))
    network.bias.copy_(torch.tensor([0.3, -0.1]))
    quantizer = made("quantizer", bits=2)
    twin = quantizer.quantize(network, None)
    assert twin.weight.flatten().tolist() == pytest.approx([0.8, 0, 0.8, 0, -0.8, -0.8])
    assert twin.bias.tolist() == pytest.approx([0.3, -0.1])
    assert quantizer.num_bytes(twin) == 2 + 4 + 2 * 4


def test_a_matrix_of_zeros_stays_one_when_it_is_rounded(made):
    network = nn.Linear(3, 2).requires_grad_(requires_grad=False)
    network.weight.zero_()
    assert made("quantizer").quantize(network, None).weight.tolist() == [[0.0] * 3] * 2


def test_noise_stays_within_eps_and_the_brier_score_is_that_of_a_hand_computation(made):
    """Logits (0, 0) for a pixel of one half: probabilities (1/2, 1/2), score 1/4 + 1/4."""
    evaluator = EvaluatorRun(made("evaluator", eps=0.1), threshold_classifier(), name="noise", seed=1)
    images = torch.full((4, 1, 1, 1), 0.5)
    found = evaluator.evaluate(images, torch.tensor([0, 1, 0, 1]), torch.arange(4))
    assert found.figures == pytest.approx({"brier": 0.5})
    assert evaluator.threat == ("linf", 0.1)
    far = evaluator.evaluate(images + 0.2, torch.ones(4, dtype=torch.int64), torch.arange(4))
    assert far.held.tolist() == [True] * 4  # 0.7 less 0.1 is still above one half


def test_the_mean_perturbation_is_that_of_a_hand_computation(made):
    """Two samples of one pixel, moved by 0.2 and by -0.4 in the first channel and not in the second: (0.1 + 0.2) / 2."""
    originals = torch.full((2, 2, 1, 1), 0.5)
    images = originals + torch.tensor([[0.2, 0.0], [-0.4, 0.0]]).reshape(2, 2, 1, 1)

    class Perturbed(list):
        def batches(self, batch_size):
            return iter([(originals[:1], images[:1]), (originals[1:], images[1:])])

    drawing = made("figure").draw(None, {"vbi": Perturbed("ab"), "ll": Perturbed()}, ["0", "1"])
    assert drawing.numbers == {"vbi: mean": pytest.approx(0.15)}
    assert [ax.get_title() for ax in drawing.figure.axes] == ["vbi", "ll"]


def test_annotations_name_each_row_and_each_failed_cell(site, call, tmp_path):
    results = tmp_path / "results" / "toy"
    for seed, accuracy in ((1, 0.5), (2, 0.75)):
        write_record(results / "records", method(accuracy, seed=seed))
    write_record(results / "failures", make_failure(reason="90% of\nmemory"))
    called = call("harness report results/toy --format annotations")
    assert (called.code, called.out) == (0, "results/toy/leaderboard.txt\n")
    written = (results / "leaderboard.txt").read_text()
    assert re.fullmatch(
        r"::notice::.*: vbi \+ deep-coral: 62\.50%25 on the test split\n::error::ll, seed 1: correct: 90%25 of%0Amemory\n",
        written,
    )


def test_the_catalogue_brings_its_preset_and_its_experiment(site, manager, call, tmp_path):
    listing, planning = blocks("`harness_catalogues`", "sh")[0].splitlines()
    listed = call(listing)
    assert listed.code == 0
    assert re.search(r"gentle-digits +experiment +2 rows, 2 seeds", listed.out)
    planned = call(planning)
    assert planned.code == 0, planned.err
    assert "gentle" in planned.out
    assert not (tmp_path / "results" / "gentle-digits").exists()
    catalogue = Catalogue(manager.catalogues())
    resolved = resolve(load_specs(catalogue.experiment("gentle-digits"))[0], manager, catalogue)
    (gentle, usual) = resolved.correctors
    assert (gentle.name, gentle.attack.options.eps, usual.attack.options.eps) == (
        "gentle",
        pytest.approx(2 / 255),
        pytest.approx(8 / 255),
    )


def test_every_command_of_the_examples_does_what_it_says(site, call):
    (checking,) = blocks("`harness_attacks`", "sh")
    checked = call(checking)
    assert checked.code == 0
    assert re.search(r"\d+ ok, 0 failed", checked.err)


# -- all of them in one experiment -----------------------------------------------------------------------------------------


@pytest.fixture
def ran(site, call, tmp_path):
    """Run the page's experiment with its commands, and write its report."""
    (tmp_path / "examples.yaml").write_text(files()["examples.yaml"])
    running, reporting = blocks("All of them in one experiment", "sh")[0].splitlines()
    called = call(running)
    assert called.code == 0, called.err
    assert call(reporting).out == "results/examples/leaderboard.txt\n"
    return tmp_path


def test_the_experiment_of_all_examples_runs_to_its_end(ran):
    results = ran / "results" / "examples"
    assert read_failures(results / "failures") == []
    full, rounded = sorted(read_records(results / "records"), key=lambda record: record.comparable.model)
    assert full.comparable.dataset == rounded.comparable.dataset == "stripes"
    assert [full.counts[split] for split in ("train", "valid", "test")] == [240, 60, 100]
    for record in (full, rounded):
        assert record.correction.attack == "random-search/random-search"
        assert record.correction.norm == "linf"
        assert 0 < record.correction.corrected <= record.correction.wrong
        assert record.adaptation.adapter == "mean-matching/mean-matching"
        assert set(record.adaptation.history[-1].losses) >= {"classification", "means"}
        (noise,) = record.measures
        assert (noise.evaluator, noise.eps) == ("uniform-noise/uniform-noise", pytest.approx(16 / 255))
        assert noise.robust <= noise.clean
        assert 0 < noise.figures["brier"] < 2
    assert full.quantized is None
    # 64 by 32 and 32 by 2 weights in 3 bits, a scale for each matrix, 32 and 2 biases in 4 bytes
    assert rounded.quantized.num_bytes == 768 + 4 + 24 + 4 + 128 + 8
    (drawn, rounded_drawn) = read_drawings(results)
    assert {record.plugin for record in (drawn, rounded_drawn)} == {"mean-perturbation/mean-perturbation"}
    for record in (drawn, rounded_drawn):
        (mean,) = record.numbers.values()
        assert 0 < mean <= 32 / 255
        assert record.failure is None
    notices = (results / "leaderboard.txt").read_text().splitlines()
    assert len(notices) >= 2
    assert all(re.fullmatch(r"::notice::.+: .+: \d+\.\d\d%25 on the test split", line) for line in notices)


def test_the_log_has_a_line_for_every_cell_that_was_finished(ran):
    lines = [json.loads(line) for line in (ran / "cells.jsonl").read_text().splitlines()]
    records = read_records(ran / "results" / "examples" / "records")
    assert {line["key"] for line in lines} == {record.key for record in records}
    assert len(lines) == len(records) == 2
    assert {line["kind"] for line in lines} == {"cell-finished"}
    assert {line["experiment"] for line in lines} == {"examples"}
    assert {line["cell"]["corrector"] for line in lines} == {"random-search(eps=32/255, steps=60)"}


def test_the_log_is_written_only_where_it_is_asked_for_and_says_why_a_cell_failed(manager, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    failed = {"kind": "cell-failed", "key": "k", "reason": "out of memory"}
    monkeypatch.delenv("RUN_LOG", raising=False)
    manager.announce(failed)
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setenv("RUN_LOG", "log.jsonl")
    for event in ({"kind": "run-started"}, failed, {"kind": "run-finished"}):
        manager.announce(event)
    (line,) = map(json.loads, (tmp_path / "log.jsonl").read_text().splitlines())
    assert line["reason"] == "out of memory"
    assert manager.problems == []


class Recorder:
    """An observer that keeps what it hears."""

    def __init__(self):
        self.events = []

    @hookspecs.hookimpl
    def harness_run_event(self, event):
        """Keep it."""
        self.events.append(dict(event))


def test_a_run_is_heard_in_the_order_the_page_names(site, tmp_path):
    """Each of a cell's stages before the cell, the start first, the end last, with what each kind carries."""
    from running import Witness

    spec = tmp_path / "examples.yaml"
    spec.write_text(files()["examples.yaml"].replace("quantization: [fp32,", "quantization: ["))
    prepared = prepare(str(spec), Options(results=tmp_path / "results", device="cpu", workers=1))
    recorder = Recorder()
    prepared.manager.register(recorder, package="recorder", distribution="recorders", version="1.0")
    run(prepared, Witness())
    events = recorder.events
    kinds = [event["kind"] for event in events]
    stages = len(prepared.plan.stages())
    # The figure belongs to no cell, and is drawn when the cells are made.
    before = ["run-started", *["stage-finished"] * (stages - 1)]
    assert kinds == [*before, "cell-finished", "stage-finished", "run-finished"]
    assert {event["experiment"] for event in events} == {"examples"}
    assert (events[0]["cells"], events[0]["pending"], events[-1]["failed"]) == (1, 1, 0)
    assert {event["key"] for event in events if event["kind"] == "stage-finished"} == set(prepared.plan.stages())
    named = re.search(r"hears of a run: (.*?), in the process", SECTIONS["`harness_run_event`"], re.DOTALL)[1]
    assert re.findall(r"`([\w-]+)`", named) == [
        "run-started",
        "stage-finished",
        "cell-finished",
        "cell-failed",
        "run-finished",
    ]


# -- installed for real ----------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_both_projects_of_the_page_can_be_installed_with_pip(tmp_path):
    single, cards = tmp_path / "single", tmp_path / "gentle"
    for path, text in files().items():
        if path in {"pyproject.toml", "random_search.py"}:
            path = f"single/{path}"  # noqa: PLW2901 (a folder of its own)
        place = tmp_path / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)
    environment = FreshEnvironment(tmp_path / "venv")
    installed = environment.run(f"python -m pip install --quiet --no-deps {single} {cards}", cwd=tmp_path)
    assert installed.returncode == 0, installed.stdout
    shown = environment.run("harness plugins show random-search && harness experiments --json", cwd=tmp_path)
    assert shown.returncode == 0, shown.stdout
    assert "random-search/random-search: attack of random-search 0.1.0, random_search:RandomSearch" in shown.stdout
    assert '"gentle-digits"' in shown.stdout
