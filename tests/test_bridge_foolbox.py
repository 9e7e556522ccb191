import inspect
import logging
import random
import subprocess
import sys
import warnings

import numpy as np
import pytest
import torch
from bridge_toys import CLASSES, Bench, Toy, toward, view_of
from cases_foolbox import CASES
from casing import Case
from torch import nn
from toys import pixel_classifier, random_images

from harness.api import PluginError
from harness.criteria import attack_criterion
from harness.engine.attacking import Attacker
from harness.manager import Manager
from harness.testing import run_checks
from harness_foolbox import attacks as bridge
from harness_foolbox import from_foolbox, to_foolbox
from harness_foolbox.describe import LEFT_OUT, describe, exported, kebab
from harness_foolbox.facts import FACTS
from harness_foolbox.library import load, quiet
from harness_foolbox.shields import BLACK_WHERE_FAILED, NAN_WHERE_FLAT, repaired

torch.set_num_threads(1)

foolbox = load()
TABLE = bridge.BRIDGE.table
NEEDS_NUMBA = {entry.name for entry in TABLE.attacks if "brendel" in entry.name}
try:
    import numba
except ModuleNotFoundError:
    numba = None
RUNNABLE = [entry for entry in TABLE.attacks if entry.name not in NEEDS_NUMBA]
COUNT, SIDE, FEW_STEPS = 4, 8, 15
SHAPE = (3, SIDE, SIDE)


TOY = Toy.of(SIDE, COUNT)
NETWORK, IMAGES, PREDICTED, SECOND = TOY.network, TOY.images, TOY.predicted, TOY.second
POOL = random_images(64, seed=4, shape=SHAPE)
POOL_LABELS = NETWORK(POOL).argmax(1)


class FakeExamples:
    """Offers each sample the first image of the pool that reaches its objective."""

    def __init__(self, images=IMAGES, pool=POOL):
        self.images, self.pool = images, pool

    def reaching(self, criterion):
        images, found = self.images.clone(), []
        for row, label in enumerate(criterion.labels):
            labels = NETWORK(self.pool).argmax(1)
            places = ((labels == label) if criterion.targeted else (labels != label)).nonzero().flatten()
            found.append(len(places) > 0)
            if found[-1]:
                images[row] = self.pool[places[0]]
        return images, torch.tensor(found)


def quick(entry):
    """Return few steps, where they are many, and what the conformance test takes."""
    many = [option for option in entry.options if option.name == "steps" and option.default >= 100]
    steps = {option.name: FEW_STEPS for option in many}
    return {**steps, **CASES.get(entry.name, Case()).options}


BENCH = Bench(bridge, {entry.name: Case(quick(entry)) for entry in TABLE.attacks})


def made(name, **options):
    attack = BENCH.made(name, **options)
    attack.examples = FakeExamples()
    return attack


def seeded(seed=7):
    torch.manual_seed(seed)
    np.random.seed(seed)  # noqa: NPY002 (what Foolbox draws from)
    random.seed(seed)


def directly(target, criterion, images=IMAGES, network=NETWORK, *, eps=None, options=None, **more):
    model = foolbox.PyTorchModel(network, bounds=(0, 1), device="cpu")
    seeded()
    with quiet():
        return getattr(foolbox.attacks, target)(**(options or {}))(model, images, criterion, epsilons=eps, **more)


@pytest.fixture(autouse=True)
def own_generators():
    states = torch.get_rng_state(), np.random.get_state(), random.getstate()  # noqa: NPY002
    seeded()
    yield
    torch.set_rng_state(states[0])
    np.random.set_state(states[1])  # noqa: NPY002
    random.setstate(states[2])


def test_committed_table_is_what_the_installed_foolbox_gives():
    assert bridge.BRIDGE.table_path.read_text(encoding="utf-8") == describe().text


def test_every_exported_attack_is_offered_once_or_left_out_with_a_reason():
    assert {entry.target for entry in TABLE.attacks} | set(LEFT_OUT) == set(exported())
    assert not set(FACTS) & set(LEFT_OUT)
    assert len({entry.name for entry in TABLE.attacks}) == len(TABLE.attacks)


