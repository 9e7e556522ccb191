"""Quantizers, evaluators and report formats that are sound but for one thing each; ``BROKEN`` says which check tells."""

from __future__ import annotations

import random

from harness.api import Evaluation, Evaluator, NoOptions, Part, Quantizer, ReportFormat, hookimpl


class SoundQuantizer(Quantizer[NoOptions]):
    """Round weights to 32 levels on each side of zero."""

    levels = 32

    def quantize(self, network, calibration):
        import torch

        with torch.no_grad():
            for weights in network.parameters():
                step = weights.abs().max().clamp_min(1e-12) / self.levels
                weights.copy_((weights / step).round() * step)
        return network

    def num_bytes(self, quantized):
        return sum(weights.numel() for weights in quantized.parameters())


class RaisesWhenQuantizing(SoundQuantizer):
    """Raise."""

    def quantize(self, network, calibration):
        raise RuntimeError("no engine")


class LeavesTrainMode(SoundQuantizer):
    """Return a network in train mode."""

    def quantize(self, network, calibration):
        return super().quantize(network, calibration).train()


class GivesNoLogits(SoundQuantizer):
    """Return a network that gives pixels."""

    def quantize(self, network, calibration):
        from torch import nn

        return nn.Flatten().eval()


class DividesByZero(SoundQuantizer):
    """Quantize by a scale of zero."""

    def quantize(self, network, calibration):
        import torch

        with torch.no_grad():
            for weights in network.parameters():
                weights.mul_(float("nan"))
        return network


class ForgetsTheWeights(SoundQuantizer):
    """Quantize to nothing."""

    def quantize(self, network, calibration):
        import torch

        with torch.no_grad():
            for weights in network.parameters():
                weights.zero_()
        return network


class RoundsAtRandom(SoundQuantizer):
    """Draw the step from the system."""

    def quantize(self, network, calibration):
        self.levels = random.SystemRandom().randint(32, 100_000)
        return super().quantize(network, calibration)


class LosesItsScaleInCopies(SoundQuantizer):
    """Keep a scale where copies do not look for it."""

    def quantize(self, network, calibration):
        from torch import nn

        scales = {}

        class Scaled(nn.Module):
            def __init__(self):
                super().__init__()
                self.network = network

            def forward(self, images):
                return self.network(images) * scales.get(id(self), 2.0)

        twin = Scaled().eval()
        scales[id(twin)] = 1.0
        return twin


class RoundsItsGradientsAway(SoundQuantizer):
    """Round what it reads, whose derivative is zero, and claim gradients."""

    differentiable = True

    def quantize(self, network, calibration):
        from torch import nn

        class Rounding(nn.Module):
            def __init__(self):
                super().__init__()
                self.network = network

            def forward(self, images):
                return self.network((images * 64).round() / 64)

        return Rounding().eval()


class TellsHalfBytes(SoundQuantizer):
    """Count in halves."""

    def num_bytes(self, quantized):
        return super().num_bytes(quantized) / 2


class SoundEvaluator(Evaluator[NoOptions]):
    """Darken by a tenth, and report the mean pixel."""

    def threat(self):
        return "linf", 0.1

    def evaluate(self, classifier, images, labels):
        darker = (images - 0.1).clamp(min=0)
        return Evaluation(perturbed=darker, figures={"mean": float(images.mean())}, flags=("darkened",))


class RaisesWhenEvaluating(SoundEvaluator):
    """Raise."""

    def evaluate(self, classifier, images, labels):
        raise ValueError("no images of cats")


class LeavesTheBall(SoundEvaluator):
    """Darken by more than eps."""

    def evaluate(self, classifier, images, labels):
        return Evaluation(perturbed=(images - 0.3).clamp(min=0))


class WritesOnImages(SoundEvaluator):
    """Darken in place."""

    def evaluate(self, classifier, images, labels):
        return Evaluation(perturbed=images.sub_(0.1).clamp_(min=0))


class FindsNoNumber(SoundEvaluator):
    """Report a figure that is none."""

    def evaluate(self, classifier, images, labels):
        return Evaluation(figures={"margin": float("inf")})


class FlagsNothing(SoundEvaluator):
    """Raise an empty flag."""

    def evaluate(self, classifier, images, labels):
        return Evaluation(figures={"mean": 0.5}, flags=("",))


class FindsNothing(SoundEvaluator):
    """Find nothing."""

    def evaluate(self, classifier, images, labels):
        return Evaluation()


