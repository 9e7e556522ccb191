"""AutoAttack as an evaluator against pyautoattack called plainly: its parts, the checks of scale, and what it warns of."""

from __future__ import annotations

import logging
import sys
from functools import cache

import pytest
import torch
from pyautoattack import AutoAttack, checks
from pydantic import ValidationError
from scipy.stats import binomtest
from torch import nn
from toys import pixel_classifier, random_images

from harness.api import DEFAULT_EPS, Evaluation, Findings, PluginError
from harness.engine.evaluating import EvaluatorRun
from harness.engine.folding import attack_ready
from harness.engine.observing import ObservedClassifier, Observer
from harness.engine.tallying import Tally
from harness_autoattack.evaluator import VERSIONS, AutoAttackEvaluator, AutoAttackOptions
from harness_autoattack.rescaling import attack_rescaled, temperatures_of
from harness_autoattack.vocabulary import NORM_NAMES

SAMPLES = 8
NEAR = {"linf": 0.01, "l2": 0.06, "l1": 0.6}
"""Near the distance of the images from the boundary, so that some fall to each attack and some hold."""


@pytest.fixture(autouse=True)
def hurried(monkeypatch):
    """The library takes fewer steps and queries, whoever calls it."""
    versions = AutoAttack._set_version

    def shortened(self, version):
        versions(self, version)
        self.fab.n_iter, self.square.n_queries = 10, 200
        for part in (self.apgd, self.apgd_targeted):
            part.n_iter = part.n_iter_orig = 40

    monkeypatch.setattr(AutoAttack, "_set_version", shortened)


class Silent:
    """A logger that says nothing: without one the library raises warnings, which are errors here."""

    def debug(self, message):
        pass

    info = warning = debug


class Heard(Silent):
    """Keeps the warnings."""

    def __init__(self):
        self.warnings = []

    def warning(self, message):
        self.warnings.append(message)


@cache
def images(count=SAMPLES):
    return random_images(count, seed=4)


@cache
def net(classes=10, seed=0, gain=1.0):
    """A network whose labels change near every image; its logits times ``gain``."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        made = nn.Sequential(nn.Flatten(), nn.Linear(108, 16), nn.Tanh(), nn.Linear(16, classes))
        with torch.no_grad():
            made[3].bias.sub_(made(torch.rand(256, 3, 6, 6)).mean(0))
            made[3].weight.mul_(gain)
            made[3].bias.mul_(gain)
    return made


class Wrapped(nn.Module):
    """A network that does more than give logits."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner


class Staircase(Wrapped):
    """Rounds the pixels, so that no gradient comes through."""

    def forward(self, given):
        return self.inner(given.mul(24).round().div(24))


class Noisy(Wrapped):
    """Answers differently each time."""

    def forward(self, given):
        logits = self.inner(given)
        return logits + 0.05 * torch.randn(logits.shape)


class Softmaxed(Wrapped):
    """Returns probabilities."""

    def forward(self, given):
        return self.inner(given).softmax(1)


class Dynamic(Wrapped):
    """Moves its input along a gradient before it answers."""

    def forward(self, given):
        with torch.enable_grad():
            moved = given.detach().requires_grad_()
            gradient = torch.autograd.grad(self.inner(moved).sum(), moved)[0]
        return self.inner(given + 1e-3 * gradient)


def classifier(classes=10, kind=None, **changes):
    made = net(classes, **changes)
    return pixel_classifier(kind(made) if kind else made, classes=classes).eval()


def predicted(network, given=None):
    with torch.no_grad():
        return attack_ready(network)(images() if given is None else given).argmax(1)


def bound(network, *, judge=None, **options):
    made = AutoAttackEvaluator(AutoAttackOptions(**{"temperatures": (), **options}))
    return EvaluatorRun(made, network, name="autoattack", seed=1, judge=judge)


def evaluate(network, *, labels=None, given=None, **options):
    given = images() if given is None else given
    labels = predicted(network, given) if labels is None else labels
    return bound(network, **options).evaluate(given, labels, torch.arange(len(given)))


def asked(network, attack, *, seed=5, given=None, **options):
    """Call the evaluator itself, as the harness does, for its part of this name."""
    given = images() if given is None else given
    made = AutoAttackEvaluator(AutoAttackOptions(**options))
    made.seed, made.part = seed, next(part for part in made.parts() if part.name == attack)
    return made.evaluate(view_of(network), given, predicted(network, given))


