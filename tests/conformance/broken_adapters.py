"""Adapters that are sound but for one thing each; ``BROKEN`` says which check tells."""

from __future__ import annotations

import random
from typing import ClassVar

from harness.api import Adapter, AdapterCapabilities, HarnessError, NoOptions, WeightAveraging, hookimpl


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


class SoundRampUp(Sound):
    """Bring the means together more and more, beginning with not at all; train a discriminator from the second step on."""

    def modules(self, num_features, num_classes):
        from torch import nn

        self.judge = nn.Linear(num_features, 1)
        return {"judge": self.judge}

    def losses(self, source, target):
        losses = super().losses(source, target)
        if self.loop.step == 0:
            return {**losses, "apart": 0 * losses["apart"].detach()}
        judged = self.judge(source.features).square().mean()
        return {**losses, "apart": self.loop.progress * losses["apart"], "judged": judged}


class SoundInPhases(SoundWithModule):
    """Take the source, the target, and the discriminator in turns of three steps; train what each of them concerns."""

    def trained(self, network):
        return list(self.judge.parameters()) if self.loop.step % 3 == 2 else list(network.parameters())

    def losses(self, source, target):
        from torch.nn.functional import cross_entropy

        phase = self.loop.step % 3
        if phase == 0:
            return {"loss": cross_entropy(source.logits, source.labels)}
        return {"loss": target.logits.square().mean() if phase == 1 else self.judge(source.features).square().mean()}


class SoundWithWrong(Sound):
    """Look at which target samples were wrong, and at no label."""

    capabilities: ClassVar = AdapterCapabilities(target_labels=True)

    def losses(self, source, target):
        weights = target.wrong.float()
        return {**super().losses(source, target), "wrong": (weights * target.logits.square().sum(1)).mean()}


class SoundWithPairs(Sound):
    """Pull originals towards their corrections, in passes of its own."""

    capabilities: ClassVar = AdapterCapabilities(target_labels=True)

    def losses(self, source, target):
        originals, corrected, _ = next(iter(self.loop.corrections.batches(8)))
        wanted = self.loop.initial.outputs(corrected).logits
        return {
            **super().losses(source, target),
            "pull": (self.loop.network.outputs(originals).logits - wanted).square().mean(),
        }


class SoundBalanced(Sound):
    """Compare class by class, on batches that hold as many samples of each."""

    capabilities: ClassVar = AdapterCapabilities(target_labels=True, sampling="class-balanced")

    def losses(self, source, target):
        assert source.labels.tolist() == target.labels.tolist()
        count = len(source.labels.unique())
        apart = (source.logits.view(count, -1, 5).mean(1) - target.logits.view(count, -1, 5).mean(1)).square().sum()
        return {**super().losses(source, target), "apart": apart}


class SoundMemory(Sound):
    """Bring the target towards a mean of earlier sources that a checkpoint holds; average the weights, tell figures."""

    def modules(self, num_features, num_classes):
        import torch

        self.memory = torch.nn.Module()
        self.memory.register_buffer("mean", torch.zeros(num_classes))
        return {"memory": self.memory}

    def losses(self, source, target):
        self.memory.mean.lerp_(source.logits.detach().mean(0), 0.1)
        return {**super().losses(source, target), "apart": (target.logits.mean(0) - self.memory.mean).square().sum()}

    def diagnostics(self, source, target):
        return {"apart": (target.logits.mean(0) - self.memory.mean).square().sum()}

    def remarks(self, num_features, num_classes):
        yield f"remembers {num_classes} numbers"

    def weight_averaging(self):
        return WeightAveraging(decay=0.9)


class SoundRefusal(Sound):
    """Say that it needs a linear head."""

    def remarks(self, num_features, num_classes):
        if self.loop.network.head is None:
            raise HarnessError("needs a linear head; take another classifier")
        return []

    def losses(self, source, target):
        return {**super().losses(source, target), "decay": self.loop.network.head.weight.square().sum()}


