"""Evaluators: who decides, on which samples, what stands in records and tables, what breaks the contract."""

from __future__ import annotations

import json

import measuring_plugins
import pytest
import torch
from running import TESTS, records_of, run_spec, write_spec
from toys import threshold_classifier

from harness.engine.evaluating import EvaluatorRun
from harness.errors import ContractError, SpecError, StoreError
from harness.launch import tables_of
from harness.records import read_failures, read_records
from harness.report.csv_table import to_csv
from harness.report.html import to_html
from harness.report.json_table import to_json
from harness.report.markdown import to_markdown
from harness.report.terminal import render
from harness.report.terminal_grid import make_console
from harness.stages.measure import subset

BRIGHT = torch.tensor([0.9, 0.55, 0.4, 0.05]).reshape(-1, 1, 1, 1)
ONES = torch.ones(4, dtype=torch.int64)
EVALUATE = [
    "clean",
    {"evaluator": "darkened", "eps": "1/4", "samples": 100, "batch_size": 40, "name": "dark"},
    "confidence",
]


@pytest.fixture(autouse=True)
def measuring(tmp_path, monkeypatch):
    """The distribution "measuring" is installed."""
    info = tmp_path / "site" / "measuring-2.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: measuring\nVersion: 2.0\n")
    (info / "entry_points.txt").write_text("[harness.v1]\nmeasuring = measuring_plugins\n")
    monkeypatch.syspath_prepend(tmp_path / "site")
    monkeypatch.syspath_prepend(TESTS)


def evaluated(evaluator, images=BRIGHT, labels=ONES):
    run = EvaluatorRun(evaluator, threshold_classifier(), name="toy", seed=1)
    return run.evaluate(images, labels, torch.arange(len(images)))


def test_the_harness_decides_which_labels_hold():
    found = evaluated(measuring_plugins.Darkened(measuring_plugins.DarkenedOptions(eps=0.1)))
    assert found.clean.tolist() == [True, True, False, False]
    assert found.held.tolist() == [True, False, False, False]
    assert found.figures == {"dark": 0.25}


def test_a_sample_that_was_wrong_is_never_robust():
    zeros = torch.zeros(4, dtype=torch.int64)
    found = evaluated(measuring_plugins.Darkened(measuring_plugins.DarkenedOptions(eps=0.1)), labels=zeros)
    assert found.clean.tolist() == [False, False, True, True]
    assert found.held.tolist() == [False, False, True, True]  # 0.55 is labelled 0 when darker, but was wrong before


@pytest.mark.parametrize(
    ("evaluator", "message"),
    [
        (
            measuring_plugins.Escaping(measuring_plugins.DarkenedOptions(eps=0.1)),
            'evaluator "toy" moved a sample by 0.2 in linf; expected at most its eps, 0.1',
        ),
        (measuring_plugins.Wordy(None), 'evaluator "toy" returned a str; expected a harness.api.Evaluation'),
        (measuring_plugins.Training(None), 'evaluator "toy" changed the classifier\'s train/eval mode'),
    ],
)
def test_an_evaluator_that_breaks_the_contract_is_told(evaluator, message):
    with pytest.raises(ContractError) as raised:
        evaluated(evaluator)
    assert message in str(raised.value)


def test_the_measured_subset_is_the_same_for_every_row_and_seed():
    rows = subset(360, 100)
    assert torch.equal(rows, subset(360, 100))
    assert len(set(rows.tolist())) == 100
    assert torch.equal(rows, rows.sort().values)
    assert torch.equal(subset(5, None), torch.arange(5))
    assert torch.equal(subset(5, 9), torch.arange(5))


def test_records_and_every_table_hold_what_evaluators_found(tmp_path):
    spec = write_spec(tmp_path, correctors=["vbi-iter1"], controls=["none"], evaluate=EVALUATE)
    witness, state = run_spec(spec, tmp_path / "results")
    assert state.failures == []
    assert witness.kinds["measure"] == 4  # two evaluators, two sets of weights
    records = read_records(tmp_path / "results" / "tiny" / "records")
    for record in records:
        dark, confidence = record.measures
        assert (dark.name, dark.evaluator, dark.samples, dark.norm, dark.eps) == (
            "dark",
            "measuring/darkened",
            100,
            "linf",
            0.25,
        )
        labels = [record.test.labels[row] for row in dark.rows]
        predictions = [record.test.predictions[row] for row in dark.rows]
        right = [label == predicted for label, predicted in zip(labels, predictions, strict=True)]
        assert dark.clean == sum(right) / 100
        assert dark.robust == sum(dark.held) / 100 < dark.clean
        assert all(was for was, holds in zip(right, dark.held, strict=True) if holds)
        assert (confidence.samples, confidence.rows, confidence.robust) == (len(record.test.labels), None, None)
        assert 0.1 < confidence.figures["confidence"] < 1
        assert record.versions["measuring"] == "2.0"
    tables = tables_of(tmp_path / "results" / "tiny")
    [row] = [row for row in tables[0].rows if row.key.is_method]
    percent = f"{100 * row.measures['dark'].robust.mean:.2f}"
    for text in (to_markdown(tables), to_html(tables, "tiny"), shown(tables, 120), shown(tables, 50)):
        flat = " ".join(text.split())
        assert percent in flat
        assert "dark: 100 test images, linf 0.25" in flat
        assert "darkness is no attack" in flat
    assert "measure_dark_robust" in to_csv(tables).splitlines()[0]
    [given] = [one for one in to_json(tables)["tables"][0]["rows"] if one["label"] == row.key.label]
    assert given["measures"]["dark"]["robust"]["mean"] == row.measures["dark"].robust.mean


