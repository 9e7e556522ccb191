"""The two searches for salt and pepper noise, against the plain schedule and against what is known beforehand."""

from __future__ import annotations

import pytest
import torch
from pydantic import ValidationError
from torch import nn
from toys import conv_classifier, random_images

from harness.criteria import OBJECTIVES, LabelCriterion, correction_criterion
from harness.engine.attacking import Attacker, Corrector
from harness.engine.randomness import PerSampleStreams
from harness_paper.salt_and_pepper import SaltAndPepper, SaltAndPepperOptions

STEPS, COUNT = 120, 24
IDS = torch.arange(COUNT)


class Asked(nn.Module):
    """A classifier that keeps, for each sample, the images that it was asked about."""

    bounds = (0.0, 1.0)
    num_classes = 5

    def __init__(self, net, rows=IDS, log=None):
        super().__init__()
        self.net, self.rows = net, rows
        self.log = {row: [] for row in rows.tolist()} if log is None else log

    def forward(self, images):
        for row, image in zip(self.rows.tolist(), images, strict=True):
            self.log[row].append(image.clone())
        return self.net(images)

    def __getitem__(self, rows):
        return Asked(self.net, self.rows[rows], self.log)

    @property
    def passes(self):
        return sum(map(len, self.log.values()))


def built(search, **options):
    attack = SaltAndPepper(SaltAndPepperOptions(search=search, **options))
    attack.random = PerSampleStreams.of(IDS, seed=3, device=torch.device("cpu"))
    return attack


@torch.no_grad()
def plain_schedule(net, images, criterion, steps):
    """Query every pattern of every sample by itself, as Foolbox's loop is written; returns results and the goal's best."""
    results, goals = [], []
    for row, image in enumerate(images):
        stream = PerSampleStreams.of(IDS[row : row + 1], seed=3, device=image.device)
        aim = criterion[torch.tensor([row])]
        logits = net(image[None])
        best, smallest = image, 0.0 if aim.reached(logits) else float("inf")
        goal = 0.0 if aim.met(logits) else float("inf")
        lowest, highest, stride = 0.0, 1.0, 1 / steps
        density = torch.tensor(stride)
        for step in range(steps):
            noise = stream.uniform((1, *image.shape[1:]))[0]
            salted = image.where(noise < 1 - density / 2, 1.0).where(noise >= density / 2, 0.0)
            logits, norm = net(salted[None]), float((salted - image).norm())
            if aim.met(logits):
                goal = min(goal, norm)
            if aim.reached(logits) and norm < smallest:
                best, smallest = salted, norm
                lowest, highest = 0.5 * density, (1.2 * density).clamp(max=1.0)
                stride = (highest - lowest) / (steps - step)
                density = lowest
            elif density == highest:
                density = lowest
            density = torch.as_tensor(density + stride).clamp(max=highest)
        results.append(best)
        goals.append(goal)
    return torch.stack(results), torch.tensor(goals)


def setting(objective):
    """A classifier, images, second choices for true labels, and the criterion of a correction of least norm."""
    net, images = conv_classifier(), random_images(COUNT)
    with torch.no_grad():
        logits = net(images)
    labels = logits.topk(2, dim=1).indices[:, 1]
    return (
        net,
        images,
        labels,
        correction_criterion(objective, true_labels=labels, clean_logits=logits, select="min-norm"),
    )


def l2(perturbations):
    return perturbations.flatten(1).norm(dim=1)


# --- Foolbox's schedule -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_the_schedule_gives_what_querying_every_pattern_gives_and_saves_passes(objective):
    net, images, labels, criterion = setting(objective)
    expected, goals = plain_schedule(net, images, criterion, STEPS)
    asked = Asked(net)
    found = built("schedule", steps=STEPS).run(asked, images, criterion)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)
    assert asked.passes < 0.95 * COUNT * (STEPS + 1)
    # What the harness takes from the queries is the goal's smallest norm, whatever the objective.
    corrector = Corrector(
        built("schedule", steps=STEPS), net, name="sp", objective=objective, select="min-norm", seed=3
    )
    result = corrector.correct(images, labels, IDS)
    assert result.corrected.equal(goals < float("inf"))
    assert result.corrected.any()
    torch.testing.assert_close(l2(result.images - images)[result.corrected], goals[result.corrected])


def test_the_schedule_asks_nothing_about_patterns_that_could_change_nothing():
    net, images, _, criterion = setting("toward-true")
    asked = Asked(net)
    built("schedule", steps=STEPS).run(asked, images, criterion)
    for row, queries in asked.log.items():
        smallest = float("inf")
        for query in queries[1:]:
            norm = float((query - images[row]).norm())
            assert 0 < norm < smallest + 1e-6
            with torch.no_grad():
                reached = bool(criterion[torch.tensor([row])].reached(net(query[None])))
            smallest = min(smallest, norm) if reached else smallest


