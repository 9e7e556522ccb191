"""Architectures and data sets that are sound but for one thing each; ``BROKEN`` says which check tells."""

from __future__ import annotations

import random

from harness.api import Architecture, DataError, DatasetProvider, ImageData, NoOptions, hookimpl


class SoundNet(Architecture[NoOptions]):
    """One linear layer."""

    def build(self, shape):
        from torch import nn

        return nn.Sequential(nn.Flatten(), nn.Linear(shape.channels * shape.image_size**2, shape.num_classes))


class RaisesWhenBuilt(SoundNet):
    """Raise."""

    def build(self, shape):
        raise KeyError("width")


class BuildsNoNetwork(SoundNet):
    """Return a function."""

    def build(self, shape):
        return lambda images: images


class CannotClassify(SoundNet):
    """Build what does not fit the images."""

    def build(self, shape):
        from torch import nn

        return nn.Linear(7, shape.num_classes)


class HasOtherClasses(SoundNet):
    """Ignore the number of classes."""

    def build(self, shape):
        from torch import nn

        return nn.Sequential(nn.Flatten(), nn.Linear(shape.channels * shape.image_size**2, 1000))


class GivesNotANumber(SoundNet):
    """Give infinite logits."""

    def build(self, shape):
        network = super().build(shape)
        network[1].bias.data.fill_(float("inf"))
        return network


class RoundsItsInput(SoundNet):
    """Let no gradient through."""

    def build(self, shape):
        from torch import nn

        class Rounding(nn.Module):
            def forward(self, images):
                return images.round()

        return nn.Sequential(Rounding(), super().build(shape))


class DrawsFromTheSystem(SoundNet):
    """Draw its weights where nobody can seed them."""

    def build(self, shape):
        network = super().build(shape)
        network[1].bias.data.fill_(random.SystemRandom().random())
        return network


def data(**changes):
    import numpy as np

    sound = {
        "train_images": np.zeros((6, 1, 4, 4), dtype=np.uint8),
        "train_labels": np.arange(6) % 2,
        "test_images": np.zeros((2, 1, 4, 4), dtype=np.uint8),
        "test_labels": np.arange(2),
        "classes": ("even", "odd"),
    }
    return ImageData(**{**sound, **changes})


class SoundData(DatasetProvider[NoOptions]):
    """Eight black images."""

    def load(self):
        return data()


class LoadsFloats(SoundData):
    """Load pixels in [0, 1]."""

    def load(self):
        return data(train_images=data().train_images / 255)


class RaisesWhenLoaded(SoundData):
    """Raise what no user can read."""

    def load(self):
        raise IndexError("list index out of range")


class NeedsFiles(SoundData):
    """Say which file is missing."""

    def load(self):
        raise DataError('"train.bin": no such file; download it')


BROKEN = {
    RaisesWhenBuilt: "classifies",
    BuildsNoNetwork: "classifies",
    CannotClassify: "classifies",
    HasOtherClasses: "classifies",
    GivesNotANumber: "classifies",
    RoundsItsInput: "gradient-reaches-images",
    DrawsFromTheSystem: "same-initial-weights",
    LoadsFloats: "loads",
    RaisesWhenLoaded: "loads",
}
SOUND = (SoundNet, SoundData)


def _offered(base):
    return {
        plugin.__name__: f"{__name__}:{plugin.__name__}"
        for plugin in (*SOUND, NeedsFiles, *BROKEN)
        if issubclass(plugin, base)
    }


@hookimpl
def harness_classifiers():
    return _offered(Architecture)


@hookimpl
def harness_datasets():
    return _offered(DatasetProvider)
