"""Searches: what a spec may tune, what each arm has of it, in which order it is tried; counted and worked out by hand."""

from __future__ import annotations

import math
from types import SimpleNamespace

import pytest
from broken_yaml import VALID
from first_party import own_manager
from running import TINY, write_spec

from harness.budget import Adaptation
from harness.catalogue import Catalogue
from harness.cells import Setting
from harness.data import DataDescription
from harness.engine.sampling import make_sampler
from harness.errors import HarnessError, SpecError
from harness.plan import make_plan
from harness.resolve import resolve
from harness.search import SAMPLERS
from harness.search_space import Bounds, Dimension, Space, changed
from harness.spec import load_specs

DATA = DataDescription("d" * 64, 1437, 360, 1, 8, 8, tuple("0123456789"), (0.3,), (0.4,))
LR = Dimension("adaptation.lr", "adaptation", "", "lr", choices=(0.01, 0.1))
WEIGHT = Dimension("adapters.dc.weight", "adapters", "dc", "weight", choices=(1, 2, 3))
OPTUNAS = [name for name in SAMPLERS if name != "grid"]


@pytest.fixture(scope="module")
def manager():
    return own_manager()


@pytest.fixture(scope="module")
def catalogue(manager):
    return Catalogue(manager.catalogues())


@pytest.fixture
def planned(tmp_path, manager, catalogue):
    """Plan the tiny experiment with changes; nothing is read but the spec."""

    def plan(**changes):
        loaded = load_specs(write_spec(tmp_path / "spec", **changes))[0]
        return make_plan([(resolve(loaded, manager, catalogue), DATA)], manager, Setting("cpu", 1))

    return plan


@pytest.fixture
def asked(tmp_path, manager, catalogue, monkeypatch):
    """Resolve a valid spec with a ``search:`` at its end; its first line is the seventh."""

    def ask(search):
        monkeypatch.chdir(tmp_path)
        path = tmp_path / "spec.yaml"
        path.write_text("\n".join([*VALID.values(), "search:", *(f"  {line}" for line in search.splitlines())]))
        return resolve(load_specs(path.relative_to(tmp_path))[0], manager, catalogue).search

    return ask


# -- what a spec may say -------------------------------------------------------------------------------------------


def test_values_become_what_the_key_they_stand_for_takes(asked):
    found = asked(
        "sampler: random\ntrials: 3\nspace:\n"
        "  adaptation.lr: [1e-3, 1/100]\n"
        "  adaptation.batch_size: [16, 32]\n"
        "  adaptation.weight_decay: {low: 1/100000, high: 1e-2, log: true}\n"
        "  adapters.deep-coral.weight: [1/750, 1]\n"
        "  correctors.vbi.steps: {low: 1, high: 5}"
    )
    lr, size, decay, weight, steps = found.space.dimensions
    assert lr.choices == (0.001, 0.01)
    assert size.choices == (16, 32)
    assert decay.bounds == Bounds(1e-5, 1e-2, log=True, whole=False)
    assert weight.choices == (1 / 750, 1.0)
    assert isinstance(weight.choices[1], float)
    assert steps.bounds == Bounds(1, 5, log=False, whole=True)


