"""Quantized subjects: who decides what is wrong and corrected, whose gradients are taken, what tables show."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

import measuring_plugins
import pytest
import torch
from first_party import own_manager
from running import TESTS, run_spec, write_spec
from torch import nn
from torch.nn.functional import cross_entropy
from toys import Run, Surroundings, conv_classifier, random_images

from harness.api import Attack, Capabilities, NoOptions
from harness.engine.attacking import Corrector
from harness.engine.networks import frozen_copy
from harness.engine.observing import ObservedClassifier, Observer
from harness.engine.prediction import labelled_true, predict
from harness.engine.quantizing import StraightThrough
from harness.launch import tables_of
from harness.records import read_records
from harness.resolved import ResolvedPlugin, ResolvedQuantizer
from harness.stages.context import state_of
from harness_paper.bim import BIM, BIMOptions
from harness_paper.ddn import DDN, DDNOptions


@pytest.fixture(autouse=True)
def measuring(tmp_path, monkeypatch):
    """The distribution "measuring" is installed."""
    info = tmp_path / "site" / "measuring-2.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: measuring\nVersion: 2.0\n")
    (info / "entry_points.txt").write_text("[harness.v1]\nmeasuring = measuring_plugins\n")
    monkeypatch.syspath_prepend(tmp_path / "site")
    monkeypatch.syspath_prepend(TESTS)


def rounded(network, levels=4):
    quantizer = measuring_plugins.Coarse(measuring_plugins.CoarseOptions(levels=levels))
    return quantizer.quantize(frozen_copy(network), [0])


class Fixed(Attack[NoOptions]):
    """Return what it was told."""

    capabilities: ClassVar = Capabilities(norm="linf", targeted=True, untargeted=True, gradients=False)

    def __init__(self, images):
        super().__init__(NoOptions())
        self.images = images

    def run(self, classifier, images, criterion):
        return self.images


@pytest.fixture(scope="module")
def pair():
    """A network, its rounded twin, and images that the twin labels otherwise than it should."""
    network = conv_classifier(gain=3.0)
    judge = rounded(network)
    images = random_images(60, seed=4)
    with torch.no_grad():
        ours, theirs = network(images).argmax(1), judge(images).argmax(1)
        second = judge(images).argsort(1, descending=True)[:, 1]
    assert (ours != theirs).any()  # the two disagree, or nothing below tells them apart
    return network, judge, images, second


def test_attacks_see_the_quantized_logits_and_the_full_precision_gradients(pair):
    network, judge, images, labels = pair
    view = ObservedClassifier(StraightThrough(network, judge), Observer())
    leaf = images.clone().requires_grad_()
    logits = view(leaf)
    with torch.no_grad():
        assert torch.equal(logits, judge(images))
    [found] = torch.autograd.grad(cross_entropy(logits, labels, reduction="sum"), leaf)
    # The chain rule by hand: softmax of the quantized logits minus the labels, through the network's own Jacobian.
    own = images.clone().requires_grad_()
    residual = judge(images).softmax(1).detach() - nn.functional.one_hot(labels, logits.shape[1])
    [expected] = torch.autograd.grad((network(own) * residual).sum(), own)
    assert torch.allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize("attack", [BIM(BIMOptions(eps=0.3, alpha=0.02)), DDN(DDNOptions(steps=30))])
@pytest.mark.parametrize("select", ["first-hit", "min-norm", "final"])
def test_the_quantized_twin_decides_what_is_corrected(pair, attack, select):
    network, judge, images, labels = pair
    run = Corrector(attack, network, name="toy", objective="toward-true", select=select, seed=1, judge=judge)
    result = run.correct(images, labels, torch.arange(len(images)))
    assert torch.equal(result.corrected, labelled_true(judge, result.images, labels))
    assert result.corrected.float().mean() > 0.8


def test_a_correction_that_the_network_alone_sees_counts_for_nothing(pair):
    """A step that ends between the two decision boundaries: the network labels it true, its twin does not."""
    network, judge, images, _ = pair
    blend = torch.linspace(0, 1, 400).reshape(-1, 1, 1, 1) * (images[1] - images[0]) + images[0]
    with torch.no_grad():
        ours, theirs = network(blend).argmax(1), judge(blend).argmax(1)
    between = (ours != theirs).nonzero().flatten()[:1]
    true = ours[between]
    run = Corrector(Fixed(blend[between]), network, name="toy", objective="toward-true", seed=1, judge=judge)
    assert not run.correct(images[:1], true, torch.tensor([0])).corrected.any()
    alone = Corrector(Fixed(blend[between]), network, name="toy", objective="toward-true", seed=1)
    assert alone.correct(images[:1], true, torch.tensor([0])).corrected.all()


def test_the_stages_split_correct_and_evaluate_by_the_quantized_twin(tmp_path):
    surroundings = Surroundings(tmp_path / "store", manager=own_manager())
    plugin = surroundings.plugin("quantizer", "coarse", levels=1)
    full = Run(surroundings)
    assert "full_precision" not in full.evaluate(full.inputs["baseline"], source="target").meta
    surroundings.subject = replace(surroundings.subject, quantizer=ResolvedQuantizer("coarse", plugin))
    run = Run(surroundings)
    judge = surroundings.context().judge(run.network)
    train = surroundings.context().train
    images, labels = train.gather(train.rows)
    assert int(labelled_true(judge, images, labels).sum()) == run.inputs["split"].meta["right"]
    assert run.inputs["split"].meta["right"] != full.inputs["split"].meta["right"]
    corrected = run.correct("bim", eps=0.5)
    rows = corrected.tensors["rows"]
    verdicts = labelled_true(judge, corrected.tensors["images"], surroundings.data.train_labels[rows])
    assert torch.equal(verdicts, corrected.tensors["corrected"])
    assert verdicts.any()
    adapted = run.adapt(perturbed=corrected)
    found = run.evaluate(adapted, perturbed=corrected).meta
    assert found["num_bytes"] == sum(weights.numel() for weights in run.network.parameters()) // 2
    test = surroundings.context().test()
    state = state_of(adapted)
    whole = surroundings.context().network(state).eval()
    assert found["full_precision"] == predict(whole, test).accuracy
    assert found["accuracy"]["test"] == predict(surroundings.context().judge(whole), test).accuracy


def test_each_precision_has_tables_of_its_own_from_one_baseline(tmp_path):
    spec = write_spec(
        tmp_path,
        correctors=["vbi-iter1"],
        controls=["none"],
        quantization=["fp32", {"quantizer": "coarse", "levels": 2, "name": "int3"}],
    )
    witness, state = run_spec(spec, tmp_path / "results")
    assert state.failures == []
    assert (witness.kinds["baseline"], witness.kinds["split"], witness.kinds["correct"]) == (1, 2, 2)
    tables = {table.comparable.model: table for table in tables_of(tmp_path / "results" / "tiny")}
    assert set(tables) == {"net", "net int3"}
    records = read_records(tmp_path / "results" / "tiny" / "records")
    full = {record.cell.control: record for record in records if record.cell.model == "net"}
    for record in records:
        if record.cell.model == "net":
            assert record.measures == []
            continue
        [before] = record.measures
        assert before.name == "before quantizing"
        assert before.figures["quantized MB"] > 0
        assert record.versions["measuring"] == "2.0"
        if record.cell.control == "none":
            assert before.clean == full["none"].accuracy.test
            assert record.accuracy.test != full["none"].accuracy.test


def test_a_quantizer_that_gives_no_logits_is_told(tmp_path):
    spec = write_spec(tmp_path, correctors=["none"], controls=["none"], quantization=["shapeless"])
    _, state = run_spec(spec, tmp_path / "results")
    assert {failure.reason for failure in state.failures} == {
        'quantizer "shapeless" made a network that gives (2, 64) for 2 images; expected logits (2, 10)'
    }


@pytest.mark.parametrize(
    ("quantization", "message"),
    [
        (["coarze"], 'unknown quantizer "coarze"; did you mean "coarse"?'),
        (["fp32", "fp32"], "fp32 stands twice"),
        ([], "quantization"),
        ([{"quantizer": "coarse", "levels": 0}], "levels"),
    ],
)
def test_a_wrong_entry_is_told(tmp_path, quantization, message):
    with pytest.raises(Exception, match=r"tiny\.yaml:") as raised:
        run_spec(write_spec(tmp_path, quantization=quantization), tmp_path / "results")
    assert message in str(raised.value)


def test_resolved_plugins_enter_the_keys_of_what_the_twin_decides():
    manager = own_manager()
    plugin = manager.find("quantizer", "coarse")
    two, three = (ResolvedPlugin(plugin, measuring_plugins.CoarseOptions(levels=levels)) for levels in (2, 3))
    assert two.identity() != three.identity()


def test_the_decider_is_out_of_an_attacks_reach(pair):
    """An attack that spoils every parameter it finds, and is ended before it could put them back."""
    network, judge, images, labels = pair
    before = labelled_true(judge, images, labels)

    class Spoiling(Fixed):
        def run(self, classifier, images, criterion):
            with torch.no_grad():
                for weights in classifier.parameters():
                    weights.neg_()
                for _ in range(3):
                    classifier(images)
            return images

    run = Corrector(Spoiling(images), network, name="toy", objective="toward-true", seed=1, judge=judge, max_passes=2)
    result = run.correct(images, labels, torch.arange(len(images)))
    assert result.cut
    assert not result.corrected.any()
    assert torch.equal(labelled_true(judge, images, labels), before)
