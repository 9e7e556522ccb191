"""What users of the other libraries write: the plain model in eval mode, the library's attack with its options, called.

Each function returns what is timed, and what tells of its result: which images the model then labels as was wanted, and norms.
"""

from __future__ import annotations

import logging
import warnings

import adaptation_step
import torch
from contest_subject import told

with warnings.catch_warnings():
    # Foolbox imports a SciPy module under a name that SciPy has deprecated.
    warnings.simplefilter("ignore")
    import foolbox


def foolbox_attack(subject, *, goal, attack, options, epsilons, images):
    """Return Foolbox's attack: toward-true of images that are labelled wrong, leave-predicted of such, leave-true of right ones."""
    network = subject.network()
    pixels, labels = subject.right(images) if goal == "leave-true" else subject.wrong(images)
    if goal == "leave-predicted":
        labels = _predicted(network, pixels)
    approached = goal == "toward-true"
    criteria = foolbox.criteria
    criterion = (criteria.TargetedMisclassification if approached else criteria.Misclassification)(labels)
    model = foolbox.PyTorchModel(network, bounds=(0, 1), device="cpu")
    made = getattr(foolbox.attacks, attack)(**options)

    def tell(perturbed):
        hit = _predicted(network, perturbed) == labels
        return told(perturbed, pixels, hit if approached else ~hit)

    return lambda: made(model, pixels, criterion, epsilons=epsilons)[1], tell


def torchattack(subject, *, attack, options, images, asked):
    """Return torchattacks' attack away from the labels of images that are labelled right.

    ``asked``: whether the model is then asked whom it fooled, which other libraries do by themselves.
    """
    import torchattacks

    pixels, labels = subject.right(images)
    network = subject.network()
    made = getattr(torchattacks, attack)(network, **options)

    def run():
        perturbed = made(pixels, labels)
        if asked:
            _predicted(network, perturbed)
        return perturbed

    def tell(perturbed):
        return told(perturbed, pixels, _predicted(network, perturbed) != labels)

    return run, tell


def autoattack(subject, *, eps, images):
    """Return pyautoattack's standard evaluation in L-inf; it tells which images hold."""
    from pyautoattack import AutoAttack

    logging.disable(logging.WARNING)  # it writes a line for every batch
    pixels, labels = subject.right(images)
    made = AutoAttack(subject.network(), norm="Linf", eps=eps, seed=0, version="standard", device="cpu")
    return (
        lambda: made.run_standard_evaluation(pixels, labels, batch_size=images)[1],
        lambda predicted: {"met": (predicted == labels).tolist()},
    )


def adaptation_steps(subject, *, root, batch_size, steps):
    """Return some steps of a user's own Deep CORAL loop; there is nothing to tell."""
    step = adaptation_step.user_step(root, batch_size=batch_size, state=subject.state)
    return lambda: [step() for _ in range(steps)], lambda _: {}


def _predicted(network, images):
    with torch.no_grad():
        return network(images).argmax(1)
