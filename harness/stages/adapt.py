"""Stage 5: adapt from T' to T with any adapter; every arm has the same start, order, optimizer, steps and checkpoints."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from harness.engine.batches import BatchOrder, augment
from harness.engine.domains import DomainView, TwoDomainForward, batch_of
from harness.engine.networks import modes_kept
from harness.engine.prediction import predict
from harness.engine.randomness import derive_seed, isolated_generators
from harness.engine.training import Trainer, validated_steps
from harness.errors import ContractError, DataError
from harness.stages.context import as_state, state_of
from harness.stages.merge import check_still_corrected, source_images
from harness.store import Artifact

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from harness.contract import Adapter, Batch, Options
    from harness.engine.images import ImageSet
    from harness.engine.networks import PixelClassifier
    from harness.stages.context import Context
    from harness.stages.jobs import AdaptJob


def run(job: AdaptJob, inputs: Mapping[str, Artifact], context: Context) -> Artifact:
    """Return the adapted weights, the checkpoint kept and the history of all."""
    network = context.network(state_of(inputs["baseline"]))
    if job.source == "corrected" and "perturbed" in inputs:
        check_still_corrected(context.judge(network), inputs, context)
    source = source_images(job.source, job.keep, inputs, context)
    if len(source) == 0:
        raise DataError("the source T' is empty: the baseline gets no training sample right; train it longer")
    kind: Any = context.workshop.manager.load(job.adapter.adapter.plugin)
    adapter: Adapter[Options] = kind(job.adapter.adapter.options)
    if not adapter.takes_gradient_steps():
        return _adapt_without_gradients(job, adapter, network, source, context)
    return _adapt_by_gradient(job, adapter, network, source, context)


def _adapt_without_gradients(
    job: AdaptJob, adapter: Adapter[Options], network: PixelClassifier, source: ImageSet, context: Context
) -> Artifact:
    with modes_kept(network), isolated_generators(derive_seed("adapt", *_draws(job))):
        adapter.adapt(network, DomainView(source), DomainView(context.train))
    network.requires_grad_()
    if not all(bool(torch.isfinite(value).all()) for value in network.state_dict().values()):
        raise ContractError(
            f'adapter "{job.adapter.adapter.plugin.name}" left weights that are not finite; '
            "leave the network as it was where it cannot adapt"
        )
    return Artifact(as_state(network.net.state_dict()), {"steps": 0, "best_step": 0, "history": []})


def _adapt_by_gradient(
    job: AdaptJob, adapter: Adapter[Options], network: PixelClassifier, source: ImageSet, context: Context
) -> Artifact:
    steps = job.adaptation.total_steps(len(context.train))
    task = TwoDomainTask(job, adapter, network, source, context)
    trainer = Trainer(
        network,
        task,
        job.adaptation,
        steps=steps,
        validate_after=validated_steps(steps, job.adaptation.validations),
        seed=job.subject.seed,
        extra_modules=task.extra_modules,
        partial=context.partial,
        progress=context.progress,
    )
    fit = trainer.fit()
    best = {name.removeprefix("net."): value for name, value in fit.best_state.items()}
    return Artifact(as_state(best), {"steps": steps, "best_step": fit.best_step, "history": fit.history})


def _draws(job: AdaptJob) -> tuple[int, ...]:
    """Return what the order of the batches is drawn by: the seed, for a repetition its number too."""
    return (job.subject.seed, job.repetition) if job.repetition else (job.subject.seed,)


class TwoDomainTask:
    """An adapter's losses on a source and a target batch."""

    def __init__(
        self, job: AdaptJob, adapter: Adapter[Options], network: PixelClassifier, source: ImageSet, context: Context
    ) -> None:
        self.job = job
        self.adapter = adapter
        self.network = network
        self.source = source
        self.context = context
        self.seed = job.subject.seed
        capabilities = adapter.capabilities
        self.labels_shown = capabilities.target_labels
        self.forward = TwoDomainForward(network, job.adaptation.batch_norm, target_gradients=capabilities.target)
        # One order for the source of every arm, of T itself too, and one for the target.
        size, target = job.adaptation.batch_size, context.train
        self.draws = _draws(job)
        self.source_order = BatchOrder(target.rows, source.rows, batch_size=size, key=("source-order", *self.draws))
        self.target_order = BatchOrder(target.rows, target.rows, batch_size=size, key=("target-order", *self.draws))
        self.extra_modules = self._modules()
        self._last: tuple[Batch, Batch] | None = None

    def losses(self, step: int) -> dict[str, Tensor]:
        """Return the adapter's named losses of a step."""
        self.forward.train_mode()
        source_images, source_labels = self._batch(self.source, self.source_order, "source", step)
        target_images, target_labels = self._batch(self.context.train, self.target_order, "target", step)
        source_outputs, target_outputs = self.forward(source_images, target_images)
        source = batch_of(source_images, source_labels, source_outputs)
        # Seen for the batch-norm layers' sake alone, a target's outputs are nothing that the adapter asked for.
        shown = target_outputs if self.adapter.capabilities.target else None
        target = batch_of(target_images, target_labels if self.labels_shown else None, shown)
        self._last = source, target
        return self._checked(self.adapter.losses(source, target))

    def validate(self) -> float:
        """Return the validation accuracy."""
        return predict(self.network, self.context.valid).accuracy

    def diagnostics(self) -> dict[str, float]:
        """Return the adapter's own figures of the last step."""
        if self._last is None:
            return {}
        with torch.no_grad():
            figures = self.adapter.diagnostics(*self._last)
        return {name: float(value) for name, value in figures.items()}

    def _batch(self, images: ImageSet, order: BatchOrder, domain: str, step: int) -> tuple[Tensor, Tensor]:
        pixels, labels = images.gather(order.batch(step))
        key = ("adaptation-augmentation", domain, *self.draws, step)
        return augment(pixels, self.job.adaptation.augmentation, key=key), labels

    def _modules(self) -> dict[str, torch.nn.Module]:
        """Return the adapter's own modules, initialized from the seed, on the device."""
        with torch.no_grad(), modes_kept(self.network):
            self.network.eval()
            outputs = self.network.outputs(self.context.train.gather(self.context.train.rows[:2])[0])
        width, classes = outputs.features.shape[1], outputs.logits.shape[1]
        with isolated_generators(derive_seed("adapter-modules", self.seed)):
            modules = self.adapter.modules(width, classes)
        return {name: module.to(self.network.device) for name, module in modules.items()}

    def _checked(self, losses: dict[str, Tensor]) -> dict[str, Tensor]:
        name = self.job.adapter.adapter.plugin.name
        if not isinstance(losses, dict) or not losses:
            raise ContractError(f'adapter "{name}" returned {type(losses).__name__}; expected a dict of named losses')
        for key, value in losses.items():
            if not isinstance(value, torch.Tensor) or value.ndim != 0:
                got = tuple(value.shape) if isinstance(value, torch.Tensor) else type(value).__name__
                raise ContractError(f'adapter "{name}": its loss "{key}" is {got}; expected a scalar tensor')
        if not any(value.requires_grad for value in losses.values()):
            listed = ", ".join(losses)
            raise ContractError(
                f'adapter "{name}": none of its losses ({listed}) depends on the network; compute them from the '
                "batches' logits or features, undetached"
            )
        return losses
