"""Fake int8 quantization against torch's own integer tensors, a hand computation, and the digits."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from toys import conv_classifier, pixel_classifier, random_images, randomize_batch_norm

from harness.api import InputShape, NoOptions
from harness.engine.domains import DomainView
from harness.engine.images import ImageSet
from harness.engine.prediction import predict
from harness.engine.quantizing import quantized
from harness.testing.digits import train_digits
from harness_classifiers.cifar_resnet import CifarResNet20
from harness_quantization.fake_int8 import FakeInt8, FakeInt8Options
from harness_quantization.rounding import Rounded, affine_grid, rounded_weights


def twin_of(network, images, labels=None, **options):
    stored = images.mul(255).round().to(torch.uint8)
    labels = torch.zeros(len(images), dtype=torch.int64) if labels is None else labels
    calibration = ImageSet(stored, labels, torch.arange(len(images)), images.shape[-1], torch.device("cpu"))
    return quantized(FakeInt8(FakeInt8Options(**options)), network, DomainView(calibration), name="fake-int8", seed=1)


# torch deprecates the tensors that it computes this with; what they hold is still the reference.
DEPRECATED = "ignore:torch.quantize_per_tensor, torch.quantize_per_channel:UserWarning"


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
def test_activations_lie_on_torchs_own_uint8_grid(low, high):
    layer = Rounded(nn.Linear(4, 2))
    values = torch.linspace(low, high, 64).reshape(16, 4)
    layer(values)
    with torch.no_grad():
        layer.freeze()
    expected = torch.quantize_per_tensor(values, *affine_grid(low, high), torch.quint8)
    caught = []
    layer.layer.register_forward_pre_hook(lambda _module, inputs: caught.append(inputs[0]))
    layer(values)
    torch.testing.assert_close(caught[0], expected.dequantize())
    assert (caught[0] - values).abs().max() <= affine_grid(low, high)[0] * 0.5 + 1e-6


def test_a_grid_by_hand():
    # 255 steps over [-1, 4.1] are 0.02 wide; zero lies 50 steps above the lowest.
    assert affine_grid(-1.0, 4.1) == (pytest.approx(0.02), 50)
    assert affine_grid(0.0, 0.0)[1] == 0


def test_gradients_pass_straight_through_the_rounding_and_stop_outside_the_grid():
    layer = Rounded(nn.Linear(1, 1, bias=False))
    nn.init.constant_(layer.layer.weight, 2.0)
    layer(torch.tensor([[0.0], [1.0]]))
    with torch.no_grad():
        layer.freeze()
    values = torch.tensor([[0.3], [5.0]], requires_grad=True)
    layer(values).sum().backward()
    assert values.grad.flatten().tolist() == [2.0, 0.0]


def test_batch_norm_is_folded_and_every_layer_rounds():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = CifarResNet20(NoOptions()).build(InputShape(channels=3, image_size=16, num_classes=10))
        randomize_batch_norm(net)
    network = pixel_classifier(net, classes=10, mean=0.5, std=0.25).eval()
    twin = twin_of(network, random_images(40, shape=(3, 16, 16)), calibration_images=40)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in twin.modules())
    layers = [module for module in twin.modules() if isinstance(module, nn.Conv2d | nn.Linear)]
    assert len(layers) == sum(isinstance(module, Rounded) for module in twin.modules()) == 20
    for layer in layers:
        assert all(len(channel.unique()) <= 255 for channel in layer.weight)
    assert any(isinstance(module, nn.BatchNorm2d) for module in network.modules())  # the network is as it was


def test_the_size_is_a_byte_a_weight_and_four_for_everything_else():
    network = pixel_classifier(nn.Sequential(nn.Flatten(), nn.Linear(12, 5)), classes=5, channels=3).eval()
    quantizer = FakeInt8(FakeInt8Options(calibration_images=4))
    twin = twin_of(network, random_images(4, shape=(3, 2, 2)), calibration_images=4)
    # 60 weights, 5 scales, 5 biases, one scale and zero point of the input
    assert quantizer.num_bytes(twin.net) == 60 + 4 * 5 + 4 * 5 + 8


def test_only_the_calibration_images_tell_the_ranges():
    network = conv_classifier()
    images = random_images(20)
    images[10:] *= 0.1
    few, more = (twin_of(network, images, calibration_images=count) for count in (10, 20))
    dim = twin_of(network, images[10:], calibration_images=10)
    ranges = [
        next(module.grid for module in twin.modules() if isinstance(module, Rounded)) for twin in (few, more, dim)
    ]
    assert ranges[0] == ranges[1] != ranges[2]


def test_on_the_digits_98_percent_of_the_labels_stay():
    case = train_digits()
    stored = ImageSet(case.stored, case.labels, torch.arange(len(case.labels)), 8, torch.device("cpu"))
    calibration = DomainView(stored.subset(torch.arange(500)))
    twin = quantized(FakeInt8(FakeInt8Options()), case.classifier, calibration, name="fake-int8", seed=1)
    ours, theirs = predict(case.classifier, stored), predict(twin, stored)
    assert (ours.predicted == theirs.predicted).float().mean() >= 0.98
    assert abs(ours.accuracy - theirs.accuracy) <= 0.015
