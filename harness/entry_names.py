"""What an entry of a spec is called in tables where it has no name of its own: after what it changes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from harness.references import Reference

LONGEST_DERIVED_NAME = 80


def derived_name(name: str, reference: Reference) -> str:
    """Name an entry after what it changes, so that two variants are two rows: ``vbi(steps=3)``."""
    changes = reference.inline_options
    for key in ("objective", "select", "keep", "samples"):
        if key in reference.model_fields_set and getattr(reference, key) is not None:
            changes[key] = getattr(reference, key)
    if not changes:
        return name
    derived = f"{name}({', '.join(f'{key}={_written(value)}' for key, value in changes.items())})"
    return derived if len(derived) <= LONGEST_DERIVED_NAME else f"{derived[: LONGEST_DERIVED_NAME - 1]}…"


def _written(value: Any) -> str:
    """Show an option's value as YAML has it."""
    if isinstance(value, dict):
        return f"{{{', '.join(f'{key}: {_written(part)}' for key, part in value.items())}}}"
    if isinstance(value, list):
        return f"[{', '.join(map(_written, value))}]"
    if value is None:
        return "null"
    return str(value).lower() if isinstance(value, bool) else " ".join(str(value).split())
