"""Integer networks: what their graphs hold, against exact arithmetic, fake int8 and the digits; engines, copies, errors."""

from __future__ import annotations

import copy
import io
import pickle

import pytest
import torch
import torch.fx as fx_graph
from quantizing import DEPRECATED, domain, residual_network, twin_of
from torch import nn
from torch.ao.nn import quantized as kernels
from torch.nn.functional import cross_entropy
from toys import conv_classifier, pixel_classifier, random_images, randomize_batch_norm

from harness.api import InputShape, NoOptions, PluginError
from harness.engine.images import ImageSet
from harness.engine.networks import frozen_copy
from harness.engine.prediction import predict
from harness.engine.randomness import isolated_generators
from harness.engine.threads import one_thread
from harness.manager import Manager
from harness.testing.digits import train_digits
from harness_classifiers.cifar_resnet import CifarResNet20
from harness_quantization.fake_int8 import FakeInt8, FakeInt8Options
from harness_quantization.fx_int8 import FxInt8, FxInt8Options
from harness_quantization.grids import Grid
from harness_quantization.integers import Int8Logits, Int8Network, engine_set
from harness_quantization.watching import quiet

ENGINES = [
    name for name in torch.backends.quantized.supported_engines if name in ("onednn", "x86", "fbgemm", "qnnpack")
]
pytestmark = pytest.mark.skipif(not ENGINES, reason="this torch has no engine for quantized networks")


def fx(**options):
    return FxInt8(FxInt8Options(**options))


def both(network, images, **options):
    """Return the integer twin and the simulated one, on the grids of this processor's engine."""
    bits = fx().settled().activation_bits
    made = (fx(**options), FakeInt8(FakeInt8Options(**options, activation_bits=bits)))
    return [twin_of(quantizer, network, images) for quantizer in made]


def integer_part(twin):
    [network] = [module for module in twin.modules() if isinstance(module, Int8Network)]
    return network


def test_the_graph_is_of_int8_kernels_with_int8_weights_and_no_float_layer_is_left():
    twin = twin_of(fx(calibration_images=20), residual_network(), random_images(40, shape=(3, 16, 16)))
    graph = integer_part(twin).graph
    kinds = (kernels.Conv2d, Int8Logits)
    called = [graph.get_submodule(node.target) for node in graph.graph.nodes if node.op == "call_module"]
    assert [isinstance(module, kinds) for module in called if not isinstance(module, nn.Identity)] == [True] * 20
    for layer in called[:-1]:
        if isinstance(layer, kernels.Conv2d):
            weights, _ = layer._weight_bias()
            assert (weights.dtype, weights.qscheme()) == (torch.qint8, torch.per_channel_affine)
    assert called[-1].weights.dtype == torch.int8
    functions = [str(node.target) for node in graph.graph.nodes if node.op == "call_function"]
    assert sum("quantized.add_relu" in name for name in functions) == 9
    assert not any("linear" in name or "conv" in name for name in functions)
    floats = (nn.Conv2d, nn.Linear, nn.BatchNorm2d)
    assert not any(isinstance(module, floats) for module in twin.modules())


def test_a_linear_layer_within_the_network_is_an_int8_kernel_too():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = nn.Sequential(nn.Flatten(), nn.Linear(12, 6), nn.ReLU(), nn.Linear(6, 3))
    images = random_images(20, shape=(3, 2, 2))
    integer, fake = both(pixel_classifier(net, classes=3).eval(), images, calibration_images=20)
    [layer] = [module for module in integer.modules() if isinstance(module, kernels.Linear)]
    assert layer._weight_bias()[0].dtype == torch.qint8
    torch.testing.assert_close(integer(images), fake(images), atol=0.01, rtol=0)


@pytest.mark.filterwarnings(DEPRECATED)
def test_logits_are_sums_of_integers_on_no_grid():
    draws = torch.Generator().manual_seed(0)
    weights = torch.randint(-127, 128, (3, 300), generator=draws)
    values = torch.randint(0, 256, (5, 300), generator=draws)
    scales, bias = torch.tensor([0.5, 0.25, 0.125]).double(), torch.tensor([1.0, -2.0, 3.0])
    zeros = torch.zeros(3, dtype=torch.int64)
    layer = Int8Logits(
        torch.quantize_per_channel(weights * scales[:, None].float(), scales, zeros, 0, torch.qint8), bias
    )
    read = torch.quantize_per_tensor((values - 100) * 0.5, 0.5, 100, torch.quint8)
    # All powers of two, so that float32 holds every product of the scales.
    expected = ((values - 100) @ weights.T).double() * (0.5 * scales) + bias
    torch.testing.assert_close(layer(read).double(), expected)


