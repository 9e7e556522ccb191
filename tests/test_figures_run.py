"""Figures in an experiment: named in a spec, drawn once, kept beside the records, shown in the report."""

from __future__ import annotations

import base64
import csv
import json
import re

import figure_plugins
import pytest
from first_party import own_manager
from jsonschema import Draft202012Validator
from running import TINY, records_of, run_spec, write_spec

from harness import launch
from harness.catalogue import Catalogue
from harness.drawings import SUFFIXES, is_drawn, read_drawings
from harness.errors import HarnessError, SpecError
from harness.launch import write_reports
from harness.manager import Manager
from harness.resolve import resolve
from harness.schema import json_schema
from harness.spec import load_specs

FIGURES = [{"figure": "counts", "correctors": ["ll"]}, {"figure": "counts", "name": "both", "height": 2, "dpi": 50}]


@pytest.fixture(autouse=True)
def installed(monkeypatch):
    """Install the figures of this file's helper beside what is installed."""

    def discover(entry_points=None):
        manager = own_manager()
        manager.register(figure_plugins, package="counting", distribution="counting", version="1.0")
        return manager

    monkeypatch.setattr(launch, "Manager", type("Installed", (), {"discover": staticmethod(discover)}))
    return discover()


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """A finished experiment with figures."""
    folder = tmp_path_factory.mktemp("figures")
    with pytest.MonkeyPatch.context() as patch:
        manager = own_manager()
        manager.register(figure_plugins, package="counting", distribution="counting", version="1.0")
        patch.setattr(launch, "Manager", type("Installed", (), {"discover": staticmethod(lambda: manager)}))
        spec = write_spec(folder, figures=FIGURES)
        witness, state = run_spec(spec, folder / "results")
    return folder, witness, state


def resolved(folder, manager, **changes):
    path = write_spec(folder, **changes)
    return resolve(load_specs(path)[0], manager, Catalogue(manager.catalogues()))


# -- a run -----------------------------------------------------------------------------------------------------------------


def test_each_figure_leaves_a_picture_its_table_and_its_record(done):
    folder, witness, state = done
    results = folder / "results" / "tiny"
    assert (state.exit_code, witness.kinds["figure"]) == (0, 2)
    found = {path.name for path in (results / "figures").iterdir()}
    assert found == {f"{stem}--net--seed1{suffix}" for stem in ("counts", "both") for suffix in SUFFIXES}


def test_numbers_are_those_of_the_records(done):
    folder, _, _ = done
    corrections = {
        record["cell"]["corrector"]: record["correction"]
        for record in map(json.loads, records_of(folder / "results").values())
    }
    both = next(record for record in read_drawings(folder / "results" / "tiny") if record.name.figure == "both")
    for name in ("vbi-iter1", "ll"):
        assert both.numbers[f"{name}: wrong"] == corrections[name]["wrong"]
        assert both.numbers[f"{name}: corrected"] == corrections[name]["corrected"]
    assert (both.options, both.dpi, both.correctors) == ({"height": 2.0}, 50, ["vbi-iter1", "ll"])
    with (folder / "results" / "tiny" / "figures" / "both--net--seed1.csv").open() as file:
        header, *rows = csv.reader(file)
    assert header == ["z", "a"]  # the plugin's order
    assert {key: float(value) for key, value in rows} == both.numbers


def test_the_report_embeds_the_pictures_and_escapes_what_they_say(done):
    folder, _, _ = done
    results = folder / "results" / "tiny"
    page = (results / "report.html").read_text()
    pictures = re.findall(r'<img src="data:image/png;base64,([^"]+)"', page)
    kept = {path.read_bytes() for path in (results / "figures").glob("*.png")}
    assert {base64.b64decode(picture) for picture in pictures} == kept
    assert "Counts &lt;of&gt; 10 classes." in page
    assert "<li>a &amp; b</li>" in page
    assert "http" not in re.sub(r"base64,[^\"]+", "", page)
    assert "(figures/both--net--seed1.png)" in (results / "leaderboard.md").read_text()


