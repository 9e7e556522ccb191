"""The stages, run one after the other on toy data, against what can be counted without them."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import ClassVar

import numpy as np
import pytest
import torch
from first_party import own_manager
from running import run_spec, write_spec
from torch.nn.functional import cross_entropy
from toys import (
    Run,
    Surroundings,
    baseline_training,
    no_progress,
    pixel_classifier,
    states_equal,
    toy_data,
)

from harness.api import Adapter, AdapterCapabilities, Attack, Capabilities, NoOptions, hookimpl
from harness.engine import prediction
from harness.engine.images import ImageSet, to_pixels
from harness.engine.norms import per_sample_norm
from harness.engine.prediction import labelled_true, predict
from harness.engine.randomness import PerSampleStreams, derive_seed
from harness.errors import ContractError, DataError, StoreError
from harness.records import read_records
from harness.stages import baseline, correct
from harness.stages.context import split_rows, state_of
from harness.stages.execute import execute
from harness.stages.jobs import BaselineJob, CorrectJob, SplitJob
from harness.stages.sham import randomly_moved
from harness.stages.stage import Stage
from harness.store import TENSORS, Artifact


class Noise(Attack[NoOptions]):
    """Draws from the global generator, as libraries do, and returns that."""

    capabilities: ClassVar = Capabilities(norm="linf", targeted=True, untargeted=True, gradients=False, stochastic=True)

    def run(self, classifier, images, criterion):
        return torch.rand_like(images)


class Idle(Attack[NoOptions]):
    """Returns what it was given."""

    capabilities: ClassVar = Capabilities(norm="l2", targeted=True, untargeted=True, gradients=False)

    def run(self, classifier, images, criterion):
        return images


class Nosy(Adapter[NoOptions]):
    """Declares that it uses nothing of the target, and looks."""

    capabilities: ClassVar = AdapterCapabilities(target=False)

    def losses(self, source, target):
        assert target.labels is None
        assert target.logits.numel() == target.features.numel() == 0
        return {"zero": 0 * source.logits.sum()}


class Oracle(Nosy):
    """Declares the target's labels."""

    capabilities: ClassVar = AdapterCapabilities(target=True, target_labels=True)

    def losses(self, source, target):
        return {"oracle": torch.nn.functional.cross_entropy(target.logits, target.labels)}


class Detached(Nosy):
    def losses(self, source, target):
        return {"first": source.logits.detach().sum(), "second": torch.zeros(())}


class Vector(Nosy):
    def losses(self, source, target):
        return {"vector": source.logits.sum(1)}


class Nothing(Nosy):
    def losses(self, source, target):
        return None


class Broken(Nosy):
    def adapt(self, network, source, target):
        with torch.no_grad():
            next(network.parameters()).fill_(float("nan"))


class ToyPlugins:
    """A package of plugins."""

    @staticmethod
    @hookimpl
    def harness_attacks():
        return {"noise": f"{__name__}:Noise", "idle": f"{__name__}:Idle"}

    @staticmethod
    @hookimpl
    def harness_adapters():
        kinds = (Nosy, Oracle, Detached, Vector, Nothing, Broken)
        return {kind.__name__.lower(): f"{__name__}:{kind.__name__}" for kind in kinds}


def manager():
    found = own_manager()
    found.register(ToyPlugins, package="toys", distribution="toys", version="1")
    return found


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    return Run(Surroundings(tmp_path_factory.mktemp("store"), manager=manager()))


def pixels_and_labels(done, rows):
    data = done.at.data
    return to_pixels(data.train_images[rows], 6), data.train_labels[rows]


# -- the split by seed ----------------------------------------------------------------------------------------------------


def test_training_and_validation_samples_are_a_partition_of_the_size_asked_for():
    halves = split_rows(100, 30, seed=1)
    assert sorted([*halves.train.tolist(), *halves.valid.tolist()]) == list(range(100))
    assert len(halves.valid) == 30
    assert torch.equal(halves.train, halves.train.sort().values)
    assert torch.equal(split_rows(100, 30, seed=1).valid, halves.valid)
    assert not torch.equal(split_rows(100, 30, seed=2).valid, halves.valid)


