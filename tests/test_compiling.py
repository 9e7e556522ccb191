"""Passes through torch.compile: whose passes, of which sizes, with what results, and what is said where torch cannot.

Its backend "eager" computes what the network does, to the bit, and takes no C++ compiler.
"""

from __future__ import annotations

import shutil

import pytest
import torch
from running import TINY, run_spec, write_spec
from torch import nn
from toys import (
    Run,
    Surroundings,
    adaptation_training,
    baseline_training,
    conv_classifier,
    pixel_classifier,
    random_images,
    states_equal,
)

from harness.engine import compiling
from harness.engine.attacking import Corrector
from harness.engine.compiling import (
    Compiled,
    CompiledOutputs,
    CompiledParts,
    CompiledTwin,
    CompileError,
)
from harness.engine.observing import ObservedClassifier, Observer
from harness.errors import SpecError
from harness.stages import baseline
from harness.stages.jobs import AdaptJob, BaselineJob, CorrectJob, compiles
from harness.store import Artifact
from harness_paper.bim import BIM, BIMOptions

HAS_COMPILER = any(shutil.which(name) for name in ("g++", "clang++"))


@pytest.fixture(autouse=True)
def eager(monkeypatch):
    monkeypatch.setattr(compiling, "BACKEND", "eager")
    yield
    compiling.forget_compiled()


@pytest.fixture
def sizes(monkeypatch):
    """How many images went through what was compiled, a number for each pass of an attack."""
    noted, called = [], CompiledTwin.__call__
    monkeypatch.setattr(
        CompiledTwin, "__call__", lambda self, images: noted.append(len(images)) or called(self, images)
    )
    return noted


def test_features_and_logits_are_those_of_the_network_and_so_is_what_it_tracks():
    networks = [conv_classifier().train() for _ in range(2)]
    compiled = CompiledOutputs(networks[0])
    for seed in range(2):
        images = random_images(8, seed=seed)
        features, logits = compiled(images)
        expected = networks[1].outputs(images)
        assert torch.equal(features, expected.features)
        assert torch.equal(logits, expected.logits)
        for found, network in ((logits, networks[0]), (expected.logits, networks[1])):
            (features if network is networks[0] else expected.features).sum().backward(retain_graph=True)
            found.square().sum().backward()
    assert states_equal(*(network.state_dict() for network in networks))
    for mine, theirs in zip(*(network.parameters() for network in networks), strict=True):
        assert torch.equal(mine.grad, theirs.grad)
    assert not any(module._forward_pre_hooks for module in networks[0].modules())


def test_where_there_is_no_linear_layer_the_logits_are_the_features():
    network = pixel_classifier(nn.Sequential(nn.Conv2d(3, 5, 6), nn.Flatten()), classes=5)
    images = random_images(4)
    features, logits = CompiledOutputs(network)(images)
    assert torch.equal(features, logits)
    assert torch.equal(logits, network(images))


def test_parts_of_a_query_that_are_of_the_usual_size_are_compiled_and_the_rest_is_not(sizes):
    network = conv_classifier()
    classifier = ObservedClassifier(network, Observer(), compiled=CompiledParts(CompiledTwin(network), 64))
    images = random_images(150)
    assert torch.equal(classifier(images), ObservedClassifier(network, Observer())(images))
    assert sizes == [64, 64]
    classifier[torch.arange(64)](images[:64])
    classifier[torch.arange(20)](images[:20])
    assert sizes == [64, 64, 64]


def test_a_network_that_something_hangs_on_is_passed_as_it_is():
    network, images = conv_classifier(), random_images(4)
    twin = CompiledTwin(network)
    twin(images)
    handle = network.net[0].register_forward_hook(lambda *_: torch.zeros(4, 6, 6, 6))
    assert torch.equal(twin(images), network(images))
    handle.remove()
    assert torch.equal(twin(images), network(images))
    assert twin.passes.forward == 8


@pytest.mark.parametrize("select", ["first-hit", "min-norm", "final"])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize(("count", "usual"), [(80, 64), (30, 30)])
def test_a_compiled_attack_corrects_the_same(select, precision, count, usual, sizes):
    network, images = conv_classifier(), random_images(count)
    labels = (network(images).argmax(1) + 1) % 5
    results = []
    for compiled in (False, True):
        attack = BIM(BIMOptions(eps=0.2, alpha=0.05))
        how = {"objective": "toward-true", "select": select, "precision": precision}
        corrector = Corrector(attack, network, name="bim", seed=1, compiled=compiled, **how)
        results.append(corrector.correct(images, labels, torch.arange(count)))
        assert corrector.remarks == ()
        assert set(sizes) == ({usual} if compiled else set())
    plain, through = results
    assert plain.met.any()
    assert torch.equal(plain.images, through.images)
    assert torch.equal(plain.met, through.met)
    assert plain.passes == through.passes


class Single(BIM):
    """Asks about one image at a time."""

    def run(self, classifier, images, criterion):
        for row in torch.arange(len(images)).split(1):
            classifier[row](images[row])
        return images


def test_an_attack_none_of_whose_passes_is_of_the_usual_size_is_remarked_on():
    corrector = Corrector(
        Single(BIMOptions()), conv_classifier(), name="single", objective="toward-true", seed=1, compiled=True
    )
    corrector.correct(random_images(3), torch.zeros(3, dtype=torch.int64), torch.arange(3))
    assert corrector.remarks == ("attack_compile: none of its passes could go through torch.compile",)


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    return Run(Surroundings(tmp_path_factory.mktemp("store")))


