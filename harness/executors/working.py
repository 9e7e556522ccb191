"""What a worker does, whichever process it is in."""

from __future__ import annotations

import sys
import traceback
from contextlib import redirect_stdout
from typing import TYPE_CHECKING

import torch

from harness.errors import HarnessError
from harness.executors import Outcome, StageFailure, WorkerSettings
from harness.manager import Manager
from harness.stages.context import Workshop
from harness.stages.execute import execute
from harness.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable

    from harness.stages.stage import Stage


def open_workshop(settings: WorkerSettings, manager: Manager | None = None) -> Workshop:
    """Set the process up: threads, device, plugins."""
    torch.set_num_threads(settings.threads)
    if settings.device == "cuda":
        torch.backends.cudnn.benchmark = False
        torch.backends.cudnn.deterministic = True
        # The verdict is float32's; TensorFloat-32 rounds it to ten bits of mantissa.
        torch.backends.cudnn.allow_tf32 = False
        torch.backends.cuda.matmul.allow_tf32 = False
    return Workshop(
        Store(settings.store),
        manager or Manager.discover(),
        torch.device(settings.device),
        checkpoint_seconds=settings.checkpoint_seconds,
    )


def work(stage: Stage, workshop: Workshop, progress: Callable[[int, int], None]) -> Outcome:
    """Run a stage; what it raises becomes a failure with a sentence. What it prints goes to stderr."""
    try:
        with redirect_stdout(sys.stderr):
            execute(stage, workshop, progress)
    except HarnessError as error:
        return Outcome(stage.key, StageFailure(str(error), error.exit_code, traceback.format_exc()))
    except (Exception, SystemExit) as error:  # noqa: BLE001 (plugins may raise anything, and even exit; the other cells go on)
        return Outcome(stage.key, StageFailure(_sentence(error), 1, traceback.format_exc()))
    return Outcome(stage.key)


def _sentence(error: BaseException) -> str:
    """Say what was raised and in which module, the innermost one that is not torch's."""
    frames = [(frame.f_globals.get("__name__", "?"), line) for frame, line in traceback.walk_tb(error.__traceback__)]
    places = [(module, line) for module, line in frames if module.partition(".")[0] != "torch"] or frames
    module, line = places[-1]
    text = " ".join(str(error).split()) or "no message"
    return f"{type(error).__name__}: {text[:300]} (raised in {module}:{line}; --debug shows the traceback)"
