import ast
import inspect
import subprocess
import sys
import warnings
from importlib import util
from pathlib import Path
from types import ModuleType

import pytest
import torch
from bridge_toys import CLASSES, Bench, Toy, smooth_net, view_of
from cases_advlib import CASES
from torch import nn
from toys import Threshold, pixel_classifier, random_images

from harness.api import PluginError
from harness.criteria import LabelCriterion, attack_criterion
from harness.engine.attacking import Attacker, Corrector
from harness.engine.norms import per_sample_norm
from harness.engine.observing import ObservedClassifier, Observer
from harness.engine.randomness import isolated_generators
from harness.errors import ContractError
from harness.manager import Manager
from harness.testing import run_checks
from harness_advlib import attacks as bridge
from harness_advlib import harness_attacks, library
from harness_advlib.describe import LEFT_OUT, describe
from harness_advlib.library import LooseVersion, function, import_attacks
from harness_advlib.names import our_name
from harness_advlib.offered import DISTANCES_LEFT_OUT, OFFERS
from harness_advlib.vocabulary import ALWAYS_GIVEN, UNOFFERED, UNOFFERED_IN, WORDS, WORDS_IN

torch.set_num_threads(1)

advlib = import_attacks()
BRIDGE = bridge.BRIDGE
COUNT, SIDE = 6, 12
SHAPE = (3, SIDE, SIDE)
INFINITY = float("inf")
MANAGER = Manager.discover()
FEW = {"steps": 5, "binary_search_steps": 3, "df_steps": 5}
"""What makes the defaults quick without another start, loss or norm."""
# Refining takes 3,200 steps, whatever the number asked for.
FEW_IN = {
    "str-attack": {"retrain": False},
    "carlini-wagner-l2": {"steps": 10},
    "carlini-wagner-linf": {"const_factor": 10.0},
}
RANDOM_IF_ASKED = {
    **{f"fab-{norm}": {"restarts": 3, "steps": 3} for norm in ("l1", "l2", "linf")},
    "pdgd": {"random_init": 0.1},
    **{f"pdpgd-{norm}": {"random_init": 0.1} for norm in ("l0", "l1", "l2", "linf")},
}

PATIENT = {
    **{f"alma-{distance}": {"steps": 120} for distance in ("l1", "l2")},
    "alma-ciede2000": {"steps": 120},
    "alma-ssim": {"steps": 60},
    "carlini-wagner-l2": {"steps": 60, "binary_search_steps": 6, "learning_rate": 0.01},
    "ddn": {"steps": 120, "levels": None},
    **{f"minimal-apgd-{norm}": {"steps": 10, "binary_search_steps": 10} for norm in ("l1", "l2", "linf")},
    "pdgd": {"steps": 120},
    "pdpgd-l0": {"steps": 250, "proximal_operator": "23"},
    **{f"pdpgd-{norm}": {"steps": 120} for norm in ("l1", "l2")},
    "pdpgd-linf": {"steps": 250},
    "perc-al": {"steps": 90},
}


TOY = Toy.of(SIDE, COUNT)
NETWORK, IMAGES, PREDICTED, SECOND = TOY.network, TOY.images, TOY.predicted, TOY.second
TOWARD, AWAY = TOY.toward, TOY.away
BENCH = Bench(bridge, CASES, TOY)
ENTRIES, made, ran = BENCH.entries, BENCH.made, BENCH.ran


def directly(target, criterion, *, seed=5, network=NETWORK, images=IMAGES, **arguments):
    """What the library returns when it is called as its manual says."""
    with isolated_generators(seed):
        return function(target)(
            network, images.clone(), criterion.labels.clone(), targeted=criterion.targeted, **arguments
        ).detach()


def same(found, expected):
    """Equal but for the rounding beyond bounds and eps that is taken back, and not the images that both started from."""
    return torch.allclose(found, expected, rtol=0, atol=1e-6) and not torch.equal(found, IMAGES)


