"""The artifact store: one folder per content key, atomic, checksummed; partial results of a stage that was cut off.

Layout: ``<root>/<stage>/<key[:2]>/<key>/{meta.json, tensors.safetensors, <name>.safetensors}`` for finished artifacts, each large
tensor in a file of its own, and ``<root>/partial/<key>/`` for checkpoints inside a stage. ``meta.json`` holds the files' sha256.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.errors import StoreError
from harness.locking import claimed
from harness.tensor_files import SUFFIX, writing

if TYPE_CHECKING:
    from collections.abc import Mapping
    from contextlib import AbstractContextManager

    from torch import Tensor

    from harness.tensor_files import TensorFile

TENSORS = "tensors.safetensors"
META = "meta.json"


@dataclass(frozen=True)
class Artifact:
    """What a stage returns: named tensors, a JSON-able ``meta``, and ``times`` (seconds), which are not reproducible.

    ``files``: those of the tensors that are in files already, all rows written; the store moves these instead of writing them.
    Tensors that the store reads are mapped from its files: many processes share them, and only rows that are used are read.
    """

    tensors: Mapping[str, Tensor] = field(default_factory=dict)
    meta: Mapping[str, Any] = field(default_factory=dict)
    times: Mapping[str, float] = field(default_factory=dict)
    files: Mapping[str, TensorFile] = field(default_factory=dict)


def content_key(*parts: object) -> str:
    """Return the sha256 (64 hexadecimal digits) of JSON-able parts, whatever the order of their mappings."""
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def atomic_write(path: Path, data: bytes) -> None:
    """Write a file so that a reader sees the old content or the new, whatever happens in between.

    Raises ``StoreError`` where it cannot be written.
    """
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        _write_and_rename(path, data)


def _write_and_rename(path: Path, data: bytes) -> None:
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).chmod(0o644)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


class Store:
    """Artifacts by stage and content key under ``root``."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def folder(self, stage: str, key: str) -> Path:
        """Return where an artifact lies or would lie."""
        return self.root / stage / key[:2] / key

    def has(self, stage: str, key: str) -> bool:
        """Whether the artifact is finished; its checksums are verified when it is read."""
        return (self.folder(stage, key) / META).is_file()

    def save(self, stage: str, key: str, artifact: Artifact) -> None:
        """Store a finished artifact; one that another process stored meanwhile is left as it is."""
        target = self.folder(stage, key)
        with writing(target):
            target.parent.mkdir(parents=True, exist_ok=True)
            temporary = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{key[:8]}."))
            try:
                temporary.chmod(0o755)
                _write_artifact(temporary, artifact)
                _rename_unless_there(temporary, target)
            except FileNotFoundError:
                # Another process that stored the same removed the checkpoints of both.
                if not self.has(stage, key):
                    raise
            finally:
                shutil.rmtree(temporary, ignore_errors=True)

    def load(self, stage: str, key: str) -> Artifact:
        """Read an artifact. Raises ``CorruptArtifactError`` when a checksum does not fit."""
        return _read_artifact(self.folder(stage, key))

    def load_meta(self, stage: str, key: str) -> Artifact:
        """Read an artifact without its tensors. Raises ``CorruptArtifactError`` when it is missing or damaged."""
        body = _read_meta(self.folder(stage, key))
        return Artifact({}, body["meta"], body["times"])

    def load_or_discard(self, stage: str, key: str) -> Artifact | None:
        """Read an artifact; one that is missing or damaged is set aside and None comes back."""
        if not self.has(stage, key):
            return None
        try:
            return self.load(stage, key)
        except CorruptArtifactError:
            self.discard(stage, key)
            return None

    def discard(self, stage: str, key: str) -> None:
        """Remove an artifact."""
        shutil.rmtree(self.folder(stage, key), ignore_errors=True)

    def partial(self, key: str, *, every_seconds: float = 20.0) -> Partial:
        """Return the checkpoints of a stage that is under way."""
        return Partial(self.root / "partial" / key, every_seconds=every_seconds)

    def claim(self, key: str) -> AbstractContextManager[bool]:
        """Have a stage and its checkpoints to oneself, once no other process is at it; it may be stored by then."""
        return claimed(self.partial(key).folder)

    def forget(self, key: str) -> None:
        """Remove a stage's checkpoints, unless another process is at it, which will need them or remove them itself."""
        partial = self.partial(key)
        if partial.folder.is_dir():
            with claimed(partial.folder, wait=False) as ours:
                if ours:
                    partial.clear()