class SoundWithoutGradients(Adapter[NoOptions]):
    """Shrink the last layer."""

    def adapt(self, network, source, target):
        for images in target.batches(100):
            network(images)
        list(network.parameters())[-1].data.mul_(0.9)


class SoundFigures(SoundWithoutGradients):
    """Validate, and tell what came of it."""

    def adapt(self, network, source, target):
        return {"accuracy": self.loop.validate()}


class Raises(Sound):
    """Raise."""

    def losses(self, source, target):
        raise ValueError("no alignment")


class RaisesWhenAdapting(SoundWithoutGradients):
    """Raise in adapt."""

    def adapt(self, network, source, target):
        raise AttributeError("no layer4")


class RaisesWhenTelling(Sound):
    """Raise in diagnostics."""

    def diagnostics(self, source, target):
        raise ValueError("nothing to tell")


class RaisesWithAQueue(Sound):
    """Take the past for one that is never there."""

    def losses(self, source, target):
        (nothing,) = {len(source.past.logits), 0}
        return {**super().losses(source, target), "past": nothing * source.logits.sum()}


class RaisesWhenPreparing(Sound):
    """Raise in prepare."""

    def prepare(self, images, labels):
        raise ValueError("no patches")


class Validates(Sound):
    """Look at validation samples at every step."""

    def losses(self, source, target):
        return {name: self.loop.validate() * loss for name, loss in super().losses(source, target).items()}


class RemarksALetterAtATime(Sound):
    """Return a text as its remarks."""

    def remarks(self, num_features, num_classes):
        return "too few samples"


class ListsItsModules(SoundWithModule):
    """Return modules without names."""

    def modules(self, num_features, num_classes):
        return list(super().modules(num_features, num_classes).values())


class TrainsNoParameter(Sound):
    """Train nothing."""

    def trained(self, network):
        return []


class TrainsAForeignParameter(Sound):
    """Train the classifier as it was before."""

    def trained(self, network):
        import torch

        return [torch.nn.Parameter(torch.zeros(3))]


class AveragesByDict(Sound):
    """Return a dict where a WeightAveraging is due."""

    def weight_averaging(self):
        return {"decay": 0.9}


class TellsAVector(Sound):
    """Tell a figure for each class."""

    def diagnostics(self, source, target):
        return {"means": target.logits.mean(0)}


class TellsNotANumber(Sound):
    """Tell a figure of nothing."""

    def diagnostics(self, source, target):
        return {"mean": target.logits[:0].mean()}


class PreparesOneImage(Sound):
    """Return fewer images."""

    def prepare(self, images, labels):
        return images[:1]


class AdaptsToAList(SoundWithoutGradients):
    """Return figures without names."""

    def adapt(self, network, source, target):
        return [1.0, 2.0]


class NeedsAHead(Sound):
    """Take every network to end in a linear layer."""

    def losses(self, source, target):
        return {**super().losses(source, target), "decay": self.loop.network.head.weight.square().sum()}


class NeedsAHeadToAdapt(SoundWithoutGradients):
    """Take so when it adapts."""

    def adapt(self, network, source, target):
        self.loop.network.head.weight.data.mul_(0.9)


class NeedsBatchNorm(Sound):
    """Train batch-norm's parameters, whether there are any or not."""

    def trained(self, network):
        from torch import nn

        (layer,) = (module for module in network.modules() if isinstance(module, nn.BatchNorm2d))
        return list(layer.parameters())


class RemembersInTheInstance(SoundMemory):
    """Keep its mean where no checkpoint holds it."""

    def modules(self, num_features, num_classes):
        super().modules(num_features, num_classes)
        return {}


class RemembersTooLate(Sound):
    """Keep the first batch for later steps, outside of any module."""

    def losses(self, source, target):
        if self.loop.step == 0:
            self.first = source.logits.detach()
        return {**super().losses(source, target), "drift": (source.logits - self.first).square().mean()}