# What is offered


def test_the_table_is_what_the_installed_library_describes():
    assert BRIDGE.table_path.read_text(encoding="utf-8") == describe().text


def test_every_attack_that_the_library_exports_is_offered_or_left_out_with_a_reason():
    exported = {name for name, value in vars(advlib).items() if inspect.isfunction(value)} | {"minimal_apgd"}
    # Read, not imported: what these need warns.
    tree = ast.parse((Path(advlib.__file__).parent / "segmentation" / "__init__.py").read_text(encoding="utf-8"))
    exported |= {f"segmentation.{name.name}" for node in tree.body for name in node.names}
    offered = {offer.target for offer in OFFERS}
    assert offered | LEFT_OUT.keys() == exported
    assert not offered & LEFT_OUT.keys()


def test_every_norm_and_distance_that_the_library_knows_is_offered_or_left_out():
    from adv_lib.attacks import augmented_lagrangian, primal_dual_gradient_descent

    distances = {entry.constants["distance"] for entry in ENTRIES.values() if entry.target == "alma"}
    assert distances | DISTANCES_LEFT_OUT.keys() == set(augmented_lagrangian._distances)
    assert primal_dual_gradient_descent.linf_distances
    norms = {
        target: {
            entry.constants.get("norm", entry.constants.get("p"))
            for entry in ENTRIES.values()
            if entry.target == target
        }
        for target in ("apgd", "apgd_targeted", "minimal_apgd", "df", "fab", "fmn", "pdpgd", "tr")
    }
    assert norms == {
        "apgd": {"1", "2", "inf"},
        "apgd_targeted": {"1", "2", "inf"},
        "minimal_apgd": {"1", "2", "inf"},
        "df": {"2", "inf"},
        "fab": {"1", "2", "inf"},
        "fmn": {"0", "1", "2", "inf"},
        "pdpgd": {"0", "1", "2", "inf"},
        "tr": {"2", "inf"},
    }


def test_names_are_sorted_and_each_is_offered_once():
    names = [entry.name for entry in BRIDGE.table.attacks]
    assert names == sorted(set(names))
    assert len({entry.attribute for entry in BRIDGE.table.attacks}) == len(names)
    assert list(harness_attacks()) == names


def test_no_word_of_the_vocabulary_is_about_nothing():
    parameters = {offer.target: inspect.signature(function(offer.target)).parameters for offer in OFFERS}
    named = {name for each in parameters.values() for name in each}
    options = {(entry.target, option.name) for entry in ENTRIES.values() for option in entry.options}
    assert {name for target, name in options if (target, name) not in WORDS_IN} == WORDS.keys()
    assert WORDS_IN.keys() <= options
    assert named >= ALWAYS_GIVEN | UNOFFERED.keys()
    assert all(name in parameters[target] for target, name in UNOFFERED_IN)


def test_names_and_options_are_read_without_torch_and_without_the_library():
    code = (
        "import sys, harness_advlib as package\n"
        "from harness_advlib import attacks\n"
        "assert len(package.harness_attacks()) == len(attacks.BRIDGE.table.attacks) > 35\n"
        "assert attacks.Ddn.options_type().steps == 100\n"
        "assert not {'torch', 'torchvision', 'adv_lib', 'visdom', 'numpy'} & sys.modules.keys(), sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    ("target", "theirs", "ours"),
    [
        ("pgd_linf", "ε", "eps"),
        ("fab", "ε", "start_eps"),
        ("tr", "eps", "radius"),
        ("tr", "iter", "steps"),
        ("pdpgd", "ε_threshold", "eps_threshold"),
        ("str_attack", "σ", "sigma"),
        ("carlini_wagner_l2", "β_1", "beta_1"),
    ],
)
def test_options_have_latin_names_and_eps_is_always_a_bound(target, theirs, ours):
    assert theirs in inspect.signature(function(target)).parameters
    assert our_name(target, theirs) == ours


