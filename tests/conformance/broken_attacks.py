"""Attacks that are sound but for one thing each; ``BROKEN`` says which check tells."""

from __future__ import annotations

import random
import sys
from typing import ClassVar

from pydantic import ConfigDict, Field, field_validator

from harness.api import Attack, Capabilities, FractionalFloat, Library, Options, hookimpl, loss_gradient


class StepOptions(Options):
    eps: FractionalFloat = Field(0.1, description="Largest change of a pixel.")
    alpha: FractionalFloat = Field(0.03, description="Change of a pixel in one step.")


def declared(**changes):
    sound = {"norm": "linf", "targeted": True, "untargeted": True, "gradients": True}
    return Capabilities(**{**sound, **changes})


class Sound(Attack[StepOptions]):
    """Step along the sign of the gradient."""

    capabilities: ClassVar = declared()

    def run(self, classifier, images, criterion):
        return self.finished(self.stepped(classifier, images, criterion), classifier, images)

    def stepped(self, classifier, images, criterion, perturbed=None, eps=None):
        perturbed = images if perturbed is None else perturbed
        eps = eps or self.options.eps
        for _ in range(5):
            gradient, _ = loss_gradient(classifier, perturbed, criterion)
            perturbed = perturbed - self.options.alpha * self.direction(gradient, criterion)
            perturbed = perturbed.clamp(images - eps, images + eps).clamp(*classifier.bounds)
        return perturbed

    def direction(self, gradient, criterion):
        return gradient.sign()

    def finished(self, perturbed, classifier, images):
        return perturbed


class SoundSearch(Attack[StepOptions]):
    """Keep the best of many random patterns, without a gradient."""

    capabilities: ClassVar = declared(gradients=False, stochastic=True)

    def run(self, classifier, images, criterion):
        import torch

        best = images
        with torch.no_grad():
            lowest = criterion.loss(classifier(images))
            for _ in range(60):
                pattern = self.random.uniform(images.shape[1:]).sub(0.5).sign() * self.options.eps
                tried = (images + pattern).clamp(*classifier.bounds)
                loss = criterion.loss(classifier(tried))
                better = loss < lowest
                best = torch.where(better[:, None, None, None], tried, best)
                lowest = torch.where(better, loss, lowest)
        return best


class PathOptions(Options):
    table: str = Field(description="A file.")


# -- options and descriptions -----------------------------------------------------------------------------------------------


class Undocumented(Sound):
    pass


class SilentOptions(StepOptions):
    beta: float = 0.5


class UndescribedOption(Sound):
    """Have an option that nobody explains."""

    options_type: ClassVar = SilentOptions


class WrongDefaultOptions(StepOptions):
    steps: int = Field(0, ge=1, description="Steps.")


class DefaultBeyondItsLimit(Sound):
    """Have a default that its own limit forbids."""

    options_type: ClassVar = WrongDefaultOptions


class DriftingOptions(StepOptions):
    percent: float = Field(50.0, description="A share that is divided whenever it is read.")

    @field_validator("percent")
    @classmethod
    def _share(cls, value):
        return value / 100


class DriftingOption(Sound):
    """Have an option that is another one after each reading."""

    options_type: ClassVar = DriftingOptions


class LenientOptions(StepOptions):
    model_config = ConfigDict(extra="ignore", frozen=True)


class TakesUnknownOptions(Sound):
    """Ignore what is misspelt."""

    options_type: ClassVar = LenientOptions


# -- what comes back --------------------------------------------------------------------------------------------------------


class Raises(Sound):
    """Raise."""

    def run(self, classifier, images, criterion):
        raise ZeroDivisionError("the step is zero")


class RaisesWhenItFlees(Sound):
    """Raise in one direction."""

    def run(self, classifier, images, criterion):
        if not criterion.targeted:
            raise NotImplementedError("targeted only")
        return super().run(classifier, images, criterion)


class CannotBeMade(Sound):
    """Raise in its constructor."""

    def __init__(self, options):
        super().__init__(options)
        raise OSError("no such file")


class HasNoDirection(Sound):
    """Declare neither direction."""

    capabilities: ClassVar = declared(targeted=False, untargeted=False)


class ReturnsNothing(Sound):
    """Forget to return."""

    def finished(self, perturbed, classifier, images):
        return None


class ReturnsFlatImages(Sound):
    """Return (N, C·H·W)."""

    def finished(self, perturbed, classifier, images):
        return perturbed.flatten(1)


class ReturnsDoubles(Sound):
    """Return float64."""

    def finished(self, perturbed, classifier, images):
        return perturbed.double()


class ReturnsAnotherDevice(Sound):
    """Return images on the device without memory."""

    def finished(self, perturbed, classifier, images):
        return perturbed.to("meta")


