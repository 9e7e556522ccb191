"""What is counted of an attack: the images that went through the network, forward and backward."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class PassCount:
    """Images that went through the network, forward and backward."""

    forward: int = 0
    backward: int = 0

    @property
    def total(self) -> int:
        """Both together."""
        return self.forward + self.backward
