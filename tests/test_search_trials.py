"""The trials of a search: which is chosen, what loses, what is repeated, and that a trial is a stage like any other."""

from __future__ import annotations

from collections import Counter
from types import SimpleNamespace

import pytest
import torch
from toys import Surroundings, adaptation_training, no_progress

from harness.engine.batches import BatchOrder
from harness.engine.training import DivergedError
from harness.errors import StoreError
from harness.search_space import Bounds, Dimension, Space
from harness.stages import search
from harness.stages.adapt import loop_of
from harness.stages.execute import execute
from harness.stages.jobs import AdaptJob, Arm, EvaluateJob, SearchJob
from harness.stages.two_domains import TwoDomainTask, draws_of
from harness.store import Artifact

LR = Dimension("adaptation.lr", "adaptation", "", "lr", choices=(0.01, 0.02, 0.04))
STEPS = Dimension("correctors.bim.steps", "correctors", "bim", "steps", choices=(1, 3))
WEIGHT = Dimension("adapters.deep-coral.weight", "adapters", "deep-coral", "weight", choices=(0.5, 2.0))


class Subject(Surroundings):
    """Surroundings whose baseline and split are stored, and what makes and runs the stages of an arm."""

    def __init__(self, root):
        super().__init__(root)
        self.arms = self.arm_maker(attack_batch_size=50)
        self.executed = Counter()
        self.news = []

    def job(self, *dimensions, trials=3, sampler="grid", corrector=None, adapter="deep-coral", source="target"):
        arm = Arm(corrector, self.adapter(adapter), source)
        space = Space(dimensions)
        return SearchJob(self.subject, arm, self.arms, adaptation_training(), space, sampler, trials, {})

    def stage(self, job):
        inputs = {"baseline": self.arms.baseline, "split": self.arms.split}
        return self.arms.maker.stage(job, inputs, [job.trials])

    def run(self, job, *, by=None, key="search"):
        context = self.context(key, progress=lambda *news: self.news.append(news))
        return search.run(job, {}, context, execute=by or self.execute)

    def execute(self, stage, workshop, progress):
        self.executed[stage.kind] += 1
        execute(stage, workshop, progress)


@pytest.fixture
def subject(tmp_path):
    return Subject(tmp_path)


def faking(outcomes, tried=None):
    """Return what stores, instead of adapting, the validation accuracy that ``outcomes`` has for a trial's lr; or raises."""

    def pretend(stage, workshop, progress):
        job = stage.job
        valid = outcomes[job.adaptation.lr, job.repetition]
        if tried is not None:
            tried.append((job.adaptation.lr, job.repetition))
        if valid is None:
            raise DivergedError(f"lr {job.adaptation.lr} explodes")
        # What is best on validation is worst on the test split.
        checkpoints = [{"step": 4, "valid": valid, "test": 1 - valid, "losses": {}, "diagnostics": {}}]
        meta = {"steps": 12, "best_step": 4, "history": checkpoints, "test": 1 - valid}
        artifact = Artifact({"net.mark": torch.tensor(job.adaptation.lr)}, meta, {"seconds": 1.0})
        workshop.store.save(stage.kind, stage.key, artifact)

    return pretend


def test_the_best_on_validation_is_chosen_and_the_first_of_equals(subject):
    found = subject.run(subject.job(LR), by=faking({(0.01, 0): 0.7, (0.02, 0): 0.9, (0.04, 0): 0.9}))
    assert found.meta["search"]["chosen"] == 1
    assert [trial["valid"] for trial in found.meta["search"]["trials"]] == [0.7, 0.9, 0.9]
    assert float(found.tensors["net.mark"]) == pytest.approx(0.02)
    assert found.meta["best_step"] == 4
    assert found.meta["search"]["training"] == adaptation_training(lr=0.02).model_dump(mode="json")


def test_no_trial_reads_the_test_split(subject, monkeypatch):
    def refuse(self):
        raise AssertionError("a trial looked at the test split")

    monkeypatch.setattr("harness.stages.context.Context.test", refuse)
    assert len(subject.run(subject.job(LR)).meta["search"]["trials"]) == 3


def test_a_diverged_trial_has_lost_and_says_why(subject):
    found = subject.run(subject.job(LR), by=faking({(0.01, 0): 0.2, (0.02, 0): None, (0.04, 0): 0.1}))
    lost = found.meta["search"]["trials"][1]
    assert (lost["valid"], lost["best_step"], lost["failed"]) == (None, None, "lr 0.02 explodes")
    assert found.meta["search"]["chosen"] == 0


