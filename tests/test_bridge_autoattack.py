"""AutoAttack's parts as attacks, against pyautoattack called directly, and what the bridge shields from."""

from __future__ import annotations

import ast
import inspect
import sys
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import get_args

import pyautoattack
import pytest
import torch
from bridge_toys import Bench, toward, view_of
from cases_autoattack import CASES
from pyautoattack.autoattack import AttackName
from torch import nn
from toys import conv_classifier, pixel_classifier, random_images

import harness_autoattack
from harness.api import DEFAULT_EPS, PluginError
from harness.criteria import attack_criterion
from harness.engine.attacking import Attacker
from harness.engine.folding import attack_ready
from harness.engine.norms import per_sample_norm
from harness.engine.observing import ObservedClassifier, Observer
from harness.errors import ContractError
from harness.manager import Manager
from harness.testing import run_checks
from harness_autoattack import attacks
from harness_autoattack.describe import LEFT_OUT, describe
from harness_autoattack.driving import within
from harness_autoattack.views import WantedView
from harness_autoattack.vocabulary import NORM_NAMES, NOT_OPTIONS

BENCH = Bench(attacks, CASES)
ENTRIES, make = BENCH.entries, BENCH.made
NAMES = sorted(ENTRIES)
MANAGER = Manager.discover()
TARGETED = [name for name in NAMES if ENTRIES[name].targeted]
SAMPLES = 8


@cache
def toy(classes=5):
    return conv_classifier(1, classes=classes)


@cache
def images():
    return random_images(SAMPLES, seed=4)


def predicted(network, given=None):
    with torch.no_grad():
        return network(images() if given is None else given).argmax(1)


def second_best(network):
    with torch.no_grad():
        return network(images()).argsort(1, descending=True)[:, 1]


def run(name, criterion, *, network=None, seed=7, given=None, **options):
    torch.manual_seed(seed)
    return make(name, **options).run(
        view_of(attack_ready(network or toy())), images() if given is None else given, criterion
    )


def library_class(name):
    module, _, attribute = ENTRIES[name].target.rpartition(".")
    return getattr(import_module(f"pyautoattack.{module}"), attribute)


def library_attack(name, network, *, seed, **changes):
    options = make(name).options.model_dump()
    if "n_target_classes" in options:
        options["n_target_classes"] = min(options["n_target_classes"], network.num_classes - 1)
    logger = {"logger": checks_logger()} if library_class(name).__module__.endswith("autopgd_base") else {}
    keywords = {**options, **ENTRIES[name].constants, **logger, "seed": seed, "device": "cpu", **changes}
    return library_class(name)(attack_ready(network), **keywords)


def checks_logger():
    """A logger that says nothing: without one the library raises warnings, which are errors here."""
    return type("Silent", (), {name: staticmethod(lambda message: None) for name in ("debug", "info", "warning")})()


def drawn_seed(seed=7):
    torch.manual_seed(seed)
    return int(torch.randint(2**31, ()))


class Plain(nn.Module):
    """A network as a classifier whose whole batch is its only view."""

    bounds = (0.0, 1.0)

    def __init__(self, net, classes):
        super().__init__()
        self.net, self.num_classes = net, classes
        self.eval()
        self.requires_grad_(requires_grad=False)

    def forward(self, given):
        return self.net(given)

    def __getitem__(self, rows):
        return self


class Remembering(Plain):
    """Keeps the images that it gets and the logits that it gives."""

    def forward(self, given):
        logits = super().forward(given)
        self.queried = [*getattr(self, "queried", []), given.detach().clone()]
        self.answers = [*getattr(self, "answers", []), logits]
        return logits


# ---- the table


def test_the_committed_table_is_what_the_installed_library_offers():
    assert attacks.BRIDGE.table == describe()


def test_every_attack_of_the_librarys_evaluation_is_offered_once_in_each_norm():
    assert sorted(f"{part}-{norm}" for part in get_args(AttackName) for norm in NORM_NAMES) == NAMES
    assert harness_autoattack.harness_attacks() == attacks.BRIDGE.names


def test_every_attack_class_of_the_library_is_offered_or_left_out_with_a_reason():
    folder = Path(pyautoattack.__file__).parent
    trees = [ast.parse(path.read_text()) for path in folder.glob("*.py")]
    classes = [node for tree in trees for node in tree.body if isinstance(node, ast.ClassDef)]
    exported = {node.name for node in classes if "Attack" in node.name}
    offered = {entry.target.rpartition(".")[2] for entry in ENTRIES.values()}
    assert offered | set(LEFT_OUT) == exported
    assert not offered & set(LEFT_OUT)
    assert all(LEFT_OUT.values())


