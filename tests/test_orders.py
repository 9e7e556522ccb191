"""The orders of batches that adapters may ask for: balanced by class, or paired."""

from __future__ import annotations

from collections import Counter

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.engine.orders import ClassBalancedOrder, PairedOrder, shared_classes

LABELS = torch.tensor([0] * 30 + [1] * 5 + [2] * 2 + [3] * 20)
ROWS = torch.arange(100, 157)


def balanced(*, batch_size=16, classes=(0, 1, 2, 3), key="source", rows=ROWS, labels=LABELS):
    wanted = torch.tensor(classes)
    return ClassBalancedOrder(rows, labels, wanted, batch_size=batch_size, key=(key, 1), schedule=("classes", 1))


def labels_of(rows):
    return LABELS[rows - 100].tolist()


def test_a_balanced_batch_has_as_many_samples_of_each_of_its_classes():
    for step in range(5):
        assert Counter(labels_of(balanced().batch(step))) == {0: 4, 1: 4, 2: 4, 3: 4}


def test_a_small_balanced_batch_has_fewer_classes_and_enough_samples_of_each_and_no_class_is_left_out():
    order = balanced(batch_size=9)
    seen = [Counter(labels_of(order.batch(step))) for step in range(100)]
    assert all(sorted(counts.values()) == [4, 5] for counts in seen)
    met = Counter(label for counts in seen for label in counts)
    # Two of four classes at random: each in half of the steps, give or take four standard deviations.
    assert all(abs(count - 50) <= 4 * 5 for count in met.values())
    assert len(met) == 4


def test_two_domains_have_the_same_classes_in_a_step_and_other_samples():
    source, target = balanced(batch_size=8), balanced(batch_size=8, key="target")
    for step in range(6):
        first, second = source.batch(step), target.batch(step)
        assert labels_of(first) == labels_of(second)
    assert not torch.equal(source.batch(0), target.batch(0))


def test_no_sample_stands_twice_in_a_batch_unless_its_class_has_too_few():
    rows = balanced().batch(0).tolist()
    repeated = {row for row, count in Counter(rows).items() if count > 1}
    assert {labels_of(torch.tensor([row]))[0] for row in repeated} <= {2}
    assert sum(labels_of(torch.tensor([row])) == [2] for row in set(rows)) == 2


@settings(deadline=None, max_examples=40)
@given(batch_size=st.integers(2, 40), step=st.integers(0, 50))
def test_a_balanced_batch_is_full_and_a_function_of_its_step(batch_size, step):
    order = balanced(batch_size=batch_size)
    order.batch(3)
    rows = order.batch(step)
    assert len(rows) == batch_size
    assert torch.equal(rows, balanced(batch_size=batch_size).batch(step))


@pytest.mark.parametrize(("batch_size", "wrong"), [(8, 4), (9, 4), (2, 1)])
def test_half_of_a_paired_batch_is_wrong_samples(batch_size, wrong):
    order = PairedOrder(torch.arange(3), torch.arange(10, 40), batch_size=batch_size, key=("paired", 1))
    for step in range(8):
        rows = order.batch(step)
        assert len(rows) == batch_size
        assert int((rows < 10).sum()) == wrong


def test_every_wrong_sample_is_met_equally_often():
    order = PairedOrder(torch.arange(6), torch.arange(10, 40), batch_size=8, key=("paired", 1))
    counts = Counter(row for step in range(9) for row in order.batch(step).tolist() if row < 10)
    assert counts == dict.fromkeys(range(6), 6)


@pytest.mark.parametrize(("wrong", "right"), [(0, 5), (5, 0)])
def test_a_paired_batch_is_of_one_kind_where_there_is_no_other(wrong, right):
    order = PairedOrder(torch.arange(wrong), torch.arange(10, 10 + right), batch_size=4, key=("paired", 1))
    assert len(order.batch(2)) == 4


def test_classes_of_both_domains_alone_are_shared():
    assert shared_classes(torch.tensor([3, 1, 1, 7]), torch.tensor([7, 0, 3])).tolist() == [3, 7]
