"""What adapters are written against: two domains' batches, what is declared of their use, the loop that they are in.

Nothing here imports torch when it is imported, so that names, options and schemas are listed at once.
"""

from __future__ import annotations

from abc import ABC
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal, Protocol

from harness.contract import Configurable, OptionsT

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from torch import Tensor, nn

Sampling = Literal["shuffled", "class-balanced", "paired"]
"""How a step's samples are drawn.

``shuffled``: shuffled passes over each domain. ``class-balanced``: the same few classes from both domains, as many samples of
each. ``paired``: the same samples from both, half of them corrected ones: ``source[i]`` is ``target[i]`` after correction.
"""

Shrinkage = float | Literal["ledoit-wolf"]
"""How far a covariance is drawn towards a multiple of the identity: a share in [0, 1], or Ledoit and Wolf's estimate of it."""


@dataclass(frozen=True, kw_only=True)
class AdapterCapabilities:
    """What an adapter uses.

    ``source``: the source's images or outputs enter its losses (a source-free adapter has False). ``target``: so do the target's.
    ``target_labels``: the target's labels do, or what tells them: which target samples the classifier got wrong, which corrected
    sample belongs to which original. ``sampling``: how its batches are drawn; what is not ``shuffled`` uses labels.
    """

    source: bool = True
    target: bool = True
    target_labels: bool = False
    sampling: Sampling = "shuffled"

    def __post_init__(self) -> None:
        if not self.source and not self.target:
            raise ValueError("source=False and target=False: expected an adapter to use one domain at least")
        if self.sampling != "shuffled" and not self.target_labels:
            raise ValueError(f'sampling="{self.sampling}" draws by labels; expected target_labels=True with it')


@dataclass(frozen=True)
class Outputs:
    """What one forward pass gives: features (N, D) that enter the last linear layer, logits (N, K)."""

    features: Tensor
    logits: Tensor


@dataclass(frozen=True, kw_only=True)
class Batch:
    """One domain's share of a step.

    Images (N, C, H, W) in [0, 1]; labels (N,) or None; features (N, D) and logits (N, K), float32. ``samples`` (N,), int64: their
    places in the domain, in the order of ``Domain.batches``. ``wrong`` (N,), bool: which of them the classifier got wrong in ``T``
    before any correction; None where labels are. ``past``: the outputs (M, ·) of as many earlier batches as the experiment's
    ``queue`` says, detached; M is 0 without one, and grows over the first steps.
    """

    images: Tensor
    labels: Tensor | None
    features: Tensor
    logits: Tensor
    samples: Tensor
    wrong: Tensor | None
    past: Outputs


class Domain(Protocol):
    """A domain's samples, for adapters that own their passes over the data."""

    def __len__(self) -> int:
        """Return the number of samples."""

    def batches(self, batch_size: int) -> Iterable[Tensor]:
        """Yield the images (N, C, H, W, pixels in [0, 1]) in batches of a fixed order."""


class Corrections(Protocol):
    """What a corrector changed: originals, what became of them, true labels. Empty where nothing attacks."""

    def __len__(self) -> int:
        """Return the number of corrected samples."""

    def batches(self, batch_size: int) -> Iterable[tuple[Tensor, Tensor, Tensor]]:
        """Yield originals (N, C, H, W), corrected images (N, C, H, W) and labels (N,) in batches of a fixed order."""


class AdaptedNetwork(Protocol):
    """A classifier as adapters pass images through it: pixels in [0, 1], in the mode that the loop has set."""

    @property
    def head(self) -> nn.Linear | None:
        """The last linear layer, features (N, D) to logits (N, K); None where the network has none."""

    def outputs(self, images: Tensor) -> Outputs:
        """Return the features and logits of images (N, C, H, W)."""


