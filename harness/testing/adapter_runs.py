"""An adapter's steps on the toys, each with a new instance; no judgement here, so that every check tells one thing."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

from harness.testing.checks import needs
from harness.testing.subject import Subject

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor, nn

    from harness.contract import AdapterCapabilities, Batch

BATCH_SIZE = 10
SEED = 1

TargetLabels = Literal["none", "own", "others"]
TargetImages = Literal["shown", "hidden", "others"]


@dataclass(frozen=True)
class Step:
    """What an adapter made of a step: its losses, or what it raised; its modules; what it changed of the batches."""

    losses: Any
    error: BaseException | None
    source: Batch
    target: Batch
    modules: Mapping[str, nn.Module] = field(default_factory=dict)
    changed: tuple[str, ...] = ()

    def terms(self) -> dict[str, Tensor]:
        """Return the losses. Raises ``CheckSkipped`` where another check tells that they are none."""
        if self.error is not None:
            raise needs("adapts")
        if loss_fault(self.losses) is not None:
            raise needs("finite-scalar-losses")
        terms: dict[str, Tensor] = self.losses
        return terms

    def total(self) -> Tensor:
        """Return the sum that is minimized."""
        import torch

        return torch.stack(list(self.terms().values())).sum()


class AdapterSubject(Subject):
    """An adapter under check."""

    @property
    def capabilities(self) -> AdapterCapabilities:
        """What it declares."""
        loaded: Any = self.loaded
        declared: AdapterCapabilities = loaded.capabilities
        return declared

    @property
    def steps_by_gradient(self) -> bool:
        """Whether it has losses rather than ``adapt``."""
        loaded: Any = self.loaded
        by_gradient: bool = loaded.takes_gradient_steps()
        return by_gradient

    @cached_property
    def usual(self) -> Step:
        """A step on what it asks for, target labels aside: those are there, so that their absence is one check's alone."""
        return self.step()

    def step(self, *, labels: TargetLabels = "own", images: TargetImages | None = None) -> Step:
        """Make one step with a new instance and one seed."""
        from harness.engine.randomness import isolated_generators

        images = images or ("shown" if self.capabilities.target else "hidden")
        adapter = self.make()
        with isolated_generators(SEED):
            source, target = self._batches(labels, images)
            given = [_copied(source), _copied(target)]
            modules: Mapping[str, nn.Module] = {}
            try:
                modules = adapter.modules(source.features.shape[1], source.logits.shape[1])
                losses, error = adapter.losses(source, target), None
            except (Exception, SystemExit) as raised:  # noqa: BLE001 (an adapter may raise anything)
                losses, error = None, raised
        pairs = zip(("source", "target"), given, (source, target), strict=True)
        changed = tuple(f"the {name}'s {part}" for name, old, new in pairs for part in _differences(old, new))
        return Step(losses, error, source, target, modules, changed)

    def _batches(self, labels: TargetLabels, images: TargetImages) -> tuple[Batch, Batch]:
        """Return a source and a target batch, passed through the toy network in train mode as the engine does."""
        import copy

        from harness.engine.domains import TwoDomainForward, batch_of

        made = self.toys.made
        forward = TwoDomainForward(copy.deepcopy(self.toys.network), "separate", target_gradients=images != "hidden")
        forward.train_mode()
        first = 2 * BATCH_SIZE if images == "others" else BATCH_SIZE
        source_images, source_labels = made.gather(made.rows[:BATCH_SIZE])
        target_images, own = made.gather(made.rows[first : first + BATCH_SIZE])
        source, target = forward(source_images, target_images)
        # The label after each sample's own: no sample keeps its label.
        given = {"none": None, "own": own, "others": (own + 1) % self.toys.network.num_classes}[labels]
        shown = target if images != "hidden" else None
        return batch_of(source_images, source_labels, source), batch_of(target_images, given, shown)


def loss_fault(losses: Any) -> str | None:
    """Say how the losses are no dict of finite scalars, if so."""
    import torch

    if not isinstance(losses, dict):
        return f"a {type(losses).__name__}"
    if not losses:
        return "an empty dict"
    for name, value in losses.items():
        if not isinstance(name, str):
            return f"a loss named {name!r}, which is no text"
        if not isinstance(value, torch.Tensor):
            return f'a {type(value).__name__} as the loss "{name}"'
        if value.ndim != 0:
            return f'the loss "{name}" of shape {tuple(value.shape)}'
        if not bool(value.isfinite()):
            return f'the loss "{name}" as {float(value.detach()):g}'
    return None


def _copied(batch: Batch) -> dict[str, Tensor]:
    parts = {name: getattr(batch, name) for name in ("images", "labels", "features", "logits")}
    return {name: part.detach().clone() for name, part in parts.items() if part is not None}


def _differences(before: dict[str, Tensor], batch: Batch) -> list[str]:
    return [name for name, part in before.items() if not bool((getattr(batch, name) == part).all())]
