"""Stage 1: fine-tune on T and keep the epoch with the best validation accuracy; or take trained weights as they are."""

from __future__ import annotations

from math import ceil
from typing import TYPE_CHECKING

from torch.nn.functional import cross_entropy

from harness.engine.batches import BatchOrder, augment
from harness.engine.compiling import Compiled
from harness.engine.precision import lowered
from harness.engine.prediction import predict
from harness.engine.training import Trainer
from harness.stages.context import as_state
from harness.store import Artifact

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from harness.budget import Baseline
    from harness.engine.networks import PixelClassifier
    from harness.stages.context import Context
    from harness.stages.jobs import BaselineJob


def run(job: BaselineJob, inputs: Mapping[str, Artifact], context: Context) -> Artifact:  # noqa: ARG001 (every stage's signature)
    """Return the baseline's weights, its best epoch and history."""
    network = context.network()
    if job.training is None:
        return Artifact(as_state(network.net.state_dict()), {"trained": True, "best_step": 0, "history": []})
    task = FineTuning(network, job.training, context)
    steps_per_epoch = ceil(len(context.train) / job.training.batch_size)
    steps = steps_per_epoch * job.training.epochs
    trainer = Trainer(
        network,
        task,
        job.training,
        steps=steps,
        validate_after=range(steps_per_epoch, steps + 1, steps_per_epoch),
        seed=job.subject.training_seed,
        extra_modules={},
        partial=context.partial,
        progress=context.progress,
    )
    fit = trainer.fit()
    best = {name.removeprefix("net."): value for name, value in fit.best_state.items()}
    return Artifact(as_state(best), {"trained": False, "best_step": fit.best_step, "history": fit.history})


class FineTuning:
    """Cross-entropy on T."""

    def __init__(self, network: PixelClassifier, training: Baseline, context: Context) -> None:
        self.network = network
        self.training = training
        self.context = context
        self.seed = context.subject.training_seed
        rows = context.train.rows
        self.passing = Compiled(network) if training.compile else network
        self.order = BatchOrder(rows, rows, batch_size=training.batch_size, key=("baseline", self.seed))

    def losses(self, step: int) -> dict[str, Tensor]:
        """Return the cross-entropy of a step's batch."""
        self.network.train()
        images, labels = self.context.train.gather(self.order.batch(step))
        images = augment(images, self.training.augmentation, key=("baseline-augmentation", self.seed, step))
        with lowered(self.training.precision, images.device):
            logits = self.passing(images)
        return {"cross-entropy": cross_entropy(logits.float(), labels)}

    def trained(self, step: int) -> None:
        """Every parameter is trained."""

    def validate(self, network: PixelClassifier) -> float:
        """Return the validation accuracy."""
        return predict(network, self.context.valid).accuracy

    def diagnostics(self) -> dict[str, float]:
        """Return nothing: the loss says it all."""
        return {}
