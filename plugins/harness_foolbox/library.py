"""Foolbox itself: its import, its view of a classifier, and the noise that it makes."""

from __future__ import annotations

import logging
import warnings
from contextlib import contextmanager
from importlib import import_module
from typing import TYPE_CHECKING, Any

from harness.api import Library, PluginError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor

    from harness.api import Classifier

LIBRARY = Library(distribution="foolbox", install="pip install 'foolbox>=3.3.4'")


def load() -> Any:
    """Import Foolbox. Raises ``PluginError`` that says how to install it where it is missing."""
    try:
        with warnings.catch_warnings():
            # It imports a SciPy module under a name that SciPy has deprecated.
            warnings.simplefilter("ignore")
            return import_module("foolbox")
    except ModuleNotFoundError as error:
        raise PluginError(f'Foolbox cannot be imported: {error}; run "{LIBRARY.install}"') from error


def model_of(classifier: Classifier, images: Tensor) -> Any:
    """Return Foolbox's view of the classifier, left on the device of ``images``."""
    return load().PyTorchModel(classifier, bounds=classifier.bounds, device=images.device)


@contextmanager
def quiet() -> Iterator[None]:
    """Silence Foolbox's own warnings, and keep it from giving the root logger a handler.

    Some attacks call ``logging.info``, which sets up a handler for the whole process where there is none.
    """
    root, stand_in = logging.getLogger(), logging.NullHandler()
    root.addHandler(stand_in)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module=r"foolbox\.")
            # Raised by torch, but about a call of the spatial attack's.
            warnings.filterwarnings("ignore", message="torch.meshgrid")
            yield
    finally:
        root.removeHandler(stand_in)
