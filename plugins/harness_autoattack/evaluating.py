"""Run pyautoattack's evaluation on a batch, and hear what it says."""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from pyautoattack import AutoAttack

from harness_autoattack.containing import contained
from harness_autoattack.driving import within
from harness_autoattack.views import View
from harness_autoattack.vocabulary import NORM_NAMES

if TYPE_CHECKING:
    from torch import Tensor

    from harness.api import Classifier, Norm

_log = logging.getLogger(__name__)

_FELL = re.compile(r"^(\S+) - \d+/\d+ - (\d+) out of \d+ successfully perturbed$")
_ZERO_GRADIENTS = re.compile(r"there are (\d+) points with zero gradient")
_SQUARE = re.compile(r"Square Attack has decreased the robust accuracy of ([\d.]+%)")

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
    fell: dict[str, int] = field(default_factory=dict)

    def debug(self, message: str) -> None:
        """Count the samples that an attack brought down: the library tells it nowhere else."""
        found = _FELL.match(message)
        if found:
            self.fell[found[1]] = self.fell.get(found[1], 0) + int(found[2])
        _log.debug(message)

    info = debug

    def warning(self, message: str) -> None:
        """Keep a warning."""
        self.warnings.append(message)

    def flags(self) -> list[str]:
        """Return the warnings as sentences, each once."""
        zeros = [int(found[1]) for message in self.warnings if (found := _ZERO_GRADIENTS.search(message))]
        sentences = [_sentence(message) for message in self.warnings if not _ZERO_GRADIENTS.search(message)]
        if zeros:
            sentences.append(
                f"{len(zeros)} starts of gradient attacks found zero gradients, at up to {max(zeros)} samples at once: "
                "gradients may be masked"
            )
        return list(dict.fromkeys(sentences))


@dataclass(frozen=True)
class Found:
    """What came of a batch: images (N, C, H, W), the library's robust accuracies as shares, flags."""

    perturbed: Tensor
    shares: dict[str, float]
    flags: tuple[str, ...]


@dataclass(frozen=True)
class Evaluating:
    """AutoAttack with a version's restarts, ``attacks`` in their order, and a seed."""

    version: str
    norm: Norm
    eps: float
    attacks: tuple[str, ...]
    seed: int

    def __call__(self, classifier: Classifier, images: Tensor, labels: Tensor) -> Found:
        """Attack images (N, C, H, W) with true labels (N,)."""
        view, listener = View(classifier, images), Listener()
        unit, eps = view.to_unit(images), self.eps / view.range
        with contained(), torch.no_grad():
            library = self._library(view, eps, listener)
            flags = self._limit_targets(library, classifier.num_classes)
            found, predicted = library.run_standard_evaluation(unit, labels, batch_size=len(unit))
            settled = within(found, unit, self.norm, eps)
            robust = predicted == labels
            differing = int((robust != (view(settled).argmax(1) == labels)).sum())
        if differing:
            flags.append(
                f"on {differing} of {len(unit)} samples AutoAttack's verdict is not what the classifier then says of its images"
            )
        shares = self._shares(int(robust.sum()), len(unit), listener.fell)
        return Found(view.to_pixels(settled), shares, (*flags, *listener.flags()))

    def _library(self, view: View, eps: float, listener: Listener) -> Any:
        library = AutoAttack(
            view, eps=eps, norm=NORM_NAMES[self.norm], seed=self.seed, version=self.version, device=view.device
        )
        library.attacks_to_run = list(self.attacks)
        library.logger = library.apgd.logger = library.apgd_targeted.logger = listener
        return library

    def _limit_targets(self, library: Any, classes: int) -> list[str]:
        """Make for no more target classes than there are; return a flag for each attack that was to have more."""
        flags = []
        for name, attack in (("apgd-t", library.apgd_targeted), ("fab-t", library.fab)):
            wanted, attack.n_target_classes = attack.n_target_classes, min(attack.n_target_classes, classes - 1)
            if name in self.attacks and wanted >= classes:
                flags.append(f"{name} makes for {classes - 1} target classes instead of {wanted}: there are no more")
        return flags

    def _shares(self, robust: int, count: int, fell: dict[str, int]) -> dict[str, float]:
        left, shares = robust + sum(fell.values()), {}
        for attack in dict.fromkeys(self.attacks):
            left -= fell.get(attack, 0)
            shares[attack] = left / count
        return {**shares, "library robust": robust / count}


def _sentence(message: str) -> str:
    """Return a warning of the library's as a sentence; one that is not known, without where it refers to."""
    square = _SQUARE.search(message)
    if square:
        return f"square, without gradients, lowered the robust accuracy by another {square[1]}: gradients may be masked"
    known = (sentence for mark, sentence in _SENTENCES.items() if mark in message)
    return next(known, message.partition(" See ")[0])