def test_on_the_digits_it_is_as_accurate_as_fp32_and_agrees_with_fake_int8():
    case = train_digits()
    stored = ImageSet(case.stored, case.labels, torch.arange(len(case.labels)), 8, torch.device("cpu"))
    found = [predict(twin, stored) for twin in both(case.classifier, domain(case.stored[:500]))]
    full = predict(case.classifier, stored)
    assert abs(found[0].accuracy - full.accuracy) <= 0.015
    assert (found[0].predicted == full.predicted).float().mean() >= 0.98
    assert (found[0].predicted == found[1].predicted).float().mean() >= 0.98


def trained_residual_network(stored, labels):
    """Train the CIFAR ResNet-20 for three epochs."""
    with isolated_generators(0), one_thread(), torch.enable_grad():
        net = CifarResNet20(NoOptions()).build(InputShape(channels=1, image_size=8, num_classes=10))
        network = pixel_classifier(net, classes=10, channels=1, mean=0.3, std=0.35).train()
        batches = [rows for _ in range(3) for rows in torch.randperm(len(stored)).split(50)]
        optimizer = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=0.1, total_steps=len(batches))
        for rows in batches:
            optimizer.zero_grad()
            cross_entropy(network(stored[rows].float() / 255), labels[rows]).backward()
            optimizer.step()
            schedule.step()
    return network.eval()


def test_a_trained_resnet_20_stays_as_accurate_on_held_out_images_and_both_quantizers_agree():
    case = train_digits()
    train, held_out = torch.arange(1000), torch.arange(1000, len(case.labels))
    network = trained_residual_network(case.stored[train], case.labels[train])
    images = ImageSet(case.stored, case.labels, held_out, 8, torch.device("cpu"))
    full = predict(network, images)
    assert full.accuracy > 0.9
    found = [predict(twin, images) for twin in both(network, domain(case.stored[train]))]
    for twin in found:
        assert abs(twin.accuracy - full.accuracy) <= 0.015
    assert (found[0].predicted == found[1].predicted).float().mean() >= 0.98


def coloured_images(count):
    """Return noise in one colour an image, which even a network with random weights tells apart."""
    return 0.7 * random_images(count, seed=1, shape=(3, 1, 1)) + 0.3 * random_images(count, shape=(3, 32, 32))


def classifier(name):
    """Return an architecture with random weights and the batch-norm statistics of such images."""
    manager = Manager.discover()
    kind = manager.load(manager.find("classifier", name))
    options = {"pretrained": None} if "pretrained" in kind.options_type.model_fields else {}
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(0)
        net = kind(kind.options_type(**options)).build(InputShape(channels=3, image_size=32, num_classes=10))
        randomize_batch_norm(net.eval())
        for layer in net.modules():
            if isinstance(layer, nn.BatchNorm2d):
                layer.momentum = 1.0
                layer.train()
        net((coloured_images(64) - 0.5) / 0.25)
    return pixel_classifier(net, classes=10, mean=0.5, std=0.25).eval()


SLOW = (
    "resnet152",
    "efficientnet_v2_m",
    "cifar-resnet110",
    "cifar-resnet56",
    "cifar-resnet44",
    "resnet50",
    "resnet34",
    "cifar-resnet32",
)
NAMES = [
    pytest.param(plugin.name, marks=pytest.mark.slow) if plugin.name in SLOW else plugin.name
    for plugin in Manager.discover().names("classifier")
]


class Integers(fx_graph.Interpreter):
    """Runs an integer graph, and keeps what lies on a grid, by its scale."""

    def __init__(self, graph):
        super().__init__(graph)
        self.found = {}

    def run_node(self, node):
        value = super().run_node(node)
        if isinstance(value, torch.Tensor) and value.is_quantized:
            self.found.setdefault((value.q_scale(), value.q_zero_point()), []).append(value.dequantize())
        return value