def shown(tables, width, monkeypatch=None):
    from io import StringIO

    stream = StringIO()
    console = make_console(stream)
    console.width = width
    render(tables, console)
    return stream.getvalue()


def test_figures_are_averages_over_images_whatever_the_batches(tmp_path):
    found = []
    for size in (7, 360):
        spec = write_spec(
            tmp_path / str(size),
            controls=["none"],
            correctors=["none"],
            evaluate=[{"evaluator": "confidence", "batch_size": size}],
        )
        run_spec(spec, tmp_path / str(size) / "results", store=tmp_path / "store")
        records = read_records(tmp_path / str(size) / "results" / "tiny" / "records")
        found.append([record.measures[0].figures["confidence"] for record in records])
    assert found[0] == pytest.approx(found[1], abs=1e-6)


def test_a_second_run_serves_what_was_measured_and_another_eps_measures_anew(tmp_path):
    spec = write_spec(tmp_path, correctors=["none"], controls=["none"], evaluate=EVALUATE)
    run_spec(spec, tmp_path / "results")
    first = records_of(tmp_path / "results")
    witness, _ = run_spec(spec, tmp_path / "results")
    assert witness.kinds == {}
    assert records_of(tmp_path / "results") == first
    other = [{"evaluator": "darkened", "eps": 0.1, "samples": 100, "batch_size": 40, "name": "dark"}, "confidence"]
    witness, _ = run_spec(
        write_spec(tmp_path, correctors=["none"], controls=["none"], evaluate=other), tmp_path / "results"
    )
    assert witness.kinds == {"measure": 2}


def test_a_broken_evaluator_fails_the_cells_it_measures_with_its_reason(tmp_path):
    spec = write_spec(tmp_path, correctors=["none"], controls=["none"], evaluate=["wordy"])
    _, state = run_spec(spec, tmp_path / "results")
    failures = read_failures(tmp_path / "results" / "tiny" / "failures")
    assert len(failures) == len(state.failures) == 2
    assert {failure.stage for failure in failures} == {"measure"}
    assert failures[0].reason.startswith('evaluator "wordy" returned a str')


@pytest.mark.parametrize(
    ("evaluate", "message"),
    [
        (["darkend"], 'unknown evaluator "darkend"; did you mean "darkened"?'),
        (["vbi"], '"vbi" is a corrector preset, not an evaluator; name it under correctors'),
        ([{"evaluator": "darkened", "eps": 0}], "eps"),
        (["clean", {"darkened": {"eps": 0.1}}], "the key evaluator is missing; write {evaluator: darkened, …}"),
        (["darkened", "darkened"], 'evaluate has two entries called "darkened"'),
        ([{"evaluator": "darkened", "samples": 0}], "samples"),
    ],
)
def test_a_wrong_entry_is_told_with_its_place(tmp_path, evaluate, message):
    spec = write_spec(tmp_path, evaluate=evaluate)
    with pytest.raises(Exception, match=r"tiny\.yaml:") as raised:
        run_spec(spec, tmp_path / "results")
    assert message in str(raised.value)
    assert raised.value.exit_code in {2, 3}
    assert isinstance(raised.value, SpecError) == ("unknown" not in message)


def test_the_schema_knows_evaluators(tmp_path):
    import jsonschema

    from harness.catalogue import Catalogue
    from harness.manager import Manager
    from harness.schema import json_schema

    manager = Manager.discover()
    schema = json_schema(manager, Catalogue(manager.catalogues()))
    spec = json.loads(write_spec(tmp_path, evaluate=EVALUATE).read_text())
    jsonschema.validate(spec, schema)
    for wrong in (["nothing"], [{"evaluator": "darkened", "epsilon": 1}], [{"evaluator": "darkened", "eps": -1}]):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate({**spec, "evaluate": wrong}, schema)