def test_only_attacks_that_keep_to_a_budget_have_an_eps():
    with_eps = {name for name, entry in ENTRIES.items() if "eps" in {option.name for option in entry.options}}
    assert with_eps == {name for name, entry in ENTRIES.items() if entry.budget == "fixed"}
    defaults = {entry.norm: made(name).options.eps for name, entry in ENTRIES.items() if name in with_eps}
    assert defaults == {"l1": 12.0, "l2": 0.5, "linf": 8 / 255}


# How the library is imported


@pytest.fixture
def unimported(monkeypatch):
    """A Python that has not imported adv-lib yet."""
    for name in [name for name in sys.modules if name.partition(".")[0] in {"adv_lib", "visdom"}]:
        monkeypatch.delitem(sys.modules, name)
    return monkeypatch


def hidden(monkeypatch, *packages):
    for name in [name for name in sys.modules if name.partition(".")[0] in packages]:
        monkeypatch.delitem(sys.modules, name)
    find_spec = util.find_spec
    monkeypatch.setattr(library, "find_spec", lambda name: None if name in packages else find_spec(name))


def test_without_visdom_a_stand_in_is_there_during_the_import_alone(unimported):
    hidden(unimported, "visdom")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        filters = list(warnings.filters)
        assert import_attacks().ddn
        assert warnings.filters == filters
    assert "visdom" not in sys.modules


def test_with_visdom_it_is_the_one_that_the_library_gets(unimported):
    visdom = ModuleType("visdom")
    unimported.setitem(sys.modules, "visdom", visdom)
    import_attacks()
    assert sys.modules["visdom"] is visdom
    assert sys.modules["adv_lib.utils.visdom_logger"].visdom is visdom


def test_on_a_python_without_distutils_a_stand_in_is_there_during_the_import_alone(unimported):
    hidden(unimported, "visdom", "distutils")
    import_attacks()
    assert "distutils" not in sys.modules
    assert sys.modules["adv_lib.utils.projections"].LooseVersion is LooseVersion
    assert sys.modules["adv_lib.utils.projections"].use_tensors_in_clamp


@pytest.mark.parametrize(
    ("larger", "smaller"), [("2.13.0+cpu", "1.9"), ("1.10.0", "1.9"), ("1.9", "1.9"), ("2.6.0a0+git1", "1.9")]
)
def test_versions_compare_by_number(larger, smaller):
    assert LooseVersion(larger) >= LooseVersion(smaller)
    assert larger == smaller or not LooseVersion(smaller) >= LooseVersion(larger)


def test_a_missing_library_is_an_error_that_says_how_to_get_it(unimported):
    unimported.setitem(sys.modules, "adv_lib", None)
    with pytest.raises(PluginError, match=r"adv_lib\S* is missing: run .pip install --no-deps adv-lib==0\.2\.8 tqdm"):
        ran("ddn", AWAY)


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
    (result,) = run_checks(MANAGER, MANAGER.find("attack", f"advlib/{name}"), few, only=["stochastic-declared"])
    assert result.status == "ok", result.message


@pytest.mark.parametrize("name", sorted(RANDOM_IF_ASKED))
def test_an_option_that_makes_it_stochastic_draws_and_is_in_its_remark(name):
    options = RANDOM_IF_ASKED[name]
    view = ObservedClassifier(NETWORK, Observer())
    with isolated_generators(1):
        drawn = torch.get_rng_state()
        first = made(name, **options).run(view, IMAGES, AWAY)
        assert not torch.equal(torch.get_rng_state(), drawn)
    assert torch.equal(ran(name, AWAY, seed=1, **options), first)
    assert not ENTRIES[name].stochastic
    assert f"With {next(iter(options))} above " in ENTRIES[name].remark


@pytest.mark.parametrize(
    ("name", "options"), [("apgd-l2", {}), ("pgd-linf", {}), ("pdgd", {"random_init": 0.1}), ("vfga", {"n_samples": 1})]
)
def test_another_seed_gives_another_result(name, options):
    assert not torch.equal(ran(name, AWAY, seed=1, **options), ran(name, AWAY, seed=2, **options))


