"""The checks of quantizers, evaluators and report formats: twins that classify, findings that can be counted, pages of text."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

from harness.errors import ContractError
from harness.testing.checks import CheckFailed, check, described, needs
from harness.testing.samples import sample_leaderboard
from harness.testing.subject import Subject

if TYPE_CHECKING:
    from torch import Tensor

    from harness.engine.evaluating import EvaluatorRun, Measurement
    from harness.engine.networks import PixelClassifier

SEED = 1
AGREEMENT = 0.5
"""The share of labels that a quantized twin must keep."""


class QuantizerSubject(Subject):
    """A quantizer under check."""

    def twin(self) -> PixelClassifier:
        """Return the toy network's twin, on images of one label each. Raises what quantizing raises."""
        from harness.engine.domains import DomainView
        from harness.engine.quantizing import quantized

        return quantized(self.made, self.toys.network, DomainView(self.toys.made), name=self.plugin.name, seed=SEED)

    def sound_twin(self) -> PixelClassifier:
        """Return the twin. Raises ``CheckSkipped`` where another check tells that there is none."""
        try:
            return self.twin()
        except Exception as error:
            raise needs("quantizes") from error


@check("quantizer")
def quantizes(subject: QuantizerSubject) -> None:
    """Make a network in eval mode that turns pixels into finite logits."""
    subject.check_made()
    try:
        subject.twin()
    except ContractError as error:
        raise CheckFailed(_without_name(error)) from error
    except Exception as error:
        raise CheckFailed(f"raised {described(error)}; expected a quantized network") from error


@check("quantizer")
def labels_kept(subject: QuantizerSubject) -> None:
    """Keep at least half of the labels that the network gives."""
    import torch

    images, labels = subject.toys.made.gather(subject.toys.made.rows)
    with torch.no_grad():
        share = float((subject.sound_twin()(images).argmax(1) == labels).float().mean())
    if share < AGREEMENT:
        raise CheckFailed(
            f"keeps {share:.0%} of the network's labels; expected {AGREEMENT:.0%} or more: are pixels normalized twice, or not?"
        )


@check("quantizer")
def same_twin(subject: QuantizerSubject) -> None:
    """Make the same twin from the same network."""
    import torch

    with torch.no_grad():
        first, second = (subject.sound_twin()(subject.toys.images) for _ in range(2))
    if not torch.equal(first, second):
        raise CheckFailed(
            "makes another twin the second time; expected the same: take samples in calibration's own order"
        )


@check("quantizer")
def same_when_copied(subject: QuantizerSubject) -> None:
    """Make a twin whose copies say the same: attacks get one."""
    import torch

    twin = subject.sound_twin()
    try:
        with torch.no_grad():
            same = torch.equal(copy.deepcopy(twin)(subject.toys.images), twin(subject.toys.images))
    except Exception as error:
        raise CheckFailed(f"makes a twin whose copy raised {described(error)}; expected one to copy and run") from error
    if not same:
        raise CheckFailed("makes a twin whose copy gives other logits; expected the same: keep all of it in the module")


@check("quantizer")
def gradients_passed(subject: QuantizerSubject) -> None:
    """Let gradients through to the images where it says that it is differentiable."""
    import torch

    twin = subject.sound_twin()
    if not type(subject.made).differentiable:
        return
    images = subject.toys.images.clone().requires_grad_()
    with torch.enable_grad():
        total = twin(images).square().sum()
    [gradient] = torch.autograd.grad(total, images, allow_unused=True) if total.requires_grad else [None]
    if gradient is None or not bool(gradient.any()) or not bool(gradient.isfinite().all()):
        raise CheckFailed(
            "is differentiable, but the gradients of its twin are zero, not finite or missing; expected them to pass: round "
            "straight through (torch.fake_quantize_per_tensor_affine), or take differentiable = True away"
        )


@check("quantizer")
def size_told(subject: QuantizerSubject) -> None:
    """Tell the twin's size in bytes, or None."""
    size: Any = subject.made.num_bytes(subject.sound_twin().net)
    if size is not None and (not isinstance(size, int) or size <= 0):
        raise CheckFailed(f"num_bytes returns {size!r}; expected a whole number of bytes above zero, or None")


