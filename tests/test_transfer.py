"""Corrections made for another classifier: which one that is, which samples, and what the record tells of them."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from running import Witness, write_spec
from toys import Run, Surroundings, baseline_training

from harness.contract import InputShape
from harness.errors import SpecError
from harness.launch import Options, prepare, run
from harness.records import read_records
from harness.stages import baseline, correct, transfer
from harness.stages.context import Context, state_of
from harness.stages.jobs import BaselineJob, CorrectJob, TransferJob
from harness_classifiers.small_cnn import SmallCNN, SmallCNNOptions

NET = {"architecture": "small-cnn", "width": 4}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Return a run, its rival's network, what was corrected for the rival, and what is transferred of it."""
    done = Run(Surroundings(tmp_path_factory.mktemp("store")))
    rival = replace(done.at.subject, rival=True)

    def context(subject, key):
        return Context(
            done.at.workshop, subject, done.at.store.partial(key, every_seconds=1e9), lambda _done, _total: None
        )

    trained = baseline.run(BaselineJob(rival, baseline_training()), {}, context(rival, "rival"))
    job = CorrectJob(rival, done.at.corrector("bim", eps=0.05, alpha=0.02), 7)
    inputs = {"baseline": trained, "split": done.inputs["split"]}
    corrected = correct.run(job, inputs, context(rival, "correct"))
    inputs = {"baseline": done.inputs["baseline"], "rival": trained, "correct": corrected}
    shown = transfer.run(TransferJob(done.at.subject, rival, "linf"), inputs, context(done.at.subject, "transfer"))
    network = context(rival, "network").network(state_of(trained)).eval()
    return done, network, corrected, shown


def labels_by(network, images):
    with torch.no_grad():
        return network(images).argmax(1)


def test_a_rival_is_the_same_network_trained_from_another_start(made):
    done, rival, *_ = made
    mine, theirs = done.network.net.state_dict(), rival.net.state_dict()
    assert set(mine) == set(theirs)
    assert not all(torch.equal(mine[name], theirs[name]) for name in mine)


def test_what_is_transferred_are_the_samples_that_both_get_wrong(made):
    done, rival, corrected, shown = made
    wrong = corrected.tensors["rows"]
    assert torch.equal(wrong, done.inputs["split"].tensors["wrong"])
    originals, labels = done.at.context().train.gather(wrong)
    both = labels_by(rival, originals) != labels
    assert 0 < int(both.sum()) < len(wrong)
    assert torch.equal(shown.tensors["rows"], wrong[both])
    assert torch.equal(shown.tensors["images"], corrected.tensors["images"][both])
    assert torch.equal(shown.tensors["corrected"], corrected.tensors["corrected"][both])


def test_what_is_told_of_them_is_this_classifiers_own_verdict(made):
    done, rival, _, shown = made
    kept = shown.tensors["corrected"]
    images, rows = shown.tensors["images"][kept], shown.tensors["rows"][kept]
    originals, labels = done.at.context().train.gather(rows)
    assert bool((labels_by(rival, images) == labels).all())
    told = shown.meta["corrected"]
    assert told["kept"] == len(rows) > 0
    assert told["labelled_true"] == int((labels_by(done.network, images) == labels).sum())
    assert told["median_norm"] == pytest.approx(float((images - originals).abs().flatten(1).amax(1).median()), abs=1e-6)
    assert told["median_norm"] > 0
    assert shown.meta["all"]["kept"] == len(shown.tensors["rows"])


def planned(folder, **changes):
    spec = write_spec(folder, correctors=["vbi"], controls=["transferred"], **changes)
    return prepare(str(spec), Options(results=folder / "results", device="cpu")).plan


def rivals_of_cells(plan):
    jobs = [dict(cell.evaluate.inputs)["perturbed"].job for cell in plan.cells if cell.name.control == "transferred"]
    return [(job.subject.model.name, job.rival.model.name, job.rival.rival) for job in jobs]


def test_the_next_classifier_is_the_rival_and_a_lone_one_is_its_own_from_another_start(tmp_path):
    two = [{**NET, "name": "narrow"}, {**NET, "width": 6, "name": "wide"}]
    assert rivals_of_cells(planned(tmp_path / "two", models=two)) == [
        ("narrow", "wide", False),
        ("wide", "narrow", False),
    ]
    assert rivals_of_cells(planned(tmp_path / "one", models=two[:1])) == [("narrow", "narrow", True)]


def test_a_classifier_under_another_name_is_no_rival(tmp_path):
    twins = [{**NET, "name": "first"}, {**NET, "name": "second"}]
    assert rivals_of_cells(planned(tmp_path, models=twins)) == [("first", "first", True), ("second", "second", True)]


def test_a_trained_classifier_alone_has_no_rival_and_the_message_says_what_to_do(tmp_path):
    lone, weights = {**NET, "name": "lone"}, tmp_path / "net.pt"
    net = SmallCNN(SmallCNNOptions(width=4)).build(InputShape(channels=1, image_size=8, num_classes=10))
    torch.save(net.state_dict(), weights)
    with pytest.raises(SpecError) as caught:
        planned(tmp_path / "trained", models=[{**lone, "weights": str(weights)}])
    assert str(caught.value) == (
        'controls: "transferred" needs another classifier to make corrections for; model "lone" comes trained and no other '
        "of the spec sees images of 8 pixels: add one to models, or leave the control out"
    )


def test_a_transferred_row_says_for_whom_it_was_corrected_and_how_many_are_kept(tmp_path):
    spec = write_spec(tmp_path, correctors=["vbi"], controls=["transferred", "none"])
    prepared = prepare(str(spec), Options(results=tmp_path / "results", device="cpu", workers=1))
    run(prepared, Witness())
    records = {record.cell.control: record for record in read_records(tmp_path / "results" / "tiny" / "records")}
    transferred, own = records["transferred"], records[None]
    assert "corrected for net from another start" in transferred.warnings
    assert not any("corrected for" in warning for warning in own.warnings)
    assert transferred.correction.kept == transferred.counts["source"] - transferred.counts["right"]
    assert transferred.correction.kept <= transferred.correction.wrong == own.correction.wrong
    assert transferred.correction.curve == []
    assert own.correction.curve[-1][1] == own.correction.corrected