@pytest.mark.parametrize("name", NAMES)
def test_options_are_the_librarys_with_its_defaults_but_for_eps(name):
    parameters = inspect.signature(library_class(name)).parameters
    for option in ENTRIES[name].options:
        expected = DEFAULT_EPS[ENTRIES[name].norm] if option.name == "eps" else parameters[option.name].default
        assert option.default == expected
    assert set(ENTRIES[name].constants) <= set(parameters)


def test_parameters_that_are_no_options_exist_and_have_a_reason():
    known = {name for attack in NAMES for name in inspect.signature(library_class(attack)).parameters}
    assert set(NOT_OPTIONS) <= known
    assert all(NOT_OPTIONS.values())


@pytest.mark.parametrize("name", NAMES)
def test_an_eps_in_linf_that_lacks_a_division_by_255_is_refused(name):
    if ENTRIES[name].norm != "linf":
        assert make(name, eps=8).options.eps == 8
        return
    assert make(name, eps=1).options.eps == 1
    with pytest.raises(ValueError, match="less than or equal to 1"):
        make(name, eps=8)


@pytest.mark.parametrize(("options", "told"), [({"eps": 0}, "eps"), ({"n_iter": 0}, "n_iter"), ({"rho": 1.5}, "rho")])
def test_options_beyond_their_limits_are_refused(options, told):
    with pytest.raises(ValueError, match=told):
        make("apgd-ce-linf", **options)


# ---- what the table claims, measured


@pytest.mark.parametrize("name", NAMES)
def test_it_takes_gradients_only_where_it_says_so(name):
    observer = Observer()
    labels = predicted(toy())
    torch.manual_seed(0)
    make(name).run(ObservedClassifier(attack_ready(toy()), observer), images(), attack_criterion(labels))
    assert (observer.passes.backward > 0) == ENTRIES[name].gradients


@pytest.mark.parametrize("name", NAMES)
def test_it_flees_labels(name):
    labels = predicted(toy())
    assert (predicted(toy(), run(name, attack_criterion(labels))) != labels).float().mean() >= 0.5


@pytest.mark.parametrize("name", TARGETED)
def test_it_approaches_given_labels(name):
    labels = second_best(toy())
    assert (predicted(toy(), run(name, toward(labels))) == labels).float().mean() >= 0.5


@pytest.mark.parametrize("name", [name for name in TARGETED if ENTRIES[name].gradients])
def test_it_approaches_the_least_likely_label_of_all(name):
    with torch.no_grad():
        labels = toy()(images()).argmin(1)
    eps = 3 * CASES[name].options["eps"]
    assert (predicted(toy(), run(name, toward(labels), eps=eps, n_iter=20)) == labels).all()


@pytest.mark.parametrize("name", NAMES)
def test_randomness_is_declared_as_seeds_show_it_at_the_defaults(name):
    few = {"n_queries": 20} if name.startswith("square") else {"n_iter": 5}
    (result,) = run_checks(MANAGER, MANAGER.find("attack", f"autoattack/{name}"), few, only=["stochastic-declared"])
    assert result.status == "ok", result.message


@pytest.mark.parametrize("starts", [1, 2])
@pytest.mark.parametrize("name", [name for name in NAMES if not ENTRIES[name].stochastic])
def test_fab_starts_at_random_from_the_second_time_on_as_its_remark_says(name, starts):
    queried = []
    for seed in (1, 2):
        network = Remembering(toy().net, 5)
        torch.manual_seed(seed)
        # Nothing lies within so small an eps: every start is made.
        attack = make(name, eps=1e-6, n_iter=2, n_restarts=starts)
        attack.run(network, images(), attack_criterion(predicted(network)))
        queried.append(torch.cat(network.queried))
    assert torch.equal(*queried) == (starts == 1)
    assert "n_restarts above 1 it is stochastic" in ENTRIES[name].remark


