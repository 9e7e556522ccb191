"""The checks of adapters: their answers, losses and gradients, what they look at, what they remember, what they leave behind."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.testing.adapter_claims import source_declared, target_declared, target_labels_declared
from harness.testing.adapter_repeats import (
    SEEN,
    at_any_step,
    by_gradient,
    gradients,
    parts,
    resumes_alike,
    same_losses,
)
from harness.testing.adapter_runs import SOURCE, TARGET, AdapterSubject, Step, is_refusal, loss_fault, told_elsewhere
from harness.testing.adapter_sessions import STEPS, Scene
from harness.testing.checks import CheckFailed, CheckSkipped, check, described

if TYPE_CHECKING:
    from torch import Tensor

    from harness.testing.toys import NetworkKind

OTHER_NETWORKS: tuple[NetworkKind, ...] = ("without a linear head", "without batch-norm")


@check("adapter")
def adapts(subject: AdapterSubject) -> None:
    """Compute its losses and figures, or adapt a network, without raising."""
    from harness.engine.answers import AnswerError

    subject.check_made()
    for where, error, hook in _asked(subject):
        if error is not None and not isinstance(error, AnswerError):
            raise CheckFailed(
                f"{hook} raised {described(error)}{where} on a small network with batch-norm; expected it to work on any "
                "network"
            )


@check("adapter")
def hooks_answer(subject: AdapterSubject) -> None:
    """Return from each hook what the contract knows."""
    from harness.engine.answers import AnswerError, UnsoundNetworkError

    for _, error, _ in _asked(subject):
        if isinstance(error, AnswerError) and not isinstance(error, UnsoundNetworkError):
            raise CheckFailed(error.fault)
        if error is not None:
            raise told_elsewhere(error)


@check("adapter")
def works_on_other_networks(subject: AdapterSubject) -> None:
    """Work on a network without a linear head and on one without batch-norm, or say by a ``HarnessError`` that it cannot."""
    for _, error, _ in _asked(subject):
        if error is not None:
            raise told_elsewhere(error)
    for kind in OTHER_NETWORKS:
        made = subject.step(Scene(network=kind)) if subject.steps_by_gradient else subject.adapted(kind)
        if made.error is not None and not is_refusal(made.error):
            raise CheckFailed(
                f"{made.hook} raised {described(made.error)} on a network {kind}; expected losses, or a refusal: raise "
                "HarnessError from remarks() where it cannot work (loop.network.head is None without a linear head)"
            )


@check("adapter")
def finite_scalar_losses(subject: AdapterSubject) -> None:
    """Return a dict of named losses, each a finite scalar."""
    by_gradient(subject)
    for number in SEEN:
        step = subject.at(number)
        if step.error is not None:
            raise told_elsewhere(step.error)
        if (fault := loss_fault(step.losses)) is not None:
            raise CheckFailed(
                f"returned {fault}; expected finite scalar tensors by name: average over the batch, and keep what is divided "
                "by and what a logarithm is taken of from zero"
            )


@check("adapter")
def gradient_reaches_features(subject: AdapterSubject) -> None:
    """Have losses whose gradient reaches the features or the logits, and is finite."""
    by_gradient(subject)
    for number in SEEN:
        if not all(bool(gradient.isfinite().all()) for gradient in _of_batches(subject.at(number))):
            raise CheckFailed(
                "its losses have a gradient that is not finite; expected a finite one: keep roots and logarithms from zero"
            )
    if not at_any_step(lambda number: any(bool((one != 0).any()) for one in _of_batches(subject.at(number)))):
        raise CheckFailed(
            "no gradient of its losses reaches the features or the logits; expected one that changes the network: compute "
            "them from the batches' features or logits, undetached"
        )


@check("adapter")
def modules_trained(subject: AdapterSubject) -> None:
    """Return from ``modules`` what its losses train."""
    by_gradient(subject)
    subject.usual.terms()
    if not subject.usual.modules:
        raise CheckSkipped("has no modules of its own")

    def trained(name: str, number: int) -> bool:
        step = subject.at(number)
        parameters: list[Tensor] = [one for one in step.modules[name].parameters() if one.requires_grad]
        return not parameters or bool(gradients(step.total(), parameters))

    for name in subject.usual.modules:
        if not at_any_step(lambda number, name=name: trained(name, number)):  # type: ignore[misc]  # bound to this name
            raise CheckFailed(
                f'its module "{name}" gets no gradient at any step of a loop; expected its losses to train it: use the very '
                "module that modules() returns, leave it out, or freeze what is there to be remembered"
            )


@check("adapter")
def batches_untouched(subject: AdapterSubject) -> None:
    """Leave the batches that it is given as they are."""
    by_gradient(subject)
    for number in SEEN:
        step = subject.at(number)
        if step.error is not None:
            raise told_elsewhere(step.error)
        if step.changed:
            raise CheckFailed(
                f"changed {' and '.join(step.changed)}; expected the batches as they were: no operation in place"
            )


@check("adapter")
def network_left_sound(subject: AdapterSubject) -> None:
    """Leave finite weights and a network that still classifies; for adapters without gradient steps."""
    import torch

    from harness.engine.answers import UnsoundNetworkError

    if subject.steps_by_gradient:
        raise CheckSkipped("takes gradient steps, which the harness makes")
    adapted = subject.adapted()
    if isinstance(adapted.error, UnsoundNetworkError):
        raise CheckFailed(adapted.error.fault)
    if adapted.error is not None:
        raise told_elsewhere(adapted.error)
    network = adapted.network
    with torch.no_grad():
        logits = network.eval()(subject.toys.images)
    if logits.shape != (len(subject.toys.images), network.num_classes) or not bool(logits.isfinite().all()):
        raise CheckFailed(
            "left a network that gives no finite logits; expected one that classifies as before or better"
        )


def _asked(subject: AdapterSubject) -> list[tuple[str, BaseException | None, str]]:
    """Return for each run on the usual network where it was, what was raised there, and from which hook."""
    if not subject.steps_by_gradient:
        adapted = subject.adapted()
        return [("", adapted.error, adapted.hook)]
    steps = [(f" at step {number} of {STEPS}", subject.at(number)) for number in SEEN]
    return [(where, step.error, step.hook) for where, step in steps]


def _of_batches(step: Step) -> list[Tensor]:
    """Return the gradients of a step's losses at the features and logits that they depend on."""
    total = step.total()
    return [gradient for place in (SOURCE, TARGET) for gradient in gradients(total, parts(step, place))]


ADAPTER_CHECKS = (
    adapts,
    hooks_answer,
    finite_scalar_losses,
    gradient_reaches_features,
    source_declared,
    target_declared,
    target_labels_declared,
    modules_trained,
    batches_untouched,
    same_losses,
    resumes_alike,
    works_on_other_networks,
    network_left_sound,
)
