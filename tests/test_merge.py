"""The source domains: sizes, members, and T' checked again whenever it is read."""

from __future__ import annotations

import pytest
import torch
from toys import Run, Surroundings

from harness.engine.images import to_pixels
from harness.engine.prediction import labelled_true
from harness.errors import StoreError
from harness.stages.merge import check_still_corrected, source_images
from harness.store import Artifact


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    return Run(Surroundings(tmp_path_factory.mktemp("store")))


@pytest.fixture(scope="module")
def perturbed(done):
    artifact = done.correct("bim", eps=0.05, alpha=0.02)
    assert 0 < artifact.meta["corrected"] < artifact.meta["wrong"]
    return artifact


def source(done, kind="corrected", *, keep="corrected", perturbed=None):
    return source_images(kind, keep, done.with_perturbed(perturbed), done.at.context())


def rows_of(done, which):
    return done.inputs["split"].tensors[which].tolist()


def test_the_corrected_source_is_what_was_right_and_what_was_corrected(done, perturbed):
    corrected = perturbed.tensors["rows"][perturbed.tensors["corrected"]].tolist()
    assert source(done, perturbed=perturbed).rows.tolist() == sorted([*rows_of(done, "right"), *corrected])


def test_keeping_all_perturbed_samples_makes_the_source_as_large_as_t(done, perturbed):
    everything = source(done, keep="all", perturbed=perturbed)
    assert everything.rows.tolist() == done.at.context().train.rows.tolist()


def test_corrected_samples_are_shown_as_stored_and_the_others_as_they_are(done, perturbed):
    merged = source(done, perturbed=perturbed)
    images, labels = merged.gather(merged.rows)
    shown = dict(zip(merged.rows.tolist(), images, strict=True))
    for row, image, corrected in zip(
        perturbed.tensors["rows"].tolist(), perturbed.tensors["images"], perturbed.tensors["corrected"], strict=True
    ):
        assert (row in shown) is bool(corrected)
        assert not corrected or torch.equal(shown[row], image)
    originals = to_pixels(done.at.data.train_images, 6)
    assert all(torch.equal(shown[row], originals[row]) for row in rows_of(done, "right"))
    assert torch.equal(labels, done.at.data.train_labels[merged.rows])


@pytest.mark.parametrize("keep", ["corrected", "all"])
def test_corrected_images_are_not_copied(done, perturbed, keep):
    merged = source(done, keep=keep, perturbed=perturbed)
    assert merged.replacements.data_ptr() == perturbed.tensors["images"].data_ptr()


def test_without_an_attack_the_source_is_what_was_right(done):
    assert source(done).rows.tolist() == rows_of(done, "right")


def test_the_target_as_its_own_source_is_t(done, perturbed):
    whole = source(done, "target", perturbed=perturbed)
    assert whole.rows.tolist() == done.at.context().train.rows.tolist()
    assert whole.replacements is None


def test_the_random_subset_is_as_large_as_what_was_right_and_drawn_by_the_seed(done, tmp_path):
    drawn = source(done, "random-subset").rows
    train = set(done.at.context().train.rows.tolist())
    assert len(set(drawn.tolist())) == len(drawn) == len(rows_of(done, "right"))
    assert set(drawn.tolist()) <= train
    assert drawn.tolist() != rows_of(done, "right")
    assert torch.equal(source(done, "random-subset").rows, drawn)
    other = Surroundings(tmp_path, data=done.at.data, manager=done.at.manager, seed=1)
    other.subject = other.subject_with(seed=2)
    again = source_images("random-subset", "corrected", done.inputs, other.context()).rows
    assert set(again.tolist()) != set(drawn.tolist())


def test_the_classifier_has_100_percent_on_the_corrected_source(done, perturbed):
    merged = source(done, perturbed=perturbed)
    assert labelled_true(done.network, *merged.gather(merged.rows)).all()
    check_still_corrected(done.network, done.with_perturbed(perturbed), done.at.context())


def test_a_stored_image_that_is_no_longer_corrected_is_noticed_before_it_is_used(done, perturbed):
    tensors = {name: value.clone() for name, value in perturbed.tensors.items()}
    (first, *_) = tensors["corrected"].nonzero().flatten().tolist()
    tensors["images"][first] = to_pixels(done.at.data.train_images, 6)[tensors["rows"][first]]
    with pytest.raises(StoreError) as caught:
        done.adapt(perturbed=Artifact(tensors))
    assert str(caught.value) == (
        f"1 of {perturbed.meta['corrected']} corrected images are no longer labelled true by the classifier that they "
        'were made for; remove the folder "correct" of the store and run again'
    )


def test_images_kept_without_being_corrected_need_not_be_labelled_true(done, perturbed):
    assert done.adapt(perturbed=perturbed, keep="all").meta["steps"] == 12
