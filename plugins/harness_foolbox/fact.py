"""What is said of one Foolbox attack beside its signature."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from harness.api import Norm


@dataclass(frozen=True, kw_only=True)
class Fact:
    """One attack: the norm it bounds or minimizes, what it can do, and what a user should know."""

    summary: str
    norm: Norm
    targeted: bool = True
    untargeted: bool = True
    gradients: bool = True
    stochastic: bool = True
    examples: bool = False
    needs: tuple[str, ...] = ()
    remark: str | None = None
