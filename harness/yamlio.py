"""YAML with positions: YAML 1.2, duplicate keys refused, every key's and value's line and column known."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from harness.errors import SpecError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

Location = tuple[str | int, ...]


@dataclass(frozen=True)
class Document:
    """Plain data and where each part of it stands in the file."""

    name: str
    data: Any
    keys: Mapping[Location, tuple[int, int]]
    values: Mapping[Location, tuple[int, int]]

    def where(self, location: Location, *, key: bool = False) -> str:
        """Return ``file:line:column`` of a value, or of its key; of the nearest part around it where it is not in the file."""
        positions = self.keys if key else self.values
        for length in range(len(location), -1, -1):
            place = positions.get(location[:length]) or self.values.get(location[:length])
            if place is not None:
                return f"{self.name}:{place[0]}:{place[1]}"
        return self.name


def read_yaml(path: Path, *, name: str | None = None) -> Document:
    """Read a file. Raises ``SpecError`` with file:line:column where it is no YAML 1.2 mapping or has a key twice."""
    shown = name or str(path)
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise SpecError(f"{shown}: is not UTF-8 text (byte {error.start}); save it as UTF-8") from error
    except OSError as error:
        raise SpecError(f"{shown}: cannot be read: {error.strerror}") from error
    return parse_yaml(text, name=shown)


def parse_yaml(text: str, *, name: str) -> Document:
    """Parse YAML text; see ``read_yaml``."""
    from ruamel.yaml import YAML
    from ruamel.yaml.constructor import DuplicateKeyError
    from ruamel.yaml.error import MarkedYAMLError, YAMLError

    yaml = YAML(typ="rt", pure=True)
    try:
        loaded = yaml.load(text)
    except DuplicateKeyError as error:
        raise SpecError(_duplicate_message(error, name)) from error
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"{name}:{mark.line + 1}:{mark.column + 1}" if mark else name
        raise SpecError(f"{where}: is not YAML: {_sentence(error.problem or error.context)}") from error
    except (YAMLError, ValueError) as error:
        raise SpecError(f"{name}: is not YAML: {_sentence(str(error))}") from error
    keys: dict[Location, tuple[int, int]] = {}
    values: dict[Location, tuple[int, int]] = {(): (1, 1)}
    data = _plain(loaded, (), keys, values, name)
    return Document(name, data, keys, values)


def _duplicate_message(error: Any, name: str) -> str:
    mark = error.problem_mark
    key = str(error.problem).partition('"')[2].partition('"')[0]
    return f'{name}:{mark.line + 1}:{mark.column + 1}: the key "{key}" stands twice in one mapping; keep one of them'


def _sentence(problem: str | None) -> str:
    return " ".join((problem or "it cannot be parsed").split())


def _plain(
    node: Any,
    location: Location,
    keys: dict[Location, tuple[int, int]],
    values: dict[Location, tuple[int, int]],
    name: str,
) -> Any:
    """Turn ruamel's nodes into plain data and note where they stand (1-based)."""
    from ruamel.yaml.comments import CommentedMap, CommentedSeq

    if isinstance(node, CommentedMap):
        plain = {}
        for key, value in node.items():
            line, column = node.lc.key(key)
            here = (*location, str(key))
            if not isinstance(key, str):
                raise SpecError(
                    f"{name}:{line + 1}:{column + 1}: expected a name as key, got {key!r}; put it in quotes"
                )
            keys[here] = (line + 1, column + 1)
            values[here] = _one_based(node.lc.value(key))
            plain[key] = _plain(value, here, keys, values, name)
        return plain
    if isinstance(node, CommentedSeq):
        for index in range(len(node)):
            values[(*location, index)] = _one_based(node.lc.item(index))
        return [_plain(value, (*location, index), keys, values, name) for index, value in enumerate(node)]
    return _scalar(node)


def _one_based(place: tuple[int, int]) -> tuple[int, int]:
    return place[0] + 1, place[1] + 1


def _scalar(node: Any) -> Any:
    """Strip ruamel's decorated scalars down to Python's."""
    for kind in (bool, int, float, str):
        if isinstance(node, kind):
            return kind(node)
    return None if node is None else str(node)
