"""What the one test of all attacks is told of each: quick options, and what it cannot do, with the reason."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Case:
    """How an attack is tried on a toy classifier.

    ``options`` make it quick or fit a toy; ``cannot_correct`` and ``cannot_attack`` say why it changes no label the way that is
    asked (the test then checks that it does not), ``objective`` is what it corrects with.
    """

    options: dict[str, Any] = field(default_factory=dict)
    objective: str = "toward-true"
    select: str = "first-hit"
    cannot_correct: str | None = None
    cannot_attack: str | None = None
