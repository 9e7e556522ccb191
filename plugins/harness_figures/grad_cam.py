"""Where the classifier looks before and after correcting: Grad-CAM of both and their difference (AdCorDA, figure 3)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from harness.api import Drawing, Figure, Library, Options, PluginError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch import Tensor, nn

    from harness.api import Perturbed
    from harness_figures.looking import Look
    from harness_figures.panels import Shown


class GradCamOptions(Options):
    """The options of the Grad-CAM figure."""

    samples: int = Field(
        default=4, ge=1, le=24, description="How many samples are shown of each corrector: those whose map moved most."
    )
    rows: tuple[int, ...] | None = Field(
        default=None,
        min_length=1,
        max_length=24,
        description="Show these rows of the stored training images instead, corrected or not; those labelled right are left out.",
    )
    layer: str | None = Field(
        default=None,
        description="The module whose feature maps are weighted, such as layer4; unless given, the last of at least 4 × 4.",
    )
    candidates: int = Field(
        default=512,
        ge=1,
        description="How many corrected samples, evenly spread over T_w, are looked through for those whose map moved most.",
    )


class GradCam(Figure[GradCamOptions]):
    """Grad-CAM of samples before (for the label first given) and after correcting (for the true one), and their difference.

    The samples shown are those of whose map the largest share moved, one of each true class while there are some: the clearest
    cases, not the typical ones; ``numbers`` has the mean over all that were looked through. Every corrector shows the same samples
    where some are corrected by all of them.
    """

    library = Library(distribution="captum", install="pip install 'adcorda-harness[figures]'", also=("matplotlib",))
    gradients = True

    def draw(self, network: nn.Module, samples: Mapping[str, Perturbed], classes: Sequence[str]) -> Drawing:
        """Return the figure. Raises ``PluginError`` for a layer or rows that there are not."""
        from harness_figures.looking import Look
        from harness_figures.panels import in_order, picture

        look = Look(network, samples, self.options.layer)
        places, numbers = self._by_rows(look) if self.options.rows else self._most_moved(look)
        shown = in_order([look.shown(name, chosen) for name, chosen in places.items()])
        return Drawing(
            figure=picture(shown, classes),
            caption=self._caption(look, shown),
            numbers=numbers,
            table=[one.table_row(classes) for one in shown],
            flags=(
                *(f"{name} corrects nothing" for name, made in samples.items() if not bool(made.corrected.any())),
                *self._missing(look),
            ),
        )

    def _most_moved(self, look: Look) -> tuple[dict[str, Tensor], dict[str, float]]:
        """Return the places of the samples that moved most, by corrector, and what all that were looked through come to."""
        import torch

        from harness_figures.looking import spread_over_classes

        scores = look.moved(self.options.candidates)
        numbers: dict[str, float] = {}
        for name, (_, moved) in scores.items():
            numbers[f"{name}: samples looked through"] = len(moved)
            if len(moved):
                numbers[f"{name}: mean share moved"] = float(moved.mean())
        if look.shared is None:
            chosen = {
                name: places[spread_over_classes(moved, look.samples[name].labels[places], self.options.samples)]
                for name, (places, moved) in scores.items()
            }
            return chosen, numbers
        found = {name: scored for name, scored in scores.items() if len(scored[0])}
        places = next(iter(found.values()))[0]
        mean = torch.stack([moved for _, moved in found.values()]).mean(0)
        labels = next(iter(look.samples.values())).labels[places]
        best = places[spread_over_classes(mean, labels, self.options.samples)]
        return dict.fromkeys(found, best), numbers

    def _by_rows(self, look: Look) -> tuple[dict[str, Tensor], dict[str, float]]:
        """Return the places of the rows that were asked for. Raises ``PluginError`` where none is labelled wrong."""
        rows = self.options.rows or ()
        places = look.places_of(rows)
        if not any(len(found) for found in places.values()):
            some = next((made.rows[:8].tolist() for made in look.samples.values() if len(made)), [])
            near = (
                f"such as {', '.join(map(str, some))}"
                if some
                else "but the classifier labels every training sample right"
            )
            raise PluginError(
                f"grad-cam: rows: got {', '.join(map(str, rows))}, of which the classifier labels none wrong; expected training "
                f"samples that it labels wrong, {near}"
            )
        return places, {}

    def _missing(self, look: Look) -> list[str]:
        if not self.options.rows:
            return []
        known = {row for made in look.samples.values() for row in made.rows.tolist()}
        missing = [row for row in self.options.rows if row not in known]
        return [f"row {row} is not among the training samples labelled wrong" for row in missing]

    def _caption(self, look: Look, shown: Sequence[Shown]) -> str:
        if not shown:
            return "Nothing is corrected: there is nothing to compare."
        why = (
            "The rows asked for."
            if self.options.rows
            else "The corrected samples of whose Grad-CAM map the largest share moved: the clearest cases, not typical ones."
        )
        return (
            f"{why} Grad-CAM at {look.layer}, of the original for the label first given, and of the perturbed image for the true "
            "label; each map is scaled to a largest value of 1, the difference is after minus before. Perturbations are magnified "
            "as stated, around gray."
        )
