"""Quantized subjects: who decides what is wrong and corrected, whose gradients are taken, what tables show."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar, get_args

import measuring_plugins
import pytest
import torch
from first_party import own_manager
from quantizing import domain, install_measuring, twin_of
from running import run_spec, write_spec
from torch import nn
from torch.nn.functional import cosine_similarity, cross_entropy
from toys import Run, Surroundings, conv_classifier, random_images

from harness.api import Attack, Capabilities, NoOptions, Quantizer
from harness.engine.attacking import Corrector
from harness.engine.guarding import Guard
from harness.engine.iterates import ThreatModel
from harness.engine.networks import frozen_copy
from harness.engine.observing import ObservedClassifier, Observer
from harness.engine.prediction import labelled_true, predict
from harness.engine.quantizing import attackable
from harness.errors import ContractError, SpecError
from harness.launch import Options, prepare, tables_of
from harness.records import SPEEDS, read_records
from harness.references import Gradients
from harness.resolved import ResolvedPlugin, ResolvedQuantizer
from harness.stages.context import state_of
from harness.testing.digits import train_digits
from harness_paper.bim import BIM, BIMOptions
from harness_paper.ddn import DDN, DDNOptions
from harness_quantization.fake_int8 import FakeInt8, FakeInt8Options

LINF = ThreatModel("linf", (0.0, 1.0), None)


@pytest.fixture(autouse=True)
def measuring(tmp_path, monkeypatch):
    """The distribution "measuring" is installed."""
    install_measuring(tmp_path, monkeypatch)


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
    view = ObservedClassifier(attackable(network, judge, "full-precision"), Observer())
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


@pytest.fixture(scope="module")
def digits():
    """The digits' classifier, its fake-int8 twin, and images neither has seen."""
    case = train_digits()
    twin = twin_of(FakeInt8(FakeInt8Options(ranges="minmax")), case.classifier, domain(case.stored[:500]))
    return case.classifier, twin, case.stored[1000:1200].float() / 255, case.labels[1000:1200]


def gradients_of(network, images, labels):
    """Return the logits, and the loss's gradient for each image as a vector."""
    leaf = images.clone().requires_grad_()
    logits = network(leaf)
    [gradient] = torch.autograd.grad(cross_entropy(logits, labels, reduction="sum"), leaf)
    return logits.detach(), gradient.flatten(1)


def test_the_logits_are_the_judges_whatever_the_gradients_are_and_these_differ(digits):
    network, judge, images, labels = digits
    with torch.no_grad():
        expected = judge(images)
    assert not torch.equal(expected, network(images))
    found = [gradients_of(attackable(network, judge, kind), images, labels) for kind in get_args(Gradients)]
    for logits, _ in found:
        assert torch.equal(logits, expected)
    assert not torch.allclose(found[0][1], found[1][1], rtol=1e-3)


def test_full_precision_gradients_are_the_networks_own_and_straight_through_ones_the_judges(digits):
    network, judge, images, labels = digits
    weights = torch.linspace(-1, 1, 10)  # of logits: a loss would look at their values, which are the judge's

    def gradient(of):
        leaf = images.clone().requires_grad_()
        return torch.autograd.grad((of(leaf) @ weights).sum(), leaf)[0]

    full, straight = (gradient(attackable(network, judge, kind)) for kind in get_args(Gradients))
    assert torch.equal(full, gradient(network))
    assert torch.equal(straight, gradient(judge))
    _, of_network = gradients_of(network, images, labels)
    _, of_judge = gradients_of(attackable(network, judge, "straight-through"), images, labels)
    assert cosine_similarity(of_judge.flatten(), of_network.flatten(), dim=0) > 0.9


@pytest.mark.parametrize("gradients", get_args(Gradients))
def test_attacks_fool_the_twin_by_either_gradients(digits, gradients):
    network, judge, images, labels = digits
    guard = Guard(network, what="attack", threat=LINF, seed=1, judge=judge, gradients=gradients)
    logits, gradient = gradients_of(guard.twin, images, labels)
    stepped = (images + 0.2 * gradient.reshape(images.shape).sign()).clamp(0, 1)
    right = logits.argmax(1) == labels
    assert right.float().mean() > 0.9
    assert labelled_true(judge, stepped, labels).float().mean() < 0.5


