"""Stage 5, tuned: adapt in several trials with other settings each, and keep the one that is best on validation.

Each trial is a stage of its own, with its own content key: a search that is stopped goes on at the trial it was in, and searches
that have trials in common share them.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol

from harness.engine.prediction import predict
from harness.engine.sampling import make_sampler
from harness.engine.training import DivergedError
from harness.errors import SpecError, StoreError
from harness.records import Trial, step_time
from harness.stages.context import state_of
from harness.store import Artifact

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from harness.search_space import Settings, Tuned
    from harness.stages.context import Context, Workshop
    from harness.stages.jobs import SearchJob
    from harness.stages.making import ArmStages
    from harness.stages.stage import Stage


class Execute(Protocol):
    """Runs a stage unless the store holds it."""

    def __call__(self, stage: Stage, workshop: Workshop, progress: Callable[[int, int], None]) -> None:
        """Run a stage whose inputs are stored."""


def run(job: SearchJob, inputs: Mapping[str, Artifact], context: Context, *, execute: Execute) -> Artifact:
    """Return the adapted weights and the history of the trial that is best on validation, the first of equals; and all trials.

    Raises ``DivergedError`` where no trial came to its end.
    """
    del inputs  # the trials read them
    search = _Search(job, context, execute)
    sampler = make_sampler(job.sampler, job.space, seed=job.subject.seed)
    trials: list[Trial] = []
    for number in range(job.trials):
        settings = sampler.ask()
        repetition = sum(trial.settings == settings for trial in trials)
        trials.append(search.trial(number, settings, repetition))
        sampler.tell(trials[-1].valid)
    finished = [number for number, trial in enumerate(trials) if trial.failed is None]
    if not finished:
        raise DivergedError(f"none of {len(trials)} trials came to its end; the first: {trials[0].failed}")
    chosen = max(finished, key=lambda number: trials[number].valid or 0.0)
    return search.winner(trials, chosen)


class _Search:
    """Runs the trials of a search."""

    def __init__(self, job: SearchJob, context: Context, execute: Execute) -> None:
        self.job = job
        self.context = context
        self.execute = execute
        self.store = context.workshop.store
        saved = context.partial.load("failed")
        self.failed: dict[str, str] = dict(saved.meta) if saved else {}
        self.seconds: dict[str, float] = {}

    def trial(self, number: int, settings: Settings, repetition: int) -> Trial:
        """Adapt with these settings; settings that do not go together, and a loss that is not finite, lose."""
        try:
            adapt = self._stages(settings, repetition).adapt
            artifact = self._adapted(adapt, number)
        except (DivergedError, SpecError) as error:
            return Trial(settings=settings, repetition=repetition, failed=str(error))
        self.context.progress(number + 1, self.job.trials)
        self.seconds[f"trial {number + 1}"] = artifact.times["seconds"]
        valid, best_step = self._valid(artifact), artifact.meta["best_step"]
        return Trial(settings=settings, repetition=repetition, valid=valid, best_step=best_step)

    def winner(self, trials: list[Trial], chosen: int) -> Artifact:
        """Return the chosen trial's weights, and what it was made with."""
        trial = trials[chosen]
        stages = self._stages(trial.settings, trial.repetition)
        adapted = self._made(stages.adapt)
        tuned = self._tuned(trial.settings)
        meta: dict[str, Any] = {
            "trials": [one.model_dump(mode="json") for one in trials],
            "chosen": chosen,
            "training": tuned.adaptation.model_dump(mode="json"),
            "perturbed": None,
        }
        points = [step_time(point["step"]) for point in adapted.meta["history"]]
        times = self.seconds | {name: adapted.times[name] for name in points if name in adapted.times}
        if self.job.space.of("correctors").dimensions and stages.correct and stages.perturbed:
            correct, perturbed = self._made(stages.correct), self._made(stages.perturbed)
            meta["perturbed"] = {"kind": stages.perturbed.kind, "key": stages.perturbed.key}
            meta["correct"], meta["shown"] = correct.meta, None if perturbed is correct else perturbed.meta
            times["correct"] = correct.times["seconds"]
        return Artifact(adapted.tensors, {**adapted.meta, "search": meta}, times)

    def _tuned(self, settings: Settings) -> Tuned:
        arm = self.job.arm
        return self.job.space.tuned(
            settings, adaptation=self.job.adaptation, adapter=arm.adapter, corrector=arm.corrector
        )

    def _stages(self, settings: Settings, repetition: int) -> ArmStages:
        tuned = self._tuned(settings)
        arm = replace(self.job.arm, adapter=tuned.adapter, corrector=tuned.corrector)
        return self.job.arms.arm(arm, tuned.adaptation, self.context.workshop.manager, repetition=repetition)

    def _adapted(self, adapt: Stage, number: int) -> Artifact:
        """Return a trial's artifact. Raises ``DivergedError`` anew where it did so before the search was stopped."""
        if adapt.key in self.failed:
            raise DivergedError(self.failed[adapt.key])
        total = self.job.trials
        try:
            return self._made(adapt, lambda done, steps: self.context.progress(number * steps + done, total * steps))
        except DivergedError as error:
            self.failed[adapt.key] = str(error)
            self.context.partial.save("failed", Artifact(meta=self.failed))
            self.store.forget(adapt.key)
            raise

    def _made(self, stage: Stage, progress: Callable[[int, int], None] | None = None) -> Artifact:
        """Return a stage's artifact, made now, with what it reads, unless the store holds it."""
        found = self.store.load_or_discard(stage.kind, stage.key)
        if found is None:
            for _, source in stage.inputs:
                self._made(source)
            self.execute(stage, self.context.workshop, progress or _unheard)
            found = self.store.load(stage.kind, stage.key)
        # A process killed between storing an artifact and forgetting its checkpoints leaves these behind.
        self.store.forget(stage.key)
        return found

    def _valid(self, artifact: Artifact) -> float:
        """Return the validation accuracy of what a trial kept, measured here where nothing was validated on the way."""
        history = {checkpoint["step"]: checkpoint["valid"] for checkpoint in artifact.meta["history"]}
        if history:
            return float(history[artifact.meta["best_step"]])
        return predict(self.context.network(state_of(artifact)), self.context.valid).accuracy


def chosen_perturbed(artifact: Artifact, key: str, workshop: Workshop) -> dict[str, Artifact]:
    """Return the perturbed samples that a search (its artifact and its key) chose by their corrector's options, if it did.

    Raises ``StoreError`` where they are gone: the search is then set aside, to be made again with them.
    """
    asked = artifact.meta["search"]["perturbed"]
    if asked is None:
        return {}
    found = workshop.store.load_or_discard(asked["kind"], asked["key"])
    if found is None:
        workshop.store.discard("search", key)
        raise StoreError(f"{workshop.store.folder(asked['kind'], asked['key'])}: was damaged or removed; start again")
    return {"perturbed": found}


def _unheard(_done: int, _total: int) -> None:
    """Tell nobody."""