def view_of(network):
    return ObservedClassifier(attack_ready(network), Observer())


def plainly(network, labels, *, seed, norm="linf", eps=0.01, version="standard", attacks=None, heard=None):
    """Call the library as its users do; returns its images and the labels that it saw in the end."""
    made = AutoAttack(attack_ready(network), eps=eps, norm=NORM_NAMES[norm], seed=seed, version=version)
    made.logger = made.apgd.logger = made.apgd_targeted.logger = heard or Silent()
    for part in (made.apgd_targeted, made.fab):
        part.n_target_classes = min(part.n_target_classes, network.num_classes - 1)
    if attacks:
        made.attacks_to_run = list(attacks)
    return made.run_standard_evaluation(images(len(labels)), labels, batch_size=len(labels))


@cache
def half_right():
    """Labels of 24 images, some of them wrong."""
    labels = predicted(classifier(5), images(24)).clone()
    labels[::5] = (labels[::5] + 1) % 5
    return labels


# ---- verdicts


@pytest.mark.parametrize(
    ("version", "norm", "attacks"),
    [
        ("standard", "linf", None),
        ("standard", "l2", ("apgd-ce", "fab-t")),
        ("standard", "l1", ("apgd-ce", "square")),
        ("plus", "linf", ("apgd-dlr", "fab")),
        ("rand", "linf", ("apgd-dlr",)),
    ],
)
def test_every_verdict_is_that_of_the_library_called_plainly_with_the_same_seed(version, norm, attacks):
    network, labels, eps = classifier(5), half_right(), NEAR[norm]
    run = bound(network, version=version, norm=norm, eps=eps, attacks=attacks)
    found = run.evaluate(images(24), labels, torch.arange(24))
    for count, attack in enumerate(names := attacks or VERSIONS[version], start=1):
        _, theirs = plainly(
            network, labels, seed=run.evaluator.seed, norm=norm, eps=eps, version=version, attacks=names[:count]
        )
        assert found.shares[f"held after {attack}"] == int((theirs == labels).sum()) / 24
    assert torch.equal(found.held, theirs == labels)
    assert list(found.shares) == [f"held after {attack}" for attack in names]
    assert 0 < found.held.sum() < found.clean.sum() < 24


@pytest.mark.parametrize("attack", ["apgd-ce", "apgd-t", "fab-t", "square"])
def test_each_part_gives_the_librarys_images_for_its_seed(attack):
    network = classifier(5)
    theirs, _ = plainly(network, predicted(network), seed=5, attacks=[attack])
    assert torch.equal(asked(network, attack, eps=0.01).perturbed, theirs)


@pytest.mark.parametrize("version", VERSIONS)
def test_versions_run_the_attacks_that_the_library_runs(version):
    library = AutoAttack(classifier(), version=version)
    assert tuple(library.attacks_to_run) == VERSIONS[version]
    parts = AutoAttackEvaluator(AutoAttackOptions(version=version, temperatures=())).parts()
    assert tuple(part.name for part in parts) == VERSIONS[version]


def test_attacks_that_find_nothing_left_have_their_share_all_the_same():
    found = evaluate(classifier(), eps=0.5, attacks=["apgd-ce", "square"])
    assert found.shares == {"held after apgd-ce": 0.0, "held after square": 0.0}
    assert not found.held.any()


def test_a_run_that_is_killed_between_parts_goes_on_there_and_ends_the_same(monkeypatch):
    network, labels, given = classifier(5), half_right(), images(24)
    samples = torch.arange(24)
    whole = evaluate(network, labels=labels, given=given, eps=0.01, temperatures=(10,))
    called = []

    def advance(tally):
        run = bound(network, eps=0.01, temperatures=(10,))
        real = run.evaluator.evaluate
        monkeypatch.setattr(
            run.evaluator, "evaluate", lambda *given: (called.append(run.evaluator.part.name), real(*given))[1]
        )
        return run, run.advance(Tally.from_meta(tally.as_meta()), given, labels, samples)

    tally = Tally()
    while not tally.batches:
        run, tally = advance(tally)
    assert called == ["apgd-ce", "apgd-t", "fab-t", "square", "apgd-ce again", "logits / 10"]
    found = run.conclude(tally)
    assert torch.equal(found.held, whole.held)
    assert (found.shares, found.flags) == (whole.shares, whole.flags)


