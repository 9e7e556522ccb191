"""A control: samples corrected for another classifier of the same images, kept whatever this one says of them.

Where it gains as much as a corrector's own samples, the correction need not fit the classifier that is adapted.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from harness.engine.images import even_batches
from harness.engine.norms import per_sample_norm
from harness.engine.prediction import batch_size_on, classified, predict
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
    """Return the samples of T_w that the rival got wrong too, as corrected for it, and what this classifier makes of them.

    What the rival got right needed no correction for it: those samples are left out, corrected for nobody.
    """
    correct = inputs["correct"].tensors
    places = _wrong_for_rival(job, inputs, context).nonzero().flatten()
    rows, corrected = correct["rows"][places], correct["corrected"][places]
    written, moved = _copied(job, rows, correct["images"], places, context)
    images, labels = written.tensor(), context.data.train_labels[rows]
    found = classified(context.judge(context.network(state_of(inputs["baseline"]))), images, labels)
    meta = {"corrected": told_of(found, moved, corrected), "all": told_of(found, moved, torch.ones_like(corrected))}
    return Artifact({"rows": rows, "images": images, "corrected": corrected}, meta, files={"images": written})


def _wrong_for_rival(job: TransferJob, inputs: Mapping[str, Artifact], context: Context) -> Tensor:
    """Tell (|T_w|,) which samples of T_w the rival labels wrong as they are."""
    rows = inputs["correct"].tensors["rows"]
    if len(rows) == 0:
        return torch.zeros(0, dtype=torch.bool)
    rival = replace(context, subject=job.rival)
    return ~predict(rival.network(state_of(inputs["rival"])), rival.train.subset(rows)).correct


def _copied(
    job: TransferJob, rows: Tensor, images: Tensor, places: Tensor, context: Context
) -> tuple[TensorFile, Tensor]:
    """Write the images (|T_w|, C, S, S) at ``places`` (N,) anew; returns their file and how far each is from its ``rows``' (N,)."""
    written = TensorFile.create(context.partial.folder, "images", (len(rows), *images.shape[1:]), "float32")
    moved = [torch.empty(0)]
    batches = even_batches(torch.arange(len(rows)), batch_size_on(context.workshop.device))
    for number, some in enumerate(batches):
        originals = context.train.gather(rows[some])[0].cpu()
        shown = images[places[some]]
        written.append(shown.numpy())
        moved.append(per_sample_norm(shown - originals, job.norm))
        context.progress(number + 1, len(batches))
    return written, torch.cat(moved)