def test_manager_offers_the_attacks_by_their_names():
    offered = {plugin.name for plugin in Manager.discover().names("attack") if plugin.package == "foolbox"}
    assert offered == {entry.name for entry in TABLE.attacks}


@pytest.mark.parametrize(
    ("target", "name"),
    [
        ("LinfFastGradientAttack", "linf-fast-gradient"),
        ("L2DeepFoolAttack", "l2-deepfool"),
        ("DDNAttack", "ddn"),
        ("LInfFMNAttack", "linf-fmn"),
        ("GenAttack", "gen-attack"),
        ("L2ClippingAwareRepeatedAdditiveGaussianNoiseAttack", "l2-clipping-aware-repeated-additive-gaussian-noise"),
        ("LinfMomentumIterativeFastGradientMethod", "linf-momentum-iterative-fast-gradient-method"),
    ],
)
def test_names_are_those_of_the_classes_in_kebab_case(target, name):
    assert kebab(target) == name


def test_cases_name_attacks_that_exist():
    assert set(CASES) <= {entry.name for entry in TABLE.attacks}


@pytest.mark.parametrize("entry", TABLE.attacks, ids=lambda entry: entry.name)
def test_options_and_defaults_are_those_of_the_signature(entry):
    parameters = inspect.signature(exported()[entry.target]).parameters
    for option in entry.options:
        if option.name != "eps" and parameters[option.name].default is not inspect.Parameter.empty:
            assert parameters[option.name].default == option.default
    fixed = issubclass(exported()[entry.target], foolbox.attacks.base.FixedEpsilonAttack)
    assert ("eps" in [option.name for option in entry.options]) == fixed
    defaults = getattr(bridge, entry.attribute).options_type()
    assert defaults.model_dump() == {option.name: option.default for option in entry.options}


@pytest.mark.parametrize("entry", RUNNABLE, ids=lambda entry: entry.name)
def test_norm_is_the_one_of_foolboxs_own_distance(entry):
    try:
        p = made(entry.name).made().distance.p
    except (ValueError, AttributeError):
        assert "norm of its own" in entry.remark or entry.name == "pointwise"
    else:
        assert entry.norm == {0: "l0", 1: "l1", 2: "l2", np.inf: "linf"}[p]


def generator_states():
    return torch.get_rng_state().tolist(), str(np.random.get_state()), random.getstate()  # noqa: NPY002


def objective_of(entry):
    return toward(SECOND) if entry.targeted else attack_criterion(PREDICTED)


@pytest.mark.parametrize("entry", RUNNABLE, ids=lambda entry: entry.name)
def test_declared_gradients_are_what_a_run_uses(entry):
    watched = view_of(NETWORK)
    made(entry.name).run(watched, IMAGES, objective_of(entry))
    assert (watched.observer.passes.backward > 0) == entry.gradients


MANAGER = Manager.discover()
FEW = {"steps": 5, "directions": 10, "initial_gradient_eval_steps": 10, "max_gradient_eval_steps": 50, "repeats": 5}
"""What makes the defaults quick without another start, loss or norm."""


@pytest.mark.parametrize("entry", RUNNABLE, ids=lambda entry: entry.name)
def test_randomness_is_declared_as_seeds_show_it_at_the_defaults(entry):
    few = {option.name: FEW[option.name] for option in entry.options if option.name in FEW}
    plugin = MANAGER.find("attack", f"foolbox/{entry.name}")
    (result,) = run_checks(MANAGER, plugin, few, only=["stochastic-declared"])
    assert result.status == "ok", result.message


SWITCHES = {"random_start": (True, "With random_start"), "grid_search": (False, "Without grid_search")}
"""What makes an attack stochastic that is not so by default, and what its remark says then."""
SWITCHED = [
    (entry, option.name)
    for entry in RUNNABLE
    for option in entry.options
    if option.name in SWITCHES and option.default != SWITCHES[option.name][0]
]


