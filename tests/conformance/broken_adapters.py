"""Adapters that are sound but for one thing each; ``BROKEN`` says which check tells."""

from __future__ import annotations

import random
from typing import ClassVar

from harness.api import Adapter, AdapterCapabilities, NoOptions, hookimpl


class Sound(Adapter[NoOptions]):
    """Bring the mean logits together, beside the source's cross-entropy."""

    capabilities: ClassVar = AdapterCapabilities()

    def losses(self, source, target):
        from torch.nn.functional import cross_entropy

        apart = (source.logits.mean(0) - target.logits.mean(0)).square().sum()
        return {"cross-entropy": cross_entropy(source.logits, source.labels), "apart": apart}


class SoundOnSource(Sound):
    """Look at the source alone, and say so."""

    capabilities: ClassVar = AdapterCapabilities(target=False)

    def losses(self, source, target):
        return {"loss": source.logits.square().mean()}


class SoundWithLabels(Sound):
    """Read the target's labels, and say so."""

    capabilities: ClassVar = AdapterCapabilities(target_labels=True)

    def losses(self, source, target):
        from torch.nn.functional import cross_entropy

        return {"loss": cross_entropy(source.logits, source.labels) + cross_entropy(target.logits, target.labels)}


class SoundWithModule(Sound):
    """Train a discriminator along."""

    def modules(self, num_features, num_classes):
        from torch import nn

        self.judge = nn.Linear(num_features, 1)
        return {"judge": self.judge}

    def losses(self, source, target):
        apart = self.judge(source.features).mean() - self.judge(target.features).mean()
        return {**super().losses(source, target), "judged": apart}


class SoundWithoutGradients(Adapter[NoOptions]):
    """Shrink the last layer."""

    def adapt(self, network, source, target):
        for images in target.batches(100):
            network(images)
        list(network.parameters())[-1].data.mul_(0.9)


class Raises(Sound):
    """Raise."""

    def losses(self, source, target):
        raise ValueError("no alignment")


class RaisesWhenAdapting(SoundWithoutGradients):
    """Raise in adapt."""

    def adapt(self, network, source, target):
        raise AttributeError("no layer4")


class ReturnsOneLoss(Sound):
    """Return a tensor rather than a dict."""

    def losses(self, source, target):
        return sum(super().losses(source, target).values())


class ReturnsNoLoss(Sound):
    """Return an empty dict."""

    def losses(self, source, target):
        return {}


class ReturnsLossesPerSample(Sound):
    """Forget to average."""

    def losses(self, source, target):
        return {"loss": source.logits.square().sum(1) + target.logits.square().sum(1)}


class ReturnsANumber(Sound):
    """Return a float."""

    def losses(self, source, target):
        return {"loss": float(source.logits.detach().mean())}


class ReturnsNotANumber(Sound):
    """Take the logarithm of zero."""

    def losses(self, source, target):
        return {name: value - (value * 0).log() for name, value in super().losses(source, target).items()}


class IsDetached(Sound):
    """Compute its losses from detached outputs."""

    def losses(self, source, target):
        return {name: value.detach() for name, value in super().losses(source, target).items()}


class TrainsItsModuleAlone(SoundWithModule):
    """Train a discriminator on detached features."""

    def losses(self, source, target):
        return {"judged": self.judge(source.features.detach()).mean() - self.judge(target.features.detach()).mean()}


class HasARootAtZero(Sound):
    """Take a root whose derivative at zero is not finite."""

    def losses(self, source, target):
        return {**super().losses(source, target), "root": (source.logits - source.logits).square().sum().sqrt()}


class IgnoresTheTarget(Sound):
    """Have the target passed through the network for nothing."""

    def losses(self, source, target):
        return {"loss": source.logits.square().mean()}


class PeeksAtTheTarget(SoundOnSource):
    """Look at the target where it can."""

    def losses(self, source, target):
        peeked = target.logits.square().mean() if target.logits.numel() else 0
        return {"loss": source.logits.square().mean() + peeked}


