"""File names made of readable parts, no longer than file systems take."""

from __future__ import annotations

LONGEST_NAME = 200


def file_stem(*parts: str) -> str:
    """Return a file name without its suffix, made of readable parts and no longer than file systems take."""
    return _shortened("--".join(map(_slug, parts)))


def _shortened(text: str) -> str:
    """Keep a file name within what file systems take (255 bytes, of which a temporary name needs some)."""
    return text.encode()[:LONGEST_NAME].decode(errors="ignore")


def _slug(text: str) -> str:
    return "".join(letter if letter.isalnum() or letter in "._" else "-" for letter in text)
