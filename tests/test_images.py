"""Sets of images: scaling and resizing against Pillow, replacements, batches."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from harness.engine.images import ImageSet, even_batches, moved, stays_on, to_pixels

CPU = torch.device("cpu")


def stored(count=6, size=4, channels=2):
    return torch.randint(0, 256, (count, channels, size, size), generator=torch.Generator().manual_seed(0)).byte()


def image_set(rows=(4, 1, 3), size=4):
    images = stored()
    return ImageSet(images, torch.arange(len(images)) * 10, torch.tensor(rows), size, CPU)


def test_pixels_are_the_stored_bytes_over_255():
    images = stored()
    assert to_pixels(images, 4).tolist() == (images.numpy().astype(np.float32) / np.float32(255)).tolist()


@pytest.mark.parametrize("size", [5, 16, 31])
def test_resizing_is_pillows_bilinear_filter(size):
    images = stored(2, 16, 1)
    ours = to_pixels(images, size)[:, 0]
    for mine, original in zip(ours, images[:, 0], strict=True):
        peer = Image.fromarray(original.numpy().astype(np.float32), mode=None).resize(
            (size, size), Image.Resampling.BILINEAR
        )
        np.testing.assert_allclose(mine.numpy() * 255, np.asarray(peer), atol=0.01)


def test_resized_pixels_stay_in_bounds():
    resized = to_pixels(stored(4, 16, 3), 33)
    assert float(resized.min()) >= 0
    assert float(resized.max()) <= 1


def test_a_set_yields_its_rows_in_their_order():
    images, labels = next(image_set().batches(8))
    assert labels.tolist() == image_set().labels.tolist() == [40, 10, 30]
    assert torch.equal(images, to_pixels(stored()[[4, 1, 3]], 4))
    assert len(image_set()) == 3


def test_replaced_rows_are_shown_as_they_were_stored_and_the_others_stay():
    replacements = torch.rand(2, 2, 4, 4, generator=torch.Generator().manual_seed(1))
    replaced = image_set(rows=(0, 3, 4, 1)).with_replacements(torch.tensor([4, 3]), replacements)
    images, labels = replaced.gather(torch.tensor([1, 3, 4]))
    assert torch.equal(images, torch.stack([to_pixels(stored(), 4)[1], replacements[1], replacements[0]]))
    assert labels.tolist() == [10, 30, 40]
    assert torch.equal(replaced.subset(torch.tensor([3])).gather(torch.tensor([3]))[0][0], replacements[1])
    # What replaces them does not reach the stored images.
    assert torch.equal(image_set().gather(torch.tensor([4]))[0], to_pixels(stored()[[4]], 4))


def test_replacements_may_be_some_of_many_images_none_of_which_is_copied():
    many = torch.rand(5, 2, 4, 4, generator=torch.Generator().manual_seed(1))
    replaced = image_set().with_replacements(torch.tensor([4, 3]), many, places=torch.tensor([2, 0]))
    assert torch.equal(replaced.gather(torch.tensor([3, 4]))[0], many[[0, 2]])
    assert replaced.replacements.data_ptr() == many.data_ptr()


def test_changing_a_gathered_image_changes_nothing_stored():
    replacements = torch.rand(1, 2, 4, 4)
    replaced = image_set().with_replacements(torch.tensor([4]), replacements.clone())
    replaced.gather(torch.tensor([4, 1]))[0].zero_()
    assert torch.equal(replaced.gather(torch.tensor([4]))[0], replacements)
    assert torch.equal(replaced.gather(torch.tensor([1]))[0], to_pixels(stored()[[1]], 4))


@settings(deadline=None)
@given(count=st.integers(0, 400), batch_size=st.integers(1, 70))
def test_batches_are_as_few_and_as_even_as_can_be(count, batch_size):
    batches = even_batches(torch.arange(count), batch_size)
    sizes = [len(batch) for batch in batches]
    assert [row for batch in batches for row in batch.tolist()] == list(range(count))
    assert len(sizes) == (count + batch_size - 1) // batch_size
    if sizes:
        assert max(sizes) <= batch_size
        assert max(sizes) - min(sizes) <= 1
    if count > 1 and batch_size > 2:
        assert 1 not in sizes


# --- on a GPU ---------------------------------------------------------------------------------------------------------


def test_a_data_set_stays_on_a_gpu_where_it_takes_a_quarter_of_the_free_memory_at_most(monkeypatch):
    stored = torch.zeros(10, 3, 4, 4, dtype=torch.uint8)
    gpu = torch.device("cuda")
    for free, stays in ((4 * 480, True), (4 * 480 - 1, False)):
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _device, free=free: (free, 2**40))
        assert stays_on(gpu, stored) == stays
        assert not stays_on(CPU, stored)


def test_what_is_where_it_should_be_is_not_copied():
    tensor = torch.arange(3)
    assert moved(tensor, CPU) is tensor


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("resident", [False, True])
def test_a_gpu_sees_what_a_cpu_does(resident):
    gpu = torch.device("cuda")
    shown = image_set().with_replacements(torch.tensor([3]), torch.rand(1, 2, 4, 4))
    there = replace(shown, stored=shown.stored.to(gpu) if resident else shown.stored, device=gpu)
    for ours, theirs in zip(there.gather(shown.rows), shown.gather(shown.rows), strict=True):
        assert ours.device.type == "cuda"
        torch.testing.assert_close(ours.cpu(), theirs)
