"""What a check of a plugin is, and what comes of it."""

from __future__ import annotations

import sys
from contextlib import redirect_stdout
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from harness.engine.threads import one_thread

if TYPE_CHECKING:
    from collections.abc import Callable

    from harness.kinds import Kind
    from harness.testing.subject import Subject

    SubjectT = TypeVar("SubjectT", bound=Subject)

Status = Literal["ok", "failed", "skipped"]


class CheckFailed(Exception):  # noqa: N818 (a verdict on a plugin, no error of ours)
    """What a plugin did, what was expected, and what to do."""


class CheckSkipped(Exception):  # noqa: N818 (as above)
    """Why a check says nothing of a plugin."""


@dataclass(frozen=True)
class Result:
    """What came of one check; ``message`` says what is wrong, or why nothing was checked."""

    name: str
    title: str
    status: Status
    message: str = ""


@dataclass(frozen=True)
class Check:
    """One rule that plugins of some ``kinds`` keep: a name in kebab-case, the rule as a sentence, how it is told."""

    name: str
    title: str
    kinds: tuple[Kind, ...]
    function: Callable[[Any], None]

    def run(self, subject: Subject) -> Result:
        """Check a plugin."""
        try:
            # What a plugin prints is no result of ours.
            with one_thread(), redirect_stdout(sys.stderr):
                self.function(subject)
        except CheckFailed as failure:
            return Result(self.name, self.title, "failed", str(failure))
        except CheckSkipped as reason:
            return Result(self.name, self.title, "skipped", str(reason))
        return Result(self.name, self.title, "ok")


def check(*kinds: Kind) -> Callable[[Callable[[SubjectT], None]], Check]:
    """Make a check of a function: its name is the function's, its sentence the docstring's first line."""

    def made(function: Callable[[SubjectT], None]) -> Check:
        title = (function.__doc__ or "").strip().partition("\n")[0]
        return Check(function.__name__.replace("_", "-"), title, kinds, function)

    return made


def needs(name: str, why: str = "fails") -> CheckSkipped:
    """Return the reason to skip a check that says nothing while another fails."""
    return CheckSkipped(f'says nothing while "{name}" {why}')


def described(error: BaseException) -> str:
    """Return an exception's class and text on one line."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