class ReturnsNotANumber(Sound):
    """Lose one pixel."""

    def finished(self, perturbed, classifier, images):
        lost = perturbed.clone()
        lost[0, 0, 0, 0] = float("nan")
        return lost


class DividesByZero(Sound):
    """Divide by the gradient's norm, whatever it is."""

    def direction(self, gradient, criterion):
        return gradient / gradient.abs().amax((1, 2, 3), keepdim=True)


class WorksInPlace(Sound):
    """Perturb the very images that it is given."""

    def finished(self, perturbed, classifier, images):
        images.copy_(perturbed)
        return images.clone()


class LeavesTheBounds(Sound):
    """Forget the bounds."""

    def finished(self, perturbed, classifier, images):
        # The whole eps, also where the bounds had stopped it.
        return images + (perturbed - images).sign() * self.options.eps


class LeavesTheBall(Sound):
    """Go twice as far as its eps."""

    def stepped(self, classifier, images, criterion, perturbed=None, eps=None):
        return super().stepped(classifier, images, criterion, eps=1.4 * self.options.eps)


class SqueezesTheBatch(Sound):
    """Squeeze every dimension of size one."""

    def finished(self, perturbed, classifier, images):
        return perturbed.squeeze()


# -- what is left behind ----------------------------------------------------------------------------------------------------


class LeavesTrainMode(Sound):
    """Leave the classifier in train mode."""

    def finished(self, perturbed, classifier, images):
        classifier.train()
        return perturbed


class LeavesAChildInTrainMode(Sound):
    """Put the root alone back into eval mode."""

    def finished(self, perturbed, classifier, images):
        classifier.train()
        classifier.training = False
        return perturbed


class WritesParameters(Sound):
    """Change a parameter, unseen by version counters."""

    def finished(self, perturbed, classifier, images):
        next(classifier.parameters()).data.mul_(1.5)
        return perturbed


class WritesBuffers(Sound):
    """Change a buffer."""

    def finished(self, perturbed, classifier, images):
        next(classifier.buffers()).add_(0.1)
        return perturbed


class LeavesGradients(Sound):
    """Compute parameter gradients and leave them."""

    def finished(self, perturbed, classifier, images):
        parameter = next(classifier.parameters())
        parameter.requires_grad_()
        classifier(images).sum().backward()
        parameter.requires_grad_(requires_grad=False)
        return perturbed


class Reseeds(Sound):
    """Seed torch's global generator, as AutoAttack does."""

    def finished(self, perturbed, classifier, images):
        import torch

        torch.manual_seed(0)
        return perturbed


class DrawsFromNumpy(Sound):
    """Draw from numpy's global generator."""

    def finished(self, perturbed, classifier, images):
        import numpy as np

        np.random.rand()  # noqa: NPY002 (what is wrong with it)
        return perturbed


class DrawsFromPython(Sound):
    """Draw from Python's global generator."""

    def finished(self, perturbed, classifier, images):
        random.random()
        return perturbed


class TurnsGradientsOff(Sound):
    """Turn gradients off for the whole process."""

    def finished(self, perturbed, classifier, images):
        import torch

        torch.set_grad_enabled(False)
        return perturbed


class TracesNothing(Sound):
    """Put a trace function of its own in the place of the debugger's."""

    def finished(self, perturbed, classifier, images):
        sys.settrace(lambda _frame, _event, _argument: None)
        return perturbed


# -- what is claimed --------------------------------------------------------------------------------------------------------


class DrawsFromTheSystem(Sound):
    """Draw from a generator that nobody can seed."""

    def direction(self, gradient, criterion):
        return gradient.sign() * random.SystemRandom().uniform(0.5, 1.0)


class RemembersItsRuns(Sound):
    """Make smaller steps in each run."""

    def __init__(self, options):
        super().__init__(options)
        self.calls = 0

    def run(self, classifier, images, criterion):
        self.calls += 1
        return super().run(classifier, images, criterion)

    def direction(self, gradient, criterion):
        return gradient.sign() / self.calls


class HidesGradients(Sound):
    """Take gradients without saying so."""

    capabilities: ClassVar = declared(gradients=False)


class ClaimsGradients(SoundSearch):
    """Say that it takes gradients, and take none."""

    capabilities: ClassVar = declared(gradients=True, stochastic=True)


class AlwaysFlees(Sound):
    """Flee the labels that it should approach."""

    def direction(self, gradient, criterion):
        return -gradient.sign() if criterion.targeted else gradient.sign()


class AlwaysApproaches(Sound):
    """Approach the labels that it should flee."""

    def direction(self, gradient, criterion):
        return gradient.sign() if criterion.targeted else -gradient.sign()


