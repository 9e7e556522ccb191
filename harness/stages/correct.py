"""Stage 3: attack every sample of T_w; T_a is what the original classifier then labels true, on the images as stored."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from harness.engine.attacking import Corrector
from harness.engine.examples import TrainingExamples
from harness.engine.images import even_batches
from harness.engine.norms import per_sample_norm
from harness.engine.prediction import batch_size_on, classified, labelled_true
from harness.engine.randomness import derive_seed
from harness.stages.context import state_of
from harness.store import Artifact
from harness.tensor_files import TensorFile

POINTS = 50
"""The most points that a curve of corrections has."""

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch import Tensor

    from harness.contract import Capabilities, Norm
    from harness.engine.networks import PixelClassifier
    from harness.stages.context import Context
    from harness.stages.jobs import CorrectJob


def run(job: CorrectJob, inputs: Mapping[str, Artifact], context: Context) -> Artifact:
    """Return all perturbed samples of T_w, which of them are corrected, and what it cost."""
    network = context.network(state_of(inputs["baseline"]))
    wrong = inputs["split"].tensors["wrong"]
    judge = context.judge(network)
    corrector = _corrector(job, network, judge, inputs["split"], context)
    written, passes, after = _attack_all(job, corrector, wrong, context)
    images, labels = written.tensor(), context.data.train_labels[wrong]
    found = classified(judge, images, labels)
    corrected = found.correct
    places = corrected.nonzero().flatten()
    norm = _capabilities(job, context).norm
    meta = {
        "wrong": len(wrong),
        "corrected": len(places),
        "norm": norm,
        "median_norm": _median_norm(norm, images, places, wrong, context),
        "losses": {"corrected": found.loss_of(corrected), "all": found.loss_of(torch.ones_like(corrected))},
        "survived": survived(judge, images, labels, places),
        "curve": curve_of(_ended(after, passes)[corrected]),
        "forward": passes["forward"],
        "backward": passes["backward"],
        "flags": _flags(
            len(wrong),
            len(places),
            cut=bool(passes["cut"]),
            replaced=_capabilities(job, context).examples,
            remarks=corrector.remarks,
        ),
    }
    tensors = {"rows": wrong, "images": images, "corrected": corrected}
    return Artifact(tensors, meta, files={"images": written})


def _attack_all(
    job: CorrectJob, corrector: Corrector, wrong: Tensor, context: Context
) -> tuple[TensorFile, dict[str, int], Tensor]:
    """Attack batch after batch, going on from the last checkpoint; returns the images (|T_w|, C, S, S) and the passes.

    ``cut`` among the passes counts the batches whose attack had spent its passes. Last, after how many passes per image of its
    batch each sample (|T_w|,) was corrected.
    """
    batches = even_batches(wrong, job.batch_size)
    written, passes, after, first = _resume(job, len(wrong), context)
    try:
        for number in range(first, len(batches)):
            rows = batches[number]
            images, labels = context.train.gather(rows)
            result = corrector.correct(images, labels, rows)
            written.append(result.images.numpy())
            passes["forward"] += result.passes.forward
            passes["backward"] += result.passes.backward
            passes["cut"] += result.cut
            after.append(result.met_after)
            context.progress(number + 1, len(batches))
            if context.partial.due():
                meta = {"passes": passes, "batches": number + 1, "images": written.written()}
                context.partial.save("attack", Artifact({"after": torch.cat(after)}, meta))
    except BaseException:
        # Whoever tries again in this process must find the file free.
        written.close()
        raise
    return written, passes, torch.cat(after)


def _resume(job: CorrectJob, count: int, context: Context) -> tuple[TensorFile, dict[str, int], list[Tensor], int]:
    """Return the images' file, the passes, when samples were corrected, and the next batch's number, as checkpointed."""
    size = job.subject.shape.image_size
    shape = (count, job.subject.shape.channels, size, size)
    folder = context.partial.folder
    saved = context.partial.load("attack")
    if saved is not None:
        written = TensorFile.resume(folder, "images", shape, "float32", saved.meta.get("images"))
        if written is not None:
            return written, dict(saved.meta["passes"]), [saved.tensors["after"]], int(saved.meta["batches"])
    passes = {"forward": 0, "backward": 0, "cut": 0}
    return TensorFile.create(folder, "images", shape, "float32"), passes, [torch.empty(0)], 0


def _ended(after: Tensor, passes: dict[str, int]) -> Tensor:
    """Return ``after`` (N,) with the end in place of what no attack's batch saw: its verdict was by a hair another one there."""
    end = (passes["forward"] + passes["backward"]) / max(len(after), 1)
    return torch.where(after.isfinite(), after, end)


def curve_of(after: Tensor) -> list[tuple[float, int]]:
    """Return (passes, corrected) pairs, at most ``POINTS``: so many samples are corrected after so many passes per image.

    ``after`` (N,): the passes after which each corrected sample was.
    """
    passes, counts = torch.unique(after.double(), return_counts=True)
    corrected = counts.cumsum(0)
    chosen = torch.linspace(0, max(len(passes) - 1, 0), min(POINTS, len(passes))).round().long()
    return [(round(float(passes[place]), 3), int(corrected[place])) for place in chosen]


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
        precision=job.precision,
        compiled=job.compile,
        judge=None if judge is network else judge,
        gradients=job.subject.gradients,
        examples=TrainingExamples(context.train.subset(split.tensors["right"])) if kind.capabilities.examples else None,
    )


def _median_norm(norm: Norm, images: Tensor, places: Tensor, wrong: Tensor, context: Context) -> float | None:
    """Return the median norm of the perturbations of the samples at ``places``; None where there are none."""
    norms = []
    for some in even_batches(places, batch_size_on(context.workshop.device)):
        originals = context.train.gather(wrong[some])[0].cpu()
        norms.append(per_sample_norm(images[some] - originals, norm))
    return float(torch.cat(norms).median()) if norms else None


def _capabilities(job: CorrectJob, context: Context) -> Capabilities:
    assert job.corrector.attack is not None  # noqa: S101 (the plan makes no job without an attack)
    kind: Any = context.workshop.manager.load(job.corrector.attack.plugin)
    capabilities: Capabilities = kind.capabilities
    return capabilities


def survived(network: PixelClassifier, images: Tensor, labels: Tensor, places: Tensor) -> dict[str, int]:
    """Return how many of the corrected images (N, C, H, W) at ``places`` are still labelled true when rounded or flipped."""
    counts = {"uint8": 0, "float16": 0, "flip": 0}
    for some in torch.split(places, batch_size_on(network.device)):
        corrected = images[some]
        variants = {
            "uint8": corrected.mul(255).round().div(255),
            "float16": corrected.to(torch.float16).to(torch.float32),
            "flip": corrected.flip(3),
        }
        for name, variant in variants.items():
            counts[name] += int(labelled_true(network, variant, labels[some]).sum())
    return counts


def _flags(wrong: int, corrected: int, *, cut: bool, replaced: bool, remarks: Sequence[str]) -> list[str]:
    if wrong == 0:
        return ["the baseline gets every training sample right: there is nothing to correct"]
    flags = [] if corrected else ["corrects nothing"]
    if cut:
        flags.append("stopped when its passes were spent")
    if replaced:
        flags.append(
            "starts from other training images of the wanted label: see how far its corrections are from the sample"
        )
    return [*flags, *remarks]
