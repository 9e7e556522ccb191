"""Classifiers: build a network from an architecture plugin or a user's function, load weights, normalize inside."""

from __future__ import annotations

import hashlib
import inspect
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.catalogue import IMAGENET, Normalization
from harness.errors import ContractError, DataError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from torch import nn

    from harness.data import DataDescription
    from harness.engine.networks import PixelClassifier
    from harness.manager import Manager
    from harness.resolved import ResolvedModel


@dataclass(frozen=True)
class Input:
    """How a classifier sees a data set's images."""

    channels: int
    image_size: int
    num_classes: int
    normalization: Normalization


def input_of(model: ResolvedModel, data: DataDescription, dataset_normalization: Normalization | None) -> Input:
    """Return the input of a model on a data set. Raises ``DataError`` where they do not fit."""
    image_size = model.image_size or data.height
    if model.image_size is None and data.height != data.width:
        raise DataError(
            f'model "{model.name}": the images are {data.height}x{data.width}, not square; give the model an image_size'
        )
    own = dataset_normalization or data.own_normalization
    normalization = model.normalization if isinstance(model.normalization, Normalization) else own
    if normalization == IMAGENET and data.channels != len(IMAGENET.mean):
        normalization = own
    if len(normalization.mean) not in {1, data.channels} or len(normalization.std) not in {1, data.channels}:
        raise DataError(
            f'model "{model.name}": normalization has {len(normalization.mean)} means and {len(normalization.std)} stds, '
            f"the images have {data.channels} channels; give one per channel"
        )
    return Input(data.channels, image_size, len(data.classes), normalization)


def model_identity(model: ResolvedModel, shape: Input, manager: Manager) -> dict[str, Any]:
    """Return what a content key holds of a classifier: its making, its weights by content, its input."""
    identity: dict[str, Any] = {
        "architecture": model.architecture.identity() if model.architecture else None,
        "weights": _file_digest(model) if model.weights else None,
        "trained": model.trained,
        "channels": shape.channels,
        "image_size": shape.image_size,
        "num_classes": shape.num_classes,
        "normalization": shape.normalization.model_dump(mode="json"),
    }
    if model.factory is not None:
        identity["factory"] = _factory_digest(model, shape)
    elif model.architecture is not None:
        architecture: Any = manager.load(model.architecture.plugin)(model.architecture.options)
        identity["pretrained"] = architecture.pretrained_source()
    return identity


def build_network(model: ResolvedModel, shape: Input, manager: Manager, *, seed: int) -> PixelClassifier:
    """Build a classifier: initialized from ``seed``, or with its weights. Raises ``DataError`` where weights do not fit."""
    from harness.engine.networks import PixelClassifier
    from harness.engine.randomness import derive_seed, isolated_generators
    from harness.weights import load_into, read_state_dict

    with isolated_generators(derive_seed("initialization", seed)):
        net = _net(model, shape, manager)
    if model.weights is not None:
        load_into(net, read_state_dict(model.weights), path=model.weights, new_head=not model.trained)
    network = PixelClassifier(
        net, mean=shape.normalization.mean, std=shape.normalization.std, num_classes=shape.num_classes
    )
    _check_output(network, shape, model.name)
    return network


def _net(model: ResolvedModel, shape: Input, manager: Manager) -> nn.Module:
    from harness.contract import InputShape
    from harness.weights import build_from_factory

    if model.factory is not None:
        return build_from_factory(model.factory, folder=model.folder, num_classes=shape.num_classes)
    assert model.architecture is not None  # noqa: S101 (a resolved model has one or the other)
    architecture: Any = manager.load(model.architecture.plugin)(model.architecture.options)
    net: nn.Module = architecture.build(
        InputShape(channels=shape.channels, image_size=shape.image_size, num_classes=shape.num_classes)
    )
    return net


def _check_output(network: PixelClassifier, shape: Input, name: str) -> None:
    """Pass two gray images: a network that does not fit the data says so here and not in the middle of a run."""
    import torch

    from harness.engine.networks import modes_kept

    images = torch.full((2, shape.channels, shape.image_size, shape.image_size), 0.5)
    seen = f"({', '.join(map(str, images.shape))})"
    with modes_kept(network), torch.no_grad():
        network.eval()
        try:
            logits = network(images)
        except Exception as error:
            raise DataError(
                f'model "{name}": cannot classify images {seen}: {type(error).__name__}: {_first_line(error)}; '
                "check image_size and the data set's channels"
            ) from error
    if not isinstance(logits, torch.Tensor) or logits.shape != (2, shape.num_classes):
        got = tuple(logits.shape) if isinstance(logits, torch.Tensor) else type(logits).__name__
        raise ContractError(
            f'model "{name}": returns {got} for images {seen}, expected logits (2, {shape.num_classes}): one per class'
        )


def _first_line(error: Exception) -> str:
    lines = str(error).splitlines()
    return lines[0] if lines else "no message"


def _file_digest(model: ResolvedModel) -> str:
    assert model.weights is not None  # noqa: S101 (the caller checked)
    with model.weights.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _factory_digest(model: ResolvedModel, shape: Input) -> dict[str, str]:
    """Identify a user's function by what it builds from one fixed seed: its layers' code, structure, weights and answers.

    The answers tell apart what the files do not: a constant that is read from a module beside them.
    """
    from harness.engine.randomness import derive_seed, isolated_generators
    from harness.weights import build_factory, build_from_factory, weights_digest

    assert model.factory is not None  # noqa: S101 (the caller checked)
    with isolated_generators(derive_seed("factory")):
        net = build_from_factory(model.factory, folder=model.folder, num_classes=shape.num_classes)
        weights, answers = weights_digest(net.state_dict()), _answers(net, shape)
    return {
        "code": _code_digest([build_factory(model.factory, folder=model.folder), *map(type, net.modules())]),
        "structure": hashlib.sha256(repr(net).encode()).hexdigest(),
        "weights": weights,
        "answers": answers,
    }


def _answers(net: nn.Module, shape: Input) -> str:
    """Return the sha256 of what a network makes of fixed random images, in train and in eval mode; why not, where it cannot."""
    import torch

    generator = torch.Generator().manual_seed(0)
    images = torch.rand(4, shape.channels, shape.image_size, shape.image_size, generator=generator)
    digest = hashlib.sha256()
    for training in (True, False):
        try:
            with torch.no_grad():
                logits = net.train(training)(images)
            digest.update(logits.numpy().tobytes())
        except Exception as error:  # noqa: BLE001 (it is told as what does not fit when the network is built for a stage)
            digest.update(type(error).__name__.encode())
    return digest.hexdigest()


def _code_digest(written: Iterable[Any]) -> str:
    """Return the sha256 of the source files of functions and classes, whatever the files are called."""
    files = {file for one in written if (file := _source_file(one)) is not None}
    digests = sorted(hashlib.sha256(Path(file).read_bytes()).hexdigest() for file in files)
    return hashlib.sha256("".join(digests).encode()).hexdigest()


def _source_file(written: Any) -> str | None:
    try:
        return inspect.getsourcefile(written)
    except TypeError:  # what Python was not told the source of, such as a partial function
        return None
