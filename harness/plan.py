"""From resolved experiments to cells, and from cells to deduplicated stages."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

from harness.errors import SpecError
from harness.file_names import file_stem
from harness.matrix import SubjectRows
from harness.rows import RowKey

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from harness.cells import Cell, Picture, Setting
    from harness.data import DataDescription
    from harness.manager import Manager
    from harness.records import CellName
    from harness.resolved import ResolvedExperiment
    from harness.stages.stage import Stage


@dataclass(frozen=True)
class Plan:
    """The cells of an experiment, in the order of its tables, and its figures."""

    experiment: str
    cells: tuple[Cell, ...]
    pictures: tuple[Picture, ...] = ()

    @cached_property
    def datasets(self) -> set[str]:
        """The names of the data sets that its cells are of."""
        return {cell.comparable.dataset for cell in self.cells}

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
    """Expand the matrix and its controls, of each variant of the experiment in turn; then its figures.

    Raises ``SpecError`` where two variants would write one row of one table with different settings.
    """
    subjects = [
        SubjectRows(resolved, data=data, manager=manager, setting=setting, model=model, quantizer=quantizer, seed=seed)
        for resolved, data in variants
        for model in resolved.models
        for quantizer in resolved.quantizers
        for seed in resolved.experiment.seeds
    ]
    cells = {cell.key: cell for subject in subjects for cell in subject.cells()}
    _refuse_clashes(cells.values())
    pictures = {(picture.stem, picture.key): picture for subject in subjects for picture in subject.pictures()}
    return Plan(variants[0][0].experiment.name, tuple(cells.values()), _told_apart([*pictures.values()]))


def _refuse_clashes(cells: Iterable[Cell]) -> None:
    """Refuse what no table could show: one row and seed twice, made with settings that tables do not tell apart."""
    known: dict[tuple[str, CellName], Cell] = {}
    for cell in cells:
        other = known.setdefault((cell.comparable.key, cell.name), cell)
        if other is not cell:
            row = f'"{RowKey.of(cell.name).label}" of {cell.name.model} on {cell.comparable.dataset}, seed {cell.name.seed}'
            raise SpecError(
                f"variants: two of them have the row {row}, made with different settings (evaluate, attack_batch_size, or the "
                "options of an entry); keep one of them, or give the entries different names"
            )


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
