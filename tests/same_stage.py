"""Stages that several processes come to at once, for the tests of who makes them."""

from __future__ import annotations

import time

from toys import Surroundings, adaptation_training, no_progress

from harness.executors.working import work
from harness.search_space import Bounds, Dimension, Space
from harness.stages.jobs import Arm, SearchJob
from harness.tensor_files import TensorFile

STEPS = Dimension("correctors.bim.steps", "correctors", "bim", "steps", bounds=Bounds(1, 9, log=False, whole=True))


class Shared(Surroundings):
    """Surroundings whose store holds all that corrections and searches of 5 samples a batch read."""

    def __init__(self, root):
        super().__init__(root)
        self.arms = self.arm_maker(attack_batch_size=5)
        self.bim = self.corrector("bim", eps=0.3, alpha=0.1)

    def correction(self):
        """Return a stage that corrects."""
        return self.arms.correct(self.bim)

    def search(self, weight):
        """Return a stage that tunes the corrector by a random sampler, for an arm of its own."""
        arm = Arm(self.bim, self.adapter("deep-coral", weight=weight), "corrected")
        job = SearchJob(self.subject, arm, self.arms, adaptation_training(), Space((STEPS,)), "random", 3, {})
        inputs = {"baseline": self.arms.baseline, "split": self.arms.split}
        return self.arms.maker.stage(job, inputs, [weight])


def run_as_a_worker(root, weight, seconds, ready, outcomes):
    """Run the search of an arm, or without a weight the correction, as a worker does: ``seconds`` for each batch corrected.

    Begins when all are ``ready``; puts what was the matter, None where all is well, and how many batches it corrected.
    """
    shared = Shared(root)
    stage = shared.correction() if weight is None else shared.search(weight)
    append, batches = TensorFile.append, []

    def append_slowly(file, rows):
        time.sleep(seconds)
        batches.append(len(rows))
        append(file, rows)

    TensorFile.append = append_slowly
    ready.wait(60)
    failure = work(stage, shared.workshop, no_progress).failure
    outcomes.put((failure and failure.traceback, len(batches)))
