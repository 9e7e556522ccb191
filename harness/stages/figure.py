"""A figure: a plugin's picture of the baseline and of what correctors made of T_w, with the numbers behind it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from harness.engine.drawing import PerturbedSamples, draw
from harness.engine.prediction import predict
from harness.engine.randomness import derive_seed
from harness.stages.context import state_of
from harness.store import Artifact

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from harness.engine.drawing import Drawn
    from harness.engine.networks import PixelClassifier
    from harness.stages.context import Context
    from harness.stages.jobs import FigureJob

PERTURBED = "perturbed:"
"""What the roles of the inputs begin with that correctors made; their names follow."""


def run(job: FigureJob, inputs: Mapping[str, Artifact], context: Context) -> Artifact:
    """Return the picture as bytes (uint8 tensors ``png`` and ``svg``), its caption, numbers, table and flags."""
    asked = job.figure.figure
    kind: Any = context.workshop.manager.load_ready(asked.plugin)
    network = context.network(state_of(inputs["baseline"]))
    judge = context.judge(network)
    steps = len(job.correctors) + 1
    samples = {}
    for number, name in enumerate(job.correctors):
        samples[name] = _samples(inputs[f"{PERTURBED}{name}"], judge, context)
        context.progress(number + 1, steps)
    drawn = draw(
        kind(asked.options),
        network,
        samples,
        job.classes,
        name=asked.plugin.name,
        seed=derive_seed("figure", asked.plugin.name, job.subject.seed),
        dpi=job.figure.dpi,
        judge=None if judge is network else judge,
    )
    return Artifact({"png": _as_tensor(drawn.png), "svg": _as_tensor(drawn.svg)}, _meta(drawn))


def _samples(perturbed: Artifact, judge: PixelClassifier, context: Context) -> PerturbedSamples:
    """Return a corrector's samples with the labels that the judge gives them, before and after."""
    rows, images, corrected = (perturbed.tensors[name] for name in ("rows", "images", "corrected"))
    wrong = context.train.subset(rows)
    after = predict(judge, wrong.with_replacements(rows, images)).predicted
    # The stored verdict counts: in other batches a label may differ by float rounding.
    after = torch.where(corrected, wrong.labels, after)
    return PerturbedSamples(wrong, rows, images, predict(judge, wrong).predicted, after, corrected)


def _meta(drawn: Drawn) -> dict[str, Any]:
    drawing = drawn.drawing
    return {
        "caption": drawing.caption,
        "numbers": {name: float(value) for name, value in drawing.numbers.items()},
        "columns": list(drawing.table[0]) if drawing.table else [],
        "table": [list(row.values()) for row in drawing.table],
        "flags": list(drawing.flags),
    }


def _as_tensor(data: bytes) -> Tensor:
    return torch.frombuffer(bytearray(data), dtype=torch.uint8)
