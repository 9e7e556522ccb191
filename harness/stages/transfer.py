"""A control: samples corrected for another classifier of the same images, kept whatever this one says of them.

Where it gains as much as a corrector's own samples, the correction need not fit the classifier that is adapted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from harness.engine.images import even_batches
from harness.engine.norms import per_sample_norm
from harness.engine.prediction import batch_size_on, classified
from harness.stages.context import state_of
from harness.stages.sham import told_of
from harness.store import Artifact
from harness.tensor_files import TensorFile

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from harness.stages.context import Context
    from harness.stages.jobs import TransferJob


def run(job: TransferJob, inputs: Mapping[str, Artifact], context: Context) -> Artifact:
    """Return the rival's samples of T_w, those marked that are corrected for it, and what this classifier makes of them."""
    correct = inputs["correct"].tensors
    rows, corrected = correct["rows"], correct["corrected"]
    written, moved = _copied(job, rows, correct["images"], context)
    images, labels = written.tensor(), context.data.train_labels[rows]
    found = classified(context.judge(context.network(state_of(inputs["baseline"]))), images, labels)
    meta = {"corrected": told_of(found, moved, corrected), "all": told_of(found, moved, torch.ones_like(corrected))}
    return Artifact({"rows": rows, "images": images, "corrected": corrected}, meta, files={"images": written})


def _copied(job: TransferJob, rows: Tensor, images: Tensor, context: Context) -> tuple[TensorFile, Tensor]:
    """Write the images (N, C, S, S) of the samples ``rows`` (N,) anew; returns their file and how far each is from its sample."""
    written = TensorFile.create(context.partial.folder, "images", tuple(images.shape), "float32")
    moved = [torch.empty(0)]
    batches = even_batches(torch.arange(len(rows)), batch_size_on(context.workshop.device))
    for number, places in enumerate(batches):
        originals = context.train.gather(rows[places])[0].cpu()
        written.append(images[places].numpy())
        moved.append(per_sample_norm(images[places] - originals, job.norm))
        context.progress(number + 1, len(batches))
    return written, torch.cat(moved)
