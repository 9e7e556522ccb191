"""Plans: cells and stages counted by hand, and what a stage's key depends on."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
import torch
from running import TINY, write_spec
from safetensors.torch import save_file

from harness.catalogue import Catalogue
from harness.cells import Setting
from harness.data import DataDescription
from harness.manager import Manager
from harness.plan import make_plan
from harness.resolve import resolve
from harness.spec import load_specs

STRONG = {"adapter": "deep-coral", "weight": 0.04, "name": "strong"}
DATA = DataDescription("d" * 64, 1437, 360, 1, 8, 8, tuple("0123456789"), (0.3,), (0.4,))
CPU = Setting("cpu", 1)


@pytest.fixture(scope="module")
def manager():
    return Manager.discover()


@pytest.fixture
def planned(tmp_path, manager):
    """Plan the tiny experiment with changes; nothing is read but the spec."""

    def plan(*, data=DATA, setting=CPU, edit=None, folder="spec", **changes):
        spec = load_specs(write_spec(tmp_path / folder, **changes))[0]
        resolved = resolve(spec, manager, Catalogue(manager.catalogues()))
        return make_plan([(edit(resolved) if edit else resolved, data)], manager, setting)

    return plan


def keys(plan, *kinds):
    return {key for key, stage in plan.stages().items() if not kinds or stage.kind in kinds}


def names(plan):
    return Counter((cell.name.control, cell.name.corrector, cell.name.adapter) for cell in plan.cells)


def test_all_controls_are_the_cells_counted_by_hand(planned):
    plan = planned(seeds=[1, 2], correctors=["none", "vbi", "ll"], adapters=["deep-coral", STRONG], controls="default")
    alone = [("none", None, "none"), ("recalibrate-bn", None, "recalibrate-bn"), ("finetune-target", None, "finetune")]
    sources = [("finetune-source", name, "finetune") for name in ("none", "vbi", "ll")]
    rows = [
        (control, corrector, adapter)
        for adapter in ("deep-coral", "strong")
        for control, corrector in (
            ("target-to-target", None),
            ("random-subset", None),
            ("curriculum", "none"),
            (None, "vbi"),
            ("sham", "vbi"),
            (None, "ll"),
            ("sham", "ll"),
        )
    ]
    assert names(plan) == Counter(2 * (alone + sources + rows))
    assert len(plan.cells) == 2 * 20


def test_all_controls_share_the_stages_counted_by_hand(planned):
    plan = planned(correctors=["none", "vbi", "ll"], adapters=["deep-coral", STRONG], controls="default")
    kinds = Counter(stage.kind for stage in plan.stages().values())
    # Every cell but the baseline's own adapts, and every cell is evaluated once.
    assert kinds == {"baseline": 1, "split": 1, "correct": 2, "sham": 2, "adapt": 19, "evaluate": 20}


def test_curriculum_is_added_where_the_spec_does_not_list_it(planned):
    with_none = planned(correctors=["none", "vbi"], controls="default")
    without = planned(correctors=["vbi"], controls="default")
    assert {cell.key for cell in with_none.cells} == {cell.key for cell in without.cells}


def test_no_controls_leave_the_matrix_alone(planned):
    plan = planned(seeds=[1, 2], correctors=["none", "vbi"], adapters=["deep-coral", STRONG])
    expected = [
        (control, corrector, adapter)
        for control, corrector in (("curriculum", "none"), (None, "vbi"))
        for adapter in ("deep-coral", "strong")
    ]
    assert names(plan) == Counter(2 * expected)


@pytest.mark.parametrize(
    ("controls", "extra"),
    [
        (["none"], {("none", None, "none"): 1}),
        (["sham"], {("sham", "vbi", "deep-coral"): 1}),
        (["curriculum"], {("curriculum", "none", "deep-coral"): 1}),
        (["finetune-source"], {("finetune-source", "vbi", "finetune"): 1}),
        (
            ["target-to-target", "random-subset"],
            {("target-to-target", None, "deep-coral"): 1, ("random-subset", None, "deep-coral"): 1},
        ),
    ],
)
def test_a_list_of_controls_adds_those_alone(planned, controls, extra):
    assert names(planned(correctors=["vbi"], controls=controls)) == Counter({(None, "vbi", "deep-coral"): 1, **extra})


def test_inputs_come_before_what_reads_them(planned):
    place = {key: index for index, key in enumerate(planned(controls="default").stages())}
    for key, stage in planned(controls="default").stages().items():
        assert all(place[source.key] < place[key] for _, source in stage.inputs)


def test_a_new_corrector_reuses_everything_else(planned):
    before = planned(correctors=["vbi"], controls="default")
    after = planned(correctors=["vbi", "ll"], controls="default")
    assert {cell.key for cell in before.cells} < {cell.key for cell in after.cells}
    added = [after.stages()[key] for key in keys(after) - keys(before)]
    # The attack, its sham, and the adaptations from T', from the sham and without alignment.
    assert Counter(stage.kind for stage in added) == {"correct": 1, "sham": 1, "adapt": 3, "evaluate": 3}


def test_keys_do_not_change_with_names_folders_or_order(planned):
    plan = planned(seeds=[1, 2], correctors=["vbi", "ll"], adapters=["deep-coral", STRONG], controls="default")
    other = planned(
        name="other",
        folder="elsewhere",
        seeds=[2, 1],
        models=[{**TINY["models"][0], "name": "called-otherwise"}],
        correctors=[{"preset": "ll", "name": "mine"}, "vbi"],
        adapters=[{**STRONG, "name": "weighty"}, "deep-coral"],
        controls="default",
    )
    assert keys(plan) == keys(other)


def test_rows_called_otherwise_are_other_cells(planned):
    cells = {cell.key for cell in planned().cells}
    renamed = planned(models=[{**TINY["models"][0], "name": "called-otherwise"}])
    assert cells.isdisjoint(cell.key for cell in renamed.cells)


def with_options_changed(resolved):
    """Lower the eps of the first corrector alone."""
    first, *others = resolved.correctors
    options = first.attack.options.model_copy(update={"eps": 1 / 255})
    return replace(resolved, correctors=(replace(first, attack=replace(first.attack, options=options)), *others))


def with_version(resolved):
    first, *others = resolved.correctors
    plugin = replace(first.attack.plugin, version="2.0")
    return replace(resolved, correctors=(replace(first, attack=replace(first.attack, plugin=plugin)), *others))


@pytest.mark.parametrize("edit", [with_options_changed, with_version])
def test_an_attacks_options_and_version_change_what_reads_it_alone(planned, edit):
    before, after = planned(), planned(edit=edit)
    changed = [after.stages()[key] for key in keys(after) - keys(before)]
    assert Counter(stage.kind for stage in changed) == {"correct": 1, "adapt": 1, "evaluate": 1}


@pytest.mark.parametrize(
    "changes",
    [
        {"setting": Setting("cpu", 2)},
        {"setting": Setting("cuda", 1)},
        {"data": replace(DATA, fingerprint="e" * 64)},
        {"seeds": [2]},
        {"baseline": {**TINY["baseline"], "lr": 0.01}},
        {"validation": 0.1},
        {"models": [{**TINY["models"][0], "width": 5}]},
        {"models": [{**TINY["models"][0], "image_size": 16}]},
    ],
    ids=["threads", "device", "data", "seed", "baseline", "validation", "architecture", "image size"],
)
def test_what_every_stage_depends_on_changes_every_key(planned, changes):
    assert keys(planned()).isdisjoint(keys(planned(**changes)))


@pytest.mark.parametrize(
    ("changes", "kinds"),
    [
        ({"adaptation": {**TINY["adaptation"], "lr": 0.02}}, {"adapt": 2, "evaluate": 2}),
        ({"adapters": [STRONG]}, {"adapt": 2, "evaluate": 2}),
        ({"attack_batch_size": 60}, {"correct": 2, "adapt": 2, "evaluate": 2}),
    ],
)
def test_later_choices_leave_earlier_stages_alone(planned, changes, kinds):
    before, after = planned(), planned(**changes)
    assert Counter(after.stages()[key].kind for key in keys(after) - keys(before)) == kinds


def test_steps_and_epochs_of_one_length_are_comparable(planned):
    """20 epochs of ceil(1150 / 16) = 72 steps are 1440 steps; the spec's 0.2 of 1437 holds out 287."""
    common = {"batch_size": 16, "lr": 0.01}
    by_epochs = planned(adaptation={**common, "epochs": 20}).cells[0].comparable
    by_steps = planned(adaptation={**common, "steps": 1440}).cells[0].comparable
    assert by_epochs == by_steps
    assert by_steps.validation == 287
    assert by_steps != planned(adaptation={**common, "steps": 1441}).cells[0].comparable


