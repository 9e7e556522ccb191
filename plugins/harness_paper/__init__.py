"""The attacks that AdCorDA corrects with, written for speed: BIM and its variants, DDN, salt and pepper."""

from __future__ import annotations

from harness.api import hookimpl


@hookimpl
def harness_attacks() -> dict[str, str]:
    """Name the paper's attacks."""
    return {
        "bim": "harness_paper.bim:BIM",
        "ddn": "harness_paper.ddn:DDN",
        "salt-and-pepper": "harness_paper.salt_and_pepper:SaltAndPepper",
    }
