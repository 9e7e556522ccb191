"""The options of static quantization, whatever then computes with the numbers."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from harness.api import Options


class StaticInt8Options(Options):
    """How the ranges of activations are told."""

    calibration_images: int = Field(
        default=1000, ge=1, description="How many training images, from the first on, tell the ranges of activations."
    )
    ranges: Literal["histogram", "minmax"] = Field(
        default="histogram",
        description="What a grid covers: the range of least squared error, which may clip the rarest activations, or all that the "
        "calibration images showed, which is found faster.",
    )
