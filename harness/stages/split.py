"""Stage 2: T_c and T_w, the training samples that the baseline labels right and wrong (eval mode, no augmentation)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.engine.prediction import predict
from harness.stages.context import state_of
from harness.store import Artifact

if TYPE_CHECKING:
    from collections.abc import Mapping

    from harness.stages.context import Context
    from harness.stages.jobs import SplitJob


def run(job: SplitJob, inputs: Mapping[str, Artifact], context: Context) -> Artifact:  # noqa: ARG001 (every stage's signature)
    """Return which samples of T are labelled right, as rows of the stored training images, and the summed losses of both kinds."""
    judge = context.judge(context.network(state_of(inputs["baseline"])))
    predictions = predict(judge, context.train)
    rows = context.train.rows
    return Artifact(
        {"right": rows[predictions.correct], "wrong": rows[~predictions.correct]},
        {
            "right": int(predictions.correct.sum()),
            "wrong": int((~predictions.correct).sum()),
            "losses": {
                "right": predictions.loss_of(predictions.correct),
                "wrong": predictions.loss_of(~predictions.correct),
            },
        },
    )
