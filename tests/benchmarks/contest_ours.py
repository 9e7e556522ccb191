"""What the harness does with the same images, network and options, as a worker does it in an experiment.

Each function returns what is timed, the verdict by the original classifier included, and what tells of its result.
"""

from __future__ import annotations

import adaptation_step
import torch
from contest_subject import told
from torch.nn.functional import cross_entropy

from harness.criteria import correction_criterion
from harness.engine.attacking import Attacker, Corrector
from harness.engine.evaluating import EvaluatorRun
from harness.engine.folding import attack_ready
from harness.engine.iterates import Iterates, ThreatModel
from harness.engine.networks import frozen_copy, placed
from harness.engine.observing import ObservedClassifier, Observer, at_once
from harness.engine.passes import PassCount
from harness.manager import Manager
from harness.plugin_options import validated_options
from harness_autoattack.evaluator import AutoAttackEvaluator, AutoAttackOptions
from harness_paper.bim import BIM, BIMOptions


def correct(subject, *, attack, options, objective, select, images, precision="float32"):
    """Return a corrector's run on images that are labelled wrong."""
    pixels, labels = subject.wrong(images)
    how = {"name": attack, "seed": 0, "objective": objective, "select": select, "precision": precision}
    corrector = Corrector(_attack(attack, options), _placed(subject), **how)
    return lambda: corrector.correct(pixels, labels, torch.arange(images)), lambda result: _told(result, pixels)


def attack(subject, *, goal, attack, options, select, images):
    """Return an attack's run: leave-predicted of images that are labelled wrong, leave-true of images that are labelled right."""
    pixels, labels = subject.right(images) if goal == "leave-true" else subject.wrong(images)
    if goal == "leave-predicted":
        with torch.no_grad():
            labels = subject.network()(pixels).argmax(1)
    attacker = Attacker(_attack(attack, options), _placed(subject), name=attack, seed=0, select=select)
    return lambda: attacker.attack_batch(pixels, labels, torch.arange(images)), lambda result: _told(result, pixels)


def autoattack(subject, *, eps, images):
    """Return the evaluator's run without its own checks, which the library has no counterpart of; it tells which images hold."""
    pixels, labels = subject.right(images)
    evaluator = AutoAttackEvaluator(AutoAttackOptions(eps=eps, temperatures=()))
    run = EvaluatorRun(evaluator, _placed(subject), name="autoattack", seed=0)
    return (
        lambda: run.evaluate(pixels, labels, torch.arange(images)),
        lambda measured: {"met": measured.held.tolist()},
    )


def adaptation_steps(subject, *, root, batch_size, precision, steps):
    """Return some steps of the harness's Deep CORAL loop; there is nothing to tell."""
    step = adaptation_step.harness_step(root, batch_size=batch_size, precision=precision, state=subject.state)
    return lambda: [step() for _ in range(steps)], lambda _: {}


def loss_difference(subject, *, root, batch_size, steps, precision="float32"):
    """Return how far the losses of both loops, given the same batches, come apart, as a share of the user's summed loss."""

    def tell(compared):
        return max(abs(user[name] - own[name]) / sum(user.values()) for user, own in compared for name in user)

    how = {"batch_size": batch_size, "steps": steps, "precision": precision, "state": subject.state}
    return lambda: adaptation_step.losses_side_by_side(root, **how), tell


def attack_steps(subject, *, select, images, steps):
    """Return an attack's steps as an experiment runs them, observed, without the verdict after them; it tells the passes."""
    pixels, labels = subject.wrong(images)
    twin, made = attack_ready(_placed(subject)), BIM(BIMOptions(steps=steps))
    with torch.no_grad():
        logits = twin(pixels)
    criterion = correction_criterion("toward-true", true_labels=labels, clean_logits=logits, select="final")
    threat = ThreatModel("linf", twin.bounds, made.options.eps)

    def run():
        passes = PassCount()
        iterates = Iterates(pixels, criterion, select=select, threat=threat, passes=passes)
        made.run(ObservedClassifier(twin, Observer(passes, iterates)), pixels, criterion)
        return passes

    return run, lambda passes: {"passes": passes.total}


def bare_passes(subject, *, twin, images, steps):
    """Return forward and input-gradient passes alone: of the attack-ready ``twin`` in parts, or of the frozen network at once."""
    pixels, labels = subject.wrong(images)
    network = attack_ready(_placed(subject)) if twin else frozen_copy(subject.network())
    parts = [each.split(at_once(pixels) if twin else images) for each in (pixels, labels)]

    def run():
        for _ in range(steps):
            for some, true in zip(*parts, strict=True):
                leaf = some.detach().requires_grad_()
                torch.autograd.grad(cross_entropy(network(leaf), true, reduction="sum"), leaf)

    return run, lambda _: {}


def _attack(name, options):
    manager = Manager.discover()
    plugin = manager.find("attack", name)
    kind = manager.load_ready(plugin)
    return kind(validated_options(plugin, kind, options))


def _placed(subject):
    return placed(subject.network(), torch.device("cpu"))


def _told(result, pixels):
    return told(result.images, pixels, result.met)