class Simulation(fx_graph.Interpreter):
    """Runs a simulated graph on what the integers were at each grid, and keeps how many steps off the simulation is there."""

    def __init__(self, graph, found):
        super().__init__(graph)
        self.found = found
        self.steps = []

    def run_node(self, node):
        value = super().run_node(node)
        grid = self.fetch_attr(node.target) if node.op == "call_module" else None
        if isinstance(grid, Grid):
            same_grid = self.found[grid.scale.item(), grid.zero_point.item()]
            integers = [other for other in same_grid if other.shape == value.shape]
            nearest = min(integers, key=lambda other: float((value - other).abs().mean()))
            self.steps.append(((value - nearest) / grid.scale).abs().round())
            return nearest
        return value


@pytest.mark.parametrize("name", NAMES)
def test_every_architectures_integers_are_at_each_grid_what_fake_int8_says(name):
    """One grid at a time, since a deep network with random weights makes much of one rounding."""
    network, images = classifier(name), coloured_images(64)
    integer, fake = both(network, images, ranges="minmax", calibration_images=64)
    engine = integer_part(integer).engine
    integers = Integers(integer_part(integer).graph)
    with torch.no_grad(), engine_set(engine), quiet():
        logits = integers.run(images[:8])
    simulation = Simulation(fake.net, integers.found)
    with torch.no_grad():
        torch.testing.assert_close(simulation.run(images[:8]), logits, rtol=1e-4, atol=1e-4)
    steps = torch.cat([steps.flatten() for steps in simulation.steps])
    assert steps.max() <= 1
    assert steps.mean() < 2e-3
    layers = sum(isinstance(module, nn.Conv2d | nn.Linear) for module in fake.modules())
    assert len(simulation.steps) >= layers
    assert torch.equal(integer(images[:8]), logits)


@pytest.mark.parametrize("engine", ENGINES)
def test_each_engine_computes_and_leaves_the_one_that_is_set(engine):
    images = random_images(20, shape=(3, 16, 16))
    network = residual_network()
    other = next((name for name in ENGINES if name != engine), engine)
    with engine_set(other):
        twin = twin_of(fx(engine=engine, ranges="minmax", calibration_images=20), network, images)
        logits = twin(images)
        for same in (copy.deepcopy(twin), pickle.loads(pickle.dumps(twin)), copy.deepcopy(copy.deepcopy(twin))):
            assert torch.equal(same(images), logits)
        with pytest.raises(RuntimeError):
            twin(images[:, :, 0])  # no images, for want of a dimension
        assert torch.backends.quantized.engine == other
    assert integer_part(twin).engine == engine
    spread = (network(images) - network(images).mean(0)).std()
    assert (logits - network(images)).std() < 0.3 * spread


def test_channels_last_and_the_batch_change_nothing():
    images = random_images(40, shape=(3, 16, 16))
    twin = twin_of(fx(calibration_images=20), residual_network(), images)
    whole = twin(images)
    assert torch.equal(twin(images.to(memory_format=torch.channels_last)), whole)
    assert torch.equal(torch.cat([twin(some) for some in images.split(7)]), whole)
    with torch.inference_mode():
        assert torch.equal(twin(images), whole)


def test_it_is_frozen_in_eval_mode_and_stays_on_the_cpu():
    twin = twin_of(fx(calibration_images=20), conv_classifier(), random_images(20))
    assert not any(module.training for module in twin.modules())
    assert not any(parameter.requires_grad for parameter in twin.parameters())
    integer = integer_part(twin)
    assert integer.to("meta") is integer
    assert {value.device.type for value in integer.state_dict().values() if isinstance(value, torch.Tensor)} == {"cpu"}


def test_the_size_is_that_of_the_tensors_that_are_stored():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = nn.Sequential(nn.Conv2d(3, 4, 2), nn.ReLU(), nn.Flatten(), nn.Linear(4, 5))
    quantizer = fx(calibration_images=4)
    twin = twin_of(quantizer, pixel_classifier(net, classes=5).eval(), random_images(4, shape=(3, 2, 2)))
    # Torch keeps a convolution's scales as float64 and its zero points as int64, for each channel.
    convolution = 48 + 4 * (8 + 8) + 4 * 4
    logits = 20 + 5 * 4 + 5 * 4
    normalization = 3 * 4 + 3 * 4
    size = quantizer.num_bytes(twin.net)
    grids = size - (convolution + logits + normalization)
    assert 8 <= grids <= 4 * 16
    with io.BytesIO() as stream:
        torch.save(twin.net.state_dict(), stream)
        assert size < stream.tell()


class Undecided(nn.Module):
    """A network whose graph depends on what it sees."""

    def forward(self, images):
        values = images.flatten(1)
        return values if values.sum() > 0 else -values


