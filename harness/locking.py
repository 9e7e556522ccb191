"""One process at a time: a claim on a folder, which ends with the process that holds it, however that ends."""

from __future__ import annotations

import os
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final

from harness.tensor_files import writing

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LOCK: Final = ".lock"
"""The file in a folder that stands for it: a disk that many machines share locks files, not folders."""


@contextmanager
def claimed(folder: Path, *, wait: bool = True) -> Iterator[bool]:
    """Have a folder to oneself; yields whether that is so, which it always is for those who ``wait`` until others are done.

    The folder is made where it is missing, and goes with the claim where nothing else lies in it. Claims do not nest: a second
    one on the same folder waits for the first. Where the system or the disk has no such lock (Windows, some network disks)
    nobody is kept out. Raises ``StoreError`` where the folder cannot be written.
    """
    try:
        import fcntl  # noqa: F401 (asked here, once)
    except ImportError:
        yield True
        return
    path = folder / LOCK
    handle = _take(path, wait=wait)
    try:
        yield handle is not None
    finally:
        if handle is not None:
            _give_back(handle, path)


def _take(path: Path, *, wait: bool) -> int | None:
    """Return the handle of the locked file, None where another has it. A signal's handler is heard while this waits."""
    import fcntl

    how = fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB
    while True:
        handle = _open(path)
        try:
            fcntl.flock(handle, how)
        except BlockingIOError:
            os.close(handle)
            return None
        except OSError:  # the disk knows no locks
            return handle
        except BaseException:
            os.close(handle)
            raise
        # Who had it removed it, and the next may have made a new one: a lock on what is gone keeps nobody out.
        if _is_there(handle, path):
            return handle
        os.close(handle)


def _open(path: Path) -> int:
    folder = path.parent
    while True:
        with writing(folder):
            folder.parent.mkdir(parents=True, exist_ok=True)
            with suppress(FileExistsError):
                folder.mkdir()
            # Whoever gave it back just now may have removed the folder in between.
            with suppress(FileNotFoundError):
                return os.open(path, os.O_RDWR | os.O_CREAT, 0o644)


def _give_back(handle: int, path: Path) -> None:
    import fcntl

    with suppress(OSError):
        if _is_there(handle, path):
            path.unlink()
        # Closing is not enough where a library forked a process, which has the file open too.
        fcntl.flock(handle, fcntl.LOCK_UN)
    os.close(handle)
    with suppress(OSError):
        path.parent.rmdir()


def _is_there(handle: int, path: Path) -> bool:
    """Whether the open file is still the one at ``path``."""
    try:
        return os.path.samestat(os.fstat(handle), path.stat())
    except OSError:
        return False
