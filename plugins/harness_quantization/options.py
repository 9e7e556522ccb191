"""The options of static quantization, whatever then computes with the numbers."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from harness.api import Options

Bits = Literal[8, 7]


class StaticInt8Options(Options):
    """How the ranges of activations are told."""

    calibration_images: int = Field(
        default=1000,
        ge=1,
        description="How many training images, drawn at random by the seed, tell the ranges of activations.",
    )
    ranges: Literal["histogram", "minmax"] = Field(
        default="histogram",
        description="What a grid covers: the range of least squared error, which may clip the rarest activations, or all that the "
        "calibration images showed, which is found faster.",
    )


def largest_activation(bits: Bits) -> int:
    """Return the largest integer of an activation of so many bits: 255 or 127."""
    return (1 << bits) - 1
