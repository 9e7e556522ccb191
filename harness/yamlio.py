"""YAML with positions: YAML 1.2, duplicate keys refused, every key's and value's line and column known."""

from __future__ import annotations

import re
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from harness.errors import SpecError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

Location = tuple[str | int, ...]
Place = tuple[int, int]

DEEPEST = 30
MOST_ENTRIES = 100_000  # aliases of aliases can make gigabytes of a few lines

_CORE_TAGS = {f"tag:yaml.org,2002:{kind}" for kind in ("str", "int", "float", "bool", "null", "seq", "map")}
_DATE_TAG = "tag:yaml.org,2002:timestamp"
_FORBIDDEN = re.compile("[\x00-\x08\x0b-\x1f\x7f\ud800-\udfff]")

_EXPLAINED = (
    (r"found character '\\t'", "a tab stands where a line is indented; indent with spaces"),
    (r"found character '(.)'", r'text cannot begin with "\1"; put it in quotes'),
    (
        r"mapping values are not allowed",
        'a ":" stands where none is expected; put text that holds ": " in quotes, or mend the indentation',
    ),
    (r"expected <block end>", "the indentation does not fit the lines above"),
    (r"found another document", 'a second document begins here; expected one a file, without "---" or "..."'),
    (r"undefined alias '(.*)'", r'"*\1" refers to nothing; put text that begins with "*" in quotes'),
    (
        r"unknown escape character '(.)'",
        r'"\\\1" means nothing between double quotes; use single quotes, or write "\\\\"',
    ),
    (r"expected the node content, but found '(.*)'", r'"\1" stands where a value is expected'),
    (
        r"expected alphabetic or numeric",
        'a name is expected after "*" or "&"; put text that begins with them in quotes',
    ),
    (r"expected '<document start>'", "the document ends before this line; mend what stands above"),
    (r"expected (?:URI|' ')|unexpected ':'|undefined tag handle", 'put text that begins with "!" in quotes'),
)


@dataclass(frozen=True)
class Document:
    """Plain data and where each part of it stands in the file."""

    name: str
    data: Any
    keys: Mapping[Location, Place]
    values: Mapping[Location, Place]

    def place(self, location: Location, *, key: bool = False) -> Place:
        """Return line and column of a value, or of its key; of the nearest part around it where it is not in the file."""
        positions = self.keys if key else self.values
        for length in range(len(location), 0, -1):
            place = positions.get(location[:length]) or self.values.get(location[:length])
            if place is not None:
                return place
        return self.values.get((), (1, 1))

    def value(self, location: Location) -> Any:
        """Return the data at a location that the document has."""
        data = self.data
        for part in location:
            data = data[part]
        return data

    def where(self, location: Location, *, key: bool = False) -> str:
        """Return ``file:line:column`` of a value, or of its key; see ``place``."""
        return at_place(self.name, self.place(location, key=key))


def at_place(name: str, place: Place) -> str:
    """Return ``file:line:column``."""
    return f"{name}:{place[0]}:{place[1]}"


def read_yaml(path: Path, *, name: str | None = None) -> Document:
    """Read a file; its data are None where it is empty. Raises ``SpecError``, as ``parse_yaml`` does."""
    shown = name or str(path)
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise SpecError(f"{shown}: is not UTF-8 text (byte {error.start + 1}); save it as UTF-8") from error
    except OSError as error:
        raise SpecError(f"{shown}: cannot be read: {error.strerror}; expected a YAML file") from error
    return parse_yaml(text, name=shown)


def parse_yaml(text: str, *, name: str) -> Document:
    """Parse one YAML 1.2 document of plain data.

    Raises ``SpecError`` with file:line:column where the text is no YAML, or where a mapping has a key twice, a key is
    no text, or a value is tagged, endless or too deep: all of these at once.
    """
    from ruamel.yaml import YAML
    from ruamel.yaml.error import MarkedYAMLError
    from ruamel.yaml.reader import ReaderError

    yaml = YAML(typ="safe", pure=True)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # an anchor that is used again is no one's concern here
            root = yaml.compose(text)
    except MarkedYAMLError as error:
        place, sentence = _explain(error)
        raise SpecError(f"{at_place(name, place)}: is not YAML: {sentence}") from error
    except ReaderError as error:
        place = _place_of(text, error.position)
        raise SpecError(f"{at_place(name, place)}: {_unprintable(error.character)}") from error
    except RecursionError as error:
        raise SpecError(f"{name}: is nested too deeply; expected at most {DEEPEST} levels") from error
    except Exception as error:  # the parser trips over some malformed directives and tags instead of refusing them
        raise SpecError(f"{name}: is not YAML; look for a stray % or ! in it") from error
    reader = _Reader(yaml.constructor)
    data = reader.read(root, ()) if root is not None else None
    if reader.problems:
        raise SpecError("\n".join(f"{at_place(name, place)}: {text}" for place, text in sorted(reader.problems)))
    return Document(name, data, reader.keys, reader.values)


