"""Run one of pyautoattack's attacks on a batch as its evaluation runs it, and hear what it says."""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from pyautoattack import AutoAttack

from harness.api import per_sample
from harness_autoattack.containing import contained
from harness_autoattack.driving import within
from harness_autoattack.rescaling import UNDIVIDED, attack_rescaled
from harness_autoattack.views import View
from harness_autoattack.vocabulary import NORM_NAMES

if TYPE_CHECKING:
    from torch import Tensor

    from harness.api import Classifier, Norm
    from harness_autoattack.rescaling import Temperature

_log = logging.getLogger(__name__)

_ZERO_GRADIENTS = re.compile(r"there are (\d+) points with zero gradient")

_SENTENCES = {
    "randomized defense": 'the classifier answers the same images differently each time: use version "rand"',
    "probability distribution": "the classifier's outputs look like probabilities, not logits: its gradients may vanish",
    "dynamic defense": "the classifier takes gradients while it answers, as dynamic defences do: AutoAttack may be too weak",
}
"""The library's warnings, by what they are known by, as a reader of a table needs them."""


@dataclass
class Listener:
    """Takes the place of the library's logger, so that no level, filter or handler of the process loses a warning."""

    warnings: list[str] = field(default_factory=list)
    zero_gradients: int = 0

    def debug(self, message: str) -> None:
        """Pass a message on."""
        _log.debug(message)

    info = debug

    def warning(self, message: str) -> None:
        """Keep a warning; of zero gradients, how many samples had them."""
        zeros = _ZERO_GRADIENTS.search(message)
        if zeros:
            self.zero_gradients += int(zeros[1])
        else:
            self.warnings.append(message)

    def flags(self) -> tuple[str, ...]:
        """Return the warnings as sentences, each once."""
        return tuple(dict.fromkeys(map(_sentence, self.warnings)))


@dataclass(frozen=True)
class Found:
    """What came of an attack on a batch: images (N, C, H, W), flags, and how often what happened.

    ``differing``: samples whose verdict by the library is not what the classifier then says of their images.
    ``zero_gradients``: starts, of one sample each, that found none. ``undivided_alone``: samples that fall on undivided logits and
    not, from the same starts, on divided ones.
    """

    perturbed: Tensor
    flags: tuple[str, ...] = ()
    differing: int = 0
    zero_gradients: int = 0
    undivided_alone: int = 0


@dataclass(frozen=True)
class Evaluating:
    """AutoAttack's attacks with a version's restarts, each from the same seed."""

    version: str
    norm: Norm
    eps: float
    seed: int

    def __call__(self, attack: str, classifier: Classifier, images: Tensor, labels: Tensor) -> Found:
        """Attack images (N, C, H, W) with true labels (N,)."""
        view, listener = View(classifier, images), Listener()
        unit = view.to_unit(images)
        with contained(), torch.no_grad():
            library = self._library(view, listener)
            library.attacks_to_run = [attack]
            flags = _limit_targets(library, attack, classifier.num_classes)
            found, predicted = library.run_standard_evaluation(unit, labels, batch_size=len(unit))
            settled = self._settled(found, unit, view)
            differing = int(((predicted == labels) != (view(settled).argmax(1) == labels)).sum())
        return Found(view.to_pixels(settled), (*flags, *listener.flags()), differing, listener.zero_gradients)

    def again(self, classifier: Classifier, images: Tensor, labels: Tensor) -> Found:
        """Attack with apgd-ce once more, from the starts that ``rescaled`` takes for the same images (N, C, H, W)."""
        _, perturbed = self._run(UNDIVIDED, classifier, images, labels)
        return Found(perturbed)

    def rescaled(self, temperature: Temperature, classifier: Classifier, images: Tensor, labels: Tensor) -> Found:
        """Attack with apgd-ce on logits divided by a temperature; return perturbed what does not fall undivided, too.

        Takes images (N, C, H, W), of which those are attacked that are labelled true (N,).
        """
        fell, perturbed = self._run(temperature, classifier, images, labels)
        if not fell.any():
            return Found(perturbed)
        # All images again, whatever fell: the starts are the same for the same batch alone, and what falls in either run and not
        # in the other is what a sign test compares.
        undivided, _ = self._run(UNDIVIDED, classifier, images, labels)
        return Found(
            torch.where(per_sample(fell & ~undivided, images), perturbed, images),
            undivided_alone=int((undivided & ~fell).sum()),
        )

    def _run(
        self, temperature: Temperature, classifier: Classifier, images: Tensor, labels: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return which samples fall (N,), and all images (N, C, H, W), those that do not fall unperturbed."""
        view = View(classifier, images)
        unit = view.to_unit(images)
        perturbed, fell = unit.clone(), torch.zeros_like(labels, dtype=torch.bool)
        with contained():
            apgd = self._library(view, Listener()).apgd
            with torch.no_grad():
                true = (view(unit).argmax(1) == labels).nonzero().flatten()
            if len(true):
                fell[true], perturbed[true] = attack_rescaled(
                    apgd, classifier[true], images[true], labels[true], temperature
                )
        return fell, view.to_pixels(self._settled(perturbed, unit, view))

    def _library(self, view: View, listener: Listener) -> Any:
        library = AutoAttack(
            view,
            eps=self.eps / view.range,
            norm=NORM_NAMES[self.norm],
            seed=self.seed,
            version=self.version,
            device=view.device,
        )
        library.logger = library.apgd.logger = library.apgd_targeted.logger = listener
        return library

    def _settled(self, found: Tensor, unit: Tensor, view: View) -> Tensor:
        return within(found, unit, self.norm, self.eps / view.range)


def _limit_targets(library: Any, attack: str, classes: int) -> list[str]:
    """Make for no more target classes than there are; return a flag where the attack was to have more."""
    flags = []
    for name, part in (("apgd-t", library.apgd_targeted), ("fab-t", library.fab)):
        wanted, part.n_target_classes = part.n_target_classes, min(part.n_target_classes, classes - 1)
        if name == attack and wanted >= classes:
            flags.append(f"{name} makes for {classes - 1} target classes instead of {wanted}: there are no more")
    return flags


def _sentence(message: str) -> str:
    """Return a warning of the library's as a sentence; one that is not known, without where it refers to."""
    known = (sentence for mark, sentence in _SENTENCES.items() if mark in message)
    return next(known, message.partition(" See ")[0])
