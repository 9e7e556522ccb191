"""Arrays too large for memory: a tensor written to a safetensors file row by row, an array in a file without a name.

Rows go to the file by plain writes and are read back through a map, so that neither is the process's own memory: the kernel writes
them out and drops them as it needs the room.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import tempfile
import weakref
from contextlib import contextmanager, suppress
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final, TypedDict

from harness.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    from torch import Tensor

SUFFIX: Final = ".safetensors"
CHUNK_BYTES: Final = 16 << 20
"""How much of a large array is looked at at once."""
IN_MEMORY_BYTES: Final = 64 << 20
"""Up to this size an array may as well stay in memory."""

_DTYPES: Final = {"uint8": "U8", "float32": "F32"}
_ALIGNMENT: Final = 64  # of the first row in the file, and so in memory: no vector load straddles two cache lines


class Written(TypedDict):
    """How far a file is: what a checkpoint remembers of it. ``sha256`` is that of the header and the rows together."""

    file: str
    rows: int
    sha256: str


class TensorFile:
    """A safetensors file that holds one tensor ``name`` of a known shape (N, …), written from the first row to the last.

    ``rows`` counts those that are written. While it is open nobody else may go on with it: two runs of one stage never write to
    one file. Methods raise ``StoreError`` where the file cannot be written.
    """

    def __init__(self, path: Path, file: BinaryIO, *, name: str, shape: tuple[int, ...], dtype: str) -> None:
        self.path = path
        self.name = name
        self.shape = shape
        self.dtype = dtype
        self.rows = 0
        self._file = file
        self._digest = hashlib.sha256()
        self.close = weakref.finalize(self, file.close)
        """Let go of the file; it happens by itself too, when nobody holds this object any longer."""

    @classmethod
    def create(cls, folder: Path, name: str, shape: tuple[int, ...], dtype: str) -> TensorFile:
        """Begin a file of its own in ``folder``; its space is taken at once, so that a disk too small is told now.

        Files of the same name that a killed process left there are removed.
        """
        with writing(folder):
            folder.mkdir(parents=True, exist_ok=True)
            _remove_abandoned(folder, name)
            handle, temporary = tempfile.mkstemp(dir=folder, prefix=f".{name}.", suffix=".new")
            _lock(handle)
            # Only now may others find it: whatever they find and can lock is abandoned.
            path = Path(temporary).rename(folder / f"{Path(temporary).stem.removeprefix('.')}{SUFFIX}")
            begun = cls(path, os.fdopen(handle, "r+b"), name=name, shape=shape, dtype=dtype)
            try:
                path.chmod(0o644)
                header = begun._header()
                _take_space(handle, len(header) + prod(shape) * _item_bytes(dtype))
                begun._write(header)
            except BaseException:
                path.unlink(missing_ok=True)
                raise
            return begun

    @classmethod
    def resume(
        cls, folder: Path, name: str, shape: tuple[int, ...], dtype: str, written: Written | None
    ) -> TensorFile | None:
        """Go on after the rows that a checkpoint tells of; None where they are not there as they were, or another has them."""
        if written is None:
            return None
        path = folder / written["file"]
        try:
            file = path.open("r+b")
        except OSError:
            return None
        found = cls(path, file, name=name, shape=shape, dtype=dtype)
        if _lock(file.fileno()) and found._advance(written):
            return found
        found.close()
        return None

    def append(self, rows: np.ndarray) -> None:
        """Write the next rows (n, …), of the file's own dtype."""
        import numpy as np

        if rows.shape[1:] != self.shape[1:] or str(rows.dtype) != self.dtype or self.rows + len(rows) > self.shape[0]:
            raise ValueError(f"{rows.dtype} {rows.shape} after {self.rows} rows of {self.dtype} {self.shape}")
        with writing(self.path):
            self._write(np.ascontiguousarray(rows).reshape(-1).view(np.uint8).data)
        self.rows += len(rows)

    def written(self) -> Written:
        """Return how far the file is, for a checkpoint, once that is safe on the disk."""
        with writing(self.path):
            self._file.flush()
            os.fsync(self._file.fileno())
        return {"file": self.path.name, "rows": self.rows, "sha256": self.sha256}

    @property
    def sha256(self) -> str:
        """The checksum of what is written: of the whole file, when all rows are."""
        return self._digest.hexdigest()

    def tensor(self) -> Tensor:
        """Return the rows, all of which must be written, mapped from the file, which may be moved or removed meanwhile."""
        from safetensors.torch import load_file

        if self.rows != self.shape[0]:
            raise ValueError(f"{self.rows} of {self.shape[0]} rows are written")
        self.written()
        tensor: Tensor = load_file(self.path)[self.name]
        return tensor

    def _header(self) -> bytes:
        """Return a safetensors header: its length in 8 bytes, then JSON filled up with spaces."""
        size = prod(self.shape) * _item_bytes(self.dtype)
        entry = {"dtype": _DTYPES[self.dtype], "shape": self.shape, "data_offsets": [0, size]}
        text = json.dumps({self.name: entry}, separators=(",", ":")).encode()
        text += b" " * (-(8 + len(text)) % _ALIGNMENT)
        return len(text).to_bytes(8, "little") + text

    def _write(self, data: bytes | memoryview) -> None:
        self._file.write(data)
        self._digest.update(data)

    def _advance(self, written: Written) -> bool:
        """Go to the end of the rows that are written; whether they are what the checkpoint tells."""
        header, row = self._header(), prod(self.shape[1:]) * _item_bytes(self.dtype)
        if os.fstat(self._file.fileno()).st_size != len(header) + self.shape[0] * row:
            return False
        if self._file.read(len(header)) != header:
            return False
        self._digest.update(header)
        left = written["rows"] * row
        while left and (chunk := self._file.read(min(left, CHUNK_BYTES))):
            self._digest.update(chunk)
            left -= len(chunk)
        self.rows = written["rows"]
        return self.sha256 == written["sha256"]