@pytest.mark.parametrize(("entry", "option"), SWITCHED, ids=lambda value: getattr(value, "name", value))
def test_an_option_that_makes_it_stochastic_is_in_its_remark(entry, option):
    value, said = SWITCHES[option]
    results = []
    for seed in (1, 1, 2):
        seeded(seed)
        results.append(made(entry.name, **{option: value}).run(view_of(NETWORK), IMAGES, objective_of(entry)))
    assert torch.equal(results[0], results[1])
    assert not torch.equal(results[0], results[2])
    assert not entry.stochastic
    assert f"{said} it is stochastic." in entry.remark


def test_every_size_in_linf_that_lacks_a_division_by_255_is_refused():
    sizes = {
        (entry.name, option.name)
        for entry in TABLE.attacks
        for option in entry.options
        if entry.norm == "linf" and option.name in {"eps", "abs_stepsize"}
    }
    assert len(sizes) > 10
    for name, size in sizes:
        assert made(name, **{size: 1}).options
        with pytest.raises(ValueError, match="less than or equal to 1"):
            made(name, **{size: 8})


@pytest.mark.parametrize("entry", [entry for entry in RUNNABLE if entry.targeted], ids=lambda entry: entry.name)
def test_declared_targets_are_approached(entry):
    gray_or_blurred = entry.name == "gaussian-blur" or "contrast" in entry.name
    wanted = [SECOND] if not gray_or_blurred else [torch.full_like(SECOND, label) for label in range(CLASSES)]
    reached = 0
    for labels in wanted:
        perturbed = made(entry.name).run(view_of(NETWORK), IMAGES, toward(labels))
        reached += int(((NETWORK(perturbed).argmax(1) == labels) & (labels != PREDICTED)).sum())
    assert reached > 0


@pytest.mark.parametrize("entry", [entry for entry in RUNNABLE if not entry.targeted], ids=lambda entry: entry.name)
def test_attacks_without_targets_refuse_them_or_do_not_look_at_them(entry):
    results = []
    steps = {"steps": 1} if "steps" in inspect.signature(exported()[entry.target]).parameters else {}
    options = {**quick(entry), **steps}
    eps = options.pop("eps", 0.05) if entry.budget == "fixed" else None
    unlikely = NETWORK(IMAGES).topk(CLASSES, 1).indices[:, -2:]
    for labels in unlikely.T:
        criterion = foolbox.TargetedMisclassification(labels)
        try:
            results.append(directly(entry.target, criterion, eps=eps, options=options)[1])
        except ValueError as error:
            assert str(error) == "unsupported criterion"  # noqa: PT017 (some refuse, some do not)
    assert not results or torch.equal(*results)


@pytest.mark.parametrize("entry", [entry for entry in RUNNABLE if entry.untargeted], ids=lambda entry: entry.name)
def test_declared_attacks_flee_labels(entry):
    perturbed = made(entry.name).run(view_of(NETWORK), IMAGES, attack_criterion(PREDICTED))
    assert int((NETWORK(perturbed).argmax(1) != PREDICTED).sum()) > 0


def test_attack_without_untargeted_form_is_refused_by_foolbox_too():
    (name,) = (entry.name for entry in TABLE.attacks if not entry.untargeted)
    with pytest.raises(ValueError, match="unsupported criterion"):
        made(name).run(view_of(NETWORK), IMAGES, attack_criterion(PREDICTED))


@pytest.mark.parametrize("entry", RUNNABLE, ids=lambda entry: entry.name)
def test_nothing_is_left_behind(entry):
    logging.getLogger().handlers, handlers = [], logging.getLogger().handlers
    kept = (list(warnings.filters), torch.get_default_dtype(), torch.is_grad_enabled(), sys.gettrace())
    given = IMAGES.clone()
    try:
        with torch.no_grad():
            result = made(entry.name).run(view_of(NETWORK), given, objective_of(entry))
        assert logging.getLogger().handlers == []
    finally:
        logging.getLogger().handlers = handlers
    assert kept == (list(warnings.filters), torch.get_default_dtype(), torch.is_grad_enabled(), sys.gettrace())
    assert torch.equal(given, IMAGES)
    assert not result.requires_grad
    assert all(parameter.grad is None for parameter in NETWORK.parameters())


