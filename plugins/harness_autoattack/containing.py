"""What pyautoattack 0.2.0 would leave behind in the process, put back: generators, the trace function, its counter."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch
from pyautoattack import checks

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def contained() -> Iterator[None]:
    """Let the library reseed, trace and count inside, and put back what was there.

    Its check for dynamic defences counts calls in a table that it never clears: one such defence, and every classifier
    after it is called one.
    """
    traced, counted = sys.gettrace(), dict(checks.funcs)
    devices = range(torch.cuda.device_count()) if torch.cuda.is_initialized() else ()  # type: ignore[no-untyped-call]
    with torch.random.fork_rng(devices=devices):
        checks.funcs.update(dict.fromkeys(checks.funcs, 0))
        try:
            yield
        finally:
            checks.funcs.update(counted)
            if sys.gettrace() is not traced:
                sys.settrace(traced)