class EvaluatorSubject(Subject):
    """An evaluator under check."""

    def run(self) -> EvaluatorRun:
        """Return it, made anew, bound to the toy network. Raises what it raises."""
        from harness.engine.evaluating import EvaluatorRun

        return EvaluatorRun(self.make(), self.toys.network, name=self.plugin.name, seed=SEED)

    def found(self) -> Measurement:
        """Return what it finds on the toys. Raises what it raises."""
        return self.run().evaluate(*self._batch)

    def found_piece_by_piece(self) -> Measurement:
        """Return what as many of it find as there are parts, each of which goes through one."""
        from harness.engine.tallying import Tally

        run, tally = self.run(), Tally()
        while not tally.batches:
            run = self.run()
            tally = run.advance(tally, *self._batch)
        return run.conclude(tally)

    @property
    def _batch(self) -> tuple[Tensor, Tensor, Tensor]:
        return self.toys.images, self.toys.predicted, self.toys.samples

    def soundly_found(self) -> Measurement:
        """Return what it finds. Raises ``CheckSkipped`` where another check tells that it finds nothing."""
        try:
            return self.found()
        except Exception as error:
            raise needs("evaluates") from error


@check("evaluator")
def evaluates(subject: EvaluatorSubject) -> None:
    """Return an Evaluation with finite figures, within the threat model, and leave images and classifier as they were."""
    subject.check_made()
    try:
        subject.found()
    except ContractError as error:
        raise CheckFailed(_without_name(error)) from error
    except Exception as error:
        raise CheckFailed(f"raised {described(error)}; expected an Evaluation") from error


@check("evaluator")
def something_found(subject: EvaluatorSubject) -> None:
    """Find something: perturbed images, figures or shares."""
    found = subject.soundly_found()
    if found.held is None and not found.figures and not found.shares:
        raise CheckFailed("finds nothing; expected perturbed images or a figure: return Evaluation(figures={…})")


@check("evaluator")
def same_findings(subject: EvaluatorSubject) -> None:
    """Find the same in the same images."""
    if not _same(subject.soundly_found(), subject.soundly_found()):
        raise CheckFailed("finds something else the second time; expected the same: draw from self.random")


@check("evaluator")
def parts_alone(subject: EvaluatorSubject) -> None:
    """Find the same where each part is run by an evaluator made anew, as it is after a kill; one without parts has none."""
    if not subject.made.parts():
        return
    whole = subject.soundly_found()
    try:
        pieces = subject.found_piece_by_piece()
    except Exception as error:
        raise CheckFailed(
            f"raised {described(error)} where each part is run by an evaluator made anew; expected the same findings"
        ) from error
    if not _same(whole, pieces):
        raise CheckFailed(
            "finds something else where each part is run by an evaluator made anew, as after a kill; expected the same: "
            "keep nothing on self from one part to the next"
        )


class FormatSubject(Subject):
    """A report format under check."""

    def rendered(self, leaderboard: dict[str, Any]) -> Any:
        """Return what it makes of a leaderboard. Raises what it raises."""
        return self.made.render(leaderboard)


@check("report-format")
def renders(subject: FormatSubject) -> None:
    """Return text for a leaderboard with controls, one seed, two seeds, no rows; its suffix begins with a dot."""
    subject.check_made()
    empty = {**sample_leaderboard(), "tables": []}
    for leaderboard in (sample_leaderboard(), sample_leaderboard(seeds=(1,)), empty):
        try:
            text = subject.rendered(leaderboard)
        except Exception as error:
            raise CheckFailed(f"raised {described(error)}; expected text") from error
        if not isinstance(text, str):
            raise CheckFailed(f"returned a {type(text).__name__}; expected text")
    suffix = type(subject.made).suffix
    if not suffix.startswith(".") or "/" in suffix:
        raise CheckFailed(f'has the suffix "{suffix}"; expected one such as ".tex"')


@check("report-format")
def leaderboard_untouched(subject: FormatSubject) -> None:
    """Leave the leaderboard as it was."""
    leaderboard = sample_leaderboard()
    before = copy.deepcopy(leaderboard)
    try:
        subject.rendered(leaderboard)
    except Exception as error:
        raise needs("renders") from error
    if leaderboard != before:
        raise CheckFailed("changed the leaderboard that it was given; expected it to be read alone: work on a copy")


def _same(one: Measurement, other: Measurement) -> bool:
    """Whether two measurements agree in their verdicts and their numbers."""
    held = [None if found.held is None else found.held.tolist() for found in (one, other)]
    own = [{**found.figures, **found.shares} for found in (one, other)]
    return held[0] == held[1] and own[0] == own[1]


def _without_name(error: ContractError) -> str:
    """Return what a guard says without whom it says it of, which whoever reports the check adds."""
    return str(error).partition('" ')[2]


MEASURING_CHECKS = (
    quantizes,
    labels_kept,
    same_twin,
    same_when_copied,
    gradients_passed,
    size_told,
    evaluates,
    something_found,
    same_findings,
    parts_alone,
    renders,
    leaderboard_untouched,
)
