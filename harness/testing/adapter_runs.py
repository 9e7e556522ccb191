"""An adapter's steps on the toys, each with a new instance; no judgement here, so that every check tells one thing."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

from harness.testing.checks import needs
from harness.testing.subject import Subject

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor, nn

    from harness.adapting import AdapterCapabilities, Batch, Outputs
    from harness.engine.images import ImageSet
    from harness.engine.loops import AdapterLoop
    from harness.engine.networks import PixelClassifier

BATCH_SIZE = 10
STEPS = 20
SEED = 1

TargetLabels = Literal["none", "own", "others"]
TargetImages = Literal["shown", "hidden", "others"]
SourceImages = Literal["usual", "others"]


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

    def step(
        self, *, labels: TargetLabels = "own", images: TargetImages | None = None, source_images: SourceImages = "usual"
    ) -> Step:
        """Make one step with a new instance and one seed, as the engine does."""
        from harness.engine.randomness import isolated_generators

        images = images or ("shown" if self.capabilities.target else "hidden")
        adapter = self.make()
        network = copy.deepcopy(self.toys.network)
        with isolated_generators(SEED):
            modules: Mapping[str, nn.Module] = {}
            source, target, given, losses, error = None, None, [], None, None
            try:
                adapter.loop = self.loop(network)
                width, classes = self._widths(network)
                list(adapter.remarks(width, classes))
                modules = adapter.modules(width, classes)
                adapter.trained(network)
            except (Exception, SystemExit) as raised:  # noqa: BLE001 (an adapter may raise anything)
                error = raised
            source, target = self._batches(adapter, network, labels, images, source_images)
            given = [_copied(source), _copied(target)]
            if error is None:
                try:
                    losses = adapter.losses(source, target)
                except (Exception, SystemExit) as raised:  # noqa: BLE001 (an adapter may raise anything)
                    error = raised
        pairs = zip(("source", "target"), given, (source, target), strict=True)
        changed = tuple(f"the {name}'s {part}" for name, old, new in pairs for part in _differences(old, new))
        return Step(losses, error, source, target, modules, changed)

    def loop(self, network: PixelClassifier) -> AdapterLoop:
        """Return the loop that an adapter of the toys is in."""
        from harness.budget import Adaptation
        from harness.engine.loops import AdapterLoop

        # With shrinkage, which some covariances of a small batch cannot be without.
        adaptation = Adaptation(steps=STEPS, batch_size=BATCH_SIZE, shrinkage=0.1)
        return AdapterLoop(
            network,
            adaptation,
            source=self.toys.corrected,
            target=self.toys.made,
            valid=self.toys.made,
            steps=STEPS,
            labels_shown=self.capabilities.target_labels,
            start=lambda: copy.deepcopy(self.toys.network),
        )

    def _widths(self, network: PixelClassifier) -> tuple[int, int]:
        outputs = network.outputs(self.toys.images[:2])
        return outputs.features.shape[1], outputs.logits.shape[1]

    def _batches(
        self, adapter: Any, network: PixelClassifier, labels: TargetLabels, images: TargetImages, others: SourceImages
    ) -> tuple[Batch, Batch]:
        """Return a source and a target batch, passed through the toy network in train mode as the engine does."""
        from harness.engine.domains import TwoDomainForward, no_outputs

        made, capabilities = self.toys.made, self.capabilities
        forward = TwoDomainForward(
            network, "separate", target_gradients=images != "hidden", source_seen=capabilities.source
        )
        places = {"usual": 0, "others": 3}
        source_rows = _rows(made, places[others])
        first = 0 if capabilities.sampling == "paired" else 1
        target_rows = _rows(made, 2 if images == "others" else first)
        source_images, source_labels = self.toys.corrected.gather(source_rows)
        target_images, own = made.gather(target_rows)
        if capabilities.source:
            network.eval()
            source_images = adapter.prepare(source_images, source_labels)
        forward.train_mode()
        source, target = forward(source_images, target_images)
        # The label after each sample's own: no sample keeps its label.
        given = {"none": None, "own": own, "others": (own + 1) % self.toys.network.num_classes}[labels]
        shown = (target if images != "hidden" else None) or no_outputs(target_images)
        wrong = None if given is None else self.toys.is_corrected[target_rows]
        return (
            _batch(
                source_images,
                source_labels,
                source or no_outputs(source_images),
                source_rows,
                self.toys.is_corrected[source_rows],
            ),
            _batch(target_images, given, shown, target_rows, wrong),
        )


def _rows(made: ImageSet, number: int) -> Tensor:
    """Return the rows of one of the batches that do not overlap."""
    return made.rows[number * BATCH_SIZE : (number + 1) * BATCH_SIZE]


def _batch(images: Tensor, labels: Tensor | None, outputs: Outputs, samples: Tensor, wrong: Tensor | None) -> Batch:
    from harness.adapting import Batch, Outputs

    return Batch(
        images=images,
        labels=labels,
        features=outputs.features,
        logits=outputs.logits,
        samples=samples,
        wrong=wrong,
        past=Outputs(outputs.features[:0].detach(), outputs.logits[:0].detach()),
    )


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
