"""The checks of figures: pictures that can be written, of correctors that correct some, all or nothing, the same each time."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from harness.errors import ContractError
from harness.testing.checks import CheckFailed, check, described, needs
from harness.testing.subject import Subject

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from harness.engine.drawing import Drawn, PerturbedSamples

SEED = 1
DPI = 60
SHOWN = 10
"""The samples that each toy corrector was given."""


class FigureSubject(Subject):
    """A figure under check."""

    def drawn(self, *shares: float) -> Drawn:
        """Return what it draws of correctors that correct these shares of the samples. Raises what it raises."""
        samples = {f"corrector {number}": self._samples(share) for number, share in enumerate(shares, 1)}
        return self._drawn(samples)

    def drawn_of_nothing(self) -> Drawn:
        """Return what it draws where the classifier labels every sample right. Raises what it raises."""
        some = self._samples(0)
        fields = ("rows", "stored", "before", "after", "corrected")
        return self._drawn({"corrector 1": replace(some, **{name: getattr(some, name)[:0] for name in fields})})

    def soundly_drawn(self) -> Drawn:
        """Return a drawing. Raises ``CheckSkipped`` where another check tells that there is none."""
        try:
            return self.drawn(0.5, 1)
        except Exception as error:
            raise needs("draws") from error

    def _drawn(self, samples: Mapping[str, PerturbedSamples]) -> Drawn:
        from harness.engine.drawing import draw

        network = self.toys.network
        classes = [f"class {label}" for label in range(network.num_classes)]
        return draw(self.make(), network, samples, classes, name=self.plugin.name, seed=SEED, dpi=DPI)

    def _samples(self, share: float) -> PerturbedSamples:
        """Return toys that became other toys, whose labels are the true ones of that share of them."""
        from harness.engine.drawing import PerturbedSamples

        before, after, rows = self._pairs()
        stored, _ = self.toys.made.gather(after)
        given = [self.toys.made.all_labels[where] for where in (before, after)]
        corrected = rows < share * len(rows)
        labels = self.toys.made.all_labels.clone()
        # Whichever label is neither.
        other = (given[0] + 1) % self.toys.network.num_classes
        other = other.where(other != given[1], (given[0] + 2) % self.toys.network.num_classes)
        labels[before] = given[1].where(corrected, other)
        train = replace(self.toys.made, all_labels=labels)
        return PerturbedSamples(train, before, stored, given[0], given[1], corrected)

    def _pairs(self) -> tuple[Tensor, Tensor, Tensor]:
        """Return rows of the toys and of others with other labels, and their numbers."""
        import torch

        labels = self.toys.made.labels
        rows = torch.arange(SHOWN)
        others = [int((labels != labels[row]).nonzero()[row]) for row in rows]
        return self.toys.made.rows[rows], self.toys.made.rows[torch.tensor(others)], rows


@check("figure")
def draws(subject: FigureSubject) -> None:
    """Return a Drawing of two correctors that can be written, with finite numbers and a table of one shape."""
    subject.check_made()
    try:
        subject.drawn(0.5, 1)
    except ContractError as error:
        raise CheckFailed(str(error).partition('" ')[2]) from error
    except Exception as error:
        raise CheckFailed(f"raised {described(error)}; expected a Drawing") from error


@check("figure")
def draws_the_extremes(subject: FigureSubject) -> None:
    """Draw where nothing is corrected, where everything is, and where no sample is labelled wrong."""
    subject.soundly_drawn()
    what = ""
    try:
        what = "nothing is corrected"
        subject.drawn(0)
        what = "everything is corrected"
        subject.drawn(1)
        what = "no sample is labelled wrong"
        subject.drawn_of_nothing()
    except Exception as error:
        raise CheckFailed(f"raised {described(error)} where {what}; expected a picture that says so") from error


@check("figure")
def same_drawing(subject: FigureSubject) -> None:
    """Draw the same picture of the same samples, to the last byte."""
    first, second = subject.soundly_drawn(), subject.soundly_drawn()
    if (first.png, first.svg, dict(first.drawing.numbers)) != (second.png, second.svg, dict(second.drawing.numbers)):
        raise CheckFailed(
            "draws something else the second time; expected the same: draw random numbers from a fixed seed"
        )


@check("figure")
def numbers_given(subject: FigureSubject) -> None:
    """Give the figures behind the picture: numbers, or a table."""
    drawing = subject.soundly_drawn().drawing
    if not drawing.numbers and not drawing.table:
        raise CheckFailed("gives no figures; expected numbers or a table: whoever quotes the picture needs them")


FIGURE_CHECKS = (draws, draws_the_extremes, same_drawing, numbers_given)
