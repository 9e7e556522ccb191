"""A page of the documentation of which a part is written by machine, between two comments."""

from __future__ import annotations

import re
from pathlib import Path

PAGE = Path(__file__).resolve().parents[2] / "docs" / "performance.md"


def page_for(saved, asked=None):
    """Return the page that a saved file is to fill: the one ``asked`` for, or the repository's.

    Ends the process where that would show what was tried out in small.
    """
    if asked is not None:
        return Path(asked)
    if any(one["extra_info"].get("small") for one in saved["benchmarks"]):
        raise SystemExit(
            f"measured with HARNESS_BENCH_SMALL=1, whose figures mean nothing: {PAGE.name} is left as it was"
        )
    return PAGE


def filled(text, block, *, part):
    """Return a page's text with ``block`` between a part's markers. Raises ``ValueError`` where they do not stand there once."""
    begin, end = f"<!-- {part} -->", f"<!-- /{part} -->"
    found, times = re.subn(f"({begin}\n).*?({end})", lambda at: f"{at[1]}\n{block}\n\n{at[2]}", text, flags=re.DOTALL)
    if times != 1:
        raise ValueError(f'expected "{begin}" and "{end}" once, in this order')
    return found
