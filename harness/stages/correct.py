"""Stage 3: attack every sample of T_w; T_a is what the original classifier then labels true, on the images as stored."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from harness.engine.attacking import Corrector
from harness.engine.examples import TrainingExamples
from harness.engine.images import even_batches
from harness.engine.norms import per_sample_norm
from harness.engine.prediction import labelled_true
from harness.engine.randomness import derive_seed
from harness.stages.context import state_of
from harness.store import Artifact

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from harness.contract import Capabilities
    from harness.engine.networks import PixelClassifier
    from harness.stages.context import Context
    from harness.stages.jobs import CorrectJob


def run(job: CorrectJob, inputs: Mapping[str, Artifact], context: Context) -> Artifact:
    """Return all perturbed samples of T_w, which of them are corrected, and what it cost."""
    network = context.network(state_of(inputs["baseline"]))
    wrong = inputs["split"].tensors["wrong"]
    judge = context.judge(network)
    images, passes = _attack_all(
        job, _corrector(job, network, judge, inputs["split"], context), inputs["split"], context
    )
    labels = context.data.train_labels[wrong]
    corrected = labelled_true(judge, images, labels)
    norm, median_norm = _median_norm(job, images, corrected, wrong, context)
    meta = {
        "wrong": len(wrong),
        "corrected": int(corrected.sum()),
        "norm": norm,
        "median_norm": median_norm,
        "survived": survived(judge, images[corrected], labels[corrected]),
        "forward": passes["forward"],
        "backward": passes["backward"],
        "flags": _flags(
            len(wrong),
            int(corrected.sum()),
            cut=bool(passes["cut"]),
            replaced=_capabilities(job, context).examples,
        ),
    }
    return Artifact({"rows": wrong, "images": images, "corrected": corrected}, meta)


def _attack_all(
    job: CorrectJob, corrector: Corrector, split: Artifact, context: Context
) -> tuple[Tensor, dict[str, int]]:
    """Attack batch after batch, going on from the last checkpoint; returns images (|T_w|, C, S, S) and passes.

    ``cut`` among the passes counts the batches whose attack had spent its passes.
    """
    wrong = split.tensors["wrong"]
    batches = even_batches(wrong, job.batch_size)
    saved = context.partial.load("attack")
    done: list[Tensor] = [saved.tensors["images"]] if saved else []
    passes: dict[str, int] = dict(saved.meta["passes"]) if saved else {"forward": 0, "backward": 0, "cut": 0}
    for number in range(int(saved.meta["batches"]) if saved else 0, len(batches)):
        rows = batches[number]
        images, labels = context.train.gather(rows)
        result = corrector.correct(images, labels, rows)
        done.append(result.images)
        passes["forward"] += result.passes.forward
        passes["backward"] += result.passes.backward
        passes["cut"] += result.cut
        context.progress(number + 1, len(batches))
        if context.partial.due():
            done = [torch.cat(done)]
            context.partial.save("attack", Artifact({"images": done[0]}, {"passes": passes, "batches": number + 1}))
    shape = job.subject.shape
    return torch.cat(done) if done else torch.empty(0, shape.channels, shape.image_size, shape.image_size), passes


def _corrector(
    job: CorrectJob, network: PixelClassifier, judge: PixelClassifier, split: Artifact, context: Context
) -> Corrector:
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
        max_passes=job.max_passes,
        judge=None if judge is network else judge,
        examples=TrainingExamples(context.train.subset(split.tensors["right"])) if kind.capabilities.examples else None,
    )


def _median_norm(
    job: CorrectJob, images: Tensor, corrected: Tensor, wrong: Tensor, context: Context
) -> tuple[str, float | None]:
    norm = _capabilities(job, context).norm
    if not bool(corrected.any()):
        return norm, None
    originals = context.train.gather(wrong[corrected])[0].cpu()
    return norm, float(per_sample_norm(images[corrected] - originals, norm).median())


def _capabilities(job: CorrectJob, context: Context) -> Capabilities:
    assert job.corrector.attack is not None  # noqa: S101 (the plan makes no job without an attack)
    kind: Any = context.workshop.manager.load(job.corrector.attack.plugin)
    capabilities: Capabilities = kind.capabilities
    return capabilities


def survived(network: PixelClassifier, images: Tensor, labels: Tensor) -> dict[str, int]:
    """Return how many corrected images (N, C, H, W) are still labelled true when rounded or flipped."""
    variants = {
        "uint8": images.mul(255).round().div(255),
        "float16": images.to(torch.float16).to(torch.float32),
        "flip": images.flip(3),
    }
    return {name: int(labelled_true(network, variant, labels).sum()) for name, variant in variants.items()}


def _flags(wrong: int, corrected: int, *, cut: bool, replaced: bool) -> list[str]:
    if wrong == 0:
        return ["the baseline gets every training sample right: there is nothing to correct"]
    flags = [] if corrected else ["corrects nothing"]
    if cut:
        flags.append("stopped when its passes were spent")
    if replaced:
        flags.append(
            "starts from other training images of the wanted label: see how far its corrections are from the sample"
        )
    return flags
