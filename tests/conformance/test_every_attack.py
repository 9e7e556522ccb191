"""Every installed attack, as a corrector and as a robustness test, on one toy classifier under one set of rules.

The tables beside this file say how each is made quick, and which cannot do what, with the reason; whoever adds an attack
need not add a line, unless its defaults are slow.
"""

from __future__ import annotations

import pickle
from functools import cache

import cases_advlib
import cases_autoattack
import cases_foolbox
import cases_torchattacks
import pytest
import torch
from casing import Case
from torch import nn
from toys import pixel_classifier, random_images, randomize_batch_norm, states_equal

from harness.criteria import targeted_objective
from harness.engine.attacking import Attacker, Corrector
from harness.engine.examples import TrainingExamples
from harness.engine.images import ImageSet
from harness.manager import Manager

CLASSES = 5
SAMPLES = 8
CASES: dict[str, Case] = {
    f"{package}/{name}": case
    for package, cases in {
        "foolbox": cases_foolbox.CASES,
        "autoattack": cases_autoattack.CASES,
        "torchattacks": cases_torchattacks.CASES,
        "advlib": cases_advlib.CASES,
        "paper": {"salt-and-pepper": Case(options={"steps": 200})},
    }.items()
    for name, case in cases.items()
}
MANAGER = Manager.discover()
ATTACKS = {plugin.qualified: plugin for plugin in MANAGER.names("attack")}


@cache
def classifier():
    """A smooth convolutional net with batch-norm for 3 x 16 x 16 images, whose labels change over the pixel range."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = nn.Sequential(
            nn.Conv2d(3, 6, 3, padding=1, stride=2, bias=False),
            nn.BatchNorm2d(6),
            nn.Tanh(),
            nn.Flatten(),
            nn.Linear(6 * 64, CLASSES),
        )
        randomize_batch_norm(net)
        with torch.no_grad():
            net[4].weight.mul_(4.0)
            net.eval()
            net[4].bias.sub_(net((torch.rand(512, 3, 16, 16) - 0.5) / 0.25).mean(0))
    return pixel_classifier(net, classes=CLASSES, mean=0.5, std=0.25).eval()


@cache
def samples():
    """Images with the label they are given, and with the second likeliest, which a corrector takes for the true one."""
    images = random_images(SAMPLES, seed=1, shape=(3, 16, 16))
    with torch.no_grad():
        order = classifier()(images).argsort(1, descending=True)
    return images, order[:, 0], order[:, 1]


@cache
def examples():
    """Images of every label that the classifier gives, for attacks that start from one."""
    stored = random_images(64, seed=2, shape=(3, 16, 16)).mul(255).round().to(torch.uint8)
    with torch.no_grad():
        labels = classifier()(stored / 255).argmax(1)
    assert len(labels.unique()) == CLASSES
    return TrainingExamples(ImageSet(stored, labels, torch.arange(64), 16, torch.device("cpu")))


def attack_of(name):
    loaded = MANAGER.load(ATTACKS[name])
    if loaded.library is not None and loaded.library.missing:
        pytest.skip(f"{', '.join(loaded.library.missing)} not installed")
    return loaded(loaded.options_type(**CASES.get(name, Case()).options))


def select_of(name, attack):
    """An attack that starts from an example would have it for its first hit."""
    asked = CASES.get(name, Case()).select
    return "min-norm" if attack.capabilities.examples and asked == "first-hit" else asked


def objective_of(name, attack):
    asked = CASES.get(name, Case()).objective
    possible = attack.capabilities.targeted if targeted_objective(asked) else attack.capabilities.untargeted
    return asked if possible else "away-from-predicted"


def test_the_tables_name_attacks_that_exist():
    assert set(CASES) <= set(ATTACKS)


def test_a_hundred_attacks_of_five_sources_are_offered():
    assert len(ATTACKS) >= 100
    assert {name.partition("/")[0] for name in ATTACKS} >= {
        "paper",
        "foolbox",
        "autoattack",
        "torchattacks",
        "advlib",
    }


@pytest.mark.parametrize("name", sorted(ATTACKS))
def test_it_corrects_within_the_rules_or_is_known_not_to(name):
    case, attack = CASES.get(name, Case()), attack_of(name)
    images, _, true = samples()
    state = {key: value.clone() for key, value in classifier().state_dict().items()}
    corrector = Corrector(
        attack,
        classifier(),
        name=name,
        objective=objective_of(name, attack),
        select=select_of(name, attack),
        seed=3,
        examples=examples(),
    )
    drawn = torch.random.get_rng_state()
    result = corrector.correct(images, true, torch.arange(SAMPLES))
    assert torch.equal(torch.random.get_rng_state(), drawn)
    assert states_equal(classifier().state_dict(), state)
    assert result.corrected.any() == (case.cannot_correct is None), case.cannot_correct
    assert (result.passes.backward > 0) == attack.capabilities.gradients
    with torch.no_grad():
        assert torch.equal(classifier()(result.images).argmax(1) == true, result.corrected)


@pytest.mark.parametrize("name", sorted(ATTACKS))
def test_it_attacks_within_the_rules_or_is_known_not_to(name):
    case, attack = CASES.get(name, Case()), attack_of(name)
    if not attack.capabilities.untargeted:
        pytest.skip("flees no labels: a corrector alone")
    images, predicted, _ = samples()
    attacker = Attacker(attack, classifier(), name=name, seed=3, examples=examples())
    result = attacker.attack_batch(images, predicted, torch.arange(SAMPLES))
    assert result.met.any() == (case.cannot_attack is None), case.cannot_attack
    with torch.no_grad():
        assert torch.equal(classifier()(result.images).argmax(1) != predicted, result.met)


@pytest.mark.parametrize("name", sorted(ATTACKS))
def test_its_options_can_be_sent_to_a_worker_process(name):
    options_type = MANAGER.load(ATTACKS[name]).options_type
    options = options_type(**CASES.get(name, Case()).options)
    assert pickle.loads(pickle.dumps(options)) == options
    assert options_type.model_validate(options.model_dump(mode="json")) == options


@pytest.mark.parametrize("name", sorted(ATTACKS))
def test_it_works_on_a_batch_of_one(name):
    attack = attack_of(name)
    images, _, true = samples()
    corrector = Corrector(
        attack,
        classifier(),
        name=name,
        objective=objective_of(name, attack),
        seed=3,
        select=select_of(name, attack),
        examples=examples(),
    )
    result = corrector.correct(images[:1], true[:1], torch.arange(1))
    assert result.images.shape == (1, 3, 16, 16)
