"""An adapter's losses on a source and a target batch: what the training loop of stage 5 trains."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import torch

from harness.adapting import Adapter, Batch, Outputs
from harness.engine.answers import Answers
from harness.engine.batches import BatchOrder, augment
from harness.engine.domains import TwoDomainForward, no_outputs
from harness.engine.images import moved
from harness.engine.loops import Memory
from harness.engine.orders import ClassBalancedOrder, PairedOrder, shared_classes
from harness.engine.prediction import predict
from harness.engine.randomness import derive_seed, isolated_generators
from harness.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from torch import Tensor, nn

    from harness.contract import Options
    from harness.engine.images import ImageSet
    from harness.engine.loops import AdapterLoop
    from harness.engine.networks import PixelClassifier
    from harness.engine.orders import Order
    from harness.stages.context import Context
    from harness.stages.jobs import AdaptJob


Domain = Literal["source", "target"]


class TwoDomainTask:
    """An adapter's losses on a source and a target batch. ``wrong``: the stored rows that the baseline gets wrong."""

    def __init__(
        self,
        job: AdaptJob,
        adapter: Adapter[Options],
        network: PixelClassifier,
        source: ImageSet,
        context: Context,
        *,
        loop: AdapterLoop,
        wrong: Tensor,
    ) -> None:
        self.job = job
        self.adapter = adapter
        self.network = network
        self.source, self.target = source, context.train
        self.context = context
        self.loop = loop
        self.answers = Answers(adapter, job.adapter.adapter.plugin.name)
        self.draws = draws_of(job)
        capabilities = adapter.capabilities
        self.labels_shown = capabilities.target_labels
        self.forward = TwoDomainForward(
            network,
            job.adaptation.batch_norm,
            target_gradients=capabilities.target,
            source_seen=capabilities.source,
            precision=job.adaptation.precision,
            compiled=job.adaptation.compile,
        )
        self.prepares = capabilities.source and type(adapter).prepare is not Adapter.prepare
        self.is_wrong = torch.zeros(len(context.data.train_labels), dtype=torch.bool)
        self.is_wrong[wrong] = True
        self.source_order, self.target_order = self._orders()
        width, classes = context.widths(network)
        self.remarks = self.answers.remarks(width, classes)
        capacity = job.adaptation.queue * job.adaptation.batch_size
        names: tuple[Domain, ...] = ("source", "target") if capacity else ()
        self.memories = {name: Memory(capacity, width, classes).to(network.device) for name in names}
        self.modules = self._modules(width, classes)
        self._last: tuple[Batch, Batch] | None = None

    @property
    def extra_modules(self) -> dict[str, nn.Module]:
        """What is kept at checkpoints beside the network: the adapter's modules, what is remembered of either domain."""
        own = {f"adapter-{name}": module for name, module in self.modules.items()}
        return own | {f"memory-{name}": memory for name, memory in self.memories.items()}

    def losses(self, step: int) -> dict[str, Tensor]:
        """Return the adapter's named losses of a step."""
        source_rows, target_rows = self.source_order.batch(step), self.target_order.batch(step)
        source_images, source_labels = self._pixels(self.source, source_rows, "source", step)
        target_images, target_labels = self._pixels(self.target, target_rows, "target", step)
        if self.prepares:
            source_images = self._prepared(source_images, source_labels)
        self.forward.train_mode()
        source_outputs, target_outputs = self.forward(source_images, target_images)
        # Seen for the batch-norm layers' sake alone, a target's outputs are nothing that the adapter asked for.
        shown = target_outputs if self.adapter.capabilities.target else None
        source = self._batch("source", source_rows, source_images, source_labels, source_outputs)
        target = self._batch("target", target_rows, target_images, target_labels, shown)
        self._last = source, target
        losses = self.answers.losses(source, target)
        for memory, outputs in zip(self.memories.values(), (source_outputs, shown), strict=False):
            if outputs is not None:
                memory.remember(outputs.features, outputs.logits)
        return losses

    def trained(self, step: int) -> Iterable[nn.Parameter] | None:
        """Return the parameters that the adapter changes in a step, None for all. It is asked before anything else of a step."""
        self.loop.step = step
        return self.answers.trained(self.network, self.modules)

    def validate(self, network: PixelClassifier) -> float:
        """Return the validation accuracy."""
        return predict(network, self.context.valid).accuracy

    def diagnostics(self) -> dict[str, float]:
        """Return the adapter's own figures of the last step."""
        if self._last is None:
            return {}
        return self.answers.diagnostics(*self._last)

    def _orders(self) -> tuple[Order, Order]:
        """Return one order for the source of every arm, of T itself too, and one for the target."""
        size, rows, chosen = self.loop.batch_size, self.target.rows, self.source.rows
        sampling = self.adapter.capabilities.sampling
        if sampling == "paired":
            wrong = self.is_wrong[chosen]
            paired = PairedOrder(chosen[wrong], chosen[~wrong], batch_size=size, key=("paired-order", *self.draws))
            return paired, paired
        if sampling == "class-balanced":
            return self._balanced(self.source, "source"), self._balanced(self.target, "target")
        return (
            BatchOrder(rows, chosen, batch_size=size, key=("source-order", *self.draws)),
            BatchOrder(rows, rows, batch_size=size, key=("target-order", *self.draws)),
        )

    def _balanced(self, images: ImageSet, domain: str) -> ClassBalancedOrder:
        classes = shared_classes(self.source.labels, self.target.labels)
        if len(classes) == 0:
            raise DataError("source and target have no class in common: class-balanced batches cannot be drawn")
        return ClassBalancedOrder(
            images.rows,
            images.labels,
            classes,
            batch_size=self.loop.batch_size,
            key=("balanced-order", domain, *self.draws),
            schedule=("class-order", *self.draws),
        )

    def _pixels(self, images: ImageSet, rows: Tensor, domain: str, step: int) -> tuple[Tensor, Tensor]:
        """Return a batch's images and labels; the pairs of a batch are augmented alike."""
        pixels, labels = images.gather(rows)
        domain = "pair" if self.adapter.capabilities.sampling == "paired" else domain
        key = ("adaptation-augmentation", domain, *self.draws, step)
        return augment(pixels, self.job.adaptation.augmentation, key=key), labels

    def _prepared(self, images: Tensor, labels: Tensor) -> Tensor:
        self.network.eval()
        return self.answers.prepare(images, labels)

    def _batch(self, domain: Domain, rows: Tensor, images: Tensor, labels: Tensor, outputs: Outputs | None) -> Batch:
        """Return what the adapter sees of a domain, which may be T as a source and T as a target: told apart by name alone."""
        device = images.device
        found = outputs or no_outputs(images)
        told = domain == "source" or self.labels_shown
        memory = self.memories[domain] if self.memories else None
        all_rows = (self.source if domain == "source" else self.target).rows
        return Batch(
            images=images,
            labels=labels if told else None,
            features=found.features,
            logits=found.logits,
            samples=moved(torch.searchsorted(all_rows, rows), device),
            wrong=moved(self.is_wrong[rows], device) if told else None,
            past=memory.past() if memory else Outputs(found.features[:0].detach(), found.logits[:0].detach()),
        )

    def _modules(self, width: int, classes: int) -> dict[str, nn.Module]:
        """Return the adapter's own modules, initialized from the seed, on the device."""
        with isolated_generators(derive_seed("adapter-modules", self.job.subject.seed)):
            modules = self.answers.modules(width, classes)
        return {name: module.to(self.network.device) for name, module in modules.items()}


def draws_of(job: AdaptJob) -> tuple[int, ...]:
    """Return what the order of the batches is drawn by: the seed, for a repetition its number too."""
    return (job.subject.seed, job.repetition) if job.repetition else (job.subject.seed,)
