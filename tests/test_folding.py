"""The folded twin against the network that it was folded from."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from toys import conv_classifier, pixel_classifier, random_images, randomize_batch_norm, states_equal

from harness.contract import InputShape
from harness.engine.folding import attack_ready, unfolded
from harness.manager import Manager

NAMES = [plugin.name for plugin in Manager.discover().names("classifier")]


def build(name):
    manager = Manager.discover()
    kind = manager.load(manager.find("classifier", name))
    options = {"pretrained": None} if "pretrained" in kind.options_type.model_fields else {}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = kind(kind.options_type(**options)).build(InputShape(channels=3, image_size=32, num_classes=10))
        randomize_batch_norm(net)
    return pixel_classifier(net, classes=10, mean=0.5, std=0.25).eval()


def batch_norms(net):
    return [module for module in net.modules() if isinstance(module, nn.BatchNorm2d)]


@pytest.mark.parametrize("name", NAMES)
def test_every_architectures_twin_gives_its_logits_and_gradients_without_a_batch_norm_layer(name):
    network, images = build(name), random_images(2, shape=(3, 32, 32))
    twin = attack_ready(network)
    assert batch_norms(network)
    assert not batch_norms(twin)
    assert unfolded(twin) is None
    with torch.no_grad():
        assert largest_difference(twin(images), network(images)) < 1e-4
    # In double precision, since single precision moves units across the kink of ReLU and their gradients with them.
    twin, network, images = attack_ready(network.double()), network.double(), images.double()
    assert largest_difference(gradient(twin, images), gradient(network, images)) < 1e-9


def largest_difference(ours, theirs):
    """In units of the largest, for random statistics make a deep net's grow."""
    return float((ours - theirs).abs().max() / theirs.abs().max())


def gradient(network, images):
    leaf = images.clone().requires_grad_()
    logits = network(leaf)
    weights = torch.linspace(-1, 1, logits.shape[1], dtype=images.dtype)
    return torch.autograd.grad((logits @ weights).sum(), leaf)[0]


def test_folding_one_channel_is_the_affine_map_worked_out_by_hand():
    net = nn.Sequential(nn.Conv2d(1, 1, 1), nn.BatchNorm2d(1, eps=0.0), nn.Flatten()).eval()
    with torch.no_grad():
        net[0].weight.fill_(3.0)
        net[0].bias.fill_(1.0)
        net[1].weight.fill_(2.0)
        net[1].bias.fill_(0.5)
        net[1].running_mean.fill_(4.0)
        net[1].running_var.fill_(16.0)
    folded = attack_ready(pixel_classifier(net, classes=1, channels=1)).net
    # 2 · (3x + 1 − 4) / 4 + 0.5 = 1.5x − 1
    (convolution,) = (module for module in folded.modules() if isinstance(module, nn.Conv2d))
    assert (convolution.weight.item(), convolution.bias.item()) == (1.5, -1.0)


class Undecided(nn.Module):
    """A net whose way depends on its input, which no tracing can follow."""

    def __init__(self):
        super().__init__()
        self.body = conv_classifier().net

    def forward(self, images):
        return self.body(images) if images.sum() > 0 else -self.body(images)


class Twice(nn.Module):
    """One convolution before two batch-norm layers."""

    def __init__(self):
        super().__init__()
        self.convolution = nn.Conv2d(3, 3, 3, padding=1)
        self.first, self.second = nn.BatchNorm2d(3), nn.BatchNorm2d(3)

    def forward(self, images):
        return self.second(self.convolution(self.first(self.convolution(images)))).mean((2, 3))


class Read(nn.Module):
    """A convolution whose output is read before and after batch-norm."""

    def __init__(self):
        super().__init__()
        self.convolution, self.norm = nn.Conv2d(3, 3, 3, padding=1), nn.BatchNorm2d(3)

    def forward(self, images):
        between = self.convolution(images)
        return (between + self.norm(between)).mean((2, 3))


def parametrized():
    net = Read()
    nn.utils.parametrizations.weight_norm(net.convolution)
    return nn.Sequential(net.convolution, net.norm, nn.AdaptiveAvgPool2d(1), nn.Flatten())


class Doubled(nn.Conv2d):
    """A convolution that is not what its weight says."""

    def forward(self, images):
        return 2 * super().forward(images)


