"""Records: one immutable JSON file a cell, from which every table is made.

A record holds everything that is reproducible at the top level and everything that is not (seconds, images/s) under ``times``:
two runs of one spec on one machine write the same bytes, times aside.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from harness.controls import Control
from harness.errors import StoreError
from harness.file_names import file_stem
from harness.store import atomic_write

if TYPE_CHECKING:
    from pathlib import Path

SCHEMA_VERSION: Final = 1
SPEEDS = ("images_per_second.full_precision", "images_per_second.quantized")
"""Under ``times``: how many images a quantized subject and its full-precision counterpart classify a second."""


def step_time(step: int) -> str:
    """Return under what name ``times`` keeps the seconds that an adaptation took up to a checkpoint, validations left out."""
    return f"step {step}"


class Frozen(BaseModel):
    """A part of a record: immutable, nothing unknown in it."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class CellName(Frozen):
    """Which row of which table, for which seed.

    ``corrector`` is None where the source is not made by one. ``control`` says which rival explanation the cell is, None for the
    method itself: a ``sham`` or ``finetune-source`` row names the corrector that it controls for.
    """

    model: str
    corrector: str | None
    adapter: str
    control: Control | None
    seed: int


class Comparable(Frozen):
    """What must agree before two rows may stand in one table.

    ``quantization``: of a quantized subject its quantizer, the options as the machine settled them, whose gradients attacks got.
    """

    key: str
    dataset: str
    data_fingerprint: str
    model: str
    model_fingerprint: str
    validation: int
    baseline: dict[str, Any] | None
    budget: dict[str, Any]
    evaluation: str
    input: dict[str, Any] = Field(default_factory=dict)
    environment: dict[str, Any] = Field(default_factory=dict)
    quantization: dict[str, Any] = Field(default_factory=dict)


class Correction(Frozen):
    """What a corrector did to the wrongly classified training samples.

    ``wrong`` is |T_w|, ``corrected`` |T_a|; ``median_norm`` the median of the corrected samples' perturbations in ``norm``.
    ``survived``: how many of the corrected stay so after rounding to uint8, to float16 and after a horizontal flip.
    ``curve``: (passes, corrected) pairs: so many samples are corrected after so many passes, forward and backward, per attacked
    image, on average over a batch; empty in records of before it was kept. ``forward`` and ``backward`` count images through the
    network while attacking. ``loss_target`` and ``loss_source`` are the mean cross-entropy of the classifier as it was, before
    any adaptation, over ``T`` and over ``T'``.
    """

    attack: str | None
    objective: str | None
    select: str | None
    options: dict[str, Any]
    wrong: int
    corrected: int
    kept: int
    norm: str | None
    median_norm: float | None
    survived: dict[str, int]
    forward: int
    backward: int
    flags: list[str]
    loss_target: float | None = None
    loss_source: float | None = None
    curve: list[tuple[float, int]] = Field(default_factory=list)


class Accuracies(Frozen):
    """Shares of correct labels in [0, 1]; ``source`` (T') is None where there is no source but ``T`` itself."""

    source: float | None
    train: float
    valid: float
    test: float


class Losses(Frozen):
    """Mean cross-entropy over the training set ``T`` and the source ``T'``."""

    target: float
    source: float | None


class Checkpoint(Frozen):
    """One validated checkpoint of an adaptation: its step, validation accuracy, mean losses since the one before.

    ``candidate``: whether it could be kept; of averaged weights none can before there is an average.
    """

    step: int
    valid: float
    losses: dict[str, float]
    diagnostics: dict[str, float]
    candidate: bool = True


class Adaptation(Frozen):
    """How the classifier was adapted; ``best_step`` is the step of the checkpoint kept, by validation alone.

    ``source`` and ``target_labels``: whether T' and T's labels enter.
    """

    adapter: str
    source: bool = True
    target_labels: bool = False
    options: dict[str, Any]
    steps: int
    best_step: int
    history: list[Checkpoint]


class Trial(Frozen):
    """One trial of a search: its settings, the validation accuracy of the checkpoint kept and its step, or why it has none.

    ``repetition`` counts the earlier trials with the same settings; each has another order of batches.
    """

    settings: dict[str, Any]
    repetition: int
    valid: float | None = None
    best_step: int | None = None
    failed: str | None = None


class Search(Frozen):
    """How an arm was tuned: what its settings were chosen from, by which sampler, all trials in order and the index of the best.

    ``training`` is the training loop with the settings chosen.
    """

    sampler: str
    space: dict[str, Any]
    trials: list[Trial]
    chosen: int
    training: dict[str, Any]

    @property
    def winner(self) -> Trial:
        """The trial chosen, by validation alone."""
        return self.trials[self.chosen]