@pytest.mark.parametrize("name", NAMES)
def test_twice_the_eps_is_spent_only_by_a_fixed_budget(name):
    labels, norm = predicted(toy()), ENTRIES[name].norm
    eps = CASES[name].options["eps"]
    norms = [per_sample_norm(run(name, attack_criterion(labels), eps=each) - images(), norm) for each in (eps, 2 * eps)]
    both = (norms[0] > 0) & (norms[1] > 0)
    grown = float((norms[1][both] / norms[0][both]).mean())
    assert (grown > 1.2) == (ENTRIES[name].budget == "fixed")


# ---- the library called directly


@pytest.mark.parametrize("name", NAMES)
def test_fleeing_gives_what_the_library_gives_for_the_same_seed(name):
    labels = predicted(toy())
    ours = run(name, attack_criterion(labels))
    with torch.no_grad():
        theirs = library_attack(name, toy(), seed=drawn_seed()).perturb(images(), labels)
    # The library's l1 balls are a little too large.
    assert torch.allclose(ours, theirs, rtol=0, atol=1e-4 if ENTRIES[name].norm == "l1" else 0)
    assert not torch.equal(ours, images())


@pytest.mark.parametrize("norm", NORM_NAMES)
def test_square_toward_labels_gives_what_the_library_gives(norm):
    labels = second_best(toy())
    ours = run(f"square-{norm}", toward(labels))
    with torch.no_grad():
        theirs = library_attack(f"square-{norm}", toy(), seed=drawn_seed(), targeted=True).perturb(images(), labels)
    assert torch.allclose(ours, theirs, rtol=0, atol=1e-6)


@pytest.mark.parametrize("norm", NORM_NAMES)
def test_fab_t_toward_labels_gives_what_the_library_gives_for_two_classes(norm):
    network = toy(2)
    labels = 1 - predicted(network)
    ours = run(f"fab-t-{norm}", toward(labels), network=network)
    with torch.no_grad():
        theirs = library_attack(f"fab-t-{norm}", network, seed=0).perturb(images(), 1 - labels)
    assert torch.allclose(ours, theirs, rtol=0, atol=1e-5)
    assert (predicted(network, ours) == labels).any()


@cache
def two_of_five():
    """A linear classifier that never gives three of its five labels."""
    with torch.random.fork_rng():
        torch.manual_seed(3)
        net = nn.Sequential(nn.Flatten(), nn.Linear(108, 5))
        with torch.no_grad():
            net[1].bias.copy_(torch.tensor([0.0, 0.0, -50.0, -60.0, -70.0]))
            net[1].bias[:2] -= net(torch.full((1, 3, 6, 6), 0.5))[0, :2]
    return pixel_classifier(net, classes=5).eval()


@pytest.mark.parametrize("norm", NORM_NAMES)
@pytest.mark.parametrize(("part", "loss"), [("apgd-t", "dlr-targeted"), ("apgd-ce", "ce-targeted")])
def test_apgd_toward_labels_gives_what_the_librarys_own_step_gives_where_one_rival_stays(part, loss, norm):
    network, name = two_of_five(), f"{part}-{norm}"
    source = predicted(network)
    labels = 1 - source
    ours = run(name, toward(labels), network=network)
    options = {key: value for key, value in make(name).options.model_dump().items() if key != "n_target_classes"}
    direct = pyautoattack.autopgd_base.APGDAttack_targeted(
        attack_ready(network), norm=NORM_NAMES[norm], device="cpu", logger=checks_logger(), **options
    )
    direct.loss, direct.y_target = loss, labels
    direct.init_hyperparam(images())
    torch.manual_seed(drawn_seed(drawn_seed()))
    with torch.no_grad():
        _, still, _, theirs = direct.attack_single_run(images(), source)
    assert not still.all()
    assert torch.allclose(ours[~still], theirs[~still], rtol=0, atol=1e-4)
    assert torch.equal(ours[still], images()[still])


def test_the_wanted_view_puts_the_likeliest_other_label_first_and_the_wanted_one_second():
    logits = torch.tensor([[3.0, 1.0, 2.0, 0.0], [3.0, 1.0, 2.0, 0.0]])
    classifier = Plain(nn.Identity(), 4)
    view = WantedView(classifier, logits, torch.tensor([1, 0]))
    assert view(logits).tolist() == [[3.0, 1.0, 2.0, 0.0], [2.0, 3.0, 1.0, 0.0]]
    pair = WantedView(classifier, logits, torch.tensor([1, 0]), width=2)
    assert pair(logits).tolist() == [[3.0, 1.0], [2.0, 3.0]]


