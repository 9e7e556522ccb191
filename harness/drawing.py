"""What figures are written against: pictures of one classifier and of what correctors made of the samples it labels wrong."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, Protocol

from harness.contract import Configurable, OptionsT

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from matplotlib.figure import Figure as Canvas
    from torch import Tensor, nn

TableValue = str | int | float | None
"""What a cell of a drawing's table holds."""


class Perturbed(Protocol):
    """What one corrector made of ``T_w``, the training samples that the classifier labels wrong; N of them, in a fixed order.

    Labels, predictions and verdicts are on the CPU and are the harness's own; images come in batches, since those of a large set
    do not fit in memory.
    """

    @property
    def rows(self) -> Tensor:
        """The samples' rows of the stored training images, int64 (N,)."""

    @property
    def labels(self) -> Tensor:
        """The true labels, int64 (N,)."""

    @property
    def before(self) -> Tensor:
        """The labels that the classifier gives the originals, int64 (N,): all of them wrong."""

    @property
    def after(self) -> Tensor:
        """The labels that it gives the perturbed images, int64 (N,)."""

    @property
    def corrected(self) -> Tensor:
        """Which samples are corrected, bool (N,)."""

    def __len__(self) -> int:
        """Return N, which may be 0."""

    def images(self, places: Tensor) -> tuple[Tensor, Tensor]:
        """Return the originals and the perturbed images (n, C, H, W), pixels in [0, 1], at ``places`` (n,) of the order."""

    def batches(self, batch_size: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield originals and perturbed images (n, C, H, W) in the order, at most ``batch_size`` at once."""


@dataclass(frozen=True, kw_only=True)
class Drawing:
    """A picture, what it shows in words, and the figures behind it.

    ``figure`` is a ``matplotlib.figure.Figure`` made without pyplot, which keeps global state. ``numbers`` are what a reader would
    quote of it (finite); ``table`` is what is plotted, each row with the same columns. ``flags`` are sentences that a reader must
    know.
    """

    figure: Canvas
    caption: str
    numbers: Mapping[str, float] = field(default_factory=dict)
    table: Sequence[Mapping[str, TableValue]] = ()
    flags: tuple[str, ...] = ()


class Figure(Configurable[OptionsT], ABC):
    """Draw something of a classifier and of what correctors made of its ``T_w``.

    The harness saves the picture, in its own style, as PNG and SVG whose bytes depend on nothing but what is drawn.
    ``gradients``: looks at gradients or at layers. Then it gets the full-precision network of a quantized classifier;
    otherwise the quantized twin itself, which decides what is wrong and what is corrected.
    """

    gradients: ClassVar[bool] = False

    @abstractmethod
    def draw(self, network: nn.Module, samples: Mapping[str, Perturbed], classes: Sequence[str]) -> Drawing:
        """Return the drawing. ``samples`` are by corrector, in the spec's order; ``classes`` name the labels.

        ``network`` is a frozen copy in eval mode, pixels (N, C, H, W) in [0, 1] to logits (N, K); ``network.net`` is the
        net itself, without the normalization.
        """