def test_no_parameter_of_a_twin_asks_for_gradients():
    class Learning(Quantizer[NoOptions]):
        """Leave the parameters trainable."""

        def quantize(self, network, calibration):
            return network.requires_grad_()

    twin = twin_of(Learning(NoOptions()), conv_classifier(), random_images(4))
    assert not any(parameter.requires_grad for parameter in twin.parameters())


@pytest.mark.parametrize("remarks", ["a sentence", (1,), None])
def test_remarks_that_are_no_sentences_are_told(monkeypatch, remarks):
    monkeypatch.setattr(FakeInt8, "remarks", remarks)
    with pytest.raises(ContractError, match=r'quantizer "int8" has remarks = .*; expected a tuple of sentences'):
        twin_of(FakeInt8(FakeInt8Options()), conv_classifier(), random_images(4))


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
    assert "quantized" not in full.evaluate(full.inputs["baseline"], source="target").meta
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
    told = found["quantized"]
    assert told["num_bytes"] == sum(weights.numel() for weights in run.network.parameters()) // 2
    assert told["full_precision_bytes"] == sum(
        value.numel() * value.element_size() for value in run.network.net.state_dict().values()
    )
    test = surroundings.context().test()
    state = state_of(adapted)
    whole = surroundings.context().network(state).eval()
    before = told["before"]
    assert before["test"] == predict(whole, test).accuracy
    assert before["valid"] == predict(whole, surroundings.context().valid).accuracy
    assert before["train"] == predict(whole, train).accuracy
    assert before["source"] > before["train"]  # T' without what could not be corrected
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
            assert record.quantized is None
            continue
        told = record.quantized
        assert 0 < told.num_bytes * 8 < told.full_precision_bytes
        assert all(record.times[name] > 0 for name in SPEEDS)
        assert record.versions["measuring"] == "2.0"
        if record.cell.control == "none":
            assert told.before == full["none"].accuracy
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


def test_straight_through_gradients_are_refused_where_a_quantizer_lets_none_through(tmp_path):
    spec = write_spec(tmp_path, quantization=[{"quantizer": "fx-int8", "gradients": "straight-through"}])
    with pytest.raises(SpecError, match=r'quantization\[0\]\.gradients: quantizer "fx-int8" lets no gradients through'):
        prepare(str(spec), Options(results=tmp_path / "results"))


def test_whose_gradients_attacks_get_is_part_of_the_correction_alone(tmp_path):
    plans = {}
    for gradients in ("full-precision", "straight-through"):
        asked = {"quantizer": "fake-int8", "gradients": gradients, "name": "int8"}
        spec = write_spec(tmp_path / gradients, correctors=["vbi-iter1"], quantization=[asked])
        plan = prepare(str(spec), Options(results=tmp_path / "results")).plan
        plans[gradients] = {stage.kind: key for key, stage in plan.stages().items()}
    full, straight = plans.values()
    assert {kind for kind in full if full[kind] == straight[kind]} == {"baseline", "split"}
    assert full["correct"] != straight["correct"]


@pytest.mark.parametrize("gradients", ["full-precision", "straight-through"])
def test_a_quantized_run_records_whose_gradients_attacks_got(tmp_path, gradients):
    spec = write_spec(
        tmp_path,
        correctors=["vbi-iter1"],
        controls="none",
        quantization=[{"quantizer": "fake-int8", "gradients": gradients}],
    )
    _, state = run_spec(spec, tmp_path / "results")
    assert state.failures == []
    [record] = read_records(tmp_path / "results" / "tiny" / "records")
    assert record.quantized.gradients == gradients
    assert record.correction.corrected > 0


def test_a_quantized_twin_is_made_once_for_the_stages_that_ask_for_it(tmp_path):
    surroundings = Surroundings(tmp_path / "store", manager=own_manager())
    plugin = surroundings.plugin("quantizer", "coarse", levels=2)
    surroundings.subject = replace(surroundings.subject, quantizer=ResolvedQuantizer("coarse", plugin))
    context = surroundings.context()
    network = Run(surroundings).network
    twin = context.judge(network)
    assert surroundings.context().judge(frozen_copy(network)) is twin
    other = frozen_copy(network)
    with torch.no_grad():
        next(other.parameters()).add_(0.1)
    assert context.judge(other) is not twin
    coarser = surroundings.plugin("quantizer", "coarse", levels=1)
    surroundings.subject = replace(surroundings.subject, quantizer=ResolvedQuantizer("coarse", coarser))
    assert surroundings.context().judge(network) is not twin
