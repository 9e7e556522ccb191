"""What the tests of quantizers share: an installed third party, calibration images, twins, a residual network."""

from __future__ import annotations

import torch
from running import TESTS
from toys import pixel_classifier, randomize_batch_norm

from harness.api import InputShape, NoOptions
from harness.engine.domains import DomainView
from harness.engine.images import ImageSet
from harness.engine.quantizing import quantized
from harness_classifiers.cifar_resnet import CifarResNet20

# torch deprecates the tensors that tests compute references with; what they hold is still the reference.
DEPRECATED = "ignore:torch.quantize_per_tensor, torch.quantize_per_channel:UserWarning"


def install_measuring(tmp_path, monkeypatch):
    """Lay out the distribution "measuring", as pip would; its module is in the tests' folder."""
    info = tmp_path / "site" / "measuring-2.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: measuring\nVersion: 2.0\n")
    (info / "entry_points.txt").write_text("[harness.v1]\nmeasuring = measuring_plugins\n")
    monkeypatch.syspath_prepend(tmp_path / "site")
    monkeypatch.syspath_prepend(TESTS)


def domain(images, *, device="cpu"):
    """Return images (N, C, S, S), uint8 or in [0, 1], as calibration images."""
    stored = images if images.dtype == torch.uint8 else images.mul(255).round().to(torch.uint8)
    rows = torch.arange(len(stored))
    return DomainView(ImageSet(stored, torch.zeros_like(rows), rows, stored.shape[-1], torch.device(device)))


def twin_of(quantizer, network, calibration):
    """Return the quantized twin; ``calibration`` are images or a domain."""
    shown = domain(calibration) if isinstance(calibration, torch.Tensor) else calibration
    return quantized(quantizer, network, shown, name="int8", seed=1)


def residual_network(image_size=16):
    """Return a ResNet-20 with random weights and statistics."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = CifarResNet20(NoOptions()).build(InputShape(channels=3, image_size=image_size, num_classes=10))
        randomize_batch_norm(net)
    return pixel_classifier(net, classes=10, mean=0.5, std=0.25).eval()
