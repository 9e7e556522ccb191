"""Fake int8 quantization against torch's own integer tensors, hand computations, and the digits."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
from quantizing import DEPRECATED, domain, residual_network, twin_of
from torch import nn
from torch.ao.quantization import MinMaxObserver
from torch.nn.functional import conv2d, linear
from torch.nn.utils import parametrizations
from toys import conv_classifier, pixel_classifier, random_images, randomize_batch_norm

from harness.engine.images import ImageSet
from harness.engine.prediction import predict
from harness.testing.digits import train_digits
from harness_quantization.fake_int8 import FakeInt8, FakeInt8Options
from harness_quantization.grids import Grid, RoundedLayer, activation_observer, rounded_weights


def fake(**options):
    return FakeInt8(FakeInt8Options(**options))


def grid_over(low, high):
    observer = MinMaxObserver(dtype=torch.quint8)
    observer(torch.tensor([low, high]))
    return Grid(observer)


@pytest.mark.filterwarnings(DEPRECATED)
@pytest.mark.parametrize("shape", [(5, 3, 3, 3), (7, 11)])
def test_weights_lie_on_torchs_own_int8_grid_per_channel(shape):
    weights = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    scales = weights.flatten(1).abs().amax(1) / 127
    zeros = torch.zeros(len(weights), dtype=torch.int64)
    expected = torch.quantize_per_channel(weights, scales, zeros, 0, torch.qint8)
    assert expected.int_repr().abs().max() <= 127
    torch.testing.assert_close(rounded_weights(weights), expected.dequantize())


@pytest.mark.filterwarnings(DEPRECATED)
@pytest.mark.parametrize(("low", "high"), [(0.0, 6.0), (-1.5, 2.5), (0.5, 2.0), (-3.0, -1.0)])
def test_activations_lie_on_torchs_own_uint8_grid_which_holds_zero(low, high):
    values = torch.linspace(low, high, 64)
    scale = (max(high, 0) - min(low, 0)) / 255
    expected = torch.quantize_per_tensor(values, scale, round(-min(low, 0) / scale), torch.quint8)
    rounded = grid_over(low, high)(values)
    torch.testing.assert_close(rounded, expected.dequantize())
    assert (rounded - values).abs().max() <= scale * 0.5 + 1e-6


def test_a_grid_by_hand():
    # 255 steps over [-1, 4.1] are 0.02 wide; zero lies 50 steps above the lowest.
    grid = grid_over(-1.0, 4.1)
    assert (grid.scale.item(), grid.zero_point.item()) == (pytest.approx(0.02), 50)
    assert grid(torch.tensor([0.029, 0.031, 9.0, -9.0])).tolist() == pytest.approx([0.02, 0.04, 4.1, -1.0])


def test_gradients_pass_straight_through_the_rounding_and_stop_outside_the_grid():
    values = torch.tensor([0.3, 5.0, -2.0], requires_grad=True)
    (grid_over(0.0, 1.0)(values) * torch.tensor([2.0, 3.0, 4.0])).sum().backward()
    assert values.grad.tolist() == [2.0, 0.0, 0.0]


def test_a_convolution_and_a_linear_layer_are_what_rounding_by_hand_makes_of_them():
    """Pixels, the convolution's outputs after ReLU, and both layers' weights are rounded; biases and logits are not."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(16, 5))
    network, images = pixel_classifier(net, classes=5, mean=0.5, std=0.25).eval(), random_images(20, shape=(3, 4, 4))
    stored = images.mul(255).round() / 255
    twin = twin_of(fake(ranges="minmax", calibration_images=20), network, images)
    pixels = (stored - 0.5) / 0.25
    pixels = grid_over(float(pixels.min()), float(pixels.max()))(pixels)
    hidden = conv2d(pixels, rounded_weights(net[0].weight), net[0].bias).relu()
    exact = conv2d((stored - 0.5) / 0.25, net[0].weight, net[0].bias).relu().detach()
    hidden = grid_over(0.0, float(exact.max()))(hidden).flatten(1)
    torch.testing.assert_close(twin(stored), linear(hidden, rounded_weights(net[3].weight), net[3].bias))


def test_batch_norm_is_folded_and_what_every_layer_reads_is_rounded():
    network = residual_network()
    twin = twin_of(fake(calibration_images=40), network, random_images(40, shape=(3, 16, 16)))
    assert not any(isinstance(module, nn.BatchNorm2d) for module in twin.modules())
    layers = [module for module in twin.modules() if isinstance(module, nn.Conv2d | nn.Linear)]
    assert len(layers) == 20
    levels = []
    for layer in layers:
        layer.register_forward_pre_hook(lambda _module, inputs: levels.append(len(inputs[0].unique())))
        assert all(len(channel.unique()) <= 255 for channel in layer.weight)
    twin(random_images(8, seed=1, shape=(3, 16, 16)))
    assert len(levels) == 20
    assert max(levels) <= 256
    assert any(isinstance(module, nn.BatchNorm2d) for module in network.modules())  # the network is as it was


