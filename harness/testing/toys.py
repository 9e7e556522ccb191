"""A toy network and its images, on which plugins are tried: small, smooth, with batch-norm, on the CPU.

Its labels change over the range of pixels, and the label that an image is to be given is the second best, so that a correction
is possible; some images lie so near to a boundary that any noise may carry them over.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor, nn

    from harness.engine.examples import TrainingExamples
    from harness.engine.images import ImageSet
    from harness.engine.networks import PixelClassifier

NetworkKind = Literal["usual", "without a linear head", "without batch-norm"]

CLASSES = 5
CHANNELS = 3
IMAGE_SIZE = 16
COUNT = 12
"""The images of a batch under attack."""
NEAR = 5
"""Those of them that are nearest to a boundary."""

_SEED = 20
_DRAWN = 400
_GAIN = 6.0


@dataclass(frozen=True)
class Toys:
    """A network in eval mode; images (N, C, H, W), the labels it gives them (N,), its second best (N,), identifiers (N,).

    ``made`` holds further images (uint8) with the labels that the network gives them.
    """

    network: PixelClassifier
    images: Tensor
    predicted: Tensor
    second_best: Tensor
    samples: Tensor
    made: ImageSet

    @classmethod
    def make(cls) -> Toys:
        """Make the toys; they are the same each time."""
        import torch

        network = _network()
        made = _image_set(network)
        images, _ = made.gather(made.rows)
        with torch.no_grad():
            best, labels = network(images).topk(2, dim=1)
        order = (best[:, 0] - best[:, 1]).argsort()
        # The nearest, and then some up to the median distance.
        spread = torch.linspace(NEAR, len(order) // 2, COUNT - NEAR).long()
        rows = torch.cat([order[:NEAR], order[spread]])
        return cls(network, images[rows], labels[rows, 0], labels[rows, 1], 100 + torch.arange(COUNT), made)

    @cached_property
    def networks(self) -> Mapping[NetworkKind, PixelClassifier]:
        """The network, and others that lack what common ones have: their labels are their own."""
        return {
            "usual": self.network,
            "without a linear head": _convolutional_head(),
            "without batch-norm": _plain_network(),
        }

    @cached_property
    def examples(self) -> TrainingExamples:
        """The images that attacks start from which need examples."""
        from harness.engine.examples import TrainingExamples

        return TrainingExamples(self.made)

    @cached_property
    def is_corrected(self) -> Tensor:
        """Which of the images ``made`` (M,) stand for corrected ones: every other."""
        import torch

        return torch.arange(len(self.made)) % 2 == 0

    @cached_property
    def corrected(self) -> ImageSet:
        """The images ``made``, every other one brightened a little, as a source with corrections."""
        rows = self.made.rows[self.is_corrected]
        return self.made.with_replacements(rows, (self.made.gather(rows)[0] + 0.02).clamp(0, 1))

    def flat(self) -> PixelClassifier:
        """Return the network behind a layer of stairs: the labels change over the pixels, the gradient is zero everywhere."""
        from torch import nn

        return _classifier(nn.Sequential(_stairs(), self.network.net))

    def one_by_one(self) -> PixelClassifier:
        """Return the network, asked for one image after the other: a sample's logits are its own, to the last bit."""
        return _classifier(_one_by_one(self.network.net))


def _classifier(net: nn.Module) -> PixelClassifier:
    from harness.engine.networks import PixelClassifier

    return PixelClassifier(net, mean=[0.5] * CHANNELS, std=[0.25] * CHANNELS, num_classes=CLASSES).eval()


def _network() -> PixelClassifier:
    import torch
    from torch import nn

    from harness.engine.randomness import isolated_generators

    with isolated_generators(_SEED):
        net = nn.Sequential(
            nn.Conv2d(CHANNELS, 6, 3, stride=2, padding=1, bias=False),
            batch_norm := nn.BatchNorm2d(6),
            nn.Tanh(),
            nn.Flatten(),
            head := nn.Linear(6 * (IMAGE_SIZE // 2) ** 2, CLASSES),
        ).eval()
        nn.init.normal_(batch_norm.running_mean, std=0.1)  # type: ignore[arg-type]  # it keeps statistics
        nn.init.uniform_(batch_norm.running_var, 0.5, 1.5)  # type: ignore[arg-type]
        network = _classifier(net)
        with torch.no_grad():
            head.weight.mul_(_GAIN)
            # Centred logits, so that every label is given to some images.
            head.bias.sub_(network(torch.rand(512, CHANNELS, IMAGE_SIZE, IMAGE_SIZE)).mean(0))
    return network


def _convolutional_head() -> PixelClassifier:
    from torch import nn

    from harness.engine.randomness import isolated_generators

    with isolated_generators(_SEED):
        layers = [nn.Conv2d(CHANNELS, 6, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(6), nn.Tanh()]
        return _classifier(nn.Sequential(*layers, nn.Conv2d(6, CLASSES, IMAGE_SIZE // 2), nn.Flatten()))


def _plain_network() -> PixelClassifier:
    from torch import nn

    from harness.engine.randomness import isolated_generators

    with isolated_generators(_SEED):
        layers = [nn.Conv2d(CHANNELS, 6, 3, stride=2, padding=1), nn.Tanh(), nn.Flatten()]
        return _classifier(nn.Sequential(*layers, nn.Linear(6 * (IMAGE_SIZE // 2) ** 2, CLASSES)))


def _image_set(network: PixelClassifier) -> ImageSet:
    import torch

    from harness.engine.images import ImageSet, to_pixels
    from harness.engine.randomness import generator

    shape = (_DRAWN, CHANNELS, IMAGE_SIZE, IMAGE_SIZE)
    stored = torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator("toy-images", _SEED))
    with torch.no_grad():
        labels = network(to_pixels(stored, IMAGE_SIZE)).argmax(1)
    return ImageSet(stored, labels, torch.arange(_DRAWN), IMAGE_SIZE, torch.device("cpu"))


def _stairs() -> nn.Module:
    import torch
    from torch import nn

    class Stairs(nn.Module):
        """Round down to multiples of 1/16."""

        def forward(self, values: Tensor) -> Tensor:
            """Return the values rounded."""
            return torch.floor(values * 16) / 16

    return Stairs()


def _one_by_one(net: nn.Module) -> nn.Module:
    import torch
    from torch import nn

    class OneByOne(nn.Module):
        """Pass the images of a batch one after the other."""

        def __init__(self, net: nn.Module) -> None:
            super().__init__()
            self.net = net

        def forward(self, images: Tensor) -> Tensor:
            """Return the logits (N, K) of images (N, C, H, W)."""
            return torch.cat([self.net(image) for image in torch.split(images, 1)])

    return OneByOne(net)
