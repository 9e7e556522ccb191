"""An adapter in its loop on a toy network, one step after the other: its hooks are asked as a run asks them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor, nn

    from harness.adapting import Adapter, Batch, Outputs
    from harness.contract import Options
    from harness.engine.loops import AdapterLoop
    from harness.engine.networks import PixelClassifier
    from harness.testing.toys import NetworkKind, Toys

BATCH_SIZE = 10
STEPS = 20
MIDDLE = STEPS // 2
SEED = 1

TargetLabels = Literal["none", "own", "others"]
TargetImages = Literal["shown", "hidden", "others"]
SourceImages = Literal["usual", "others"]

_RATE = 0.01
_APART = 4
"""Batches from one step's first to the next one's: a step has as many that do not overlap."""
_STEPS_APART = 9
"""Steps whose batches differ; the next one has the first one's again."""


@dataclass(frozen=True)
class Scene:
    """What a step is shown, and its number; the target's images as declared unless they are named.

    With ``labels`` of others, what tells which samples were wrong is the other way round too.
    """

    at: int = 0
    labels: TargetLabels = "own"
    images: TargetImages | None = None
    source_images: SourceImages = "usual"
    network: NetworkKind = "usual"


USUAL = Scene()


class WatchedLoop:
    """A loop that notes whether the pairs of originals and corrections were asked for."""

    def __init__(self, loop: AdapterLoop) -> None:
        self.watched = loop
        self.pairs_read = False

    def __getattr__(self, name: str) -> Any:
        if name in {"corrections", "kept"}:
            self.pairs_read = True
        return getattr(self.watched, name)