def test_who_judges_decides_what_the_next_attack_gets(monkeypatch):
    network, given, labels = classifier(5), images(), predicted(classifier(5))
    steadfast = pixel_classifier(Named(), classes=5).eval()
    sizes = []
    run = bound(network, judge=steadfast, eps=0.5, attacks=("apgd-ce", "apgd-t"))
    monkeypatch.setattr(run.evaluator, "evaluate", lambda _, some, true: (sizes.append(len(some)), moved(some))[1])
    found = run.evaluate(given, torch.zeros_like(labels), torch.arange(SAMPLES))
    assert sizes == [SAMPLES, SAMPLES]
    assert found.held.all()


def moved(some):
    return Evaluation(perturbed=(some + 0.4).clamp(max=1))


class Named(nn.Module):
    """Answers 0 whatever it sees."""

    def forward(self, given):
        return torch.eye(5)[0].repeat(len(given), 1) + 0 * given.flatten(1).sum(1, keepdim=True)


@pytest.mark.parametrize("norm", NORM_NAMES)
def test_the_threat_is_the_usual_one_unless_it_is_told(norm):
    assert AutoAttackEvaluator(AutoAttackOptions(norm=norm)).threat() == (norm, DEFAULT_EPS[norm])
    assert AutoAttackEvaluator(AutoAttackOptions(norm=norm, eps="1/255")).threat() == (norm, 1 / 255)


def test_a_standard_eps_that_nobody_put_a_number_to_is_refused():
    with pytest.raises(PluginError, match="eps: standard has a meaning beside a data set, in a spec: give a number"):
        AutoAttackEvaluator(AutoAttackOptions(eps="standard")).threat()


# ---- the scale of the logits


def test_what_huge_logits_alone_had_held_is_exposed_and_the_attack_alone_is_deceived():
    """Of a linear classifier the worst image in the ball is known, so who is robust is known, and no scale changes it."""
    labels, given = half_space(images(64)), images(64)
    eps = 0.03
    toward = (2 * labels[:, None].float() - 1) * direction().sign()
    worst = (given.flatten(1) + eps * toward).clamp(0, 1)
    robust = half_space(worst) == labels
    assert 16 < robust.sum() < 48
    honest, huge = linear(1.0), linear(1e4)
    options = {"eps": eps, "attacks": ("apgd-ce",), "temperatures": ("margin", 1e4)}
    found = {name: evaluate(one, labels=labels, given=given, **options) for name, one in (("1", honest), ("1e4", huge))}
    truth = float(robust.float().mean())
    assert float(found["1"].held.float().mean()) == truth
    assert found["1"].shares["same under logits / margin"] == 1
    assert found["1"].flags == ()
    assert torch.equal(found["1"].held, robust)
    deceived = found["1e4"]
    assert float(deceived.held.float().mean()) > truth + 0.2
    assert deceived.shares["held under logits / margin"] == truth
    assert deceived.shares["held under logits / 10000"] == truth
    assert deceived.shares["held under every check"] == truth
    changed = int(deceived.held.sum() - robust.sum())
    assert deceived.shares["same under logits / margin"] == 1 - changed / 64
    assert found["1"].shares["same under apgd-ce again"] == deceived.shares["same under apgd-ce again"] == 1
    assert deceived.flags == tuple(
        f"{changed} of 64 verdicts change when logits are divided by {by} and not when the same starts are attacked undivided, "
        "0 the other way around: part of the robustness is scaling"
        for by in ("each image's margin", "10000")
    )


def linear(gain):
    made = nn.Linear(108, 2)
    with torch.no_grad():
        made.weight[0] = direction() * gain
        made.weight[1] = -direction() * gain
        made.bias[:] = torch.tensor([-1.0, 1.0]) * direction().sum() / 2 * gain
    return pixel_classifier(nn.Sequential(nn.Flatten(), made), classes=2).eval()


@cache
def direction():
    return torch.randn(108, generator=torch.Generator().manual_seed(1)).sign() * 0.1


def half_space(given):
    """Return on which side of the boundary images lie: what both classifiers answer."""
    return (given.flatten(1) @ direction() < direction().sum() / 2).long()


