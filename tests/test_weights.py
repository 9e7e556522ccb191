"""Checkpoints in the forms they come in, each written here by torch or safetensors themselves; digests."""

import argparse
import hashlib
import pickle
import sys
import warnings
import zipfile

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from harness.errors import DataError
from harness.weights import load_into, read_state_dict, weights_digest


class Net(nn.Module):
    """A network with every kind of entry: weights, statistics, an integer count."""

    def __init__(self, outputs=2):
        super().__init__()
        self.conv = nn.Conv2d(1, 3, 1)
        self.norm = nn.BatchNorm2d(3)
        self.linear = nn.Linear(3, outputs)


class Wrapper(nn.Module):
    """A network whose only child has a name that reads like a wrapper's."""

    def __init__(self):
        super().__init__()
        self.model = Net()


@pytest.fixture
def network():
    return Net()


@pytest.fixture
def state(network):
    return dict(network.state_dict())


def prefixed(prefix, state):
    return {prefix + name: tensor for name, tensor in state.items()}


def same(first, second):
    return set(first) == set(second) and all(torch.equal(first[name], second[name]) for name in second)


def refusal(path):
    with pytest.raises(DataError) as caught:
        read_state_dict(path)
    return str(caught.value)


FORMS = {
    "a bare state dict": lambda state: state,
    "under state_dict": lambda state: {"epoch": 3, "state_dict": state, "best_prec1": 91.7},
    "under model_state_dict": lambda state: {"model_state_dict": state, "optimizer_state_dict": {"state": {}}},
    "under model": lambda state: {"model": state},
    "under net": lambda state: {"net": state, "acc": 95.1},
    "under ema": lambda state: {"ema": state},
    "nested once more": lambda state: {"model": {"state_dict": state}},
    "from DataParallel": lambda state: {"state_dict": prefixed("module.", state)},
    "from torch.compile": lambda state: prefixed("_orig_mod.", state),
    "from a Lightning module": lambda state: {"state_dict": prefixed("model.", state)},
    "of a child called net": lambda state: prefixed("net.", state),
    "from DataParallel of torch.compile": lambda state: prefixed("module._orig_mod.", state),
    "with arguments": lambda state: {"args": argparse.Namespace(lr=0.1, milestones=[1, 2]), "model": state},
    "with numpy scalars": lambda state: {"model": state, "accuracy": np.float64(0.9), "epoch": np.int64(3)},
    "of parameters": lambda state: {
        name: nn.Parameter(tensor) if tensor.is_floating_point() else tensor for name, tensor in state.items()
    },
}


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_checkpoints_are_read_in_every_form(tmp_path, state, form, zipped):
    path = tmp_path / "net.pth"
    torch.save(form(state), path, _use_new_zipfile_serialization=zipped)
    found = read_state_dict(path)
    assert same(found, state)
    assert not any(tensor.requires_grad for tensor in found.values())


@pytest.mark.parametrize("suffix", [".pt", ".pth", ".th", ".bin", ".ckpt"])
def test_any_suffix_is_read_by_its_content(tmp_path, state, suffix):
    torch.save(state, tmp_path / f"net{suffix}")
    assert same(read_state_dict(tmp_path / f"net{suffix}"), state)


def test_safetensors_files_are_read(tmp_path, state):
    save_file(prefixed("module.", state), tmp_path / "net.safetensors")
    assert same(read_state_dict(tmp_path / "net.safetensors"), state)


def test_a_real_data_parallel_network_is_read(tmp_path, network, state):
    torch.save(nn.DataParallel(network).state_dict(), tmp_path / "net.pt")
    assert same(read_state_dict(tmp_path / "net.pt"), state)


def test_a_prefix_that_some_names_lack_is_kept(tmp_path, state):
    mixed = {**prefixed("module.", state), "temperature": torch.ones(1)}
    torch.save(mixed, tmp_path / "net.pt")
    assert same(read_state_dict(tmp_path / "net.pt"), mixed)