@pytest.mark.parametrize("name", sorted(name for name, entry in ENTRIES.items() if entry.targeted))
def test_targeted_attacks_reach_labels_that_they_are_given(name):
    assert TOWARD.reached(NETWORK(ran(name, TOWARD))).any()


@pytest.mark.parametrize("name", sorted(name for name, entry in ENTRIES.items() if entry.untargeted))
def test_untargeted_attacks_flee_labels_that_they_are_given(name):
    assert AWAY.reached(NETWORK(ran(name, AWAY))).any()


@pytest.mark.parametrize("target", ["df", "fab", "sdf", "sigma_zero", "tr"])
def test_the_library_returns_its_input_where_we_do_not_target(target):
    norm = {"norm": 2} if target in {"df", "fab"} else {}
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert torch.equal(directly(target, TOWARD, **norm), IMAGES)
    assert "untargeted only" in str(caught[0].message)
    assert not any(entry.targeted for entry in ENTRIES.values() if entry.target == target)


def test_apgd_over_all_targets_takes_none():
    with pytest.raises(AssertionError):
        directly("apgd_targeted", TOWARD, eps=0.5, norm=2)


def test_minimal_apgd_takes_leaving_the_target_for_success():
    there = LabelCriterion(PREDICTED, targeted=True, goal=PREDICTED)
    found = directly("minimal_apgd", there, norm=2, max_eps=2.0, n_iter=5, binary_search_steps=5, loss_function="ce")
    reached_by_apgd = directly("apgd", TOWARD, norm=2, eps=2.0, loss_function="ce")
    assert torch.equal(found, IMAGES)
    assert TOWARD.reached(NETWORK(reached_by_apgd)).all()
    toward = directly("minimal_apgd", TOWARD, norm=2, max_eps=2.0, n_iter=5, binary_search_steps=5, loss_function="ce")
    assert not TOWARD.reached(NETWORK(toward)).all()


def test_minimal_apgd_goes_up_to_twice_the_eps_that_it_is_given():
    largest = 0.15
    found = ran("minimal-apgd-l2", AWAY, max_eps=largest, binary_search_steps=8)
    sizes = per_sample_norm(found - IMAGES, "l2")
    assert largest < float(sizes.max()) <= 2 * largest


def spent(name, row, by):
    """The norm spent on an image as near to its second label as ``by`` of the way brings it, and whether to any avail."""
    entry, network, image = ENTRIES[name], smooth_net(SIDE), IMAGES[row : row + 1]
    with torch.no_grad():
        logits = network(image)[0]
        network.net[3].bias[SECOND[row]] += by * (logits[PREDICTED[row]] - logits[SECOND[row]])
    criterion = (AWAY if entry.untargeted else TOWARD)[torch.tensor([row])]
    found = ran(name, criterion, network=network, images=image, **PATIENT.get(name, {}))
    return float(per_sample_norm(found - image, entry.norm)), bool(criterion.reached(network(found)))


