"""Stage 4: the source domain. T' = T_c and T_a; or one of the controls' sources."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from harness.engine.prediction import labelled_true
from harness.engine.randomness import generator
from harness.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from harness.engine.images import ImageSet
    from harness.engine.networks import PixelClassifier
    from harness.stages.context import Context
    from harness.stages.jobs import SourceKind
    from harness.store import Artifact


def source_images(kind: SourceKind, keep: str, inputs: Mapping[str, Artifact], context: Context) -> ImageSet:
    """Return the source domain of an adaptation.

    ``corrected`` and ``sham``: T_c and the (sham-)corrected samples, all perturbed ones with ``keep="all"``, T_c alone where
    nothing attacks; ``target``: T itself; ``random-subset``: a random part of T, as large as T_c.
    """
    if kind == "target":
        return context.train
    right = inputs["split"].tensors["right"]
    if kind == "random-subset":
        order = torch.randperm(len(context.train), generator=generator("random-subset", context.subject.seed))
        return context.train.subset(context.train.rows[order[: len(right)]].sort().values)
    perturbed = inputs.get("perturbed")
    if perturbed is None:
        return context.train.subset(right)
    tensors = perturbed.tensors
    kept = tensors["corrected"] if keep == "corrected" else torch.ones_like(tensors["corrected"])
    places = kept.nonzero().flatten()
    rows = tensors["rows"][places]
    merged = torch.cat([right, rows]).sort().values
    return context.train.subset(merged).with_replacements(rows, tensors["images"], places=places)


def check_still_corrected(network: PixelClassifier, inputs: Mapping[str, Artifact], context: Context) -> None:
    """Check that the baseline labels every stored corrected image true, as it did when it was stored."""
    tensors = inputs["perturbed"].tensors
    # In the batches in which they were judged: T_w whole, so that not even float rounding differs.
    verdicts = labelled_true(network, tensors["images"], context.data.train_labels[tensors["rows"]])
    lost = int((~verdicts[tensors["corrected"]]).sum())
    if lost:
        raise StoreError(
            f"{lost} of {int(tensors['corrected'].sum())} corrected images are no longer labelled true by the classifier "
            'that they were made for; remove the folder "correct" of the store and run again'
        )
