"""Checks that an adapter repeats itself, again and after an interruption; and what steps of an adapter are compared by."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.testing.adapter_runs import AdapterSubject  # noqa: TC001 (the decorator's type variable is bound to it)
from harness.testing.adapter_sessions import MIDDLE, STEPS, Scene
from harness.testing.checks import CheckFailed, CheckSkipped, check, described, needs

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from harness.testing.adapter_runs import Step

CLOSE = 1e-5
SEEN = (0, MIDDLE)
"""The steps that are looked at where each must keep a rule: the first, and one with earlier outputs in the queue."""


@check("adapter")
def same_losses(subject: AdapterSubject) -> None:
    """Give the same losses again for the same batches and seed."""
    by_gradient(subject)
    for number in SEEN:
        usual, again = subject.at(number), subject.step(Scene(number))
        if not same(usual, again):
            raise CheckFailed(
                f"gave {total(usual):.6g} and then {total(again):.6g} for the same batches and seed; expected the same: draw "
                "from torch's generator, which the harness seeds at each step, and remember nothing in the class or the module, "
                "which all runs of a process share"
            )


@check("adapter")
def resumes_alike(subject: AdapterSubject) -> None:
    """Go on after an interruption as if there had been none: what lasts over steps is in its modules."""
    by_gradient(subject)
    check_repeatable(subject)
    through, again = subject.interrupted()
    advice = (
        "a new instance goes on from the checkpoint alone: keep what lasts over steps in buffers, of one shape, of a module that "
        "modules() returns, and draw from torch's generator, which the harness seeds at each step"
    )
    if again.error is not None:
        raise CheckFailed(
            f"{again.hook} raised {described(again.error)} in a loop that was interrupted; expected the losses of one that "
            f"ran through: {advice}"
        )
    if not same(through, again):
        raise CheckFailed(
            f"gave {total(again):.6g} in a loop that was interrupted and {total(through):.6g} in one that ran through; expected "
            f"the same: {advice}"
        )


def by_gradient(subject: AdapterSubject) -> None:
    """Raise ``CheckSkipped`` for an adapter that overrides ``adapt``."""
    if not subject.steps_by_gradient:
        raise CheckSkipped("adapts without gradient steps")


def check_repeatable(subject: AdapterSubject) -> None:
    """Raise ``CheckSkipped`` where the losses are others each time, so that no comparison tells."""
    if same_losses.run(subject).status != "ok":
        raise needs("same-losses")


def at_any_step(tells: Callable[[int], bool]) -> bool:
    """Whether any step of a loop tells: some losses ramp up from zero, others come in phases."""
    return any(tells(number) for number in range(STEPS))


def gradients(total: Tensor, parts: list[Tensor]) -> list[Tensor]:
    """Return the gradients at those parts that the total depends on."""
    import torch

    if not total.requires_grad or not parts:
        return []
    try:
        found = torch.autograd.grad(total, parts, allow_unused=True, retain_graph=True)
    except RuntimeError as error:
        raise CheckFailed(
            f"its losses cannot be differentiated: {described(error)}; expected a gradient: no operation in place"
        ) from error
    return [gradient for gradient in found if gradient is not None]


def reached(step: Step, place: int) -> bool:
    """Whether a gradient reaches a batch: some losses have one value whatever they look at, and yet move the network."""
    return any(bool((gradient != 0).any()) for gradient in gradients(step.total(), parts(step, place)))


def parts(step: Step, place: int) -> list[Tensor]:
    """Return what a gradient could reach of a step's source or target batch."""
    batch = step.batches[place]
    return [part for part in (batch.features, batch.logits) if part.requires_grad]


def total(step: Step) -> float:
    """Return the sum that is minimized, as a number."""
    return float(step.total().detach())


def same(first: Step, second: Step) -> bool:
    """Whether two steps have the same losses."""
    one, other = total(first), total(second)
    return abs(one - other) <= CLOSE * max(abs(one), abs(other)) + CLOSE**2
