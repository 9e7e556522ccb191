"""The checks of attacks: what comes back, and what is left as it was."""

from __future__ import annotations

from harness.testing.attack_runs import OTHER_SEEDS, AttackSubject, Outcome, Trial
from harness.testing.checks import CheckFailed, CheckSkipped, check, described, needs


@check("attack")
def runs(subject: AttackSubject) -> None:
    """Run in every direction that is declared, without raising."""
    if not (subject.capabilities.targeted or subject.capabilities.untargeted):
        raise CheckFailed("declares neither targeted nor untargeted; expected one of them at least: declare it")
    subject.check_made()
    for outcome in subject.outcomes():
        if outcome.error is not None:
            raise CheckFailed(
                f"raised {described(outcome.error)} {_on(outcome)}; expected perturbed images: return those it has, "
                "unperturbed where it found none"
            )


@check("attack")
def shape_dtype_device(subject: AttackSubject) -> None:
    """Return a tensor of the shape, dtype and device of the images."""
    for outcome in subject.outcomes():
        if outcome.error is None and (misfit := outcome.misfit()) is not None:
            raise CheckFailed(
                f"returned {misfit} {_on(outcome)}: return a tensor like the images, one image for each of them"
            )
    _ran(subject)


@check("attack")
def finite(subject: AttackSubject) -> None:
    """Return finite pixels."""
    for outcome in subject.outcomes():
        if outcome.error is None and outcome.misfit() is None and (broken := _not_finite(outcome)):
            raise CheckFailed(
                f"returned {broken} pixels that are not finite {_on(outcome)}; expected none: check for a division by "
                "zero and for the logarithm of zero"
            )
    for outcome in subject.outcomes():
        outcome.images()


@check("attack")
def zero_gradients(subject: AttackSubject) -> None:
    """Return finite images of the right kind where the gradient is zero, as it is where a classifier is sure."""
    subject.outcome(subject.first()).images()
    outcome = subject.outcome(Trial(subject.first().targeted, flat=True))
    where = "where the gradient is zero"
    if outcome.error is not None:
        raise CheckFailed(f"raised {described(outcome.error)} {where}; expected images: leave them where they are")
    if (misfit := outcome.misfit()) is not None:
        raise CheckFailed(f"returned {misfit} {where}: return a tensor like the images there too")
    if broken := _not_finite(outcome):
        raise CheckFailed(
            f"returned {broken} pixels that are not finite {where}; expected none: keep its norm from zero before "
            "dividing by it"
        )


@check("attack")
def input_untouched(subject: AttackSubject) -> None:
    """Leave the images that it is given as they are."""
    for outcome in subject.outcomes():
        changed = int((outcome.given != outcome.originals).sum())
        if changed:
            raise CheckFailed(
                f"changed {changed} pixels of the images it was given {_on(outcome)}; expected none: work on "
                "images.clone(), and without operations in place"
            )
    _ran(subject)


@check("attack")
def within_bounds(subject: AttackSubject) -> None:
    """Return pixels within the classifier's bounds."""
    from harness.engine.iterates import BOUNDS_TOLERANCE

    low, high = subject.toys.network.bounds
    for outcome in subject.outcomes():
        images = outcome.images()
        lowest, highest = float(images.min()), float(images.max())
        if lowest < low - BOUNDS_TOLERANCE or highest > high + BOUNDS_TOLERANCE:
            raise CheckFailed(
                f"returned pixels in [{lowest:.6g}, {highest:.6g}] {_on(outcome)}; expected them in [{low:g}, {high:g}]: "
                "clamp to classifier.bounds"
            )


@check("attack")
def within_eps(subject: AttackSubject) -> None:
    """Move no sample farther than the option ``eps``, in the norm that is declared."""
    from harness.engine.iterates import ThreatModel
    from harness.engine.norms import per_sample_norm

    eps = getattr(subject.options, "eps", None)
    if eps is None:
        raise CheckSkipped('has no option "eps", or none by default')
    threat = ThreatModel(subject.capabilities.norm, eps=eps)
    for outcome in subject.outcomes():
        farthest = float(per_sample_norm(outcome.images() - outcome.originals, threat.norm).max())
        if farthest > threat.largest_norm:
            raise CheckFailed(
                f"moved a sample by {farthest:.6g} in {threat.norm} {_on(outcome)}; expected {eps:.6g}, its eps, at "
                "most: project onto the ball after the last step"
            )


@check("attack")
def classifier_untouched(subject: AttackSubject) -> None:
    """Leave the classifier's parameters, buffers, modes and gradients as they are."""
    for outcome in subject.outcomes():
        if outcome.classifier_changes:
            raise CheckFailed(
                f"changed the classifier's {' and '.join(outcome.classifier_changes)} {_on(outcome)}; expected the "
                "classifier as it was: take gradients by loss_gradient, leave its mode alone"
            )
    _ran(subject)


@check("attack")
def generators_untouched(subject: AttackSubject) -> None:
    """Leave the global random generators of torch, numpy and Python as they are."""
    _ran(subject)
    for outcome in subject.outcomes():
        if outcome.generator_changes:
            other = subject.outcome(outcome.trial, seed=OTHER_SEEDS[0])
            reseeded = bool((outcome.torch_generator == other.torch_generator).all())
            did = "seeded anew" if reseeded else "drew from"
            raise CheckFailed(
                f"{did} {' and '.join(outcome.generator_changes)} global generator {_on(outcome)}; expected it as it "
                "was: draw from self.random, which has a stream for every sample"
            )


@check("attack")
def settings_untouched(subject: AttackSubject) -> None:
    """Leave the process as it is: gradient mode, default dtype, threads, trace function."""
    for outcome in subject.outcomes():
        if outcome.setting_changes:
            raise CheckFailed(
                f"changed {' and '.join(outcome.setting_changes)} {_on(outcome)}; expected the process as it was: use "
                "a context manager such as torch.no_grad()"
            )
    _ran(subject)


@check("attack")
def batch_of_one(subject: AttackSubject) -> None:
    """Perturb a batch of one image."""
    _ran(subject)
    trial = subject.first()
    subject.outcome(trial).images()
    outcome = subject.run(trial, count=1)
    told = "raised " + described(outcome.error) if outcome.error is not None else None
    told = told or ("returned " + misfit if (misfit := outcome.misfit()) else None)
    told = told or ("returned pixels that are not finite" if _not_finite(outcome) else None)
    if told:
        raise CheckFailed(
            f"{told} on a batch of one image; expected one perturbed image: name the dimensions to squeeze and to "
            "average over"
        )


def _on(outcome: Outcome) -> str:
    return f"when {outcome.trial}"


def _not_finite(outcome: Outcome) -> int:
    return int((~outcome.returned.isfinite()).sum())


def _ran(subject: AttackSubject) -> None:
    """Raise ``CheckSkipped`` where a run was cut short, so that nothing wrong may mean nothing seen."""
    if any(outcome.error is not None for outcome in subject.outcomes()):
        raise needs("runs")


ATTACK_CHECKS = (
    runs,
    shape_dtype_device,
    finite,
    zero_gradients,
    input_untouched,
    within_bounds,
    within_eps,
    classifier_untouched,
    generators_untouched,
    settings_untouched,
    batch_of_one,
)