def test_checkpoints_of_numpy_before_2_are_read(tmp_path, state):
    rewrite(tmp_path, {"model": state, "acc": np.float64(1)}, b"cnumpy._core.multiarray\n", b"cnumpy.core.multiarray\n")
    assert same(read_state_dict(tmp_path / "net.pt"), state)


def test_tensors_saved_on_a_gpu_come_to_the_cpu(tmp_path, state):
    rewrite(tmp_path, state, b"X\x03\x00\x00\x00cpu", b"X\x06\x00\x00\x00cuda:0")
    if not torch.cuda.is_available():
        with pytest.raises(RuntimeError, match="Attempting to deserialize object on a CUDA device"):
            torch.load(tmp_path / "net.pt", weights_only=True)
    found = read_state_dict(tmp_path / "net.pt")
    assert same(found, state)
    assert {tensor.device.type for tensor in found.values()} == {"cpu"}


def rewrite(folder, value, old, new):
    """Save ``value`` with ``old`` replaced by ``new`` in the pickle, as another machine would have written it."""
    torch.save(value, folder / "plain.pt")
    with zipfile.ZipFile(folder / "plain.pt") as source, zipfile.ZipFile(folder / "net.pt", "w") as target:
        for name in source.namelist():
            content = source.read(name)
            if name.endswith("/data.pkl"):
                assert old in content
                content = content.replace(old, new)
            target.writestr(name, content)


def test_a_missing_file_suggests_the_one_of_nearly_that_name(tmp_path, state):
    torch.save(state, tmp_path / "resnet20.th")
    path = tmp_path / "resnet-20.th"
    assert refusal(path) == f'weights "{path}": no such file; did you mean "resnet20.th"?'
    path = tmp_path / "absent" / "net.th"
    assert refusal(path) == f'weights "{path}": no such file; paths are taken from the folder of the spec'


def test_a_folder_is_refused(tmp_path):
    assert refusal(tmp_path) == (
        f'weights "{tmp_path}": expected a file such as net.safetensors or net.pth, got a folder'
    )


def test_an_empty_file_is_refused(tmp_path):
    path = tmp_path / "net.pt"
    path.touch()
    assert refusal(path) == f'weights "{path}": the file is empty; copy or download it again'


def test_a_text_file_is_refused_by_how_it_starts(tmp_path):
    path = tmp_path / "net.pt"
    path.write_bytes(b"<!DOCTYPE html><html>Not found</html>")
    assert refusal(path) == (
        f'weights "{path}": expected a file that torch.save wrote (or name.safetensors), got one that starts with '
        "b'<!DOCTYPE html><html>Not'; copy or download it again"
    )


def test_a_git_lfs_pointer_is_recognized(tmp_path):
    path = tmp_path / "net.pt"
    path.write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n")
    assert refusal(path).endswith("; it is a Git LFS pointer: run git lfs pull")


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
@pytest.mark.parametrize("kept", [0.1, 0.5, 0.99])
def test_a_truncated_checkpoint_is_refused(tmp_path, state, zipped, kept):
    path = tmp_path / "net.pt"
    torch.save(state, path, _use_new_zipfile_serialization=zipped)
    path.write_bytes(path.read_bytes()[: int(kept * path.stat().st_size)])
    message = refusal(path)
    assert message.startswith(f'weights "{path}": damaged or cut short: expected a file that torch.save wrote, got "')
    assert message.endswith('"; copy or download it again')
    assert "\n" not in message


def test_a_truncated_safetensors_file_is_refused(tmp_path, state):
    path = tmp_path / "net.safetensors"
    save_file(state, path)
    path.write_bytes(path.read_bytes()[:-5])
    assert refusal(path).startswith(f'weights "{path}": damaged or cut short: expected a safetensors file, got "')


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_a_pickled_network_is_refused_with_the_way_to_save_it(tmp_path, network, zipped):
    path = tmp_path / "net.pt"
    torch.save({"model": network}, path, _use_new_zipfile_serialization=zipped)
    assert refusal(path) == (
        f'weights "{path}": refused, because the file holds a pickled {__name__}.Net, and reading that can run any '
        "code; where you trust it, read it yourself and save the tensors alone: "
        "torch.save(the network's state_dict(), file)"
    )