class _Reader:
    """Turns nodes into plain data, and notes where they stand and what is wrong with them."""

    def __init__(self, constructor: Any) -> None:
        self.keys: dict[Location, Place] = {}
        self.values: dict[Location, Place] = {}
        self.problems: list[tuple[Place, str]] = []
        self._constructor = constructor
        self._around: list[Any] = []
        self._entries = 0

    def read(self, node: Any, location: Location) -> Any:
        """Return the node's data; None where something is wrong with it."""
        place = _one_based(node.start_mark)
        self.values[location] = place
        self._entries += 1
        if node.tag not in _CORE_TAGS | {_DATE_TAG}:
            return self._refuse(place, f'the tag "{_written(node.tag)}" is not understood here; remove it')
        if node.id == "scalar":
            return self._scalar(node, place)
        if any(node is other for other in self._around):
            return self._refuse(place, "contains itself; write it out instead of an alias")
        if len(self._around) >= DEEPEST:
            return self._refuse(place, f"is nested too deeply; expected at most {DEEPEST} levels")
        if self._entries > MOST_ENTRIES:
            return self._refuse((1, 1), f"has more than {MOST_ENTRIES:,} entries once its aliases are written out")
        self._around.append(node)
        data = self._mapping(node, location) if node.id == "mapping" else self._sequence(node, location)
        self._around.pop()
        return data

    def _refuse(self, place: Place, problem: str) -> None:
        if (place, problem) not in self.problems:
            self.problems.append((place, problem))

    def _sequence(self, node: Any, location: Location) -> list[Any]:
        return [self.read(item, (*location, index)) for index, item in enumerate(node.value)]

    def _mapping(self, node: Any, location: Location) -> dict[str, Any]:
        data: dict[str, Any] = {}
        for key_node, value_node in node.value:
            place = _one_based(key_node.start_mark)
            key = self._key(key_node, place)
            if key is None:
                continue
            here = (*location, key)
            if key in data:
                line = self.keys[here][0]
                self._refuse(place, f'the key "{key}" stands twice in one mapping, first in line {line}; keep one')
                continue
            self.keys[here] = place
            data[key] = self.read(value_node, here)
            if value_node.value == "" and data[key] is None:
                self.values[here] = place  # the parser says that nothing stands where the next thing does
        return data

    def _key(self, node: Any, place: Place) -> str | None:
        if node.id == "scalar" and node.value == "<<":
            problem = 'the merge key "<<" is not understood here; write the keys out'
        elif node.id != "scalar":
            problem = f"expected a name as key, got {'a list' if node.id == 'sequence' else 'a mapping'}"
        elif node.tag != "tag:yaml.org,2002:str":
            got = f"{node.value}; put it in quotes" if node.value else "nothing"
            problem = f"expected a name as key, got {got}"
        else:
            key = self._scalar(node, place)
            return key if isinstance(key, str) else None
        self._refuse(place, problem)
        return None

    def _scalar(self, node: Any, place: Place) -> Any:
        forbidden = _FORBIDDEN.search(node.value)
        if forbidden:
            return self._refuse(place, _unprintable(ord(forbidden[0])))
        if node.tag == _DATE_TAG:
            return node.value  # a name such as 2026-11-22 means what it says
        try:
            return self._constructor.construct_object(node)
        except (ValueError, KeyError):
            return self._refuse(place, _unreadable(node))


def _unreadable(node: Any) -> str:
    if node.value.isdigit():
        return f"got a number of {len(node.value):,} digits, expected a shorter one"
    return f'"{node.value}" does not read as {_written(node.tag)}; remove the tag or mend the value'


def _explain(error: Any) -> tuple[Place, str]:
    """Return where a syntax error is, and what it is in the words of someone who writes YAML but not parsers."""
    problem, context = str(error.problem or error.context), str(error.context)
    mark = error.problem_mark or error.context_mark
    place = _one_based(mark) if mark else (1, 1)
    opened = _one_based(error.context_mark) if error.context_mark else place
    if "quoted scalar" in context and "unexpected" in problem:
        return opened, "the quote that opens here is not closed"
    if "could not find expected ':'" in problem:
        return opened, 'expected "key: value"; the colon is missing'
    flow = re.match(r"expected ',' or '(.)'", problem)
    if flow:
        what = "list" if flow[1] == "]" else "mapping"
        begun = f"line {opened[0]}, column {opened[1]}"
        return place, f'expected "," or "{flow[1]}", for the {what} that opens in {begun} is not closed'
    for pattern, sentence in _EXPLAINED:
        found = re.search(pattern, problem)
        if found:
            return place, found.expand(sentence)
    return place, " ".join(problem.replace("'", '"').split())


def _one_based(mark: Any) -> Place:
    return mark.line + 1, mark.column + 1


def _place_of(text: str, position: int) -> Place:
    before = text[:position]
    return before.count("\n") + 1, position - (before.rfind("\n") + 1) + 1


def _unprintable(code_point: int) -> str:
    return f"holds the character U+{code_point:04X}, which cannot be printed; remove it"


def _written(tag: str) -> str:
    """Return a tag as it is written in a file: ``!!set`` is short for YAML's own."""
    return str(tag).replace("tag:yaml.org,2002:", "!!")
