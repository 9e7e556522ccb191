"""Run an evaluator on a batch, guarded as attacks are; where it attacked, the original classifier decides which labels hold."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch

from harness.engine.guarding import Guard
from harness.engine.iterates import ThreatModel
from harness.engine.observing import ObservedClassifier, Observer
from harness.engine.prediction import labelled_true
from harness.engine.randomness import PerSampleStreams, derive_seed, isolated_generators
from harness.engine.tallying import EVERY_CHECK, Tally, part_share_names
from harness.measuring import Evaluation, Findings, Part

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from harness.contract import Norm, Options
    from harness.engine.networks import PixelClassifier
    from harness.measuring import Evaluator
    from harness.references import Gradients


VERDICTS = ("clean", "robust")
"""The names of the harness's own verdicts, which no figure may have."""

SEEDS = 2**31
"""How many seeds there are for libraries: all that every generator takes."""


@dataclass(frozen=True)
class Measurement:
    """Which samples (N,) are labelled true, which still are when perturbed (None where nothing was), the rest."""

    clean: Tensor
    held: Tensor | None
    figures: Mapping[str, float] = field(default_factory=dict)
    shares: Mapping[str, float] = field(default_factory=dict)
    flags: tuple[str, ...] = ()


class EvaluatorRun:
    """An evaluator bound to a classifier."""

    def __init__(
        self,
        evaluator: Evaluator[Options],
        network: PixelClassifier,
        *,
        name: str,
        seed: int,
        judge: PixelClassifier | None = None,
        gradients: Gradients = "full-precision",
    ) -> None:
        self.evaluator = evaluator
        self.judge = judge or network
        self.seed = seed
        self.threat: tuple[Norm, float] | None = evaluator.threat()
        norm, eps = self.threat or ("linf", None)
        threat = ThreatModel(norm, network.bounds, eps)
        self._guard = Guard(
            network, what=f'evaluator "{name}"', threat=threat, seed=seed, judge=judge, gradients=gradients
        )
        self.parts = self._checked_parts(evaluator.parts())
        self._reserved = {*VERDICTS, EVERY_CHECK, *part_share_names(self.parts)}

    @property
    def steps(self) -> int:
        """How many calls a batch takes at most."""
        return len(self.parts) or 1

    def evaluate(self, images: Tensor, labels: Tensor, samples: Tensor) -> Measurement:
        """Measure images (N, C, H, W) with true labels (N,); ``samples`` (N,) identify them. Raises ``ContractError``."""
        tally = Tally()
        while not tally.batches:
            tally = self.advance(tally, images, labels, samples)
        return self.conclude(tally)

    def advance(self, tally: Tally, images: Tensor, labels: Tensor, samples: Tensor) -> Tally:
        """Go through the batch's next part, or through the batch where there are no parts. Raises ``ContractError``."""
        if tally.parts == 0:
            tally = tally.begun(labelled_true(self.judge, images, labels), in_parts=bool(self.parts))
        if self.parts:
            tally = self._go_through(self.parts[tally.parts], tally, images, labels, samples)
            return tally if tally.parts < len(self.parts) else tally.ended()
        found, holds = self._call(None, images, labels, samples, first=int(samples[0]))
        if holds is not None:
            clean = torch.tensor(tally.clean[-len(images) :])
            tally = tally.perturbed(clean & holds)
        return tally.told(found, len(images)).ended()

    def conclude(self, tally: Tally) -> Measurement:
        """Return what whole batches come to. Raises ``ContractError`` for remarks that are no sentences."""
        figures, shares = tally.means()
        findings = Findings(samples=len(tally.clean), clean=sum(tally.clean), held=tally.after, counts=tally.counts)
        remarks = self.evaluator.remarks(findings)
        self._check_sentences("remarks", remarks)
        idle = bool(self.parts) and all(part.check or part.name in tally.idle for part in self.parts)
        return Measurement(
            clean=torch.tensor(tally.clean),
            held=None if idle or not tally.held else torch.tensor(tally.held),
            figures=figures,
            shares={**tally.part_shares(self.parts), **shares},
            flags=tuple(dict.fromkeys([*tally.flags, *remarks, *self._speed_remarks()])),
        )

    def _speed_remarks(self) -> tuple[str, ...]:
        remark = None if self.threat is None else self._guard.remark
        return () if remark is None else (remark,)

    def _go_through(self, part: Part, tally: Tally, images: Tensor, labels: Tensor, samples: Tensor) -> Tally:
        """Hand those of the batch whose labels have held so far to a part."""
        left = torch.tensor(tally.held[-len(images) :])
        rows = left.nonzero().flatten()
        if len(rows) == 0:
            return tally.went_through(part, left, attacked=True)
        theirs = images[rows.to(images.device)], labels[rows.to(labels.device)], samples[rows.to(samples.device)]
        found, holds = self._call(part, *theirs, first=int(samples[0]))
        if holds is not None:
            left[rows] = holds
        return tally.told(found, len(rows)).went_through(part, left, attacked=holds is not None)

    def _call(
        self, part: Part | None, images: Tensor, labels: Tensor, samples: Tensor, *, first: int
    ) -> tuple[Evaluation, Tensor | None]:
        """Call the evaluator, of a batch that begins with the sample ``first``; return which labels hold (n,) if it attacked."""
        guard, evaluator = self._guard, self.evaluator
        seed = self.seed if part is None else derive_seed(self.seed, "part", part.name)
        own = derive_seed(seed, "batch", int(samples[0]), len(samples))
        with guard.watching(images, samples) as given, isolated_generators(own):
            evaluator.random = PerSampleStreams.of(samples, seed=seed, device=images.device)
            evaluator.seed = derive_seed(self.seed, "library", first) % SEEDS
            evaluator.part = part
            found = evaluator.evaluate(ObservedClassifier(guard.twin, Observer()), given, labels.clone())
        if not isinstance(found, Evaluation):
            guard.fail(f"returned a {type(found).__name__}", "expected a harness.api.Evaluation")
        self._check_figures(found)
        if found.perturbed is None:
            return found, None
        return found, labelled_true(self.judge, guard.checked(found.perturbed, images), labels)

    def _checked_parts(self, parts: Any) -> tuple[Part, ...]:
        """Return the parts. Raises ``ContractError`` for what are none, and for an order in which checks come too early."""
        expected = "expected a tuple of harness.api.Part with a name each"
        if not isinstance(parts, tuple) or not all(isinstance(part, Part) and part.name.strip() for part in parts):
            self._guard.fail(f"has the parts {parts!r}", expected)
        names = [part.name for part in parts]
        if len(set(names)) < len(names):
            self._guard.fail(f"has the parts {', '.join(names)}", "expected each name once")
        checks = [part.check for part in parts]
        if parts and (all(checks) or checks != sorted(checks)):
            self._guard.fail(f"has the parts {', '.join(names)}", "expected its checks after other parts")
        return parts

    def _check_figures(self, found: Evaluation) -> None:
        for name, value in (*found.figures.items(), *found.shares.items()):
            if not isinstance(name, str) or name in self._reserved or not name.strip():
                taken = (
                    " and ".join(VERDICTS) if name in VERDICTS or not self.parts else "what the harness says of parts"
                )
                self._guard.fail(f"has the figure {name!r}", f"expected a name other than {taken}")
            if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
                self._guard.fail(f"has the figure {name}: {value!r}", "expected a finite number")
        for name, value in found.shares.items():
            if name in found.figures or not 0 <= value <= 1:
                self._guard.fail(f"has the share {name}: {value!r}", "expected it in [0, 1], and no figure of its name")
        for name, count in found.counts.items():
            if isinstance(count, bool) or not isinstance(count, int):
                self._guard.fail(f"has the count {name}: {count!r}", "expected a whole number")
        self._check_sentences("flags", found.flags)

    def _check_sentences(self, what: str, said: Any) -> None:
        if not isinstance(said, tuple | list) or not all(isinstance(one, str) and one.strip() for one in said):
            self._guard.fail(f"has the {what} {said!r}", "expected sentences in a tuple")