WRONG = {
    "a value out of range": (
        "space: {adaptation.lr: [0.1, -1, fast]}",
        "8:32: adaptation.lr: got -1, expected a number greater than 0",
        '8:36: adaptation.lr: got "fast", expected a number or a fraction such as 8/255',
    ),
    "a fraction for a whole number": (
        "space: {adaptation.batch_size: [16.5]}",
        "8:35: adaptation.batch_size: got 16.5, expected a whole number",
    ),
    "an end out of range": (
        "sampler: tpe\n  trials: 4\n  space: {adaptation.lr: {low: 0, high: 1}}",
        "10:32: adaptation.lr: got 0, expected a number greater than 0",
    ),
    "an unknown key": (
        "space: {adaptation.lrr: [0.1]}",
        '8:11: adaptation: unknown key "lrr"; did you mean "lr"?',
    ),
    "a key without its section": (
        "space: {lr: [0.1]}",
        '8:11: search.space: "lr": unknown key "lr"; did you mean "adaptation.lr"?',
    ),
    "an unknown option": (
        "space: {adapters.deep-coral.weigth: [0.1]}",
        '8:11: adapters.deep-coral: unknown key "weigth"; did you mean "weight"? (adapter "deep-coral")',
    ),
    "an option out of range": (
        "space: {adapters.deep-coral.weight: [-1]}",
        '8:40: adapters.deep-coral.weight: got -1, expected a number of at least 0 (adapter "deep-coral")',
    ),
    "an adapter that is not in the spec": (
        "space: {adapters.deep-corral.weight: [1]}",
        (
            '8:11: search.space: "adapters.deep-corral.weight": no entry of adapters is called "deep-corral"; '
            'did you mean "deep-coral"?'
        ),
    ),
    "the budget": (
        "space: {adaptation.steps: [10, 20]}",
        '8:11: search.space: "adaptation.steps": steps is the budget, the same for every trial of every arm',
    ),
    "what all arms share": (
        "space: {baseline.lr: [0.1]}",
        '8:11: search.space: "baseline.lr": "baseline" is what all arms share; a search tunes what each arm does with it',
    ),
    "a corrector's objective": (
        "space: {correctors.vbi.objective: [toward-true]}",
        (
            '8:11: search.space: "correctors.vbi.objective": objective makes it another corrector; '
            "list that one too, under correctors"
        ),
    ),
    "a range in a grid": (
        "space: {adaptation.lr: {low: 0.1, high: 1}}",
        "8:26: search.space.adaptation.lr: a grid takes a list of values, not a range",
    ),
    "a value twice": (
        "space: {adapters.deep-coral.weight: [0.5, 1/2]}",
        '8:45: search.space.adapters.deep-coral.weight: "1/2" stands twice; keep one of them',
    ),
    "a range upside down": (
        "sampler: tpe\n  trials: 4\n  space: {adaptation.lr: {low: 1, high: 1/10}}",
        '10:41: search.space.adaptation.lr.high: got "1/10", expected more than 1',
    ),
    "a logarithm of nothing": (
        "sampler: tpe\n  trials: 4\n  space: {adaptation.weight_decay: {low: 0, high: 1, log: true}}",
        "10:42: search.space.adaptation.weight_decay.low: got 0, expected more than 0, or no log",
    ),
    "a range of words": (
        "sampler: tpe\n  trials: 4\n  space: {adaptation.optimizer: {low: adam, high: sgd}}",
        "10:33: search.space.adaptation.optimizer: is no number that has a range; list its values",
    ),
    "trials of a grid": (
        "trials: 5\n  space: {adaptation.lr: [0.1]}",
        (
            "8:11: search.trials: a grid has as many trials as its largest arm has combinations; leave trials out, or choose "
            "a sampler such as random"
        ),
    ),
    "no trials": (
        "sampler: tpe\n  space: {adaptation.lr: [0.1]}",
        '8:12: search.sampler: "tpe" goes on for as long as it is let; add trials, such as 12',
    ),
    "an unknown sampler": (
        "sampler: tpp\n  trials: 3\n  space: {adaptation.lr: [0.1]}",
        '8:12: search.sampler: got "tpp", expected grid, random, qmc, tpe, gp or cmaes; did you mean "tpe"?',
    ),
    "nothing to choose from": (
        "space: {adaptation.lr: []}",
        "8:26: search.space.adaptation.lr: got an empty list, expected at least 1 entry or a mapping",
    ),
}


@pytest.mark.parametrize(("search", "findings"), [(case[0], case[1:]) for case in WRONG.values()], ids=list(WRONG))
def test_broken_search_is_answered_exactly(asked, search, findings):
    with pytest.raises(SpecError) as raised:
        asked(search.replace("\n  ", "\n"))
    assert str(raised.value).splitlines() == [f"spec.yaml:{finding}" for finding in findings]