@pytest.mark.parametrize(
    ("version", "norm"), [("standard", "linf"), ("standard", "l2"), ("standard", "l1"), ("plus", "l2")]
)
def test_another_run_is_the_librarys_apgd_ce_once_for_each_start(version, norm):
    """The library goes on with what is left; here each start has all images, as a fresh library with another seed has."""
    network, options = classifier(5), {"norm": norm, "eps": NEAR[norm], "version": version}
    ours = asked(network, "apgd-ce again", **options).perturbed
    theirs = images().clone()
    for restart in range(5 if norm == "l1" or version == "plus" else 1):
        library = AutoAttack(
            attack_ready(network), eps=NEAR[norm], norm=NORM_NAMES[norm], seed=5 + restart, version=version
        )
        library.apgd.n_restarts, library.apgd.loss = 1, "ce"
        found = library.apgd.perturb(images(), predicted(network))
        first = (theirs == images()).flatten(1).all(1)
        theirs[first] = found[first]
    assert torch.allclose(ours, theirs, rtol=0, atol=1e-4 if norm == "l1" else 0)
    assert fallen(ours).sum() not in {0, SAMPLES}


def fallen(perturbed, given=None):
    return (perturbed != (images() if given is None else given)).flatten(1).any(1)


@pytest.mark.parametrize(("version", "norm", "starts"), [("standard", "linf", 1), ("plus", "l2", 5)])
def test_every_temperature_starts_where_the_run_without_one_does(version, norm, starts):
    """The others fall at no start, so that all starts are made; what falls at one temperature may hold at another."""
    asks = {}
    for check in ("apgd-ce again", "logits / 7", "logits / margin"):
        network, heard = classifier(5), []
        network.register_forward_pre_hook(lambda _, given, heard=heard: heard.append(given[0].detach().clone()))
        view = ObservedClassifier(network.requires_grad_(requires_grad=False), Observer())
        made = AutoAttackEvaluator(
            AutoAttackOptions(norm=norm, eps=NEAR[norm] / 100, version=version, temperatures=(7, "margin"))
        )
        made.seed, made.part = 5, next(part for part in made.parts() if part.name == check)
        assert not fallen(made.evaluate(view, images(), predicted(classifier(5))).perturbed).any()
        asks[check] = heard[2::41]  # after two looks at the images: a start, and 40 steps, each
    first, *others = asks.values()
    assert len(first) == starts
    assert not torch.equal(first[0], images())
    assert all(torch.equal(torch.stack(first), torch.stack(other)) for other in others)


def test_what_another_run_breaks_is_no_matter_of_scale():
    """Pixels that are rounded let no gradient through, so that luck with the starts is all there is, whatever the scale."""
    network, given = classifier(kind=Staircase), random_images(256, seed=6)
    labels = predicted(network, given)
    options = {"eps": 0.04, "attacks": ("apgd-ce",), "temperatures": (2, "margin", 1000)}
    found = evaluate(network, labels=labels, given=given, **options)
    lucky = round(256 * (1 - found.shares["same under apgd-ce again"]))
    assert lucky > 0
    assert [found.shares[f"same under logits / {by}"] for by in ("2", "margin", "1000")] == [1, 1, 1]
    [flag] = found.flags
    assert flag == (
        f"{lucky} of 256 verdicts change when apgd-ce runs once more, from other starts: the robust accuracy is an upper bound, "
        "and gradients may be masked"
    )


@pytest.mark.parametrize(
    ("divided", "undivided", "ending"),
    [
        (1, 0, "too few to tell scaling from chance"),
        (4, 0, "too few to tell scaling from chance"),
        (5, 0, "part of the robustness is scaling"),
        (12, 11, "too few to tell scaling from chance"),
        (15, 5, "part of the robustness is scaling"),
        (3, 20, "too few to tell scaling from chance"),
    ],
)
def test_scaling_is_said_only_where_a_sign_test_finds_more_fallen_divided_than_undivided(divided, undivided, ending):
    findings = Findings(
        samples=100,
        clean=90,
        held={"apgd-ce": 60, "apgd-ce again": 60, "logits / margin": 60 - divided},
        counts={"undivided alone, margin": undivided} if undivided else {},
    )
    [told] = AutoAttackEvaluator(AutoAttackOptions(attacks=("apgd-ce",))).remarks(findings)
    assert told == (
        f"{divided} of 100 verdicts change when logits are divided by each image's margin and not when the same starts are "
        f"attacked undivided, {undivided} the other way around: {ending}"
    )
    p = binomtest(divided, divided + undivided, alternative="greater").pvalue
    assert (p <= 0.05) == (ending == "part of the robustness is scaling")