def test_a_finished_figure_is_not_drawn_again_and_a_lost_file_is_put_back_from_the_store(done, tmp_path):
    folder, _, _ = done
    results = folder / "results"
    spec = folder / "tiny.yaml"
    before = {path.name: path.read_bytes() for path in (results / "tiny" / "figures").iterdir()}
    again, _ = run_spec(spec, results)
    assert again.kinds == {}
    (results / "tiny" / "figures" / "both--net--seed1.svg").unlink()
    (results / "tiny" / "figures" / "both--net--seed1.json").write_text("{}")
    again, state = run_spec(spec, results)
    assert (again.kinds, state.exit_code) == ({}, 0)
    assert {path.name: path.read_bytes() for path in (results / "tiny" / "figures").iterdir()} == before


def test_a_damaged_artifact_is_drawn_again(done):
    folder, _, _ = done
    results = folder / "results"
    picture = results / "tiny" / "figures" / "both--net--seed1.png"
    kept = picture.read_bytes()
    picture.unlink()
    for path in (results / ".store" / "figure").rglob("tensors.safetensors"):
        path.write_bytes(b"damaged")
    again, state = run_spec(folder / "tiny.yaml", results)
    assert (again.kinds, state.exit_code) == ({"figure": 1}, 0)
    assert picture.read_bytes() == kept


def test_a_figure_that_fails_says_why_and_the_rest_goes_on(done, tmp_path):
    folder, _, _ = done
    changed = [*FIGURES[1:], {"figure": "torn"}]
    spec = write_spec(tmp_path, figures=changed)
    _, state = run_spec(spec, tmp_path / "results", store=folder / "results" / ".store")
    results = tmp_path / "results" / "tiny"
    assert state.exit_code == 1
    assert state.failures == []
    assert len(list((results / "records").glob("*.json"))) == 2
    failed, sound = sorted(read_drawings(results), key=lambda record: record.failure is None)
    assert failed.failure.startswith("RuntimeError: torn (raised in figure_plugins:")
    assert (failed.name.title, sound.name.figure) == ("torn · net · seed 1", "both")
    assert not (results / "figures" / "torn--net--seed1.png").exists()
    assert "Failed: RuntimeError: torn" in (results / "report.html").read_text()
    again, state = run_spec(spec, tmp_path / "results", store=folder / "results" / ".store")
    assert (again.kinds, state.exit_code) == ({}, 1)  # tried again, failed again


def test_figures_of_another_spec_are_set_aside(done, tmp_path):
    folder, _, _ = done
    store, results = folder / "results" / ".store", tmp_path / "results"
    run_spec(write_spec(tmp_path, figures=FIGURES), results, store=store)
    run_spec(write_spec(tmp_path, figures=FIGURES[1:]), results, store=store)
    assert {path.name for path in (results / "tiny" / "figures").iterdir()} == {
        f"both--net--seed1{s}" for s in SUFFIXES
    }
    assert len(list((results / "tiny" / "superseded" / "figures").iterdir())) == 4


def test_a_picture_of_another_key_does_not_count_as_drawn(done):
    folder, _, state = done
    results = folder / "results" / "tiny"
    picture = state.plan.pictures[1]
    assert is_drawn(results, picture.stem, picture.key)
    assert not is_drawn(results, picture.stem, "0" * 64)


def test_the_report_of_a_folder_without_figures_has_no_section_of_them(done, tmp_path):
    folder, _, _ = done
    run_spec(write_spec(tmp_path), tmp_path / "results", store=folder / "results" / ".store")
    write_reports(tmp_path / "results" / "tiny")
    assert "<h2>Figures</h2>" not in (tmp_path / "results" / "tiny" / "report.html").read_text()
    assert not (tmp_path / "results" / "tiny" / "figures").exists()


def test_the_papers_figures_are_drawn_of_a_quantized_classifier(done, tmp_path):
    folder, _, _ = done
    spec = write_spec(
        tmp_path,
        quantization=["fake-int8"],
        figures=["logit-change", {"figure": "grad-cam", "samples": 1, "candidates": 8}],
        correctors=["vbi-iter1"],
        adaptation={**TINY["adaptation"], "steps": 2, "validations": 1},
    )
    _, state = run_spec(spec, tmp_path / "results", store=folder / "results" / ".store")
    assert state.exit_code == 0
    cam, logits = read_drawings(tmp_path / "results" / "tiny")
    assert cam.name.stem == "grad-cam-samples-1--candidates-8---net-fake-int8--seed1"
    assert cam.flags == [
        "Seen through the full-precision network; which samples are wrong or corrected is the quantized classifier's word."
    ]
    assert logits.flags == []
    assert logits.numbers["vbi-iter1, corrected: n"] > 0