def test_a_tuned_corrector_is_not_drawn_as_if_it_were_the_one_in_the_tables(planned, tmp_path):
    space = {"correctors.vbi-iter1.steps": [1, 3], "adapters.deep-coral.weight": [1, 10]}
    with pytest.raises(SpecError) as raised:
        planned(figures=["logit-change", {"figure": "grad-cam", "correctors": ["ll"]}], search={"space": space})
    spec = tmp_path / "spec" / "tiny.yaml"
    lines = spec.read_text().splitlines()
    number, line = next((number, line) for number, line in enumerate(lines, 1) if "vbi-iter1.steps" in line)
    text = 'figure "logit-change" would draw "vbi-iter1" as it is listed, not as it is tuned; give the figure other '
    text += "correctors, or draw it in a spec without search"
    column = line.index('"') + 1
    assert str(raised.value) == f'{spec}:{number}:{column}: search.space: "correctors.vbi-iter1.steps": {text}'
    assert planned(figures=[{"figure": "logit-change", "correctors": ["ll"]}], search={"space": space}).pictures


def test_values_that_do_not_go_together_are_refused_before_anything_runs():
    with pytest.raises(SpecError, match=r"^steps 3, epochs 2 do not go together: "):
        changed(Adaptation(), {"steps": 3, "epochs": 2})


@pytest.mark.parametrize(("sampler", "missing"), [("tpe", "optuna"), ("cmaes", "optuna and cmaes")])
def test_a_sampler_that_is_not_installed_says_what_to_install(asked, monkeypatch, sampler, missing):
    monkeypatch.setattr("harness.resolve_search.util.find_spec", lambda name: None)
    with pytest.raises(HarnessError) as raised:
        asked(f"sampler: {sampler}\ntrials: 3\nspace: {{adaptation.lr: [0.1]}}")
    is_are = "is" if missing == "optuna" else "are"
    expected = f'sampler "{sampler}" needs {missing}, which {is_are} not installed; run "pip install '
    assert str(raised.value).startswith(f"spec.yaml:8:12: {expected}")
    assert raised.value.exit_code == 3


def test_a_grid_needs_no_optuna(asked, monkeypatch):
    monkeypatch.setattr("harness.resolve_search.util.find_spec", lambda name: None)
    assert asked("space: {adaptation.lr: [0.1]}").versions == {}


# -- what each arm has ---------------------------------------------------------------------------------------------


def searches(plan):
    """Return each cell's search by (control, corrector), None where nothing is tuned."""
    return {
        (cell.name.control, cell.name.corrector): cell.adapt.job if cell.adapt and cell.adapt.kind == "search" else None
        for cell in plan.cells
    }


SPACE = {
    "adaptation.lr": [0.001, 0.01],
    "adapters.deep-coral.weight": [0.001, 1, 10],
    "correctors.vbi-iter1.steps": [1, 2],
}


def test_every_arm_has_as_many_trials_as_the_largest_has_combinations(planned):
    found = searches(planned(controls="default", correctors=["none", "vbi-iter1", "ll"], search={"space": SPACE}))
    # lr 2 x weight 3 x steps 2, each where the arm has it
    sizes = {
        ("none", None): None,
        ("recalibrate-bn", None): None,
        ("finetune-target", None): 2,
        ("target-to-target", None): 6,
        ("random-subset", None): 6,
        ("curriculum", "none"): 6,
        (None, "vbi-iter1"): 12,
        ("sham", "vbi-iter1"): 12,
        (None, "ll"): 6,
        ("sham", "ll"): 6,
        ("finetune-source", "none"): 2,
        ("finetune-source", "vbi-iter1"): 4,
        ("finetune-source", "ll"): 2,
    }
    assert {arm: job and job.space.size for arm, job in found.items()} == sizes
    assert {job.trials for job in found.values() if job} == {12}


def test_another_sampler_has_the_trials_that_it_is_given(planned):
    found = searches(planned(controls="default", search={"sampler": "random", "trials": 5, "space": SPACE}))
    assert {job.trials for job in found.values() if job} == {5}


def test_an_arm_without_dimensions_is_repeated_as_often_as_the_others_try(planned):
    space = {"adapters.deep-coral.weight": [0.001, 1, 10]}
    job = searches(planned(controls="default", search={"space": space}))["finetune-target", None]
    assert (job.space.dimensions, job.trials) == ((), 3)


