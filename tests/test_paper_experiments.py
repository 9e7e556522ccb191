"""The registry's experiments of the paper: every printed row has its cell, and what is printed of the setting is set."""

from __future__ import annotations

from itertools import product

import pytest

from harness.catalogue import Catalogue
from harness.manager import Manager
from harness.published import read_published
from harness.resolve import resolve_all
from harness.spec import load_specs

TABLES = ("table1", "table2", "table3", "table4")
RESNETS = {"resnet18", "resnet34", "resnet50"}


@pytest.fixture(scope="module")
def manager():
    return Manager.discover()


@pytest.fixture(scope="module")
def catalogue(manager):
    return Catalogue(manager.catalogues())


@pytest.fixture(scope="module")
def variants(manager, catalogue):
    """Resolve the variants of one of the paper's experiments."""
    return lambda name: resolve_all(load_specs(catalogue.experiment(f"adcorda-{name}")), manager, catalogue)


@pytest.mark.parametrize(("table", "small"), [*product(TABLES, ["", "-small"])])
def test_every_printed_row_has_its_cell(variants, catalogue, table, small):
    printed = read_published(f"adcorda-{table}", catalogue)
    card = printed.paper
    theirs = {ours: name for name, ours in card.models.items()} | dict(card.stand_ins)
    presets = {ours: name for name, ours in card.correctors.items()}
    cells = set()
    for one in variants(f"{table}{small}"):
        dataset = theirs.get(one.dataset.name, one.dataset.name)
        for model, corrector in product(one.models, one.correctors):
            preset = corrector.name.removesuffix("-all")
            cells.add((theirs[model.name], dataset, presets[preset], corrector.keep))
            cells.add((theirs[model.name], dataset, None, "corrected"))
    wanted = {
        (row.model, row.dataset, row.attack, "all" if row.approach == "BL-IST-A" else "corrected")
        for row in printed.rows
    }
    assert wanted <= cells
    assert {cell for cell in cells - wanted if cell[2] != "None"} == set(), "no corrector that is not printed"


@pytest.mark.parametrize("table", TABLES)
def test_the_siblings_correct_as_the_paper_does(variants, table):
    def made(found):
        return {
            (corrector.name, corrector.keep, corrector.objective, corrector.select, str(corrector.identity()))
            for one in found
            for corrector in one.correctors
        }

    assert made(variants(table)) == made(variants(f"{table}-small"))


@pytest.mark.parametrize("table", TABLES)
def test_what_the_paper_prints_of_its_setting_is_set(variants, table):
    for one in variants(table):
        models = {model.name for model in one.models}
        efficientnet = models == {"efficientnet_v2_m"}
        assert efficientnet or models <= RESNETS
        experiment, hundred = one.experiment, one.dataset.name == "cifar100"
        assert experiment.seeds == [1, 2, 5]
        assert experiment.validation == 5000
        baseline = experiment.baseline
        assert (baseline.optimizer, baseline.lr, baseline.momentum, baseline.weight_decay) == ("sgd", 1e-4, 0.9, 1e-4)
        assert (baseline.epochs, baseline.batch_size) == (100, 64 if efficientnet else 128)
        adaptation = experiment.adaptation
        assert (adaptation.epochs, adaptation.batch_size) == (20, 32 if efficientnet and hundred else 16)
        [adapter] = one.adapters
        assert adapter.adapter.plugin.name == "deep-coral"
        assert adapter.adapter.options.weight == pytest.approx(1 / 25 if hundred else 1 / 750)
        for model in one.models:
            assert model.image_size == 224
            assert model.architecture.options.pretrained == "imagenet"


@pytest.mark.parametrize("small", ["", "-small"])
def test_table_2_is_really_int8_with_the_gradients_of_full_precision(variants, small):
    for one in variants(f"table2{small}"):
        [quantizer] = one.quantizers
        assert (quantizer.quantizer.plugin.name, quantizer.gradients) == ("fx-int8", "full-precision")


@pytest.mark.parametrize("small", ["", "-small"])
def test_table_4_attacks_at_the_papers_eps_and_at_a_usual_one(variants, small):
    for one in variants(f"table4{small}"):
        paper, usual = one.evaluators
        for asked in (paper, usual):
            options = asked.evaluator.options
            assert (options.norm, options.version) == ("linf", "standard")
        assert paper.evaluator.options.eps == 5e-4
        usual_eps = {"cifar10": 8 / 255, "cifar100": 8 / 255, "digits": 0.1, "fashion-mnist": 0.1}
        assert usual.evaluator.options.eps == pytest.approx(usual_eps[one.dataset.name])


@pytest.mark.parametrize(
    ("figure", "plugin", "dataset", "correctors"),
    [("figure2", "logit-change", "cifar100", ["ll", "vbi"]), ("figure3", "grad-cam", "cifar10", ["ddn"])],
)
def test_the_figures_are_of_the_papers_network_data_and_correctors(variants, figure, plugin, dataset, correctors):
    [one] = variants(figure)
    assert (one.dataset.name, [model.name for model in one.models]) == (dataset, ["resnet34"])
    [drawn] = one.figures
    assert drawn.figure.plugin.name == plugin
    [small] = variants(f"{figure}-small")
    assert [asked.name for asked in small.correctors] == [asked.name for asked in one.correctors] == correctors
    assert small.figures[0].figure.plugin == drawn.figure.plugin
