"""Pictures that commands write: PNG or SVG by the name of the file, the same bytes each time."""

from __future__ import annotations

from importlib.util import find_spec
from io import BytesIO
from typing import TYPE_CHECKING, Any

from harness.errors import PluginError, UsageError
from harness.store import atomic_write

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from matplotlib.figure import Figure

KINDS = (".png", ".svg")
STYLE: Mapping[str, Any] = {
    "font.size": 8,
    "svg.hashsalt": "adcorda-harness",
    "text.parse_math": False,  # a row may be called "$"
}


def check_drawable(path: Path, *, option: str, modules: Sequence[str], install: str) -> None:
    """Refuse a file that is neither PNG nor SVG (``UsageError``), and drawing without its libraries (``PluginError``)."""
    if path.suffix.lower() not in KINDS:
        raise UsageError(f'{option}: got "{path}", expected a file name that ends in .png or .svg')
    missing = [name for name in modules if find_spec(name) is None]
    if missing:
        names = " and ".join(name.replace("_", "-") for name in missing)
        are = "are" if len(missing) > 1 else "is"
        raise PluginError(f'{option} needs {names}, which {are} not installed; run "{install}"')


def write_picture(path: Path, make: Callable[[], Figure], *, style: Mapping[str, Any], dpi: int) -> None:
    """Write the figure that ``make`` returns, drawn in ``STYLE`` and ``style`` whatever the machine's matplotlibrc says.

    Raises ``StoreError`` where the file cannot be written.
    """
    import matplotlib as mpl

    kind = path.suffix.lower()[1:]
    undated: dict[str, Any] = {"Software": None} if kind == "png" else {"Date": None, "Creator": None}
    picture = BytesIO()
    with mpl.rc_context():
        mpl.rcdefaults()
        settings: Any = mpl.rcParams
        settings.update({**STYLE, **style})
        make().savefig(picture, format=kind, dpi=dpi, bbox_inches="tight", metadata=undated)
    atomic_write(path, picture.getvalue())
