import random
import re
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from bridge_toys import CLASSES, Bench, Toy, smooth_net
from cases_torchattacks import CASES
from torch import nn
from toys import Threshold, pixel_classifier, random_images

from harness.api import PluginError
from harness.criteria import LabelCriterion, attack_criterion
from harness.engine.attacking import Attacker, Corrector
from harness.engine.norms import per_sample_norm
from harness.engine.observing import ObservedClassifier, Observer
from harness.engine.randomness import isolated_generators
from harness.manager import Manager
from harness.testing import run_checks
from harness_torchattacks import attacks as bridge
from harness_torchattacks import harness_attacks
from harness_torchattacks.describe import LEFT_OUT, describe
from harness_torchattacks.fitting import NOT_FINITE, OUT_OF_BOUNDS, fitted
from harness_torchattacks.library import import_torchattacks
from harness_torchattacks.offered import OFFERS
from harness_torchattacks.vocabulary import RENAMED, RENAMED_IN, UNOFFERED, UNOFFERED_IN, WORDS, WORDS_IN

torch.set_num_threads(1)

torchattacks = import_torchattacks()
BRIDGE = bridge.BRIDGE
COUNT, SIDE = 6, 8
SHAPE = (3, SIDE, SIDE)
RANDOM_IF_ASKED = {"upgd": {"random_start": True}}
MANAGER = Manager.discover()
FEW = {"steps": 5, "n_queries": 20, "restarts": 5, "popsize": 5, "nb_sample": 8, "max_batch_size": 8}
"""What makes the defaults quick without another start, loss or norm."""
FEW_IN = {"eaden": {"steps": 10}, "eadl1": {"steps": 10}}

PATIENT = {
    "eaden": {"lr": 0.01, "steps": 60, "binary_search_steps": 6},
    "eadl1": {"lr": 0.01, "steps": 60, "binary_search_steps": 6},
}


TOY = Toy.of(SIDE, COUNT)
NETWORK, IMAGES, PREDICTED, SECOND = TOY.network, TOY.images, TOY.predicted, TOY.second
TOWARD, AWAY = TOY.toward, TOY.away
BENCH = Bench(bridge, CASES, TOY)
ENTRIES, made, ran = BENCH.entries, BENCH.made, BENCH.ran


def directly(target, criterion, *, seed=5, network=NETWORK, images=IMAGES, seeded=False, **arguments):
    """What the library returns when it is called as its manual says."""
    with isolated_generators(seed), warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        if seeded:
            arguments["seed"] = int(torch.randint(2**31 - 1, ()))
        attack = getattr(torchattacks, target)(network, **arguments)
        if criterion.targeted:
            attack.set_mode_targeted_by_label(quiet=True)
        return attack(images.clone(), criterion.labels.clone()).detach()


def same(found, expected):
    """Equal but for the rounding beyond eps that is scaled down, and not the images that both started from."""
    return torch.allclose(found, expected, rtol=0, atol=1e-7) and not torch.equal(found, IMAGES)


def global_state():
    return (
        torch.is_grad_enabled(),
        torch.get_default_dtype(),
        torch.backends.cudnn.benchmark,
        list(warnings.filters),
        sys.gettrace(),
        sys.stdout,
        np.geterr(),
    )


# What is offered


def test_the_table_is_what_the_installed_library_describes():
    assert BRIDGE.table_path.read_text(encoding="utf-8") == describe().text


def test_every_attack_that_the_library_exports_is_offered_or_left_out_with_a_reason():
    offered = {offer.target for offer in OFFERS}
    assert offered | LEFT_OUT.keys() == set(torchattacks.__all__)
    assert not offered & LEFT_OUT.keys()
    assert all(LEFT_OUT.values())


def test_names_are_sorted_and_each_is_offered_once():
    names = [entry.name for entry in BRIDGE.table.attacks]
    assert names == sorted(set(names))
    assert len({entry.attribute for entry in BRIDGE.table.attacks}) == len(names)
    assert list(harness_attacks()) == names


