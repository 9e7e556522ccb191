"""Validate what a file holds, and turn pydantic's findings into sentences: what, where, got, expected, next step."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar, get_args

from harness.errors import did_you_mean
from harness.yamlio import at_place

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pydantic import BaseModel, ValidationError
    from pydantic.fields import FieldInfo

    from harness.yamlio import Document, Location, Place

    ModelT = TypeVar("ModelT", bound=BaseModel)

LONGEST = 60

_TYPES = {
    "string_type": "text",
    "string_sub_type": "text",
    "bool_type": "true or false",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
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
_OPTION = re.compile(r"'((?:[^'\\]|\\.)*)'|([^\s,']+)")


class KeyFaultError(ValueError):
    """What a validator of a whole mapping finds wrong with one of its keys: its message then stands at that key's value."""

    def __init__(self, key: str, text: str) -> None:
        super().__init__(text)
        self.key = key


@dataclass(frozen=True)
class Finding:
    """What is wrong at a place (line, column) of a file: one line of text, ``file:line:column: …``."""

    place: Place
    text: str


@dataclass(frozen=True)
class _Fault:
    """One of pydantic's findings: ``path`` is its location, ``location`` the part of it that the document knows."""

    kind: str
    path: Location
    location: Location
    given: Any
    context: dict[str, Any]
    message: str


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
    faults = _relevant(_faults(error, document, at))
    by_location: dict[Location, list[_Fault]] = {}
    for fault in faults:
        by_location.setdefault(fault.location, []).append(fault)
    described = _Describer(model, sorted(beside), _corrected(faults, model, at, beside))
    findings = []
    for location, group in by_location.items():
        sentence = described.sentence(group)
        if sentence:
            place = document.place(location, key=group[0].kind == "extra_forbidden")
            findings.append(Finding(place, f"{at_place(document.name, place)}: {sentence}{owner and f' ({owner})'}"))
    return sorted(findings, key=lambda finding: finding.place)


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


class _Describer:
    """Makes the sentences about one model's data."""

    def __init__(self, model: type[BaseModel], beside: Sequence[str], corrected: set[Location]) -> None:
        self.model = model
        self.beside = beside
        self.corrected = corrected

    def sentence(self, group: Sequence[_Fault]) -> str | None:
        """Return what is wrong at one location; None where another line says it."""
        fault = group[0]
        *around, last = fault.location or ("",)
        inside = f"{dotted(around)}: " if around else ""
        if fault.kind == "extra_forbidden":
            return f"{inside}{self._unknown(str(last), fault.path)}"
        if fault.kind == "missing":
            if fault.location in self.corrected:
                return None
            return f'{inside}the key "{last}" is missing{self._wanted(fault.path)}'
        here = f"{dotted(fault.location)}: " if fault.location else ""
        if fault.kind in {"value_error", "assertion_error"}:
            text = str(fault.context["error"])
            return f"{here}got {shown(fault.given)}, {text}" if text.startswith("expected") else f"{here}{text}"
        expected, hint = self._expected(group)
        return f"{here}got {shown(fault.given)}, expected {expected}{hint}"

    def _unknown(self, key: str, path: Location) -> str:
        model = _model_at(self.model, path[:-1])
        known = sorted([*_keys(model), *(self.beside if len(path) == 1 else ())])
        expected = f"; expected {alternatives(known)}" if known else "; no key is expected here"
        return f"unknown key {shown(key)}{did_you_mean(key, known) or expected}"

    def _wanted(self, path: Location) -> str:
        field = _field_at(self.model, path)
        description = (field.description or "") if field else ""
        if not description:
            return ""
        begin = description[0] if description[1:2].isupper() else description[0].lower()
        return f"; expected {begin}{description[1:].removesuffix('.')}"

    def _expected(self, group: Sequence[_Fault]) -> tuple[str, str]:
        """Return what would have been right, of several kinds where there is a choice, and a hint."""
        given = group[0].given
        literals = [option for fault in group for option in _options(fault)]
        others = [self._kind(fault) for fault in group if not _options(fault)]
        if "a number" in others:
            others = [kind for kind in others if kind != "a whole number"]
        hint = did_you_mean(given, literals) if isinstance(given, str) else ""
        if not hint and "a list" in others and isinstance(given, str | int | float) and not isinstance(given, bool):
            hint = f"; write [{given}]" if len(shown(given)) < LONGEST else ""
        field = _field_at(self.model, group[0].path)
        null = ["null"] if field is not None and field.default is not None and _is_nullable(field) else []
        return alternatives(list(dict.fromkeys([*literals, *others, *null]))), hint

    def _kind(self, fault: _Fault) -> str:
        if fault.kind == "float_type" and _takes_fractions(_field_at(self.model, fault.path)):
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