class Trap:
    """Runs code when it is unpickled."""

    def __reduce__(self):
        return exec, ("import sys; sys.trapped = True",)


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_code_that_a_file_brings_is_never_run(tmp_path, state, zipped):
    torch.save({"state_dict": state, "extra": Trap()}, tmp_path / "net.pt", _use_new_zipfile_serialization=zipped)
    (tmp_path / "bare.pt").write_bytes(pickle.dumps(Trap(), protocol=2))
    for name in ("net.pt", "bare.pt"):
        assert "reading that can run any code" in refusal(tmp_path / name)
    assert not hasattr(sys, "trapped")


def test_a_torchscript_program_is_refused_with_the_way_to_save_it(tmp_path):
    path = tmp_path / "net.pt"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.script(nn.Linear(2, 2)).save(path)
    assert refusal(path) == (
        f'weights "{path}": refused, because the file holds a TorchScript program, and reading that can run any code; '
        "where you trust it, read it yourself and save the tensors alone: "
        "torch.save(torch.jit.load(file).state_dict(), file)"
    )


@pytest.mark.parametrize(
    ("value", "described"),
    [
        ({"epoch": 3, "optimizer": {"lr": 0.1}}, "a dict of epoch (int), optimizer (dict)"),
        ({}, "an empty dict"),
        (torch.ones(2), "a Tensor"),
        (
            {f"k{i}": i for i in range(14)},
            f"a dict of {', '.join(f'k{i} (int)' for i in range(12))} and 2 more",
        ),
    ],
)
def test_a_checkpoint_without_a_state_dict_says_what_it_holds(tmp_path, value, described):
    path = tmp_path / "net.pt"
    torch.save(value, path)
    assert refusal(path) == (
        f'weights "{path}": no state dict found: got {described}, expected a dict from names to tensors, bare or under '
        "state_dict, model_state_dict, model, net, ema; save it with torch.save(network.state_dict(), file)"
    )


def test_weights_are_copied_into_the_network(tmp_path, state):
    target = Net()
    load_into(target, state, path=tmp_path / "net.pt")
    assert same(target.state_dict(), state)


def test_half_precision_is_converted_to_the_networks_own(tmp_path, state):
    half = {name: tensor.half() if tensor.is_floating_point() else tensor for name, tensor in state.items()}
    target = Net()
    load_into(target, half, path=tmp_path / "net.pt")
    assert target.linear.weight.dtype == torch.float32
    assert torch.equal(target.linear.weight, state["linear.weight"].half().float())


def test_a_missing_count_of_batches_is_no_mismatch(tmp_path, state):
    del state["norm.num_batches_tracked"]
    target = Net()
    load_into(target, state, path=tmp_path / "net.pt")
    assert torch.equal(target.conv.weight, state["conv.weight"])


def test_a_network_whose_own_names_share_a_prefix_gets_its_weights(tmp_path):
    source, target = Wrapper(), Wrapper()
    torch.save(source.state_dict(), tmp_path / "net.pt")
    load_into(target, read_state_dict(tmp_path / "net.pt"), path=tmp_path / "net.pt")
    assert same(target.state_dict(), source.state_dict())


def test_mismatches_are_listed_by_name_and_nothing_is_copied(tmp_path, state):
    del state["conv.bias"]
    state["head.weight"] = torch.ones(1)
    target, path = Net(outputs=5), tmp_path / "net.pt"
    before = {name: tensor.clone() for name, tensor in target.state_dict().items()}
    with pytest.raises(DataError) as caught:
        load_into(target, state, path=path)
    assert str(caught.value).splitlines() == [
        f'weights "{path}" do not fit the network Net; check the number of classes and the width',
        "  missing: conv.bias",
        "  unexpected: head.weight",
        "  shape: linear.weight: (2, 3) in the file, (5, 3) in the network",
        "  shape: linear.bias: (2,) in the file, (5,) in the network",
    ]
    assert same(target.state_dict(), before)


