"""One pass over two domains against torch's own two passes, and the networks that must not be passed so."""

from __future__ import annotations

import copy
import random

import pytest
import torch
from torch import nn
from torch.autograd import gradcheck, gradgradcheck
from torch.nn import functional
from torch.utils.checkpoint import checkpoint
from toys import conv_classifier, pixel_classifier, random_images, states_equal

from harness.engine.domains import TwoDomainForward
from harness.engine.networks import placed
from harness.engine.together import OnePass, domains_apart, one_pass_pays

SOURCE, TARGET = random_images(6, seed=1), 0.5 * random_images(4, seed=2)
CPU = torch.device("cpu")


@pytest.fixture
def two_threads():
    """Threads to share a layer's work among: with one there is nothing to gain, and nothing is tried."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def normals(*shape, seed=0):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def made(kind, width=3, *, evaluating=False, **how):
    layer = kind(width, **how).double()
    for number, value in enumerate(layer.parameters()):
        nn.init.uniform_(value, 0.5, 1.5, generator=torch.Generator().manual_seed(number))
    return layer.eval() if evaluating else layer.train()


def passed(layer, batches, *, together):
    """Pass two batches twice; returns outputs, gradients and what the layer is left with."""
    layer, leaves = copy.deepcopy(layer), [batch.clone().requires_grad_() for batch in batches]
    for _ in range(2):
        if together:
            with domains_apart([layer], *map(len, leaves)):
                outputs = layer(torch.cat(leaves))
        else:
            outputs = torch.cat([layer(leaf) for leaf in leaves])
    wanted = [*leaves, *layer.parameters()]
    gradients = torch.autograd.grad(
        (outputs * torch.arange(len(outputs)).reshape(-1, *[1] * (outputs.ndim - 1))).cos().sum(), wanted
    )
    return [outputs.detach(), *gradients], layer.state_dict()


LAYERS = {
    "vectors": (nn.BatchNorm1d, (), {}),
    "sequences": (nn.BatchNorm1d, (5,), {}),
    "images": (nn.BatchNorm2d, (4, 5), {}),
    "volumes": (nn.BatchNorm3d, (2, 3, 4), {}),
    "a cumulative average": (nn.BatchNorm2d, (4, 5), {"momentum": None}),
    "another momentum and eps": (nn.BatchNorm2d, (4, 5), {"momentum": 0.3, "eps": 0.1}),
    "no weights": (nn.BatchNorm2d, (4, 5), {"affine": False}),
    "nothing tracked": (nn.BatchNorm2d, (4, 5), {"track_running_stats": False}),
    "neither": (nn.BatchNorm2d, (4, 5), {"affine": False, "track_running_stats": False}),
    "eval mode": (nn.BatchNorm2d, (4, 5), {"evaluating": True}),
    "eval mode, nothing tracked": (nn.BatchNorm2d, (4, 5), {"evaluating": True, "track_running_stats": False}),
}


@pytest.mark.parametrize("sizes", [(6, 6), (2, 7)])
@pytest.mark.parametrize("case", LAYERS)
def test_a_layer_computes_and_keeps_what_two_passes_do_source_first(case, sizes):
    kind, shape, how = LAYERS[case]
    batches = [(place + 1) * normals(size, 3, *shape, seed=place) + place for place, size in enumerate(sizes)]
    results, state = passed(made(kind, **how), batches, together=True)
    expected, kept = passed(made(kind, **how), batches, together=False)
    for mine, torchs in zip(results, expected, strict=True):
        torch.testing.assert_close(mine, torchs, rtol=1e-10, atol=1e-12)
    assert state.keys() == kept.keys()
    for name, value in state.items():
        torch.testing.assert_close(value, kept[name], rtol=1e-12, atol=0)


def test_statistics_that_are_not_to_be_tracked_for_a_while_are_not():
    layer = made(nn.BatchNorm2d)
    before = copy.deepcopy(layer.state_dict())
    layer.track_running_stats = False
    with domains_apart([layer], 2, 3):
        layer(normals(5, 3, 4, 4))
    assert states_equal(layer.state_dict(), before)


def test_gradients_and_gradients_of_gradients_are_those_of_finite_differences():
    layer = made(nn.BatchNorm1d, 2)

    def normalized(values, weight, bias):
        with domains_apart([layer], 3, 4):
            return torch.func.functional_call(layer, {"weight": weight, "bias": bias}, (values,))

    inputs = [normals(7, 2).requires_grad_(), normals(2, seed=1).requires_grad_(), normals(2, seed=2).requires_grad_()]
    assert gradcheck(normalized, inputs)
    assert gradgradcheck(normalized, inputs)


def test_channels_last_images_stay_so_in_both_directions():
    layer = made(nn.BatchNorm2d)
    values = normals(6, 3, 4, 4).contiguous(memory_format=torch.channels_last).requires_grad_()
    with domains_apart([layer], 2, 4):
        outputs = layer(values)
    (gradient,) = torch.autograd.grad(outputs.square().sum(), values)
    assert outputs.is_contiguous(memory_format=torch.channels_last)
    assert gradient.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("tracked", [True, False])
def test_bfloat16_is_rounded_as_in_two_passes(affine, tracked):
    layer = nn.BatchNorm2d(3, affine=affine, track_running_stats=tracked)
    values = normals(9, 3, 4, 4).bfloat16()
    other = copy.deepcopy(layer)
    with domains_apart([layer], 4, 5), torch.autocast("cpu", torch.bfloat16):
        outputs = layer(values)
    with torch.autocast("cpu", torch.bfloat16):
        expected = torch.cat([other(values[:4]), other(values[4:])])
    assert outputs.dtype == torch.bfloat16
    assert torch.equal(outputs, expected)
    assert states_equal(layer.state_dict(), other.state_dict())


def test_layers_are_their_own_again_afterwards_even_after_an_error():
    layers = [nn.BatchNorm2d(3), nn.BatchNorm2d(4)]
    with pytest.raises(ZeroDivisionError), domains_apart(layers, 2, 2):
        1 / 0  # noqa: B018 (it is what raises)
    assert all("forward" not in vars(layer) for layer in layers)


# -- which networks ----------------------------------------------------------------------------------------------------------


class BatchMean(nn.Module):
    """Takes the batch's mean away, as no layer of torch's says that it does."""

    def forward(self, values):
        return values - 0.1 * values.mean(0)


class FunctionalNorm(nn.Module):
    def forward(self, values):
        return functional.batch_norm(values, None, None, training=True)


class Shaken(nn.Module):
    def forward(self, values):
        return values if random.random() < 0.999 else -values


class Counting(nn.Module):
    """Counts its passes, and is a little stronger with each."""

    def __init__(self):
        super().__init__()
        self.register_buffer("count", torch.zeros(()))

    def forward(self, values):
        self.count += 1
        return values * (1 + 0.01 * self.count)


class Float32Alone(nn.Module):
    def forward(self, values):
        return values @ torch.eye(values.shape[-1])


class NoFloat64(nn.Module):
    def forward(self, values):
        assert values.dtype == torch.float32, "expected float32"
        return values


class Recomputed(nn.Module):
    """Keeps nothing for its gradient, and computes it anew then, by when the pass is over."""

    def __init__(self, *, use_reentrant):
        super().__init__()
        self.norm = nn.BatchNorm2d(4)
        self.use_reentrant = use_reentrant

    def forward(self, values):
        return checkpoint(self.norm, values, use_reentrant=self.use_reentrant)


class Ghost(nn.Module):
    """Ghost batch-norm: statistics of five samples each."""

    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm2d(4)

    def forward(self, values):
        return torch.cat([self.norm(some) for some in values.split(5)])


class Doubled(nn.BatchNorm2d):
    def forward(self, values):
        return 2 * super().forward(values)


def network_with(*extra):
    """Return a network with batch-norm and a layer more, in train mode."""
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), *extra, nn.Flatten(), nn.Linear(4 * 16, 3)]
    return pixel_classifier(nn.Sequential(*layers), classes=3).train()


SHARED = nn.BatchNorm2d(4)
SOUND = {
    "a plain network": [],
    "statistics of single samples": [nn.GroupNorm(2, 4), nn.InstanceNorm2d(4)],
    "a dropout that drops nothing": [nn.Dropout(0.0).eval()],
}
UNSOUND = {
    "a mean over the batch": [BatchMean()],
    "batch-norm as a function": [FunctionalNorm()],
    "dropout": [nn.Dropout(0.01)],
    "draws from Python's generator": [Shaken()],
    "a layer that changes with each pass": [Counting()],
    "a layer that is used twice": [SHARED, nn.Tanh(), SHARED],
    "a layer that normalizes over processes": [nn.SyncBatchNorm(4)],
    "a layer that does more than batch-norm": [Doubled(4)],
    "a layer that takes float32 alone": [Float32Alone()],
    "a layer that insists on float32": [NoFloat64()],
    "a layer that is computed anew for its gradient": [Recomputed(use_reentrant=False)],
    "a layer that is computed anew for its gradient, as of old": [Recomputed(use_reentrant=True)],
}


@pytest.mark.parametrize("case", [*SOUND, *UNSOUND])
def test_one_pass_is_for_networks_alone_that_cannot_tell_it_from_two(case, two_threads):
    network = network_with(*{**SOUND, **UNSOUND}[case])
    assert OnePass(network).allowed(SOURCE, TARGET) is (case in SOUND)


def test_a_network_that_cuts_batches_into_others_is_passed_in_turn_and_nothing_is_counted_twice(two_threads):
    network = network_with(Ghost())
    expected = copy.deepcopy(network)
    one_pass = OnePass(network)
    assert one_pass.allowed(SOURCE[:3], TARGET[:2])
    forward = TwoDomainForward(network, "separate", target_gradients=True)
    for _ in range(2):
        found = forward(SOURCE, TARGET)
        theirs = [expected(batch) for batch in (SOURCE, TARGET)]
        assert torch.equal(torch.cat([one.logits for one in found]), torch.cat(theirs))
        assert states_equal(network.state_dict(), expected.state_dict())
    assert not forward.one_pass.allowed(SOURCE, TARGET)


@pytest.mark.parametrize("place", ["net.0", "net.1", "net"])
def test_a_network_that_something_looks_into_is_shown_a_domain_at_a_time(place, two_threads):
    network = network_with()
    one_pass = OnePass(network)
    assert one_pass.allowed(SOURCE, TARGET)
    hung = network.get_submodule(place).register_forward_hook(lambda *_: None)
    assert not one_pass.allowed(SOURCE, TARGET)
    hung.remove()
    assert one_pass.allowed(SOURCE, TARGET)


def test_one_sample_has_no_statistics_and_is_left_to_torchs_own_refusal(two_threads):
    assert not OnePass(network_with()).allowed(SOURCE, TARGET[:1])


def test_one_thread_has_nothing_to_gain():
    assert torch.get_num_threads() == 1
    small = torch.ones(16, 3, 32, 32)
    assert not one_pass_pays(small, small)
    assert one_pass_pays(small.to("meta"), small.to("meta"))


@pytest.mark.parametrize(
    ("shape", "pays"), [((16, 3, 32, 32), True), ((17, 3, 32, 32), False), ((2, 3, 224, 224), False)]
)
def test_large_batches_have_nothing_to_gain_either(two_threads, shape, pays):
    assert one_pass_pays(torch.ones(16, *shape[1:]), torch.ones(shape)) is pays
    assert one_pass_pays(torch.ones(16, *shape[1:], device="meta"), torch.ones(shape, device="meta"))


def test_trying_it_out_leaves_no_trace(two_threads):
    network = network_with(nn.Dropout(0.5))
    before, generator = copy.deepcopy(network.state_dict()), torch.get_rng_state()
    OnePass(network).allowed(SOURCE, TARGET)
    assert states_equal(network.state_dict(), before)
    assert torch.equal(torch.get_rng_state(), generator)
    assert all(module.training for module in network.modules())


# -- a step ------------------------------------------------------------------------------------------------------------------


class Noting(nn.Module):
    """Notes how many samples each pass has."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def forward(self, values):
        self.seen.append(len(values))
        return values


