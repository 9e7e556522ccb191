"""Stage 3: attack every sample of T_w; T_a is what the original classifier then labels true, on the images as stored."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from harness.engine.attacking import Corrector
from harness.engine.images import even_batches
from harness.engine.norms import per_sample_norm
from harness.engine.prediction import labelled_true
from harness.engine.randomness import derive_seed
from harness.stages.context import state_of
from harness.store import Artifact

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from harness.engine.networks import PixelClassifier
    from harness.stages.context import Context
    from harness.stages.jobs import CorrectJob


def run(job: CorrectJob, inputs: Mapping[str, Artifact], context: Context) -> Artifact:
    """Return all perturbed samples of T_w, which of them are corrected, and what it cost."""
    network = context.network(state_of(inputs["baseline"]))
    wrong = inputs["split"].tensors["wrong"]
    images, passes = _attack_all(job, network, wrong, context)
    labels = context.data.train_labels[wrong]
    corrected = labelled_true(network, images, labels)
    norm, median_norm = _median_norm(job, images, corrected, wrong, context)
    meta = {
        "wrong": len(wrong),
        "corrected": int(corrected.sum()),
        "norm": norm,
        "median_norm": median_norm,
        "survived": survived(network, images[corrected], labels[corrected]),
        "forward": passes["forward"],
        "backward": passes["backward"],
        "flags": _flags(len(wrong), int(corrected.sum())),
    }
    return Artifact({"rows": wrong, "images": images, "corrected": corrected}, meta)


def _attack_all(
    job: CorrectJob, network: PixelClassifier, wrong: Tensor, context: Context
) -> tuple[Tensor, dict[str, int]]:
    """Attack batch after batch, going on from the last checkpoint; returns images (|T_w|, C, S, S) and passes."""
    corrector = _corrector(job, network, context)
    batches = even_batches(wrong, job.batch_size)
    saved = context.partial.load("attack")
    done: list[Tensor] = [saved.tensors["images"]] if saved else []
    passes: dict[str, int] = dict(saved.meta["passes"]) if saved else {"forward": 0, "backward": 0}
    for number in range(int(saved.meta["batches"]) if saved else 0, len(batches)):
        rows = batches[number]
        images, labels = context.train.gather(rows)
        result = corrector.correct(images, labels, rows)
        done.append(result.images)
        passes["forward"] += result.passes.forward
        passes["backward"] += result.passes.backward
        context.progress(number + 1, len(batches))
        if context.partial.due():
            done = [torch.cat(done)]
            context.partial.save("attack", Artifact({"images": done[0]}, {"passes": passes, "batches": number + 1}))
    shape = job.subject.shape
    return torch.cat(done) if done else torch.empty(0, shape.channels, shape.image_size, shape.image_size), passes


def _corrector(job: CorrectJob, network: PixelClassifier, context: Context) -> Corrector:
    resolved = job.corrector.attack
    assert resolved is not None  # noqa: S101 (the plan makes no job without an attack)
    kind: Any = context.workshop.manager.load(resolved.plugin)
    return Corrector(
        kind(resolved.options),
        network,
        name=resolved.plugin.name,
        objective=job.corrector.objective,
        select=job.corrector.select,
        seed=derive_seed("attack", resolved.plugin.name, job.subject.seed),
    )


def _median_norm(
    job: CorrectJob, images: Tensor, corrected: Tensor, wrong: Tensor, context: Context
) -> tuple[str, float | None]:
    assert job.corrector.attack is not None  # noqa: S101 (the plan makes no job without an attack)
    kind: Any = context.workshop.manager.load(job.corrector.attack.plugin)
    norm = kind.capabilities.norm
    if not bool(corrected.any()):
        return norm, None
    originals = context.train.gather(wrong[corrected])[0].cpu()
    return norm, float(per_sample_norm(images[corrected] - originals, norm).median())


def survived(network: PixelClassifier, images: Tensor, labels: Tensor) -> dict[str, int]:
    """Return how many corrected images (N, C, H, W) are still labelled true when rounded or flipped."""
    variants = {
        "uint8": images.mul(255).round().div(255),
        "float16": images.to(torch.float16).to(torch.float32),
        "flip": images.flip(3),
    }
    return {name: int(labelled_true(network, variant, labels).sum()) for name, variant in variants.items()}


def _flags(wrong: int, corrected: int) -> list[str]:
    if wrong == 0:
        return ["the baseline gets every training sample right: there is nothing to correct"]
    return [] if corrected else ["corrects nothing"]