SHIELDED = {"SparseL1DescentAttack"}
LIKE_FOOLBOX = [
    entry for entry in RUNNABLE if not entry.examples and entry.target not in SHIELDED and entry.name != "l0-fmn"
]


@pytest.mark.parametrize("targeted", [True, False])
@pytest.mark.parametrize("entry", LIKE_FOOLBOX, ids=lambda entry: entry.name)
def test_result_is_foolboxs_own(entry, targeted):
    if not (entry.targeted if targeted else entry.untargeted):
        return
    attack = made(entry.name)
    options = attack.options.model_dump(exclude={"eps"})
    labels = SECOND if targeted else PREDICTED
    own = (foolbox.TargetedMisclassification if targeted else foolbox.Misclassification)(labels)
    more = {"options": options, "eps": getattr(attack.options, "eps", None)}
    _, expected, success = directly(entry.target, own, **more)
    seeded()
    criterion = toward(labels) if targeted else attack_criterion(labels)
    result = attack.run(view_of(NETWORK), IMAGES, criterion)
    found = success if entry.name in {"ead", "l2-carlini-wagner"} else torch.ones(COUNT, dtype=torch.bool)
    assert torch.equal(result[found], expected[found].clamp(0, 1))


@pytest.mark.parametrize("name", ["boundary", "hop-skip-jump", "pointwise"])
def test_walk_that_flees_starts_as_foolboxs_own(name):
    attack = made(name)
    expected = directly(attack.entry.target, foolbox.Misclassification(PREDICTED), options=attack.options.model_dump())
    seeded()
    attack.examples = None
    assert torch.equal(attack.run(view_of(NETWORK), IMAGES, attack_criterion(PREDICTED)), expected[0])


@pytest.mark.parametrize("name", ["boundary", "hop-skip-jump", "pointwise"])
def test_walk_that_approaches_starts_at_the_examples(name):
    attack = made(name)
    starts, _ = FakeExamples().reaching(toward(SECOND))
    own = foolbox.TargetedMisclassification(SECOND)
    options = attack.options.model_dump()
    expected, *_ = directly(attack.entry.target, own, options=options, starting_points=starts)
    seeded()
    assert torch.equal(attack.run(view_of(NETWORK), IMAGES, toward(SECOND)), expected)


FIXED = [entry for entry in RUNNABLE if any(option.name == "eps" for option in entry.options)]


@pytest.mark.parametrize("entry", FIXED, ids=lambda entry: entry.name)
def test_what_is_clipped_to_eps_is_rounding_except_for_uniform_linf_noise(entry):
    attack = made(entry.name)
    images = IMAGES * 0.5 + 0.25
    model = foolbox.PyTorchModel(NETWORK, bounds=(0, 1), device="cpu")
    seeded()
    raw, clipped, _ = attack.made()(model, images, to_foolbox(objective_of(entry)), epsilons=0.2)
    p = {"linf": torch.inf, "l2": 2, "l1": 1}[entry.norm]
    assert bool(((clipped - images).flatten(1).norm(p=p, dim=1) <= 0.2 * (1 + 1e-5)).all())
    within = bool(((raw - images).flatten(1).norm(p=p, dim=1) <= 0.2 * (1 + 1e-4)).all())
    assert within or entry.name.endswith("additive-uniform-noise")
    assert within or entry.norm == "linf"


class Confident(nn.Module):
    """Label everything 0, with a margin that depends on the image by ``slope`` alone."""

    def __init__(self, slope=0.0, margin=10.0):
        super().__init__()
        self.slope, self.margin = slope, margin

    def forward(self, images):
        mean = images.flatten(1).mean(1)
        return torch.stack([self.margin + self.slope * mean, 0 * mean], 1)


def always_zero(**how):
    return pixel_classifier(Confident(**how), classes=2).eval()


