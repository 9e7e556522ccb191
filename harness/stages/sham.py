"""The sham corrector: each attacked sample moved just as far, in a random direction, and kept whatever comes of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from harness.engine.images import even_batches
from harness.engine.norms import per_sample, per_sample_norm
from harness.engine.prediction import batch_size_on, classified
from harness.engine.randomness import PerSampleStreams, derive_seed
from harness.stages.context import state_of
from harness.store import Artifact
from harness.tensor_files import TensorFile

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from harness.contract import Norm
    from harness.engine.prediction import Predictions
    from harness.stages.context import Context
    from harness.stages.jobs import ShamJob

ROUNDS = 50


def run(job: ShamJob, inputs: Mapping[str, Artifact], context: Context) -> Artifact:
    """Return T_w moved at random, marked as the corrector's is: with ``keep: all`` the uncorrected samples count too."""
    correct = inputs["correct"].tensors
    rows, corrected = correct["rows"], correct["corrected"]
    written, moved = _move_all(job, rows, correct["images"], context)
    images, labels = written.tensor(), context.data.train_labels[rows]
    found = classified(context.judge(context.network(state_of(inputs["baseline"]))), images, labels)
    meta = {"corrected": told_of(found, moved, corrected), "all": told_of(found, moved, torch.ones_like(corrected))}
    return Artifact({"rows": rows, "images": images, "corrected": corrected}, meta, files={"images": written})


def _move_all(job: ShamJob, rows: Tensor, corrections: Tensor, context: Context) -> tuple[TensorFile, Tensor]:
    """Move the samples ``rows`` (N,) as far as their ``corrections`` (N, C, S, S); returns the images and how far each went."""
    seed = derive_seed("sham", context.subject.seed)
    written = TensorFile.create(context.partial.folder, "images", tuple(corrections.shape), "float32")
    moved = [torch.empty(0)]
    batches = even_batches(torch.arange(len(rows)), batch_size_on(context.workshop.device))
    for number, places in enumerate(batches):
        originals = context.train.gather(rows[places])[0].cpu()
        norms = per_sample_norm(corrections[places] - originals, job.norm)
        streams = PerSampleStreams.of(rows[places], seed=seed, device=torch.device("cpu"))
        directions = streams.normal(originals.shape[1:])
        images = randomly_moved(originals, norms, norm=job.norm, directions=directions)
        written.append(images.numpy())
        moved.append(per_sample_norm(images - originals, job.norm))
        context.progress(number + 1, len(batches))
    return written, torch.cat(moved)


def told_of(found: Predictions, moved: Tensor, which: Tensor) -> dict[str, float | None]:
    """Return how many of the samples (N,) are kept, of these labelled true, how far they moved (median), and their summed loss."""
    norms = moved[which]
    return {
        "kept": int(which.sum()),
        "labelled_true": int(found.correct[which].sum()),
        "median_norm": float(norms.median()) if len(norms) else None,
        "loss": found.loss_of(which),
    }


def randomly_moved(images: Tensor, norms: Tensor, *, norm: Norm, directions: Tensor) -> Tensor:
    """Move images (N, C, H, W) in [0, 1] by ``norms`` (N,) along ``directions``, signs alone for linf, within [0, 1].

    What the bounds cut off is made up for by a longer step, so that the norm is kept as far as the bounds let it be.
    """
    if norm == "linf":
        return (images + directions.sign() * per_sample(norms, images)).clamp_(0, 1)
    if norm == "l0":
        return _entries_replaced(images, norms, directions)
    scale = norms / per_sample_norm(directions, norm).clamp_min(1e-12)
    moved = (images + directions * per_sample(scale, images)).clamp(0, 1)
    for _ in range(ROUNDS):
        reached = per_sample_norm(moved - images, norm)
        longer = (norms / reached.clamp_min(1e-12)).clamp(1.0, 2.0)
        if bool((longer == 1).all()):
            break
        scale = scale * longer
        moved = (images + directions * per_sample(scale, images)).clamp(0, 1)
    return moved


def _entries_replaced(images: Tensor, counts: Tensor, directions: Tensor) -> Tensor:
    """Set as many random entries to black or white as ``counts`` (N,) says; their order is the directions' magnitudes."""
    flat, draws = images.flatten(1), directions.flatten(1)
    ranks = draws.abs().argsort(1, descending=True).argsort(1)
    chosen = ranks < counts[:, None]
    drawn = (draws > 0).to(flat.dtype)
    # An entry that is what was drawn already becomes the other, or it would not count as changed.
    return torch.where(chosen, torch.where(flat == drawn, 1 - drawn, drawn), flat).reshape(images.shape)