# ---- a batch


@pytest.mark.parametrize("name", NAMES)
def test_a_sample_that_has_reached_its_objective_is_left_as_it_is(name):
    labels = predicted(toy()).clone()
    labels[2] = (labels[2] + 1) % 5
    perturbed = run(name, attack_criterion(labels))
    assert torch.equal(perturbed[2], images()[2])
    assert not torch.equal(perturbed, images())


@pytest.mark.parametrize("name", NAMES)
def test_a_batch_of_one_and_one_with_nothing_to_do_come_back(name):
    one, label = images()[:1], predicted(toy())[:1]
    assert run(name, attack_criterion(label), given=one).shape == one.shape
    observer = Observer()
    still = make(name).run(ObservedClassifier(attack_ready(toy()), observer), one, attack_criterion((label + 1) % 5))
    assert torch.equal(still, one)
    assert observer.passes.total == 1


@pytest.mark.parametrize("name", TARGETED)
def test_later_starts_go_on_with_the_samples_that_failed_and_keep_the_others(name):
    labels = second_best(toy())
    norm = ENTRIES[name].norm
    eps = {"linf": 0.02, "l2": 0.1, "l1": 1.0}[norm]
    reached = [
        (predicted(toy(), run(name, toward(labels), eps=eps, n_restarts=count)) == labels).sum() for count in (1, 3)
    ]
    assert 0 < reached[0] <= reached[1]
    perturbed = run(name, toward(labels), eps=eps, n_restarts=3)
    assert float(per_sample_norm(perturbed - images(), norm).max()) <= eps * (1 + 1e-5)


@pytest.mark.parametrize("name", TARGETED)
def test_no_start_is_made_for_samples_that_have_reached_their_label(name):
    labels, spent = second_best(toy()), []
    for count in (1, 3):
        observer = Observer()
        torch.manual_seed(7)
        easy = {"eps": 2 * CASES[name].options["eps"], "n_restarts": count}
        found = make(name, **easy).run(
            ObservedClassifier(attack_ready(toy()), observer), images()[:1], toward(labels[:1])
        )
        assert predicted(toy(), found) == labels[:1]
        spent.append(observer.passes.total)
    assert spent[0] == spent[1]


@pytest.mark.parametrize("part", ["apgd-ce", "fab-t", "square"])
def test_other_bounds_are_the_same_attack_on_another_scale(part):
    class Stretched(Plain):
        bounds = (-1.0, 3.0)

        def forward(self, given):
            return toy()((given + 1) / 4)

    labels = predicted(toy())
    torch.manual_seed(7)
    attack = make(f"{part}-linf", eps=0.4)
    stretched = attack.run(Stretched(toy().net, 5), images() * 4 - 1, attack_criterion(labels))
    ours = run(f"{part}-linf", attack_criterion(labels), eps=0.1)
    assert torch.allclose((stretched + 1) / 4, ours, atol=1e-4)


# ---- what the library would crash on, or do silently


@pytest.mark.parametrize(
    ("name", "classes", "fewest", "instead"),
    [
        ("apgd-dlr-l2", 2, 3, "apgd-ce-l2 or fab-t-l2"),
        ("apgd-t-linf", 3, 4, "apgd-dlr-linf or apgd-ce-linf or fab-t-linf"),
    ],
)
def test_too_few_classes_for_a_loss_are_told_where_the_library_crashes(name, classes, fewest, instead):
    network = toy(classes)
    labels = predicted(network)
    with pytest.raises(IndexError), torch.no_grad():
        library_attack(name, network, seed=0).perturb(images(), labels)
    with pytest.raises(PluginError) as told:
        run(name, attack_criterion(labels), network=network)
    assert str(told.value) == (
        f"{name} compares {fewest} logits and the classifier has {classes} classes; expected at least {fewest}: use {instead}"
    )


@pytest.mark.parametrize(
    ("part", "classes"),
    [
        (part, classes)
        for classes in (2, 3, 4)
        for part in get_args(AttackName)
        if classes >= {"apgd-dlr": 3, "apgd-t": 4}.get(part, 2)
    ],
)
def test_few_classes_work_wherever_the_loss_has_a_value(part, classes):
    name = f"{part}-linf"
    network = toy(classes)
    labels = predicted(network)
    assert (predicted(network, run(name, attack_criterion(labels), network=network)) != labels).any()


