"""What plugins are written against: options, capabilities, attacks, architectures, data sets; adapters: ``harness.adapting``.

Nothing here imports torch when it is imported, so that names, options and schemas are listed at once.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from fractions import Fraction
from importlib import metadata
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Generic, Literal, Protocol, TypeVar, get_args, get_origin

from pydantic import BaseModel, BeforeValidator, ConfigDict

from harness import kinds
from harness.tensor_files import scratch_array

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import numpy as np
    from torch import Tensor, nn

Norm = kinds.Norm
"""The norms that a perturbation is measured in."""

Spending = Literal["fixed", "minimal"]
"""Whether an attack spends a given budget of perturbation, or looks for the smallest that suffices."""


class Options(BaseModel):
    """A plugin's options: unknown keys are forbidden, every field is described."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def parse_fraction(value: object) -> object:
    """Turn ``"8/255"`` into a number; leave everything else to pydantic."""
    if isinstance(value, str) and value.count("/") == 1:
        try:
            return float(Fraction(value.replace(" ", "")))
        except (ValueError, ArithmeticError):  # "a/b", "8/0", a fraction beyond a float's range
            return value
    return value


FractionalFloat = Annotated[float, BeforeValidator(parse_fraction)]
"""A float that a spec may also write as a fraction, such as ``8/255``."""


class NoOptions(Options):
    """The options of a plugin that has none."""


OptionsT = TypeVar("OptionsT", bound=Options)


@dataclass(frozen=True, kw_only=True)
class Library:
    """A library that does a plugin's work: its version enters results' keys; ``install`` is the command that brings it.

    ``also`` names other distributions that this plugin's part of it needs.
    """

    distribution: str
    install: str
    also: tuple[str, ...] = ()

    @property
    def version(self) -> str | None:
        """The version that is installed, None where it is not."""
        return _version(self.distribution)

    @property
    def versions(self) -> dict[str, str]:
        """The installed versions of the library and of what else is needed."""
        found = {name: _version(name) for name in (self.distribution, *self.also)}
        return {name: version for name, version in found.items() if version is not None}

    @property
    def missing(self) -> tuple[str, ...]:
        """The distributions that are not installed."""
        return tuple(name for name in (self.distribution, *self.also) if _version(name) is None)


def _version(distribution: str) -> str | None:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


class Configurable(Generic[OptionsT]):
    """A plugin class with typed options: ``class PGD(Attack[PGDOptions])`` sets ``PGD.options_type``.

    ``library`` is set by plugins that hand the work to another distribution.
    """

    options_type: ClassVar[type[Options]] = NoOptions
    library: ClassVar[Library | None] = None

    def __init__(self, options: OptionsT) -> None:
        self.options = options

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        for base in cls.__dict__.get("__orig_bases__", ()):
            arguments = get_args(base)
            if get_origin(base) and arguments and isinstance(arguments[0], type) and issubclass(arguments[0], Options):
                cls.options_type = arguments[0]


@dataclass(frozen=True, kw_only=True)
class Capabilities:
    """What an attack can do, declared so that it need not be tried.

    ``norm`` is the one it bounds or minimizes. ``targeted``: can approach given labels; ``untargeted``: can flee them.
    ``gradients``: needs input gradients. ``stochastic``: draws random numbers. ``budget``: "fixed" where a given perturbation is
    spent, "minimal" where the smallest that suffices is looked for. ``examples``: starts from other images that reach the
    objective, which the harness supplies as ``self.examples``.
    """

    norm: Norm
    targeted: bool
    untargeted: bool
    gradients: bool
    stochastic: bool = False
    budget: Spending = "fixed"
    examples: bool = False


class Classifier(Protocol):
    """The attack's view of a classifier: pixels (N, C, H, W) in ``bounds`` to logits (N, K).

    It is a ``torch.nn.Module`` in eval mode with frozen parameters that normalizes by itself. ``classifier[rows]`` is
    its view for part of the batch: an attack that goes on with some samples alone (``rows``: indices or a mask) queries
    that view, so that the harness knows which sample a query belongs to.
    """

    bounds: tuple[float, float]
    num_classes: int

    def __call__(self, images: Tensor) -> Tensor:
        """Return the logits (N, K) of ``images`` (N, C, H, W)."""

    def __getitem__(self, rows: Tensor) -> Classifier:
        """Return the view for part of the batch."""


