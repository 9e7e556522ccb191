"""The controls: the rival explanations that stand as rows in every leaderboard."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, get_args

if TYPE_CHECKING:
    from collections.abc import Mapping

DefaultControl = Literal[
    "none",
    "recalibrate-bn",
    "finetune-target",
    "finetune-source",
    "curriculum",
    "target-to-target",
    "sham",
    "random-subset",
]
FurtherControl = Literal[
    "label-smoothing",
    "logit-variance",
    "ema",
    "swa",
    "adversarial-training",
    "upweight-errors",
    "transferred",
]
Control = DefaultControl | FurtherControl

DEFAULT_CONTROLS: tuple[Control, ...] = get_args(DefaultControl)
ALL_CONTROLS: tuple[Control, ...] = (*DEFAULT_CONTROLS, *get_args(FurtherControl))

TRAINED_ON_TARGET: Mapping[Control, str] = {
    "recalibrate-bn": "recalibrate-bn",
    "finetune-target": "finetune",
    "label-smoothing": "label-smoothing",
    "logit-variance": "logit-variance",
    "ema": "ema",
    "swa": "swa",
    "adversarial-training": "adversarial-training",
    "upweight-errors": "upweight-errors",
}
"""The controls that stand alone and look at T only, each with the plugin of ``harness_adaptation`` that makes it."""

SUBSTITUTES: tuple[Control, ...] = ("sham", "transferred")
"""The controls whose T' holds something else in place of a corrector's samples, kept whatever the classifier says of it."""
