"""Guard a classifier from the plugin that works on it: a frozen twin, isolated generators, and checks of what comes back.

The plugin never gets the original, so whatever it does cannot reach it; what it did to the twin or to its inputs is told.
"""

from __future__ import annotations

import copy
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, NoReturn

import torch

from harness.engine.compiling import CompiledTwin
from harness.engine.folding import attack_ready, unfolded
from harness.engine.networks import hung_on, state_version
from harness.engine.norms import per_sample_norm
from harness.engine.passes import PassCount
from harness.engine.quantizing import attackable
from harness.engine.randomness import PerSampleStreams, derive_seed, isolated_generators
from harness.errors import ContractError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor

    from harness.engine.iterates import ThreatModel
    from harness.engine.networks import PixelClassifier
    from harness.engine.quantizing import Attackable
    from harness.references import Gradients


class Guard:
    """Stands between a plugin and the classifier; ``what`` is what messages call the plugin: ``attack "bim"``.

    ``judge`` is the quantized twin where that is the subject: the plugin sees its logits, and ``gradients`` says whose gradients.
    Its attribute ``compiled`` is the twin by torch.compile, where that is asked for; ``compiled_passes``: what went through it.
    ``remark``: where the twin is slower than it could be, why.
    """

    def __init__(
        self,
        network: PixelClassifier,
        *,
        what: str,
        threat: ThreatModel,
        seed: int,
        judge: PixelClassifier | None = None,
        gradients: Gradients = "full-precision",
        compiled: bool = False,
    ) -> None:
        self.network = network
        self._is_compiled = compiled
        self.compiled_passes = PassCount()
        self.judge = judge
        self.gradients = gradients
        self.what = what
        self.threat = threat
        self.seed = seed
        self.restore()

    def _attack_ready(self) -> Attackable:
        twin = attack_ready(self.network)
        straight_through = self.judge is not None and self.gradients == "straight-through"
        self.remark = None if straight_through else unfolded(twin)
        return twin if self.judge is None else attackable(twin, copy.deepcopy(self.judge), self.gradients)

    @contextmanager
    def watching(self, images: Tensor, samples: Tensor) -> Iterator[Tensor]:
        """Give a copy of the images (N, C, H, W) to work on, with seeded generators, and look at what was left behind."""
        given = images.clone()
        seed = derive_seed(self.seed, "batch", int(samples[0]), len(samples))
        with isolated_generators(seed), _settings_kept():
            yield given
        if not torch.equal(given, images):
            self.fail("changed the images it was given, in place", "expected them untouched: work on a copy")
        self._check_state()

    def streams(self, images: Tensor, samples: Tensor) -> PerSampleStreams:
        """Open the samples' (N,) random streams."""
        return PerSampleStreams.of(samples, seed=self.seed, device=images.device)

    def checked(self, perturbed: Tensor, images: Tensor) -> Tensor:
        """Return the perturbed images as float32 within the bounds. Raises ``ContractError`` that says what is wrong with them."""
        if not isinstance(perturbed, torch.Tensor):
            self.fail(f"returned a {type(perturbed).__name__}", "return a tensor")
        if perturbed.shape != images.shape:
            self.fail(f"returned the shape {tuple(perturbed.shape)}", f"expected {tuple(images.shape)}")
        if perturbed.dtype != images.dtype:
            self.fail(f"returned {perturbed.dtype}", f"expected {images.dtype}")
        perturbed = perturbed.detach().to(images.device)
        if not bool(torch.isfinite(perturbed).all()):
            self.fail("returned pixels that are not finite", "check its step for a division by zero")
        low, high = self.threat.bounds
        if not bool(self.threat.within_bounds(perturbed).all()):
            lowest, highest = float(perturbed.min()), float(perturbed.max())
            self.fail(f"returned pixels in [{lowest:.6g}, {highest:.6g}]", f"expected them in [{low:g}, {high:g}]")
        perturbed = perturbed.clamp(low, high)
        self._check_eps(perturbed, images)
        return perturbed

    def fail(self, what: str, expected: str) -> NoReturn:
        """Raise ``ContractError``."""
        raise ContractError(f"{self.what} {what}; {expected}")

    def _check_eps(self, perturbed: Tensor, images: Tensor) -> None:
        threat = self.threat
        if threat.eps is None:
            return
        largest = float(per_sample_norm(perturbed - images, threat.norm).max())
        if largest > threat.largest_norm:
            self.fail(
                f"moved a sample by {largest:.6g} in {threat.norm}", f"expected at most its eps, {threat.eps:.6g}"
            )

    def restore_if_changed(self) -> None:
        """Make the twin anew where an attack that was ended could not put back what it had changed, nor take its hooks away."""
        if self._changes() is not None:
            self.restore()

    def restore(self) -> None:
        """Make the twin anew."""
        self.twin = self._attack_ready()
        self.compiled = CompiledTwin(self.twin, self.compiled_passes) if self._is_compiled else None
        self._version = state_version(self.twin)
        self._hung = hung_on(self.twin)

    def _changes(self) -> str | None:
        """Return what of the twin is not as it was."""
        if state_version(self.twin) != self._version:
            return "parameters or buffers"
        if any(module.training for module in self.twin.modules()):
            return "train/eval mode"
        if any(parameter.grad is not None or parameter.requires_grad for parameter in self.twin.parameters()):
            return "parameter gradients"
        return None if hung_on(self.twin) == self._hung else "hooks or forward functions"

    def _check_state(self) -> None:
        what = self._changes()
        if what is None:
            return
        self.restore()
        self.fail(f"changed the classifier's {what}", "expected them as they were: work on a copy")


@contextmanager
def _settings_kept() -> Iterator[None]:
    """Put back what libraries change for the whole process: the gradient mode and the trace function."""
    traced, gradients = sys.gettrace(), torch.is_grad_enabled()
    try:
        yield
    finally:
        torch.set_grad_enabled(gradients)
        if sys.gettrace() is not traced:
            sys.settrace(traced)
