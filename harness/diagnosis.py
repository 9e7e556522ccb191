"""What is installed, broken, missing or slow on this machine: what `harness doctor` says."""

from __future__ import annotations

import platform
import re
import time
from dataclasses import dataclass
from importlib import metadata
from typing import TYPE_CHECKING, Literal

from harness.errors import HarnessError
from harness.offers import missing_libraries, offers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from harness.catalogue import CardKind
    from harness.manager import Manager, PluginName, Problem

Verdict = Literal["ok", "note", "broken"]
DISTRIBUTION = "adcorda-harness"


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at; ``remedy``: what to do where it is not well, empty where the message says it or all is."""

    subject: str
    verdict: Verdict
    message: str
    remedy: str = ""


def examine(manager: Manager) -> Iterator[Finding]:
    """Look at Python, packages, plugins, cards, the device and its speed."""
    yield Finding("python", "ok", f"{platform.python_version()} on {platform.system()} {platform.machine()}")
    yield from _packages()
    yield from _plugins(manager)
    yield from _cards(manager)
    yield _torchvision()
    yield from _device()


def required_packages() -> list[str]:
    """Return the packages that this distribution declares to need, extras aside."""
    declared = metadata.requires(DISTRIBUTION) or []
    names = (re.match(r"[A-Za-z0-9._-]+", line) for line in declared if "extra ==" not in line)
    return sorted(found.group() for found in names if found)


def _packages() -> Iterator[Finding]:
    for package in required_packages():
        try:
            yield Finding(package, "ok", metadata.version(package))
        except metadata.PackageNotFoundError:
            yield Finding(package, "broken", "is not installed", f'run "pip install {package}"')


def _plugins(manager: Manager) -> Iterator[Finding]:
    """Load every plugin: a list shows names, only this shows that they work."""
    for problem in manager.problems:
        message = f"{problem.distribution}: {problem.message}"
        yield Finding(f"plugin {problem.package}", "broken", message, _removal(problem))
    names = manager.names()
    broken = 0
    for plugin in names:
        try:
            manager.load(plugin)
        except HarnessError as error:
            broken += 1
            yield Finding(f"{plugin.kind} {plugin.qualified}", "broken", str(error), _removal(plugin))
    for line in missing_libraries(offers(manager)):
        yield Finding("library", "note", line)
    by_name: dict[tuple[str, str], list[str]] = {}
    for plugin in names:
        by_name.setdefault((plugin.kind, plugin.name), []).append(plugin.qualified)
    for (kind, name), claimed in by_name.items():
        if len(claimed) > 1:
            yield Finding(f"{kind} {name}", "note", f"claimed by {' and '.join(claimed)}", "name one of those in specs")
    yield Finding("plugins", "ok", f"{len(names) - broken} of {len(names)} load")


def _removal(source: Problem | PluginName) -> str:
    own = source.distribution == DISTRIBUTION
    return f"install {DISTRIBUTION} again" if own else f'"pip uninstall {source.distribution}" removes it'


def _cards(manager: Manager) -> Iterator[Finding]:
    """Read every card: one that is broken says so, the others are read all the same."""
    from harness.catalogue import Catalogue
    from harness.spec import load_specs

    catalogue = Catalogue(manager.catalogues())
    readers: dict[CardKind, Callable[[str], object]] = {
        "datasets": catalogue.dataset,
        "models": catalogue.model,
        "correctors": catalogue.corrector,
        "suites": catalogue.suite,
        "experiments": lambda name: load_specs(catalogue.experiment(name)),
    }
    read = found = 0
    for kind, reader in readers.items():
        for name in catalogue.paths(kind):
            found += 1
            try:
                reader(name)
                read += 1
            except HarnessError as error:
                yield Finding(f"card {name}", "broken", str(error))
    yield Finding("cards", "ok", f"{read} of {found} can be read")


def _torchvision() -> Finding:
    from harness.engine.torchvision_compat import import_torchvision

    try:
        version = import_torchvision().__version__
    except Exception as error:  # noqa: BLE001 (whatever an installation does wrong is what is asked for)
        return Finding(
            "torchvision",
            "broken",
            f"cannot be imported: {error}",
            "install builds of torch and torchvision that fit each other",
        )
    return Finding("torchvision", "ok", f"{version} can be imported")


def _device() -> Iterator[Finding]:
    import torch

    from harness.launch import available_cores

    if torch.cuda.is_available():
        yield Finding("device", "ok", f"{torch.cuda.get_device_name()}, CUDA {torch.version.cuda}")
    else:
        cores = available_cores()
        yield Finding("device", "note", f"no GPU; {cores} cores", "take small images: 224x224 wants a GPU")
    seconds = _gradient_seconds()
    verdict: Verdict = "ok" if seconds < 1.5 else "note"
    message = f"an input gradient of 20 convolutions, 128 images of 32x32, takes {seconds:.2f} s on one thread"
    yield Finding("speed", verdict, message, "" if verdict == "ok" else "slow: see whether the machine is busy")


def _gradient_seconds() -> float:
    """Time the harness's unit of work on a chain of 20 layers, the best of three."""
    import torch
    from torch import nn

    from harness.engine.threads import one_thread

    layers: list[nn.Module] = [nn.Conv2d(3, 16, 3, padding=1), nn.ReLU()]
    for _ in range(18):
        layers += [nn.Conv2d(16, 16, 3, padding=1), nn.ReLU()]
    net = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 10)).requires_grad_(
        requires_grad=False
    )
    images = torch.zeros(128, 3, 32, 32, requires_grad=True)
    best = float("inf")
    with one_thread():
        for _ in range(3):
            start = time.perf_counter()
            torch.autograd.grad(net(images).sum(), images)
            best = min(best, time.perf_counter() - start)
    return best