class Session:
    """An instance, its loop, and what came of its last step: ``losses``, ``error``, ``batches`` and what ``changed`` of them.

    What a hook raises is kept as ``error``, and nothing is asked after it. The caller seeds the generators.
    """

    def __init__(
        self,
        adapter: Adapter[Options],
        name: str,
        loop: AdapterLoop,
        network: PixelClassifier,
        *,
        toys: Toys,
        scene: Scene,
    ) -> None:
        from harness.engine.answers import Answers

        self.adapter: Any = adapter
        self.answers = Answers(adapter, name)
        self.loop = WatchedLoop(loop)
        self.network = network
        self.toys = toys
        self.scene = scene
        self.error: BaseException | None = None
        self.losses: Any = None
        self.batches: tuple[Batch, ...] = ()
        self.modules: Mapping[str, nn.Module] = {}
        self.changed: tuple[str, ...] = ()
        self._chosen: list[nn.Parameter] | None = None
        self._past: tuple[Outputs, ...] = ()

    def begin(self) -> None:
        """Give the adapter its loop, and ask what is asked before the first step."""
        outputs = self.network.outputs(self.toys.images[:2])
        width, classes = outputs.features.shape[1], outputs.logits.shape[1]
        try:
            self.adapter.loop = self.loop
            self.answers.remarks(width, classes)
            if self.adapter.takes_gradient_steps():
                self.modules = self.answers.modules(width, classes)
                self.answers.weight_averaging()
        except (Exception, SystemExit) as error:  # noqa: BLE001 (an adapter may raise anything)
            self.error = error

    def take(self, number: int) -> None:
        """Ask for the losses of a step, and for the figures beside them."""
        import torch

        from harness.engine.answers import loss_fault
        from harness.engine.randomness import derive_seed

        if self.error is not None:
            return
        torch.manual_seed(derive_seed(SEED, "step", number))
        self.loop.watched.step = number
        self.losses, self.batches, self.changed = None, (), ()
        try:
            self._chosen = self.answers.trained(self.network, self.modules)
            self.batches = self._batches(number)
            given = [_copied(batch) for batch in self.batches]
            self.losses = self.answers.unjudged_losses(*self.batches)
            if loss_fault(self.losses) is None:
                self.answers.diagnostics(*self.batches)
        except (Exception, SystemExit) as error:  # noqa: BLE001 (as above)
            self.error = error
            return
        pairs = zip(("source", "target"), given, self.batches, strict=True)
        self.changed = tuple(f"the {name}'s {part}" for name, old, new in pairs for part in _differences(old, new))
        self._past = tuple(_remembered(batch) for batch in self.batches)

    def learn(self) -> None:
        """Change the parameters a little by the gradient of the last step's losses."""
        import torch

        everything = [one for module in (self.network, *self.modules.values()) for one in module.parameters()]
        chosen = everything if self._chosen is None else self._chosen
        trained = [parameter for parameter in chosen if parameter.requires_grad]
        total = torch.stack(list(self.losses.values())).sum()
        gradients = torch.autograd.grad(total, trained, allow_unused=True)
        with torch.no_grad():
            for parameter, gradient in zip(trained, gradients, strict=True):
                if gradient is not None:
                    parameter.sub_(_RATE * gradient)

    def adapt(self) -> None:
        """Let the adapter adapt the network without gradient steps."""
        try:
            self.answers.adapt(self.network, self.loop.source, self.loop.target)
        except (Exception, SystemExit) as error:  # noqa: BLE001 (as above)
            self.error = error

    def state(self) -> tuple[dict[str, Tensor], tuple[Outputs, ...]]:
        """Return what a checkpoint holds of a loop: network, modules, what is remembered of either domain."""
        return {name: value.clone() for name, value in self._kept().state_dict().items()}, self._past

    def load(self, state: tuple[dict[str, Tensor], tuple[Outputs, ...]]) -> None:
        """Go on from a checkpoint. Raises ``RuntimeError`` where the modules are others."""
        if self.error is None:
            tensors, self._past = state
            self._kept().load_state_dict(tensors)

    def _kept(self) -> nn.ModuleDict:
        from torch import nn

        return nn.ModuleDict(
            {"network": self.network, **{f"adapter-{name}": one for name, one in self.modules.items()}}
        )

    def _batches(self, number: int) -> tuple[Batch, Batch]:
        """Return a source and a target batch, passed through the network in train mode as the engine does."""
        from harness.engine.domains import TwoDomainForward, no_outputs

        capabilities, made = self.adapter.capabilities, self.toys.made
        images = self.scene.images or ("shown" if capabilities.target else "hidden")
        forward = TwoDomainForward(
            self.network, "separate", target_gradients=images != "hidden", source_seen=capabilities.source
        )
        source_rows, target_rows = self._rows(number, images)
        source_images, source_labels = self.toys.corrected.gather(source_rows)
        target_images, own = made.gather(target_rows)
        if capabilities.source:
            self.network.eval()
            source_images = self.answers.prepare(source_images, source_labels)
        forward.train_mode()
        source, target = forward(source_images, target_images)
        labels, wrong = self._told(own, self.toys.is_corrected[target_rows])
        shown = (target if images != "hidden" else None) or no_outputs(target_images)
        corrected = self.toys.is_corrected[source_rows]
        seen = source or no_outputs(source_images)
        return (
            self._batch(0, source_images, seen, source_rows, labels=source_labels, wrong=corrected),
            self._batch(1, target_images, shown, target_rows, labels=labels, wrong=wrong),
        )

    def _rows(self, number: int, images: TargetImages) -> tuple[Tensor, Tensor]:
        """Return the rows of a step's batches; what is ``others`` is drawn from batches that do not overlap with the usual."""
        sampling = self.adapter.capabilities.sampling
        source = 3 if self.scene.source_images == "others" else 0
        target = 2 if images == "others" else 0 if sampling == "paired" else 1
        first = number % _STEPS_APART * _APART
        rows = self.toys.made.rows
        if sampling == "class-balanced":
            return self._balanced(number, source), self._balanced(number, target)
        starts = [(first + place) * BATCH_SIZE for place in (source, target)]
        return rows[starts[0] : starts[0] + BATCH_SIZE], rows[starts[1] : starts[1] + BATCH_SIZE]

    def _balanced(self, number: int, place: int) -> Tensor:
        from harness.engine.orders import ClassBalancedOrder

        made = self.toys.made
        order = ClassBalancedOrder(
            made.rows,
            made.labels,
            made.labels.unique(),  # type: ignore[no-untyped-call]  # torch's stubs lack it
            batch_size=BATCH_SIZE,
            key=("toy-samples", place),
            schedule=("toy-classes",),
        )
        return order.batch(number)

    def _told(self, own: Tensor, wrong: Tensor) -> tuple[Tensor | None, Tensor | None]:
        """Return the target's labels and which samples were wrong: none, its own, or for every sample the other."""
        if self.scene.labels == "none":
            return None, None
        if self.scene.labels == "own":
            return own, wrong
        return (own + 1) % self.toys.network.num_classes, ~wrong

    def _batch(
        self,
        place: int,
        images: Tensor,
        outputs: Outputs,
        samples: Tensor,
        *,
        labels: Tensor | None,
        wrong: Tensor | None,
    ) -> Batch:
        from harness.adapting import Batch, Outputs

        nothing = Outputs(outputs.features[:0].detach(), outputs.logits[:0].detach())
        return Batch(
            images=images,
            labels=labels,
            features=outputs.features,
            logits=outputs.logits,
            samples=samples,
            wrong=wrong,
            past=self._past[place] if self._past else nothing,
        )


def _remembered(batch: Batch) -> Outputs:
    """Return the outputs of the earlier batches and of this one."""
    import torch

    from harness.adapting import Outputs

    features, logits = batch.features.detach(), batch.logits.detach()
    return Outputs(torch.cat([batch.past.features, features]), torch.cat([batch.past.logits, logits]))


def _copied(batch: Batch) -> dict[str, Tensor]:
    parts = {name: getattr(batch, name) for name in ("images", "labels", "features", "logits", "samples", "wrong")}
    parts |= {"past features": batch.past.features, "past logits": batch.past.logits}
    return {name: part.detach().clone() for name, part in parts.items() if part is not None}


def _differences(before: dict[str, Tensor], batch: Batch) -> list[str]:
    after = _copied(batch)
    return [name for name, part in before.items() if not bool((after[name] == part).all())]