@pytest.mark.parametrize("name", ["apgd-t-linf", "fab-t-linf"])
def test_more_target_classes_than_there_are_crash_the_library_and_not_the_bridge(name):
    labels = predicted(toy())
    # The library comes to the classes that are not there only while a sample holds.
    tiny = {"eps": 1e-6, "n_iter": 1, "n_target_classes": 9}
    with pytest.raises(IndexError), torch.no_grad():
        library_attack(name, toy(), seed=0, **tiny).perturb(images(), labels)
    assert run(name, attack_criterion(labels), **tiny).shape == images().shape


@pytest.mark.parametrize("side", [4, 14])
@pytest.mark.parametrize("norm", ["l1", "l2"])
def test_square_refuses_images_that_its_tiles_do_not_fit(norm, side):
    given = random_images(2, shape=(3, side, side))
    classifier = Plain(nn.Sequential(nn.Flatten(), nn.Linear(3 * side**2, 3)), 3)
    labels = predicted(classifier, given)
    library = pyautoattack.square.SquareAttack(classifier, norm=NORM_NAMES[norm], eps=0.1, n_queries=2, device="cpu")
    with pytest.raises((RuntimeError, ZeroDivisionError)):
        library.perturb(given, labels)
    with pytest.raises(PluginError) as told:
        make(f"square-{norm}").run(classifier, given, attack_criterion(labels))
    assert str(told.value) == (
        f"square-{norm} in {norm} cannot tile images of {side} × {side} pixels; expected sides that fifths of the height "
        "fit into: use square-linf, or another attack"
    )
    assert make("square-linf").run(classifier, given, attack_criterion(labels)).shape == given.shape


def test_three_radii_need_two_steps():
    with pytest.raises(PluginError) as told:
        run("apgd-ce-l1", attack_criterion(predicted(toy())), use_largereps=True, n_iter=1)
    assert str(told.value) == (
        "apgd-ce-l1 got use_largereps with n_iter 1; expected at least 2: raise n_iter or leave use_largereps out"
    )
    assert run("apgd-ce-l1", attack_criterion(predicted(toy())), use_largereps=True, n_iter=2).shape == images().shape


@pytest.mark.parametrize("name", NAMES)
def test_a_double_precision_classifier_gets_what_it_takes(name):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = Plain(nn.Sequential(nn.Flatten(), nn.Linear(108, 5)).double(), 5)
        given = torch.rand(SAMPLES, 3, 6, 6, dtype=torch.float64)
    labels = predicted(network, given)
    labels[2] = (labels[2] + 1) % 5
    torch.manual_seed(0)
    perturbed = make(name).run(network, given, attack_criterion(labels))
    assert perturbed.dtype == torch.float64
    assert torch.equal(perturbed[2], given[2])
    assert (predicted(network, perturbed) != labels).sum() > 1


def test_the_library_crashes_on_a_double_precision_classifier():
    network = Plain(nn.Sequential(nn.Flatten(), nn.Linear(108, 5)).double(), 5)
    library = pyautoattack.autopgd_base.APGDAttack(network, eps=0.1, n_iter=2)
    with pytest.raises(RuntimeError, match="dtype"):
        library.perturb(images().double())


@pytest.mark.parametrize("name", NAMES)
def test_the_global_generators_move_on_by_one_draw(name):
    labels = predicted(toy())
    run(name, attack_criterion(labels))
    after = torch.random.get_rng_state()
    drawn_seed()
    assert torch.equal(after, torch.random.get_rng_state())


def test_the_library_itself_reseeds_the_global_generator():
    torch.manual_seed(7)
    with torch.no_grad():
        library_attack("apgd-ce-linf", toy(), seed=0, n_restarts=1).perturb(images()[:1], predicted(toy())[:1])
    left = torch.random.get_rng_state()
    torch.manual_seed(8)
    with torch.no_grad():
        library_attack("apgd-ce-linf", toy(), seed=0, n_restarts=1).perturb(images()[:1], predicted(toy())[:1])
    assert torch.equal(left, torch.random.get_rng_state())