def test_what_is_added_lies_on_a_grid_and_averages_do_once_they_are_read():
    twin = twin_of(fake(calibration_images=40), residual_network(), random_images(40, shape=(3, 16, 16)))
    graph = twin.net
    seen = {}

    class Watching(torch.fx.Interpreter):
        def run_node(self, node):
            seen[node] = super().run_node(node)
            return seen[node]

    Watching(graph).run(random_images(8, seed=1, shape=(3, 16, 16)))
    added = [node for node in seen if node.op == "call_function" and "add" in node.name]
    assert len(added) == 9
    for node in added:
        assert all(len(seen[term].unique()) <= 256 for term in node.all_input_nodes)
    average, flat, read = [node for node in seen if node.op != "output"][-4:-1]
    assert "pool" in average.name
    assert len(seen[flat].unique()) > 256 >= len(seen[read].unique())
    finest = seen[average.all_input_nodes[0]].unique().diff().min()
    assert seen[read].unique().diff().min() < 0.9 * finest  # a grid of their own, for they reach less far


def test_the_size_is_a_byte_a_weight_and_four_for_everything_else():
    network = pixel_classifier(nn.Sequential(nn.Flatten(), nn.Linear(12, 5)), classes=5, channels=3).eval()
    quantizer = fake(calibration_images=4)
    twin = twin_of(quantizer, network, random_images(4, shape=(3, 2, 2)))
    # 60 weights, 5 scales, 5 biases, scale and zero point of the input, 3 means and 3 standard deviations
    assert quantizer.num_bytes(twin.net) == 60 + 4 * 5 + 4 * 5 + 8 + 4 * 6


def test_only_the_calibration_images_tell_the_ranges():
    images = random_images(20)
    images[:10] *= 0.1
    images[10:, :, :1] = 1.0
    few, more = (twin_of(fake(calibration_images=count), conv_classifier(), images) for count in (10, 20))
    scales = [next(grid.scale for grid in twin.modules() if isinstance(grid, Grid)) for twin in (few, more)]
    # Dim pixels reach from -2 to 0 once they are normalized, all of them to 2.
    assert [255 * float(scale) for scale in scales] == pytest.approx([2.0, 4.0], abs=0.1)


def test_a_histogram_leaves_out_what_is_rare_and_minmax_nothing():
    values = torch.rand(10_000, generator=torch.Generator().manual_seed(0))
    values[7] = 20.0
    grids = {}
    for ranges in ("minmax", "histogram"):
        observer = activation_observer(FakeInt8Options(ranges=ranges), largest=255)()
        observer(values)
        grids[ranges] = Grid(observer)
    assert grids["minmax"].scale.item() * 255 == pytest.approx(20.0)
    errors = {name: float((grid(values) - values).square()[values < 1].sum()) for name, grid in grids.items()}
    assert grids["histogram"].scale < grids["minmax"].scale
    assert errors["histogram"] < errors["minmax"]


