"""A plugin package whose attacks and adapters break in every way: a third party's, as the harness must survive it."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import ClassVar

from harness.api import Adapter, Attack, Capabilities, NoOptions, Options, hookimpl


@hookimpl
def harness_attacks():
    return {
        "raising": "broken_plugins:Raising",
        "exiting": "broken_plugins:Exiting",
        "escaping": "broken_plugins:Escaping",
        "deadly": "broken_plugins:Deadly",
        "deadly-once": "broken_plugins:DeadlyOnce",
        "talkative": "broken_plugins:Talkative",
        "missing": "broken_plugins:Missing",
    }


@hookimpl
def harness_adapters():
    return {"mended": "broken_plugins:Mended"}


class Harmless(Attack[NoOptions]):
    """Return the images as they are."""

    capabilities = Capabilities(norm="linf", targeted=True, untargeted=True, gradients=False)

    def run(self, classifier, images, criterion):
        return images.clone()


class Raising(Harmless):
    """Raise."""

    def run(self, classifier, images, criterion):
        raise ZeroDivisionError("the step is zero")


class Exiting(Harmless):
    """Exit, as a script may."""

    def run(self, classifier, images, criterion):
        raise SystemExit(3)


class Escaping(Harmless):
    """Leave the bounds."""

    def run(self, classifier, images, criterion):
        return images + 2


class Deadly(Harmless):
    """Kill the process."""

    def run(self, classifier, images, criterion):
        os.kill(os.getpid(), signal.SIGKILL)


class Talkative(Harmless):
    """Print."""

    def run(self, classifier, images, criterion):
        print("talking to myself")  # noqa: T201 (what libraries do)
        return images.clone()


class MarkerOptions(Options):
    marker: Path


class DeadlyOnce(Attack[MarkerOptions]):
    """Kill the process unless a file is there."""

    capabilities = Harmless.capabilities

    def run(self, classifier, images, criterion):
        if not self.options.marker.exists():
            self.options.marker.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return images.clone()


class Mended(Adapter[MarkerOptions]):
    """Fail until a file is there."""

    capabilities: ClassVar = Adapter.capabilities

    def losses(self, source, target):
        if not self.options.marker.exists():
            raise FileNotFoundError("no marker")
        return {"loss": source.logits.square().mean()}
