"""The controls: the rival explanations that stand as rows in every leaderboard."""

from __future__ import annotations

from typing import Literal, get_args

Control = Literal[
    "none",
    "recalibrate-bn",
    "finetune-target",
    "finetune-source",
    "curriculum",
    "target-to-target",
    "sham",
    "random-subset",
]
ALL_CONTROLS: tuple[Control, ...] = get_args(Control)