class OneConstant(nn.Module):
    """A net that gives the same logits to the images whose first pixel is 1: ``value``, and one more for ``label``."""

    def __init__(self, value, label):
        super().__init__()
        self.constant = torch.full((CLASSES,), value)
        self.constant[label] += 1

    def forward(self, images):
        switched = (images[:, 0, 0, 0] > 0.98).float()[:, None]
        return (1 - switched) * NETWORK(images) + switched * self.constant


def one_constant(value):
    """Return a net that labels the second image, where switched, as ``NETWORK`` does, and that image."""
    images = IMAGES.clone()
    images[1, 0, 0, 0] = 1.0
    return pixel_classifier(OneConstant(value, PREDICTED[1]), classes=CLASSES).eval(), images


ZEROS = torch.zeros(COUNT, dtype=torch.int64)


@pytest.mark.parametrize("name", ["l2-carlini-wagner", "ead"])
def test_sample_without_result_stays_unperturbed_where_foolbox_paints_it_black(name):
    attack = made(name, steps=2, binary_search_steps=1)
    options = attack.options.model_dump()
    hopeless = always_zero()
    black, *_ = directly(attack.entry.target, foolbox.Misclassification(ZEROS), network=hopeless, options=options)
    assert not black.any()
    assert torch.equal(attack.run(view_of(hopeless), IMAGES, attack_criterion(ZEROS)), IMAGES)


def test_newtonfool_leaves_a_sample_without_gradient_as_it_is_where_foolbox_makes_it_nan():
    network, images = one_constant(0.0)
    own = foolbox.Misclassification(PREDICTED)
    broken, *_ = directly("NewtonFoolAttack", own, images, network, options={"steps": 5})
    assert broken.isnan().flatten(1).any(1).tolist() == [False, True, False, False]
    result = made("newtonfool", steps=5).run(view_of(network), images, attack_criterion(PREDICTED))
    assert (result != images).flatten(1).any(1).tolist() == [True, False, True, True]


@pytest.mark.parametrize("target", sorted(NAN_WHERE_FLAT))
def test_a_batch_of_vanishing_gradients_stays_unperturbed(target):
    attack, sure = made(kebab(target)), always_zero()
    found = Attacker(attack, sure, name=kebab(target), seed=1).attack_batch(IMAGES, ZEROS, torch.arange(COUNT))
    assert torch.equal(found.images, IMAGES)
    assert "becomes NaN in Foolbox" in attack.entry.remark


@pytest.mark.parametrize("entry", TABLE.attacks, ids=lambda entry: entry.name)
def test_only_what_an_attack_is_known_for_is_mended(entry):
    broken = torch.full_like(IMAGES, 0.5)
    broken[1, 0, 0, 0] = torch.nan
    broken[2] = 0.0
    broken[3] = 1.002
    found = repaired(entry.target, broken, IMAGES, norm=entry.norm, bounds=(0.0, 1.0))
    known_nan, known_black = entry.target in NAN_WHERE_FLAT, entry.target in BLACK_WHERE_FAILED
    assert torch.equal(found[1], IMAGES[1] if known_nan else broken[1]) or (found[1].isnan().any() and not known_nan)
    assert torch.equal(found[2], IMAGES[2] if known_black else broken[2])
    assert torch.equal(found[3], broken[3])
    assert torch.equal(found[0], broken[0])
    assert "stays unperturbed" in (entry.remark or "") or not (known_nan or known_black)


def test_pixels_beyond_the_bounds_by_rounding_are_brought_back():
    beyond = torch.stack([torch.full(SHAPE, 1.0008), torch.full(SHAPE, -0.0008), torch.full(SHAPE, -0.002)])
    found = repaired("DDNAttack", beyond, torch.zeros_like(beyond), norm="l2", bounds=(0.0, 1.0))
    assert found.amax((1, 2, 3)).tolist() == [1.0, 0.0, pytest.approx(-0.002)]


def test_virtual_adversarial_attack_leaves_a_sample_without_gradient_as_it_is_where_foolbox_makes_it_nan():
    network, images = one_constant(0.0)
    own, options = foolbox.Misclassification(PREDICTED), {"steps": 1}
    broken, *_ = directly("VirtualAdversarialAttack", own, images, network, options=options, eps=0.5)
    assert broken.isnan().flatten(1).any(1).tolist() == [False, True, False, False]
    result = made("virtual-adversarial").run(view_of(network), images, attack_criterion(PREDICTED))
    assert (result != images).flatten(1).any(1).tolist() == [True, False, True, True]


