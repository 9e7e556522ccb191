"""Turn pydantic's findings into sentences: what, where, got, expected, next step."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from harness.errors import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pydantic import BaseModel, ValidationError
    from pydantic_core import ErrorDetails

    from harness.yamlio import Document, Location

_WRONG_TYPES = {
    "string_type": "text",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number or a fraction such as 8/255",
    "finite_number": "a finite number",
    "list_type": "a list",
    "tuple_type": "a list",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "model_attributes_type": "a mapping",
    "path_type": "a path",
    "none_required": "nothing",
}
_BOUNDS = {
    "greater_than": ("gt", "greater than"),
    "greater_than_equal": ("ge", "at least"),
    "less_than": ("lt", "less than"),
    "less_than_equal": ("le", "at most"),
}


def describe(
    error: ValidationError, document: Document, at: Location, *, model: type[BaseModel] | None = None
) -> list[str]:
    """Return a line a finding, ``file:line:column: key: got …, expected …``, in the order of the file.

    ``at`` is where the validated part stands in the document; ``model`` names the keys that a misspelt one may have meant.
    """
    lines = []
    for finding in error.errors(include_url=False):
        location = (*at, *_in_document(finding["loc"], document, at))
        is_key = finding["type"] == "extra_forbidden"
        where = document.where(location, key=is_key)
        lines.append((_place(document, location), f"{where}: {_sentence(finding, location, model)}"))
    return [line for _, line in sorted(dict.fromkeys(lines))]


def expected_keys(model: type[BaseModel]) -> list[str]:
    """Return the keys that a mapping validated by ``model`` may have."""
    return [field.alias or name for name, field in model.model_fields.items()]


def shown(value: Any) -> str:
    """Show a value as the user wrote it, shortened."""
    if isinstance(value, str):
        text = f'"{value}"'
    elif value is None:
        text = "nothing"
    elif isinstance(value, bool):
        text = str(value).lower()
    elif isinstance(value, dict):
        text = "a mapping"
    elif isinstance(value, list | tuple):
        text = "a list"
    else:
        text = str(value)
    return text if len(text) <= 60 else f"{text[:57]}…"


def dotted(location: Sequence[str | int]) -> str:
    """Show a location as ``correctors[2].steps``."""
    text = ""
    for part in location:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def _in_document(found: Sequence[str | int], document: Document, at: Location) -> Location:
    """Keep the parts of pydantic's location that are keys or indices of the document; its own tags fall out."""
    kept: Location = ()
    for index, part in enumerate(found):
        here = (*at, *kept, part)
        if here in document.values or index == len(found) - 1:
            kept = (*kept, part)
    return kept


def _place(document: Document, location: Location) -> tuple[int, int]:
    for length in range(len(location), -1, -1):
        if location[:length] in document.values:
            return document.keys.get(location[:length], document.values[location[:length]])
    return (0, 0)


def _sentence(finding: ErrorDetails, location: Location, model: type[BaseModel] | None) -> str:
    kind, given = finding["type"], finding["input"]
    context = finding.get("ctx", {})
    name = dotted(location)
    if kind == "extra_forbidden":
        return unknown_key(str(location[-1]), _keys_around(finding["loc"], model))
    if kind == "missing":
        return f'"{name}" is missing'
    got = f"{name}: got {shown(given)}"
    if kind == "literal_error":
        options = [option.strip(" '") for option in str(context["expected"]).replace(" or ", ",").split(",")]
        return f"{got}, expected one of {', '.join(options)}{did_you_mean(str(given), options)}"
    if kind in _WRONG_TYPES:
        return f"{got}, expected {_WRONG_TYPES[kind]}"
    if kind in _BOUNDS:
        key, words = _BOUNDS[kind]
        return f"{got}, expected a number {words} {context[key]:g}"
    if kind in {"too_short", "string_too_short"}:
        return f"{name}: is empty, expected at least one entry"
    if kind == "value_error":
        return f"{name}: {context['error']}" if name else str(context["error"])
    return f"{got}, expected {finding['msg'][:1].lower()}{finding['msg'][1:]}"


def unknown_key(key: str, known: Iterable[str]) -> str:
    """Say that a mapping has a key it should not have."""
    names = sorted(known)
    expected = f"; expected one of {', '.join(names)}" if names else "; no key is expected here"
    return f'unknown key "{key}"{did_you_mean(key, names)}{expected}'


def _keys_around(found: Sequence[str | int], model: type[BaseModel] | None) -> list[str]:
    """Return the keys allowed beside a forbidden one: those of the model that its location leads to."""
    current: Any = model
    for part in found[:-1]:
        if isinstance(part, str) and current is not None and part in current.model_fields:
            current = _model_in(current.model_fields[part].annotation) or current
    return expected_keys(current) if current is not None else []


def _model_in(annotation: Any) -> type[BaseModel] | None:
    from typing import get_args

    from pydantic import BaseModel

    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((model for part in get_args(annotation) if (model := _model_in(part)) is not None), None)