class FindsAtRandom(SoundEvaluator):
    """Draw from the system."""

    def evaluate(self, classifier, images, labels):
        return Evaluation(figures={"luck": random.SystemRandom().random()})


class SoundInParts(SoundEvaluator):
    """Darken by a little, then by more, then see what brightening does."""

    def parts(self):
        return Part("dusk"), Part("night"), Part("day", check=True)

    def evaluate(self, classifier, images, labels):
        amount = {"dusk": 0.03, "night": 0.1, "day": -0.1}[self.part.name]
        return Evaluation(perturbed=(images - amount).clamp(0, 1), figures={"mean": float(images.mean())})


class RemembersParts(SoundInParts):
    """Count its calls."""

    calls = 0

    def evaluate(self, classifier, images, labels):
        self.calls += 1
        return Evaluation(perturbed=images, figures={"calls": self.calls})


class NeedsTheFirstPart(SoundInParts):
    """Go on from what the first part left on self."""

    def evaluate(self, classifier, images, labels):
        if self.part.name == "dusk":
            self.mean = float(images.mean())
        return Evaluation(perturbed=images, figures={"mean": self.mean})


class ChecksFirst(SoundInParts):
    """Name a check before what it checks."""

    def parts(self):
        return super().parts()[::-1]


class RemarksInOneString(SoundEvaluator):
    """Forget the tuple."""

    def remarks(self, findings):
        return f"{findings.samples} samples"


class CountsHalves(SoundEvaluator):
    """Count in halves."""

    def evaluate(self, classifier, images, labels):
        return Evaluation(figures={"mean": 0.5}, counts={"images": len(images) / 2})


class SoundFormat(ReportFormat[NoOptions]):
    """A row a line."""

    suffix = ".txt"

    def render(self, leaderboard):
        return "\n".join(row["label"] for table in leaderboard["tables"] for row in table["rows"])


class RaisesWithoutTables(SoundFormat):
    """Take the first table, which need not be there."""

    def render(self, leaderboard):
        return leaderboard["tables"][0]["title"]


class NeedsTheStd(SoundFormat):
    """Take every std for a number, which one seed has not."""

    def render(self, leaderboard):
        rows = [row for table in leaderboard["tables"] for row in table["rows"]]
        return " ".join(f"{row['accuracy']['test']['std']:.2f}" for row in rows)


class WritesBytes(SoundFormat):
    """Return bytes."""

    def render(self, leaderboard):
        return b""


class HasNoDot(SoundFormat):
    """Forget the dot."""

    suffix = "txt"


class SortsInPlace(SoundFormat):
    """Take the tables out."""

    def render(self, leaderboard):
        leaderboard["tables"].clear()
        return ""


BROKEN = {
    RaisesWhenQuantizing: "quantizes",
    LeavesTrainMode: "quantizes",
    GivesNoLogits: "quantizes",
    DividesByZero: "quantizes",
    ForgetsTheWeights: "labels-kept",
    RoundsAtRandom: "same-twin",
    LosesItsScaleInCopies: "same-when-copied",
    RoundsItsGradientsAway: "gradients-passed",
    TellsHalfBytes: "size-told",
    RaisesWhenEvaluating: "evaluates",
    LeavesTheBall: "evaluates",
    WritesOnImages: "evaluates",
    FindsNoNumber: "evaluates",
    FlagsNothing: "evaluates",
    FindsNothing: "something-found",
    FindsAtRandom: "same-findings",
    RemembersParts: "parts-alone",
    NeedsTheFirstPart: "parts-alone",
    ChecksFirst: "evaluates",
    RemarksInOneString: "evaluates",
    CountsHalves: "evaluates",
    RaisesWithoutTables: "renders",
    NeedsTheStd: "renders",
    WritesBytes: "renders",
    HasNoDot: "renders",
    SortsInPlace: "leaderboard-untouched",
}
SOUND = (SoundQuantizer, SoundEvaluator, SoundInParts, SoundFormat)


def _offered(base):
    return {
        plugin.__name__: f"{__name__}:{plugin.__name__}" for plugin in (*SOUND, *BROKEN) if issubclass(plugin, base)
    }


@hookimpl
def harness_quantizers():
    return _offered(Quantizer)


@hookimpl
def harness_evaluators():
    return _offered(Evaluator)


@hookimpl
def harness_report_formats():
    return _offered(ReportFormat)