def test_what_falls_divided_and_undivided_alike_is_given_back_unperturbed(monkeypatch):
    """By hand: divided, the first three fall; undivided, the first and the last. So the scale had held the second and third."""
    fell = {4.0: [True, True, True, False], 1.0: [True, False, False, True]}

    def run(self, temperature, classifier, images, labels):
        which = torch.tensor(fell[temperature])
        return which, images + which[:, None, None, None] * temperature / 100

    monkeypatch.setattr("harness_autoattack.evaluating.Evaluating._run", run)
    given = images(4)
    for check, moved_by in (("logits / 4", [0, 0.04, 0.04, 0]), ("apgd-ce again", [0.01, 0, 0, 0.01])):
        made = AutoAttackEvaluator(AutoAttackOptions(temperatures=(4,)))
        made.seed, made.part = 5, next(part for part in made.parts() if part.name == check)
        found = made.evaluate(view_of(classifier(5)), given, predicted(classifier(5), given))
        moved = (found.perturbed - given).flatten(1).amax(1)
        assert torch.allclose(moved, torch.tensor(moved_by), atol=1e-6)
        assert found.counts.get("undivided alone, 4.0", 0) == (check == "logits / 4")


def test_the_margin_is_what_the_label_is_ahead_by():
    logits = torch.tensor([[5.0, 2.0, 4.5], [-1.0, -3.0, -2.0], [1.0, 1.0, 0.0]])
    found = temperatures_of(logits, torch.tensor([0, 0, 0]), "margin")
    assert torch.allclose(found, torch.tensor([0.5, 1.0, 1e-6]))
    assert temperatures_of(logits, torch.tensor([0, 0, 0]), 7.0).tolist() == [7.0] * 3
    assert temperatures_of(torch.zeros(1, 3), torch.tensor([0]), "margin").item() > 0


def test_margins_make_the_check_the_same_whatever_the_logits_are_multiplied_by():
    found = []
    for gain in (1.0, 2.0**12):
        view, labels = view_of(classifier(5, gain=gain)), predicted(classifier(5, gain=gain))
        apgd = AutoAttack(view, eps=0.01, seed=5).apgd
        fell, perturbed = attack_rescaled(apgd, view, images(), labels, "margin")
        assert torch.equal(fell, fallen(perturbed))
        found.append(perturbed)
    assert torch.equal(*found)
    assert not torch.equal(found[0], images())


@pytest.mark.parametrize("attack", ["apgd-dlr", "apgd-t", "fab", "fab-t", "square"])
def test_the_scale_changes_nothing_for_the_attacks_that_are_not_run_again(attack):
    """A power of two changes no digit of a logit, so even rounding is the same."""
    held = [evaluate(classifier(5, gain=gain), eps=0.01, attacks=(attack,)).held for gain in (1.0, 2.0**12)]
    assert torch.equal(*held)
    assert 0 < held[0].sum() < SAMPLES


def test_verdicts_stay_autoattacks_whatever_the_checks_find():
    network, options = classifier(5, gain=1e4), {"eps": 0.01, "attacks": ("apgd-ce",)}
    without, checked = evaluate(network, **options), evaluate(network, **options, temperatures=("margin",))
    assert torch.equal(without.held, checked.held)
    assert checked.shares["held under logits / margin"] < float(checked.held.float().mean())


@pytest.mark.parametrize(
    ("options", "parts"),
    [
        ({}, ["apgd-ce again", "logits / margin"]),
        ({"attacks": ("fab-t", "square")}, []),
        ({"version": "rand"}, []),
        ({"version": "rand", "temperatures": (10,)}, ["apgd-ce again", "logits / 10"]),
        (
            {"temperatures": ("1/10", "margin", 2.5)},
            ["apgd-ce again", "logits / 0.1", "logits / margin", "logits / 2.5"],
        ),
        ({"temperatures": ()}, []),
    ],
)
def test_what_holds_is_checked_at_its_margin_unless_it_is_told(options, parts):
    made = AutoAttackEvaluator(AutoAttackOptions(**options)).parts()
    assert [part.name for part in made if part.check] == parts


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (
            {"attacks": ("square", "fab-t"), "temperatures": (10,)},
            "no influence on square and fab-t; add apgd-ce to attacks",
        ),
        ({"temperatures": (10, 10)}, "10 stands twice; keep one of them"),
        ({"temperatures": ("margin", "2/2")}, "1 divides nothing, and what falls undivided is always found"),
        ({"attacks": ("square", "square")}, "square stands twice; keep one of them"),
        ({"temperatures": (0,)}, "greater than 0"),
        ({"temperatures": ("margins",)}, "margin"),
        ({"eps": 0}, "greater than 0"),
        ({"eps": "usual"}, "standard"),
    ],
)
def test_options_that_make_no_sense_are_refused(options, told):
    with pytest.raises(ValidationError, match=told):
        AutoAttackOptions(**options)


