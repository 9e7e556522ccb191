"""What an adapter is shown in a step, and what it may do with it: told by an adapter that keeps what it sees."""

from __future__ import annotations

from types import SimpleNamespace
from typing import ClassVar

import pytest
import torch
from torch.nn.functional import cross_entropy
from toys import Run, Surroundings, own_manager, states_equal

from harness.api import Adapter, AdapterCapabilities, ContractError, HarnessError, NoOptions, WeightAveraging, hookimpl
from harness.engine.prediction import predict
from harness.stages.merge import source_images

SEEN = SimpleNamespace()


class Spy(Adapter[NoOptions]):
    """Fine-tunes on the source, and keeps its batches and what the loop said."""

    def losses(self, source, target):
        SEEN.batches.append((source, target))
        SEEN.steps.append((self.loop.step, self.loop.progress))
        SEEN.loop = self.loop
        logits, labels = (source.logits, source.labels) if self.capabilities.source else (target.logits, SEEN.labels)
        return {"cross-entropy": cross_entropy(logits, labels)}


class Labelled(Spy):
    capabilities: ClassVar = AdapterCapabilities(target_labels=True)


class Paired(Spy):
    capabilities: ClassVar = AdapterCapabilities(target_labels=True, sampling="paired")


class Balanced(Spy):
    capabilities: ClassVar = AdapterCapabilities(target_labels=True, sampling="class-balanced")


class SourceFree(Spy):
    capabilities: ClassVar = AdapterCapabilities(source=False)


class Preparing(Spy):
    def prepare(self, images, labels):
        SEEN.modes.append([module.training for module in self.loop._classifier.modules()])
        return 1 - images


class Shapeless(Spy):
    def prepare(self, images, labels):
        return images[:1]


class Passing(Spy):
    """Passes images of its own through the network."""

    def losses(self, source, target):
        self.loop.network.outputs(torch.rand_like(target.images))
        self.loop.evaluation().outputs(target.images)
        return super().losses(source, target)


class Remarking(Spy):
    def remarks(self, num_features, num_classes):
        return [f"{num_features} features, {num_classes} classes"]


class Refusing(Spy):
    def remarks(self, num_features, num_classes):
        raise HarnessError("too few samples")


class HeadOnly(Spy):
    def trained(self, network):
        return list(self.loop.network.head.parameters())


class Averaged(Spy):
    def weight_averaging(self):
        return WeightAveraging(decay=None)


class Late(Spy):
    def weight_averaging(self):
        return WeightAveraging(decay=None, start=0.75)


class Validating(Spy):
    def losses(self, source, target):
        self.loop.validate()


class Looking(Spy):
    def adapt(self, network, source, target):
        assert (source, target) == (self.loop.source, self.loop.target)
        SEEN.accuracies = [self.loop.validate() for _ in range(SEEN.looks)]

    def remarks(self, num_features, num_classes):
        return ["looks"]


class Telling(Spy):
    def adapt(self, network, source, target):
        return {"moved": 3}

    def remarks(self, num_features, num_classes):
        return ["moves nothing"]


class SpyPlugins:
    @staticmethod
    @hookimpl
    def harness_adapters():
        spies = (
            Spy, Labelled, Paired, Balanced, SourceFree, Preparing, Shapeless, Passing, Remarking, Refusing, HeadOnly, Averaged,
            Late, Telling, Validating, Looking,
        )  # fmt: skip
        return {f"spy-{spy.__name__.lower()}": f"{__name__}:{spy.__name__}" for spy in spies}


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    manager = own_manager()
    manager.register(SpyPlugins, package="spies", distribution="spies", version="1")
    return Run(Surroundings(tmp_path_factory.mktemp("store"), manager=manager))


@pytest.fixture(scope="module")
def perturbed(done):
    return done.correct("bim", eps=0.05, alpha=0.02)


@pytest.fixture(autouse=True)
def seen():
    SEEN.__dict__.update(
        batches=[], steps=[], modes=[], loop=None, looks=0, accuracies=[], labels=torch.zeros(8, dtype=torch.int64)
    )


def adapt(done, name, **how):
    return done.adapt(f"spy-{name}", **how)


