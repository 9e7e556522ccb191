"""Stage 5: adapt from T' to T with any adapter; every arm has the same start, order, optimizer, steps and checkpoints."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from harness.engine.answers import Answers
from harness.engine.loops import AdapterLoop
from harness.engine.networks import modes_kept
from harness.engine.prediction import predict
from harness.engine.randomness import derive_seed, isolated_generators
from harness.engine.training import Trainer, validated_steps
from harness.errors import DataError
from harness.records import step_time
from harness.stages.context import as_state, state_of
from harness.stages.merge import check_still_corrected, source_images
from harness.stages.two_domains import TwoDomainTask, draws_of
from harness.store import Artifact

if TYPE_CHECKING:
    from collections.abc import Mapping

    from harness.adapting import Adapter
    from harness.contract import Options
    from harness.engine.images import ImageSet
    from harness.engine.networks import PixelClassifier
    from harness.stages.context import Context
    from harness.stages.jobs import AdaptJob


def run(job: AdaptJob, inputs: Mapping[str, Artifact], context: Context) -> Artifact:
    """Return the adapted weights, the checkpoint kept and the history of all."""
    network = context.network(state_of(inputs["baseline"]))
    if job.source == "corrected" and "perturbed" in inputs:
        check_still_corrected(context.judge(network), inputs, context)
    source = source_images(job.source, job.keep, inputs, context)
    if len(source) == 0:
        raise DataError("the source T' is empty: the baseline gets no training sample right; train it longer")
    kind: Any = context.workshop.manager.load(job.adapter.adapter.plugin)
    adapter: Adapter[Options] = kind(job.adapter.adapter.options)
    adapter.loop = loop = loop_of(job, adapter, network, source, inputs=inputs, context=context)
    if not adapter.takes_gradient_steps():
        return _adapt_without_gradients(job, adapter, network, loop, context)
    task = TwoDomainTask(job, adapter, network, source, context, loop=loop, wrong=inputs["split"].tensors["wrong"])
    return _adapt_by_gradient(job, task, context)


def uses_of(adapter: Adapter[Options]) -> dict[str, bool]:
    """Return what decides whether rows are comparable: whether T' and T's labels enter."""
    return {"source": adapter.capabilities.source, "target_labels": adapter.capabilities.target_labels}


def validation_remark(times: int) -> list[str]:
    """Say how often an adapter without gradient steps looked at the validation samples: it chose by what they told."""
    return [f"looked at the validation samples {'once' if times == 1 else f'{times} times'}"] if times else []


def loop_of(
    job: AdaptJob,
    adapter: Adapter[Options],
    network: PixelClassifier,
    source: ImageSet,
    *,
    inputs: Mapping[str, Artifact],
    context: Context,
) -> AdapterLoop:
    """Return the loop that an adapter is in."""
    return AdapterLoop(
        network,
        job.adaptation,
        source=source,
        target=context.train,
        valid=context.valid,
        steps=job.adaptation.total_steps(len(context.train)),
        labels_shown=adapter.capabilities.target_labels,
        may_validate=not adapter.takes_gradient_steps(),
        start=lambda: context.network(state_of(inputs["baseline"])),
    )


def _adapt_without_gradients(
    job: AdaptJob, adapter: Adapter[Options], network: PixelClassifier, loop: AdapterLoop, context: Context
) -> Artifact:
    start = time.perf_counter()
    network.eval()
    with modes_kept(network), isolated_generators(derive_seed("adapt", *draws_of(job))):
        answers = Answers(adapter, job.adapter.adapter.plugin.name)
        remarks = answers.remarks(*context.widths(network))
        told = answers.adapt(network, loop.source, loop.target)
    seconds = time.perf_counter() - start
    network.requires_grad_()
    remarks += validation_remark(loop.validations)
    history = [_point(told, network, context)] if told else []
    meta = {"steps": 0, "best_step": 0, "history": history, "remarks": remarks, "uses": uses_of(adapter)}
    return Artifact(as_state(network.net.state_dict()), meta, {step_time(0): seconds})


def _point(told: Mapping[str, float], network: PixelClassifier, context: Context) -> dict[str, Any]:
    """Return the only checkpoint of an adaptation without steps."""
    return {"step": 0, "valid": predict(network, context.valid).accuracy, "losses": {}, "diagnostics": dict(told)}


def _adapt_by_gradient(job: AdaptJob, task: TwoDomainTask, context: Context) -> Artifact:
    steps = task.loop.steps
    trainer = Trainer(
        task.network,
        task,
        job.adaptation,
        steps=steps,
        validate_after=validated_steps(steps, job.adaptation.validations),
        seed=job.subject.seed,
        extra_modules=task.extra_modules,
        averaging=task.answers.weight_averaging(),
        partial=context.partial,
        progress=context.progress,
    )
    fit = trainer.fit()
    best = {name.removeprefix("net."): value for name, value in fit.best_state.items()}
    meta = {"steps": steps, "best_step": fit.best_step, "history": fit.history}
    meta |= {"remarks": task.remarks, "uses": uses_of(task.adapter)}
    times = {step_time(point["step"]): seconds for point, seconds in zip(fit.history, fit.seconds, strict=True)}
    return Artifact(as_state(best), meta, times)