def test_no_word_of_the_vocabulary_is_about_nothing():
    import inspect

    signatures = {offer.target: inspect.signature(getattr(torchattacks, offer.target)).parameters for offer in OFFERS}
    options = {(entry.target, option.name) for entry in ENTRIES.values() for option in entry.options}
    spoken = {name for target, name in options if (target, name) not in WORDS_IN} - {
        "smallest_width",
        "largest_width",
        "smallest_height",
        "largest_height",
    }
    assert spoken == WORDS.keys()
    assert WORDS_IN.keys() <= options
    assert {*UNOFFERED, *RENAMED} <= {name for parameters in signatures.values() for name in parameters}
    assert all(name in signatures[target] for target, name in [*UNOFFERED_IN, *RENAMED_IN])


def test_names_and_options_are_read_without_torch_and_without_the_library():
    code = (
        "import sys, harness_torchattacks as package\n"
        "from harness_torchattacks import attacks\n"
        "assert len(package.harness_attacks()) == len(attacks.BRIDGE.table.attacks) > 35\n"
        "assert attacks.Pgd.options_type().steps == 10\n"
        "assert not {'torch', 'torchvision', 'torchattacks', 'scipy', 'numpy'} & sys.modules.keys(), sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_library_imports_neither_requests_nor_what_else_it_asks_for_in_vain():
    sources = [path.read_text(encoding="utf-8") for path in Path(torchattacks.__file__).parent.rglob("*.py")]
    assert not any(re.search(r"^\s*(import|from) (requests|torchvision)", source, re.MULTILINE) for source in sources)


def test_a_missing_library_is_an_error_that_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "torchattacks", None)
    with pytest.raises(PluginError, match=r"pip install --no-deps torchattacks==3\.5\.1 tqdm"):
        ran("pgd", AWAY)


@pytest.mark.parametrize(("norm", "eps"), [("linf", 8 / 255), ("l2", 0.5)])
def test_bounded_attacks_start_from_one_budget(norm, eps):
    defaults = {
        option.default
        for entry in ENTRIES.values()
        for option in entry.options
        if option.name == "eps" and entry.norm == norm
    }
    assert defaults == {eps}


# What they can do


@pytest.mark.parametrize("name", sorted(ENTRIES))
def test_gradients_are_declared_as_they_are_counted(name):
    observer = Observer()
    ran(name, TOWARD if ENTRIES[name].targeted else AWAY, observer=observer)
    assert (observer.passes.backward > 0) == ENTRIES[name].gradients


@pytest.mark.parametrize("name", sorted(ENTRIES))
def test_randomness_is_declared_as_seeds_show_it_at_the_defaults(name):
    known = {option.name for option in ENTRIES[name].options}
    few = {option: value for option, value in FEW.items() if option in known} | FEW_IN.get(name, {})
    (result,) = run_checks(MANAGER, MANAGER.find("attack", f"torchattacks/{name}"), few, only=["stochastic-declared"])
    assert result.status == "ok", result.message


