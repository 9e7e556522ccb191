"""How reports show an experiment's figures: pictures in the page itself, links in Markdown."""

from __future__ import annotations

from base64 import b64encode
from html import escape
from typing import TYPE_CHECKING
from urllib.parse import quote

from harness.drawings import FOLDER, picture_of
from harness.report.markdown import escape as escape_markdown

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from harness.drawings import DrawingRecord

TITLE = "Figures"


def drawings_html(drawings: Sequence[DrawingRecord], results: Path) -> str:
    """Return a section with every figure embedded, or nothing where there are none."""
    if not drawings:
        return ""
    return "\n".join([f"<h2>{TITLE}</h2>", *(part for record in drawings for part in _html(record, results))])


def drawings_markdown(drawings: Sequence[DrawingRecord], results: Path) -> str:
    """Return a section that links the pictures, or nothing where there are none."""
    if not drawings:
        return ""
    parts = [f"\n## {TITLE}\n"]
    for record in drawings:
        title = escape_markdown(record.name.title)
        parts.append(f"### {title}\n")
        if picture_of(results, record) is not None:
            parts.append(f"![{title}]({FOLDER}/{quote(record.name.stem)}.png)\n")
        parts.append("\n".join([*(f"- {escape_markdown(line)}" for line in _lines(record))]) + "\n")
    return "\n".join(parts)


def _html(record: DrawingRecord, results: Path) -> Iterator[str]:
    yield f"<h3>{escape(record.name.title)}</h3>"
    first, *others = _lines(record)
    picture = picture_of(results, record)
    if picture is not None:
        source = f"data:image/png;base64,{b64encode(picture).decode()}"
        yield f'<figure><img src="{source}" alt="{escape(first)}"><figcaption>{escape(first)}</figcaption></figure>'
    else:
        yield f"<p>{escape(first)}</p>"
    if others:
        items = "\n".join(f"<li>{escape(line)}</li>" for line in others)
        yield f"<ul>\n{items}\n</ul>"


def _lines(record: DrawingRecord) -> list[str]:
    """Return the caption and the flags, or why there is no picture."""
    if record.failure is not None:
        return [f"Failed: {record.failure}"]
    return [record.caption, *record.flags]