def weights_file(folder, *, seed):
    """Save a small-cnn of width 4, as a user would."""
    from harness.contract import InputShape
    from harness_classifiers.small_cnn import SmallCNN, SmallCNNOptions

    with torch.random.fork_rng():
        torch.manual_seed(seed)
        net = SmallCNN(SmallCNNOptions(width=4)).build(InputShape(channels=1, image_size=8, num_classes=10))
    folder.mkdir(parents=True)
    save_file(net.state_dict(), folder / "net.safetensors")
    return str(folder / "net.safetensors")


def test_weights_count_by_content_and_not_by_path(planned, tmp_path):
    def with_weights(path):
        return keys(planned(models=[{"architecture": "small-cnn", "width": 4, "weights": path, "name": "net"}]))

    ours = with_weights(weights_file(tmp_path / "a", seed=1))
    same = with_weights(weights_file(tmp_path / "b", seed=1))
    other = with_weights(weights_file(tmp_path / "c", seed=2))
    assert ours == same
    assert ours.isdisjoint(other)


def test_trained_weights_are_one_baseline_for_all_seeds(planned, tmp_path):
    path = weights_file(tmp_path / "a", seed=1)
    plan = planned(models=[{"architecture": "small-cnn", "width": 4, "weights": path}], seeds=[1, 2, 3])
    assert len(keys(plan, "baseline")) == 1
    assert len(keys(plan, "split")) == 3