class Loop(Protocol):
    """The training loop that an adapter is in, or the surroundings of one that overrides ``adapt``.

    ``step`` counts from 0; ``steps`` are all, ``steps_per_epoch`` those of a pass over the target. ``shrinkage`` is the
    experiment's for every covariance. Passes through ``network`` move no running statistics. ``corrections`` and ``kept`` (the
    source's samples that are as they were) are None unless ``capabilities.target_labels``.
    """

    step: int
    steps: int
    steps_per_epoch: int
    batch_size: int
    shrinkage: Shrinkage
    has_batch_norm: bool
    network: AdaptedNetwork
    source: Domain
    target: Domain
    corrections: Corrections | None
    kept: Domain | None

    @property
    def progress(self) -> float:
        """How much of the loop is done, in [0, 1)."""

    @property
    def initial(self) -> AdaptedNetwork:
        """The classifier before adaptation, frozen and in eval mode: a copy, made when it is first asked for."""

    def evaluation(self) -> AdaptedNetwork:
        """Return the classifier as it is now, for passes in eval mode without gradients."""

    def validate(self) -> float:
        """Return the validation accuracy in [0, 1] of the classifier as it is now, in ``adapt`` alone.

        How often it was asked for is a remark of the row. Raises ``ContractError`` for an adapter with gradient steps.
        """


@dataclass(frozen=True, kw_only=True)
class WeightAveraging:
    """Average the weights over the steps; what is validated and kept is the average, buffers included.

    ``decay`` in [0, 1) is that of an exponential average, None for equal weights. It begins after the share ``start``, in [0, 1),
    of the steps.
    """

    decay: float | None
    start: float = 0.0


class Adapter(Configurable[OptionsT], ABC):
    """Adapt a classifier from a source domain to a target domain. The harness owns the loop.

    One with gradient steps returns its ``losses``; one without overrides ``adapt``. ``loop`` is set by the harness before
    anything else is asked for. What is remembered from step to step must be a buffer (or parameter) of a module of ``modules()``,
    of one shape: a run that was interrupted goes on with a new instance, and has nothing else of the old one.
    """

    capabilities: ClassVar[AdapterCapabilities] = AdapterCapabilities()
    loop: Loop

    def losses(self, source: Batch, target: Batch) -> dict[str, Tensor]:
        """Return the named loss terms of one step, weighted; their sum is minimized.

        ``target.labels`` is None unless ``capabilities.target_labels``.
        """
        raise NotImplementedError(f"{type(self).__name__} has neither losses() nor adapt()")

    def diagnostics(self, source: Batch, target: Batch) -> dict[str, float]:  # noqa: ARG002 (a default)
        """Return finite figures to record beside the losses, at each validation, of the last step's batches, without gradients.

        ``X-noise-floor`` is shown beside ``X``. A figure that means nothing for these batches is left out.
        """
        return {}

    def modules(self, num_features: int, num_classes: int) -> Mapping[str, nn.Module]:  # noqa: ARG002 (a default)
        """Return modules of its own by name: what is trained along, such as a discriminator, and buffers that last over steps.

        They are kept at checkpoints, and a run that was interrupted goes on with them. Names have no full stop.
        """
        return {}

    def remarks(self, num_features: int, num_classes: int) -> Iterable[str]:  # noqa: ARG002 (a default)
        """Return what a reader of its rows must know, such as a setting in which its loss means nothing.

        May raise ``HarnessError`` where it cannot work at all: the cell fails with that reason before its first step.
        """
        return ()

    def prepare(self, images: Tensor, labels: Tensor) -> Tensor:  # noqa: ARG002 (a default)
        """Return the source's images (N, C, H, W) as they are to enter the network; as they are by default.

        It is asked before a step's passes, with the network in eval mode.
        """
        return images

    def trained(self, network: nn.Module) -> Iterable[nn.Parameter] | None:  # noqa: ARG002 (a default)
        """Return the parameters, of ``network`` and of its own modules, that this step changes: one at least; None for all."""
        return None

    def weight_averaging(self) -> WeightAveraging | None:
        """Return how the weights are averaged; None for not at all."""
        return None

    def adapt(self, network: nn.Module, source: Domain, target: Domain) -> Mapping[str, float] | None:
        """Change ``network`` (pixels to logits, in eval mode) in place without gradient steps; returns figures to record."""
        raise NotImplementedError

    @classmethod
    def takes_gradient_steps(cls) -> bool:
        """Whether the harness's training loop is used: true unless ``adapt`` is overridden."""
        return cls.adapt is Adapter.adapt