@pytest.mark.parametrize("name", sorted(RANDOM_IF_ASKED))
def test_an_option_that_makes_it_stochastic_is_in_its_remark(name):
    (option,) = RANDOM_IF_ASKED[name]
    first, again, other = (ran(name, TOWARD, seed=seed, **RANDOM_IF_ASKED[name]) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert not ENTRIES[name].stochastic
    assert f"With {option} it is stochastic." in ENTRIES[name].remark


@pytest.mark.parametrize("name", sorted(name for name, entry in ENTRIES.items() if entry.targeted))
def test_targeted_attacks_reach_labels_that_they_are_given(name):
    assert TOWARD.reached(NETWORK(ran(name, TOWARD))).any()


@pytest.mark.parametrize("name", sorted(name for name, entry in ENTRIES.items() if not entry.targeted))
def test_the_library_refuses_to_target_where_we_do(name):
    entry = ENTRIES[name]
    if entry.constants.get("multi_targeted"):
        pytest.skip("goes through every label by itself")
    with pytest.raises(ValueError, match="not supported"):
        directly(entry.target, TOWARD)


@pytest.mark.parametrize("name", sorted(name for name, entry in ENTRIES.items() if entry.untargeted))
def test_untargeted_attacks_flee_labels_that_they_are_given(name):
    assert AWAY.reached(NETWORK(ran(name, AWAY))).any()


def test_jsma_without_a_target_aims_at_the_next_of_ten_labels():
    aimed_at = LabelCriterion(torch.zeros_like(PREDICTED), targeted=True, goal=PREDICTED)
    toward_zero = directly("JSMA", aimed_at, network=smooth_net(SIDE, seed=1))
    with pytest.raises(IndexError):
        directly("JSMA", attack_criterion(torch.full_like(PREDICTED, 4)), network=smooth_net(SIDE, seed=1))
    assert aimed_at.reached(smooth_net(SIDE, seed=1)(toward_zero)).any()


def spent(name, row, by):
    """The norm spent on an image as near to its second label as ``by`` of the way brings it, and whether to any avail."""
    entry, network, image = ENTRIES[name], smooth_net(SIDE), IMAGES[row : row + 1]
    with torch.no_grad():
        logits = network(image)[0]
        network.net[3].bias[SECOND[row]] += by * (logits[PREDICTED[row]] - logits[SECOND[row]])
    criterion = (AWAY if entry.untargeted else TOWARD)[torch.tensor([row])]
    found = ran(name, criterion, network=network, images=image, **PATIENT.get(name, {}))
    return float(per_sample_norm(found - image, entry.norm)), bool(criterion.reached(network(found)))


@pytest.mark.parametrize("name", sorted(ENTRIES.keys() - {"pixle"}))
def test_minimal_attacks_spend_less_on_nearer_samples_and_the_others_do_not(name):
    pairs = [(spent(name, row, 0.0), spent(name, row, 0.95)) for row in (1, 2)]
    if ENTRIES[name].budget == "fixed":
        assert all(near > 0.9 * far for (far, _), (near, _) in pairs)
        return
    both = [(far, near) for (far, far_reached), (near, near_reached) in pairs if far_reached and near_reached]
    far, near = (sum(norms) for norms in zip(*both, strict=True))
    assert near < 0.9 * far or (ENTRIES[name].norm == "l0" and near == len(both))


# What the library returns, and nothing else


@pytest.mark.parametrize("criterion", [TOWARD, AWAY], ids=["toward", "away"])
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("fgsm", {"eps": 0.05}),
        ("bim", {"eps": 0.05, "alpha": 0.01, "steps": 7}),
        ("pgd", {"eps": 0.05, "alpha": 0.01, "steps": 7}),
        ("pgdl2", {"eps": 1.0, "alpha": 0.3, "steps": 7}),
        ("mifgsm", {"eps": 0.05, "decay": 0.5}),
        ("vmifgsm", {"eps": 0.05, "N": 2, "steps": 3}),
        ("sinifgsm", {"eps": 0.05, "m": 3}),
        ("rfgsm", {"eps": 0.05}),
        ("eotpgd", {"eot_iter": 3}),
    ],
)
def test_results_are_the_librarys_bit_for_bit(name, options, criterion):
    expected = directly(ENTRIES[name].target, criterion, **options)
    found = ran(name, criterion, **options)
    assert same(found, expected)


@pytest.mark.parametrize("criterion", [TOWARD, AWAY], ids=["toward", "away"])
def test_pixle_and_one_pixel_are_the_librarys_though_run_image_by_image(criterion):
    sizes = {"x_dimensions": (1, 4), "y_dimensions": (2, 3)}
    ours = {"smallest_width": 1, "largest_width": 4, "smallest_height": 2, "largest_height": 3}
    expected = directly("Pixle", criterion, restarts=3, max_iterations=4, **sizes)
    assert torch.equal(ran("pixle", criterion, restarts=3, max_iterations=4, **ours), expected)
    pixels = {"pixels": 4, "popsize": 60, "steps": 3}
    assert torch.equal(ran("onepixel", criterion, **pixels), directly("OnePixel", criterion, **pixels))