class Measure(Frozen):
    """What an evaluator found on ``samples`` test images; ``rows`` are theirs in the test split, None for all of it.

    ``clean`` is the share labelled true, ``robust`` the share that still is when perturbed within ``eps`` in ``norm`` (None where
    nothing was perturbed), ``held`` that verdict per example. ``figures``, and ``shares`` in [0, 1], are the evaluator's own.
    ``batch_size``, on which a library's random starts depend, is None in records of before it was kept.
    """

    name: str
    evaluator: str
    options: dict[str, Any]
    batch_size: int | None = None
    samples: int
    rows: list[int] | None
    clean: float
    robust: float | None
    held: list[bool] | None
    norm: str | None
    eps: float | None
    figures: dict[str, float]
    shares: dict[str, float] = Field(default_factory=dict)
    flags: list[str]


class Timed(Frozen):
    """What images/s were timed on: the kind of device, and the threads that the process was given."""

    device: str
    threads: int


class Quantized(Frozen):
    """A quantized subject beside its full-precision counterpart, whose accuracies are those ``before`` quantizing.

    ``num_bytes`` and ``full_precision_bytes`` are what each takes when it is stored, None where a quantizer does not know.
    ``options`` are those that the machine settled. ``simulated`` where integers were computed in float: the size is then what they
    would take, the speed the simulation's. ``timed``: what both were timed on.
    """

    quantizer: str
    options: dict[str, Any]
    gradients: Literal["full-precision", "straight-through"]
    before: Accuracies
    num_bytes: int | None
    full_precision_bytes: int
    simulated: bool = False
    timed: Timed | None = None


class TestPredictions(Frozen):
    """Per-example labels and predictions on the test split, in the data set's order."""

    __test__ = False  # no test class, whatever pytest makes of its name

    labels: list[int]
    predictions: list[int]


class CellRecord(Frozen):
    """The record of one cell."""

    schema_version: Literal[1] = SCHEMA_VERSION
    experiment: str
    key: str
    cell: CellName
    comparable: Comparable
    counts: dict[str, int]
    correction: Correction | None
    accuracy: Accuracies
    baseline: Accuracies
    loss: Losses
    adaptation: Adaptation
    test: TestPredictions
    measures: list[Measure] = Field(default_factory=list)
    quantized: Quantized | None = None
    search: Search | None = None
    warnings: list[str]
    versions: dict[str, str]
    environment: dict[str, Any]
    times: dict[str, float]

    @property
    def delta(self) -> float:
        """Test accuracy gained over the baseline, in [-1, 1]."""
        return self.accuracy.test - self.baseline.test


class CellFailure(Frozen):
    """Why a cell has no record."""

    schema_version: Literal[1] = SCHEMA_VERSION
    experiment: str
    key: str
    dataset: str = ""
    cell: CellName
    stage: str
    reason: str
    exit_code: int


RecordT = TypeVar("RecordT", CellRecord, CellFailure)


def record_name(cell: CellName, key: str) -> str:
    """Return the file name of a cell's record: readable, and unique by its key."""
    parts = (cell.model, cell.control, cell.corrector, cell.adapter, f"seed{cell.seed}")
    return f"{file_stem(*(part for part in parts if part))}--{key[:8]}.json"


def write_record(folder: Path, record: CellRecord | CellFailure) -> Path:
    """Write a record atomically; returns its path."""
    path = folder / record_name(record.cell, record.key)
    atomic_write(path, dump(record).encode())
    return path


def dump(record: BaseModel) -> str:
    """Return the record's canonical JSON."""
    return json.dumps(record.model_dump(mode="json"), indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def read_records(folder: Path) -> list[CellRecord]:
    """Read every record of a folder, in the order of their names. Raises ``StoreError`` that names a file it cannot read."""
    return [read_record(path) for path in sorted(folder.glob("*.json"))]


def read_failures(folder: Path) -> list[CellFailure]:
    """Read every recorded failure of a folder."""
    return [_read(path, CellFailure) for path in sorted(folder.glob("*.json"))]


def read_record(path: Path) -> CellRecord:
    """Read one record. Raises ``StoreError`` that names it where its accuracy is not that of its predictions."""
    record = _read(path, CellRecord)
    test = record.test
    right = sum(label == predicted for label, predicted in zip(test.labels, test.predictions, strict=True))
    if abs(record.accuracy.test * len(test.labels) - right) > 0.5:
        raise StoreError(
            f"{path}: says a test accuracy of {record.accuracy.test:.4f}, its predictions are right {right} times of "
            f"{len(test.labels)}; it was changed by hand or damaged: delete it and run the spec again"
        )
    for measure in record.measures:
        if measure.held is not None and abs((measure.robust or 0) * measure.samples - sum(measure.held)) > 0.5:
            raise StoreError(
                f"{path}: says a robust accuracy of {measure.robust}, {sum(measure.held)} of {measure.samples} labels held; "
                "it was changed by hand or damaged: delete it and run the spec again"
            )
    return record


def _read(path: Path, kind: type[RecordT]) -> RecordT:
    try:
        return kind.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        raise StoreError(
            f"{path}: is not a record that this version reads ({_first_line(error)}); "
            "delete it and run the spec again, the finished stages are kept in the store"
        ) from error


def _first_line(error: Exception) -> str:
    if isinstance(error, ValidationError):
        first = error.errors()[0]
        return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
    return str(error).splitlines()[0]
