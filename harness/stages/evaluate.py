"""Stage 6: accuracy on T', T, validation and test, and the mean loss on T and T'. Only evaluators read the test split too."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from harness.engine.folding import attack_ready
from harness.engine.networks import placed
from harness.engine.prediction import Predictions, predict
from harness.engine.throughput import images_per_second, state_bytes
from harness.records import SPEEDS
from harness.stages.context import state_of
from harness.stages.merge import source_images
from harness.store import Artifact

if TYPE_CHECKING:
    from collections.abc import Mapping

    from harness.engine.images import ImageSet
    from harness.engine.networks import PixelClassifier
    from harness.stages.context import Context
    from harness.stages.jobs import EvaluateJob


TIMED_IMAGES = 256


def run(job: EvaluateJob, inputs: Mapping[str, Artifact], context: Context) -> Artifact:
    """Return the accuracies, the losses and the test predictions of an adapted classifier (or of the baseline)."""
    full_precision = context.network(state_of(inputs["weights"]))
    quantizer = context.quantizer()
    network = full_precision if quantizer is None else context.quantized(full_precision, quantizer)
    source = source_images(job.source, job.keep, inputs, context)
    has_source = job.source != "target"
    found = _found(network, source, context)
    context.progress(1, 2)
    meta = {
        "accuracy": found.accuracies(has_source=has_source),
        "loss": {"target": found.train.mean_loss, "source": found.source.mean_loss if has_source else None},
        "source_size": len(found.source.labels),
        "test": {"labels": found.test.labels.tolist(), "predictions": found.test.predicted.tolist()},
    }
    if quantizer is None:
        return Artifact(meta=meta)
    before = _found(full_precision, source, context)
    device = torch.device(quantizer.computes_on or context.workshop.device)
    meta["remarks"] = list(quantizer.remarks)
    meta["quantized"] = {
        "before": before.accuracies(has_source=has_source),
        "num_bytes": quantizer.num_bytes(network.net),
        "full_precision_bytes": state_bytes(full_precision.net),
        "simulated": quantizer.simulated,
        "timed": {"device": device.type, "threads": torch.get_num_threads()},
    }
    return Artifact(meta=meta, times=_speeds(full_precision, network, context.test(), device))


@dataclass(frozen=True)
class _Found:
    """What a network says of T', T, the validation and the test samples."""

    source: Predictions
    train: Predictions
    valid: Predictions
    test: Predictions

    def accuracies(self, *, has_source: bool) -> dict[str, float | None]:
        return {
            "source": self.source.accuracy if has_source else None,
            "train": self.train.accuracy,
            "valid": self.valid.accuracy,
            "test": self.test.accuracy,
        }


def _found(network: PixelClassifier, source: ImageSet, context: Context) -> _Found:
    train = predict(network, context.train)
    return _Found(
        _on_source(network, source, train, context),
        train,
        predict(network, context.valid),
        predict(network, context.test()),
    )


def _speeds(
    full_precision: PixelClassifier, quantized: PixelClassifier, test: ImageSet, device: torch.device
) -> dict[str, float]:
    """Time both networks on one device and the same test images, the full-precision one folded, as it would be deployed."""
    images, _ = test.gather(test.rows[:TIMED_IMAGES])
    networks = (placed(attack_ready(full_precision), device), quantized.to(device))
    return {name: images_per_second(network, images.to(device)) for name, network in zip(SPEEDS, networks, strict=True)}


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