@pytest.mark.parametrize(("target", "name"), [("DeepFool", "deepfool"), ("SparseFool", "sparsefool")])
def test_deepfool_and_sparsefool_are_the_librarys_though_run_image_by_image(target, name):
    assert torch.equal(ran(name, AWAY), directly(target, AWAY))


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_apgd_and_square_are_the_librarys_with_a_seed_of_the_harness(norm):
    how = {"eps": 0.05 if norm == "linf" else 1.0}
    expected = directly("APGD", AWAY, seeded=True, norm=norm.capitalize(), steps=8, loss="dlr", **how)
    assert same(ran(f"apgd-{norm}", AWAY, steps=8, loss="dlr", **how), expected)
    for criterion in (TOWARD, AWAY):
        expected = directly("Square", criterion, seeded=True, norm=norm.capitalize(), n_queries=30, **how)
        assert same(ran(f"square-{norm}", criterion, n_queries=30, **how), expected)


def test_attacks_in_turn_on_every_class_take_no_more_classes_than_there_are():
    expected = directly("APGDT", AWAY, seeded=True, norm="Linf", steps=4, n_classes=CLASSES)
    assert same(ran("apgdt-linf", AWAY, steps=4, eps=8 / 255), expected)
    fewer = directly("APGDT", AWAY, seeded=True, norm="Linf", steps=4, n_classes=2)
    assert same(ran("apgdt-linf", AWAY, steps=4, eps=8 / 255, target_classes=1), fewer)


def test_patchwise_attacks_have_the_fields_names_for_their_options():
    expected = directly("PIFGSMPP", TOWARD, max_epsilon=0.05, num_iter_set=4)
    assert same(ran("pifgsmpp", TOWARD, eps=0.05, steps=4), expected)
    spsa = directly("SPSA", TOWARD, eps=0.05, nb_iter=3, nb_sample=16, max_batch_size=8)
    assert same(ran("spsa", TOWARD, eps=0.05, steps=3, lr=0.01, nb_sample=16, max_batch_size=8), spsa)


@pytest.mark.parametrize(("ours", "theirs"), [("gaussian", "guassian"), ("uniform", "uniform")])
def test_gaussian_noise_is_what_the_library_spells_otherwise(ours, theirs):
    expected = directly("PGDRS", TOWARD, steps=4, noise_type=theirs)
    assert same(ran("pgdrs", TOWARD, steps=4, noise_type=ours), expected)


# What the library gets wrong


def test_the_seed_that_the_library_sets_to_zero_is_the_harnesss():
    images = {}
    for seed in (1, 2):
        ours, theirs = ran("apgd-linf", AWAY, seed=seed), directly("APGD", AWAY, seed=seed, eps=0.3)
        images[seed] = (ours, theirs)
    assert not torch.equal(images[1][0], images[2][0])
    assert torch.equal(images[1][1], images[2][1])


class FlatWhereDark(nn.Module):
    def forward(self, images):
        mean = images.flatten(1).mean(1).clamp(min=0.5)
        return torch.stack([0.7 - mean, mean - 0.7], 1)


FLAT_WHERE_DARK = pixel_classifier(FlatWhereDark(), classes=2)
DARK_AND_NEAR = torch.stack([torch.full(SHAPE, 0.2), torch.full(SHAPE, 0.69)])
ZEROS = attack_criterion(torch.zeros(2, dtype=torch.int64))


@pytest.mark.parametrize("name", ["deepfool", "sparsefool", "mifgsm", "fab-linf"])
def test_a_sample_whose_gradient_vanishes_comes_back_unperturbed(name):
    found = ran(name, ZEROS, network=FLAT_WHERE_DARK, images=DARK_AND_NEAR)
    assert torch.equal(found[0], DARK_AND_NEAR[0])
    assert ZEROS.reached(FLAT_WHERE_DARK(found))[1]


