"""The checks of classifiers and of data sets: what is built classifies, what is loaded is as the contract has it."""

from __future__ import annotations

import tempfile
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.errors import ContractError, DataError
from harness.testing.checks import CheckFailed, CheckSkipped, check, described, needs
from harness.testing.subject import Subject

if TYPE_CHECKING:
    from torch import nn

    from harness.contract import InputShape

COUNT = 4
CHANNELS, CLASSES, IMAGE_SIZE = 3, 5, 32
SEED = 1


class ClassifierSubject(Subject):
    """An architecture under check, without pretrained weights unless they are among the options given."""

    @cached_property
    def shape(self) -> InputShape:
        """What it is built for: its own image size, or 32 pixels."""
        from harness.contract import InputShape

        loaded: Any = self.loaded
        size = loaded.default_image_size or IMAGE_SIZE
        return InputShape(channels=CHANNELS, image_size=size, num_classes=CLASSES)

    @cached_property
    def built(self) -> nn.Module | Exception:
        """The network, or what building it raised."""
        return self.build()

    def build(self) -> nn.Module | Exception:
        """Build it from a fixed seed."""
        from harness.engine.randomness import isolated_generators

        architecture = self.make()
        # As where a spec gives weights of its own: nothing is downloaded.
        if (
            "pretrained" in type(architecture.options).model_fields
            and "pretrained" not in self.options.model_fields_set
        ):
            architecture.options = architecture.options.model_copy(update={"pretrained": None})
        try:
            with isolated_generators(SEED):
                network: nn.Module = architecture.build(self.shape)
        except Exception as error:  # noqa: BLE001 (a plugin may raise anything)
            return error
        return network

    def network(self) -> nn.Module:
        """Return the network. Raises ``CheckSkipped`` where another check tells that there is none."""
        if isinstance(self.built, Exception):
            raise needs("classifies")
        return self.built


@check("classifier")
def classifies(subject: ClassifierSubject) -> None:
    """Build a network that turns images into finite logits, one for each class."""
    import torch

    subject.check_made()
    network = subject.built
    if isinstance(network, Exception):
        raise CheckFailed(f"raised {described(network)} when built for {subject.shape}; expected a network")
    if not isinstance(network, torch.nn.Module):
        raise CheckFailed(f"built a {type(network).__name__}; expected a torch.nn.Module: return it from build()")
    images = _images(subject)
    try:
        with torch.no_grad():
            logits = network.eval()(images)
    except Exception as error:
        raise CheckFailed(f"raised {described(error)} for images {tuple(images.shape)}; expected logits") from error
    got = tuple(logits.shape) if isinstance(logits, torch.Tensor) else type(logits).__name__
    if got != (COUNT, CLASSES):
        raise CheckFailed(
            f"returns {got} for images {tuple(images.shape)}; expected logits {(COUNT, CLASSES)}: as many as "
            "shape.num_classes"
        )
    if not bool(logits.isfinite().all()):
        raise CheckFailed("returns logits that are not finite; expected finite ones: check its initialization")


@check("classifier")
def gradient_reaches_images(subject: ClassifierSubject) -> None:
    """Have logits whose gradient reaches the images, so that it can be attacked."""
    import torch

    classified = classifies.run(subject)
    if classified.status != "ok":
        raise needs("classifies")
    images = _images(subject).requires_grad_()
    logits = subject.network().eval()(images)
    found = torch.autograd.grad(logits.square().sum(), images, allow_unused=True)[0] if logits.requires_grad else None
    if found is None or not bool((found != 0).any()) or not bool(found.isfinite().all()):
        raise CheckFailed(
            "no finite gradient of its logits reaches the images; expected one: neither detach nor round inside"
        )


@check("classifier")
def same_initial_weights(subject: ClassifierSubject) -> None:
    """Be initialized from torch's generator alone: the same weights for the same seed."""
    from harness.engine.networks import state_version

    if classifies.run(subject).status != "ok":
        raise needs("classifies")
    again = subject.build()
    if isinstance(again, Exception) or state_version(subject.network()) != state_version(again):
        raise CheckFailed(
            "has other weights when built again from the same seed; expected the same: draw from torch's generator, which "
            "the harness seeds"
        )


@check("dataset")
def loads(subject: Subject) -> None:
    """Load uint8 images (N, C, H, W) and int64 labels (N,), train and test, that fit each other and the classes."""
    from harness.data import describe_data
    from harness.resolved import ResolvedDataset, ResolvedPlugin
    from harness.store import Store

    subject.check_made()
    provider = ResolvedPlugin(subject.plugin, subject.options)
    dataset = ResolvedDataset(subject.plugin.name, provider, None)
    with tempfile.TemporaryDirectory() as folder:
        try:
            describe_data(dataset, subject.manager, Store(Path(folder)))
        except ContractError as error:
            raise CheckFailed(f"{error}: convert the arrays in load()") from error
        except DataError as error:
            raise CheckSkipped(f"needs its files: {error}") from error
        except Exception as error:
            raise CheckFailed(
                f"raised {described(error)}; expected data, or a DataError that names the file and what to do"
            ) from error


def _images(subject: ClassifierSubject) -> Any:
    import torch

    from harness.engine.randomness import generator

    shape = subject.shape
    size = (COUNT, shape.channels, shape.image_size, shape.image_size)
    return torch.randn(size, generator=generator("conformance-images"))


CLASSIFIER_CHECKS = (classifies, gradient_reaches_images, same_initial_weights)
DATASET_CHECKS = (loads,)