def _faults(error: ValidationError, document: Document, at: Location) -> list[_Fault]:
    faults = []
    for finding in error.errors(include_url=False):
        path, context = finding["loc"], finding.get("ctx", {})
        location = at
        for part in path[:-1] if finding["type"] == "missing" else path:
            # what the document does not know is pydantic's name for a branch of a union
            location = (*location, part) if (*location, part) in document.values else location
        cause = context.get("error")
        if finding["type"] == "missing":
            location = (*location, path[-1])
        elif isinstance(cause, KeyFaultError):
            location = (*location, cause.key)
        # a fraction that is out of bounds is a number by now
        given = document.value(location) if location in document.values else finding["input"]
        faults.append(_Fault(finding["type"], path, location, given, context, finding["msg"]))
    return faults


def _relevant(faults: Sequence[_Fault]) -> list[_Fault]:
    """Drop what is said of a whole by one branch of a union where another branch finds fault with a part of it."""
    return [
        fault
        for fault in faults
        if not any(
            len(other.location) > len(fault.location)
            and other.location[: len(fault.location)] == fault.location
            and other.path[: len(fault.path) - 1] == fault.path[:-1]
            for other in faults
        )
    ]


def _corrected(faults: Iterable[_Fault], model: type[BaseModel], at: Location, beside: Iterable[str]) -> set[Location]:
    """Return where misspelt keys would stand if they were spelt right: what is missing there is said already."""
    corrected = set()
    for fault in faults:
        if fault.kind == "extra_forbidden":
            known = [*_keys(_model_at(model, fault.path[:-1])), *(beside if fault.location[:-1] == at else ())]
            near = did_you_mean(str(fault.location[-1]), known)
            if near:
                corrected.add((*fault.location[:-1], near.split('"')[1]))
    return corrected


def _options(fault: _Fault) -> list[str]:
    """Return the values that a literal or an enumeration allows, as pydantic lists them."""
    if fault.kind not in {"literal_error", "enum"}:
        return []
    found = _OPTION.findall(str(fault.context["expected"]))
    return [quoted or bare for quoted, bare in found if quoted or bare != "or"]


def _keys(model: type[BaseModel] | None) -> list[str]:
    return [field.alias or name for name, field in model.model_fields.items()] if model is not None else []


def _model_at(model: type[BaseModel], path: Sequence[str | int]) -> type[BaseModel] | None:
    """Return the model of the mapping at a path; None where no model describes it."""
    if not path:
        return model
    field = _field_at(model, path)
    return _model_in(field.annotation) if field is not None else None


def _field_at(model: type[BaseModel], path: Sequence[str | int]) -> FieldInfo | None:
    """Return the field at a path, through lists and unions."""
    current: type[BaseModel] | None = model
    field = None
    for part in path:
        if isinstance(part, str) and current is not None and part in current.model_fields:
            field = current.model_fields[part]
            current = _model_in(field.annotation)
    return field


def _model_in(annotation: Any) -> type[BaseModel] | None:
    from pydantic import BaseModel

    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((model for part in get_args(annotation) if (model := _model_in(part)) is not None), None)


def _is_nullable(field: FieldInfo) -> bool:
    return not field.is_required() and type(None) in get_args(field.annotation)


def _takes_fractions(field: FieldInfo | None) -> bool:
    from harness.contract import parse_fraction

    def among(annotation: Any, metadata: Iterable[Any]) -> bool:
        own = any(getattr(entry, "func", None) is parse_fraction for entry in metadata)
        return own or any(among(part, getattr(part, "__metadata__", ())) for part in get_args(annotation))

    return field is not None and among(field.annotation, field.metadata)