def test_a_sample_that_the_twin_labels_otherwise_is_left_as_it_is_by_the_check():
    network = classifier(5)
    made = AutoAttackEvaluator(AutoAttackOptions(eps=0.5))
    made.seed, made.part = 5, made.parts()[-2]
    assert made.part.name == "apgd-ce again"
    labels = predicted(network).clone()
    labels[::2] = (labels[::2] + 1) % 5
    found = made.evaluate(view_of(network), images(), labels).perturbed
    assert torch.equal(found[::2], images()[::2])
    assert (found[1::2] != images()[1::2]).flatten(1).any(1).all()


# ---- warnings


def test_a_sound_classifier_raises_no_flag():
    found = evaluate(classifier(), eps=0.03, attacks=["apgd-ce", "apgd-dlr", "square"], temperatures=None)
    assert found.flags == ()


def test_zero_gradients_are_flagged_and_so_is_that_square_does_better():
    network, heard = classifier(kind=Staircase), Heard()
    run = bound(network, eps=0.1, attacks=["apgd-t", "square"])
    found = run.evaluate(images(), predicted(network), torch.arange(SAMPLES))
    plainly(network, predicted(network), seed=run.evaluator.seed, eps=0.1, attacks=["apgd-t", "square"], heard=heard)
    zeros = sum(int(warning.split()[2]) for warning in heard.warnings if "zero gradient" in warning)
    before, after = (round(SAMPLES * share) for share in found.shares.values())
    assert before - after >= 2
    assert zeros > SAMPLES
    assert found.flags == (
        f"{zeros} starts of gradient attacks, of one image each, found zero gradients: gradients may be masked",
        f"square, without gradients, broke {before - after} of the {before} labels left: gradients may be masked",
    )


@pytest.mark.parametrize(("broken", "flagged"), [(0, 0), (2, 0), (3, 1)])
def test_square_is_flagged_beyond_what_the_library_lets_pass(broken, flagged):
    held = {"apgd-ce": 700, "apgd-t": 650, "fab-t": 650, "square": 650 - broken, "logits / margin": 650 - broken}
    findings = Findings(samples=1000, clean=900, held=held, counts={})
    remarks = AutoAttackEvaluator(AutoAttackOptions()).remarks(findings)
    assert len(remarks) == flagged
    accuracies = {"clean": 0.9, "apgd-ce": 0.7, "apgd-t": 0.65, "fab-t": 0.65, "square": 0.65 - broken / 1000}
    listener = Heard()
    checks.check_square_sr(accuracies, logger=listener)
    assert len(listener.warnings) == flagged


def test_a_randomized_classifier_is_flagged_and_the_verdicts_that_a_second_look_does_not_confirm_are_counted():
    labels = predicted(classifier(), images(24))
    torch.manual_seed(0)
    randomized, differing = evaluate(
        classifier(kind=Noisy), labels=labels, given=images(24), eps=0.01, attacks=["apgd-ce"]
    ).flags
    assert randomized == 'the classifier answers the same images differently each time: use version "rand"'
    count = int(differing.split()[0])
    assert 0 < count <= 24
    assert differing == f"{count} times AutoAttack's verdict is not what the classifier then says of its image"


def test_probabilities_are_flagged():
    flags = evaluate(classifier(kind=Softmaxed), eps=0.01, attacks=["apgd-ce"]).flags
    assert flags == ("the classifier's outputs look like probabilities, not logits: its gradients may vanish",)


def test_a_dynamic_defence_is_flagged():
    flags = asked(classifier(kind=Dynamic), "apgd-ce", eps=0.01).flags
    assert flags == (
        "the classifier takes gradients while it answers, as dynamic defences do: AutoAttack may be too weak",
    )


