"""The controls: each isolates what it says, and differs from the method in nothing else."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from toys import Run, Surroundings, adaptation_training, pixel_classifier, random_images, states_equal

from harness.api import NoOptions
from harness.engine.domains import DomainView
from harness.engine.images import ImageSet, to_pixels
from harness.stages.adapt import loop_of
from harness.stages.context import state_of
from harness.stages.jobs import AdaptJob
from harness.stages.merge import source_images
from harness.stages.two_domains import TwoDomainTask
from harness_adaptation.finetune import FineTune
from harness_adaptation.recalibrate_bn import RecalibrateBatchNorm, RecalibrateOptions

POLICIES = ["separate", "joint", "frozen", "target-only"]


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    return Run(Surroundings(tmp_path_factory.mktemp("store")))


@pytest.fixture(scope="module")
def perturbed(done):
    return done.correct("bim", eps=0.05, alpha=0.02)


# -- recalibrate-bn -------------------------------------------------------------------------------------------------------


class Images:
    """A domain of given images."""

    def __init__(self, images):
        self.images = images

    def __len__(self):
        return len(self.images)

    def batches(self, batch_size):
        return torch.split(self.images, batch_size)


def one_layer(momentum=0.1):
    # Dropout stays in eval mode, or the layer would see other images.
    net = nn.Sequential(nn.Dropout(0.5), nn.BatchNorm2d(3, momentum=momentum), nn.Flatten(), nn.Linear(108, 2))
    nn.init.normal_(net[1].running_mean)
    return pixel_classifier(net, classes=2, mean=0.5, std=0.25)


def recalibrated(network, target, batch_size):
    adapter = RecalibrateBatchNorm(RecalibrateOptions(batch_size=batch_size))
    adapter.adapt(network, Images(1 - target), Images(target))
    return network.net[1]


def channel_statistics(images):
    values = ((images.double().numpy() - 0.5) / 0.25).transpose(1, 0, 2, 3).reshape(3, -1)
    return values.mean(1), values.var(1, ddof=1)


def test_statistics_of_one_batch_are_numpys_mean_and_variance_of_the_target():
    target = random_images(20)
    layer = recalibrated(one_layer(), target, 500)
    mean, variance = channel_statistics(target)
    np.testing.assert_allclose(layer.running_mean.numpy(), mean, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(layer.running_var.numpy(), variance, rtol=1e-4)


def test_statistics_of_several_batches_are_averaged_with_equal_weight():
    target = random_images(20)
    layer = recalibrated(one_layer(), target, 5)
    parts = [channel_statistics(part) for part in torch.split(target, 5)]
    np.testing.assert_allclose(
        layer.running_mean.numpy(), np.mean([mean for mean, _ in parts], 0), rtol=1e-4, atol=1e-6
    )
    np.testing.assert_allclose(layer.running_var.numpy(), np.mean([variance for _, variance in parts], 0), rtol=1e-4)


def test_nothing_but_the_statistics_changes():
    network, target = one_layer(momentum=0.3), random_images(20)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    layer = recalibrated(network, target, 500)
    assert layer.momentum == 0.3
    statistics = {"net.1.running_mean", "net.1.running_var", "net.1.num_batches_tracked"}
    changed = {name for name, value in network.state_dict().items() if not torch.equal(value, before[name])}
    assert changed == statistics


def test_a_network_without_batch_norm_is_left_as_it_is():
    network = pixel_classifier(nn.Sequential(nn.Flatten(), nn.Linear(108, 2)), classes=2)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    RecalibrateBatchNorm(RecalibrateOptions()).adapt(network, Images(random_images(2)), Images(random_images(2)))
    assert states_equal(network.state_dict(), before)


def test_recalibration_reads_all_of_t_and_takes_no_steps(done):
    artifact = done.adapt("recalibrate-bn", source="target")
    assert artifact.meta == {
        "steps": 0,
        "best_step": 0,
        "history": [],
        "remarks": [],
        "uses": {"source": False, "target_labels": False},
    }
    first = next(name for name in artifact.tensors if name.endswith("running_mean"))
    network = done.network
    train = done.at.context().train
    seen = []
    network.net[0].register_forward_hook(lambda _module, _inputs, output: seen.append(output))
    with torch.no_grad():
        network(train.gather(train.rows)[0])
    np.testing.assert_allclose(artifact.tensors[first].numpy(), seen[0].mean((0, 2, 3)).numpy(), rtol=1e-3, atol=1e-5)


def test_recalibration_of_no_batch_of_one_sample():
    stored = torch.zeros(7, 1, 1, 1, dtype=torch.uint8)
    domain = DomainView(ImageSet(stored, torch.zeros(7), torch.arange(7), 1, torch.device("cpu")))
    smallest = RecalibrateOptions.model_fields["batch_size"].metadata[0].ge
    assert min(len(batch) for batch in domain.batches(smallest)) > 1


# -- arms that differ in one thing ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("augmentation", ["none", "flip-crop"])
@pytest.mark.parametrize("policy", POLICIES)
def test_fine_tuning_is_deep_coral_of_weight_zero_bit_for_bit(done, perturbed, policy, augmentation):
    how = {"perturbed": perturbed, "batch_norm": policy, "augmentation": augmentation, "steps": 8, "validations": 1}
    without = done.adapt("finetune", **how)
    weightless = done.adapt("deep-coral", options={"weight": 0.0}, **how)
    aligned = done.adapt("deep-coral", options={"weight": 1.0}, **how)
    assert without.meta["best_step"] == weightless.meta["best_step"] == 8
    assert states_equal(without.tensors, weightless.tensors)
    assert not states_equal(without.tensors, aligned.tensors)


@pytest.mark.parametrize("policy", ["separate", "joint"])
def test_the_running_statistics_of_fine_tuning_have_seen_the_target(done, policy):
    def adapted(policy):
        return done.adapt("finetune", batch_norm=policy, steps=1, validations=1).tensors

    counts = {name: int(value) for name, value in adapted(policy).items() if name.endswith("num_batches_tracked")}
    baseline = {name: int(done.inputs["baseline"].tensors[name]) for name in counts}
    passes = 2 if policy == "separate" else 1
    assert counts == {name: count + passes for name, count in baseline.items()}
    assert not states_equal(adapted(policy), adapted("target-only"))


def test_all_arms_start_from_the_baseline(done, perturbed):
    start = state_of(done.inputs["baseline"])
    for adapter, source in (("deep-coral", "corrected"), ("finetune", "target"), ("deep-coral", "random-subset")):
        still = done.adapt(adapter, perturbed=perturbed, source=source, lr=1e-30, batch_norm="frozen", weight_decay=0)
        assert states_equal(state_of(still), start)


def orders(done, source, perturbed):
    """Return the rows that an arm sees of its source and of the target over 40 steps."""
    job = AdaptJob(done.at.subject, done.at.adapter("finetune"), source, "corrected", adaptation_training())
    context = done.at.context()
    images = source_images(source, "corrected", done.with_perturbed(perturbed), context)
    adapter = FineTune(NoOptions())
    adapter.loop = loop = loop_of(job, adapter, done.network, images, inputs=done.inputs, context=context)
    task = TwoDomainTask(
        job, adapter, done.network, images, context, loop=loop, wrong=done.inputs["split"].tensors["wrong"]
    )
    return [
        torch.cat([order.batch(step) for step in range(40)]).tolist()
        for order in (task.source_order, task.target_order)
    ]


def test_arms_see_the_samples_they_share_in_one_order(done, perturbed):
    of_t, first_target = orders(done, "target", None)
    arms = [orders(done, "corrected", perturbed), orders(done, "corrected", None), orders(done, "random-subset", None)]
    for rows, target in arms:
        shared = set(rows)
        assert shared < set(of_t)
        expected = [row for row in of_t if row in shared]
        assert rows[: len(expected)] == expected[: len(rows)]
        assert target == first_target
    assert of_t != first_target


def test_deep_coral_from_t_to_t_aligns_without_a_gap(done):
    artifact = done.adapt("deep-coral", source="target", batch_norm="frozen", lr=1e-30, validations=12)
    figures = [entry["diagnostics"] for entry in artifact.meta["history"]]
    ratio = np.mean([one["coral"] for one in figures]) / np.mean([one["coral-noise-floor"] for one in figures])
    # Two batches of one distribution: what is left is the noise of sampling.
    assert 0.3 < ratio < 2.5


# -- sham -----------------------------------------------------------------------------------------------------------------


def perturbations(done, artifact):
    originals = to_pixels(done.at.data.train_images[artifact.tensors["rows"]], 6)
    return (artifact.tensors["images"] - originals).flatten(1).numpy().astype(np.float64)


@pytest.mark.parametrize(("norm", "order"), [("linf", np.inf), ("l2", 2)])
def test_every_sham_perturbation_is_as_large_as_the_correctors(done, norm, order):
    corrected = done.correct("bim" if norm == "linf" else "ddn")
    sham = done.sham(corrected, norm)
    ours, theirs = (np.linalg.norm(perturbations(done, one), order, axis=1) for one in (sham, corrected))
    np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-6)
    assert torch.equal(sham.tensors["rows"], corrected.tensors["rows"])
    assert torch.equal(sham.tensors["corrected"], corrected.tensors["corrected"])
    middle = np.sort(ours[sham.tensors["corrected"].numpy()])
    assert sham.meta["corrected"]["median_norm"] == pytest.approx(middle[(len(middle) - 1) // 2], rel=1e-4)


@pytest.mark.parametrize("name", ["bim", "ddn"])
def test_sham_perturbations_do_not_follow_the_corrections(done, name):
    corrected = done.correct(name)
    ours, theirs = perturbations(done, done.sham(corrected, "l2")), perturbations(done, corrected)
    norms = np.linalg.norm(ours, axis=1) * np.linalg.norm(theirs, axis=1)
    moved = norms > 0
    cosines = (ours * theirs).sum(1)[moved] / norms[moved]
    # In 36 dimensions: mean 0 with standard error 1 / √(36 n); the bounds add a little, for both keep to them.
    assert abs(cosines.mean()) < 0.25
    assert len(cosines) > 5


def test_sham_is_reproducible_and_moves_the_uncorrected_samples_too(done, perturbed):
    sham = done.sham(perturbed)
    assert torch.equal(done.sham(perturbed).tensors["images"], sham.tensors["images"])
    failed = ~perturbed.tensors["corrected"]
    assert failed.any()
    assert not torch.equal(sham.tensors["images"][failed], perturbed.tensors["images"][failed])
    source = source_images("sham", "all", done.with_perturbed(sham), done.at.context())
    assert torch.equal(source.gather(sham.tensors["rows"])[0], sham.tensors["images"])


def test_sham_is_kept_whatever_comes_of_it_and_that_is_counted(done, perturbed):
    sham = done.sham(perturbed)
    corrected, rows = sham.tensors["corrected"], sham.tensors["rows"]
    with torch.no_grad():
        predicted = done.network(sham.tensors["images"]).argmax(1)
    expected = int((predicted == done.at.data.train_labels[rows])[corrected].sum())
    assert sham.meta["corrected"]["labelled_true"] == expected < int(corrected.sum())
    source = source_images("sham", "corrected", done.with_perturbed(sham), done.at.context())
    assert len(source) == len(done.inputs["split"].tensors["right"]) + int(corrected.sum())
    done.adapt(perturbed=sham, source="sham")
