"""What never waits for an accelerator, tried on torch's meta device, which has no values: to ask for one is an error."""

from __future__ import annotations

import sys
from dataclasses import replace

import pytest
import torch
from first_party import own_manager
from torch.utils._python_dispatch import TorchDispatchMode
from toys import Run, Surroundings, conv_classifier, random_images

from harness.criteria import LabelCriterion
from harness.engine.domains import DomainView
from harness.engine.folding import attack_ready
from harness.engine.images import moved
from harness.engine.iterates import Iterates, ThreatModel
from harness.engine.loops import Memory
from harness.engine.networks import placed
from harness.engine.observing import ObservedClassifier, Observer
from harness.engine.randomness import PerSampleStreams
from harness.engine.training import Trainer

META = torch.device("meta")
COUNT, CLASSES, STEPS = 6, 5, 3

ASKING = {
    "bnm": "whether there are singular values to take; torch itself waits for those",
    "bsp": "as bnm",
    "class-wise-coral": "how many samples of each class there are",
    "deep-jdot": "the costs, whose transport plan is found on the CPU",
    "log-coral": "whether there are eigenvalues to take; torch itself waits for those",
    "paired": "which samples to pass through the teacher",
    "shot": "once an epoch, which classes nothing is labelled as",
}
"""What adapters ask the device for, by name."""


class Sent(TorchDispatchMode):
    """Finds what is sent to the device with the sender waiting: by any way other than ``moved``."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        made = func(*args, **(kwargs or {}))
        from_cpu = isinstance(args[0], torch.Tensor) and args[0].device.type == "cpu" if args else False
        if (
            from_cpu
            and args[0].ndim
            and isinstance(made, torch.Tensor)
            and made.device.type == "meta"
            and not _is_moving()
        ):
            raise AssertionError(f"{func} sends {tuple(args[0].shape)} and waits; use harness.engine.images.moved")
        return made


def _is_moving():
    frame = sys._getframe(2)
    while frame is not None:
        if frame.f_code is moved.__code__:
            return True
        frame = frame.f_back
    return False


@pytest.mark.parametrize("ask", [lambda values: bool(values.any()), torch.nonzero, lambda values: values[values > 0]])
def test_a_question_about_values_fails_on_the_meta_device(ask):
    with pytest.raises((RuntimeError, NotImplementedError)):
        ask(torch.ones(3, device=META))


def test_what_is_sent_while_the_sender_waits_is_found():
    with Sent():
        moved(torch.ones(3), META)
        with pytest.raises(AssertionError, match="use harness"):
            torch.ones(3).to(META)


# --- attacks ------------------------------------------------------------------------------------------------------


def subject(select):
    """Return a view of a classifier, images and a criterion, all on the meta device."""
    twin = attack_ready(placed(conv_classifier(classes=CLASSES), torch.device("cpu"))).to(META)
    images = random_images(COUNT).to(META)
    labels = torch.zeros(COUNT, dtype=torch.int64, device=META)
    criterion = LabelCriterion(labels, targeted=True, goal=labels, stop_early=select == "first-hit")
    observer = Observer(iterates=Iterates(images, criterion, select=select, threat=ThreatModel("linf", eps=0.5)))
    return ObservedClassifier(twin, observer), images, criterion


def attack(name, **options):
    manager = own_manager()
    kind = manager.load(manager.find("attack", name))
    made = kind(kind.options_type(**options))
    made.random = PerSampleStreams.of(torch.arange(COUNT), seed=0, device=META)
    return made


@pytest.mark.parametrize("select", ["final", "min-norm"])
@pytest.mark.parametrize(("name", "options"), [("bim", {}), ("ddn", {"steps": 4})])
def test_where_no_sample_is_dropped_no_step_of_an_attack_waits(name, options, select):
    classifier, images, criterion = subject(select)
    with Sent():
        found = attack(name, **options).run(classifier, images, criterion)
    assert found.shape == images.shape
    assert classifier.observer.passes.total > COUNT


def test_where_rows_or_populations_are_asked_about_the_harness_does_not_wait_either():
    classifier, images, _ = subject("min-norm")
    rows = torch.tensor([4, 1, 2], device=META)
    with Sent(), torch.no_grad():
        classifier[rows](images[rows])
        classifier[rows](images)
        classifier(torch.cat([images, images]))
    assert classifier.observer.iterates.images.shape == images.shape


# --- adaptation ---------------------------------------------------------------------------------------------------


def moved_to_meta(trainer):
    """Lay a trainer's networks and images on the meta device, the parameters that the optimizer holds with them."""
    kept = torch.__future__.get_swap_module_params_on_conversion()
    torch.__future__.set_swap_module_params_on_conversion(True)
    try:
        trainer.trained.to(META)
        if trainer.average is not None:
            trainer.average.model.module.to(META)
    finally:
        torch.__future__.set_swap_module_params_on_conversion(kept)
    task = trainer.task
    task.source, task.target = (replace(one, device=META) for one in (task.source, task.target))
    task.loop.source, task.loop.target = DomainView(task.source), DomainView(task.target)


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    return Run(Surroundings(tmp_path_factory.mktemp("store")))


@pytest.fixture(scope="module")
def perturbed(done):
    return done.correct("bim", eps=0.05, alpha=0.02)


class SteppedError(Exception):
    """Ends a stage after the steps that were looked at."""


@pytest.fixture
def steps_on_meta(monkeypatch):
    def fit(trainer):
        moved_to_meta(trainer)
        for step in range(STEPS):
            with Sent():
                trainer._step(step)
        raise SteppedError

    monkeypatch.setattr(Trainer, "fit", fit)


def by_gradient():
    manager = own_manager()
    names = (name for name in manager.names("adapter") if manager.load(name).takes_gradient_steps())
    return sorted({name.name for name in names})


@pytest.mark.parametrize("queue", [0, 2])
@pytest.mark.parametrize("name", by_gradient())
def test_no_step_of_an_adaptation_waits_but_of_those_that_ask(done, perturbed, steps_on_meta, name, queue):
    with pytest.raises((RuntimeError, NotImplementedError) if name in ASKING else SteppedError):
        done.adapt(name, perturbed=perturbed, queue=queue, augmentation="flip-crop")


def test_how_much_is_remembered_is_known_before_and_after_a_checkpoint():
    memory, again = (Memory(5, 2, 3) for _ in range(2))
    sizes = []
    for _ in range(3):
        memory.remember(torch.ones(2, 2), torch.ones(2, 3))
        sizes.append(len(memory.past().features))
    assert sizes == [2, 4, 5]
    earlier = Memory(5, 2, 3)
    earlier.remember(torch.ones(2, 2), torch.ones(2, 3))
    again.load_state_dict(memory.state_dict())
    assert len(again.past().logits) == 5
    again.load_state_dict(earlier.state_dict())
    again.remember(torch.ones(1, 2), torch.ones(1, 3))
    assert len(again.past().logits) == 3