@pytest.mark.parametrize("target", sorted(NOT_FINITE))
def test_a_batch_of_vanishing_gradients_stays_unperturbed(target):
    name = target.lower()
    # Alone, for SparseFool goes through the batch as one and lets one sample spoil the other.
    assert directly(target, ZEROS[:1], network=FLAT_WHERE_DARK, images=DARK_AND_NEAR[:1]).isnan().any()
    dark = DARK_AND_NEAR[[0, 0]]
    attacker = Attacker(made(name), FLAT_WHERE_DARK, name=name, seed=1)
    found = attacker.attack_batch(dark, ZEROS.labels, torch.arange(2))
    assert torch.equal(found.images, dark)
    assert not found.met.any()
    assert "becomes NaN in the library" in ENTRIES[name].remark


@pytest.mark.parametrize(("target", "name"), [("CW", "cw"), ("EADL1", "eadl1"), ("EADEN", "eaden")])
def test_negative_logits_are_attacked_too(target, name):
    below = smooth_net(SIDE, shift=-100.0)
    options = {"steps": 20} if name == "cw" else CASES[name].options
    theirs = {"max_iterations" if key == "steps" and name != "cw" else key: value for key, value in options.items()}
    assert not TOWARD.reached(below(directly(target, TOWARD, network=below, **theirs))).any()
    assert TOWARD.reached(below(ran(name, TOWARD, network=below, **options))).all()
    above = smooth_net(SIDE, shift=100.0)
    assert TOWARD.reached(above(directly(target, TOWARD, network=above, **theirs))).all()


def test_targeted_fab_goes_to_the_target_that_the_library_ignores():
    assert torch.equal(directly("FAB", TOWARD, eps=0.3), IMAGES)
    assert TOWARD.reached(NETWORK(ran("fab-linf", TOWARD))).float().mean() > 0.5


def test_targeted_upgd_on_the_ratio_of_logits_knows_the_label_to_leave():
    assert torch.equal(directly("UPGD", TOWARD, loss="dlr"), IMAGES)
    assert TOWARD.reached(NETWORK(ran("upgd", TOWARD, loss="dlr", eps=0.1))).any()


def test_a_population_as_large_as_the_batch_is_not_taken_for_it():
    queries = []
    watch = NETWORK.register_forward_pre_hook(lambda _, given: queries.append(len(given[0])))
    ran("onepixel", AWAY, pixels=2, popsize=20, steps=2)
    watch.remove()
    images = random_images(max(queries), seed=8, shape=SHAPE)
    labels = NETWORK(images).argsort(1)[:, -2]
    attack = made("onepixel", pixels=2, popsize=20, steps=2)
    corrector = Corrector(attack, NETWORK, name="onepixel", objective="toward-true", seed=1)
    result = corrector.correct(images, labels, torch.arange(len(images)))
    assert result.corrected.any()
    assert int(per_sample_norm(result.images - images, "l0").max()) <= 2 * 3


@pytest.mark.parametrize("target", sorted(OUT_OF_BOUNDS))
def test_the_elastic_net_attack_changes_its_original_and_leaves_the_bounds_so_it_is_clipped(target):
    dark = IMAGES * (IMAGES > 0.5)
    criterion = attack_criterion(NETWORK(dark).argmax(1))
    options = {"steps": 10, "binary_search_steps": 1, "initial_const": 10.0, "lr": 0.05}
    theirs = {"max_iterations" if key == "steps" else key: value for key, value in options.items()}
    assert directly(target, criterion, images=dark, network=smooth_net(SIDE, shift=50.0), **theirs).min() < -2e-3
    found = ran(target.lower(), criterion, images=dark, network=smooth_net(SIDE, shift=50.0), **options)
    assert float(found.min()) == 0
    assert float(found.max()) <= 1
    assert "leaves the pixels' bounds" in ENTRIES[target.lower()].remark


def test_what_numpy_deprecates_in_sparsefool_stops_no_run_that_takes_warnings_for_errors():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(DeprecationWarning), isolated_generators(1):
            torchattacks.SparseFool(NETWORK)(IMAGES, PREDICTED)
        ran("sparsefool", AWAY)


