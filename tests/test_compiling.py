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
from harness.engine.compiling import Compiled, CompiledOutputs, check_compiler
from harness.engine.observing import ObservedClassifier, Observer
from harness.errors import HarnessError
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


class Counting:
    """Stands for a compiled network and notes how many images it was given at a time."""

    def __init__(self, network):
        self.network = network
        self.sizes = []

    def __call__(self, images):
        self.sizes.append(len(images))
        return self.network(images)


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


def test_parts_of_a_query_that_are_as_large_as_any_are_compiled_and_the_rest_is_not():
    network = conv_classifier()
    counting = Counting(network)
    classifier = ObservedClassifier(network, Observer(), compiled=counting)
    images = random_images(150)
    assert torch.equal(classifier(images), ObservedClassifier(network, Observer())(images))
    assert counting.sizes == [64, 64]
    classifier[torch.arange(64)](images[:64])
    classifier[torch.arange(20)](images[:20])
    assert counting.sizes == [64, 64, 64]


@pytest.mark.parametrize("select", ["first-hit", "min-norm", "final"])
def test_a_compiled_attack_corrects_the_same(select, monkeypatch):
    called = []
    monkeypatch.setattr(Compiled, "__call__", lambda self, *given: called.append(1) or self._call(*given))
    network, images = conv_classifier(), random_images(80)
    labels = (network(images).argmax(1) + 1) % 5
    results = []
    for compiled in (False, True):
        attack = BIM(BIMOptions(eps=0.2, alpha=0.05))
        corrector = Corrector(
            attack, network, name="bim", objective="toward-true", select=select, seed=1, compiled=compiled
        )
        results.append(corrector.correct(images, labels, torch.arange(80)))
        assert bool(called) == compiled
    plain, through = results
    assert plain.met.any()
    assert torch.equal(plain.images, through.images)
    assert torch.equal(plain.met, through.met)
    assert plain.passes == through.passes


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    return Run(Surroundings(tmp_path_factory.mktemp("store")))


@pytest.mark.parametrize("policy", ["separate", "joint", "frozen", "target-only"])
@pytest.mark.parametrize("name", ["deep-coral", "mcd", "pseudo-label"])
def test_a_compiled_adaptation_ends_the_same(done, policy, name):
    how = {"batch_norm": policy, "steps": 4, "validations": 2}
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


def test_a_compiled_run_says_so_in_its_tables_and_shares_no_stage_with_a_plain_one(tmp_path):
    plain, _ = run_spec(write_spec(tmp_path, name="plain"), tmp_path / "results")
    adaptation, first = {**TINY["adaptation"], "compile": True}, {**TINY["baseline"], "compile": True}
    spec = write_spec(tmp_path, name="compiled", attack_compile=True, adaptation=adaptation, baseline=first)
    witness, state = run_spec(spec, tmp_path / "results", store=tmp_path / "results" / ".store")
    assert witness.kinds == plain.kinds
    for cell in state.plan.cells:
        assert cell.comparable.budget["attack_compile"] is True
        assert cell.comparable.budget["compile"] is True


def test_where_torch_cannot_compile_it_is_said_before_anything_is_computed(tmp_path, monkeypatch):
    def broken(graph, examples):
        raise RuntimeError("no compiler anywhere")

    monkeypatch.setattr(compiling, "BACKEND", broken)
    spec = write_spec(tmp_path, attack_compile=True)
    with pytest.raises(
        HarnessError, match=r"torch\.compile failed: .*no compiler anywhere.*; expected a C\+\+ compiler"
    ):
        run_spec(spec, tmp_path / "results")
    results = tmp_path / "results"
    assert not [path.name for path in results.rglob("*") if path.name in {"baseline", "records", "failures"}]


@pytest.mark.filterwarnings("ignore:.*torch.jit.script_method.*:DeprecationWarning")
@pytest.mark.skipif(not HAS_COMPILER, reason="there is no C++ compiler")
def test_a_network_that_is_really_compiled_gives_the_same_up_to_rounding(monkeypatch, tmp_path):
    monkeypatch.setattr(compiling, "BACKEND", "inductor")
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    check_compiler("cpu")
    network, images = conv_classifier(), random_images(8).requires_grad_()
    compiled = Compiled(network)
    torch.testing.assert_close(compiled(images), network(images), rtol=1e-4, atol=1e-4)
    for mine, theirs in zip(
        torch.autograd.grad(compiled(images).square().sum(), images),
        torch.autograd.grad(network(images).square().sum(), images),
        strict=True,
    ):
        torch.testing.assert_close(mine, theirs, rtol=1e-3, atol=1e-3)
