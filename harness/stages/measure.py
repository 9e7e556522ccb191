"""Stage 6, for one evaluator: what it finds on the test split. Where it attacks, the harness decides which labels hold."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from harness.engine.evaluating import EvaluatorRun
from harness.engine.images import even_batches
from harness.engine.randomness import derive_seed, generator
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
    )
    test = context.test()
    rows = subset(len(test), job.evaluator.samples)
    found = _measure_all(evaluator, test, even_batches(rows, job.evaluator.batch_size), context)
    if len(found["held"]) not in {0, len(rows)}:
        raise ContractError(
            f'evaluator "{resolved.plugin.name}" returned perturbed images for {len(found["held"])} of {len(rows)} images; '
            "expected them for all batches, or for none"
        )
    threat = evaluator.threat
    meta = {
        "samples": len(rows),
        "rows": rows.tolist() if len(rows) < len(test) else None,
        "clean": sum(found["clean"]) / len(rows),
        "robust": sum(found["held"]) / len(rows) if found["held"] else None,
        "held": found["held"] or None,
        "norm": threat[0] if threat else None,
        "eps": threat[1] if threat else None,
        "figures": _means(found["figures"]),
        "shares": _means(found["shares"]),
        "flags": found["flags"],
    }
    return Artifact(meta=meta)


def _measure_all(
    evaluator: EvaluatorRun, test: ImageSet, batches: Sequence[Tensor], context: Context
) -> dict[str, Any]:
    """Measure batch after batch, going on from the last checkpoint."""
    saved = context.partial.load("measure")
    empty: dict[str, Any] = {"batches": 0, "clean": [], "held": [], "figures": {}, "shares": {}, "flags": []}
    found = dict(saved.meta) if saved else empty
    for number in range(found["batches"], len(batches)):
        images, labels = test.gather(batches[number])
        result = evaluator.evaluate(images, labels, batches[number])
        found = {
            "batches": number + 1,
            "clean": found["clean"] + result.clean.tolist(),
            "held": found["held"] + (result.held.tolist() if result.held is not None else []),
            "figures": _added(found["figures"], result.figures, len(images)),
            "shares": _added(found["shares"], result.shares, len(images)),
            "flags": list(dict.fromkeys([*found["flags"], *result.flags])),
        }
        context.progress(number + 1, len(batches))
        if context.partial.due():
            context.partial.save("measure", Artifact(meta=found))
    return found


def subset(total: int, samples: int | None) -> Tensor:
    """Return the test rows that are measured, sorted: the same for every row of the table and every seed."""
    if samples is None or samples >= total:
        return torch.arange(total)
    return torch.randperm(total, generator=generator("measured samples", total))[:samples].sort().values


def _added(
    totals: Mapping[str, tuple[float, int]], figures: Mapping[str, float], count: int
) -> dict[str, tuple[float, int]]:
    """Add a batch's means, weighted by its images; a figure that some batches lack is averaged over those that have it."""
    added = dict(totals)
    for name, value in figures.items():
        total, images = added.get(name, (0.0, 0))
        added[name] = (total + float(value) * count, images + count)
    return added


def _means(totals: Mapping[str, tuple[float, int]]) -> dict[str, float]:
    return {name: total / count for name, (total, count) in totals.items()}