def test_genetic_attack_perturbs_the_others_where_one_has_logits_beyond_float_range():
    network, images = one_constant(200.0)
    options = {"steps": 2}
    with pytest.raises(ValueError, match="NaN"):
        directly("GenAttack", foolbox.TargetedMisclassification(SECOND), images, network, options=options, eps=0.005)
    result = made("gen-attack", steps=2, eps=0.005).run(view_of(network), images, toward(SECOND))
    moved = (result != images).flatten(1).any(1)
    assert moved.tolist() == [True, False, True, True]


def test_l0_fmn_outlasts_the_moment_when_all_entries_may_change():
    images, network = IMAGES[:, :, :2, :2], always_zero(slope=1e-3)
    with pytest.raises(IndexError):
        directly("L0FMNAttack", foolbox.Misclassification(ZEROS), images, network)
    assert torch.equal(made("l0-fmn").run(view_of(network), images, attack_criterion(ZEROS)), images)


def test_l0_fmn_is_foolboxs_own_until_then():
    expected, *_ = directly("L0FMNAttack", foolbox.Misclassification(PREDICTED), options={"steps": FEW_STEPS})
    seeded()
    assert torch.equal(made("l0-fmn").run(view_of(NETWORK), IMAGES, attack_criterion(PREDICTED)), expected)


def test_sparse_l1_projection_is_the_nearest_point_of_the_ball():
    import eagerpy as ep

    original = torch.zeros(3, 1, 2, 2)
    moved = torch.zeros(3, 1, 2, 2)
    moved[0, 0, 0, 0], moved[0, 0, 1, 1] = 0.5, 0.1
    moved[1] = 5.0
    moved[2, 0, 0] = torch.tensor([3.0, 1.0])
    arguments = ep.astensor(moved), ep.astensor(original), 1.0
    broken = foolbox.attacks.SparseL1DescentAttack().project(*arguments).raw
    assert broken[1].sum() > 3.9
    assert broken[0].sum() > 1.5
    projected = made("sparse-l1-descent").made().project(*arguments).raw
    # By hand: inside the ball already; 4 equal entries; soft threshold 2 leaves the largest alone.
    expected = moved.clone()
    expected[1], expected[2] = 0.25, 0.0
    expected[2, 0, 0, 0] = 1.0
    assert torch.allclose(projected, expected)


def test_sparse_l1_step_is_foolboxs_own_inside_the_ball():
    _, expected, _ = directly(
        "SparseL1DescentAttack", foolbox.Misclassification(PREDICTED), options={"steps": 3}, eps=12.0
    )
    result = made("sparse-l1-descent", steps=3).run(view_of(NETWORK), IMAGES, attack_criterion(PREDICTED))
    assert torch.allclose(result, expected, atol=1e-6)


@pytest.mark.parametrize("name", ["boundary", "hop-skip-jump", "pointwise"])
def test_sample_without_start_stays_and_the_others_are_attacked(name):
    attack = made(name)
    starts, _ = FakeExamples().reaching(toward(SECOND))
    starts[2] = IMAGES[2]
    own = foolbox.TargetedMisclassification(SECOND)
    with pytest.raises((ValueError, AssertionError)):
        directly(attack.entry.target, own, options=attack.options.model_dump(), starting_points=starts)

    class OneWrong(FakeExamples):
        def reaching(self, criterion):
            return starts, torch.ones(COUNT, dtype=torch.bool)

    attack.examples = OneWrong()
    result = attack.run(view_of(NETWORK), IMAGES, toward(SECOND))
    assert (NETWORK(result).argmax(1) == SECOND).tolist() == [True, True, False, True]
    assert torch.equal(result[2], IMAGES[2])


