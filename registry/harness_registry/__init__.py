"""What a spec can name, as data: data sets, models, correctors, experiments, suites."""

from __future__ import annotations

from pathlib import Path

from harness.api import hookimpl


@hookimpl
def harness_catalogues() -> list[Path]:
    """Offer this package's folder of cards."""
    return [Path(__file__).parent]