class Undecided(nn.Module):
    """A network whose graph depends on what it sees."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(12, 6), nn.Linear(6, 3)

    def forward(self, images):
        values = self.first(images.flatten(1))
        return self.second(values if values.sum() > 0 else values.relu())


def test_a_network_that_cannot_be_traced_rounds_what_each_layer_reads():
    network, images = pixel_classifier(Undecided(), classes=3).eval(), random_images(30, shape=(3, 2, 2))
    twin = twin_of(fake(calibration_images=30, ranges="minmax"), network, images)
    layers = [module for module in twin.modules() if isinstance(module, RoundedLayer)]
    assert [type(layer.reading) for layer in layers] == [Grid, Grid]
    assert all(torch.equal(layer.weight, rounded_weights(layer.weight)) for layer in layers)
    with torch.no_grad():
        difference = (twin(images) - network(images)).abs().max()
    assert 0 < difference < 0.05
    leaf = images.clone().requires_grad_()
    assert torch.autograd.grad(twin(leaf).sum(), leaf)[0].abs().sum() > 0


class UndecidedBlock(Undecided):
    """The same behind a convolution whose output only its batch-norm reads, or a sum too."""

    def __init__(self, *, also_added=False):
        super().__init__()
        self.convolution, self.batch_norm = nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3)
        self.also_added = also_added
        randomize_batch_norm(self)

    def forward(self, images):
        values = self.convolution(images)
        normalized = self.batch_norm(values)
        return super().forward(normalized + values if self.also_added else normalized)


def by_layers(net):
    """Return the quantizer of a network without a graph, the network, its twin, and images that it was calibrated on."""
    network, images = pixel_classifier(net, classes=3).eval(), random_images(30, shape=(3, 2, 2))
    quantizer = fake(calibration_images=30, ranges="minmax")
    return quantizer, network, twin_of(quantizer, network, images), images


def test_batch_norm_is_folded_where_a_network_has_no_graph_and_the_row_says_what_is_missing():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        quantizer, network, twin, images = by_layers(UndecidedBlock())
    assert not any(isinstance(module, nn.BatchNorm2d) for module in twin.modules())
    convolution, norm = network.net.convolution, network.net.batch_norm
    factor = (norm.weight / (norm.running_var + norm.eps).sqrt()).detach()
    [layer] = [module for module in twin.modules() if isinstance(module, nn.Conv2d)]
    torch.testing.assert_close(layer.weight, rounded_weights(convolution.weight.detach() * factor[:, None, None, None]))
    torch.testing.assert_close(layer.bias, (convolution.bias - norm.running_mean) * factor + norm.bias)
    with torch.no_grad():
        assert 0 < (twin(images) - network(images)).abs().max() < 0.05
    [remark] = quantizer.remarks
    assert remark == (
        "only what layers read is rounded, sums stay in float: not the grids of integer arithmetic (TraceError: symbolically "
        "traced variables cannot be used as inputs to control flow)"
    )


def test_a_convolution_that_others_read_too_is_not_folded():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        quantizer, network, twin, images = by_layers(UndecidedBlock(also_added=True))
    assert any(isinstance(module, nn.BatchNorm2d) for module in twin.modules())
    assert "1 of its batch-norm layers stay unfolded" in quantizer.remarks[0]
    with torch.no_grad():
        assert 0 < (twin(images) - network(images)).abs().max() < 0.1


def test_of_a_network_with_a_graph_nothing_is_remarked():
    quantizer = fake(calibration_images=20)
    twin_of(quantizer, conv_classifier(), random_images(20))
    assert quantizer.remarks == ()


def test_what_else_goes_wrong_makes_no_weaker_quantizer(monkeypatch):
    def broken(*_):
        raise RuntimeError("out of memory")

    monkeypatch.setattr("harness_quantization.watching.prepare_fx", broken)
    with pytest.raises(RuntimeError, match="out of memory"):
        twin_of(fake(), conv_classifier(), random_images(20))


class Attentive(nn.Module):
    """Attention reads its last layer's weights without calling it."""

    def __init__(self):
        super().__init__()
        self.attention = nn.MultiheadAttention(6, 2, batch_first=True)
        self.head = nn.Linear(6, 3)

    def forward(self, images):
        tokens = images.flatten(1).reshape(-1, 2, 6)
        return self.head(self.attention(tokens, tokens, tokens)[0].mean(1))


def test_attention_is_rounded_as_far_as_its_layers_are_called():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = pixel_classifier(Attentive(), classes=3).eval()
    images = random_images(30, shape=(3, 2, 2))
    twin = twin_of(fake(calibration_images=30), network, images)
    with torch.no_grad():
        assert 0 < (twin(images) - network(images)).abs().max() < 0.02
    head = next(module for module in twin.modules() if isinstance(module, RoundedLayer) and module.called)
    assert head.weight.shape == (3, 6)


def test_weights_that_are_computed_are_rounded_too():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        layer = parametrizations.weight_norm(nn.Linear(12, 5))
    network = pixel_classifier(nn.Sequential(nn.Flatten(), layer), classes=5).eval()
    twin = twin_of(fake(calibration_images=4), network, random_images(4, shape=(3, 2, 2)))
    [rounded] = [module.weight for module in twin.modules() if isinstance(module, nn.Linear)]
    torch.testing.assert_close(rounded, rounded_weights(layer.weight))


def test_copies_and_pickles_give_the_same_logits():
    images = random_images(20)
    twin = twin_of(fake(calibration_images=20), conv_classifier(), images)
    for other in (copy.deepcopy(twin), pickle.loads(pickle.dumps(twin))):
        assert torch.equal(other(images), twin(images))


def test_on_the_digits_98_percent_of_the_labels_stay():
    case = train_digits()
    stored = ImageSet(case.stored, case.labels, torch.arange(len(case.labels)), 8, torch.device("cpu"))
    twin = twin_of(fake(), case.classifier, domain(case.stored[:500]))
    ours, theirs = predict(case.classifier, stored), predict(twin, stored)
    assert (ours.predicted == theirs.predicted).float().mean() >= 0.98
    assert abs(ours.accuracy - theirs.accuracy) <= 0.015
