"""The idx format of MNIST and its likes, plain or gzipped (LeCun, Cortes and Burges, http://yann.lecun.com/exdb/mnist)."""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from typing import TYPE_CHECKING

import numpy as np

from harness.api import DataError

if TYPE_CHECKING:
    from pathlib import Path

GZIP_MAGIC = b"\x1f\x8b"
UNSIGNED_BYTES = 0x08


def read_idx(path: Path, *, dims: int) -> np.ndarray:
    """Read unsigned bytes with ``dims`` dimensions from an idx file, whether gzipped or not.

    Raises ``DataError`` for a file that cannot be read, another type, other dimensions or another length than it says.
    """
    content = _content(path)
    header = 4 + 4 * dims
    expected = f"expected an idx file of unsigned bytes with {dims} dimension{'s' if dims > 1 else ''}"
    if len(content) < 4 or content[:2] != b"\0\0":
        raise _damaged(path, f"got a file that begins with {content[:4].hex(' ') or 'nothing'}, {expected}")
    if content[2] != UNSIGNED_BYTES or content[3] != dims:
        raise _damaged(path, f"got type 0x{content[2]:02x} with {content[3]} dimensions, {expected}")
    if len(content) < header:
        raise _damaged(path, f"got {len(content)} bytes, expected a header of {header}")
    shape = struct.unpack(f">{dims}I", content[4:header])
    if len(content) - header != math.prod(shape):
        size = "x".join(map(str, shape))
        raise _damaged(path, f"got {len(content) - header} values, expected {math.prod(shape)} ({size})")
    # a copy, because frombuffer's array cannot be written to
    return np.frombuffer(content, np.uint8, offset=header).reshape(shape).copy()


def _content(path: Path) -> bytes:
    try:
        content = path.read_bytes()
        return gzip.decompress(content) if content.startswith(GZIP_MAGIC) else content
    except (OSError, EOFError, zlib.error) as error:
        raise _damaged(path, f"cannot be read ({error or type(error).__name__})") from error


def _damaged(path: Path, what: str) -> DataError:
    return DataError(f"{path}: {what}; fetch the file again")