class DoesNothingToApproach(Sound):
    """Return the images where labels are to be approached."""

    def direction(self, gradient, criterion):
        return gradient * 0 if criterion.targeted else gradient.sign()


class ClaimsRandomness(Sound):
    """Say that it is stochastic, and draw nothing."""

    capabilities: ClassVar = declared(stochastic=True)


class HidesRandomness(Sound):
    """Start at random without saying so."""

    def stepped(self, classifier, images, criterion, perturbed=None, eps=None):
        noise = self.random.uniform(images.shape[1:]).sub(0.5).mul(self.options.eps)
        return super().stepped(classifier, images, criterion, perturbed=(images + noise).clamp(*classifier.bounds))


class IsNoise(Sound):
    """Move each pixel at random."""

    capabilities: ClassVar = declared(gradients=False, stochastic=True)

    def run(self, classifier, images, criterion):
        noise = self.random.uniform(images.shape[1:]).mul(2).sub(1).mul(self.options.eps)
        return (images + noise).clamp(*classifier.bounds)


class ScalesByTheBatch(Sound):
    """Divide by the largest gradient of the whole batch."""

    def direction(self, gradient, criterion):
        return 3 * gradient / gradient.abs().max().clamp_min(1e-12)


class DrawsByPlace(Sound):
    """Start each image where its place in the batch says."""

    def stepped(self, classifier, images, criterion, perturbed=None, eps=None):
        import torch

        noise = torch.rand(images.shape, generator=torch.Generator().manual_seed(0)).sub(0.5).mul(self.options.eps)
        return super().stepped(classifier, images, criterion, perturbed=(images + noise).clamp(*classifier.bounds))


class OnlyWholeBatches(Sound):
    """Refuse batches of odd size, as some that split them in halves do."""

    def run(self, classifier, images, criterion):
        if len(images) > 1 and len(images) % 2:
            raise ValueError("expected an even batch")
        return super().run(classifier, images, criterion)


class NeedsItsLibrary(Sound):
    """Hand the work to a library that is not installed."""

    library: ClassVar = Library(distribution="no-such-attacks", install="pip install no-such-attacks")


class NeedsOptions(Attack[PathOptions]):
    """Have an option without a default."""

    capabilities: ClassVar = declared()

    def run(self, classifier, images, criterion):
        return images


BROKEN = {
    Undocumented: "described-for-users",
    UndescribedOption: "described-for-users",
    DefaultBeyondItsLimit: "defaults-round-trip",
    DriftingOption: "defaults-round-trip",
    TakesUnknownOptions: "defaults-round-trip",
    Raises: "runs",
    RaisesWhenItFlees: "runs",
    CannotBeMade: "runs",
    HasNoDirection: "runs",
    ReturnsNothing: "shape-dtype-device",
    ReturnsFlatImages: "shape-dtype-device",
    ReturnsDoubles: "shape-dtype-device",
    ReturnsAnotherDevice: "shape-dtype-device",
    ReturnsNotANumber: "finite",
    DividesByZero: "zero-gradients",
    WorksInPlace: "input-untouched",
    LeavesTheBounds: "within-bounds",
    LeavesTheBall: "within-eps",
    LeavesTrainMode: "classifier-untouched",
    LeavesAChildInTrainMode: "classifier-untouched",
    WritesParameters: "classifier-untouched",
    WritesBuffers: "classifier-untouched",
    LeavesGradients: "classifier-untouched",
    Reseeds: "generators-untouched",
    DrawsFromNumpy: "generators-untouched",
    DrawsFromPython: "generators-untouched",
    TurnsGradientsOff: "settings-untouched",
    TracesNothing: "settings-untouched",
    SqueezesTheBatch: "batch-of-one",
    DrawsFromTheSystem: "same-seed",
    RemembersItsRuns: "same-seed",
    HidesGradients: "gradients-declared",
    ClaimsGradients: "gradients-declared",
    AlwaysFlees: "targeted-declared",
    DoesNothingToApproach: "targeted-declared",
    AlwaysApproaches: "untargeted-declared",
    ClaimsRandomness: "stochastic-declared",
    HidesRandomness: "stochastic-declared",
    IsNoise: "beats-noise",
    ScalesByTheBatch: "independent-of-batch",
    DrawsByPlace: "independent-of-batch",
    OnlyWholeBatches: "independent-of-batch",
}


SOUND = (Sound, SoundSearch)


@hookimpl
def harness_attacks():
    offered = (*SOUND, NeedsItsLibrary, NeedsOptions, *BROKEN)
    return {plugin.__name__: f"{__name__}:{plugin.__name__}" for plugin in offered} | {"Missing": f"{__name__}:Missing"}
