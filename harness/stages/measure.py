"""Stage 6, for one evaluator: what it finds on the test split. Where it attacks, the harness decides which labels hold."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from harness.engine.evaluating import EvaluatorRun
from harness.engine.images import even_batches
from harness.engine.randomness import derive_seed, generator
from harness.engine.tallying import Tally
from harness.errors import ContractError
from harness.stages.context import state_of
from harness.store import Artifact

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch import Tensor

    from harness.engine.images import ImageSet
    from harness.stages.context import Context
    from harness.stages.jobs import MeasureJob


def run(job: MeasureJob, inputs: Mapping[str, Artifact], context: Context) -> Artifact:
    """Return the shares of test images labelled true before and after, per-example verdicts, figures and flags."""
    resolved = job.evaluator.evaluator
    kind: Any = context.workshop.manager.load(resolved.plugin)
    network = context.network(state_of(inputs["weights"]))
    evaluator = EvaluatorRun(
        kind(resolved.options),
        network,
        name=resolved.plugin.name,
        seed=derive_seed("measure", resolved.plugin.name),
        judge=None if context.subject.quantizer is None else context.judge(network),
        gradients=context.subject.gradients,
    )
    test = context.test()
    rows = subset(len(test), job.evaluator.samples)
    tally = _measured(evaluator, test, even_batches(rows, job.evaluator.batch_size), context)
    if len(tally.held) not in {0, len(rows)}:
        raise ContractError(
            f'evaluator "{resolved.plugin.name}" returned perturbed images for {len(tally.held)} of {len(rows)} images; '
            "expected them for all batches, or for none"
        )
    found, threat = evaluator.conclude(tally), evaluator.threat
    held = None if found.held is None else found.held.tolist()
    meta = {
        "batch_size": job.evaluator.batch_size,
        "samples": len(rows),
        "rows": rows.tolist() if len(rows) < len(test) else None,
        "clean": sum(tally.clean) / len(rows),
        "robust": None if held is None else sum(held) / len(rows),
        "held": held,
        "norm": threat[0] if threat else None,
        "eps": threat[1] if threat else None,
        "figures": dict(found.figures),
        "shares": dict(found.shares),
        "flags": list(found.flags),
    }
    return Artifact(meta=meta)


def _measured(evaluator: EvaluatorRun, test: ImageSet, batches: Sequence[Tensor], context: Context) -> Tally:
    """Measure batch after batch and part after part, going on from the last checkpoint."""
    saved = context.partial.load("measure")
    tally = Tally.from_meta(saved.meta) if saved else Tally()
    while tally.batches < len(batches):
        batch = batches[tally.batches]
        images, labels = test.gather(batch)
        number = tally.batches
        while tally.batches == number:
            tally = evaluator.advance(tally, images, labels, batch)
            context.progress(tally.batches * evaluator.steps + tally.parts, len(batches) * evaluator.steps)
            if context.partial.due():
                context.partial.save("measure", Artifact(meta=tally.as_meta()))
    return tally


def subset(total: int, samples: int | None) -> Tensor:
    """Return the test rows that are measured, sorted: the same for every row of the table and every seed."""
    if samples is None or samples >= total:
        return torch.arange(total)
    return torch.randperm(total, generator=generator("measured samples", total))[:samples].sort().values
