"""A node of the plan."""

from __future__ import annotations

from dataclasses import dataclass

from harness.stages.jobs import KIND_OF, Job, StageKind


@dataclass(frozen=True)
class Stage:
    """A job, its content key, and the stages whose artifacts it reads (role to stage)."""

    key: str
    job: Job
    inputs: tuple[tuple[str, Stage], ...]

    @property
    def kind(self) -> StageKind:
        """Which stage of the loop it is."""
        return KIND_OF[type(self.job)]
