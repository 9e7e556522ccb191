"""Write a new plugin package: a working example, its tests, a CI file and a spec that uses it."""

from __future__ import annotations

import keyword
import os
import re
import sys
import tempfile
from dataclasses import dataclass
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING, Literal, get_args

from harness import __version__
from harness.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

PackageKind = Literal["attack", "adapter"]
PACKAGE_KINDS: tuple[PackageKind, ...] = get_args(PackageKind)

LONGEST_NAME = 30  # up to here no line of what is written needs another layout
_NAME = re.compile(r"[a-z][a-z0-9]*(?:-[a-z0-9]+)*")
_WRITTEN_FROM = {
    ".github/workflows/ci.yml": "common/ci.yml",
    ".gitignore": "common/gitignore",
    "README.md": "common/README.md",
    "digits.yaml": "$kind/digits.yaml",
    "pyproject.toml": "common/pyproject.toml",
    "$package/__init__.py": "common/__init__.py",
    "$package/$kind.py": "$kind/$kind.py",
    "$package/py.typed": "common/py.typed",
    "tests/test_$package.py": "$kind/test.py",
}
_TAKEN_CLASSES = frozenset(
    {"Adapter", "AdapterCapabilities", "Attack", "Batch", "Capabilities", "Classifier", "Criterion", "Field"}
    | {"FractionalFloat", "Options", "Sequence", "Tensor", "Ramp", "TowardSecond", "Streams"}
)
"""The names that the templates themselves use where the example's class is named too."""


@dataclass(frozen=True)
class NewPackage:
    """A package to be written: what its plugin is, its name, and ``reference``, by which specs and tests mean it."""

    kind: PackageKind
    name: str
    reference: str

    @property
    def package(self) -> str:
        """The name it is imported by."""
        return self.name.replace("-", "_")

    @property
    def class_name(self) -> str:
        """The name of the example's class."""
        return _class_name(self.name)

    def texts(self) -> Iterator[tuple[str, str]]:
        """Yield each file's path in the package's folder, and its text."""
        words = {
            "kind": self.kind,
            "name": self.name,
            "package": self.package,
            "reference": self.reference,
            "class_name": self.class_name,
            "underline": "=" * len(self.name),
            "version": __version__,
        }
        templates = files(__name__) / "templates"
        for path, source in _WRITTEN_FROM.items():
            template = templates / f"{Template(source).substitute(words)}.template"
            text = template.read_text(encoding="utf-8")
            yield Template(path).substitute(words), Template(text).substitute(words)


def new_package(kind: PackageKind, name: str, *, name_is_taken: bool = False) -> NewPackage:
    """Name a package; where another plugin has its name, its spec and its tests use the longer one.

    Raises ``UsageError`` for a name that cannot be a plugin's, a package's and a class's.
    """
    if not _NAME.fullmatch(name) or len(name) > LONGEST_NAME:
        proposed = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-0123456789")[:LONGEST_NAME].rstrip("-")
        way_out = f'; try "{proposed}"' if proposed and proposed != name else ""
        raise UsageError(
            f'plugin name "{name}": expected lower-case letters, digits and single dashes, beginning with a letter, '
            f"at most {LONGEST_NAME} characters{way_out}"
        )
    reason = _reserved(name, importable_is_fine=name_is_taken)
    if reason:
        raise UsageError(f'plugin name "{name}": {reason}; choose another, such as "my-{name}"')
    return NewPackage(kind, name, f"{name}/{name}" if name_is_taken else name)


def write_package(package: NewPackage, directory: Path) -> list[Path]:
    """Write the package's folder into ``directory``, all of it or nothing; return the files.

    Raises ``UsageError`` where the folder exists, or where it cannot be written.
    """
    folder = directory / package.name
    if os.path.lexists(folder):
        raise UsageError(f'{folder}: exists, and is not overwritten; choose another name or another "--directory"')
    written = []
    try:
        # Beside its place, so that it gets there by one renaming, and is removed with all that is in it should that fail.
        with tempfile.TemporaryDirectory(prefix=f".{package.name}-", dir=directory) as beside:
            whole = Path(beside) / package.name
            for name, text in package.texts():
                path = whole / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text, encoding="utf-8")
                written.append(folder / name)
            whole.rename(folder)
    except OSError as error:
        raise UsageError(f"{folder}: cannot be written: {error.strerror or error}; nothing is left of it") from error
    return written


def _reserved(name: str, *, importable_is_fine: bool) -> str | None:
    """Return why a well-formed name cannot be used, None where it can."""
    package, class_name = name.replace("-", "_"), _class_name(name)
    if keyword.iskeyword(package) or keyword.iskeyword(class_name):
        return "is a word of Python's own"
    if package == "harness" or package.startswith("harness_"):
        return "is kept for the harness's own packages"
    if class_name in _TAKEN_CLASSES:
        return f'its class "{class_name}" would hide one that it is made with'
    # The plugin of that name may be the author's own, who starts anew.
    importable = not importable_is_fine and find_spec(package) is not None
    if importable or package in {*sys.stdlib_module_names, "test", "tests"}:
        return f'its package would hide another "{package}"'
    return None


def _class_name(name: str) -> str:
    return "".join(part.capitalize() for part in name.split("-"))