def test_example_starts_a_sample_that_foolboxs_own_search_fails_for():
    dark = pixel_classifier(Bright(), classes=2).eval()
    images, bright = IMAGES * 0.1, torch.ones_like(IMAGES)
    with pytest.raises(ValueError, match="init_attack failed"):
        directly("BoundaryAttack", foolbox.Misclassification(ZEROS), images, dark, options={"steps": 5})
    attack = made("boundary", steps=5)
    attack.examples = FakeExamples()
    attack.examples.reaching = lambda criterion: (bright, torch.ones(COUNT, dtype=torch.bool))
    assert dark(attack.run(view_of(dark), images, attack_criterion(ZEROS))).argmax(1).tolist() == [1] * COUNT


class Bright(nn.Module):
    """Label 1 the images that are brighter than noise ever is."""

    def forward(self, images):
        mean = images.flatten(1).mean(1)
        return torch.stack([0.8 - mean, mean - 0.8], 1)


def test_walk_without_any_start_returns_the_images():
    attack = made("boundary")
    attack.examples = FakeExamples()
    attack.examples.reaching = lambda criterion: (IMAGES, torch.zeros(COUNT, dtype=torch.bool))
    assert torch.equal(attack.run(view_of(NETWORK), IMAGES, toward(SECOND)), IMAGES)


class Binarizing(nn.Module):
    """Label by the number of pixels above one half, and nothing else."""

    def forward(self, images):
        share = (images >= 0.5).float().flatten(1).mean(1)
        return torch.stack([0.5 - share, share - 0.5], 1)


def test_binarization_refinement_moves_entries_to_the_threshold_alone():
    binary = pixel_classifier(Binarizing(), classes=2).eval()
    images = torch.full((2, *SHAPE), 0.2)
    images[0, 0] = 0.9
    starts = torch.full_like(images, 0.8)
    attack = made("binarization-refinement")
    attack.examples = FakeExamples(images)
    attack.examples.reaching = lambda criterion: (starts, torch.ones(2, dtype=torch.bool))
    result = attack.run(view_of(binary), images, attack_criterion(ZEROS[:2]))
    assert torch.equal(result, images.clamp(min=0.5))
    assert binary(result).argmax(1).tolist() == [1, 1]


def test_binarization_refinement_leaves_only_the_samples_alone_whose_label_would_change():
    attack = made("binarization-refinement")
    result = attack.run(view_of(NETWORK), IMAGES, attack_criterion(PREDICTED))
    moved = (result != IMAGES).flatten(1).any(1)
    starts, _ = FakeExamples().reaching(attack_criterion(PREDICTED))
    with pytest.raises(ValueError, match="threshold does not match"):
        directly("BinarizationRefinementAttack", foolbox.Misclassification(PREDICTED), starting_points=starts)
    assert torch.equal(NETWORK(result).argmax(1) != PREDICTED, moved)


def test_dataset_attack_gives_a_single_sample_its_example():
    attack = made("dataset")
    attack.examples = FakeExamples(IMAGES[:1])
    result = attack.run(view_of(NETWORK), IMAGES[:1], toward(SECOND[:1]))
    assert torch.equal(result, FakeExamples(IMAGES[:1]).reaching(toward(SECOND[:1]))[0])


def test_dataset_attack_offers_every_sample_its_own_example():
    result = made("dataset").run(view_of(NETWORK), IMAGES, toward(SECOND))
    assert torch.equal(NETWORK(result).argmax(1), SECOND)


@pytest.mark.skipif(numba is not None, reason="numba is installed")
@pytest.mark.parametrize("name", sorted(NEEDS_NUMBA))
def test_missing_numba_is_named_with_how_to_install_it(name):
    with pytest.raises(PluginError, match='needs numba: run "pip install numba"'):
        made(name).run(view_of(NETWORK), IMAGES, toward(SECOND))


@pytest.mark.slow
@pytest.mark.skipif(numba is None, reason="numba is not installed")
@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", sorted(NEEDS_NUMBA))
def test_boundary_walks_with_numba_approach_and_flee(name):
    (entry,) = (entry for entry in TABLE.attacks if entry.name == name)
    watched = view_of(NETWORK)
    before = generator_states()
    near = made(name).run(watched, IMAGES, toward(SECOND))
    away = made(name).run(watched, IMAGES, attack_criterion(PREDICTED))
    assert torch.equal(NETWORK(near).argmax(1), SECOND)
    assert bool((NETWORK(away).argmax(1) != PREDICTED).all())
    assert (watched.observer.passes.backward > 0) == entry.gradients
    assert (generator_states() != before) == entry.stochastic


