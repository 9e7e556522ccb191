"""Validate what a file holds, and turn pydantic's findings into sentences: what, where, got, expected, next step."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from harness.errors import did_you_mean
from harness.faults import (
    allowed_values,
    corrected_places,
    faults_of,
    field_at,
    is_nullable,
    keys_of,
    model_at,
    relevant,
    takes_fractions,
)
from harness.yamlio import Document, at_place

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from pydantic import BaseModel, ValidationError

    from harness.faults import Fault
    from harness.yamlio import Location, Place

    ModelT = TypeVar("ModelT", bound=BaseModel)

LONGEST = 60
LONGEST_LISTING = 150

_TYPES = {
    "string_type": "text",
    "string_sub_type": "text",
    "bool_type": "true or false",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "int_parsing": "a whole number",
    "int_parsing_size": "a whole number",
    "bool_parsing": "true or false",
    "float_type": "a number",
    "float_parsing": "a number",
    "finite_number": "a finite number",
    "list_type": "a list",
    "tuple_type": "a list",
    "set_type": "a list",
    "frozen_set_type": "a list",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "path_type": "a path",
    "none_required": "nothing",
}
_BOUNDS = {
    "greater_than": ("gt", "greater than"),
    "greater_than_equal": ("ge", "of at least"),
    "less_than": ("lt", "less than"),
    "less_than_equal": ("le", "of at most"),
}
_LENGTHS = {"too_short": ("min_length", "at least"), "too_long": ("max_length", "at most")}


@dataclass(frozen=True)
class Finding:
    """What is wrong at a place (line, column) of a file: one line of text, ``file:line:column: …``."""

    place: Place
    text: str


def parse(model: type[ModelT], data: object) -> ModelT:
    """Validate plain data by their YAML types: "5" is no number, and true is no 1. Raises ``ValidationError``."""
    return model.model_validate_json(json.dumps(data), strict=True)


def describe(
    error: ValidationError,
    document: Document,
    at: Location,
    *,
    model: type[BaseModel],
    beside: Iterable[str] = (),
    owner: str = "",
) -> list[Finding]:
    """Return what is wrong, ``file:line:column: key: got …, expected …``, in the order of the file.

    ``at`` is where the data validated by ``model`` stand in the document, ``beside`` what keys they may have that are
    not the model's, ``owner`` whose they are, to be said at the end of each line.
    """
    told = _sentences(error, document, at, model=model, beside=beside)
    return [
        Finding(place, f"{at_place(document.name, place)}: {sentence}{owner and f' ({owner})'}")
        for place, sentence in told
    ]


def option_faults(error: ValidationError, given: Mapping[str, Any], *, model: type[BaseModel]) -> list[str]:
    """Return what is wrong with options that stand in no file, ``eps: got "wide", expected a number``, in the order given."""
    places = {location: (1, column) for column, location in enumerate(_locations(given))}
    document = Document("", given, places, places)
    return [sentence for _, sentence in _sentences(error, document, (), model=model, noun="option")]


def shown(value: Any) -> str:
    """Show a value as the user wrote it, shortened and on one line."""
    if isinstance(value, str):
        escaped = value.replace("\n", r"\n").replace("\t", r"\t")
        text = f'"{escaped}"'
    elif value is None:
        text = "nothing"
    elif isinstance(value, bool):
        text = str(value).lower()
    elif isinstance(value, dict):
        text = "a mapping" if value else "an empty mapping"
    elif isinstance(value, list | tuple):
        text = "a list" if value else "an empty list"
    else:
        text = str(value)
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"


def dotted(location: Sequence[str | int]) -> str:
    """Show a location as ``correctors[2].steps``."""
    text = ""
    for part in location:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def alternatives(names: Sequence[str]) -> str:
    """Return ``a``, ``a or b``, ``a, b or c``."""
    return " or ".join(filter(None, (", ".join(names[:-1]), names[-1])))


def _sentences(
    error: ValidationError,
    document: Document,
    at: Location,
    *,
    model: type[BaseModel],
    beside: Iterable[str] = (),
    noun: str = "key",
) -> list[tuple[Place, str]]:
    """Return what is wrong, and where, in the order of the document."""
    faults = relevant(faults_of(error, document, at))
    by_location: dict[Location, list[Fault]] = {}
    for fault in faults:
        by_location.setdefault(fault.location, []).append(fault)
    describer = _Describer(model, sorted(beside), corrected_places(faults, model, at, beside), noun)
    told = []
    for location, group in by_location.items():
        sentence = describer.sentence(group)
        if sentence:
            told.append((document.place(location, key=group[0].kind == "extra_forbidden"), sentence))
    return sorted(told, key=lambda one: one[0])


def _locations(data: object, at: Location = ()) -> Iterator[Location]:
    """Yield where something stands in plain data, the whole first."""
    yield at
    parts = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list | tuple) else ()
    for part, value in parts:
        yield from _locations(value, (*at, part))


class _Describer:
    """Makes the sentences about one model's data; ``noun`` is what a key of them is called."""

    def __init__(self, model: type[BaseModel], beside: Sequence[str], corrected: set[Location], noun: str) -> None:
        self.model = model
        self.beside = beside
        self.corrected = corrected
        self.noun = noun

    def sentence(self, group: Sequence[Fault]) -> str | None:
        """Return what is wrong at one location; None where another line says it."""
        fault = group[0]
        *around, last = fault.location or ("",)
        inside = f"{dotted(around)}: " if around else ""
        if fault.kind == "extra_forbidden":
            return f"{inside}{self._unknown(str(last), fault.path)}"
        if fault.kind == "missing":
            if fault.location in self.corrected:
                return None
            return f'{inside}the {self.noun} "{last}" is missing{self._wanted(fault.path)}'
        here = f"{dotted(fault.location)}: " if fault.location else ""
        if fault.kind in {"value_error", "assertion_error"}:
            text = str(fault.context["error"])
            return f"{here}got {shown(fault.given)}, {text}" if text.startswith("expected") else f"{here}{text}"
        expected, hint = self._expected(group)
        if hint and len(expected) > LONGEST_LISTING:  # the one that was meant is enough
            return f"{here}got {shown(fault.given)}{hint}"
        return f"{here}got {shown(fault.given)}, expected {expected}{hint}"

    def _unknown(self, key: str, path: Location) -> str:
        model = model_at(self.model, path[:-1])
        known = sorted([*keys_of(model), *(self.beside if len(path) == 1 else ())])
        expected = f"; expected {alternatives(known)}" if known else f"; no {self.noun} is expected here"
        return f"unknown {self.noun} {shown(key)}{did_you_mean(key, known) or expected}"

    def _wanted(self, path: Location) -> str:
        field = field_at(self.model, path)
        description = (field.description or "") if field else ""
        if not description:
            return ""
        begin = description[0] if description[1:2].isupper() else description[0].lower()
        return f"; expected {begin}{description[1:].removesuffix('.')}"

    def _expected(self, group: Sequence[Fault]) -> tuple[str, str]:
        """Return what would have been right, of several kinds where there is a choice, and a hint."""
        given = group[0].given
        literals = [option for fault in group for option in allowed_values(fault)]
        others = [self._kind(fault) for fault in group if not allowed_values(fault)]
        if "a number" in others:
            others = [kind for kind in others if kind != "a whole number"]
        hint = did_you_mean(given, literals) if isinstance(given, str) else ""
        if not hint and "a list" in others and isinstance(given, str | int | float) and not isinstance(given, bool):
            hint = f"; write [{given}]" if len(shown(given)) < LONGEST else ""
        field = field_at(self.model, group[0].path)
        null = ["null"] if field is not None and field.default is not None and is_nullable(field) else []
        return alternatives(list(dict.fromkeys([*literals, *others, *null]))), hint

    def _kind(self, fault: Fault) -> str:
        if fault.kind in {"float_type", "float_parsing"} and takes_fractions(field_at(self.model, fault.path)):
            return "a number or a fraction such as 8/255"
        if fault.kind in _TYPES:
            return _TYPES[fault.kind]
        if fault.kind in _BOUNDS:
            bound, words = _BOUNDS[fault.kind]
            return f"a number {words} {str(fault.context[bound]).removesuffix('.0')}"
        if fault.kind in _LENGTHS:
            bound, words = _LENGTHS[fault.kind]
            count = fault.context[bound]
            return f"{words} {count} {'entry' if count == 1 else 'entries'}"
        if fault.kind == "string_pattern_mismatch":
            return f"text that fits the pattern {fault.context['pattern']}"
        return re.sub(r"^Input should (be|have) (a valid )?", "", fault.message)
