"""The paper's attacks against hand computation and against Foolbox."""

from __future__ import annotations

import warnings
from importlib import import_module
from math import sqrt
from pathlib import Path

import eagerpy
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from ruamel.yaml import YAML
from torch import nn

import harness_paper
import harness_registry
from harness.criteria import OBJECTIVES, SELECTS, LabelCriterion, attack_criterion, correction_criterion
from harness_paper.bim import BIM, BIMOptions, kurakin_steps
from harness_paper.ddn import DDN, DDNOptions, step_length
from harness_paper.salt_and_pepper import SaltAndPepper, SaltAndPepperOptions

with warnings.catch_warnings():
    # Foolbox 3.3.4 takes a filter from where scipy no longer wants it to be taken.
    warnings.simplefilter("ignore", DeprecationWarning)
    import foolbox

ATTACKS = [BIM, DDN, SaltAndPepper]
CLASSES = 5


class Toy(nn.Module):
    """A frozen classifier that keeps the number of images and the gradient mode of every query."""

    bounds = (0.0, 1.0)
    num_classes = CLASSES

    def __init__(self, body):
        super().__init__()
        self.body = body
        self.sizes = []
        self.eval().requires_grad_(requires_grad=False)

    def forward(self, images):
        self.sizes.append(len(images))
        return self.body(images)

    def __getitem__(self, rows):
        return self


class Streams:
    """One generator per sample, seeded by the sample."""

    def __init__(self, samples, generators=None):
        self.generators = generators or [torch.Generator().manual_seed(int(sample)) for sample in samples]

    def uniform(self, shape):
        return torch.stack([torch.rand(tuple(shape), generator=generator) for generator in self.generators])

    def normal(self, shape):
        return torch.stack([torch.randn(tuple(shape), generator=generator) for generator in self.generators])

    def __getitem__(self, rows):
        picked = torch.arange(len(self.generators))[rows].tolist()
        return Streams((), [self.generators[row] for row in picked])


class Given:
    """Uniform numbers from a list of draws (N, …) as a library would make them; each sample takes its own in turn."""

    def __init__(self, draws):
        self.draws = [iter(own) for own in zip(*draws, strict=True)]

    def uniform(self, shape):
        drawn = torch.stack([next(draws) for draws in self.draws])
        assert drawn.shape[1:] == tuple(shape)
        return drawn

    def __getitem__(self, rows):
        part = Given([])
        part.draws = [self.draws[row] for row in rows.tolist()]
        return part