@pytest.mark.parametrize("part", ["apgd-ce", "square"])
def test_a_classifier_in_train_mode_is_refused(part):
    network = Plain(nn.Sequential(nn.Flatten(), nn.BatchNorm1d(108), nn.Linear(108, 5)), 5)
    network.net[1].train()
    before = network.net[1].running_mean.clone()
    with pytest.raises(PluginError) as told:
        make(f"{part}-linf").run(network, images(), attack_criterion(torch.zeros(SAMPLES, dtype=torch.long)))
    assert str(told.value) == (
        "AutoAttack got a classifier in train mode (net.1), which answers differently in another batch; "
        "expected eval mode: call its eval() first"
    )
    assert torch.equal(network.net[1].running_mean, before)


def test_square_writes_into_a_copy_of_the_logits():
    network = Remembering(toy().net, 5)
    labels = predicted(network)
    library = pyautoattack.square.SquareAttack(network, eps=1e-6, n_queries=1, device="cpu")
    with torch.no_grad():
        library.margin_and_loss(images(), labels)
    assert torch.isinf(network.answers.pop()).any()
    make("square-linf", eps=1e-6, n_queries=1).run(network, images(), attack_criterion(labels))
    assert torch.isfinite(torch.cat(network.answers)).all()


@pytest.mark.parametrize("name", NAMES)
def test_channels_last_images_work(name):
    labels = predicted(toy())
    given = images().to(memory_format=torch.channels_last)
    assert torch.allclose(
        run(name, attack_criterion(labels), given=given), run(name, attack_criterion(labels)), atol=1e-5
    )


def test_the_library_crashes_on_channels_last_images():
    given = images().to(memory_format=torch.channels_last)
    with pytest.raises(RuntimeError, match="view"), torch.no_grad():
        library_attack("apgd-t-linf", toy(), seed=0).perturb(given, predicted(toy()))


@pytest.mark.parametrize("name", NAMES)
def test_nothing_is_printed_and_nothing_is_left_behind(name, capfd, caplog):
    network, labels = toy(), predicted(toy())
    twin = view_of(attack_ready(network))
    given = images().clone()
    traced = sys.gettrace()
    perturbed = make(name).run(twin, given, attack_criterion(labels))
    assert torch.equal(given, images())
    assert not perturbed.requires_grad
    assert all(parameter.grad is None for parameter in twin.parameters())
    assert torch.is_grad_enabled()
    assert sys.gettrace() is traced
    assert capfd.readouterr() == ("", "")
    assert not caplog.records


def test_the_l1_ball_is_kept_where_the_library_misses_it():
    torch.manual_seed(3)
    unit = torch.rand(4, 3, 32, 32)
    noise = torch.randn(unit.shape)
    found = (unit + noise + pyautoattack.autopgd_base.L1_projection(unit, noise, 12.0)).clamp(0, 1)
    assert float(per_sample_norm(found - unit, "l1").max()) > 12 * (1 + 1e-5) + 1e-5
    kept = within(found, unit, "l1", 12.0)
    assert float(per_sample_norm(kept - unit, "l1").max()) <= 12 * (1 + 1e-6)
    assert torch.allclose(kept, found, atol=1e-4)
    assert torch.equal(within(unit, unit, "l1", 12.0), unit)


def test_more_than_rounding_beyond_the_ball_or_the_bounds_is_left_for_the_harness_to_see():
    unit = torch.full((2, 1, 10, 10), 0.5)
    far = torch.stack([unit[0] + 0.01 * 1.015, unit[1] + 0.01 * 1.03])
    kept = within(far, unit, "l1", 1.0)
    assert float((kept[0] - unit[0]).abs().sum()) == pytest.approx(1, abs=1e-5)
    assert torch.equal(kept[1], far[1])
    beyond = torch.stack([unit[0] + 0.5008, unit[1] - 0.502])
    kept = within(beyond, unit, "linf", 0.1)
    assert torch.equal(kept[0], torch.ones(1, 10, 10))
    assert torch.equal(kept[1], beyond[1])
    assert within(unit * torch.nan, unit, "l1", 1.0).isnan().all()


@pytest.mark.parametrize("part", ["apgd-ce", "square"])
def test_the_guard_tells_of_an_attack_that_leaves_the_pixels_range(part, monkeypatch):
    name = f"{part}-linf"
    monkeypatch.setattr(library_class(name), "perturb", lambda _, images, labels: images + 1)
    attacker = Attacker(make(name), toy(), name=name, seed=1)
    with pytest.raises(ContractError, match=r"returned pixels in .* expected them in \[0, 1\]"):
        attacker.attack_batch(images(), predicted(toy()), torch.arange(SAMPLES))
