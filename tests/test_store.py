"""The store: what is written is read back or noticed to be damaged, whoever writes at the same time."""

from __future__ import annotations

import json
import resource
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import StoreError
from harness.store import META, TENSORS, Artifact, CorruptArtifactError, Partial, Store, atomic_write, content_key
from harness.tensor_files import TensorFile

KEY = content_key("stage", 1)


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "store")


def artifact(value=1.0):
    tensors = {
        "weights": torch.full((3, 2), value),
        "rows": torch.tensor([3, 1, 2]),
        "mask": torch.tensor([True, False]),
        "none": torch.empty(0, 1, 4, 4),
        "scalar": torch.tensor(7.0),
    }
    return Artifact(tensors, {"best_step": 3, "history": [{"valid": 0.1}], "text": "é"}, {"seconds": 1.5})


def same(left, right):
    assert left.meta == right.meta
    assert left.times == right.times
    assert set(left.tensors) == set(right.tensors)
    for name, tensor in left.tensors.items():
        assert tensor.dtype == right.tensors[name].dtype
        assert torch.equal(tensor, right.tensors[name])


def test_an_artifact_is_read_as_it_was_saved(store):
    assert not store.has("split", KEY)
    assert store.load_or_discard("split", KEY) is None
    store.save("split", KEY, artifact())
    assert store.has("split", KEY)
    same(store.load("split", KEY), artifact())
    assert store.load_meta("split", KEY).meta == artifact().meta
    assert store.load_meta("split", KEY).tensors == {}


def test_an_artifact_may_have_no_tensors(store):
    store.save("evaluate", KEY, Artifact(meta={"accuracy": 0.5}))
    assert store.load("evaluate", KEY).tensors == {}
    assert not (store.folder("evaluate", KEY) / TENSORS).exists()


def test_views_and_tied_weights_are_stored_each_for_itself(store):
    whole = torch.arange(12.0).reshape(3, 4)
    tied = {"a": whole, "b": whole, "transposed": whole.T, "row": whole[1]}
    store.save("baseline", KEY, Artifact(tied))
    same(store.load("baseline", KEY), Artifact(tied))


def test_nothing_else_is_left_beside_an_artifact(store):
    store.save("split", KEY, artifact())
    files = sorted(path.relative_to(store.root).as_posix() for path in store.root.rglob("*") if path.is_file())
    assert files == [f"split/{KEY[:2]}/{KEY}/{META}", f"split/{KEY[:2]}/{KEY}/{TENSORS}"]


def test_the_first_of_two_artifacts_of_one_key_stays(store):
    store.save("split", KEY, artifact(1.0))
    store.save("split", KEY, artifact(2.0))
    same(store.load("split", KEY), artifact(1.0))
    assert len(list((store.root / "split" / KEY[:2]).iterdir())) == 1


def test_what_a_removal_cut_short_left_is_replaced(store):
    store.save("split", KEY, artifact(1.0))
    (store.folder("split", KEY) / META).unlink()
    assert store.load_or_discard("split", KEY) is None
    store.save("split", KEY, artifact(2.0))
    same(store.load("split", KEY), artifact(2.0))


@pytest.mark.parametrize("name", [META, TENSORS])
def test_any_flipped_bit_is_noticed_and_the_artifact_set_aside(store, name):
    store.save("split", KEY, artifact())
    path = store.folder("split", KEY) / name
    original = path.read_bytes()
    for place in range(0, len(original), 7):
        damaged = bytearray(original)
        damaged[place] ^= 0x80 if place % 2 else 1
        path.write_bytes(damaged)
        with pytest.raises(CorruptArtifactError, match="its checksum does not fit"):
            store.load("split", KEY)
    assert store.load_or_discard("split", KEY) is None
    assert not store.folder("split", KEY).exists()
    store.save("split", KEY, artifact())
    same(store.load("split", KEY), artifact())


@pytest.mark.parametrize("name", [META, TENSORS])
def test_a_file_cut_short_or_missing_is_noticed(store, name):
    store.save("split", KEY, artifact())
    path = store.folder("split", KEY) / name
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(CorruptArtifactError):
        store.load("split", KEY)
    path.unlink()
    with pytest.raises(CorruptArtifactError):
        store.load("split", KEY)


def test_one_key_saved_by_many_at_once_is_one_whole_artifact(store):
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda value: store.save("split", KEY, artifact(float(value))), range(32)))
    weights = store.load("split", KEY).tensors["weights"]
    assert float(weights.min()) == float(weights.max())
    assert [path.name for path in (store.root / "split" / KEY[:2]).iterdir()] == [KEY]


# -- tensors that are in files already ------------------------------------------------------------------------------------


def filed(store, name="images", value=1.0):
    """An artifact one of whose tensors lies in a file, among a stage's checkpoints."""
    file = TensorFile.create(store.partial(KEY).folder, name, (50, 3), "float32")
    file.append(np.full((50, 3), value, np.float32))
    return Artifact({**artifact(value).tensors, name: file.tensor()}, artifact().meta, artifact().times, {name: file})


def test_a_file_is_moved_into_the_artifact_and_read_with_the_rest(store):
    saved = filed(store)
    written = saved.files["images"].path.stat()
    store.save("correct", KEY, saved)
    kept = (store.folder("correct", KEY) / "images.safetensors").stat()
    assert (kept.st_ino, kept.st_mtime_ns) == (written.st_ino, written.st_mtime_ns)
    assert list(store.partial(KEY).folder.iterdir()) == []
    same(store.load("correct", KEY), saved)


