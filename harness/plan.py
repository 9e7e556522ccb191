"""From resolved experiments to cells, and from cells to deduplicated stages."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from harness.matrix import SubjectRows
from harness.records import file_stem

if TYPE_CHECKING:
    from collections.abc import Sequence

    from harness.cells import Cell, Picture, Setting
    from harness.data import DataDescription
    from harness.manager import Manager
    from harness.resolved import ResolvedExperiment
    from harness.stages.stage import Stage


@dataclass(frozen=True)
class Plan:
    """The cells of an experiment, in the order of its tables, and its figures."""

    experiment: str
    cells: tuple[Cell, ...]
    pictures: tuple[Picture, ...] = ()

    def stages(self) -> dict[str, Stage]:
        """Return the distinct stages by key, inputs before what reads them."""
        found: dict[str, Stage] = {}
        everything: tuple[Cell | Picture, ...] = (*self.cells, *self.pictures)
        for made in everything:
            for stage in made.stages():
                found.setdefault(stage.key, stage)
        return found


def make_plan(
    variants: Sequence[tuple[ResolvedExperiment, DataDescription]], manager: Manager, setting: Setting
) -> Plan:
    """Expand the matrix and its controls, of each variant of the experiment in turn; then its figures."""
    subjects = [
        SubjectRows(resolved, data=data, manager=manager, setting=setting, model=model, quantizer=quantizer, seed=seed)
        for resolved, data in variants
        for model in resolved.models
        for quantizer in resolved.quantizers
        for seed in resolved.experiment.seeds
    ]
    cells = {cell.key: cell for subject in subjects for cell in subject.cells()}
    pictures = {(picture.stem, picture.key): picture for subject in subjects for picture in subject.pictures()}
    return Plan(variants[0][0].experiment.name, tuple(cells.values()), _told_apart([*pictures.values()]))


def _told_apart(pictures: Sequence[Picture]) -> tuple[Picture, ...]:
    """Name the data set in files' names where variants have several, and part of the key where names are still the same."""
    if len({picture.dataset for picture in pictures}) > 1:
        pictures = [replace(picture, stem=file_stem(picture.dataset, picture.stem)) for picture in pictures]
    # File systems may take "A" and "a" for one name.
    count = Counter(picture.stem.lower() for picture in pictures)
    return tuple(
        replace(picture, stem=f"{picture.stem}--{picture.key[:8]}") if count[picture.stem.lower()] > 1 else picture
        for picture in pictures
    )