def test_perturbed_images_for_some_batches_only_are_no_robust_accuracy(tmp_path):
    evaluate = [{"evaluator": "sometimes", "batch_size": 100}]
    spec = write_spec(tmp_path, correctors=["none"], controls="none", evaluate=evaluate)
    run_spec(spec, tmp_path / "results")
    [failure] = read_failures(tmp_path / "results" / "tiny" / "failures")
    assert failure.reason.startswith('evaluator "sometimes" returned perturbed images for 90 of 360 images')


def test_labels_that_an_evaluator_writes_on_are_its_own():
    found = evaluated(measuring_plugins.Careless(None))
    assert not found.held.any()


class Says(measuring_plugins.Evaluator):
    """Return what it was told."""

    def __init__(self, **told):
        super().__init__(None)
        self.told = told

    def evaluate(self, classifier, images, labels):
        return measuring_plugins.Evaluation(**self.told)


@pytest.mark.parametrize(
    ("told", "message"),
    [
        ({"figures": {"x": float("nan")}}, "has the figure x: nan; expected a finite number"),
        ({"figures": {"x": True}}, "has the figure x: True; expected a finite number"),
        ({"figures": {"robust": 0.5}}, "has the figure 'robust'; expected a name other than clean and robust"),
        ({"flags": "masked"}, "has the flags 'masked'; expected sentences in a tuple"),
        ({"flags": ("",)}, "has the flags ('',); expected sentences in a tuple"),
    ],
)
def test_figures_and_flags_that_no_table_could_show_are_told(told, message):
    with pytest.raises(ContractError) as raised:
        evaluated(Says(**told))
    assert str(raised.value) == f'evaluator "toy" {message}'


def test_a_record_whose_verdicts_do_not_make_its_robust_accuracy_is_refused(tmp_path):
    spec = write_spec(tmp_path, correctors=["none"], controls="none", evaluate=["darkened"])
    run_spec(spec, tmp_path / "results")
    [path] = (tmp_path / "results" / "tiny" / "records").glob("*.json")
    fields = json.loads(path.read_text())
    fields["measures"][0]["robust"] += 0.1
    path.write_text(json.dumps(fields))
    with pytest.raises(StoreError, match="says a robust accuracy of"):
        read_records(path.parent)


# ---- work in parts


class Dimmed(measuring_plugins.Evaluator):
    """Darken by what its parts are called, in hundredths; checks begin with a tilde, ``rest`` attacks nothing."""

    def __init__(self, *names):
        super().__init__(None)
        self.names, self.calls = names, []

    def parts(self):
        return tuple(measuring_plugins.Part(name, check=name.startswith("~")) for name in self.names)

    def evaluate(self, classifier, images, labels):
        self.calls.append((self.part.name, images.flatten().tolist(), self.seed, self.random.uniform(()).tolist()))
        if self.part.name == "rest":
            return measuring_plugins.Evaluation(counts={"rests": 1})
        amount = int(self.part.name.strip("~")) / 100
        return measuring_plugins.Evaluation(
            perturbed=(images - amount).clamp(min=0), figures={"dimmed": amount}, counts={"dimmed": len(images)}
        )

    def remarks(self, findings):
        return (str((findings.samples, findings.clean, findings.held, findings.counts)),)


def pixels(*values):
    return torch.tensor(values).reshape(-1, 1, 1, 1)


def test_each_part_gets_what_still_holds_and_checks_get_what_holds_in_the_end():
    evaluator = Dimmed("10", "rest", "20", "~35", "~5", "~25")
    given = pixels(0.95, 0.55, 0.65, 0.3, 0.8)
    found = evaluated(evaluator, given, torch.ones(5, dtype=torch.int64))
    holding = {name: [round(value, 2) for value in values] for name, values, _, _ in evaluator.calls}
    assert holding == {
        "10": [0.95, 0.55, 0.65, 0.8],
        "rest": [0.95, 0.65, 0.8],
        "20": [0.95, 0.65, 0.8],
        "~35": [0.95, 0.8],
        "~5": [0.95, 0.8],
        "~25": [0.95, 0.8],
    }
    assert found.held.tolist() == [True, False, False, False, True]
    assert found.shares == {
        "held after 10": 0.6,
        "held after 20": 0.4,
        "held under ~35": 0.2,
        "same under ~35": 0.8,
        "held under ~5": 0.4,
        "same under ~5": 1.0,
        "held under ~25": 0.4,
        "same under ~25": 1.0,
        "held under every check": 0.2,
    }
    # Means over the images that each part got: 4 × 0.1, 3 × 0.2, 2 × 0.35, 2 × 0.05, 2 × 0.25.
    assert found.figures == {"dimmed": pytest.approx(2.3 / 13)}
    held = {"10": 3, "rest": 3, "20": 2, "~35": 1, "~5": 2, "~25": 2}
    assert found.flags == (str((5, 4, held, {"dimmed": 13, "rests": 1})),)