def test_an_adapter_that_bears_a_controls_name_does_not_lend_it_its_options(planned):
    adapters = [{"adapter": "deep-coral", "name": "finetune"}]
    space = {"adapters.finetune.weight": [0.001, 1]}
    found = searches(planned(controls="default", adapters=adapters, search={"space": space}))
    assert found["finetune-target", None].space.size == 1
    assert found[None, "ll"].space.size == 2


def test_what_is_searched_is_part_of_the_budget_and_never_a_value_of_it(planned):
    def budget(**changes):
        return planned(adaptation={**TINY["adaptation"], **changes}, search={"space": SPACE}).cells[0].comparable.budget

    plain = planned().cells[0].comparable.budget
    assert plain["lr"] == 0.01
    assert "search" not in plain
    assert "lr" not in budget()
    assert budget()["search"] == {
        "sampler": "grid",
        "trials": 12,
        "space": {
            "adaptation.lr": "0.001 or 0.01",
            "adapters.deep-coral.weight": "0.001, 1.0 or 10.0",
            "correctors.vbi-iter1.steps": "1 or 2",
        },
    }
    assert budget(lr=0.5) == budget()


def test_where_the_batch_size_is_tuned_an_epoch_stays_an_epoch(planned):
    space = {"adaptation.batch_size": [16, 32]}
    epochs = {"epochs": 3, "lr": 0.01, "validations": 4}
    budget = planned(adaptation=epochs, search={"space": space}).cells[0].comparable.budget
    assert (budget.get("steps"), budget["epochs"]) == (None, 3)


def test_a_search_depends_on_all_that_its_trials_depend_on(planned):
    def key(plan):
        return next(cell.adapt.key for cell in plan.cells if cell.adapt)

    base = {"sampler": "random", "trials": 4, "space": {"adaptation.lr": [0.001, 0.01]}}
    usual = key(planned(search=base))
    assert key(planned(search=base)) == usual
    for changes in (
        {"search": {**base, "trials": 5}},
        {"search": {**base, "sampler": "tpe"}},
        {"search": {**base, "space": {"adaptation.lr": [0.001, 0.02]}}},
        {"search": base, "seeds": [2]},
        {"search": base, "adaptation": {**TINY["adaptation"], "steps": 41}},
        {"search": base, "attack_batch_size": 51},
    ):
        assert key(planned(**changes)) != usual, changes


# -- the order in which it is tried --------------------------------------------------------------------------------


def asked_of(sampler, count, accuracy=lambda settings: 0.5):
    found = []
    for _ in range(count):
        found.append(sampler.ask())
        sampler.tell(accuracy(found[-1]))
    return found


def test_a_grid_changes_its_last_dimension_fastest_and_begins_again_at_its_end():
    settings = asked_of(make_sampler("grid", Space((LR, WEIGHT)), seed=1), 8)
    by_hand = [(0.01, 1), (0.01, 2), (0.01, 3), (0.1, 1), (0.1, 2), (0.1, 3), (0.01, 1), (0.01, 2)]
    assert [tuple(one.values()) for one in settings] == by_hand
    assert list(settings[0]) == ["adaptation.lr", "adapters.dc.weight"]


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_without_dimensions_there_is_nothing_to_ask(sampler):
    assert asked_of(make_sampler(sampler, Space(), seed=1), 2) == [{}, {}]


MIXED = Space(
    (
        Dimension("adaptation.lr", "adaptation", "", "lr", bounds=Bounds(1e-4, 1e-1, log=True, whole=False)),
        Dimension("adaptation.batch_size", "adaptation", "", "batch_size", bounds=Bounds(8, 32, log=False, whole=True)),
        Dimension("adaptation.optimizer", "adaptation", "", "optimizer", choices=("sgd", "adam")),
        WEIGHT,
    )
)


