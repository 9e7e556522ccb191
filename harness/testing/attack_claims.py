"""The checks of what an attack claims: its directions, gradients and randomness, its strength, its independence of the batch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from harness.testing.attack_runs import OTHER_SEEDS, SEED, AttackSubject, Trial, sound_images
from harness.testing.checks import CheckFailed, CheckSkipped, check, described, needs

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from harness.criteria import LabelCriterion, Select
    from harness.engine.attacking import BatchResult

NOISE_DRAWS = 100
HALVES = [5, 7]
TOLERANCE = 0.02
"""The share of its perturbation by which a sample may differ from batch to batch: float rounding turns a sign here and there."""


@check("attack")
def same_seed(subject: AttackSubject) -> None:
    """Give the same result again for the same seed."""
    if not subject.repeatable:
        raise CheckFailed(
            "gave another result when it was run again with the same seed; expected the same: draw from self.random, "
            "and carry nothing from run to run"
        )


@check("attack")
def gradients_declared(subject: AttackSubject) -> None:
    """Take gradients if, and only if, ``capabilities.gradients`` says so."""
    passes = sum(outcome.backward for outcome in subject.outcomes())
    declared = subject.capabilities.gradients
    if any(outcome.error is not None for outcome in subject.outcomes()):
        raise needs("runs")
    if bool(passes) != declared:
        raise CheckFailed(
            f"declares gradients={declared} and passed {passes} images backward; expected "
            f"{'some' if declared else 'none'}: declare gradients={not declared}"
        )


@check("attack")
def targeted_declared(subject: AttackSubject) -> None:
    """Approach labels where ``capabilities.targeted`` says so."""
    _check_direction(subject, targeted=True)


@check("attack")
def untargeted_declared(subject: AttackSubject) -> None:
    """Flee labels where ``capabilities.untargeted`` says so."""
    _check_direction(subject, targeted=False)


@check("attack")
def stochastic_declared(subject: AttackSubject) -> None:
    """Draw random numbers if, and only if, ``capabilities.stochastic`` says so."""
    if not subject.repeatable:
        raise needs("same-seed")
    declared = subject.capabilities.stochastic
    differs = _depends_on_seed(subject)
    if differs and not declared:
        raise CheckFailed(
            "declares stochastic=False and gave different results for different seeds; expected the same: declare "
            "stochastic=True"
        )
    if declared and not differs:
        seeds = ", ".join(map(str, (SEED, *OTHER_SEEDS)))
        raise CheckFailed(
            f"declares stochastic=True and gave the same result for the seeds {seeds}; expected others: draw from "
            "self.random, or declare stochastic=False"
        )


@check("attack")
def beats_noise(subject: AttackSubject) -> None:
    """Do better than random noise of the same norm, in every direction."""
    worked = False
    for targeted in subject.directions:
        trial = Trial(targeted)
        outcome = subject.outcome(trial)
        images = outcome.images()
        if not _moved_closer(subject, outcome.criterion, images):
            continue
        worked = True
        reached, gain = _score(subject, outcome.criterion, images)
        most, largest = _noise_bests(subject, outcome.criterion, images)
        # Either will do: one attack stops at the boundary, another goes on pushing those that it cannot carry over.
        if reached <= most and gain <= largest:
            raise CheckFailed(
                f"reached {reached} of {len(images)} with a mean loss of {-gain:.4g} when {trial}; random noise of the same "
                f"norm reached up to {most}, with a loss down to {-largest:.4g}, in {NOISE_DRAWS} draws; expected more "
                "reached or a lower loss: check that steps lower criterion.loss, and that there are enough of them"
            )
    if not worked:
        raise CheckSkipped('says nothing while "targeted-declared" and "untargeted-declared" fail')


@check("attack")
def independent_of_batch(subject: AttackSubject) -> None:
    """Give a sample the same result whatever the batch that it is in."""
    if not subject.repeatable:
        raise needs("same-seed")
    for select in ("first-hit", "final"):
        whole, halves = _in_batches(subject, select)
        changes = (halves - whole).flatten(1).norm(dim=1)
        lengths = (whole - subject.toys.images).flatten(1).norm(dim=1)
        other = changes > TOLERANCE * lengths + 3e-4
        if bool(other.any()):
            raise CheckFailed(
                f"gave {int(other.sum())} of {len(other)} samples another result in batches of {HALVES[0]} and {HALVES[1]} "
                f"than in one of {len(other)} ({select}, up to {float(changes.max()):.3g} away in L2); expected the "
                "same: draw from self.random, and take means, norms and decisions for each sample alone"
            )


def _check_direction(subject: AttackSubject, *, targeted: bool) -> None:
    name = "targeted" if targeted else "untargeted"
    if not getattr(subject.capabilities, name):
        raise CheckSkipped(f"declares {name}=False")
    outcome = subject.outcome(Trial(targeted))
    images = outcome.images()
    if not _moved_closer(subject, outcome.criterion, images):
        before, after = (_score(subject, outcome.criterion, given)[1] for given in (outcome.originals, images))
        raise CheckFailed(
            f"declares {name}=True, reached none of {len(images)} when {outcome.trial}, and moved the mean loss from "
            f"{-before:.4g} to {-after:.4g}; expected a lower one: descend criterion.loss, or declare {name}=False"
        )


def _moved_closer(subject: AttackSubject, criterion: LabelCriterion, images: Tensor) -> bool:
    """Whether a sample reached the objective, or the mean loss fell; no unperturbed sample has reached it."""
    before, after = (_score(subject, criterion, given) for given in (subject.toys.images, images))
    return after > before


def _score(subject: AttackSubject, criterion: LabelCriterion, images: Tensor) -> tuple[int, float]:
    """Return how many reached the objective, and the negative mean loss: the larger the better."""
    import torch

    with torch.no_grad():
        logits = subject.toys.network(images)
    return int(criterion.reached(logits).sum()), -float(criterion.loss(logits).mean())


def _noise_bests(subject: AttackSubject, criterion: LabelCriterion, images: Tensor) -> tuple[int, float]:
    """Return the best scores, each on its own, of draws that move the originals at random as far as the attack did."""
    import torch

    from harness.engine.norms import per_sample_norm
    from harness.engine.randomness import generator
    from harness.stages.sham import randomly_moved

    norm, originals = subject.capabilities.norm, subject.toys.images
    norms = per_sample_norm(images - originals, norm).repeat(NOISE_DRAWS)
    repeated = originals.repeat(NOISE_DRAWS, 1, 1, 1)
    directions = torch.randn(repeated.shape, generator=generator("noise"))
    rows = torch.arange(len(originals)).repeat(NOISE_DRAWS)
    with torch.no_grad():
        logits = subject.toys.network(randomly_moved(repeated, norms, norm=norm, directions=directions))
    reached = criterion[rows].reached(logits).reshape(NOISE_DRAWS, -1).sum(1)
    losses = criterion[rows].loss(logits).reshape(NOISE_DRAWS, -1).mean(1)
    return int(reached.max()), -float(losses.min())


def _depends_on_seed(subject: AttackSubject) -> bool:
    """Whether any trial, that without a gradient too, gives other images for another seed."""
    trials = [Trial(targeted) for targeted in subject.directions]
    for trial in (*trials, Trial(trials[0].targeted, flat=True)):
        images = sound_images(subject.outcome(trial))
        others = [sound_images(subject.outcome(trial, seed=seed)) for seed in OTHER_SEEDS]
        if images is not None and any(other is not None and bool((other != images).any()) for other in others):
            return True
    return False


def _in_batches(subject: AttackSubject, select: Select) -> tuple[Tensor, Tensor]:
    """Return the images that count (N, C, H, W) as the engine finds them, in one batch and in two."""
    import torch

    toys, run = subject.toys, _engine_run(subject, select)
    labels = toys.second_best if subject.first().targeted else toys.predicted
    parts = []
    for sizes in ([len(labels)], HALVES):
        columns = (torch.split(column, sizes) for column in (toys.images, labels, toys.samples))
        parts.append(torch.cat([run(*batch).images for batch in zip(*columns, strict=True)]))
    return parts[0], parts[1]


def _engine_run(subject: AttackSubject, select: Select) -> Callable[..., BatchResult]:
    from harness.engine.attacking import Attacker, Corrector
    from harness.errors import ContractError

    attack, toys = subject.made, subject.toys
    how: dict[str, Any] = {"name": subject.plugin.name, "select": select, "seed": SEED, "examples": toys.examples}
    network = toys.one_by_one()
    run = (
        Corrector(attack, network, objective="toward-true", **how).correct
        if subject.first().targeted
        else Attacker(attack, network, **how).attack_batch
    )

    def checked(*batch: Tensor) -> BatchResult:
        try:
            return run(*batch)
        except ContractError as error:
            raise CheckSkipped(f"says nothing while another check fails: {error}") from error
        except Exception as error:
            raise CheckFailed(
                f"raised {described(error)} on a batch of {len(batch[0])}; expected images of any number of samples"
            ) from error

    return checked


CLAIM_CHECKS = (
    same_seed,
    gradients_declared,
    targeted_declared,
    untargeted_declared,
    stochastic_declared,
    beats_noise,
    independent_of_batch,
)