def test_a_part_for_which_nothing_is_left_is_not_run_and_has_its_share():
    evaluator = Dimmed("60", "10", "~20")
    found = evaluated(evaluator)
    assert [name for name, *_ in evaluator.calls] == ["60"]
    assert found.shares == {
        "held after 60": 0,
        "held after 10": 0,
        "held under ~20": 0,
        "same under ~20": 1,
    }
    assert not found.held.any()


def test_parts_that_attack_nothing_leave_no_verdict():
    found = evaluated(Dimmed("rest"))
    assert found.held is None
    assert found.shares == {}


def test_parts_draw_from_streams_of_their_own_and_share_a_seed_for_libraries():
    evaluator = Dimmed("1", "2")
    evaluated(evaluator)
    (_, _, first, ones), (_, _, second, twos) = evaluator.calls
    assert first == second < 2**31
    assert not set(ones) & set(twos)
    again = Dimmed("1", "2")
    evaluated(again)
    assert again.calls == evaluator.calls


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("10", "10"), "has the parts 10, 10; expected each name once"),
        (("~10", "20"), "has the parts ~10, 20; expected its checks after other parts"),
        (("~10",), "has the parts ~10; expected its checks after other parts"),
        ((" ",), "expected a tuple of harness.api.Part with a name each"),
    ],
)
def test_parts_that_make_no_order_are_told(names, message):
    with pytest.raises(ContractError, match="toy") as raised:
        evaluated(Dimmed(*names))
    assert message in str(raised.value)


def test_parts_as_bare_names_are_told():
    evaluator = Dimmed()
    evaluator.parts = lambda: ["10"]
    with pytest.raises(ContractError, match=r"has the parts \['10'\]; expected a tuple of harness\.api\.Part"):
        evaluated(evaluator)


@pytest.mark.parametrize("name", ["held after 10", "held under ~5", "same under ~5", "held under every check"])
def test_a_figure_may_not_be_called_what_the_harness_says_of_parts(name, monkeypatch):
    evaluator = Dimmed("10", "~5")
    monkeypatch.setattr(
        evaluator,
        "evaluate",
        lambda _, images, labels: measuring_plugins.Evaluation(perturbed=images, shares={name: 0.5}),
    )
    with pytest.raises(
        ContractError, match=f"has the figure '{name}'; expected a name other than what the harness says"
    ):
        evaluated(evaluator)


@pytest.mark.parametrize(("remarks", "told"), [("masked", "'masked'"), (("",), r"\('',\)"), (None, "None")])
def test_remarks_that_are_no_sentences_are_told(remarks, told, monkeypatch):
    evaluator = Dimmed("10")
    monkeypatch.setattr(evaluator, "remarks", lambda findings: remarks)
    with pytest.raises(ContractError, match=f"has the remarks {told}; expected sentences in a tuple"):
        evaluated(evaluator)


def test_a_run_that_is_killed_between_parts_goes_on_there_and_its_records_are_the_same(tmp_path, monkeypatch):
    kinds = {"correctors": ["none"], "controls": "none", "evaluate": [{"evaluator": "stepwise", "batch_size": 150}]}
    spec = write_spec(tmp_path, **kinds)
    run_spec(spec, tmp_path / "whole")
    real, called = measuring_plugins.Stepwise.evaluate, []

    def killed_at(last):
        def evaluate(self, classifier, images, labels):
            if len(called) == last:
                raise KeyboardInterrupt
            called.append(self.part.name)
            return real(self, classifier, images, labels)

        return evaluate

    monkeypatch.setattr(measuring_plugins.Stepwise, "evaluate", killed_at(7))
    with pytest.raises(KeyboardInterrupt):
        run_spec(spec, tmp_path / "killed")
    monkeypatch.setattr(measuring_plugins.Stepwise, "evaluate", killed_at(None))
    witness, state = run_spec(spec, tmp_path / "killed")
    assert state.failures == []
    assert called == 3 * ["whisper", "voice", "shout", "dusk", "noon"]
    assert [done for kind, done, _ in witness.progress if kind == "measure"] == list(range(8, 16))
    assert records_of(tmp_path / "killed") == records_of(tmp_path / "whole")
    [record] = read_records(tmp_path / "whole" / "tiny" / "records")
    [measure] = record.measures
    assert measure.shares["held after shout"] == measure.robust == sum(measure.held) / 360
    assert 1 > measure.shares["held after whisper"] > measure.shares["held after shout"] > 0
    assert measure.shares["same under noon"] == 1
    [remark] = measure.flags
    assert remark.startswith(f"360 samples, {round(360 * measure.clean)} right, ")