def hooked():
    net = nn.Sequential(nn.Conv2d(3, 3, 3), nn.BatchNorm2d(3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    net[0].register_forward_hook(lambda _module, _inputs, output: output * 2)
    return net


def hooked_backward():
    net = nn.Sequential(nn.Conv2d(3, 3, 3), nn.BatchNorm2d(3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    net[1].register_full_backward_hook(lambda _module, _entering, _leaving: None)
    return net


def of_a_subclass():
    return nn.Sequential(Doubled(3, 3, 3), nn.BatchNorm2d(3), nn.AdaptiveAvgPool2d(1), nn.Flatten())


@pytest.mark.parametrize("make", [Undecided, Twice, Read, parametrized, hooked, hooked_backward, of_a_subclass])
def test_what_cannot_be_folded_is_left_as_it_is(make):
    torch.manual_seed(0)
    net = make()
    randomize_batch_norm(net)
    network = pixel_classifier(net, classes=3).eval()
    images = random_images(4)
    twin = attack_ready(network)
    assert len(batch_norms(twin)) == len(batch_norms(network))
    torch.testing.assert_close(twin(images), network(images))
    torch.testing.assert_close(gradient(twin, images), gradient(network, images))
    assert not any(parameter.requires_grad for parameter in twin.parameters())
    layers = len(batch_norms(network))
    told = (
        f"attacked with {layers} batch-norm layer{'s' if layers > 1 else ''} that could not be folded into convolutions"
    )
    assert unfolded(twin) == f"{told}: it takes longer"


class Residual(nn.Module):
    """ReLU where it may write over its input, and (once) where what it reads is read again after it."""

    def __init__(self, *, adds_in_place):
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)
        self.norm, self.relu = nn.BatchNorm2d(4), nn.ReLU()
        self.adds_in_place = adds_in_place

    def forward(self, images):
        before = self.norm(self.first(images))
        inner = self.second(self.relu(before))
        if self.adds_in_place:
            inner += before
        else:
            inner = inner + before
        return nn.functional.relu(inner).mean((2, 3)) + inner.amax((2, 3)) + self.relu(self.second(before)).mean((2, 3))


@pytest.mark.parametrize("adds_in_place", [False, True])
def test_rectifying_in_place_changes_nothing_that_is_read_elsewhere(adds_in_place):
    torch.manual_seed(0)
    net = Residual(adds_in_place=adds_in_place)
    randomize_batch_norm(net)
    network, images = pixel_classifier(net, classes=4).double().eval(), random_images(4).double()
    twin = attack_ready(network)
    in_place = [node for node in twin.net.graph.nodes if node.target is torch.relu_]
    assert len(in_place) == 1
    torch.testing.assert_close(twin(images), network(images).detach(), rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(gradient(twin, images), gradient(network, images), rtol=1e-10, atol=1e-10)


def test_relu_of_a_plain_chain_writes_in_place_and_gives_the_same_bits():
    network, images = build("small-cnn"), random_images(4, shape=(3, 32, 32))
    twin, plain = attack_ready(network), attack_ready(network)
    for node in plain.net.graph.nodes:
        if node.target is torch.relu_:
            node.target = torch.relu
    plain.net.recompile()
    assert any(node.target is torch.relu_ for node in twin.net.graph.nodes)
    assert torch.equal(twin(images), plain(images))
    assert torch.equal(gradient(twin, images), gradient(plain, images))


class Named(nn.Module):
    """A net that gives its layers their input by name."""

    def __init__(self):
        super().__init__()
        self.convolution, self.norm, self.relu = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU()
        self.second = nn.Conv2d(4, 4, 3)

    def forward(self, images):
        between = self.relu(input=self.norm(input=self.convolution(input=images)))
        return nn.functional.relu(input=self.second(input=between)).mean((2, 3))


def test_layers_that_are_given_their_input_by_name_are_folded_and_rectify_in_place_too():
    torch.manual_seed(0)
    net = Named()
    randomize_batch_norm(net)
    network, images = pixel_classifier(net, classes=4).double().eval(), random_images(4).double()
    twin = attack_ready(network)
    assert batch_norms(twin) == []
    assert [node.target for node in twin.net.graph.nodes].count(torch.relu_) == 2
    torch.testing.assert_close(twin(images), network(images).detach(), rtol=1e-10, atol=1e-10)


class Sums(nn.Module):
    """Sums of what a convolution gives: with what has its shape, with less, with more, with itself, and of what is read again."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 3, 3, padding=1), nn.Conv2d(3, 3, 3, padding=1)
        self.third = nn.Conv2d(3, 3, 3, padding=1)
        self.norm, self.pool = nn.BatchNorm2d(3), nn.AdaptiveAvgPool2d(1)

    def forward(self, images):
        again = self.first(images)
        doubled = self.second(again)
        alike = again + self.second(images)
        less = self.second(images) + self.pool(images)
        more = self.first(self.pool(images)) + images
        scaled = torch.add(self.second(images), images, alpha=2.0) + 1 + (self.second(images) + images.size(-1))
        total = self.norm(self.third(alike + again + less + more + (doubled + doubled) + scaled))
        return total.mean((2, 3))


def test_sums_write_over_what_a_layer_made_for_them_alone():
    torch.manual_seed(0)
    network, images = pixel_classifier(Sums(), classes=3).double().eval(), random_images(4).double()
    twin = attack_ready(network)
    before = images.clone()
    assert [getattr(node.target, "__name__", "") for node in twin.net.graph.nodes].count("_added_in_place") == 4
    torch.testing.assert_close(twin(images), network(images).detach(), rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(gradient(twin, images), gradient(network, images), rtol=1e-10, atol=1e-10)
    assert torch.equal(images, before)


@pytest.mark.parametrize("make", [conv_classifier, lambda: pixel_classifier(Undecided(), classes=5)])
def test_the_original_is_untouched(make):
    network = make().train()
    next(network.net.children()).eval()
    next(network.parameters()).requires_grad_(requires_grad=False)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    modes = [module.training for module in network.modules()]
    required = [parameter.requires_grad for parameter in network.parameters()]
    twin = attack_ready(network)
    twin(random_images(4))
    assert states_equal(before, network.state_dict())
    assert [module.training for module in network.modules()] == modes
    assert [parameter.requires_grad for parameter in network.parameters()] == required
    assert not any(module.training for module in twin.modules())
    ours = {parameter.data_ptr() for parameter in network.parameters()}
    assert not ours & {parameter.data_ptr() for parameter in twin.parameters()}


def test_the_twin_of_a_network_in_train_mode_uses_its_running_statistics():
    network, images = conv_classifier(), random_images(8)
    expected = network(images).detach()
    torch.testing.assert_close(attack_ready(network.train())(images), expected, rtol=1e-4, atol=1e-4)
