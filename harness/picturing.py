"""From a figure's artifact to its files in the results folder; or to the reason why there is none."""

from __future__ import annotations

from importlib import metadata
from typing import TYPE_CHECKING, Any

from harness.drawings import DrawingName, DrawingRecord, write_drawing, write_failed_drawing

if TYPE_CHECKING:
    from pathlib import Path

    from harness.cells import Picture
    from harness.store import Store

RECORDED_PACKAGES = ("adcorda-harness", "torch")


def write_picture(picture: Picture, store: Store, results: Path, *, experiment: str) -> None:
    """Write a finished figure's files. Raises ``StoreError`` where its artifact is damaged."""
    made = store.load(picture.stage.kind, picture.key)
    record = _record(
        picture, experiment, caption=made.meta["caption"], numbers=made.meta["numbers"], flags=made.meta["flags"]
    )
    pictures = {f".{kind}": made.tensors[kind].numpy().tobytes() for kind in ("png", "svg")}
    write_drawing(results, record, pictures, [made.meta["columns"], *made.meta["table"]])


def write_failure(picture: Picture, results: Path, *, experiment: str, reason: str) -> DrawingRecord:
    """Write why there is no figure; returns the record."""
    record = _record(picture, experiment, failure=reason)
    write_failed_drawing(results, record)
    return record


def _record(picture: Picture, experiment: str, **found: Any) -> DrawingRecord:
    plugin = picture.asked.figure
    versions = {name: metadata.version(name) for name in RECORDED_PACKAGES}
    versions[plugin.plugin.distribution] = plugin.plugin.version
    return DrawingRecord(
        experiment=experiment,
        key=picture.key,
        name=DrawingName(figure=picture.asked.name, model=picture.model, seed=picture.seed, stem=picture.stem),
        plugin=plugin.plugin.qualified,
        options=plugin.options.model_dump(mode="json"),
        correctors=list(picture.asked.correctors),
        dataset=picture.dataset,
        dpi=picture.asked.dpi,
        versions=versions | (plugin.library.versions if plugin.library else {}),
        **found,
    )