def test_a_flipped_bit_of_a_moved_file_is_noticed(store):
    store.save("correct", KEY, filed(store))
    path = store.folder("correct", KEY) / "images.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"\1")
    with pytest.raises(CorruptArtifactError, match="its checksum does not fit"):
        store.load("correct", KEY)


def test_an_artifact_that_cannot_be_stored_leaves_the_file_to_its_checkpoint(store):
    saved = filed(store)
    too_large = replace(saved, tensors={**saved.tensors, "weights": torch.rand(20_000)})
    with pytest.raises(StoreError, match="cannot be written"), file_size_limit(20_000):
        store.save("correct", KEY, too_large)
    assert saved.files["images"].path.exists()
    store.save("correct", KEY, saved)
    same(store.load("correct", KEY), saved)


def test_a_file_that_another_process_removed_when_it_stored_the_same_is_not_missed(store):
    first, second = filed(store, value=1.0), filed(store, value=2.0)
    store.save("correct", KEY, first)
    store.partial(KEY).clear()
    store.save("correct", KEY, second)
    same(store.load("correct", KEY), first)
    store.discard("correct", KEY)
    with pytest.raises(StoreError, match="cannot be written"):
        store.save("correct", KEY, second)


# -- what cannot be written -----------------------------------------------------------------------------------------------


@contextmanager
def file_size_limit(limit):
    """Let no file grow beyond ``limit`` bytes: what a full disk looks like from inside."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_is_told_and_leaves_nothing_behind(store):
    big = Artifact({"weights": torch.rand(20_000)})
    with pytest.raises(StoreError) as caught, file_size_limit(20_000):
        store.save("split", KEY, big)
    message = str(caught.value)
    assert message.startswith(f"{store.folder('split', KEY)}: cannot be written (")
    assert "File too large" in message
    assert message.endswith("; free some space or choose another folder with --results and --store")
    assert [path for path in store.root.rglob("*") if path.is_file()] == []


def test_a_checkpoint_that_cannot_be_written_keeps_the_one_before(store):
    partial = store.partial(KEY, every_seconds=0)
    partial.save("training", artifact())
    with pytest.raises(StoreError, match="cannot be written"), file_size_limit(20_000):
        partial.save("training", Artifact({"weights": torch.rand(20_000)}))
    same(partial.load("training"), artifact())
    assert len(list(partial.folder.iterdir())) == 1


def test_a_store_where_a_file_lies_is_told(tmp_path):
    (tmp_path / "store").write_text("a file")
    with pytest.raises(StoreError) as caught:
        Store(tmp_path / "store").save("split", KEY, artifact())
    folder = tmp_path / "store" / "split" / KEY[:2] / KEY
    assert str(caught.value) == (
        f"{folder}: cannot be written (Not a directory); choose another folder with --results and --store"
    )
    assert caught.value.exit_code == 1


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path):
    path = tmp_path / "folder" / "record.json"
    atomic_write(path, b"old")
    with pytest.raises(StoreError), file_size_limit(1000):
        atomic_write(path, b"x" * 5000)
    assert path.read_bytes() == b"old"
    atomic_write(path, b"new")
    assert path.read_bytes() == b"new"
    assert [file.name for file in path.parent.iterdir()] == ["record.json"]


# -- checkpoints ----------------------------------------------------------------------------------------------------------


def test_a_checkpoint_is_the_newest_of_its_name_until_cleared(store):
    partial = store.partial(KEY)
    assert partial.load("attack") is None
    partial.save("attack", artifact(1.0))
    partial.save("attack", artifact(2.0))
    partial.save("training", artifact(3.0))
    same(store.partial(KEY).load("attack"), artifact(2.0))
    partial.clear()
    assert store.partial(KEY).load("attack") is None
    partial.clear()


def test_any_flipped_bit_of_a_checkpoint_is_noticed(store):
    partial = store.partial(KEY)
    partial.save("attack", artifact())
    (path,) = partial.folder.iterdir()
    original = path.read_bytes()
    for place in range(len(original)):
        damaged = bytearray(original)
        damaged[place] ^= 0x80 if place % 2 else 1
        path.write_bytes(damaged)
        assert partial.load("attack") is None
    path.write_bytes(b"")
    assert partial.load("attack") is None


def test_a_checkpoint_is_due_when_its_seconds_went_by(tmp_path):
    assert Partial(tmp_path, every_seconds=0).due()
    partial = Partial(tmp_path, every_seconds=1e6)
    assert not partial.due()
    partial._last -= 2e6
    assert partial.due()
    partial.save("attack", artifact())
    assert not partial.due()


# -- keys -----------------------------------------------------------------------------------------------------------------

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


def reordered(value):
    if isinstance(value, dict):
        return {key: reordered(value[key]) for key in reversed(value)}
    return [reordered(each) for each in value] if isinstance(value, list) else value


@given(JSON, JSON)
def test_keys_are_equal_where_the_parts_are_whatever_the_order_of_mappings(left, right):
    assert content_key(left) == content_key(reordered(left))
    canonical = [json.dumps(value, sort_keys=True) for value in (left, right)]
    assert (content_key(left) == content_key(right)) is (canonical[0] == canonical[1])


def test_parts_do_not_run_into_each_other():
    keys = {content_key("ab"), content_key("a", "b"), content_key(["a", "b"]), content_key("a", ["b"]), content_key()}
    assert len(keys) == 5
    assert all(len(key) == 64 for key in keys)


@pytest.mark.parametrize("part", [float("nan"), {1, 2}, object()])
def test_what_has_no_unambiguous_text_is_no_part_of_a_key(part):
    with pytest.raises((TypeError, ValueError)):
        content_key(part)