class Criterion(Protocol):
    """What an attack drives at; see ``harness.criteria``."""

    @property
    def labels(self) -> Tensor:
        """The labels (N,) to approach or to flee."""

    @property
    def targeted(self) -> bool:
        """Whether they are approached."""

    @property
    def stop_early(self) -> bool:
        """Whether the harness takes the first iterate that is ``met``, so that an attack may stop there."""

    def loss(self, logits: Tensor) -> Tensor:
        """Return the loss (N,) to minimize."""

    def reached(self, logits: Tensor) -> Tensor:
        """Tell per sample (N,) whether the objective itself holds: what a library calls success."""

    def met(self, logits: Tensor) -> Tensor:
        """Tell per sample (N,) whether the harness's goal holds; with ``stop_early`` an attack may stop there."""

    def __getitem__(self, rows: Tensor) -> Criterion:
        """Return the criterion of part of the batch."""


class SampleStreams(Protocol):
    """One random stream per sample, so that a result does not depend on the batch that its sample is in."""

    def uniform(self, shape: Sequence[int]) -> Tensor:
        """Draw (N, *shape) float32 numbers from [0, 1)."""

    def normal(self, shape: Sequence[int]) -> Tensor:
        """Draw (N, *shape) standard normal float32 numbers."""

    def __getitem__(self, rows: Tensor) -> SampleStreams:
        """Return the streams of part of the batch; they advance together with the whole's."""


class Examples(Protocol):
    """Other images that the classifier labels right, for attacks that start from one."""

    def reaching(self, criterion: Criterion) -> tuple[Tensor, Tensor]:
        """Return for each sample an image (N, C, H, W) that reaches its objective, and whether there is one (N,).

        Where there is none, the image is the sample itself. A sample's image does not depend on the batch it is in.
        """


class Attack(Configurable[OptionsT], ABC):
    """An attack algorithm. The criterion says what it drives at; the harness decides success.

    ``random``, and ``examples`` where ``capabilities.examples``, are set by the harness before each batch. An option called
    ``eps`` is a bound in ``capabilities.norm`` that the harness holds the attack to.
    """

    capabilities: ClassVar[Capabilities]
    random: SampleStreams
    examples: Examples

    @abstractmethod
    def run(self, classifier: Classifier, images: Tensor, criterion: Criterion) -> Tensor:
        """Perturb ``images`` (N, C, H, W, in ``classifier.bounds``) to lower ``criterion.loss``; same shape back."""


@dataclass(frozen=True, kw_only=True)
class InputShape:
    """What a classifier is built for: ``channels`` × ``image_size`` × ``image_size`` pixels, ``num_classes`` labels."""

    channels: int
    image_size: int
    num_classes: int


class Architecture(Configurable[OptionsT], ABC):
    """A network architecture.

    ``default_image_size`` and ``default_normalization`` (``"imagenet"``, or None for the data set's own) are used unless a card or
    a spec says otherwise. An option called ``pretrained`` is set to None where a spec gives weights of its own.
    """

    default_image_size: ClassVar[int | None] = None
    default_normalization: ClassVar[str | None] = None

    @abstractmethod
    def build(self, shape: InputShape) -> nn.Module:
        """Return the network, normalized pixels (N, C, H, W) to logits (N, K), initialized with torch's generator."""

    def pretrained_source(self) -> str | None:
        """Name the weights that ``build`` starts from (``"imagenet"``), None for random ones."""
        return None


@dataclass(frozen=True)
class ImageData:
    """A data set: uint8 images (N, C, H, W), int64 labels (N,), class names.

    The arrays may be maps of files (``numpy.memmap``): the harness reads them in pieces and changes nothing.
    """

    train_images: np.ndarray
    train_labels: np.ndarray
    test_images: np.ndarray
    test_labels: np.ndarray
    classes: tuple[str, ...]


class DatasetProvider(Configurable[OptionsT], ABC):
    """Where a data set's images come from.

    ``scratch`` is set by the harness before ``load``: a folder on the store's disk for what ``empty`` does not keep in memory.
    """

    scratch: Path | None = None

    @abstractmethod
    def load(self) -> ImageData:
        """Read the data set. Raises ``DataError`` that names the file, what was wrong and what to do."""

    def empty(self, shape: tuple[int, ...]) -> np.ndarray:
        """Return a uint8 array to fill with images (N, C, H, W): in memory up to 64 MiB, else in a file that goes with it."""
        return scratch_array(shape, self.scratch)

    def listing(self) -> object:
        """Return what tells, without decoding an image, that the files are the same (names, sizes, times), or None.

        The harness keeps decoded images under it; the data's fingerprint is by content all the same.
        """
        return None