@pytest.mark.parametrize(
    ("policy", "target_gradients", "seen"),
    [
        ("separate", True, [10]),
        ("separate", False, [6, 4]),
        ("target-only", True, [6, 4]),
        ("frozen", True, [6, 4]),
        ("joint", True, [10]),
    ],
)
def test_domains_are_passed_at_once_where_that_is_the_policys_meaning(policy, target_gradients, seen, two_threads):
    noting = Noting()
    forward = TwoDomainForward(network_with(noting), policy, target_gradients=target_gradients)
    forward.train_mode()
    forward(SOURCE, TARGET)
    assert noting.seen == seen


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_step_in_one_pass_is_a_step_in_two(precision, two_threads):
    results = []
    for threads in (2, 1):
        torch.set_num_threads(threads)
        network = placed(conv_classifier().train(), CPU)
        forward = TwoDomainForward(network, "separate", target_gradients=True, precision=precision)
        forward.train_mode()
        source, target = forward(SOURCE, TARGET)
        (source.logits.square().mean() + target.features.square().mean()).backward()
        gradients = [parameter.grad for parameter in network.parameters()]
        results.append([source.logits, source.features, target.logits, target.features, *gradients, *network.buffers()])
    tolerance = {"float32": 1e-5, "bfloat16": 2**-6}[precision]
    for one, two in zip(*results, strict=True):
        assert (one - two).abs().max() <= tolerance * two.abs().max()