@pytest.mark.parametrize("name", sorted(ENTRIES))
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
    ("name", "options", "arguments"),
    [
        ("ddn", {"steps": 20, "levels": None, "gamma": 0.1}, {"steps": 20, "levels": None, "γ": 0.1}),
        ("pgd-linf", {"eps": 0.05, "steps": 7}, {"ε": 0.05, "steps": 7}),
        ("fmn-l1", {"alpha_init": 0.5}, {"norm": 1, "α_init": 0.5}),
        ("fmn-linf", {"steps": 12}, {"norm": INFINITY, "steps": 12}),
        ("alma-l2", {"steps": 20, "rho_init": 2}, {"distance": "l2", "num_steps": 20, "ρ_init": 2}),
        ("apgd-l1", {"steps": 12, "eps": 8}, {"norm": 1, "n_iter": 12, "eps": 8.0}),
        (
            "apgd-l1",
            {"steps": 12, "use_large_reps": True},
            {"norm": 1, "n_iter": 12, "eps": 12.0, "use_large_reps": True},
        ),
        ("pdpgd-l0", {"steps": 12, "proximal_operator": "23"}, {"norm": 0, "num_steps": 12, "proximal_operator": 23}),
        ("perc-al", {"steps": 8}, {"max_iterations": 8, "num_classes": CLASSES}),
        ("fga", {"steps": 12, "n_samples": 4}, {"max_iter": 12, "n_samples": 4}),
        ("vfga", {"steps": 12, "n_samples": 4}, {"max_iter": 12, "n_samples": 4}),
        ("fmn-l0", {}, {"norm": 0}),
    ],
)
def test_results_are_the_librarys(name, options, arguments, criterion):
    assert same(ran(name, criterion, **options), directly(ENTRIES[name].target, criterion, **arguments))


@pytest.mark.parametrize(
    ("name", "options", "arguments"),
    [
        ("deepfool-linf", {"overshoot": 0.1}, {"norm": INFINITY, "overshoot": 0.1}),
        ("fab-l1", {"steps": 5, "beta": 0.8}, {"norm": 1, "n_iter": 5, "β": 0.8}),
        ("trust-region-l2", {"radius": 0.05, "adaptive": True}, {"p": 2, "eps": 0.05, "adaptive": True}),
        ("sigma-zero", {"steps": 20, "grad_norm": "2"}, {"num_steps": 20, "grad_norm": 2.0}),
        ("apgd-targeted-linf", {"steps": 5}, {"norm": INFINITY, "n_iter": 5, "eps": 8 / 255}),
        ("superdeepfool", {"steps": 3, "df_steps": 5}, {"steps": 3, "df_steps": 5}),
    ],
)
def test_untargeted_results_are_the_librarys(name, options, arguments):
    assert same(ran(name, AWAY, **options), directly(ENTRIES[name].target, AWAY, **arguments))


# What the library gets wrong


@pytest.mark.parametrize("count", [1, COUNT])
def test_fmn_in_l0_survives_a_batch_that_needs_no_change(count):
    images, criterion = IMAGES[:count], attack_criterion(SECOND[:count])
    with pytest.raises((RuntimeError, IndexError), match="out of bounds"):
        directly("fmn", criterion, images=images, norm=0)
    assert torch.equal(ran("fmn-l0", criterion, images=images), images)


@pytest.mark.parametrize("criterion", [TOWARD, AWAY], ids=["toward", "away"])
def test_fmn_in_l0_changes_one_entry_where_that_suffices(criterion):
    weights = torch.zeros(CLASSES, IMAGES[0].numel())
    weights[1, 5] = 1.0
    linear = nn.Sequential(nn.Flatten(), nn.Linear(IMAGES[0].numel(), CLASSES))
    with torch.no_grad():
        linear[1].weight.copy_(weights)
        linear[1].bias.copy_(torch.tensor([0.5, 0.0, -1.0, -1.0, -1.0]))
    network = pixel_classifier(linear, classes=CLASSES).requires_grad_(False)
    images = IMAGES[:1].clone()
    images.flatten()[5] = 0.1
    labels = torch.tensor([1 if criterion.targeted else 0])
    asked = LabelCriterion(labels, targeted=criterion.targeted, goal=labels)
    with pytest.raises((RuntimeError, IndexError), match="out of bounds"):
        directly("fmn", asked, network=network, images=images, norm=0, steps=20)
    found = ran("fmn-l0", asked, network=network, images=images, steps=20)
    assert asked.reached(network(found)).all()
    assert per_sample_norm(found - images, "l0").tolist() == [1]


