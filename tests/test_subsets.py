"""Parts of data sets: how many, which, and that nothing else changes."""

from __future__ import annotations

import numpy as np
import pytest
from running import run_spec, write_spec

from harness.contract import ImageData
from harness.errors import DataError, SpecError
from harness.launch import Options, prepare
from harness.records import read_records
from harness.subsets import subset


def images_of(train=50, test=20):
    """Images whose pixels and labels tell their row."""
    rows = np.arange(train), np.arange(test)
    pictures = [np.broadcast_to(one.astype(np.uint8)[:, None, None, None], (len(one), 1, 2, 2)).copy() for one in rows]
    return ImageData(pictures[0], rows[0].astype(np.int64), pictures[1], rows[1].astype(np.int64), ("a", "b"))


def drawn(tmp_path, train, test, **sizes):
    return subset(images_of(**sizes), train_samples=train, test_samples=test, scratch=tmp_path, name="toy")


def test_a_subset_has_as_many_samples_as_asked_each_with_its_own_label_in_order(tmp_path):
    found = drawn(tmp_path, 10, 7)
    for pictures, labels, count in (
        (found.train_images, found.train_labels, 10),
        (found.test_images, found.test_labels, 7),
    ):
        assert pictures.shape == (count, 1, 2, 2)
        assert (np.diff(labels) > 0).all()
        assert (pictures[:, 0, 0, 0] == labels).all()


def test_a_subset_is_drawn_at_random_and_always_the_same(tmp_path):
    first, again = drawn(tmp_path, 10, None), drawn(tmp_path, 10, None)
    assert (first.train_labels == again.train_labels).all()
    assert first.train_labels.max() > 10, "not the first ten"
    assert len(first.test_labels) == 20


def test_a_large_subset_is_copied_in_pieces(tmp_path, monkeypatch):
    monkeypatch.setattr("harness.tensor_files.CHUNK_BYTES", 12)
    monkeypatch.setattr("harness.tensor_files.IN_MEMORY_BYTES", 0)
    found = drawn(tmp_path, 10, 3)
    assert isinstance(found.train_images, np.memmap)
    assert (found.train_images[:, 0, 1, 1] == found.train_labels).all()


def test_more_than_there_are_is_told(tmp_path):
    with pytest.raises(DataError, match=r'data set "toy": train_samples: asks for 60 of 50 images; ask for at most 50'):
        drawn(tmp_path, 60, None)


def test_an_experiment_on_a_part_says_so_in_its_records_and_never_shares_a_table(tmp_path):
    part = {"card": "digits", "train_samples": 300, "test_samples": 100}
    spec = write_spec(tmp_path, correctors=["none"], controls=["none"], dataset=part)
    _, state = run_spec(spec, tmp_path / "results")
    assert state.failures == []
    records = read_records(tmp_path / "results" / "tiny" / "records")
    assert {(one.counts["train"] + one.counts["valid"], one.counts["test"]) for one in records} == {(300, 100)}
    whole = prepare(str(write_spec(tmp_path / "whole", dataset="digits")), Options(results=tmp_path / "results"))
    assert whole.plan.cells[0].comparable.key != records[0].comparable.key
    known = prepare(str(spec), Options(results=tmp_path / "results"))
    assert {cell.key for cell in known.plan.cells} == {record.key for record in records}


def test_a_wrong_count_is_told_with_its_place(tmp_path):
    spec = write_spec(tmp_path, dataset={"card": "digits", "train_samples": 1})
    with pytest.raises(SpecError, match=r"tiny\.yaml:\d+:\d+: dataset\.train_samples: got 1"):
        prepare(str(spec), Options(results=tmp_path / "results"))
