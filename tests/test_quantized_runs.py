"""What a quantized run is made of and tells: this machine's options, calibration images, speeds, remarks."""

from __future__ import annotations

from dataclasses import replace

import measuring_plugins
import pytest
import torch
from first_party import own_manager
from quantizing import domain, install_measuring, residual_network, twin_of
from running import run_spec, write_spec
from torch import nn
from toys import CLASSES, Run, Surroundings, random_images

from harness.data import Data
from harness.engine.attacking import Corrector
from harness.errors import PluginError
from harness.launch import Options, prepare, tables_of
from harness.records import Comparable, Timed, read_records
from harness.report.measures import quantization_tables
from harness.resolved import ResolvedPlugin, ResolvedQuantizer
from harness.settling import settled
from harness.stages import evaluate
from harness_paper.bim import BIM, BIMOptions
from harness_quantization.fx_int8 import FxInt8, FxInt8Options


@pytest.fixture(autouse=True)
def measuring(tmp_path, monkeypatch):
    """The distribution "measuring" is installed."""
    install_measuring(tmp_path, monkeypatch)


def plan_of(folder, quantization):
    spec = write_spec(folder, correctors=["vbi-iter1"], quantization=[quantization])
    return prepare(str(spec), Options(results=folder / "results")).plan


def surroundings_of(tmp_path, **changes):
    """Return toy surroundings whose subject is quantized by "coarse"."""
    made = Surroundings(tmp_path / "store", manager=own_manager(), **changes)
    made.subject = replace(
        made.subject, quantizer=ResolvedQuantizer("coarse", made.plugin("quantizer", "coarse", levels=2))
    )
    return made


# -- what the machine decides -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("quantizer", "differs"), [("fx-int8", True), ("fake-int8", False)])
def test_what_two_machines_make_of_auto_shares_no_key_and_no_table(tmp_path, monkeypatch, quantizer, differs):
    monkeypatch.setattr(type(torch.backends.quantized), "supported_engines", ["onednn", "x86"])
    plans = []
    for vnni in (True, False):
        monkeypatch.setattr(torch.cpu, "_is_vnni_supported", lambda vnni=vnni: vnni)
        plans.append(plan_of(tmp_path / str(vnni), quantizer))
    keys = [{stage.kind: key for key, stage in plan.stages().items()} for plan in plans]
    shared = {kind for kind in keys[0] if keys[0][kind] == keys[1][kind]}
    assert shared == ({"baseline"} if differs else set(keys[0]))
    comparables = [plan.cells[0].comparable for plan in plans]
    assert (comparables[0].key != comparables[1].key) == differs
    if differs:
        decided = [
            (one.quantization["options"]["engine"], one.quantization["options"]["activation_bits"])
            for one in comparables
        ]
        assert decided == [("onednn", 8), ("x86", 7)]


def test_an_engine_that_the_machine_lacks_is_told_when_the_run_is_planned(tmp_path, monkeypatch):
    monkeypatch.setattr(type(torch.backends.quantized), "supported_engines", ["qnnpack"])
    with pytest.raises(PluginError, match='this torch has no engine "onednn"; expected one of qnnpack'):
        plan_of(tmp_path, {"quantizer": "fx-int8", "engine": "onednn"})


@pytest.mark.parametrize(
    ("does", "message"),
    [
        (lambda _: 1 / 0, "is broken: its settled() raises ZeroDivisionError: division by zero"),
        (lambda _: {"levels": 3}, "is broken: its settled() returns a dict; expected its options, CoarseOptions"),
    ],
)
def test_a_quantizer_that_settles_on_no_options_is_told(monkeypatch, does, message):
    manager = own_manager()
    plugin = ResolvedPlugin(manager.find("quantizer", "coarse"), measuring_plugins.CoarseOptions())
    asked = ResolvedQuantizer("coarse", plugin)
    assert settled(asked, manager) == asked
    monkeypatch.setattr(measuring_plugins.Coarse, "settled", does)
    with pytest.raises(PluginError) as raised:
        settled(asked, manager)
    assert message in str(raised.value)


def test_rows_of_other_gradients_or_options_are_not_comparable(tmp_path):
    asked = {"quantizer": "fake-int8", "name": "int8"}
    variants = [asked, {**asked, "gradients": "straight-through"}, {**asked, "calibration_images": 64}]
    cells = [plan_of(tmp_path / str(place), one).cells[0] for place, one in enumerate(variants)]
    assert len({cell.comparable.key for cell in cells}) == 3
    assert len({cell.name.model for cell in cells}) == 1
    assert cells[1].comparable.quantization["gradients"] == "straight-through"
    assert cells[2].comparable.quantization["options"]["calibration_images"] == 64


