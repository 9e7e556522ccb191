"""What an evaluator has found so far, added up part after part and batch after batch: all that a checkpoint holds of it."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch import Tensor

    from harness.measuring import Evaluation, Part


@dataclass(frozen=True)
class Tally:
    """What is known after ``batches`` whole batches, and the first ``parts`` parts of the next.

    Per sample in the order of the batches: ``clean``, labelled true; ``held``, still so when perturbed (nothing where nothing was);
    ``checked``, still so after every check as well. ``after`` counts the samples that hold after each part, ``idle`` names the
    parts that attacked nothing. ``figures`` and ``shares`` are sums over images, with the number of images.
    """

    batches: int = 0
    parts: int = 0
    clean: Sequence[bool] = ()
    held: Sequence[bool] = ()
    checked: Sequence[bool] = ()
    after: Mapping[str, int] = field(default_factory=dict)
    idle: Sequence[str] = ()
    figures: Mapping[str, Sequence[float]] = field(default_factory=dict)
    shares: Mapping[str, Sequence[float]] = field(default_factory=dict)
    counts: Mapping[str, int] = field(default_factory=dict)
    flags: Sequence[str] = ()

    @classmethod
    def from_meta(cls, meta: Mapping[str, Any]) -> Self:
        """Read what ``as_meta`` wrote."""
        return cls(**meta)

    def as_meta(self) -> dict[str, Any]:
        """Return what JSON can hold."""
        return asdict(self)

    def begun(self, clean: Tensor, *, in_parts: bool) -> Tally:
        """Begin a batch whose samples (N,) are labelled true or not; all that are have held before the first part."""
        told = clean.tolist()
        if not in_parts:
            return replace(self, clean=[*self.clean, *told])
        return replace(
            self, clean=[*self.clean, *told], held=[*self.held, *told], checked=[*self.checked, *told], parts=0
        )

    def perturbed(self, held: Tensor) -> Tally:
        """Take in which labels of a batch (N,) hold, all at once."""
        return replace(self, held=[*self.held, *held.tolist()])

    def went_through(self, part: Part, left: Tensor, *, attacked: bool) -> Tally:
        """Take in which labels of the batch (N,) hold after a part."""
        size, told = len(left), left.tolist()
        before, last = self.checked[:-size], self.checked[-size:]
        checked = [*before, *(was and holds for was, holds in zip(last, told, strict=True))]
        after = {**self.after, part.name: self.after.get(part.name, 0) + sum(told)}
        idle = self.idle if attacked else list(dict.fromkeys([*self.idle, part.name]))
        held = self.held if part.check else [*self.held[:-size], *told]
        return replace(self, held=held, checked=checked, after=after, idle=idle, parts=self.parts + 1)

    def told(self, found: Evaluation, images: int) -> Tally:
        """Add an evaluator's own findings in so many images."""
        return replace(
            self,
            figures=_added(self.figures, found.figures, images),
            shares=_added(self.shares, found.shares, images),
            counts=_summed(self.counts, found.counts),
            flags=list(dict.fromkeys([*self.flags, *found.flags])),
        )

    def ended(self) -> Tally:
        """End the batch."""
        return replace(self, batches=self.batches + 1, parts=0)

    def means(self) -> tuple[dict[str, float], dict[str, float]]:
        """Return the figures and the shares as means over images; one that some batches lack, over those that have it."""
        figures, shares = (
            {name: total / images for name, (total, images) in sums.items()} for sums in (self.figures, self.shares)
        )
        return figures, shares

    def part_shares(self, parts: Sequence[Part]) -> dict[str, float]:
        """Return which share of all samples holds after each part; of each check, also which share has the same verdict."""
        total, shares = len(self.clean), {}
        checks = [part.name for part in parts if part.check and part.name not in self.idle]
        for part in parts:
            if not part.check and part.name not in self.idle:
                shares[held_after(part)] = self.after[part.name] / total
        for name in checks:
            shares[f"held under {name}"] = self.after[name] / total
            shares[f"same under {name}"] = 1 - (sum(self.held) - self.after[name]) / total
        if len(checks) > 1:
            shares[EVERY_CHECK] = sum(self.checked) / total
        return shares


EVERY_CHECK = "held under every check"


def held_after(part: Part) -> str:
    """Return what tables call the share that holds after a part."""
    return f"held after {part.name}"


def part_share_names(parts: Sequence[Part]) -> set[str]:
    """Return the names of all shares that the harness may make of parts, which no evaluator's own may have."""
    names = {held_after(part) for part in parts if not part.check}
    return names | {f"{verdict} under {part.name}" for part in parts if part.check for verdict in ("held", "same")}


def _added(
    totals: Mapping[str, Sequence[float]], figures: Mapping[str, float], images: int
) -> dict[str, Sequence[float]]:
    """Add a batch's means, weighted by its images."""
    added = dict(totals)
    for name, value in figures.items():
        total, count = added.get(name, (0.0, 0))
        added[name] = (total + float(value) * images, count + images)
    return added


def _summed(totals: Mapping[str, int], counts: Mapping[str, int]) -> dict[str, int]:
    return {name: totals.get(name, 0) + counts.get(name, 0) for name in dict.fromkeys([*totals, *counts])}