def scratch_array(shape: tuple[int, ...], folder: Path | None) -> np.ndarray:
    """Return a uint8 array to fill: in memory where it is small, else in a file without a name, in ``folder``.

    The file goes with the array, however the process ends. Without a folder it is where temporary files are, which may be a
    disk in memory. Raises ``StoreError`` where there is no room for it.
    """
    import numpy as np

    if prod(shape) <= IN_MEMORY_BYTES:
        return np.empty(shape, np.uint8)
    with writing(folder or Path(tempfile.gettempdir())):
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:
            # A map that finds no room when it is written to kills the process.
            _take_space(file.fileno(), prod(shape))
            return np.memmap(file, np.uint8, "r+", shape=shape)


def row_chunks(array: np.ndarray) -> Iterator[np.ndarray]:
    """Yield an array (N, …) in pieces (n, …) of ``CHUNK_BYTES`` at most, or of one row."""
    row = max(array.itemsize * prod(array.shape[1:]), 1)
    step = max(CHUNK_BYTES // row, 1)
    for start in range(0, len(array), step):
        yield array[start : start + step]


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Tell which file or folder cannot be written, and why."""
    from safetensors import SafetensorError

    try:
        yield
    except (OSError, SafetensorError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        closed = isinstance(error, OSError) and error.errno in {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR}
        step = "choose" if closed else "free some space or choose"
        raise StoreError(
            f"{path}: cannot be written ({reason}); {step} another folder with --results and --store"
        ) from error


def _item_bytes(dtype: str) -> int:
    import numpy as np

    return np.dtype(dtype).itemsize


def _take_space(handle: int, size: int) -> None:
    """Make a file as large as it will be, with room on the disk where the system can promise that."""
    if hasattr(os, "posix_fallocate") and size:
        os.posix_fallocate(handle, 0, size)
    else:
        os.truncate(handle, size)


def _lock(handle: int) -> bool:
    """Claim a file for as long as it is open; whether nobody else has. The claim goes with the process, however it ends."""
    try:
        import fcntl
    except ImportError:  # no such lock on Windows, where a file that is open cannot be removed
        return True
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _remove_abandoned(folder: Path, name: str) -> None:
    for path in folder.glob(f"{name}.*{SUFFIX}"):
        with suppress(FileNotFoundError), path.open("rb") as file:
            if _lock(file.fileno()):
                path.unlink()
