"""Classifiers of pixels: normalization inside, features, modes, frozen copies, changes noticed."""

from contextlib import suppress

import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from toys import conv_classifier, pixel_classifier, random_images, states_equal

from harness.engine.networks import checksums, frozen_copy, has_batch_norm, last_linear, modes_kept, state_version


def flags(net):
    return [module.training for module in net.modules()]


def test_pixels_are_normalized_per_channel_inside():
    network = pixel_classifier(nn.Flatten(), classes=2)
    network.mean.copy_(torch.tensor([0.5, 0.25, 0.0]).reshape(1, 3, 1, 1))
    network.std.copy_(torch.tensor([0.5, 0.25, 2.0]).reshape(1, 3, 1, 1))
    images = torch.tensor([1.0, 0.5, 1.0]).reshape(1, 3, 1, 1)
    assert network(images).tolist() == [[1.0, 1.0, 0.5]]


def test_normalization_is_no_part_of_the_networks_state():
    network = conv_classifier()
    assert all(name.startswith("net.") for name in network.state_dict())


def test_features_are_what_enters_the_last_linear_layer():
    network = conv_classifier()
    images = random_images(4)
    outputs = network.outputs(images)
    torch.testing.assert_close(outputs.features, network.net[:4]((images - 0.5) / 0.25))
    torch.testing.assert_close(outputs.features @ network.net[4].weight.T + network.net[4].bias, outputs.logits)
    assert not network.net[4]._forward_pre_hooks


class HeadUnused(nn.Module):
    def __init__(self):
        super().__init__()
        self.auxiliary = nn.Linear(3, 3)

    def forward(self, images):
        return images.mean((2, 3))


@pytest.mark.parametrize("net", [nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()), HeadUnused()])
def test_logits_stand_for_the_features_of_a_net_whose_last_layer_is_not_linear(net):
    outputs = pixel_classifier(net, classes=3).outputs(random_images(2))
    assert torch.equal(outputs.features, outputs.logits)


def test_the_last_linear_layer_is_found_inside_blocks():
    head = nn.Linear(3, 2)
    assert last_linear(nn.Sequential(nn.Linear(4, 3), nn.Sequential(nn.ReLU(), head), nn.ReLU())) is head
    assert last_linear(nn.Sequential(nn.ReLU())) is None


def test_batch_norm_is_found_and_group_norm_is_not_taken_for_it():
    assert has_batch_norm(conv_classifier())
    assert not has_batch_norm(nn.Sequential(nn.GroupNorm(1, 3), nn.InstanceNorm2d(3)))


@pytest.mark.parametrize("fails", [False, True])
def test_every_childs_own_mode_is_put_back(fails):
    network = conv_classifier().train()
    network.net[1].eval()
    before = flags(network)
    with suppress(ZeroDivisionError), modes_kept(network):
        network.eval()
        assert not any(flags(network))
        assert fails < 1 / (not fails)
    assert flags(network) == before


def test_a_frozen_copy_is_in_eval_mode_without_gradients_and_leaves_the_original_alone():
    network = conv_classifier().train()
    network(random_images(4)).sum().backward()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    twin = frozen_copy(network)
    assert not any(flags(twin))
    assert not any(parameter.requires_grad or parameter.grad is not None for parameter in twin.parameters())
    with torch.no_grad():
        twin.net[4].weight.zero_()
    assert states_equal(before, network.state_dict())
    assert all(flags(network))
    assert all(parameter.requires_grad and parameter.grad is not None for parameter in network.parameters())


def add_in_place(net):
    with torch.no_grad():
        net.net[4].weight[0, 0] += 1


def add_behind_torchs_back(net):
    net.net[4].weight.data[0, 0] += 1


def replace_parameter(net):
    net.net[4].weight = nn.Parameter(net.net[4].weight.detach() * 2)


def change_buffer(net):
    net.net[1].running_mean[2] += 1e-3


def count_a_batch(net):
    net.net[1].num_batches_tracked += 1


@pytest.mark.parametrize(
    "change", [add_in_place, add_behind_torchs_back, replace_parameter, change_buffer, count_a_batch]
)
def test_the_version_tells_of_any_change_of_a_parameter_or_buffer(change):
    network = conv_classifier()
    before = state_version(network)
    network(random_images(2))
    assert state_version(network) == before
    change(network)
    assert state_version(network) != before


def test_the_version_is_taken_of_tensors_on_several_devices(monkeypatch):
    """An integer network keeps its numbers on the CPU beside a network on a GPU: here a pretended one, which holds no numbers."""
    stack = torch.stack

    def stack_of_one_device(tensors):
        assert len({tensor.device for tensor in tensors}) == 1
        return stack(tensors)

    with FakeTensorMode():
        monkeypatch.setattr(torch, "stack", stack_of_one_device)
        devices = ("cuda", "cpu", "cuda")
        found = checksums([torch.zeros(3, device=device) for device in devices])
        assert (found.device.type, found.dtype, len(found)) == ("cpu", torch.int64, 3)


def test_a_checksum_is_the_sum_of_a_tensors_bits():
    # 1.0 is 0x3f800000 in float32; 2.0 in float16 is 0x4000.
    tensors = [torch.ones(3), torch.tensor([2.0], dtype=torch.float16), torch.tensor([5, -7])]
    assert checksums(tensors).tolist() == [3 * 0x3F800000, 0x4000, -2]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_the_version_is_taken_of_every_precision_and_of_values_that_are_not_numbers(dtype):
    net = nn.Linear(2, 2).to(dtype)
    with torch.no_grad():
        net.weight.fill_(float("nan"))
    before = state_version(net)
    assert state_version(net) == before
    with torch.no_grad():
        net.bias[0] = 3
    assert state_version(net) != before
    assert state_version(nn.ReLU()) == ()
