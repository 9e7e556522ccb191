"""A third party's package of evaluators and quantizers: some that work, some that break the contract."""

from __future__ import annotations

from typing import ClassVar

import torch
from pydantic import Field
from torch import nn

from harness.api import Evaluation, Evaluator, FractionalFloat, NoOptions, Options, Part, Quantizer, hookimpl


@hookimpl
def harness_evaluators():
    names = ("Darkened", "Confidence", "Escaping", "Wordy", "Training", "Sometimes", "Stepwise")
    return {name.lower(): f"measuring_plugins:{name}" for name in names}


class DarkenedOptions(Options):
    """The options of darkening."""

    eps: FractionalFloat = Field(0.1, gt=0, le=1, description="How much darker every pixel becomes.")


class Darkened(Evaluator[DarkenedOptions]):
    """Subtract eps from every pixel, and report the share of images that were dark already."""

    def threat(self):
        return "linf", self.options.eps

    def evaluate(self, classifier, images, labels):
        darker = (images - self.options.eps).clamp(min=0)
        dark = float((images.flatten(1).mean(1) < self.options.eps).float().mean())
        return Evaluation(perturbed=darker, figures={"dark": dark}, flags=("darkness is no attack",))


class Confidence(Evaluator[NoOptions]):
    """The mean largest probability: a figure without a perturbation."""

    def evaluate(self, classifier, images, labels):
        return Evaluation(figures={"confidence": float(classifier(images).softmax(1).amax(1).mean())})


class Escaping(Darkened):
    """Darken by more than eps."""

    def evaluate(self, classifier, images, labels):
        return Evaluation(perturbed=(images - 2 * self.options.eps).clamp(min=0))


class Wordy(Evaluator[NoOptions]):
    """Return something else."""

    library: ClassVar = None

    def evaluate(self, classifier, images, labels):
        return "robust"


class Training(Evaluator[NoOptions]):
    """Leave the classifier in train mode."""

    def evaluate(self, classifier, images, labels):
        classifier.network.train()
        return Evaluation()


@hookimpl
def harness_quantizers():
    return {"coarse": "measuring_plugins:Coarse", "shapeless": "measuring_plugins:Shapeless"}


class CoarseOptions(Options):
    """The options of coarse rounding."""

    levels: int = Field(4, ge=1, description="Levels on each side of zero.")


class Coarse(Quantizer[CoarseOptions]):
    """Round every weight to a few levels of its tensor's largest magnitude."""

    def quantize(self, network, calibration):
        assert len(calibration) > 0
        with torch.no_grad():
            for weights in network.parameters():
                step = weights.abs().max() / self.options.levels
                weights.copy_((weights / step).round() * step)
        return network

    def num_bytes(self, quantized):
        return sum(weights.numel() for weights in quantized.parameters()) // 2


class Shapeless(Quantizer[NoOptions]):
    """Return a network that gives no logits."""

    def quantize(self, network, calibration):
        return nn.Flatten().eval()


class Sometimes(Evaluator[NoOptions]):
    """Perturb the first batch alone."""

    def __init__(self, options):
        super().__init__(options)
        self.batches = 0

    def evaluate(self, classifier, images, labels):
        self.batches += 1
        return Evaluation(perturbed=images.clone() if self.batches == 1 else None, figures={"batch": self.batches})


class Careless(Evaluator[NoOptions]):
    """Write on the labels, and return what they then say."""

    def evaluate(self, classifier, images, labels):
        labels.zero_()
        return Evaluation(perturbed=torch.zeros_like(images))


class Stepwise(Evaluator[NoOptions]):
    """Noise in three parts, each louder, then two checks: darkening by a fifth, and by nothing."""

    loudness: ClassVar = {"whisper": 0.1, "voice": 0.3, "shout": 0.5, "dusk": 0.2, "noon": 0.0}

    def parts(self):
        return tuple(Part(name, check=name in {"dusk", "noon"}) for name in self.loudness)

    def evaluate(self, classifier, images, labels):
        loudness = self.loudness[self.part.name]
        change = -loudness if self.part.check else loudness * (2 * self.random.uniform(images.shape[1:]) - 1)
        perturbed = (images + change).clamp(0, 1)
        return Evaluation(perturbed=perturbed, figures={"loudness": loudness}, counts={self.part.name: len(images)})

    def remarks(self, findings):
        return (f"{findings.samples} samples, {findings.clean} right, {dict(findings.held)}, {dict(findings.counts)}",)