def test_a_step_tells_where_it_is_and_how_far_the_loop_has_come(done):
    adapt(done, "spy", steps=4)
    assert SEEN.steps == [(0, 0.0), (1, 0.25), (2, 0.5), (3, 0.75)]
    assert (SEEN.loop.steps, SEEN.loop.batch_size) == (4, 8)
    assert SEEN.loop.steps_per_epoch == -(-len(done.at.context().train) // 8)


def test_samples_are_places_in_their_domain(done, perturbed):
    adapt(done, "labelled", perturbed=perturbed)
    context = done.at.context()
    source = source_images("corrected", "corrected", done.with_perturbed(perturbed), context)
    for seen_source, seen_target in SEEN.batches:
        assert torch.equal(source.gather(source.rows[seen_source.samples])[0], seen_source.images)
        assert torch.equal(context.train.gather(context.train.rows[seen_target.samples])[0], seen_target.images)


def test_wrong_are_the_samples_that_the_baseline_gets_wrong_and_the_targets_are_a_secret(done, perturbed):
    adapt(done, "spy", perturbed=perturbed)
    wrong = set(done.inputs["split"].tensors["wrong"].tolist())
    source = source_images("corrected", "corrected", done.with_perturbed(perturbed), done.at.context())
    for batch, target in SEEN.batches:
        assert batch.wrong.tolist() == [int(row) in wrong for row in source.rows[batch.samples]]
        assert target.wrong is None
        assert target.labels is None
    assert (SEEN.loop.corrections, SEEN.loop.kept) == (None, None)


def test_the_targets_labels_are_a_secret_from_t_to_t_too(done):
    adapt(done, "spy", source="target")
    assert all(target.labels is None and target.wrong is None for _, target in SEEN.batches)
    assert all(source.labels is not None for source, _ in SEEN.batches)


def test_a_pair_is_a_sample_and_what_its_correction_made_of_it_augmented_alike(done, perturbed):
    adapt(done, "paired", perturbed=perturbed, augmentation="flip-crop")
    changed = 0
    for source, target in SEEN.batches:
        assert torch.equal(source.labels, target.labels)
        assert torch.equal(source.wrong, target.wrong)
        assert int(source.wrong.sum()) == 4
        same = (source.images == target.images).flatten(1).all(1)
        assert torch.equal(same, ~source.wrong)
        # The correction moves a pixel by eps at most, whatever the augmentation.
        assert (source.images - target.images).abs().max() <= 0.05 + 1e-6
        changed += int((~same).sum())
    assert changed == 4 * len(SEEN.batches)


def test_balanced_batches_have_the_same_labels_in_both_domains(done, perturbed):
    adapt(done, "balanced", perturbed=perturbed)
    for source, target in SEEN.batches:
        assert source.labels.tolist() == target.labels.tolist()


def test_corrections_are_the_pairs_and_what_is_kept_is_the_rest_of_the_source(done, perturbed):
    adapt(done, "labelled", perturbed=perturbed)
    ((originals, corrected, labels),) = SEEN.loop.corrections.batches(1000)
    rows = perturbed.tensors["rows"][perturbed.tensors["corrected"]]
    data = done.at.data
    assert len(SEEN.loop.corrections) == len(rows) == len(labels) > 0
    assert torch.equal(labels, data.train_labels[rows])
    assert torch.equal(originals, done.at.context().train.gather(rows)[0])
    assert torch.equal(corrected, perturbed.tensors["images"][perturbed.tensors["corrected"]])
    assert len(SEEN.loop.kept) == len(done.inputs["split"].tensors["right"])
    adapt(done, "labelled", source="target")
    assert len(SEEN.loop.corrections) == 0


def test_a_source_free_adapter_sees_no_source_and_neither_does_batch_norm(done):
    artifact = adapt(done, "sourcefree", steps=3, validations=1)
    for source, target in SEEN.batches:
        assert source.features.numel() == source.logits.numel() == 0
        assert len(target.logits) == 8
    counts = {name for name in artifact.tensors if name.endswith("num_batches_tracked")}
    before = done.inputs["baseline"].tensors
    assert all(int(artifact.tensors[name]) == int(before[name]) + 3 for name in counts)


def test_images_are_prepared_in_eval_mode_and_enter_the_network_as_prepared(done):
    adapt(done, "spy", steps=2)
    plain = [source.images for source, _ in SEEN.batches]
    SEEN.batches.clear()
    adapt(done, "preparing", steps=2)
    assert [
        torch.allclose(1 - image, source.images) for image, (source, _) in zip(plain, SEEN.batches, strict=True)
    ] == [True] * 2
    assert not any(any(modes) for modes in SEEN.modes)
    assert len(SEEN.modes) == 2


def test_prepared_images_of_another_shape_are_refused(done):
    with pytest.raises(
        ContractError, match=r"prepare\(\) returned a tensor \(1, 1, 6, 6\) of torch.float32; expected the images again"
    ):
        adapt(done, "shapeless")


def test_passes_of_an_adapters_own_move_no_running_statistics(done):
    assert states_equal(adapt(done, "passing", steps=3).tensors, adapt(done, "spy", steps=3).tensors)


@pytest.mark.parametrize("source", ["corrected", "target"])
@pytest.mark.parametrize("queue", [0, 1, 3])
def test_the_past_is_the_outputs_of_as_many_batches_as_the_queue_holds(done, queue, source):
    adapt(done, "spy", steps=6, queue=queue, source=source)
    for step, pair in enumerate(SEEN.batches):
        for domain in (0, 1):
            earlier = [batches[domain] for batches in SEEN.batches[max(step - queue, 0) : step]]
            past = pair[domain].past
            assert len(past.features) == len(past.logits) == 8 * len(earlier)
            assert not past.features.requires_grad
            if earlier:
                assert torch.equal(past.logits, torch.cat([batch.logits for batch in earlier]))
                assert torch.equal(past.features, torch.cat([batch.features for batch in earlier]))


def test_remarks_are_kept_and_a_refusal_is_the_cells(done):
    artifact = adapt(done, "remarking", steps=1)
    width = SEEN.batches[0][0].features.shape[1]
    assert artifact.meta["remarks"] == [f"{width} features, {SEEN.batches[0][0].logits.shape[1]} classes"]
    with pytest.raises(HarnessError, match="too few samples"):
        adapt(done, "refusing")


def test_what_an_adapter_without_gradients_tells_is_its_only_point(done):
    artifact = adapt(done, "telling")
    (point,) = artifact.meta["history"]
    assert (point["step"], point["losses"], point["diagnostics"]) == (0, {}, {"moved": 3.0})
    assert 0 <= point["valid"] <= 1
    assert artifact.meta["remarks"] == ["moves nothing"]


@pytest.mark.parametrize(
    ("looks", "said"),
    [
        (0, []),
        (1, ["looked at the validation samples once"]),
        (19, ["looked at the validation samples 19 times"]),
    ],
)
def test_how_often_an_adapter_without_gradients_looked_at_the_validation_samples_is_a_remark(done, looks, said):
    SEEN.looks = looks
    artifact = adapt(done, "looking")
    assert artifact.meta["remarks"] == ["looks", *said]
    assert SEEN.accuracies == [predict(done.network, done.at.context().valid).accuracy] * looks


def test_an_adapter_with_gradient_steps_cannot_look_at_the_validation_samples(done):
    with pytest.raises(ContractError, match=r"gradient steps; expected it from adapt\(\) alone"):
        adapt(done, "validating")


def test_only_the_head_is_trained_where_an_adapter_says_so(done):
    before = done.inputs["baseline"].tensors
    after = adapt(done, "headonly", steps=3, validations=1, batch_norm="frozen").tensors
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    (head,) = [name for name, module in done.network.named_modules() if isinstance(module, torch.nn.Linear)]
    assert changed == {f"{head}.weight", f"{head}.bias"}


def test_the_classifier_before_adaptation_stays_what_it_was(done):
    adapt(done, "spy", steps=3)
    images = done.at.context().train.gather(done.at.context().train.rows[:4])[0]
    with torch.no_grad():
        assert torch.equal(SEEN.loop.initial.outputs(images).logits, done.network(images))
    assert not torch.equal(SEEN.loop.evaluation().outputs(images).logits, done.network(images))


def test_averaged_weights_are_kept_where_they_are_best(done):
    plain = adapt(done, "spy", steps=4, validations=1).tensors
    averaged = adapt(done, "averaged", steps=4, validations=1).tensors
    assert not states_equal(plain, averaged)


def test_no_checkpoint_is_kept_before_there_is_an_average(done):
    artifact = adapt(done, "late", steps=8, validations=8, lr=0.5)
    assert artifact.meta["best_step"] > 6


def test_the_seconds_up_to_each_checkpoint_are_times_and_never_results(done):
    artifact = adapt(done, "spy", steps=6, validations=3)
    assert list(artifact.times) == ["step 2", "step 4", "step 6"]
    assert sorted(artifact.times.values()) == list(artifact.times.values())
    assert "seconds" not in artifact.meta
