"""Random streams against numpy's Philox, and the global generators left as they were."""

import hashlib
import random
from contextlib import suppress

import numpy as np
import pytest
import torch

from harness.engine.randomness import PerSampleStreams, derive_seed, generator, isolated_generators, seed_torch

CPU = torch.device("cpu")


def global_states():
    return torch.get_rng_state().tolist(), np.random.get_state()[1].tolist(), random.getstate()  # noqa: NPY002 (the global one)


def draw_from_all():
    return torch.rand(3).tolist(), np.random.rand(3).tolist(), [random.random() for _ in range(3)]  # noqa: NPY002 (the global one)


def streams(samples, seed=7):
    return PerSampleStreams.of(torch.as_tensor(samples), seed=seed, device=CPU)


def test_a_seed_depends_on_every_part_its_type_and_its_place():
    variants = [("a", 1), ("a", 2), ("b", 1), ("a", "1"), (1, "a"), ("a", 1, None), (["a", 1],), ("a1",)]
    seeds = {derive_seed(*parts) for parts in variants}
    assert len(seeds) == len(variants)
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_a_seed_is_half_the_first_eight_bytes_of_a_sha256():
    expected = int(hashlib.sha256(b'["split",1]').hexdigest()[:16], 16) // 2
    assert derive_seed("split", 1) == expected


@pytest.mark.parametrize("gpus", [0, 2])
def test_torch_is_seeded_as_manual_seed_does_it_gpus_included(gpus, monkeypatch):
    seeded = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpus > 0)
    monkeypatch.setattr(torch.cuda, "manual_seed_all", seeded.append)
    with torch.random.fork_rng(devices=[]):
        seed_torch(2**63 - 5)
        ours = torch.rand(3), torch.randn(3)
        assert seeded == ([2**63 - 5] if gpus else [])
        torch.manual_seed(2**63 - 5)
        theirs = torch.rand(3), torch.randn(3)
    assert all(map(torch.equal, ours, theirs))


def test_generators_of_one_purpose_draw_the_same():
    assert torch.equal(torch.rand(5, generator=generator("a", 1)), torch.rand(5, generator=generator("a", 1)))
    assert not torch.equal(torch.rand(5, generator=generator("a", 1)), torch.rand(5, generator=generator("a", 2)))


def test_global_generators_are_put_back_after_a_plugin_reseeded_them():
    before = global_states()
    with isolated_generators(3):
        torch.manual_seed(0)
        np.random.seed(0)  # noqa: NPY002 (as plugins do)
        random.seed(0)
        draw_from_all()
    assert global_states() == before


def test_global_generators_are_put_back_after_an_error():
    before = global_states()
    with suppress(ZeroDivisionError), isolated_generators(3):
        draw_from_all()
        1 / 0  # noqa: B018 (it is what raises)
    assert global_states() == before


def test_what_is_drawn_inside_depends_on_the_seed_alone():
    drawn = []
    for seed in (3, 3, 4):
        draw_from_all()
        with isolated_generators(seed):
            drawn.append(draw_from_all())
    assert drawn[0] == drawn[1] != drawn[2]


def test_a_samples_stream_is_numpys_philox_keyed_by_seed_and_sample():
    seed = 2**40 + 5
    peer = np.random.Generator(np.random.Philox(np.random.SeedSequence([5, 2**8, 11])))
    ours = streams([11], seed)
    assert ours.uniform((2, 3))[0].tolist() == peer.random((2, 3), dtype=np.float32).tolist()
    assert ours.normal((4,))[0].tolist() == peer.standard_normal(4, dtype=np.float32).tolist()


def test_a_samples_numbers_do_not_depend_on_its_batch():
    together = streams([4, 9, 2])
    first, second = together.uniform((3,)), together.normal((2, 2))
    alone = streams([9])
    assert torch.equal(alone.uniform((3,))[0], first[1])
    assert torch.equal(alone.normal((2, 2))[0], second[1])
    swapped = streams([2, 9, 4]).uniform((3,))
    assert torch.equal(swapped, first.flip(0))


@pytest.mark.parametrize("rows", [torch.tensor([2, 0]), torch.tensor([True, False, True])])
def test_part_of_the_streams_advances_together_with_the_whole(rows):
    whole = streams([4, 9, 2])
    part = whole[rows].uniform((2,))
    after = whole.uniform((2,))
    expected = streams([4, 9, 2])
    first, second = expected.uniform((2,)), expected.uniform((2,))
    assert torch.equal(part, first[rows])
    assert torch.equal(after[1], first[1])
    assert torch.equal(after[0], second[0])


def test_seeds_and_samples_open_different_streams():
    drawn = [streams([sample], seed).uniform((4,)) for seed, sample in ((1, 0), (0, 1), (0, 0), (2**32, 0))]
    assert len({tuple(one[0].tolist()) for one in drawn}) == 4
