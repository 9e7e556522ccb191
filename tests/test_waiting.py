"""What never waits for an accelerator, tried on torch's meta device, which has no values: to ask for one is an error."""

from __future__ import annotations

import sys
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from first_party import own_manager
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from toys import Run, Surroundings, baseline_training, conv_classifier, random_images

from harness.criteria import LabelCriterion
from harness.engine import prediction
from harness.engine.domains import DomainView
from harness.engine.folding import attack_ready
from harness.engine.images import ImageSet, moved
from harness.engine.iterates import Iterates, ThreatModel
from harness.engine.loops import Memory
from harness.engine.networks import placed
from harness.engine.observing import ObservedClassifier, Observer
from harness.engine.randomness import PerSampleStreams
from harness.engine.training import Trainer
from harness.stages import baseline
from harness.stages.baseline import FineTuning
from harness.stages.jobs import BaselineJob

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


WAITING = (
    "linalg_inv",
    "linalg_solve",
    "linalg_cholesky",
    "linalg_eig",
    "linalg_svd",
    "multinomial",
    "histc",
    "unique",
    "nonzero",
    "masked_select",
)
"""Parts of the names of what waits on a GPU, and on the meta device does not always tell."""


class Watched(TorchDispatchMode):
    """Finds what would wait for an accelerator though the meta device lets it pass: some operators, and blocking sends."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        made = func(*args, **(kwargs or {}))
        tensors = [one for one in tree_leaves((args, kwargs or {})) if isinstance(one, torch.Tensor)]
        on_device = [one for one in (*tensors, *tree_leaves(made)) if isinstance(one, torch.Tensor) and one.is_meta]
        if not on_device:
            return made
        if any(one.ndim and one.is_cpu for one in tensors) and not _is_moving():
            raise WaitError(f"{func} sends a tensor and waits; use harness.engine.images.moved")
        by_mask = "index" in str(func) and any(one.dtype == torch.bool for one in tensors[1:] if one.is_meta)
        if by_mask or any(name in str(func) for name in WAITING):
            raise WaitError(f"{func} waits")
        return made


class WaitError(Exception):
    """Something waited."""


def _is_moving():
    frame = sys._getframe(2)
    while frame is not None:
        if frame.f_code is moved.__code__:
            return True
        frame = frame.f_back
    return False


TOLD = r"waits|meta tensor|Meta tensors|nonzero"
"""What torch, or the watch above, says where somebody asks."""


@pytest.mark.parametrize(
    "ask",
    [
        lambda values: bool(values.any()),
        torch.nonzero,
        torch.unique,
        lambda values: values[values > 0],
        lambda values: values.__setitem__(values > 0, torch.ones(3, device=META)),
        lambda values: torch.linalg.inv(values[:, None] * values),
        lambda values: values.cpu(),
        lambda values: values[torch.tensor([0, 1])],
        lambda values: values.copy_(torch.ones(3)),
        lambda _: torch.ones(3).to(META),
    ],
)
def test_what_asks_or_sends_while_the_sender_waits_is_found(ask):
    with Watched(), pytest.raises((WaitError, RuntimeError, NotImplementedError), match=TOLD):
        ask(torch.ones(3, device=META))


def test_what_is_sent_the_right_way_passes():
    with Watched():
        assert moved(torch.ones(3), META).add(1).is_meta


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
    with Watched():
        found = attack(name, **options).run(classifier, images, criterion)
    assert found.shape == images.shape
    assert classifier.observer.passes.total > COUNT


def test_where_rows_or_populations_are_asked_about_the_harness_does_not_wait_either():
    classifier, images, _ = subject("min-norm")
    rows = torch.tensor([4, 1, 2], device=META)
    with Watched(), torch.no_grad():
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
    if isinstance(task, FineTuning):
        task.context = SimpleNamespace(train=replace(task.context.train, device=META))
        return
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
            with Watched():
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
    with asks() if name in ASKING else pytest.raises(SteppedError):
        done.adapt(name, perturbed=perturbed, queue=queue, augmentation="flip-crop")


def asks():
    return pytest.raises((WaitError, RuntimeError, NotImplementedError), match=TOLD)


@pytest.mark.parametrize(
    ("name", "how"),
    [
        ("deep-coral", {"shrinkage": "ledoit-wolf"}),
        ("joint", {"shrinkage": "ledoit-wolf"}),
        ("deep-coral", {"clip_norm": 1.0, "optimizer": "adam"}),
        ("deep-coral", {"optimizer": "adamw", "batch_norm": "target-only"}),
        ("swa", {"options": {"start": 0}}),
    ],
)
def test_no_option_of_the_loop_waits(done, perturbed, steps_on_meta, name, how):
    with pytest.raises(SteppedError):
        done.adapt(name, perturbed=perturbed, **how)


def test_no_step_of_a_baseline_waits(done, steps_on_meta):
    with pytest.raises(SteppedError):
        baseline.run(BaselineJob(done.at.subject, baseline_training(augmentation="flip")), {}, done.at.context())


@pytest.mark.parametrize("count", [3, 70])
def test_predictions_are_waited_for_once_at_the_end(monkeypatch, count):
    gathered = []
    monkeypatch.setattr(prediction, "_gathered", lambda _, predicted, losses: gathered.append((predicted, losses)))
    network, images = conv_classifier(classes=CLASSES).to(META), random_images(count).to(META)
    with Watched():
        prediction.classified(network, images, torch.zeros(count, dtype=torch.int64))
        stored = ImageSet(
            torch.zeros(count, 3, 6, 6, dtype=torch.uint8), torch.zeros(count).long(), torch.arange(count), 6, META
        )
        prediction.predict(network, stored, batch_size=32)
    assert [sum(map(len, predicted)) for predicted, _ in gathered] == [count, count]


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