class NeedsTargetLabels(Sound):
    """Read the target's labels without saying so."""

    def losses(self, source, target):
        from torch.nn.functional import cross_entropy

        return {"loss": cross_entropy(source.logits, source.labels) + cross_entropy(target.logits, target.labels)}


class IgnoresTheSource(Sound):
    """Look at the target alone without saying so."""

    def losses(self, source, target):
        return {"loss": target.logits.square().mean()}


class PeeksAtTargetLabels(Sound):
    """Read the target's labels where there are some."""

    def losses(self, source, target):
        from torch.nn.functional import cross_entropy

        losses = super().losses(source, target)
        return losses if target.labels is None else {**losses, "more": cross_entropy(target.logits, target.labels)}


class ClaimsTargetLabels(Sound):
    """Say that it reads the target's labels, and leave them alone."""

    capabilities: ClassVar = AdapterCapabilities(target_labels=True)


class TrainsAnotherModule(SoundWithModule):
    """Return a module that its losses do not use."""

    def modules(self, num_features, num_classes):
        import copy

        return {"judge": copy.deepcopy(super().modules(num_features, num_classes)["judge"])}


class ReturnsNoModule(Sound):
    """Return a function as a module."""

    def modules(self, num_features, num_classes):
        return {"judge": len}


class WorksInPlace(Sound):
    """Scale the images of the batch."""

    def losses(self, source, target):
        target.images.mul_(0.5)
        return super().losses(source, target)


class DrawsFromTheSystem(Sound):
    """Draw from a generator that nobody can seed."""

    def losses(self, source, target):
        weight = random.SystemRandom().random()
        return {name: weight * value for name, value in super().losses(source, target).items()}


class DrawsOnTheSourceAlone(SoundOnSource):
    """Draw so, without the target."""

    def losses(self, source, target):
        return {"loss": random.SystemRandom().random() * source.logits.square().mean()}


class LeavesNotANumber(SoundWithoutGradients):
    """Leave weights that are not finite."""

    def adapt(self, network, source, target):
        next(network.parameters()).data.fill_(float("nan"))


class LeavesAnotherNetwork(SoundWithoutGradients):
    """Put another layer in the last one's place."""

    def adapt(self, network, source, target):
        from torch import nn

        network.net[-1] = nn.Linear(network.net[-1].in_features, 2)


BROKEN = {
    Raises: "adapts",
    RaisesWhenAdapting: "adapts",
    ReturnsOneLoss: "finite-scalar-losses",
    ReturnsNoLoss: "finite-scalar-losses",
    ReturnsLossesPerSample: "finite-scalar-losses",
    ReturnsANumber: "finite-scalar-losses",
    ReturnsNotANumber: "finite-scalar-losses",
    IsDetached: "gradient-reaches-features",
    TrainsItsModuleAlone: "gradient-reaches-features",
    HasARootAtZero: "gradient-reaches-features",
    IgnoresTheTarget: "target-declared",
    PeeksAtTheTarget: "target-declared",
    IgnoresTheSource: "source-declared",
    NeedsTargetLabels: "target-labels-declared",
    PeeksAtTargetLabels: "target-labels-declared",
    ClaimsTargetLabels: "target-labels-declared",
    TrainsAnotherModule: "modules-trained",
    ReturnsNoModule: "modules-trained",
    WorksInPlace: "batches-untouched",
    DrawsFromTheSystem: "same-losses",
    DrawsOnTheSourceAlone: "same-losses",
    LeavesNotANumber: "network-left-sound",
    LeavesAnotherNetwork: "network-left-sound",
}
SOUND = (Sound, SoundOnSource, SoundWithLabels, SoundWithModule, SoundWithoutGradients)


@hookimpl
def harness_adapters():
    return {plugin.__name__: f"{__name__}:{plugin.__name__}" for plugin in (*SOUND, *BROKEN)}