def test_str_attack_that_finds_nothing_to_refine_returns_the_images():
    hopeless = {"max_iterations": 1, "binary_search_steps": 1, "initial_const": 1e-6}
    with pytest.raises(IndexError):
        directly("str_attack", AWAY, **hopeless)
    options = {"steps": 1, "binary_search_steps": 1, "initial_const": 1e-6, "retrain": True}
    assert torch.equal(ran("str-attack", AWAY, **options), IMAGES)


@pytest.mark.parametrize("name", ["fga", "vfga"])
@pytest.mark.parametrize("count", [1, 2, 5, 6])
def test_candidates_for_one_image_are_not_taken_for_anothers(name, count):
    images, labels = IMAGES[:count], SECOND[:count]
    attack = made(name, steps=1, n_samples=4)
    result = Corrector(attack, NETWORK, name=name, objective="toward-true", seed=1).correct(
        images, labels, torch.arange(count)
    )
    assert int(per_sample_norm(result.images - images, "l0").max()) <= 1


class FlatWhereDark(nn.Module):
    def forward(self, images):
        mean = images.flatten(1).mean(1).clamp(min=0.5)
        return torch.stack([0.7 - mean, mean - 0.7, mean - 5, mean - 6, mean - 7], 1)


@pytest.mark.parametrize("name", sorted(name for name, entry in ENTRIES.items() if entry.untargeted))
def test_one_sample_without_a_gradient_fails_neither_itself_nor_the_batch(name):
    network = pixel_classifier(FlatWhereDark(), classes=CLASSES)
    images = torch.stack([torch.full(SHAPE, 0.2), torch.full(SHAPE, 0.69)])
    labels = torch.zeros(2, dtype=torch.int64)
    attacker = Attacker(made(name), network, name=name, select="final", seed=1)
    assert attacker.attack_batch(images, labels, torch.arange(2)).images.isfinite().all()


@pytest.mark.parametrize(
    ("name", "options", "criterion", "shape", "message"),
    [
        ("apgd-l2", {}, AWAY, (1, 8, 8), 'needs at least 3 classes, this classifier has 2: take loss_function "ce"'),
        ("apgd-l2", {}, TOWARD, (1, 8, 8), 'needs at least 4 classes, this classifier has 2: take loss_function "ce"'),
        ("minimal-apgd-l2", {"targeted_version": True}, AWAY, (1, 8, 8), "needs at least 4 classes"),
        ("alma-l2", {}, AWAY, (1, 8, 8), "needs at least 3 classes, this classifier has 2: take advlib/ddn instead"),
        ("perc-al", {}, AWAY, (1, 8, 8), "needs images of 3 channels, these have 1: take advlib/alma-l2 instead"),
    ],
)
def test_what_an_attack_cannot_take_is_said(name, options, criterion, shape, message):
    network = pixel_classifier(Threshold(), classes=2, channels=shape[0])
    with pytest.raises(PluginError, match=f'^attack "advlib/{name}" {message}'):
        ran(name, criterion[torch.arange(2)], network=network, images=random_images(2, shape=shape), **options)


def test_images_too_small_for_the_window_of_ssim_are_refused():
    network = pixel_classifier(FlatWhereDark(), classes=CLASSES)
    with pytest.raises(PluginError, match="needs images of 11 × 11 pixels or more, these have 8 × 12"):
        ran("alma-ssim", AWAY[torch.arange(2)], network=network, images=random_images(2, shape=(3, 8, 12)))


@pytest.mark.parametrize(
    ("name", "options"),
    [
        *[(f"apgd-targeted-{norm}", {}) for norm in ("l1", "l2", "linf")],
        ("minimal-apgd-l2", {"targeted_version": True, "binary_search_steps": 2}),
    ],
)
def test_more_targets_than_other_labels_crash_the_library_and_are_all_the_others_here(name, options):
    entry, tiny = ENTRIES[name], 1e-6
    budget = {"max_eps": tiny} if "max_eps" in {option.name for option in entry.options} else {"eps": tiny}
    norm = float(entry.constants["norm"])
    with pytest.raises(IndexError):
        directly(entry.target, AWAY, norm=norm, n_iter=2, num_targets=CLASSES, **budget, **options)
    given = {**options, **budget, "steps": 2}
    assert torch.equal(ran(name, AWAY, num_targets=CLASSES, **given), ran(name, AWAY, num_targets=CLASSES - 1, **given))


