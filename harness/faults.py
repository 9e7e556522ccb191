"""What pydantic finds wrong with data: which part of a document each finding is about, and which field of the model."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, get_args

from harness.errors import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pydantic import BaseModel, ValidationError
    from pydantic.fields import FieldInfo

    from harness.yamlio import Document, Location

_OPTION = re.compile(r"'((?:[^'\\]|\\.)*)'|([^\s,']+)")


class KeyFaultError(ValueError):
    """What a validator of a whole mapping finds wrong with one of its keys: its message then stands at that key's value."""

    def __init__(self, key: str, text: str) -> None:
        super().__init__(text)
        self.key = key


@dataclass(frozen=True)
class Fault:
    """One of pydantic's findings: ``path`` is its location, ``location`` the part of it that the document knows."""

    kind: str
    path: Location
    location: Location
    given: Any
    context: dict[str, Any]
    message: str


def faults_of(error: ValidationError, document: Document, at: Location) -> list[Fault]:
    """Return the findings about data that stand at ``at`` in a document, branches of unions included."""
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
        faults.append(Fault(finding["type"], path, location, given, context, finding["msg"]))
    return faults


def relevant(faults: Sequence[Fault]) -> list[Fault]:
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


def corrected_places(
    faults: Iterable[Fault], model: type[BaseModel], at: Location, beside: Iterable[str]
) -> set[Location]:
    """Return where misspelt keys would stand if they were spelt right: what is missing there is said already."""
    corrected = set()
    for fault in faults:
        if fault.kind == "extra_forbidden":
            known = [*keys_of(model_at(model, fault.path[:-1])), *(beside if fault.location[:-1] == at else ())]
            near = did_you_mean(str(fault.location[-1]), known)
            if near:
                corrected.add((*fault.location[:-1], near.split('"')[1]))
    return corrected


def allowed_values(fault: Fault) -> list[str]:
    """Return the values that a literal or an enumeration allows, as pydantic lists them."""
    if fault.kind not in {"literal_error", "enum"}:
        return []
    found = _OPTION.findall(str(fault.context["expected"]))
    return [quoted or bare for quoted, bare in found if quoted or bare != "or"]


def keys_of(model: type[BaseModel] | None) -> list[str]:
    """Return the keys that a model takes, none where there is no model."""
    return [field.alias or name for name, field in model.model_fields.items()] if model is not None else []


def model_at(model: type[BaseModel], path: Sequence[str | int]) -> type[BaseModel] | None:
    """Return the model of the mapping at a path; None where no model describes it."""
    if not path:
        return model
    field = field_at(model, path)
    return _model_in(field.annotation) if field is not None else None


def field_at(model: type[BaseModel], path: Sequence[str | int]) -> FieldInfo | None:
    """Return the field at a path, through lists and unions."""
    current: type[BaseModel] | None = model
    field = None
    for part in path:
        if isinstance(part, str) and current is not None and part in current.model_fields:
            field = current.model_fields[part]
            current = _model_in(field.annotation)
    return field


def is_nullable(field: FieldInfo) -> bool:
    """Whether null may be written for a field that may be left out."""
    return not field.is_required() and type(None) in get_args(field.annotation)


def takes_fractions(field: FieldInfo | None) -> bool:
    """Whether a fraction such as 8/255 may be written for a field."""
    from harness.contract import parse_fraction

    def among(annotation: Any, metadata: Iterable[Any]) -> bool:
        own = any(getattr(entry, "func", None) is parse_fraction for entry in metadata)
        return own or any(among(part, getattr(part, "__metadata__", ())) for part in get_args(annotation))

    return field is not None and among(field.annotation, field.metadata)


def _model_in(annotation: Any) -> type[BaseModel] | None:
    from pydantic import BaseModel

    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((model for part in get_args(annotation) if (model := _model_in(part)) is not None), None)