# -- baseline and split ---------------------------------------------------------------------------------------------------


def test_the_baseline_is_the_epoch_that_is_best_on_validation(done):
    meta = done.inputs["baseline"].meta
    steps_per_epoch = -(-96 // 16)
    assert [entry["step"] for entry in meta["history"]] == [steps_per_epoch * epoch for epoch in (1, 2, 3, 4)]
    valid = [entry["valid"] for entry in meta["history"]]
    assert meta["best_step"] == steps_per_epoch * (1 + int(np.argmax(valid)))
    assert predict(done.network, done.at.context().valid).accuracy == max(valid)


def test_trained_weights_are_taken_as_they_are(done):
    artifact = baseline.run(BaselineJob(done.at.subject, None), {}, done.at.context())
    assert artifact.meta["trained"]
    assert states_equal(state_of(artifact), done.at.context().network().net.state_dict())


def test_the_split_is_what_the_baseline_gets_right_and_wrong_in_eval_mode(done):
    rows = split_rows(120, 24, seed=1).train
    images, labels = pixels_and_labels(done, rows)
    with torch.no_grad():
        right = done.network(images).argmax(1) == labels
    tensors = done.inputs["split"].tensors
    assert tensors["right"].tolist() == rows[right].tolist()
    assert tensors["wrong"].tolist() == rows[~right].tolist()
    assert min(len(tensors["right"]), len(tensors["wrong"])) > 5


# -- correct --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["bim", "noise"])
def test_corrected_are_the_stored_images_that_the_original_labels_true(done, name):
    artifact = done.correct(name)
    tensors, (_, labels) = artifact.tensors, pixels_and_labels(done, artifact.tensors["rows"])
    assert tensors["rows"].tolist() == done.inputs["split"].tensors["wrong"].tolist()
    assert tensors["images"].dtype == torch.float32
    with torch.no_grad():
        assert torch.equal(done.network(tensors["images"]).argmax(1) == labels, tensors["corrected"])
    assert artifact.meta["corrected"] == int(tensors["corrected"].sum()) > 0
    assert artifact.meta["wrong"] == len(labels)


def test_the_median_norm_and_the_survivors_are_those_that_numpy_counts(done):
    artifact = done.correct("bim", eps=0.3, alpha=0.1, steps=5)
    corrected = artifact.tensors["corrected"]
    images = artifact.tensors["images"][corrected]
    originals, labels = pixels_and_labels(done, artifact.tensors["rows"][corrected])
    largest = np.sort(np.abs((images - originals).numpy()).reshape(len(images), -1).max(1))
    # Torch's median: of two in the middle, the lower.
    assert artifact.meta["median_norm"] == pytest.approx(largest[(len(largest) - 1) // 2])
    variants = {
        "uint8": torch.from_numpy(np.rint(images.numpy() * 255).astype(np.uint8).astype(np.float32) / 255),
        "float16": torch.from_numpy(images.numpy().astype(np.float16).astype(np.float32)),
        "flip": torch.from_numpy(images.numpy()[..., ::-1].copy()),
    }
    with torch.no_grad():
        expected = {name: int((done.network(one).argmax(1) == labels).sum()) for name, one in variants.items()}
    assert artifact.meta["survived"] == expected


def test_passes_are_summed_over_the_batches(done):
    wrong = len(done.inputs["split"].tensors["wrong"])
    artifact = done.correct("bim", select="final", steps=3)
    assert (artifact.meta["forward"], artifact.meta["backward"]) == (3 * wrong, 3 * wrong)


def test_an_attack_that_corrects_nothing_is_a_row_of_its_own(done):
    artifact = done.correct("idle")
    assert artifact.meta["corrected"] == 0
    assert artifact.meta["median_norm"] is None
    assert artifact.meta["flags"] == ["corrects nothing"]
    assert artifact.meta["survived"] == {"uint8": 0, "float16": 0, "flip": 0}


def test_a_baseline_without_mistakes_leaves_nothing_to_correct(done):
    rows = split_rows(120, 24, seed=1).train
    perfect = {**done.inputs, "split": Artifact({"right": rows, "wrong": rows[:0]})}
    job = CorrectJob(done.at.subject, done.at.corrector(), 7)
    artifact = correct.run(job, perfect, done.at.context())
    assert artifact.tensors["images"].shape == (0, 1, 6, 6)
    assert artifact.meta["flags"] == ["the baseline gets every training sample right: there is nothing to correct"]


class CutError(Exception):
    """The run was cut off."""


def cut_after(batches):
    def progress(number, _total):
        if number > batches:
            raise CutError

    return progress


@pytest.mark.parametrize(("name", "options"), [("bim", {}), ("noise", {}), ("salt-and-pepper", {"steps": 40})])
def test_a_correction_that_was_cut_off_goes_on_and_ends_the_same(tmp_path, done, name, options):
    expected = done.correct(name, **options)
    at = replace_store(done.at, tmp_path)
    with pytest.raises(CutError):
        done.correct(name, **options, context=at.context(progress=cut_after(2), every_seconds=0))
    again = []
    resumed = done.correct(name, **options, context=at.context(progress=lambda number, _total: again.append(number)))
    assert again[0] == 3
    assert states_equal(resumed.tensors, expected.tensors)
    assert resumed.meta == expected.meta


@pytest.mark.parametrize("damage", [b"", b"\0"], ids=["missing", "flipped"])
def test_a_correction_whose_images_were_damaged_meanwhile_starts_anew(tmp_path, done, damage):
    expected = done.correct("bim")
    at = replace_store(done.at, tmp_path)
    with pytest.raises(CutError):
        done.correct("bim", context=at.context(progress=cut_after(2), every_seconds=0))
    (path,) = at.context().partial.folder.glob("images.*.safetensors")
    path.write_bytes(damage and path.read_bytes().replace(path.read_bytes()[300:304], b"\1\2\3\4"))
    again = []
    anew = done.correct("bim", context=at.context(progress=lambda number, _total: again.append(number)))
    assert again[0] == 1
    assert states_equal(anew.tensors, expected.tensors)


def test_checkpoints_do_not_hold_what_was_checkpointed_before(tmp_path, done):
    at = replace_store(done.at, tmp_path)
    sizes = []
    context = at.context(every_seconds=0)

    def progress(number, total):
        sizes.extend(path.stat().st_size for path in context.partial.folder.glob("*.checkpoint"))

    context.progress = progress
    images = done.correct("bim", context=context).tensors["images"]
    assert len(sizes) > 3
    assert max(sizes) < min(images.nbytes, 1000)


@pytest.mark.parametrize("batch", [2, 5, 1000])
def test_what_is_looked_at_in_batches_is_what_is_looked_at_whole(monkeypatch, done, batch):
    corrected = done.correct("ddn")
    sham = done.sham(corrected, "l2")
    monkeypatch.setattr(prediction, "CPU_BATCH_SIZE", batch)
    for one, other in ((done.correct("ddn"), corrected), (done.sham(corrected, "l2"), sham)):
        assert states_equal(one.tensors, other.tensors)
        assert one.meta == other.meta


def test_a_sham_is_as_when_all_samples_are_moved_at_once(done):
    perturbed = done.correct()
    rows = perturbed.tensors["rows"]
    originals, _ = pixels_and_labels(done, rows)
    streams = PerSampleStreams.of(rows, seed=derive_seed("sham", done.at.subject.seed), device=torch.device("cpu"))
    norms = per_sample_norm(perturbed.tensors["images"] - originals, "l2")
    expected = randomly_moved(originals, norms, norm="l2", directions=streams.normal((1, 6, 6)))
    assert torch.equal(done.sham(perturbed, "l2").tensors["images"], expected)


def test_no_stage_gathers_more_than_a_batch(tmp_path, monkeypatch):
    gathered, gather = [], ImageSet.gather

    def gather_and_tell(self, rows):
        gathered.append(len(rows))
        return gather(self, rows)

    monkeypatch.setattr(ImageSet, "gather", gather_and_tell)
    monkeypatch.setattr(prediction, "CPU_BATCH_SIZE", 8)
    run = Run(Surroundings(tmp_path, manager=manager()))
    perturbed = run.correct()
    weights = run.adapt(perturbed=run.sham(perturbed), source="sham", keep="all")
    run.evaluate(weights, perturbed=perturbed)
    assert sum(gathered) > 500
    assert max(gathered) == 16  # the baseline's batch


def replace_store(at, root):
    other = Surroundings(root, data=at.data, manager=at.manager)
    other.subject = at.subject
    return other


# -- adapt ----------------------------------------------------------------------------------------------------------------


def test_adaptation_keeps_the_checkpoint_that_is_best_on_validation(done):
    artifact = done.adapt(perturbed=done.correct())
    history = artifact.meta["history"]
    assert [entry["step"] for entry in history] == [4, 8, 12]
    assert artifact.meta["steps"] == 12
    assert set(history[0]["losses"]) == {"cross-entropy", "coral"}
    assert set(history[0]["diagnostics"]) == {"coral", "coral-noise-floor"}
    best = history[int(np.argmax([entry["valid"] for entry in history]))]
    assert artifact.meta["best_step"] == best["step"]
    network = done.at.context().network(state_of(artifact))
    assert predict(network, done.at.context().valid).accuracy == best["valid"]


def test_every_arm_takes_the_same_steps_however_large_its_source(done):
    arms = [done.adapt(), done.adapt(perturbed=done.correct()), done.adapt("finetune", source="target")]
    by_epochs = [done.adapt(steps=None, epochs=1), done.adapt("finetune", source="target", steps=None, epochs=1)]
    assert [arm.meta["steps"] for arm in arms] == [12] * 3
    # Epochs are passes over T: 96 samples in batches of 8.
    assert [arm.meta["steps"] for arm in by_epochs] == [12] * 2


def test_an_adaptation_that_was_cut_off_goes_on_and_ends_the_same(tmp_path, done):
    expected = done.adapt("finetune", source="target")
    at = replace_store(done.at, tmp_path)
    with pytest.raises(CutError):
        done.adapt("finetune", source="target", context=at.context(progress=cut_after(4), every_seconds=0))
    resumed = done.adapt("finetune", source="target", context=at.context())
    assert states_equal(resumed.tensors, expected.tensors)
    assert resumed.meta == expected.meta


def test_a_stage_draws_nothing_from_the_global_generators(done):
    before = torch.get_rng_state()
    done.adapt(perturbed=done.correct("noise"))
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("policy", ["separate", "joint", "frozen", "target-only"])
def test_an_adapter_is_shown_of_the_target_what_it_declares(done, policy):
    done.adapt("nosy", batch_norm=policy)
    done.adapt("oracle", batch_norm=policy)


@pytest.mark.parametrize(
    ("adapter", "message"),
    [
        (
            "nothing",
            (
                'adapter "nothing": losses() returned None; expected a dict of named losses, each a scalar tensor: average over '
                "the batch"
            ),
        ),
        (
            "vector",
            (
                'adapter "vector": losses() returned a tensor (8,) of torch.float32 as the loss "vector"; expected a dict of '
                "named losses, each a scalar tensor: average over the batch"
            ),
        ),
        (
            "detached",
            (
                'adapter "detached": none of its losses (first, second) depends on the network; compute them from the '
                "batches' logits or features, undetached"
            ),
        ),
        (
            "broken",
            (
                'adapter "broken": adapt() left weights that are not finite; expected finite ones: leave the network as it was '
                "where it cannot adapt"
            ),
        ),
    ],
)
def test_an_adapter_that_breaks_the_contract_is_told(done, adapter, message):
    with pytest.raises(ContractError) as caught:
        done.adapt(adapter)
    assert str(caught.value) == message


def test_a_source_without_a_sample_is_told(done):
    empty = {**done.inputs["split"].tensors, "right": torch.empty(0, dtype=torch.int64)}
    run = object.__new__(Run)
    run.at, run.inputs = done.at, {**done.inputs, "split": Artifact(empty)}
    with pytest.raises(DataError) as caught:
        run.adapt()
    assert str(caught.value) == "the source T' is empty: the baseline gets no training sample right; train it longer"


# -- evaluate -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("keep", ["corrected", "all"])
def test_the_accuracies_are_those_of_classifying_each_set_from_the_start(done, keep):
    perturbed = done.correct()
    weights = done.adapt(perturbed=perturbed, keep=keep)
    meta = done.evaluate(weights, perturbed=perturbed, keep=keep).meta
    network = done.at.context().network(state_of(weights)).eval()
    images, labels = merged_by_hand(done, perturbed, keep)
    with torch.no_grad():
        logits = network(images)
        losses = -logits.double().log_softmax(1)[torch.arange(len(labels)), labels]
    assert meta["accuracy"]["source"] == pytest.approx(float((logits.argmax(1) == labels).double().mean()))
    assert meta["loss"]["source"] == pytest.approx(float(losses.mean()), rel=1e-5)
    assert meta["source_size"] == len(labels)
    for name, images_set in (("train", done.at.context().train), ("valid", done.at.context().valid)):
        assert meta["accuracy"][name] == predict(network, images_set).accuracy
    assert meta["loss"]["target"] == predict(network, done.at.context().train).mean_loss


def merged_by_hand(done, perturbed, keep):
    right_images, right_labels = pixels_and_labels(done, done.inputs["split"].tensors["right"])
    kept = perturbed.tensors["corrected"] if keep == "corrected" else torch.ones_like(perturbed.tensors["corrected"])
    labels = done.at.data.train_labels[perturbed.tensors["rows"][kept]]
    return torch.cat([right_images, perturbed.tensors["images"][kept]]), torch.cat([right_labels, labels])


def test_the_record_has_each_test_prediction(done):
    meta = done.evaluate(done.inputs["baseline"], source="target").meta
    data = done.at.data
    with torch.no_grad():
        predicted = done.network(to_pixels(data.test_images, 6)).argmax(1)
    assert meta["test"] == {"labels": data.test_labels.tolist(), "predictions": predicted.tolist()}
    assert meta["accuracy"]["test"] == float((predicted == data.test_labels).double().mean())
    assert meta["accuracy"]["source"] is None
    assert meta["loss"]["source"] is None


def test_the_baseline_has_100_percent_on_what_it_was_corrected_to(done):
    perturbed = done.correct()
    assert done.evaluate(done.inputs["baseline"], perturbed=perturbed).meta["accuracy"]["source"] == 1.0


def test_the_test_split_is_read_by_the_evaluation_alone(tmp_path):
    data = toy_data()
    run = Run(Surroundings(tmp_path, data=replace(data, test_images=None), manager=manager()))
    weights = run.adapt(perturbed=run.correct())
    with pytest.raises(AttributeError):
        run.evaluate(weights)


# -- the store between stages ---------------------------------------------------------------------------------------------


def stages(at):
    first = Stage("1" * 64, BaselineJob(at.subject, baseline_training()), ())
    second = Stage("2" * 64, SplitJob(at.subject), (("baseline", first),))
    job = CorrectJob(at.subject, at.corrector(), 7)
    return first, second, Stage("3" * 64, job, (("baseline", first), ("split", second)))


def flip_a_byte(path):
    damaged = bytearray(path.read_bytes())
    damaged[-1] ^= 1
    path.write_bytes(damaged)


def test_stages_are_served_from_the_store_and_damaged_ones_are_run_again(tmp_path):
    at = Surroundings(tmp_path, manager=manager())
    for stage in stages(at):
        execute(stage, at.workshop, no_progress)
    folder = at.store.folder("correct", "3" * 64)
    written = (folder / TENSORS).read_bytes()
    assert "seconds" in at.store.load("correct", "3" * 64).times
    stamp = (folder / TENSORS).stat().st_mtime_ns
    execute(stages(at)[2], at.workshop, no_progress)
    assert (folder / TENSORS).stat().st_mtime_ns == stamp
    flip_a_byte(folder / TENSORS)
    execute(stages(at)[2], at.workshop, no_progress)
    assert (folder / TENSORS).read_bytes() == written
    assert not list((at.store.root / "partial").glob("*"))


def test_a_stage_whose_input_was_lost_says_what_to_do(tmp_path):
    at = Surroundings(tmp_path, manager=manager())
    first, second, _ = stages(at)
    execute(first, at.workshop, no_progress)
    flip_a_byte(at.store.folder("baseline", first.key) / TENSORS)
    with pytest.raises(StoreError) as caught:
        execute(second, at.workshop, no_progress)
    assert str(caught.value) == (
        f"{at.store.folder('baseline', first.key)}: was damaged or removed while the run went on; start it again, the "
        "rest is kept"
    )


def test_stored_weights_of_another_network_say_so(done):
    state = {**state_of(done.inputs["baseline"]), "extra": torch.zeros(1)}
    with pytest.raises(StoreError) as caught:
        done.at.context().network(state)
    assert str(caught.value).startswith(
        'model "toy-net": the stored weights do not fit what it builds now; has its code changed without its version? '
        "Remove the store to start anew (Error(s) in loading state_dict for Sequential"
    )


class Reshaping(torch.nn.Module):
    """A network as many are written, which cannot reshape an empty batch."""

    def forward(self, images):
        return images.view(len(images), -1)[:, :4]


def test_an_empty_set_is_judged_by_a_network_that_takes_no_empty_batch():
    network = pixel_classifier(Reshaping(), classes=4, channels=1)
    assert labelled_true(network, torch.empty(0, 1, 6, 6), torch.empty(0)).tolist() == []


@pytest.mark.parametrize("keep", ["corrected", "all"])
def test_records_hold_the_baselines_losses_before_adaptation(tmp_path, keep):
    corrector = {"preset": "vbi-iter1", "keep": keep, "name": "kept"}
    spec = write_spec(tmp_path, correctors=["none", corrector], controls=["none", "sham", "target-to-target"])
    _, state = run_spec(spec, tmp_path / "results")
    assert state.failures == []
    rows = {
        record.cell.control or "method": record for record in read_records(tmp_path / "results" / "tiny" / "records")
    }
    whole = rows["none"].loss.target  # nothing was adapted there
    for name in ("method", "sham", "curriculum"):
        assert rows[name].correction.loss_target == pytest.approx(whole)
    assert rows["target-to-target"].correction is None
    easy, corrected, sham = (rows[name].correction for name in ("curriculum", "method", "sham"))
    assert easy.loss_source < corrected.loss_source < whole
    right, kept = rows["none"].counts["right"], corrected.kept
    # What the kept samples lose is what their share of T' lost beside T_c.
    each = (corrected.loss_source * (right + kept) - easy.loss_source * right) / kept
    assert easy.loss_source < each
    if keep == "corrected":
        assert each < math.log(10), "labelled true: no class is above the true one"
    assert sham.loss_source > corrected.loss_source


def test_the_losses_of_a_correction_are_those_of_a_plain_pass_over_the_source(tmp_path):
    surroundings = Surroundings(tmp_path / "store")
    run = Run(surroundings)
    artifact = run.correct("bim", eps=0.3)
    network, data = run.network, surroundings.data
    images, labels = artifact.tensors["images"], data.train_labels[artifact.tensors["rows"]]
    with torch.no_grad():
        losses = cross_entropy(network.eval()(images), labels, reduction="none").double()
    done = artifact.tensors["corrected"]
    assert artifact.meta["losses"]["all"] == pytest.approx(float(losses.sum()))
    assert artifact.meta["losses"]["corrected"] == pytest.approx(float(losses[done].sum()))
    assert 0 < int(done.sum()) < len(done)
