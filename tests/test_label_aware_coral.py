"""Class-wise CORAL and joint training against hand derivations and numpy."""

import numpy as np
import pytest
import torch
from adapter_toys import batch, draw, toy_loop
from torch.nn.functional import cross_entropy

from harness.adapting import Outputs
from harness_adaptation.class_wise_coral import ClassWiseCoral, ClassWiseCoralOptions
from harness_adaptation.joint import Joint, JointOptions
from harness_adaptation.moments import coral_loss, noise_floor


def made(kind, options, **loop):
    adapter = kind(options)
    adapter.loop = toy_loop(**loop)
    return adapter


def class_wise(shrinkage=0.0, batch_size=8, **options):
    return made(ClassWiseCoral, ClassWiseCoralOptions(**options), shrinkage=shrinkage, batch_size=batch_size)


def joint(shrinkage=0.0, batch_size=8, **options):
    return made(Joint, JointOptions(**options), shrinkage=shrinkage, batch_size=batch_size)


def numpys(source, target):
    gap = np.cov(source, rowvar=False) - np.cov(target, rowvar=False)
    return (gap**2).sum() / (4 * source.shape[1] ** 2)


SOURCE_LABELS = torch.tensor([0, 0, 1, 2, 2, 2, 3, 3])
TARGET_LABELS = torch.tensor([2, 0, 2, 0, 0, 1, 1, 3])
# Class 0 twice and three times, class 2 three times and twice; class 1 has one source sample, class 3 one target sample.
COMPARED = (0, 2)


def labelled(on="logits"):
    widths = {"logits": 4, "features": 6}
    parts = [{name: draw(8, width, seed=seed + width) for name, width in widths.items()} for seed in (0, 50)]
    source, target = (
        batch(part["logits"], part["features"], labels)
        for part, labels in zip(parts, (SOURCE_LABELS, TARGET_LABELS), strict=True)
    )
    expected = [numpys(_rows(source, label, on), _rows(target, label, on)) for label in COMPARED]
    return source, target, expected


def _rows(one, label, on):
    return getattr(one, on)[one.labels == label].numpy()


@pytest.mark.parametrize("on", ["logits", "features"])
def test_each_class_that_both_batches_have_twice_is_compared_with_itself(on):
    source, target, expected = labelled(on)
    losses = class_wise(weight=0.5, on=on).losses(source, target)
    assert list(losses) == ["cross-entropy", "class-wise-coral"]
    assert torch.equal(losses["cross-entropy"], cross_entropy(source.logits, SOURCE_LABELS))
    assert losses["class-wise-coral"].item() == pytest.approx(0.5 * sum(expected) / 2, rel=1e-12)
    assert class_wise(on=on).diagnostics(source, target) == pytest.approx(
        {"classes-compared": 2, "class-wise-coral": sum(expected) / 2}
    )


def test_classes_apart_in_the_same_way_cost_nothing_however_far_they_are():
    logits = draw(6, 3)
    labels = torch.tensor([0, 0, 0, 1, 1, 1])
    # Each class is shifted by itself: the covariance of all samples changes, that within a class does not.
    shifted = logits + 10 * labels[:, None]
    losses = class_wise(weight=1).losses(batch(logits, labels=labels), batch(shifted, labels=labels))
    assert losses["class-wise-coral"].item() == pytest.approx(0, abs=1e-12)
    assert coral_loss(logits, shifted) > 1


def test_without_a_class_to_compare_the_loss_is_zero_and_the_rest_still_learns():
    logits = draw(2, 3).requires_grad_()
    source, target = batch(logits, labels=torch.tensor([0, 1])), batch(draw(2, 3, seed=1), labels=torch.tensor([1, 0]))
    adapter = class_wise()
    losses = adapter.losses(source, target)
    assert losses["class-wise-coral"].item() == 0
    sum(losses.values()).backward()
    assert logits.grad.abs().sum() > 0
    assert adapter.diagnostics(source, target) == {"classes-compared": 0}


def test_the_classes_floor_is_the_mean_over_classes_and_domains():
    logits, others, labels = draw(8, 2), draw(8, 2, seed=1), torch.tensor([0, 0, 0, 0, 1, 1, 1, 1])
    figures = class_wise(shrinkage=0.2).diagnostics(batch(logits, labels=labels), batch(others, labels=labels))
    floors = [noise_floor(part, 0.2).item() for one in (logits, others) for part in (one[:4], one[4:])]
    assert figures["class-wise-coral-noise-floor"] == pytest.approx(sum(floors) / 4)
    losses = [coral_loss(logits[rows], others[rows], 0.2).item() for rows in (slice(4), slice(4, 8))]
    assert figures["class-wise-coral"] == pytest.approx(sum(losses) / 2)


def test_the_target_labels_of_both_and_the_balanced_batches_are_declared():
    assert ClassWiseCoral.capabilities.target_labels
    assert ClassWiseCoral.capabilities.sampling == "class-balanced"
    assert Joint.capabilities.target_labels
    assert Joint.capabilities.sampling == "shuffled"


def test_few_samples_a_class_are_remarked_upon():
    (remark,) = class_wise(batch_size=16).remarks(512, 10)
    assert "a batch of 16 samples is shared by several of 10 classes" in remark
    assert not list(class_wise(batch_size=128).remarks(512, 10))
    assert list(class_wise(batch_size=128, on="features").remarks(512, 10))
    assert not list(class_wise(batch_size=16, shrinkage=0.5).remarks(512, 10))


def test_joint_training_adds_both_cross_entropies_and_coral():
    source, target, _ = labelled()
    losses = joint(mu=0.5, weight="1/25").losses(source, target)
    assert list(losses) == ["cross-entropy", "target-cross-entropy", "coral"]
    for name, one, weight in (("cross-entropy", source, 1), ("target-cross-entropy", target, 0.5)):
        taken = one.logits.log_softmax(1)[torch.arange(8), one.labels]
        assert losses[name].item() == pytest.approx(-weight * taken.mean().item())
    assert losses["coral"].item() == pytest.approx(numpys(source.logits.numpy(), target.logits.numpy()) / 25)


def test_joint_training_takes_the_remembered_outputs_and_the_shrinkage_as_deep_coral_does():
    source, target, _ = labelled()
    past = Outputs(draw(5, 6, seed=7), draw(5, 4, seed=8))
    target = batch(target.logits, target.features, target.labels, past=past)
    theirs = torch.cat([target.features, past.features])
    adapter = joint(shrinkage=0.25, on="features", weight=1)
    expected = coral_loss(source.features, theirs, 0.25).item()
    assert adapter.losses(source, target)["coral"].item() == pytest.approx(expected)
    floors = noise_floor(source.features, 0.25) + noise_floor(theirs, 0.25)
    assert adapter.diagnostics(source, target) == pytest.approx(
        {"coral": expected, "coral-noise-floor": floors.item() / 2}
    )


def test_joint_training_remarks_upon_singular_covariances():
    assert list(joint(batch_size=16).remarks(512, 100))
    assert not list(joint(batch_size=16).remarks(512, 10))


def test_the_defaults_are_the_papers():
    assert JointOptions().model_dump() == {"mu": 1, "weight": 1 / 750, "on": "logits"}
    assert ClassWiseCoralOptions().model_dump() == {"weight": 1 / 750, "on": "logits"}