def test_a_real_divergence_is_a_lost_trial(subject):
    wild = Dimension("adaptation.lr", "adaptation", "", "lr", choices=(1e30, 0.01))
    found = subject.run(subject.job(wild, trials=2)).meta["search"]
    assert found["trials"][0]["failed"].startswith("the loss is not finite by step 4")
    assert found["chosen"] == 1


def test_where_all_diverge_the_search_fails_with_the_first_reason(subject):
    with pytest.raises(DivergedError, match=r"none of 3 trials came to its end; the first: lr 0.01 explodes"):
        subject.run(subject.job(LR), by=faking(dict.fromkeys([(0.01, 0), (0.02, 0), (0.04, 0)])))


def test_a_smaller_grid_is_repeated_with_other_orders(subject):
    tried = []
    outcomes = {(lr, time): lr + time / 10 for lr in LR.choices for time in range(3)}
    found = subject.run(subject.job(LR, trials=7), by=faking(outcomes, tried))
    assert tried == [(0.01, 0), (0.02, 0), (0.04, 0), (0.01, 1), (0.02, 1), (0.04, 1), (0.01, 2)]
    assert found.meta["search"]["chosen"] == 6
    assert found.meta["search"]["trials"][6]["repetition"] == 2


def test_an_arm_with_nothing_of_its_own_is_repeated(subject):
    found = subject.run(subject.job(trials=3, adapter="finetune")).meta["search"]
    assert [trial["repetition"] for trial in found["trials"]] == [0, 1, 2]
    assert subject.executed == {"adapt": 3}


def test_repetitions_see_other_batches_and_the_first_sees_todays(subject):
    def orders(repetition):
        job = AdaptJob(
            subject.subject, subject.adapter("finetune"), "target", "corrected", adaptation_training(), repetition
        )
        context = subject.context()
        state = subject.store.load("baseline", subject.arms.baseline.key).tensors
        network = context.network({name.removeprefix("net."): value for name, value in state.items()})
        adapter = subject.manager.load(job.adapter.adapter.plugin)(job.adapter.adapter.options)
        adapter.loop = loop = loop_of(job, adapter, network, context.train, inputs={}, context=context)
        task = TwoDomainTask(job, adapter, network, context.train, context, loop=loop, wrong=context.train.rows[:3])
        return task.source_order.batch(0).tolist(), task.target_order.batch(0).tolist()

    rows = subject.context().train.rows
    today = [BatchOrder(rows, rows, batch_size=8, key=(f"{domain}-order", 1)) for domain in ("source", "target")]
    assert orders(0) == tuple(order.batch(0).tolist() for order in today)
    for domain in zip(*(orders(repetition) for repetition in range(3)), strict=True):
        assert len({str(order) for order in domain}) == 3


def test_seeds_and_repetitions_do_not_collide(subject):
    drawn = {
        draws_of(SimpleNamespace(subject=SimpleNamespace(seed=seed), repetition=n))
        for seed in (1, 2)
        for n in (0, 1, 2)
    }
    assert len(drawn) == 6


def test_a_trial_is_the_stage_that_a_plain_run_would_make(subject):
    arm = Arm(None, subject.adapter("deep-coral"), "target")
    plain = subject.arms.arm(arm, adaptation_training(lr=0.02), subject.manager).adapt
    execute(plain, subject.workshop, no_progress)
    history = subject.store.load("adapt", plain.key).meta["history"]
    found = subject.run(subject.job(LR)).meta["search"]
    assert subject.executed == {"adapt": 2}
    assert found["trials"][1]["valid"] == max(checkpoint["valid"] for checkpoint in history)


def test_searches_share_their_trials(subject):
    subject.run(subject.job(LR))
    more = Dimension("adaptation.lr", "adaptation", "", "lr", choices=(0.02, 0.04, 0.08))
    subject.run(subject.job(more))
    assert subject.executed == {"adapt": 4}


def test_an_adapter_without_gradient_steps_is_validated_when_it_is_done(subject):
    found = subject.run(subject.job(trials=1, adapter="recalibrate-bn"))
    network = subject.context().network({name.removeprefix("net."): value for name, value in found.tensors.items()})
    network.eval()
    valid = subject.context().valid
    images, labels = valid.gather(valid.rows)
    right = (network(images).argmax(1) == labels).float().mean()
    assert found.meta["search"]["trials"][0]["valid"] == pytest.approx(float(right))


