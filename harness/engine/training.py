"""The training loop of the baseline and of every adapter: the best checkpoint by validation, resumable at any one."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import torch

from harness.engine.averaging import Average
from harness.engine.networks import last_linear
from harness.engine.randomness import derive_seed, isolated_generators, seed_torch
from harness.errors import HarnessError
from harness.store import Artifact

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from torch import Tensor, nn

    from harness.adapting import WeightAveraging
    from harness.budget import Training
    from harness.engine.networks import PixelClassifier
    from harness.store import Partial


class DivergedError(HarnessError):
    """A loss that is no longer finite."""


class Task(Protocol):
    """What is trained, a step at a time."""

    def losses(self, step: int) -> dict[str, Tensor]:
        """Return the named loss terms of a step; their sum is minimized."""

    def trained(self, step: int) -> Iterable[nn.Parameter] | None:
        """Return the parameters that a step changes, None for all."""

    def validate(self, network: PixelClassifier) -> float:
        """Return the validation accuracy in [0, 1] of the network, or of an average of it."""

    def diagnostics(self) -> dict[str, float]:
        """Return figures to record beside the losses of the last step."""


@dataclass(frozen=True)
class Fit:
    """What a loop leaves: the state of the best checkpoint, its step, and what was recorded at each.

    ``seconds``: how long the steps up to each checkpoint took, without the validations.
    """

    best_state: dict[str, Tensor]
    best_step: int
    history: list[dict[str, Any]]
    seconds: list[float]


def validated_steps(steps: int, validations: int) -> list[int]:
    """Return the steps after which to validate: evenly spaced, the last one always."""
    count = min(validations, steps)
    return [round(steps * (number + 1) / count) for number in range(count)]


class Trainer:
    """Minimize a task's losses over the parameters of a network (and of an adapter's own modules)."""

    def __init__(
        self,
        network: PixelClassifier,
        task: Task,
        training: Training,
        *,
        steps: int,
        validate_after: Sequence[int],
        seed: int,
        extra_modules: Mapping[str, nn.Module],
        averaging: WeightAveraging | None = None,
        partial: Partial | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> None:
        self.network = network
        self.task = task
        self.training = training
        self.steps = steps
        self.validate_after = set(validate_after)
        self.seed = seed
        self.partial = partial
        self.progress = progress or _no_progress
        self.trained = torch.nn.ModuleDict({"network": network, **extra_modules})
        self.parameters = [parameter for parameter in self.trained.parameters() if parameter.requires_grad]
        self.optimizer = _optimizer(training, self._groups())
        self.average = Average(network, averaging, steps=steps) if averaging else None
        self.history: list[dict[str, Any]] = []
        self.best_state: dict[str, Tensor] = {}
        self.best_step, self.best_accuracy = 0, -1.0
        self.seconds: list[float] = []
        self._chosen = False
        self._sums: dict[str, Tensor] = {}
        self._since = 0

    def fit(self) -> Fit:
        """Run the loop to its end. Raises ``DivergedError`` when a loss is not finite."""
        first = self._resume()
        self._since_when = time.perf_counter()
        with isolated_generators(derive_seed(self.seed, "fit")):
            for step in range(first, self.steps):
                self._step(step)
                if step + 1 in self.validate_after:
                    self._checkpoint(step + 1)
        for parameter in self.parameters:
            parameter.requires_grad_()
        return Fit(self.best_state, self.best_step, self.history, self.seconds)

    def _groups(self) -> list[dict[str, Any]]:
        """Return the parameters with their learning rates' factors: the backbone may have one of its own."""
        factor = self.training.backbone_lr_factor
        if factor == 1:
            return [{"params": self.parameters, "factor": 1.0}]
        head = last_linear(self.network)
        slow = {id(parameter) for parameter in self.network.parameters()}
        slow -= {id(parameter) for parameter in (head.parameters() if head else ())}
        return [
            {"params": [one for one in self.parameters if id(one) not in slow], "factor": 1.0},
            {"params": [one for one in self.parameters if id(one) in slow], "factor": factor},
        ]

    def _step(self, step: int) -> None:
        # Dropout and its like draw from the global generator: seeded a step at a time, a resumed loop draws the same.
        seed_torch(derive_seed(self.seed, "step", step))
        for group in self.optimizer.param_groups:
            group["lr"] = self._learning_rate(step) * group["factor"]
        self._choose(step)
        losses = self.task.losses(step)
        for parameter in self.parameters:
            parameter.grad = None
        torch.stack(list(losses.values())).sum().backward()  # type: ignore[no-untyped-call]
        if self.training.clip_norm is not None:
            torch.nn.utils.clip_grad_norm_(self.parameters, self.training.clip_norm)
        self.optimizer.step()
        if self.average is not None:
            self.average.update(self.network, step)
        for name, value in losses.items():
            self._sums[name] = self._sums.get(name, torch.zeros((), device=value.device)) + value.detach()
        self._since += 1

    def _choose(self, step: int) -> None:
        """Freeze what a step leaves as it is: no gradient is computed for it, and no momentum moves it."""
        chosen = self.task.trained(step)
        if chosen is None and not self._chosen:
            return
        self._chosen = chosen is not None
        kept = None if chosen is None else {id(parameter) for parameter in chosen}
        for parameter in self.parameters:
            parameter.requires_grad_(kept is None or id(parameter) in kept)

    def _learning_rate(self, step: int) -> float:
        if self.training.schedule == "constant":
            return self.training.lr
        return self.training.lr * 0.5 * (1 + math.cos(math.pi * step / self.steps))

    def _checkpoint(self, step: int) -> None:
        losses = {name: float(value) / self._since for name, value in self._sums.items()}
        self._sums, self._since = {}, 0
        if not all(map(math.isfinite, losses.values())):
            shown = ", ".join(f"{name} {value:g}" for name, value in losses.items())
            raise DivergedError(
                f"the loss is not finite by step {step} ({shown}); try a learning rate below {self.training.lr:g}"
            )
        self.seconds.append((self.seconds[-1] if self.seconds else 0.0) + time.perf_counter() - self._since_when)
        diagnostics = self.task.diagnostics()
        network = (self.average.network if self.average else None) or self.network
        valid = self.task.validate(network)
        # What is kept of averaged weights is an average: a checkpoint before there is one is no candidate.
        candidate = self.average is None or network is not self.network
        point = {"step": step, "valid": valid, "losses": losses, "diagnostics": diagnostics}
        self.history.append({**point, "candidate": candidate})
        if candidate and valid > self.best_accuracy:
            self.best_accuracy, self.best_step = valid, step
            self.best_state = {name: value.detach().clone() for name, value in network.state_dict().items()}
        self.progress(step, self.steps)
        if self.partial is not None and self.partial.due():
            self._save(step)
        self._since_when = time.perf_counter()

    def _save(self, step: int) -> None:
        assert self.partial is not None  # noqa: S101 (the caller checked; this tells the type checker)
        tensors = {f"trained.{name}": value for name, value in self.trained.state_dict().items()}
        tensors |= {f"best.{name}": value for name, value in self.best_state.items()}
        for index, state in self.optimizer.state_dict()["state"].items():
            tensors |= {
                f"optimizer.{index}.{name}": torch.as_tensor(value)
                for name, value in state.items()
                if value is not None
            }
        if self.average is not None:
            tensors |= {f"average.{name}": value for name, value in self.average.model.state_dict().items()}
        best = {"best_step": self.best_step, "best_accuracy": self.best_accuracy}
        meta = {"step": step, **best, "history": self.history, "seconds": self.seconds}
        self.partial.save("training", Artifact({name: value.cpu() for name, value in tensors.items()}, meta))

    def _resume(self) -> int:
        """Continue from the newest checkpoint, if there is one; returns the first step to do."""
        saved = self.partial.load("training") if self.partial is not None else None
        if saved is None:
            return 0
        self.trained.load_state_dict(_under("trained.", saved.tensors))
        device = next(self.network.parameters()).device
        self.best_state = {name: value.to(device) for name, value in _under("best.", saved.tensors).items()}
        if self.average is not None:
            self.average.model.load_state_dict(_under("average.", saved.tensors))
        state: dict[int, dict[str, Tensor]] = {}
        for name, value in _under("optimizer.", saved.tensors).items():
            index, _, field = name.partition(".")
            state.setdefault(int(index), {})[field] = value
        self.optimizer.load_state_dict({**self.optimizer.state_dict(), "state": state})
        self.best_step, self.best_accuracy = saved.meta["best_step"], saved.meta["best_accuracy"]
        self.history = list(saved.meta["history"])
        self.seconds = list(saved.meta["seconds"])
        return int(saved.meta["step"])


def _no_progress(_done: int, _total: int) -> None:
    """Tell nobody."""


def _optimizer(training: Training, parameters: list[dict[str, Any]]) -> torch.optim.Optimizer:
    if training.optimizer == "sgd":
        return torch.optim.SGD(parameters, training.lr, training.momentum, weight_decay=training.weight_decay)
    kind = torch.optim.Adam if training.optimizer == "adam" else torch.optim.AdamW
    return kind(parameters, training.lr, weight_decay=training.weight_decay)


def _under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
