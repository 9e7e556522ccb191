"""The checks of what adapters declare: whether source, target and the target's labels enter their losses."""

from __future__ import annotations

from harness.testing.adapter_repeats import SEEN, at_any_step, by_gradient, check_repeatable, reached, same
from harness.testing.adapter_runs import SOURCE, TARGET, AdapterSubject
from harness.testing.adapter_sessions import Scene
from harness.testing.checks import CheckFailed, check, described


@check("adapter")
def target_declared(subject: AdapterSubject) -> None:
    """Look at the target if, and only if, ``capabilities.target`` says so."""
    by_gradient(subject)
    check_repeatable(subject)
    if not subject.capabilities.target:
        if not all(same(subject.at(number), subject.step(Scene(number, images="shown"))) for number in SEEN):
            raise CheckFailed(
                "declares target=False and has other losses when the target is shown; expected the same: declare target=True"
            )
        return

    def looks(number: int) -> bool:
        usual = subject.at(number)
        return not same(usual, subject.step(Scene(number, images="others"))) or reached(usual, TARGET)

    if not at_any_step(looks):
        raise CheckFailed(
            "declares target=True and has the same losses for other target images, at every step of a loop; expected others: "
            "declare target=False, which saves the target's forward pass"
        )


@check("adapter")
def source_declared(subject: AdapterSubject) -> None:
    """Look at the source where ``capabilities.source`` says so; where it does not, there is none."""
    by_gradient(subject)
    check_repeatable(subject)
    if not subject.capabilities.source:
        return

    def looks(number: int) -> bool:
        usual = subject.at(number)
        return reached(usual, SOURCE) or not same(usual, subject.step(Scene(number, source_images="others")))

    if not at_any_step(looks):
        raise CheckFailed(
            "declares source=True and has the same losses for other source images, at every step of a loop; expected others: "
            "declare source=False, which saves the source's forward pass"
        )


@check("adapter")
def target_labels_declared(subject: AdapterSubject) -> None:
    """Read what tells the target's labels if, and only if, ``capabilities.target_labels`` says so."""
    by_gradient(subject)
    check_repeatable(subject)
    if subject.capabilities.target_labels:
        _check_labels_used(subject)
        return
    for number in SEEN:
        without = subject.step(Scene(number, labels="none"))
        if without.error is not None:
            raise CheckFailed(
                f"declares target_labels=False and raised {described(without.error)} without them; expected losses that need "
                "none: declare target_labels=True, or use the source's labels"
            )
        usual = subject.at(number)
        if not same(usual, subject.step(Scene(number, labels="others"))) or not same(usual, without):
            raise CheckFailed(
                "declares target_labels=False and has other losses for other target labels; expected the same: declare "
                "target_labels=True, or leave target.labels and target.wrong alone"
            )


def _check_labels_used(subject: AdapterSubject) -> None:
    """Raise ``CheckFailed`` where nothing that tells the target's labels is looked at."""
    # What is drawn by the labels uses them, whatever its losses read; so do those who ask for the pairs.
    if subject.capabilities.sampling != "shuffled" or any(subject.at(number).pairs_read for number in SEEN):
        return
    if not at_any_step(lambda number: not same(subject.at(number), subject.step(Scene(number, labels="others")))):
        raise CheckFailed(
            "declares target_labels=True and has the same losses whatever the target's labels, and whichever samples were wrong; "
            "expected others: declare target_labels=False"
        )