def test_a_full_precision_row_has_no_quantization_and_old_records_need_none(tmp_path):
    comparable = plan_of(tmp_path, "fp32").cells[0].comparable
    assert comparable.quantization == {}
    assert Comparable(**comparable.model_dump(exclude={"quantization"})) == comparable


# -- calibration --------------------------------------------------------------------------------------------------------


def shown_to_the_quantizer(surroundings, monkeypatch):
    """Return the images (N, C, H, W) in the order in which the quantizer sees them."""
    shown = []

    def quantize(_, network, calibration):
        shown.append(torch.cat(list(calibration.batches(7))))
        return network

    monkeypatch.setattr(measuring_plugins.Coarse, "quantize", quantize)
    context = surroundings.context()
    context.judge(context.network())
    return shown[0]


def test_calibration_images_come_in_an_order_drawn_by_the_seed_where_those_stored_go_by_class(tmp_path, monkeypatch):
    labels = torch.arange(CLASSES).repeat_interleave(30)
    brightness = (labels * 60).to(torch.uint8).reshape(-1, 1, 1, 1)
    data = Data(
        brightness.expand(-1, 1, 6, 6).clone(), labels, brightness[::10].expand(-1, 1, 6, 6).clone(), labels[::10]
    )
    orders = [
        shown_to_the_quantizer(surroundings_of(tmp_path / str(place), data=data, seed=seed), monkeypatch)
        for place, seed in enumerate((1, 1, 2))
    ]
    classes = [(order.amax((1, 2, 3)) * 255 / 60).round().long() for order in orders]
    assert set(classes[0][:20].tolist()) == set(range(CLASSES))
    train = surroundings_of(tmp_path / "T", data=data).context().train
    assert torch.equal(classes[0].sort().values, train.labels)  # all of T, and nothing else
    assert torch.equal(classes[0], classes[1])
    assert not torch.equal(classes[0], classes[2])


# -- speeds and remarks -------------------------------------------------------------------------------------------------


def test_both_precisions_are_timed_folded_on_the_device_that_the_twin_computes_on(tmp_path, monkeypatch):
    """The meta device stands for one that is not the run's."""
    monkeypatch.setattr(measuring_plugins.Coarse, "computes_on", "meta")
    timed = []

    def speed_of(network, images):
        timed.append((network, images))
        return float(len(timed))

    monkeypatch.setattr(evaluate, "images_per_second", speed_of)
    run = Run(surroundings_of(tmp_path))
    assert any(isinstance(module, nn.BatchNorm2d) for module in run.network.modules())
    found = run.evaluate(run.inputs["baseline"], source="target")
    for network, images in timed:
        assert {value.device.type for value in (images, *network.parameters(), *network.buffers())} == {"meta"}
    assert not any(isinstance(module, nn.BatchNorm2d) for module in timed[0][0].modules())
    assert found.times == {"images_per_second.full_precision": 1.0, "images_per_second.quantized": 2.0}
    assert found.meta["quantized"]["timed"] == {"device": "meta", "threads": torch.get_num_threads()}


def test_a_simulation_and_what_a_quantizer_remarks_are_told_in_records_and_tables(tmp_path, monkeypatch):
    monkeypatch.setattr(measuring_plugins.Coarse, "simulated", True)
    monkeypatch.setattr(measuring_plugins.Coarse, "remarks", ("a sum stays in float",))
    spec = write_spec(tmp_path, correctors=["none"], quantization=["coarse"])
    _, state = run_spec(spec, tmp_path / "results")
    assert state.failures == []
    [record] = read_records(tmp_path / "results" / "tiny" / "records")
    assert record.quantized.simulated
    assert record.quantized.timed == Timed(device="cpu", threads=1)
    assert "coarse: a sum stays in float" in record.warnings
    [table] = tables_of(tmp_path / "results" / "tiny")
    assert "coarse: a sum stays in float" in table.rows[0].flags
    [beside] = quantization_tables(table)
    (_, _, before), (_, _, after) = beside.lines
    assert [cell.endswith(" simulated") for cell in (*before[-2:], *after[-2:])] == [False, False, True, True]
    assert beside.notes == ("Images/s were timed on: cpu, 1 thread.",)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_integers_on_the_cpu_are_attacked_from_a_gpu():
    images = random_images(20, shape=(3, 16, 16)).cuda()
    network = residual_network().cuda()
    judge = twin_of(FxInt8(FxInt8Options(calibration_images=20)), network, domain(images.cpu(), device="cuda"))
    with torch.no_grad():
        second = judge(images).argsort(1, descending=True)[:, 1]
    attack = BIM(BIMOptions(eps=0.3, alpha=0.02))
    run = Corrector(attack, network, name="toy", objective="toward-true", seed=1, judge=judge)
    assert run.correct(images, second, torch.arange(20)).corrected.any()