def test_a_classifier_without_parameters_prints_nothing(capsys):
    torchattacks.FGSM(Threshold())
    assert "device" in capsys.readouterr().out

    class Bare(nn.Module):
        bounds, num_classes = (0.0, 1.0), 2

        def forward(self, images):
            return Threshold()(images)

    labels = Threshold()(IMAGES).argmax(1)
    found = made("fgsm").run(Bare(), IMAGES, attack_criterion(labels))
    assert not torch.equal(found, IMAGES)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("name", "options", "criterion", "shape", "message"),
    [
        (
            "apgdt-linf",
            {},
            AWAY,
            (1, 8, 8),
            "needs at least 4 classes, this classifier has 2: take torchattacks/apgd-linf",
        ),
        (
            "apgd-linf",
            {"loss": "dlr"},
            AWAY,
            (1, 8, 8),
            'needs at least 3 classes, this classifier has 2: take loss "ce"',
        ),
        ("upgd", {"loss": "dlr"}, TOWARD, (1, 8, 8), 'needs at least 4 classes, this classifier has 2: take loss "ce"'),
        ("tifgsm", {}, AWAY, (1, 8, 8), "needs images of 3 channels, these have 1: take torchattacks/mifgsm instead"),
        (
            "difgsm",
            {},
            AWAY,
            (3, 8, 6),
            "needs square images, these have 8 × 6 pixels: take torchattacks/mifgsm instead",
        ),
        (
            "pixle",
            {"smallest_width": 5, "largest_width": 4},
            AWAY,
            (3, 8, 8),
            "got smallest_width 5 and largest_width 4; expected the smallest to be no larger: lower the one or raise",
        ),
        (
            "pixle",
            {"smallest_height": 12},
            AWAY,
            (3, 8, 8),
            "got smallest_height 12 and largest_height 10; expected the smallest to be no larger",
        ),
        (
            "square-l2",
            {"p_init": 1.0},
            AWAY,
            (3, 8, 8),
            "got p_init 1, whose first window has 9 pixels a side; expected at most the image's 8: lower p_init",
        ),
        (
            "square-l2",
            {},
            AWAY,
            (3, 12, 12),
            "needs images that its tiles fit, these have 12 × 12 pixels: take torchattacks/square-linf instead",
        ),
    ],
)
def test_what_an_attack_cannot_take_is_said(name, options, criterion, shape, message):
    network = pixel_classifier(Threshold(), classes=2, channels=shape[0])
    images = random_images(2, shape=shape)
    with pytest.raises(PluginError, match=f'^attack "torchattacks/{name}" {message}'):
        ran(name, criterion[torch.arange(2)], network=network, images=images, **options)


@pytest.mark.parametrize("covered", [0.5, 0.8, 0.9, 1.0])
@pytest.mark.parametrize("side", range(4, 26))
def test_square_in_l2_is_refused_where_the_library_crashes_and_nowhere_else(side, covered):
    def flat(images):
        return images.flatten(1)[:, :2] * 0 + torch.tensor([1.0, 0.0])

    class Flat(nn.Module):
        forward = staticmethod(flat)

    network, images = pixel_classifier(Flat(), classes=2), random_images(1, shape=(3, side, side))
    criterion = attack_criterion(torch.zeros(1, dtype=torch.int64))
    crashes = refused = False
    try:
        directly("Square", criterion, network=network, images=images, norm="L2", n_queries=4, p_init=covered)
    except (RuntimeError, ZeroDivisionError):
        crashes = True
    try:
        ran("square-l2", criterion, network=network, images=images, n_queries=4, p_init=covered)
    except PluginError:
        refused = True
    assert refused == crashes


def test_sides_of_patches_that_cross_crash_the_library():
    with pytest.raises(ValueError, match="low >= high"):
        directly("Pixle", AWAY, x_dimensions=(5, 4), y_dimensions=(2, 3))


# What is left behind


