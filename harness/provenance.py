"""Whose code made a result: a version for what is installed from a release, a digest for what is edited in place.

A plugin that is installed with ``pip install -e`` changes without its version. Its source is therefore part of what it makes is
known by, or its author would be served yesterday's results.
"""

from __future__ import annotations

import hashlib
import json
from functools import cache
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


@cache
def edited_source(distribution: str, package: str, parts: tuple[str, ...] = ()) -> str | None:
    """Return the sha256 of a package's files (of some ``parts`` of it) where it is edited in place, else None.

    Tables and templates beside the code count as code: what Python compiles does not.
    """
    if not _is_editable(distribution):
        return None
    digest = hashlib.sha256()
    for root in _roots(package):
        for path in _files(root):
            name = path.relative_to(root) if root.is_dir() else Path(path.name)
            if not parts or name.parts[0] in parts:
                digest.update(f"{name.as_posix()}\0".encode() + path.read_bytes() + b"\0")
    return digest.hexdigest()


def _files(root: Path) -> list[Path]:
    """Return a package's files in a fixed order, or the module itself."""
    if not root.is_dir():
        return [root]
    return sorted(path for path in root.rglob("*") if path.is_file() and "__pycache__" not in path.parts)


def _is_editable(distribution: str) -> bool:
    """Whether a distribution is installed in place, or is none at all but a folder on the path."""
    try:
        text = metadata.distribution(distribution).read_text("direct_url.json")
    except metadata.PackageNotFoundError:
        return True
    return bool(json.loads(text).get("dir_info", {}).get("editable")) if text else False


def _roots(package: str) -> Iterator[Path]:
    """Yield where a package or module lies, without importing it."""
    spec = find_spec(package)
    if spec is None:
        return
    if spec.submodule_search_locations:
        yield from map(Path, spec.submodule_search_locations)
    elif spec.origin:
        yield Path(spec.origin)