def smooth_network(seed=0, *, gain=8.0):
    """A small net whose labels change over the pixel range, without the ties and kinks of ReLU."""
    torch.manual_seed(seed)
    net = nn.Sequential(nn.Conv2d(3, 6, 3, padding=1), nn.Tanh(), nn.Flatten(), nn.Linear(6 * 36, CLASSES))
    with torch.no_grad():
        net[0].weight.mul_(2.0)
        net[3].weight.mul_(gain)
        net[3].bias.sub_(net(torch.rand(512, 3, 6, 6)).mean(0))
    return net


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """Toys are too small to share between threads, which then wait for each other on a busy machine."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def toy():
    with torch.random.fork_rng():
        return Toy(smooth_network())


@pytest.fixture
def images():
    return torch.rand(24, 3, 6, 6, generator=torch.Generator().manual_seed(7))


def predictions(toy, images):
    with torch.no_grad():
        return toy.body(images)


def wrong_labels(toy, images):
    """Labels that the classifier does not give: its second choice."""
    return predictions(toy, images).topk(2, dim=1).indices[:, 1]


def correction(toy, images, objective="toward-true", select="first-hit"):
    return correction_criterion(
        objective,
        true_labels=wrong_labels(toy, images),
        clean_logits=predictions(toy, images),
        select=select,
    )


def build(kind, samples=range(24), **options):
    attack = kind(kind.options_type(**options))
    attack.random = Streams(samples)
    return attack


def foolbox_model(toy):
    return foolbox.PyTorchModel(toy.body, bounds=toy.bounds, device="cpu")


def foolbox_criterion(criterion):
    kind = foolbox.criteria.TargetedMisclassification if criterion.targeted else foolbox.criteria.Misclassification
    return kind(criterion.labels)


def l2(perturbations):
    return perturbations.double().flatten(1).norm(dim=1)


# --- what the plugin declares -------------------------------------------------------------------------------------


def test_the_hook_names_the_three_attacks():
    offered = harness_paper.harness_attacks()
    assert set(offered) == {"bim", "ddn", "salt-and-pepper"}
    found = []
    for path in offered.values():
        module, name = path.split(":")
        found.append(getattr(import_module(module), name))
    assert found == ATTACKS


@pytest.mark.parametrize("kind", ATTACKS)
def test_every_option_is_described_and_its_default_is_valid(kind):
    options = kind.options_type()
    assert kind.options_type(**options.model_dump()) == options
    for name, field in kind.options_type.model_fields.items():
        assert field.description, name


@pytest.mark.parametrize(
    ("kind", "options", "where"),
    [
        (BIMOptions, {"eps": 0}, "eps"),
        (BIMOptions, {"eps": 8}, "eps"),
        (BIMOptions, {"alpha": "0/255"}, "alpha"),
        (BIMOptions, {"steps": 0}, "steps"),
        (DDNOptions, {"gamma": 1}, "gamma"),
        (DDNOptions, {"init_epsilon": 0}, "init_epsilon"),
        (DDNOptions, {"init_epsilon": float("inf")}, "init_epsilon"),
        (DDNOptions, {"steps": 0}, "steps"),
        (SaltAndPepperOptions, {"steps": 0}, "steps"),
        (SaltAndPepperOptions, {"stepz": 1}, "stepz"),
    ],
)
def test_options_without_sense_are_refused_by_name(kind, options, where):
    with pytest.raises(ValidationError) as error:
        kind(**options)
    assert error.value.errors()[0]["loc"] == (where,)


def test_fractions_are_options():
    assert BIMOptions(eps="8/255") == BIMOptions()


@pytest.mark.parametrize(
    ("levels", "steps"),
    # min(eps + 4, 1.25 eps): 1.25; 2.5; 3.75; 5; 7.5; 10; 20 = 20; 32 + 4 < 40. Halves go up; 0.25 still makes one step.
    [(0.2, 1), (1, 1), (2, 3), (3, 4), (4, 5), (6, 8), (8, 10), (16, 20), (32, 36)],
)
def test_default_number_of_steps_is_kurakins(levels, steps):
    assert kurakin_steps(levels / 255) == steps
    assert build(BIM, eps=f"{levels}/255" if isinstance(levels, int) else levels / 255).steps == steps


def test_default_number_of_steps_is_what_is_run(toy, images):
    build(BIM).run(toy, images, correction(toy, images, select="final"))
    assert toy.sizes == [len(images)] * 10


# --- the presets --------------------------------------------------------------------------------------------------


def cards():
    folder = Path(next(iter(harness_registry.__path__))) / "correctors"
    return {path.stem: YAML(typ="safe").load(path) for path in sorted(folder.glob("*.yaml"))}


def test_the_paper_has_eight_correctors():
    assert set(cards()) >= {"bi", "bih", "vbi", "vbi-iter1", "ll", "ddn", "sp", "none"}


@pytest.mark.parametrize("name", ["bi", "bih", "vbi", "vbi-iter1", "ll", "ddn", "sp"])
def test_each_preset_names_a_real_attack_and_valid_options(name):
    card = cards()[name]
    assert set(card) == {"description", "source", "attack", "objective", "select", "options"}
    module, kind = harness_paper.harness_attacks()[card["attack"].removeprefix("paper/")].split(":")
    getattr(import_module(module), kind).options_type(**card["options"])
    assert card["objective"] in OBJECTIVES
    assert card["select"] in SELECTS


def test_the_presets_follow_the_papers_equations():
    found = {
        name: (card["attack"].removeprefix("paper/"), card["objective"])
        for name, card in cards().items()
        if card["attack"]
    }
    assert found["bi"] == ("bim", "away-from-true")
    assert found["bih"] == ("bim", "away-from-predicted")
    assert found["vbi"] == found["vbi-iter1"] == ("bim", "toward-true")
    assert found["ll"] == ("bim", "toward-least-likely")
    assert found["ddn"] == ("ddn", "toward-true")
    assert found["sp"] == ("salt-and-pepper", "away-from-predicted")
    assert [cards()[name]["options"]["steps"] for name in ("vbi", "vbi-iter1")] == [5, 1]


def test_the_library_attacks_presets_are_the_libraries_defaults():
    ddn, sp = foolbox.attacks.DDNAttack(), foolbox.attacks.SaltAndPepperNoiseAttack()
    expected = {"steps": ddn.steps, "init_epsilon": ddn.init_epsilon, "gamma": ddn.gamma}
    assert cards()["ddn"]["options"] == DDNOptions().model_dump() == expected
    assert cards()["sp"]["options"] == {"across_channels": sp.across_channels}
    assert build(SaltAndPepper, **cards()["sp"]["options"]).steps == sp.steps
    # As many patterns as the search that is chosen is made for, since the preset names none.
    assert build(SaltAndPepper, **cards()["sp"]["options"], search="nested").steps == 180
    assert SaltAndPepperOptions().model_dump() == {**cards()["sp"]["options"], "steps": None, "search": "schedule"}


def test_the_preset_none_has_no_attack():
    card = cards()["none"]
    assert set(card) == {"description", "source", "attack"}
    assert card["attack"] is None


# --- BIM ----------------------------------------------------------------------------------------------------------


def linear_classifier(weights):
    layer = nn.Linear(4, len(weights), bias=False)
    layer.weight.data = torch.tensor(weights, dtype=torch.float32)
    return Toy(nn.Sequential(nn.Flatten(), layer))


@pytest.mark.parametrize("targeted", [True, False])
def test_bim_takes_the_step_computed_by_hand(targeted):
    # Two classes, z = W x: the gradient of the cross-entropy with class 1 is p_0 (w_0 - w_1), whose sign is that of
    # w_0 - w_1 = (3, -3, 0, 1) whatever x is. Toward class 1 the pixels thus move by -(1, -1, 0, 1) alpha, away from it
    # by the opposite. eps 0.25 allows two steps of 0.1 in full and cuts the third to 0.05; pixel 0 is stopped by 0 at
    # -0.1 and pixel 1 by 1 at +0.2 on the way toward it.
    toy = linear_classifier([[2.0, -1.0, 0.0, 0.5], [-1.0, 2.0, 0.0, -0.5]])
    image = torch.tensor([0.1, 0.8, 0.5, 0.5]).reshape(1, 1, 2, 2)
    label = torch.tensor([1])
    criterion = LabelCriterion(label, targeted, goal=label, stop_early=False)
    expected = {
        True: [[0.0, 0.9, 0.5, 0.4], [0.0, 1.0, 0.5, 0.3], [0.0, 1.0, 0.5, 0.25]],
        False: [[0.2, 0.7, 0.5, 0.6], [0.3, 0.6, 0.5, 0.7], [0.35, 0.55, 0.5, 0.75]],
    }[targeted]
    for steps, pixels in enumerate(expected, 1):
        found = build(BIM, eps=0.25, alpha=0.1, steps=steps).run(toy, image, criterion)
        np.testing.assert_allclose(found.flatten().numpy(), pixels, atol=1e-6)


@settings(max_examples=40, deadline=None)
@given(
    eps=st.floats(1e-3, 1.0),
    alpha=st.floats(1e-3, 1.0),
    steps=st.integers(1, 6),
    seed=st.integers(0, 2**31),
    objective=st.sampled_from(OBJECTIVES),
    select=st.sampled_from(SELECTS),
)
def test_bim_stays_in_the_bounds_and_in_the_ball(*, eps, alpha, steps, seed, objective, select):
    with torch.random.fork_rng():
        toy = Toy(smooth_network())
    images = torch.rand(6, 3, 6, 6, generator=torch.Generator().manual_seed(seed)).mul(1.4).sub(0.2).clamp(0, 1)
    criterion = correction(toy, images, objective, select)
    found = build(BIM, eps=eps, alpha=alpha, steps=steps).run(toy, images, criterion)
    assert found.shape == images.shape
    assert found.min() >= 0
    assert found.max() <= 1
    assert (found - images).abs().max() <= eps + 1e-6


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_bim_equals_foolbox(toy, images, objective):
    criterion = correction(toy, images, objective, "final")
    attack = foolbox.attacks.LinfBasicIterativeAttack(abs_stepsize=2 / 255, steps=12, random_start=False)
    _, expected, _ = attack(foolbox_model(toy), images, foolbox_criterion(criterion), epsilons=16 / 255)
    found = build(BIM, eps=16 / 255, alpha=2 / 255, steps=12).run(toy, images, criterion)
    assert (found - images).abs().max() > 15 / 255
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=0)


def test_bim_does_not_query_the_iterate_that_it_returns_last(toy, images):
    build(BIM, steps=1).run(toy, images, correction(toy, images))
    assert toy.sizes == [len(images)]


# --- DDN ----------------------------------------------------------------------------------------------------------


def test_ddn_steps_fall_from_one_towards_a_hundredth():
    # Half a cosine: its start, its middle (1 + 0.01) / 2, and just before its end.
    assert step_length(0, 100) == 1.0
    assert step_length(50, 100) == pytest.approx(0.505)
    assert 0.01 < step_length(99, 100) < 0.011


@pytest.mark.parametrize("objective", ["toward-true", "away-from-predicted", "toward-least-likely"])
def test_ddn_equals_foolbox(toy, images, objective):
    criterion = correction(toy, images, objective, "min-norm")
    attack = foolbox.attacks.DDNAttack(steps=60)
    _, expected, success = attack(foolbox_model(toy), images, foolbox_criterion(criterion), epsilons=None)
    found = build(DDN, steps=60).run(toy, images, criterion)
    assert success.all()
    assert criterion.reached(predictions(toy, found)).equal(success)
    torch.testing.assert_close(l2(found - images), l2(expected - images), rtol=1e-4, atol=0)


def test_ddn_finds_the_distance_to_the_boundary_of_a_linear_classifier():
    # Between two classes the boundary is the plane (w_0 - w_1) x = 0, at |(w_0 - w_1) x| / ||w_0 - w_1|| from x:
    # (3, -3, 0, 1) (0.6, 0.4, 0.5, 0.5) = 1.1 and ||(3, -3, 0, 1)|| = sqrt(19). No bound is met on the way.
    toy = linear_classifier([[2.0, -1.0, 0.0, 0.5], [-1.0, 2.0, 0.0, -0.5]])
    image = torch.tensor([0.6, 0.4, 0.5, 0.5]).reshape(1, 1, 2, 2)
    label = torch.tensor([1])
    criterion = LabelCriterion(label, targeted=True, goal=label, stop_early=False)
    found = build(DDN, steps=300, gamma=0.02).run(toy, image, criterion)
    assert criterion.reached(predictions(toy, found)).all()
    distance = 1.1 / sqrt(19)
    assert distance <= l2(found - image).item() < 1.03 * distance


@pytest.mark.parametrize("steps", [1, 7])
def test_ddn_takes_no_gradient_at_its_last_iterate(toy, images, steps):
    criterion = correction(toy, images, "toward-true", "min-norm")
    asked = []

    class Asked(Toy):
        def forward(self, images):
            asked.append(images.requires_grad)
            return super().forward(images)

    build(DDN, steps=steps).run(Asked(toy.body), images, criterion)
    assert asked == [True] * (steps - 1) + [False]


@pytest.mark.parametrize(
    "options",
    [
        {"steps": 3},
        {"steps": 30, "gamma": 0.2},
        {"steps": 30, "init_epsilon": 0.3},
        {"steps": 30, "init_epsilon": 50.0},  # more than the pixel range allows: at once cut to what it does
    ],
)
def test_ddn_equals_foolbox_for_other_options(toy, images, options):
    criterion = correction(toy, images, "toward-true", "min-norm")
    attack = foolbox.attacks.DDNAttack(**options)
    _, expected, success = attack(foolbox_model(toy), images, foolbox_criterion(criterion), epsilons=None)
    found = build(DDN, **options).run(toy, images, criterion)
    assert criterion.reached(predictions(toy, found)).equal(success)
    torch.testing.assert_close(l2(found - images), l2(expected - images), rtol=1e-4, atol=1e-7)


def test_ddn_returns_the_image_itself_where_the_objective_holds_already(toy, images):
    criterion = correction(toy, images, "away-from-true", "min-norm")
    assert build(DDN, steps=10).run(toy, images, criterion).equal(images)


def test_ddn_returns_the_image_itself_where_the_objective_is_not_reached(images):
    class Constant(nn.Module):
        def forward(self, images):
            return images.flatten(1)[:, :CLASSES] * 1e-3 + torch.eye(CLASSES)[0]

    toy = Toy(Constant())
    labels = torch.ones(len(images), dtype=torch.int64)
    criterion = LabelCriterion(labels, targeted=True, goal=labels, stop_early=False)
    assert build(DDN, steps=10).run(toy, images, criterion).equal(images)


def test_ddn_goes_in_a_random_direction_where_the_gradient_vanishes(images):
    class Flat(nn.Module):
        """Label 1 as soon as the image differs enough from what it was; no gradient anywhere."""

        def forward(self, perturbed):
            moved = l2(perturbed - images[: len(perturbed)]) > 0.5
            return torch.eye(CLASSES)[moved.long()] + 0.0 * perturbed.flatten(1)[:, :1]

    labels = torch.ones(len(images), dtype=torch.int64)
    criterion = LabelCriterion(labels, targeted=True, goal=labels, stop_early=False)
    found = build(DDN, steps=40).run(Toy(Flat()), images, criterion)
    norms = l2(found - images)
    assert (norms > 0.5).all()
    assert (norms < 0.53).all()
    alone = build(DDN, samples=range(1), steps=40).run(Toy(Flat()), images[:1], criterion[:1])
    torch.testing.assert_close(alone, found[:1])


# --- salt and pepper ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("across_channels", [True, False])
@pytest.mark.parametrize("objective", ["away-from-predicted", "toward-true", "away-from-true"])
def test_salt_and_pepper_equals_foolbox_on_the_same_random_numbers(
    toy, images, objective, across_channels, monkeypatch
):
    steps, channels = 80, 1 if across_channels else 3
    draws = torch.rand(steps, len(images), channels, 6, 6, generator=torch.Generator().manual_seed(3))
    criterion = correction(toy, images, objective, "min-norm")
    attack = foolbox.attacks.SaltAndPepperNoiseAttack(steps=steps, across_channels=across_channels)
    supply = iter(draws)
    monkeypatch.setattr(eagerpy, "uniform", lambda like, shape: eagerpy.astensor(next(supply).reshape(shape)))
    expected = attack.run(foolbox_model(toy), images, foolbox_criterion(criterion))
    ours = build(SaltAndPepper, steps=steps, across_channels=across_channels)
    ours.random = Given(draws)
    found = ours.run(toy, images, criterion)
    assert found.equal(expected)
    changed = (expected != images).flatten(1).any(1)
    assert changed.any() == (objective != "away-from-true")


def test_salt_and_pepper_tries_the_densities_computed_by_hand():
    # Ten patterns, density k/10 at the k-th, half of which is black: 0.44 is below that first at the ninth (0.45). From
    # its 0.9 the search restarts at 0.45 and would in 2 patterns be at min(1.2 * 0.9, 1) = 1, so the tenth has
    # 0.45 + 0.55 / 2 = 0.725 and blackens what is below 0.3625: the first pixel (0.36) and not the second (0.37).
    class FirstBlack(nn.Module):
        def forward(self, images):
            return torch.eye(2)[(images[:, 0, 0, 0] == 0).long()]

    label = torch.tensor([0])
    criterion = LabelCriterion(label, targeted=False, goal=label, stop_early=False)
    draws = [*[torch.full((1, 1, 1, 2), 0.44)] * 9, torch.tensor([0.36, 0.37]).reshape(1, 1, 1, 2)]
    attack = build(SaltAndPepper, steps=10)
    attack.random = Given(draws)
    found = attack.run(Toy(FirstBlack()), torch.tensor([0.5, 0.6]).reshape(1, 1, 1, 2), criterion)
    assert found.flatten().tolist() == pytest.approx([0.0, 0.6])


def test_salt_and_pepper_equals_foolbox_in_distribution(toy):
    count, steps = 200, 15
    images = torch.rand(count, 3, 6, 6, generator=torch.Generator().manual_seed(11))
    criterion = correction(toy, images, "toward-least-likely", "min-norm")
    attack = foolbox.attacks.SaltAndPepperNoiseAttack(steps=steps)
    with torch.random.fork_rng():
        torch.manual_seed(5)
        theirs = attack.run(foolbox_model(toy), images, foolbox_criterion(criterion))
    ours = build(SaltAndPepper, samples=range(count), steps=steps).run(toy, images, criterion)
    hits = [criterion.reached(predictions(toy, found)).double() for found in (ours, theirs)]
    norms = [l2(found - images) for found in (ours, theirs)]
    assert 0.05 < hits[1].mean() < 0.95
    # The same images twice, so the differences are paired: 4 standard errors of their mean, a false alarm in 16,000.
    for mine, other in (hits, norms):
        difference = mine - other
        assert abs(difference.mean()) < 4 * difference.std() / sqrt(count)


def test_salt_and_pepper_makes_pixels_black_or_white_in_all_channels_alike(toy, images):
    found = build(SaltAndPepper, steps=40).run(toy, images, correction(toy, images, "away-from-predicted", "min-norm"))
    changed = found != images
    assert changed.any()
    assert changed.equal(changed.any(1, keepdim=True).expand_as(changed))
    assert set(found[changed].tolist()) == {0.0, 1.0}


def test_salt_and_pepper_leaves_an_image_alone_that_has_reached_the_objective(toy, images):
    criterion = correction(toy, images, "away-from-true", "min-norm")
    assert build(SaltAndPepper, steps=2).run(toy, images, criterion).equal(images)


def test_salt_and_pepper_builds_no_gradient_graph(toy, images):
    class Trainable(Toy):
        def forward(self, images):
            logits = super().forward(images)
            graphs.append(logits.requires_grad)
            return logits

    graphs = []
    trainable = Trainable(toy.body)
    trainable.body[0].weight.requires_grad_()
    found = build(SaltAndPepper, steps=5).run(trainable, images, correction(toy, images, select="min-norm"))
    assert graphs == [False] * 6
    assert not found.requires_grad


# --- all three: early stop, batches, contract -----------------------------------------------------------------------

RUNS = [
    (BIM, {"eps": 0.2, "alpha": 0.02, "steps": 12}),
    (DDN, {"steps": 30, "init_epsilon": 0.05, "gamma": 0.1}),
    (SaltAndPepper, {"steps": 60}),
    (SaltAndPepper, {"steps": 60, "search": "nested"}),
]
QUERIES = {BIM: 12, DDN: 30}
IDS = ["bim", "ddn", "salt-and-pepper", "salt-and-pepper-nested"]
each_attack = pytest.mark.parametrize(("kind", "options"), RUNS, ids=IDS)


class Logged(Toy):
    """Keeps which samples were in every query, and what it answered."""

    def __init__(self, toy, count):
        super().__init__(toy.body)
        self.rows = torch.arange(count)
        self.log = []

    def forward(self, images):
        logits = super().forward(images)
        self.log.append((self.rows, images.detach().clone(), logits.detach()))
        return logits

    def __getitem__(self, rows):
        part = Logged(self, 0)
        part.rows, part.log, part.sizes = self.rows[rows], self.log, self.sizes
        return part


@each_attack
@pytest.mark.parametrize("objective", ["toward-true", "away-from-predicted"])
def test_no_pass_is_spent_on_a_finished_sample(toy, images, kind, options, objective):
    criterion = correction(toy, images, objective)
    logged = Logged(toy, len(images))
    found = build(kind, **options).run(logged, images, criterion)
    finished = {}
    for rows, queried, logits in logged.log:
        for row, image, met in zip(rows.tolist(), queried, criterion[rows].met(logits), strict=True):
            assert row not in finished
            if met:
                finished[row] = image
    assert len(finished) > len(images) / 4
    assert logged.sizes[-1] < len(images)
    for row, image in finished.items():
        assert found[row].equal(image)


@pytest.mark.parametrize(("kind", "options"), RUNS[:2], ids=IDS[:2])
def test_without_early_stop_every_query_has_the_whole_batch(toy, images, kind, options):
    build(kind, **options).run(toy, images, correction(toy, images, select="min-norm"))
    assert toy.sizes == [len(images)] * QUERIES[kind]


@each_attack
def test_an_attack_that_has_nothing_left_to_do_stops(toy, images, kind, options):
    # Robustness: what the classifier gets wrong from the start is finished by the first query.
    criterion = attack_criterion(wrong_labels(toy, images))
    assert build(kind, **options).run(toy, images, criterion).equal(images)
    assert toy.sizes == [len(images)]


@each_attack
def test_first_hit_is_the_first_iterate_of_the_full_run_that_met(toy, images, kind, options):
    full = Logged(toy, len(images))
    build(kind, **options).run(full, images, correction(toy, images, select="final"))
    criterion = correction(toy, images)
    found = build(kind, **options).run(toy, images, criterion)
    first = {}
    for rows, queried, logits in full.log:
        for row, image, met in zip(rows.tolist(), queried, criterion[rows].met(logits), strict=True):
            if met:
                first.setdefault(row, image)
    assert len(first) > len(images) / 4
    for row, image in first.items():
        torch.testing.assert_close(found[row], image, atol=1e-5, rtol=0)


@each_attack
@pytest.mark.parametrize("select", ["first-hit", "min-norm"])
def test_a_result_does_not_depend_on_the_batch(toy, images, kind, options, select):
    criterion = correction(toy, images, "toward-true", select)
    whole = build(kind, **options).run(toy, images, criterion)
    assert (whole != images).any()
    part = torch.tensor([17, 3, 20, 8, 0])
    some = build(kind, samples=part, **options).run(toy, images[part], criterion[part])
    torch.testing.assert_close(some, whole[part], atol=1e-5, rtol=0)
    for row in (0, 9):
        alone = build(kind, samples=[row], **options).run(toy, images[row : row + 1], criterion[row : row + 1])
        torch.testing.assert_close(alone, whole[row : row + 1], atol=1e-5, rtol=0)


@each_attack
@pytest.mark.parametrize("select", ["first-hit", "min-norm"])
def test_images_given_and_images_queried_are_left_as_they_were(toy, images, kind, options, select):
    class Watching(Logged):
        def forward(self, queried):
            watched.append((queried, queried.detach().clone()))
            return super().forward(queried)

    watched, before = [], images.clone()
    toy = Watching(toy, len(images))
    found = build(kind, **options).run(toy, images, correction(toy, images, "toward-true", select))
    assert images.equal(before)
    assert all(queried.detach().equal(copy) for queried, copy in watched)
    assert found.dtype == images.dtype
    assert not found.requires_grad
    assert found.min() >= 0
    assert found.max() <= 1


@each_attack
def test_an_attack_breaks_a_classifier_as_it_corrects_one(toy, images, kind, options):
    labels = predictions(toy, images).argmax(1)
    found = build(kind, **options).run(toy, images, attack_criterion(labels))
    broken = (predictions(toy, found).argmax(1) != labels).double().mean()
    assert broken > 0.9
