"""How stages are run: in this process, or in worker processes. Results do not depend on which."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from harness.stages.stage import Stage


@dataclass(frozen=True)
class WorkerSettings:
    """What a worker needs to know."""

    store: Path
    device: str
    threads: int
    checkpoint_seconds: float = 20.0


@dataclass(frozen=True)
class StageFailure:
    """Why a stage has no artifact: the sentence for the user, the exit code, the traceback for ``--debug``."""

    reason: str
    exit_code: int
    traceback: str


@dataclass(frozen=True)
class Outcome:
    """A stage that came to its end."""

    key: str
    failure: StageFailure | None = None


@dataclass(frozen=True)
class Progress:
    """How far a stage is."""

    key: str
    done: int
    total: int


class Executor(Protocol):
    """Runs stages whose inputs are stored."""

    capacity: int

    def submit(self, stage: Stage) -> None:
        """Take a stage; at most ``capacity`` are under way."""

    def wait(self, tell: Callable[[Progress], None]) -> Sequence[Outcome]:
        """Return stages that came to their end, and ``tell`` how far others are; an empty answer after a moment without."""

    def close(self, *, now: bool) -> None:
        """End the workers: ``now``, or when they are done."""