@pytest.mark.parametrize("name", ["pgd", "cw", "sparsefool", "square-l2", "fab-l2", "onepixel", "jsma"])
def test_no_global_state_is_left_behind(name):
    state = global_state()
    with torch.no_grad():
        view = ObservedClassifier(NETWORK, Observer())
        with isolated_generators(1):
            made(name).run(view, IMAGES, TOWARD if ENTRIES[name].targeted else AWAY)
        assert not torch.is_grad_enabled()
    assert global_state() == state
    assert not any(module.training for module in view.modules())
    assert not any(parameter.requires_grad or parameter.grad is not None for parameter in view.parameters())
    assert not any(module._forward_hooks or module._backward_hooks for module in view.modules())


@pytest.mark.parametrize("name", ["pgd", "cw", "eadl1", "onepixel", "square-linf"])
def test_the_images_are_not_changed_in_place(name):
    before = IMAGES.clone()
    found = ran(name, TOWARD)
    assert torch.equal(IMAGES, before)
    assert found.dtype == torch.float32
    assert not found.requires_grad


def test_python_and_numpy_generators_are_not_seeded_by_the_library():
    random.seed(1)
    before = random.getstate()
    made("square-linf").run(ObservedClassifier(NETWORK, Observer()), IMAGES, AWAY)
    assert random.getstate() == before


# What is made to fit


def test_rounding_beyond_eps_is_scaled_down_and_a_real_violation_is_left():
    images = torch.full((2, *SHAPE), 0.5)
    beyond = torch.stack([images[0] + 0.1 * 1.015, images[1] + 0.1 * 1.03])
    found = fitted("PGD", beyond, images, bounds=(0.0, 1.0), eps=0.1, norm="linf")
    assert float((found[0] - images[0]).abs().max()) <= 0.1 + 1e-7
    assert torch.equal(found[1], beyond[1])


@pytest.mark.parametrize("name", sorted(name for name, entry in ENTRIES.items() if entry.target not in NOT_FINITE))
def test_what_is_not_finite_is_left_where_the_library_is_not_known_for_it(name):
    broken = IMAGES.clone()
    broken[1, 0, 0, 0] = torch.nan
    found = fitted(ENTRIES[name].target, broken, IMAGES, bounds=(0.0, 1.0), eps=None, norm="l2")
    assert found[1, 0, 0, 0].isnan()
    assert torch.equal(found[0], IMAGES[0])


@pytest.mark.parametrize("name", sorted(name for name, entry in ENTRIES.items() if entry.target not in OUT_OF_BOUNDS))
def test_pixels_beyond_the_bounds_by_more_than_rounding_are_left_where_the_library_is_not_known_for_it(name):
    images = torch.full((2, *SHAPE), 0.5)
    beyond = torch.stack([images[0] + 0.5008, images[1] - 0.502])
    found = fitted(ENTRIES[name].target, beyond, images, bounds=(0.0, 1.0), eps=None, norm="l2")
    assert torch.equal(found[0], torch.ones(SHAPE))
    assert torch.equal(found[1], beyond[1])


@pytest.mark.parametrize("name", sorted(name for name, entry in ENTRIES.items() if entry.norm == "linf"))
def test_sizes_that_lack_a_division_by_255_are_refused(name):
    sizes = {"eps", "alpha", *(("delta", "lr") if name == "spsa" else ())} & {
        option.name for option in ENTRIES[name].options
    }
    for size in sizes:
        assert made(name, **{size: 1}).options
        with pytest.raises(ValueError, match="less than or equal to 1"):
            made(name, **{size: 8})


def test_a_bounded_attack_keeps_to_its_eps_under_the_harness():
    attacker = Attacker(made("pgdl2", eps=0.3), NETWORK, name="pgdl2", select="final", seed=1)
    result = attacker.attack_batch(IMAGES, PREDICTED, torch.arange(COUNT))
    assert 0.29 < float(per_sample_norm(result.images - IMAGES, "l2").max()) < 0.3 + 1e-6
