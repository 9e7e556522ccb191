"""Variants of a spec: one file that describes several experiments, such as a table of a paper whose settings differ by data set.

Each entry of ``variants`` is the spec with some of its keys changed: keys of ``baseline`` and ``adaptation`` one by one, every
other key as a whole. A place in a variant is told as it stands in the file.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from harness.errors import SpecError
from harness.validation import shown
from harness.yamlio import Document

if TYPE_CHECKING:
    from collections.abc import Mapping

    from harness.yamlio import Location, Place

VARIANTS: Final = "variants"
SHARED: Final = ("name", "description")
"""Keys that all variants of a spec share: they make one results folder."""
MERGED: Final = ("baseline", "adaptation")
"""Sections that a variant changes key by key."""


def expand(document: Document) -> list[Document]:
    """Return one document a variant, or the document itself where it has none.

    Raises ``SpecError`` where ``variants`` is no list of mappings, or where one has a key that all share.
    """
    if not isinstance(document.data, dict) or VARIANTS not in document.data:
        return [document]
    variants = document.data[VARIANTS]
    if not isinstance(variants, list) or not variants:
        where = document.where((VARIANTS,))
        raise SpecError(f"{where}: variants: got {shown(variants)}, expected a list of mappings, a variant each")
    return [_variant(document, index, changes) for index, changes in enumerate(variants)]


def _variant(document: Document, index: int, changes: Any) -> Document:
    at: Location = (VARIANTS, index)
    if not isinstance(changes, dict) or not changes:
        expected = "expected a mapping with the keys that differ, such as dataset or models"
        raise SpecError(f"{document.where(at)}: variants[{index}]: got {shown(changes)}, {expected}")
    for key in (*SHARED, VARIANTS):
        if key in changes:
            where = document.where((*at, key), key=True)
            raise SpecError(f'{where}: variants[{index}]: "{key}" is the same for all variants; write it above them')
    data = {key: value for key, value in document.data.items() if key != VARIANTS}
    replaced = []
    for key, value in changes.items():
        if key in MERGED and isinstance(value, dict) and isinstance(data.get(key), dict):
            data[key] = {**data[key], **value}
        else:
            data[key] = value
            replaced.append(key)
    places = [_overlaid(positions, at, replaced) for positions in (document.keys, document.values)]
    return Document(document.name, data, *places)


def _overlaid(positions: Mapping[Location, Place], at: Location, replaced: list[str]) -> dict[Location, Place]:
    """Return where the parts of a variant stand: its own in the variant, the others where they are shared."""
    kept = {
        place: where for place, where in positions.items() if place[:1] not in {(VARIANTS,), *((k,) for k in replaced)}
    }
    own = {place[len(at) :]: where for place, where in positions.items() if place[: len(at)] == at and place != at}
    return kept | own