def test_a_tuned_corrector_leaves_the_winners_samples_to_the_evaluation(subject):
    job = subject.job(STEPS, trials=2, corrector=subject.corrector("bim", eps=0.5, alpha=0.1), source="corrected")
    stage = subject.stage(job)
    execute(stage, subject.workshop, no_progress)
    found = subject.store.load("search", stage.key).meta["search"]
    steps = found["trials"][found["chosen"]]["settings"]["correctors.bim.steps"]
    corrector = subject.corrector("bim", eps=0.5, alpha=0.1, steps=steps)
    plain = subject.arms.arm(Arm(corrector, job.adapter, "corrected"), adaptation_training(), subject.manager)
    assert found["perturbed"] == {"kind": "correct", "key": plain.correct.key}
    assert found["correct"] == subject.store.load("correct", plain.correct.key).meta

    read = []
    for weights, perturbed in ((stage, None), (plain.adapt, plain.perturbed)):
        inputs = subject.arms.inputs(weights=weights, perturbed=perturbed)
        evaluate = subject.arms.maker.stage(EvaluateJob(subject.subject, "corrected", "corrected"), inputs, [])
        execute(evaluate, subject.workshop, no_progress)
        read.append(subject.store.load("evaluate", evaluate.key).meta)
    assert read[0] == read[1]
    assert found["correct"]["corrected"] > 0
    split = subject.store.load("split", subject.arms.split.key).meta
    assert read[0]["source_size"] == split["right"] + found["correct"]["corrected"]


def test_a_sham_moves_the_samples_that_its_own_corrector_made(subject):
    job = subject.job(STEPS, trials=2, corrector=subject.corrector("bim"), source="sham")
    found = subject.run(job).meta["search"]
    assert found["perturbed"]["kind"] == "sham"
    assert subject.executed == {"correct": 2, "sham": 2, "adapt": 2}
    assert set(found["shown"]) == {"corrected", "all"}


def test_samples_that_are_gone_are_made_again_with_the_search(subject):
    job = subject.job(STEPS, trials=2, corrector=subject.corrector("bim", eps=0.5, alpha=0.1), source="corrected")
    stage = subject.stage(job)
    execute(stage, subject.workshop, no_progress)
    artifact = subject.store.load("search", stage.key)
    subject.store.discard("correct", artifact.meta["search"]["perturbed"]["key"])
    with pytest.raises(StoreError, match="was damaged or removed"):
        search.chosen_perturbed(artifact, stage.key, subject.workshop)
    assert not subject.store.has("search", stage.key)
    execute(stage, subject.workshop, no_progress)
    again = subject.store.load("search", stage.key)
    assert again.meta == artifact.meta
    assert search.chosen_perturbed(again, stage.key, subject.workshop)["perturbed"].tensors["images"].ndim == 4


def test_what_diverged_before_a_stop_is_not_tried_again(subject):
    outcomes = {(0.01, 0): None, (0.02, 0): 0.5, (0.04, 0): 0.4}
    tried = []

    def stopped(stage, workshop, progress):
        if stage.job.adaptation.lr == 0.04:
            raise KeyboardInterrupt
        faking(outcomes, tried)(stage, workshop, progress)

    with pytest.raises(KeyboardInterrupt):
        subject.run(subject.job(LR), by=stopped)
    found = subject.run(subject.job(LR), by=faking(outcomes, tried))
    assert tried == [(0.01, 0), (0.02, 0), (0.04, 0)]
    assert found.meta["search"]["chosen"] == 1


def test_a_sampler_hears_of_the_trials_as_they_end(subject, monkeypatch):
    heard = []

    class Sampler:
        def ask(self):
            return {"adaptation.lr": LR.choices[len(heard)]}

        def tell(self, accuracy):
            heard.append(accuracy)

    monkeypatch.setattr("harness.stages.search.make_sampler", lambda *_, **__: Sampler())
    subject.run(subject.job(LR), by=faking({(0.01, 0): 0.7, (0.02, 0): None, (0.04, 0): 0.9}))
    assert heard == [0.7, None, 0.9]


def test_progress_is_told_in_steps_of_all_trials(subject):
    subject.run(subject.job(LR))
    shares = [done / total for done, total in subject.news]
    # three validated checkpoints in each of three trials, and each trial's end
    assert shares == pytest.approx([1 / 9, 2 / 9, 3 / 9, 1 / 3, 4 / 9, 5 / 9, 6 / 9, 2 / 3, 7 / 9, 8 / 9, 1, 1])


def test_an_optuna_search_is_the_same_again(subject, tmp_path):
    span = Dimension("adaptation.lr", "adaptation", "", "lr", bounds=Bounds(1e-3, 1e-1, log=True, whole=False))
    job = {"trials": 4, "sampler": "tpe"}
    found = subject.run(subject.job(span, WEIGHT, **job)).meta
    elsewhere = Subject(tmp_path / "elsewhere")
    assert elsewhere.run(elsewhere.job(span, WEIGHT, **job)).meta == found
    assert len({trial["settings"]["adaptation.lr"] for trial in found["search"]["trials"]}) == 4
