"""One spec, the same records: run twice, in whatever company, order or process. Times aside, byte for byte."""

from __future__ import annotations

import json

import pytest
from running import TINY, records_of, run_spec, write_spec

SPEC = {
    "seeds": [1, 2],
    "models": [{"architecture": "small-cnn", "width": width, "name": f"net{width}"} for width in (3, 4)],
    "correctors": ["none", {"attack": "salt-and-pepper", "name": "sp", "steps": 20}],
    "controls": ["none", "sham"],
    "baseline": {"epochs": 2, "batch_size": 64, "lr": 0.05, "augmentation": "flip-crop"},
    "adaptation": {"steps": 9, "batch_size": 16, "lr": 0.01, "validations": 3, "augmentation": "flip"},
}


@pytest.fixture(scope="module")
def once(tmp_path_factory):
    folder = tmp_path_factory.mktemp("once")
    _, state = run_spec(write_spec(folder, **SPEC), folder / "results")
    assert state.failures == []
    # 2 models x 2 seeds x (baseline, curriculum, corrector, its sham)
    assert len(state.plan.cells) == 2 * 2 * 4
    return records_of(folder / "results")


def test_shuffled_lists_run_by_two_workers_in_another_folder(once, tmp_path):
    shuffled = {key: SPEC[key][::-1] for key in ("seeds", "models", "correctors", "controls")}
    run_spec(write_spec(tmp_path, **{**SPEC, **shuffled}), tmp_path / "results", workers=2)
    assert records_of(tmp_path / "results") == once


def test_cells_run_alone_are_those_run_together(once, tmp_path):
    """Each model and seed in a store of its own: nothing that another cell left behind can be read."""
    found = {}
    for model in SPEC["models"]:
        for seed in SPEC["seeds"]:
            folder = tmp_path / f"{model['name']}-{seed}"
            corrector = SPEC["correctors"][(model["width"], seed) != (3, 1)]
            alone = {"models": [model], "seeds": [seed], "correctors": [corrector], "controls": ["sham"]}
            run_spec(write_spec(folder, **{**SPEC, **alone}), folder / "results")
            found |= records_of(folder / "results")
    assert len(found) == 1 + 2 + 2 + 2
    assert found == {name: record for name, record in once.items() if name in found}


def test_seeds_and_models_differ_from_each_other(once):
    """The tests above would also pass if nothing depended on anything."""
    baselines = [json.loads(record) for name, record in once.items() if "--none--seed" in name and "adapter" in record]
    predictions = {tuple(record["test"]["predictions"]) for record in baselines}
    assert len(predictions) == len(baselines) == 4


def test_attack_batches_of_another_size_leave_the_corrections_alone(tmp_path):
    """What is random is random per sample: only the batch size's own place in the keys tells the runs apart."""
    found = []
    for size in (50, 64):
        folder = tmp_path / str(size)
        spec = write_spec(folder, correctors=[SPEC["correctors"][1]], attack_batch_size=size)
        run_spec(spec, folder / "results")
        [record] = map(json.loads, records_of(folder / "results").values())
        found.append((record["correction"]["corrected"], record["correction"]["median_norm"], record["test"]))
    assert found[0] == found[1]
    assert TINY["attack_batch_size"] == 50
