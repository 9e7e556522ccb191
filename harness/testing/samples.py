"""A small leaderboard of made-up records, for whatever reads leaderboards."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from harness.controls import Control
    from harness.records import CellRecord, Comparable, Correction

LABELS = [0, 1, 2, 0, 1, 2, 0, 1, 2, 0]


def sample_leaderboard(seeds: Sequence[int] = (1, 2)) -> dict[str, Any]:
    """Return the versioned object of ``harness leaderboard --json`` for a corrector, a curriculum and a baseline."""
    from harness.leaderboard import build
    from harness.report.json_table import to_json

    rows: list[tuple[Control | None, str | None, str, int]] = [
        ("none", None, "none", 6),
        ("curriculum", "none", "deep-coral", 7),
        (None, "ddn & co", "deep-coral", 8),
    ]
    records = [_record(seed, *row) for seed in seeds for row in rows]
    return {"experiment": "sample_run", **to_json(build(records))}


def _record(seed: int, control: Control | None, corrector: str | None, adapter: str, right: int) -> CellRecord:
    from harness.records import (
        Accuracies,
        Adaptation,
        CellName,
        CellRecord,
        Losses,
        TestPredictions,
    )

    share = right / len(LABELS)
    return CellRecord(
        experiment="sample_run",
        key=f"{seed}{control}{corrector}",
        cell=CellName(model="toy net", corrector=corrector, adapter=adapter, control=control, seed=seed),
        comparable=_comparable(),
        counts={"train": 90, "valid": 40, "test": len(LABELS)},
        correction=_correction(attacked=control is None) if corrector else None,
        accuracy=Accuracies(source=1.0 if corrector else None, train=0.9, valid=share, test=share),
        baseline=Accuracies(source=None, train=0.9, valid=0.6, test=0.6),
        loss=Losses(target=0.3, source=0.2 if corrector else None),
        adaptation=Adaptation(adapter=adapter, options={}, steps=10, best_step=5, history=[]),
        test=TestPredictions(labels=LABELS, predictions=LABELS[:right] + [3] * (len(LABELS) - right)),
        warnings=[],
        versions={},
        environment={},
        times={},
    )


def _comparable() -> Comparable:
    from harness.records import Comparable

    return Comparable(
        key="one",
        dataset="toys",
        data_fingerprint="0",
        model="toy net",
        model_fingerprint="0",
        validation=40,
        baseline=None,
        budget={"steps": 10, "batch_size": 4},
        evaluation="clean",
    )


def _correction(*, attacked: bool) -> Correction:
    from harness.records import Correction

    names = {"attack": "paper/ddn", "objective": "toward-true", "select": "min-norm", "norm": "l2", "median_norm": 0.4}
    counts = {"wrong": 9, "corrected": 8, "kept": 8, "forward": 900, "backward": 891}
    made: dict[str, Any] = {**names, **counts}
    if not attacked:
        made = {**dict.fromkeys(names), **dict.fromkeys(counts, 0), "wrong": 9}
    return Correction(**made, options={}, survived={}, flags=[])