def test_a_dynamic_defence_that_the_library_met_before_is_not_this_classifiers(monkeypatch):
    for name in checks.funcs:
        monkeypatch.setitem(checks.funcs, name, 3)
    assert evaluate(classifier(), eps=0.01, attacks=["apgd-ce"]).flags == ()
    assert set(checks.funcs.values()) == {3}


def test_a_trace_function_is_put_back():
    def tracer(frame, event, argument):
        return None

    before = sys.gettrace()
    sys.settrace(tracer)
    try:
        asked(classifier(), "apgd-ce", eps=0.5)
        left = sys.gettrace()
    finally:
        sys.settrace(before)
    assert left is tracer


def test_few_classes_are_flagged():
    found = evaluate(classifier(3), eps=0.004)
    assert found.flags == (
        "apgd-t was left out, since it compares 4 logits and the classifier has 3 classes; expected at least 4",
        "fab-t makes for 2 target classes instead of 9: there are no more",
    )
    assert list(found.shares) == ["held after apgd-ce", "held after fab-t", "held after square"]
    with pytest.raises(IndexError):
        plainly(classifier(3), predicted(classifier(3)), seed=1, eps=1e-6, attacks=["apgd-t"])


def test_an_attack_that_was_asked_for_and_cannot_run_is_refused_before_any_other_runs():
    with pytest.raises(PluginError) as told:
        asked(classifier(2), "apgd-ce", attacks=["apgd-ce", "apgd-dlr"])
    assert str(told.value) == (
        "autoattack: apgd-dlr compares 3 logits and the classifier has 2 classes; expected at least 3: "
        "leave it out of attacks, or name apgd-ce or fab-t"
    )


def test_the_plus_version_in_l1_is_flagged():
    flags = evaluate(classifier(), version="plus", norm="l1", eps=30, attacks=["apgd-ce"]).flags
    assert flags == ("version plus is not one that its authors describe in l1",)


def test_the_evaluator_prints_nothing_and_lets_no_log_level_swallow_a_warning(capfd):
    logging.disable(logging.CRITICAL)
    try:
        flags = evaluate(classifier(kind=Softmaxed), eps=0.5, attacks=["apgd-ce"]).flags
    finally:
        logging.disable(logging.NOTSET)
    assert len(flags) == 1
    assert capfd.readouterr() == ("", "")


def test_the_evaluator_refuses_a_classifier_in_train_mode():
    network = pixel_classifier(nn.Sequential(nn.Flatten(), nn.Dropout(), nn.Linear(108, 5)), classes=5).train()
    made = AutoAttackEvaluator(AutoAttackOptions())
    made.seed = 5
    with pytest.raises(PluginError, match=r"in train mode \(all of it\)"):
        made.evaluate(network, images(), torch.zeros(SAMPLES, dtype=torch.long))


@pytest.mark.parametrize("part", ["apgd-ce", "logits / margin"])
def test_the_evaluator_leaves_the_generators_as_they_were(part):
    before = torch.random.get_rng_state()
    asked(classifier(), part, eps=0.01)
    assert torch.equal(before, torch.random.get_rng_state())


class Plain(nn.Module):
    """A network as a classifier whose whole batch is its only view, in any precision."""

    bounds = (0.0, 1.0)

    def __init__(self, inner, classes):
        super().__init__()
        self.inner, self.num_classes = inner, classes
        self.eval()
        self.requires_grad_(requires_grad=False)

    def forward(self, given):
        return self.inner(given)

    def __getitem__(self, rows):
        return self


@pytest.mark.parametrize("part", ["apgd-ce", "logits / margin"])
def test_the_evaluator_takes_double_precision_and_channels_last(part):
    double = Plain(nn.Sequential(nn.Flatten(), nn.Linear(108, 5)).double(), 5)
    made = AutoAttackEvaluator(AutoAttackOptions(eps=0.1))
    made.seed, made.part = 5, next(one for one in made.parts() if one.name == part)
    given = images().double()
    assert made.evaluate(double, given, double(given).argmax(1)).perturbed.dtype == torch.float64
    # In eval mode the library's check reads a gradient flat, which a channels-last one is not.
    last = asked(classifier(5), part, eps=0.05, given=images().to(memory_format=torch.channels_last))
    assert torch.equal(last.perturbed, asked(classifier(5), part, eps=0.05).perturbed)