class Attentive(nn.Module):
    """Torch has no integer kernel for attention as one layer."""

    def __init__(self):
        super().__init__()
        self.attention = nn.MultiheadAttention(6, 2, batch_first=True)

    def forward(self, images):
        tokens = images.flatten(1).reshape(-1, 2, 6)
        return self.attention(tokens, tokens, tokens)[0].flatten(1)


class Twice(nn.Module):
    """A layer whose outputs would need two grids."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(12, 12)

    def forward(self, images):
        return self.layer(self.layer(images.flatten(1)).relu())


@pytest.mark.parametrize(
    ("net", "why"),
    [
        (Undecided(), "TraceError: symbolically traced variables cannot be used as inputs to control flow"),
        (Attentive(), '"net.attention.out_proj" (NonDynamicallyQuantizableLinear) would stay in float'),
        (Twice(), '"net.layer" (Linear) would stay in float'),
    ],
)
def test_a_network_that_has_no_integer_form_is_told_with_the_way_out(net, why):
    network = pixel_classifier(net, classes=12).eval()
    with pytest.raises(PluginError) as raised:
        fx(calibration_images=4).quantize(frozen_copy(network), domain(random_images(4, shape=(3, 2, 2))))
    assert why in str(raised.value)
    assert str(raised.value).startswith("fx-int8 cannot make integers of this network (")
    assert str(raised.value).endswith('; use "fake-int8", which takes any network')


def test_an_engine_that_torch_lacks_is_told(monkeypatch):
    monkeypatch.setattr(type(torch.backends.quantized), "supported_engines", ["none", "qnnpack"])
    with pytest.raises(
        PluginError, match='this torch has no engine "onednn"; expected one of qnnpack; use "fake-int8"'
    ):
        fx(engine="onednn").quantize(frozen_copy(conv_classifier()), domain(random_images(4)))


@pytest.mark.parametrize(
    ("supported", "vnni", "asked", "expected"),
    [
        (["qnnpack", "none", "onednn", "x86", "fbgemm"], True, {}, ("onednn", 8)),
        (["qnnpack", "none", "onednn", "x86", "fbgemm"], False, {}, ("x86", 7)),
        (["qnnpack", "none", "onednn"], False, {}, ("qnnpack", 8)),
        (["onednn", "x86"], False, {"engine": "onednn"}, ("onednn", 7)),
        (["onednn", "x86"], True, {"activation_bits": 7}, ("onednn", 7)),
        (["onednn", "x86"], True, {"engine": "x86"}, ("x86", 7)),
    ],
)
def test_the_engine_is_the_exactest_that_there_is(monkeypatch, supported, vnni, asked, expected):
    monkeypatch.setattr(type(torch.backends.quantized), "supported_engines", supported)
    monkeypatch.setattr(torch.cpu, "_is_vnni_supported", lambda: vnni)
    options = fx(**asked, ranges="minmax").settled()
    assert (options.engine, options.activation_bits) == expected
    assert options.ranges == "minmax"
    assert fx(**options.model_dump()).settled() == options


def test_bits_that_an_engine_would_add_with_overflow_are_refused(monkeypatch):
    monkeypatch.setattr(type(torch.backends.quantized), "supported_engines", ["onednn", "x86"])
    monkeypatch.setattr(torch.cpu, "_is_vnni_supported", lambda: False)
    with pytest.raises(PluginError) as raised:
        fx(activation_bits=8).settled()
    assert str(raised.value) == (
        'fx-int8: activation_bits: got 8, but engine "x86" adds products of 7 bits at most without overflow on this processor; '
        "take activation_bits: 7, or another engine"
    )


@pytest.mark.skipif("x86" not in ENGINES, reason="this torch has no FBGEMM")
def test_of_seven_bits_the_simulation_has_the_integers_grids_too():
    images = random_images(20, shape=(3, 16, 16))
    network, shared = residual_network(), {"ranges": "minmax", "calibration_images": 20}
    integer = twin_of(fx(engine="x86", **shared), network, images)
    grids = {}
    for bits in (7, 8):
        fake = twin_of(FakeInt8(FakeInt8Options(activation_bits=bits, **shared)), network, images)
        grids[bits] = {module.scale.item() for module in fake.modules() if isinstance(module, Grid)}
    seen = Integers(integer_part(integer).graph)
    with torch.no_grad(), engine_set("x86"), quiet():
        seen.run(images[:4])
    assert {scale for scale, _ in seen.found} == grids[7]
    assert not grids[7] & grids[8]