class CorruptArtifactError(StoreError):
    """A file whose checksum is not the recorded one."""


class Partial:
    """Checkpoints inside one stage: the newest of each name, kept until the stage is finished."""

    def __init__(self, folder: Path, *, every_seconds: float) -> None:
        self.folder = folder
        self.every_seconds = every_seconds
        self._last = time.monotonic()

    def due(self) -> bool:
        """Whether enough seconds went by since the last checkpoint for the next to cost little."""
        return time.monotonic() - self._last >= self.every_seconds

    def save(self, name: str, artifact: Artifact) -> None:
        """Replace the checkpoint called ``name``."""
        from safetensors.torch import save

        self._last = time.monotonic()
        fields = {"meta": artifact.meta, "times": artifact.times}
        body = json.dumps(fields).encode() + b"\n" + save(_separate(artifact.tensors))
        digest = hashlib.sha256(body).hexdigest()
        atomic_write(self.folder / f"{name}.checkpoint", digest.encode() + b"\n" + body)

    def load(self, name: str) -> Artifact | None:
        """Read a checkpoint; None where there is none or it is damaged."""
        from safetensors.torch import load

        path = self.folder / f"{name}.checkpoint"
        if not path.is_file():
            return None
        digest, _, body = path.read_bytes().partition(b"\n")
        if hashlib.sha256(body).hexdigest().encode() != digest:
            return None
        header, _, tensors = body.partition(b"\n")
        fields = json.loads(header)
        return Artifact(load(tensors), fields["meta"], fields["times"])

    def clear(self) -> None:
        """Remove all checkpoints, and whoever's claim on them: the last thing to do inside one."""
        shutil.rmtree(self.folder, ignore_errors=True)


def _write_artifact(folder: Path, artifact: Artifact) -> None:
    from safetensors.torch import save_file

    digests = {f"{name}{SUFFIX}": file.sha256 for name, file in artifact.files.items()}
    small = {name: tensor for name, tensor in artifact.tensors.items() if name not in artifact.files}
    if small:
        path = folder / TENSORS
        save_file(_separate(small), path)
        digests[TENSORS] = _sha256(path)
    body = {"meta": artifact.meta, "times": artifact.times, "sha256": digests}
    # Without an indent, which Python writes five times slower than its C does the rest: predictions are many.
    text = json.dumps(body, sort_keys=True)
    digest = hashlib.sha256(text.encode()).hexdigest()
    (folder / META).write_bytes(f"{digest}\n{text}\n".encode())
    # Last, so that a file which holds hours of work is still a checkpoint's if anything before this fails.
    for name, file in artifact.files.items():
        shutil.move(file.path, folder / f"{name}{SUFFIX}")


def _separate(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return contiguous tensors on the CPU, each with memory of its own: safetensors refuses tied weights."""
    seen: set[int] = set()
    separate: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        here = tensor.contiguous().cpu()
        separate[name] = here.clone() if (memory := here.untyped_storage().data_ptr()) in seen else here
        seen.add(memory)
    return separate


def _rename_unless_there(temporary: Path, target: Path) -> None:
    """Move a finished folder into place; leave a finished one that is there, replace the rest of a removed one."""
    try:
        temporary.rename(target)
    except OSError:
        if (target / META).is_file():
            return
        shutil.rmtree(target, ignore_errors=True)
        temporary.rename(target)


def _read_artifact(folder: Path) -> Artifact:
    from safetensors.torch import load_file

    body = _read_meta(folder)
    tensors: dict[str, Tensor] = {}
    for name, expected in body["sha256"].items():
        path = folder / name
        if not path.is_file() or _sha256(path) != expected:
            raise CorruptArtifactError(f"{path}: its checksum does not fit")
        tensors |= load_file(path)
    return Artifact(tensors, body["meta"], body["times"])


def _read_meta(folder: Path) -> dict[str, Any]:
    try:
        digest, _, text = (folder / META).read_bytes().partition(b"\n")
    except OSError as error:
        raise CorruptArtifactError(f"{folder}: cannot be read ({error.strerror})") from error
    if hashlib.sha256(text.removesuffix(b"\n")).hexdigest().encode() != digest:
        raise CorruptArtifactError(f"{folder / META}: its checksum does not fit")
    body: dict[str, Any] = json.loads(text)
    return body


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