class RemembersMoreAndMore(Sound):
    """Keep all batches in a buffer that grows."""

    def modules(self, num_features, num_classes):
        import torch

        self.memory = torch.nn.Module()
        self.memory.register_buffer("all", torch.zeros(1, num_classes))
        return {"memory": self.memory}

    def losses(self, source, target):
        import torch

        self.memory.all = torch.cat([self.memory.all, source.logits.detach()])
        return {
            **super().losses(source, target),
            "far": (target.logits.mean(0) - self.memory.all.mean(0)).square().sum(),
        }


class DrawsFromNumpy(Sound):
    """Draw from a generator that a loop which goes on draws from anew."""

    def losses(self, source, target):
        import numpy as np

        weight = np.random.uniform(0.5, 1.5)  # noqa: NPY002
        return {name: weight * loss for name, loss in super().losses(source, target).items()}


class RemembersInTheClass(Sound):
    """Count all losses of a process."""

    count = 0

    def losses(self, source, target):
        RemembersInTheClass.count += 1
        return {name: self.count * loss for name, loss in super().losses(source, target).items()}


class PeeksAtTargetLabelsLater(Sound):
    """Read the target's labels more and more, where there are some."""

    def losses(self, source, target):
        from torch.nn.functional import cross_entropy

        losses = super().losses(source, target)
        if target.labels is None:
            return losses
        return {**losses, "more": self.loop.progress * cross_entropy(target.logits, target.labels)}


class LeavesADeadNetwork(SoundWithoutGradients):
    """Leave finite weights whose sums are not."""

    def adapt(self, network, source, target):
        list(network.parameters())[-2].data.fill_(3e38)


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
    RaisesWhenTelling: "adapts",
    RaisesWithAQueue: "adapts",
    RaisesWhenPreparing: "adapts",
    Validates: "adapts",
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
    PeeksAtTargetLabelsLater: "target-labels-declared",
    ClaimsTargetLabels: "target-labels-declared",
    TrainsAnotherModule: "modules-trained",
    ReturnsNoModule: "hooks-answer",
    RemarksALetterAtATime: "hooks-answer",
    ListsItsModules: "hooks-answer",
    TrainsNoParameter: "hooks-answer",
    TrainsAForeignParameter: "hooks-answer",
    AveragesByDict: "hooks-answer",
    TellsAVector: "hooks-answer",
    TellsNotANumber: "hooks-answer",
    PreparesOneImage: "hooks-answer",
    AdaptsToAList: "hooks-answer",
    NeedsAHead: "works-on-other-networks",
    NeedsAHeadToAdapt: "works-on-other-networks",
    NeedsBatchNorm: "works-on-other-networks",
    RemembersInTheInstance: "resumes-alike",
    RemembersTooLate: "resumes-alike",
    RemembersMoreAndMore: "resumes-alike",
    DrawsFromNumpy: "resumes-alike",
    WorksInPlace: "batches-untouched",
    DrawsFromTheSystem: "same-losses",
    DrawsOnTheSourceAlone: "same-losses",
    RemembersInTheClass: "same-losses",
    LeavesNotANumber: "network-left-sound",
    LeavesAnotherNetwork: "network-left-sound",
    LeavesADeadNetwork: "network-left-sound",
}
SOUND = (
    Sound,
    SoundOnSource,
    SoundWithLabels,
    SoundWithModule,
    SoundRampUp,
    SoundInPhases,
    SoundWithWrong,
    SoundWithPairs,
    SoundBalanced,
    SoundMemory,
    SoundRefusal,
    SoundWithoutGradients,
    SoundFigures,
)


@hookimpl
def harness_adapters():
    return {plugin.__name__: f"{__name__}:{plugin.__name__}" for plugin in (*SOUND, *BROKEN)}