@pytest.mark.parametrize("name", OPTUNAS)
def test_a_sampler_keeps_to_the_space_and_does_the_same_again(name):
    def settings(seed):
        # the best lr is 0.01, the best weight the largest
        return asked_of(
            make_sampler(name, MIXED, seed=seed),
            6,
            lambda one: one["adapters.dc.weight"] / 3 - abs(math.log10(one["adaptation.lr"]) + 2) / 10,
        )

    found = settings(1)
    assert found == settings(1)
    assert found != settings(2)
    for one in found:
        assert 1e-4 <= one["adaptation.lr"] <= 1e-1
        assert isinstance(one["adaptation.batch_size"], int)
        assert 8 <= one["adaptation.batch_size"] <= 32
        assert one["adaptation.optimizer"] in {"sgd", "adam"}
        assert one["adapters.dc.weight"] in {1, 2, 3}


def test_a_sampler_learns_from_what_it_is_told():
    """Optuna's default for single objectives finds a known optimum nearer than chance would."""
    space = Space((Dimension("x", "adaptation", "", "x", bounds=Bounds(0.0, 1.0, log=False, whole=False)),))

    def distance(name):
        found = asked_of(make_sampler(name, space, seed=3), 40, lambda one: 1 - abs(one["x"] - 0.7))
        return sum(abs(one["x"] - 0.7) for one in found[20:]) / 20

    assert distance("tpe") < distance("random") / 2


def test_a_choice_of_numbers_is_proposed_by_rank():
    """So that a sampler that knows numbers knows which are near each other, whatever order they were listed in."""
    seen = {}

    class Trial(SimpleNamespace):
        def suggest_int(self, name, low, high):
            seen[name] = (low, high)
            return 1

    from harness.engine.sampling import _suggested

    assert _suggested(Trial(), Dimension("n", "adaptation", "", "n", choices=(30, 10, 20))) == 20
    assert seen == {"n": (0, 2)}


def test_the_generators_are_left_as_they_were():
    import random

    import torch

    before = torch.random.get_rng_state(), random.getstate()
    asked_of(make_sampler("gp", MIXED, seed=1), 3)
    assert torch.equal(torch.random.get_rng_state(), before[0])
    assert random.getstate() == before[1]


def test_a_sobol_sequence_is_scrambled_by_the_seed_and_covers_the_space_evenly():
    """Of 2^k points of a (0, m, 1)-net each of 2^k equal intervals has one, whatever the scrambling (Owen, 1995)."""
    space = Space((Dimension("x", "adaptation", "", "x", bounds=Bounds(0.0, 1.0, log=False, whole=False)),))

    def points(seed):
        # Optuna draws the first at random, to learn the dimensions from it.
        return [one["x"] for one in asked_of(make_sampler("qmc", space, seed=seed), 17)[1:]]

    first, second = points(1), points(2)
    assert not set(first) & set(second)
    for found in (first, second):
        assert sorted(int(16 * point) for point in found) == list(range(16))


@pytest.mark.parametrize("name", OPTUNAS)
def test_a_trial_that_came_to_nothing_is_no_measurement(name):
    """Optuna calls such a trial failed; its samplers fit nothing to it, and go on."""
    sampler = make_sampler(name, Space((LR, WEIGHT)), seed=1)
    for accuracy in (None, 0.25, None):
        sampler.ask()
        sampler.tell(accuracy)
    assert [(trial.state.name, trial.value) for trial in sampler._study.trials] == [
        ("FAIL", None),
        ("COMPLETE", 0.25),
        ("FAIL", None),
    ]
    assert set(sampler.ask()) == {"adaptation.lr", "adapters.dc.weight"}


def test_a_grid_goes_on_after_a_trial_that_came_to_nothing():
    sampler = make_sampler("grid", Space((LR,)), seed=1)
    first = sampler.ask()
    sampler.tell(None)
    assert (first, sampler.ask()) == ({"adaptation.lr": 0.01}, {"adaptation.lr": 0.1})


def test_arms_with_the_same_dimensions_are_drawn_the_same():
    first, second = (make_sampler("random", Space((LR, WEIGHT)), seed=4) for _ in range(2))
    assert asked_of(first, 5) == asked_of(second, 5)