@pytest.mark.parametrize("search", ["schedule", "nested"])
def test_a_sample_that_has_nothing_to_find_is_asked_about_once(search):
    net, images, _, _ = setting("toward-true")
    with torch.no_grad():
        labels = net(images).argmax(1)
    labels[::2] = (labels[::2] + 1) % 5
    asked = Asked(net)
    built(search, steps=10).run(asked, images, LabelCriterion(labels, targeted=True, goal=labels, stop_early=False))
    assert all(len(asked.log[row]) == 1 for row in range(1, COUNT, 2))
    assert all(len(asked.log[row]) > 1 for row in range(0, COUNT, 2))


@pytest.mark.parametrize("search", ["schedule", "nested"])
def test_a_sample_that_meets_the_goal_unperturbed_is_finished_whatever_the_objective_says(search):
    net, images, labels, _ = setting("toward-true")
    with torch.no_grad():
        goal = net(images).argmax(1)
    asked = Asked(net)
    found = built(search, steps=10).run(asked, images, LabelCriterion(labels, targeted=True, goal=goal))
    assert found.equal(images)
    assert asked.passes == COUNT


# --- the nested search --------------------------------------------------------------------------------------------


def colours(image, original):
    """The pattern on an image: -1 where pixels are turned black, 1 where white, 0 elsewhere."""
    changed = (image != original).any(0)
    assert image[:, changed].eq(image[0, changed]).all()
    return torch.where(changed, image[0] * 2 - 1, torch.zeros(()))


def test_nested_patterns_double_until_a_hit_and_then_are_smaller_every_other_a_part_of_the_best():
    net, images, _, criterion = setting("toward-true")
    asked = Asked(net)
    found = built("nested", steps=STEPS).run(asked, images, criterion)
    parts, divisible = 0, 0
    for row, queries in asked.log.items():
        best, smallest = torch.zeros(6, 6), float("inf")
        for place, query in enumerate(queries[1:]):
            pattern, norm = colours(query, images[row]), float((query - images[row]).norm())
            size = int(pattern.count_nonzero())
            if smallest == float("inf"):
                # 36 pixels: 1, 2, 4, 8, 16, 32 of them. Two that the bisection cannot tell apart are left out.
                assert 2 ** (place % 6) - 1 <= size <= 2 ** (place % 6)
            elif best.count_nonzero() > 1:
                divisible += 1
                parts += int(pattern.equal(best * (pattern != 0)))
            assert 0 < norm < smallest
            with torch.no_grad():
                if criterion[torch.tensor([row])].reached(net(query[None])):
                    best, smallest = pattern, norm
        if smallest < float("inf"):
            assert l2((found[row] - images[row])[None]) == pytest.approx(smallest)
    assert divisible > COUNT
    assert parts > divisible / 3


def test_the_nested_search_finds_the_one_pixel_that_matters():
    # Label 1 exactly where the pixel in the corner is white: the smallest norm is that of this pixel alone.
    class Corner(nn.Module):
        def forward(self, images):
            return torch.eye(2)[(images[:, :, 0, 0] == 1).all(1).long()]

    images = random_images(COUNT)
    labels = torch.zeros(COUNT, dtype=torch.int64)
    criterion = LabelCriterion(labels, targeted=False, goal=labels, stop_early=False)
    found = built("nested").run(Asked(Corner()), images, criterion)
    expected = images.clone()
    expected[:, :, 0, 0] = 1.0
    assert found.equal(expected)


@pytest.mark.parametrize("across_channels", [True, False])
@pytest.mark.parametrize("objective", ["toward-true", "away-from-predicted"])
def test_the_nested_search_beats_the_whole_schedule_with_a_fifth_of_the_patterns(objective, across_channels):
    net, images, _, criterion = setting(objective)
    norms, reached = {}, {}
    for search, steps in (("schedule", 5 * STEPS), ("nested", STEPS)):
        found = built(search, steps=steps, across_channels=across_channels).run(Asked(net), images, criterion)
        with torch.no_grad():
            reached[search] = criterion.reached(net(found))
        norms[search] = l2(found - images).masked_fill(~reached[search], float("inf"))
    assert reached["nested"].sum() >= reached["schedule"].sum() > COUNT / 2
    assert norms["nested"].median() <= norms["schedule"].median()


def test_a_robustness_test_takes_the_nested_search_as_well():
    net, images, _, _ = setting("toward-true")
    with torch.no_grad():
        labels = net(images).argmax(1)
    run = Attacker(SaltAndPepper(SaltAndPepperOptions(search="nested")), net, name="sp", select="min-norm", seed=1)
    result = run.attack_batch(images, labels, IDS)
    assert result.met.all()
    assert result.passes.forward <= COUNT * 181


# --- options ------------------------------------------------------------------------------------------------------


def test_each_search_has_its_own_number_of_patterns_which_an_option_overrides():
    assert built("schedule").steps == 1000
    assert built("nested").steps == 180
    assert built("nested", steps=7).steps == 7


def test_an_unknown_search_is_refused_with_the_two_there_are():
    with pytest.raises(ValidationError, match="Input should be 'schedule' or 'nested'") as error:
        SaltAndPepperOptions(search="bisection")
    assert error.value.errors()[0]["loc"] == ("search",)