@pytest.mark.parametrize(
    ("name", "options", "arguments", "message"),
    [
        (
            "apgd-l1",
            {"steps": 1, "use_large_reps": True},
            {"norm": 1, "eps": 1.0, "n_iter": 1, "use_large_reps": True},
            "got use_large_reps with steps 1; expected at least 2: raise steps or leave use_large_reps out",
        ),
        (
            "str-attack",
            {"group_size": 13, "steps": 1, "binary_search_steps": 1},
            {"group_size": 13, "max_iterations": 1, "binary_search_steps": 1},
            "got group_size 13; expected at most the shorter side of the images, 12: lower it",
        ),
    ],
)
def test_options_that_crash_the_library_together_are_refused(name, options, arguments, message):
    with pytest.raises(RuntimeError):
        directly(ENTRIES[name].target, AWAY, **arguments)
    with pytest.raises(PluginError, match=f'^attack "advlib/{name}" {message}'):
        ran(name, AWAY, **options)


# What is left behind


@pytest.mark.parametrize("name", ["ddn", "trust-region-l2", "perc-al", "fmn-l0", "pdpgd-linf", "vfga"])
def test_no_global_state_is_left_behind(name, capsys):
    state = (torch.get_default_dtype(), torch.backends.cudnn.benchmark, list(warnings.filters), sys.gettrace())
    before = IMAGES.clone()
    with torch.no_grad():
        view = ObservedClassifier(NETWORK, Observer())
        with isolated_generators(1):
            found = made(name).run(view, IMAGES, AWAY)
        assert not torch.is_grad_enabled()
    after = (torch.get_default_dtype(), torch.backends.cudnn.benchmark, list(warnings.filters), sys.gettrace())
    assert after == state
    assert torch.equal(IMAGES, before)
    assert not IMAGES.requires_grad
    assert not found.requires_grad
    assert not any(module.training for module in view.modules())
    assert not any(parameter.requires_grad or parameter.grad is not None for parameter in view.parameters())
    assert capsys.readouterr().out == ""


# What is made to fit


def test_rounding_is_taken_back_and_real_violations_are_left_for_the_guard(monkeypatch):
    attack, images = made("pgd-linf", eps=0.1), torch.full((4, *SHAPE), 0.5)
    moves = torch.tensor([0.1 * 1.015, 0.1 * 1.03, 0.5008, torch.nan]).reshape(4, 1, 1, 1)
    monkeypatch.setattr(type(attack), "_call", lambda *_: images + moves)
    found = attack.run(view_of(NETWORK), images, attack_criterion(torch.zeros(4, dtype=torch.int64)))
    expected = [0.1, 0.1 * 1.03, 0.5, pytest.approx(torch.nan, nan_ok=True)]
    assert (found - images).amax((1, 2, 3)).tolist() == pytest.approx(expected, abs=1e-6, nan_ok=True)
    with pytest.raises(ContractError, match="returned pixels that are not finite"):
        Attacker(attack, NETWORK, name="pgd-linf", seed=1).attack_batch(images, PREDICTED[:4], torch.arange(4))


@pytest.mark.parametrize("name", sorted(name for name, entry in ENTRIES.items() if entry.norm == "linf"))
def test_sizes_that_lack_a_division_by_255_are_refused(name):
    sizes = {"eps", "max_eps", "start_eps", "radius", "absolute_step_size"}
    for size in sizes & {option.name for option in ENTRIES[name].options}:
        assert made(name, **{size: 1}).options
        with pytest.raises(ValueError, match="less than or equal to 1"):
            made(name, **{size: 8})