# -- plans and specs -------------------------------------------------------------------------------------------------------


def test_figures_are_drawn_of_every_model_and_precision_for_the_first_seed_unless_told(installed, tmp_path):
    from harness.cells import Setting
    from harness.data import describe_data
    from harness.plan import make_plan
    from harness.store import Store

    figures = ["counts", {"figure": "counts", "name": "all", "seeds": [2, 1]}]
    experiment = resolved(tmp_path, installed, seeds=[1, 2], quantization=["fp32", "fake-int8"], figures=figures)
    data = describe_data(experiment.dataset, installed, Store(tmp_path / "store"))
    plan = make_plan([(experiment, data)], installed, Setting("cpu", 1))
    stems = [picture.stem for picture in plan.pictures]
    assert sorted(stems) == [
        "all--net--seed1",
        "all--net--seed2",
        "all--net-fake-int8--seed1",
        "all--net-fake-int8--seed2",
        "counts--net--seed1",
        "counts--net-fake-int8--seed1",
    ]
    assert len({picture.key for picture in plan.pictures}) == 4  # one drawing, whatever it is called
    assert {picture.key for picture in plan.pictures} <= set(plan.stages())


@pytest.mark.parametrize(
    ("figures", "message"),
    [
        (["countz"], 'unknown figure "countz"; did you mean "counts"?'),
        (["vbi"], '"vbi" is a corrector preset, not a figure; name it under correctors'),
        (
            [{"figure": "counts", "correctors": ["lll"]}],
            'figures[0].correctors: "lll" is no corrector of this spec that attacks; did you mean "ll"?',
        ),
        (
            [{"figure": "counts", "correctors": ["none"]}],
            '"none" is no corrector of this spec that attacks; expected vbi-iter1 or ll',
        ),
        ([{"figure": "counts", "correctors": ["ll", "ll"]}], '"ll" stands twice; keep one of them'),
        ([{"figure": "counts", "seeds": [3]}], "figures[0].seeds: 3 is no seed of this spec; expected 1"),
        ([{"figure": "counts", "dpi": 5}], "dpi"),
        ([{"figure": "counts", "height": 0}], "height"),
        ([{"figure": "counts", "heigth": 1}], 'did you mean "height"?'),
        (["counts", "counts"], 'figures has two entries called "counts"'),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_figure_is_told_with_its_place(installed, tmp_path, figures, message):
    with pytest.raises(HarnessError) as raised:
        resolved(tmp_path, installed, correctors=["none", "vbi-iter1", "ll"], figures=figures)
    assert message in str(raised.value)
    assert re.match(r".*tiny\.yaml:\d+:\d+: ", str(raised.value))


def test_a_figure_of_a_spec_where_nothing_attacks_is_refused(installed, tmp_path):
    with pytest.raises(SpecError, match="no corrector of this spec attacks: there is nothing to draw"):
        resolved(tmp_path, installed, correctors=["none"], figures=["counts"])


def test_the_schema_knows_figures_and_their_options(installed):
    validator = Draft202012Validator(json_schema(installed, Catalogue(installed.catalogues())))
    assert (
        list(validator.iter_errors({**TINY, "figures": ["counts", {"figure": "grad-cam", "rows": [3], "dpi": 300}]}))
        == []
    )
    for wrong in (["countz"], [{"figure": "counts", "height": 0}], [{"figure": "counts", "samples": 2}], "counts"):
        assert not validator.is_valid({**TINY, "figures": wrong})


def test_the_library_that_is_missing_is_named_before_anything_runs(installed, tmp_path, monkeypatch):
    from harness import contract

    real = contract._version
    monkeypatch.setattr(contract, "_version", lambda name: None if name == "captum" else real(name))
    with pytest.raises(HarnessError) as raised:
        resolved(tmp_path, installed, figures=["grad-cam"])
    assert raised.value.exit_code == 3
    assert "needs captum, which is not installed; run \"pip install 'adcorda-harness[figures]'\"" in str(raised.value)


def test_the_papers_figures_are_on_offer():
    manager = Manager.discover()
    assert {plugin.name for plugin in manager.names("figure")} >= {"logit-change", "grad-cam"}
