"""Stage 6: accuracy on T', T, validation and test, and the mean loss on T and T'. Only evaluators read the test split too."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from harness.engine.prediction import Predictions, predict
from harness.stages.context import state_of
from harness.stages.merge import source_images
from harness.store import Artifact

if TYPE_CHECKING:
    from collections.abc import Mapping

    from harness.engine.images import ImageSet
    from harness.engine.networks import PixelClassifier
    from harness.stages.context import Context
    from harness.stages.jobs import EvaluateJob


def run(job: EvaluateJob, inputs: Mapping[str, Artifact], context: Context) -> Artifact:
    """Return the accuracies, the losses and the test predictions of an adapted classifier (or of the baseline)."""
    full_precision = context.network(state_of(inputs["weights"]))
    network = context.judge(full_precision)
    train = predict(network, context.train)
    context.progress(1, 3)
    valid = predict(network, context.valid)
    source = _on_source(network, source_images(job.source, job.keep, inputs, context), train, context)
    context.progress(2, 3)
    test = predict(network, context.test())
    has_source = job.source != "target"
    meta = {
        "accuracy": {
            "source": source.accuracy if has_source else None,
            "train": train.accuracy,
            "valid": valid.accuracy,
            "test": test.accuracy,
        },
        "loss": {"target": train.mean_loss, "source": source.mean_loss if has_source else None},
        "source_size": len(source.labels),
        "test": {"labels": test.labels.tolist(), "predictions": test.predicted.tolist()},
    }
    if network is not full_precision:
        meta["full_precision"] = predict(full_precision, context.test()).accuracy
        meta["num_bytes"] = context.num_bytes(network)
    return Artifact(meta=meta)


def _on_source(network: PixelClassifier, source: ImageSet, train: Predictions, context: Context) -> Predictions:
    """Classify T' without classifying again what it shares with T."""
    position = torch.full((len(context.data.train_labels),), -1, dtype=torch.int64)
    position[context.train.rows] = torch.arange(len(context.train))
    replaced = (
        source.replaced[source.rows] >= 0 if source.replaced is not None else torch.zeros(len(source), dtype=torch.bool)
    )
    shared = position[source.rows[~replaced]]
    own = predict(network, source.subset(source.rows[replaced]))
    return Predictions(
        torch.cat([train.labels[shared], own.labels]),
        torch.cat([train.predicted[shared], own.predicted]),
        torch.cat([train.losses[shared], own.losses]),
    )