def test_missing_foolbox_is_named_with_how_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "foolbox", None)
    with pytest.raises(PluginError, match=r"Foolbox cannot be imported.*pip install"):
        made("ddn").run(view_of(NETWORK), IMAGES, toward(SECOND))


def test_foolbox_without_the_attack_is_named(monkeypatch):
    attack = made("ddn")
    monkeypatch.delattr(foolbox.attacks, "DDNAttack")
    with pytest.raises(PluginError, match=r"has no DDNAttack; this bridge was made for .*: run \"pip install"):
        attack.run(view_of(NETWORK), IMAGES, toward(SECOND))


def test_adam_of_l1_and_l2_basic_iterative_attacks_takes_plain_steps():
    for norm in ("l1", "l2"):
        plain, adam = made(f"{norm}-basic-iterative"), made(f"{norm}-adam-basic-iterative")
        assert torch.equal(
            plain.run(view_of(NETWORK), IMAGES, attack_criterion(PREDICTED)),
            adam.run(view_of(NETWORK), IMAGES, attack_criterion(PREDICTED)),
        )


@pytest.mark.parametrize("kind", ["Misclassification", "TargetedMisclassification"])
def test_foolboxs_verdict_is_ours_both_ways(kind):
    draws = torch.Generator().manual_seed(0)
    logits = torch.randn(200, 3, generator=draws)
    labels, true = torch.randint(3, (2, 200), generator=draws)
    theirs = getattr(foolbox.criteria, kind)(labels)
    ours = from_foolbox(theirs, true)
    verdict = theirs(None, logits)
    assert torch.equal(ours.reached(logits), verdict)
    assert torch.equal(from_foolbox(theirs).met(logits), verdict)
    assert torch.equal(ours.met(logits), logits.argmax(1) == true)
    back = to_foolbox(ours)
    assert type(back) is type(theirs)
    assert torch.equal(back(None, logits), verdict)
    rows = torch.arange(5)
    assert torch.equal(ours[rows].reached(logits[rows]), verdict[rows])
    assert torch.equal(ours[rows].met(logits[rows]), ours.met(logits)[rows])


@pytest.mark.parametrize("kind", ["Misclassification", "TargetedMisclassification"])
def test_lower_loss_is_nearer_to_foolboxs_verdict(kind):
    theirs = getattr(foolbox.criteria, kind)(torch.tensor([0]))
    rising = torch.tensor([[-2.0, 0.0], [2.0, 0.0]])
    losses = [float(from_foolbox(theirs).loss(logits[None])) for logits in rising]
    adversarial = [bool(theirs(None, logits[None])) for logits in rising]
    assert (losses[0] < losses[1]) == adversarial[0]
    assert adversarial[0] != adversarial[1]


def test_harness_criterion_becomes_the_foolbox_criterion_of_its_direction():
    assert isinstance(to_foolbox(attack_criterion(PREDICTED)), foolbox.criteria.Misclassification)
    assert isinstance(to_foolbox(toward(PREDICTED)), foolbox.criteria.TargetedMisclassification)


def test_combined_criterion_is_refused_with_what_is_expected():
    both = foolbox.criteria.Misclassification(PREDICTED) & foolbox.criteria.TargetedMisclassification(SECOND)
    with pytest.raises(PluginError, match="got _And, expected Misclassification or TargetedMisclassification"):
        from_foolbox(both)


def test_names_are_listed_without_torch_or_foolbox():
    code = (
        "import sys, harness_foolbox; assert len(harness_foolbox.harness_attacks()) > 50;"
        "import harness_foolbox.attacks as bridge; bridge.DDNAttack.options_type();"
        "assert not {'torch', 'foolbox', 'scipy', 'eagerpy'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