def test_long_lists_of_mismatches_are_cut_with_a_count(tmp_path):
    state = {f"layer{index:02}.weight": torch.ones(1) for index in range(15)}
    with pytest.raises(DataError) as caught:
        load_into(nn.Linear(1, 1), state, path=tmp_path / "net.pt")
    lines = str(caught.value).splitlines()
    assert lines[0].endswith("do not fit the network Linear; check that the architecture is the file's")
    assert lines[1:3] == ["  missing: weight", "  missing: bias"]
    assert lines[3:] == [*(f"  unexpected: layer{index:02}.weight" for index in range(12)), "  unexpected: 3 more"]


def test_the_digest_is_the_documented_sha256():
    state = {"b": torch.tensor([1.5, -2.0]), "a": torch.tensor(7)}
    expected = hashlib.sha256(
        b'["a", "torch.int64", []]\n'
        + np.array(7, "<i8").tobytes()
        + b'["b", "torch.float32", [2]]\n'
        + np.array([1.5, -2.0], "<f4").tobytes()
    )
    assert weights_digest(state) == expected.hexdigest()


def test_the_digest_ignores_order_and_memory_layout(state):
    state["m"] = torch.arange(6.0).reshape(2, 3)
    moved = {**dict(reversed(state.items())), "m": state["m"].t().contiguous().t()}
    assert not moved["m"].is_contiguous()
    assert weights_digest(moved) == weights_digest(state)


@pytest.mark.parametrize(
    "changed",
    [
        {"b": torch.ones(4)},
        {"a": torch.ones(2, 2)},
        {"a": torch.ones(4, dtype=torch.float64)},
        {"a": torch.ones(4, dtype=torch.bfloat16)},
        {"a": torch.tensor([1.0, 1.0, 1.0, 1.0000001])},
        {"a": torch.ones(4), "c": torch.ones(0)},
    ],
    ids=["name", "shape", "dtype", "bfloat16", "last bit", "one more"],
)
def test_the_digest_sees_every_difference(changed):
    assert weights_digest(changed) != weights_digest({"a": torch.ones(4)})


def test_a_new_head_takes_all_but_the_last_layer_of_a_file_for_other_classes(tmp_path):
    pretrained, network = Net(outputs=1000), Net(outputs=2)
    head = {name: tensor.clone() for name, tensor in network.linear.state_dict().items()}
    load_into(network, pretrained.state_dict(), path=tmp_path / "net.pth", new_head=True)
    assert same(network.conv.state_dict(), pretrained.conv.state_dict())
    assert same(network.linear.state_dict(), head)


def test_a_new_head_is_not_made_where_the_classes_agree(tmp_path):
    pretrained, network = Net(), Net()
    load_into(network, pretrained.state_dict(), path=tmp_path / "net.pth", new_head=True)
    assert same(network.state_dict(), pretrained.state_dict())


def test_a_file_for_other_classes_is_refused_where_no_training_follows_and_the_way_out_is_said(tmp_path):
    network = Net(outputs=2)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    with pytest.raises(DataError) as caught:
        load_into(network, Net(outputs=1000).state_dict(), path=tmp_path / "net.pth")
    way_out = (
        'only its head is for other classes: "trained: false" takes the rest, gives it a new head and fine-tunes it'
    )
    assert str(caught.value).splitlines() == [
        f'weights "{tmp_path / "net.pth"}" do not fit the network Net; {way_out}',
        "  shape: linear.weight: (1000, 3) in the file, (2, 3) in the network",
        "  shape: linear.bias: (1000,) in the file, (2,) in the network",
    ]
    assert same(network.state_dict(), before)


def test_a_new_head_excuses_no_other_layer(tmp_path):
    pretrained = Net(outputs=1000).state_dict() | {"conv.weight": torch.zeros(4, 1, 1, 1)}
    with pytest.raises(DataError, match=r"check the number of classes and the width(?s:.*)conv.weight: \(4, 1, 1, 1\)"):
        load_into(Net(), pretrained, path=tmp_path / "net.pth", new_head=True)
    with pytest.raises(DataError, match=r"missing: norm.weight"):
        load_into(
            Net(),
            {name: tensor for name, tensor in Net(5).state_dict().items() if name != "norm.weight"},
            path=tmp_path / "net.pth",
            new_head=True,
        )