@pytest.mark.parametrize("policy", ["separate", "joint", "frozen", "target-only"])
@pytest.mark.parametrize("name", ["deep-coral", "mcd", "pseudo-label"])
def test_a_compiled_adaptation_ends_the_same(done, policy, name):
    precision = "bfloat16" if policy == "joint" else "float32"
    how = {"batch_norm": policy, "steps": 4, "validations": 2, "precision": precision}
    plain, through = (done.adapt(name, source="target", compile=compiled, **how) for compiled in (False, True))
    assert plain.meta["history"] == through.meta["history"]
    assert states_equal(plain.tensors, through.tensors)


def test_a_compiled_baseline_ends_the_same(done):
    made = [
        baseline.run(BaselineJob(done.at.subject, baseline_training(epochs=2, compile=compiled)), {}, done.at.context())
        for compiled in (False, True)
    ]
    assert isinstance(made[0], Artifact)
    assert states_equal(made[0].tensors, made[1].tensors)


def test_a_job_says_whether_it_compiles(done):
    subject = done.at.subject
    corrector, adapter = done.at.corrector(), done.at.adapter("deep-coral")
    for asked in (False, True):
        assert compiles(BaselineJob(subject, baseline_training(compile=asked))) is asked
        assert compiles(CorrectJob(subject, corrector, 8, compile=asked)) is asked
        adaptation = adaptation_training(compile=asked)
        assert compiles(AdaptJob(subject, adapter, "target", "corrected", adaptation)) is asked
    assert not compiles(BaselineJob(subject, None))


ADAPTATION, BASELINE = TINY["adaptation"], TINY["baseline"]


@pytest.mark.parametrize(
    ("changes", "anew"),
    [
        ({"attack_compile": True}, {"correct", "adapt", "evaluate"}),
        ({"adaptation": {**ADAPTATION, "compile": True}}, {"adapt", "evaluate"}),
        ({"baseline": {**BASELINE, "compile": True}}, {"baseline", "split", "correct", "adapt", "evaluate"}),
    ],
)
def test_what_is_compiled_is_made_anew_and_says_so_in_its_tables(tmp_path, monkeypatch, sizes, changes, anew):
    monkeypatch.setattr(compiling, "check_compiler", lambda device: None)
    adapters = {"adapters": ["deep-coral", "activity-weight-duality"]}
    run_spec(write_spec(tmp_path, name="plain", **adapters), tmp_path / "results")
    spec = write_spec(tmp_path, name="compiled", **adapters, **changes)
    witness, state = run_spec(spec, tmp_path / "results")
    assert set(witness.kinds) == anew
    assert bool(sizes) == ("attack_compile" in changes)
    closed = [stage for stage in witness.stages if stage.kind == "adapt" and "duality" in stage.job.adapter.name]
    assert bool(closed) == (anew != {"adapt", "evaluate"})
    for cell in state.plan.cells:
        assert cell.comparable.budget.get("attack_compile", False) == ("attack_compile" in changes)
        assert cell.comparable.budget["compile"] == ("adaptation" in changes)


def test_compile_is_nothing_to_tune(tmp_path):
    search = {"space": {"adaptation.compile": [True, False]}}
    with pytest.raises(SpecError, match="compile decides how long it takes, not how well; set it under adaptation"):
        run_spec(write_spec(tmp_path, search=search), tmp_path / "results")


def test_where_torch_cannot_compile_it_is_said_before_anything_is_computed(tmp_path, monkeypatch):
    monkeypatch.setenv("CXX", str(tmp_path / "nothing"))
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "cache"))
    spec = write_spec(tmp_path, attack_compile=True)
    with pytest.raises(CompileError, match=r"torch\.compile does not work here: .*; expected a C\+\+ compiler"):
        run_spec(spec, tmp_path / "results")
    results = tmp_path / "results"
    assert not [path.name for path in results.rglob("*") if path.name in {"baseline", "records", "failures"}]


def broken(graph, examples):
    raise RuntimeError("no idea how\nat all")


def test_a_network_that_torch_cannot_compile_is_named_as_the_cause(monkeypatch):
    monkeypatch.setattr(compiling, "BACKEND", broken)
    with pytest.raises(
        CompileError, match="cannot make anything of the network: no idea how; expected one that it can"
    ):
        Compiled(conv_classifier())(random_images(2))


def test_what_the_network_itself_refuses_is_told_in_its_own_words():
    with pytest.raises(RuntimeError, match=r"must match the size of tensor b"):
        Compiled(conv_classifier())(random_images(2, shape=(4, 6, 6)))


@pytest.mark.filterwarnings("ignore:.*torch.jit.script_method.*:DeprecationWarning")
@pytest.mark.skipif(not HAS_COMPILER, reason="there is no C++ compiler")
def test_a_network_that_is_really_compiled_gives_the_same_up_to_rounding(monkeypatch, tmp_path):
    monkeypatch.setattr(compiling, "BACKEND", "inductor")
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    networks = [conv_classifier().train() for _ in range(2)]
    for network in networks:
        network.net.insert(2, nn.Dropout(0.5))
    images, found = random_images(8), []
    for network, passing in zip(networks, (CompiledOutputs(networks[0]), networks[1].outputs), strict=True):
        torch.manual_seed(0)
        _, logits = passing(images) if network is networks[0] else vars(passing(images)).values()
        logits.square().sum().backward()
        found.append([logits, *(one.grad for one in network.parameters()), *network.buffers()])
    for mine, plain in zip(*found, strict=True):
        torch.testing.assert_close(mine, plain, rtol=1e-3, atol=1e-3 * float(plain.detach().abs().amax()))
