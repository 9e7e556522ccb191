"""Which iterate counts, and how many passes were made, on a classifier whose verdicts are read off the pixels."""

import pytest
import torch
from toys import conv_classifier, random_images, threshold_classifier

from harness.criteria import LabelCriterion
from harness.engine.iterates import Iterates, ThreatModel
from harness.engine.observing import AllHitError, ObservedClassifier, Observer, PassesSpentError

ORIGINALS = torch.tensor([0.4, 0.3, 0.2, 0.1]).reshape(4, 1, 1, 1)


@pytest.fixture(params=["asks", "never waits"])
def both_ways(request, monkeypatch):
    """Let what is said hold, too, on devices that are not asked for values."""
    made = Iterates.__init__

    def init(self, *args, **how):
        made(self, *args, **how)
        self.may_wait = request.param == "asks"

    monkeypatch.setattr(Iterates, "__init__", init)


def pixels(*values):
    return torch.tensor(values).reshape(-1, 1, 1, 1)


def observed(select="first-hit", **threat):
    goal = torch.ones(4, dtype=torch.int64)
    criterion = LabelCriterion(goal, targeted=True, goal=goal)
    iterates = Iterates(ORIGINALS, criterion, select=select, threat=ThreatModel("l2", **threat))
    observer = Observer(iterates=iterates)
    return ObservedClassifier(threshold_classifier().eval(), observer), iterates


def query(classifier, *values):
    with torch.no_grad():
        return classifier(pixels(*values))


def finished(iterates, *returned):
    images = pixels(*returned)
    return iterates.finish(images, images.flatten() > 0.5).flatten().tolist()


def approx(*values):
    return pytest.approx(values, abs=1e-6)


@pytest.mark.usefixtures("both_ways")
def test_first_hit_takes_each_samples_very_first_query_that_is_met():
    classifier, iterates = observed()
    query(classifier, 0.4, 0.9, 0.2, 0.1)
    query(classifier, 0.8, 0.6, 0.2, 0.1)
    query(classifier, 0.7, 0.55, 0.9, 0.1)
    assert finished(iterates, 0.6, 0.6, 0.6, 0.3) == approx(0.8, 0.9, 0.9, 0.3)


@pytest.mark.usefixtures("both_ways")
def test_min_norm_takes_the_nearest_query_that_is_met():
    classifier, iterates = observed("min-norm")
    query(classifier, 0.4, 0.9, 0.2, 0.1)
    query(classifier, 0.8, 0.6, 0.2, 0.1)
    query(classifier, 0.7, 0.7, 0.9, 0.1)
    assert finished(iterates, 0.6, 0.8, 0.4, 0.3) == approx(0.6, 0.6, 0.9, 0.3)


def test_final_takes_what_was_returned_whatever_was_seen():
    classifier, iterates = observed("final")
    query(classifier, 0.9, 0.9, 0.9, 0.9)
    assert finished(iterates, 0.6, 0.3, 0.2, 0.1) == approx(0.6, 0.3, 0.2, 0.1)


@pytest.mark.usefixtures("both_ways")
@pytest.mark.parametrize("rows", [torch.tensor([3, 1]), torch.tensor([False, True, False, True])])
def test_a_view_for_part_of_the_batch_is_of_those_samples(rows):
    classifier, iterates = observed()
    part = rows.tolist() if rows.dtype != torch.bool else [1, 3]
    query(classifier[rows], 0.7, 0.8)
    expected = [0.0] * 4
    for sample, value in zip(part, (0.7, 0.8), strict=True):
        expected[sample] = value
    assert finished(iterates, 0.0, 0.0, 0.0, 0.0) == approx(*expected)


@pytest.mark.usefixtures("both_ways")
@pytest.mark.parametrize("inner", [torch.tensor([2, 0]), torch.tensor([True, False, True])])
@pytest.mark.parametrize("outer", [torch.tensor([3, 2, 0]), torch.tensor([True, False, True, True])])
def test_a_view_of_a_view_is_of_the_right_samples(outer, inner):
    classifier, iterates = observed()
    samples = torch.arange(4)[outer][inner].tolist()
    query(classifier[outer][inner], 0.7, 0.8)
    expected = [0.0] * 4
    for sample, value in zip(samples, (0.7, 0.8), strict=True):
        expected[sample] = value
    assert finished(iterates, 0.0, 0.0, 0.0, 0.0) == approx(*expected)


# Two pixels; every mean is 0.45, so none of the three is labelled 1.
PAIRS = torch.tensor([[0.9, 0.0], [0.0, 0.9], [0.45, 0.45]]).reshape(3, 1, 1, 2)


def watched_pairs(select, **threat):
    goal = torch.ones(3, dtype=torch.int64)
    iterates = Iterates(
        PAIRS, LabelCriterion(goal, targeted=True, goal=goal), select=select, threat=ThreatModel("l2", **threat)
    )
    return ObservedClassifier(threshold_classifier().eval(), Observer(iterates=iterates)), iterates


def query_pairs(classifier, *pairs):
    with torch.no_grad():
        classifier(torch.tensor(pairs).reshape(-1, 1, 1, 2))


def found(iterates):
    return [
        image if hit else None for image, hit in zip(iterates.images.flatten(1).tolist(), iterates.hit, strict=True)
    ]


@pytest.mark.usefixtures("both_ways")
def test_queries_of_another_size_and_order_are_known_by_the_nearest_original():
    classifier, iterates = watched_pairs("first-hit")
    query_pairs(classifier, (0.1, 0.95), (0.95, 0.1))
    assert found(iterates) == [approx(0.95, 0.1), approx(0.1, 0.95), None]
    query_pairs(classifier, (0.5, 0.55), (0.4, 0.4), (0.2, 0.9), (0.99, 0.3))
    assert found(iterates) == [approx(0.95, 0.1), approx(0.1, 0.95), approx(0.5, 0.55)]


@pytest.mark.usefixtures("both_ways")
@pytest.mark.parametrize(("select", "expected"), [("first-hit", (0.95, 0.2)), ("min-norm", (0.99, 0.02))])
def test_of_several_candidates_in_one_query_the_first_or_the_nearest_counts(select, expected):
    classifier, iterates = watched_pairs(select)
    query_pairs(classifier, (0.95, 0.04), (0.95, 0.2), (0.99, 0.02), (0.99, 0.3))
    assert found(iterates) == [approx(*expected), None, None]


@pytest.mark.usefixtures("both_ways")
def test_a_population_around_one_sample_of_a_view_is_that_samples():
    classifier, iterates = watched_pairs("first-hit")
    query_pairs(classifier[torch.tensor([1])], (0.9, 0.3), (0.8, 0.9))
    assert found(iterates) == [None, approx(0.9, 0.3), None]


@pytest.mark.usefixtures("both_ways")
def test_a_candidate_counts_for_the_nearest_sample_within_its_eps_alone():
    classifier, iterates = watched_pairs("first-hit", eps=0.1)
    query_pairs(classifier, (0.95, 0.2), (0.99, 0.02))
    assert found(iterates) == [approx(0.99, 0.02), None, None]


@pytest.mark.usefixtures("both_ways")
def test_a_query_of_another_image_size_is_no_iterate():
    classifier, iterates = watched_pairs("first-hit")
    with torch.no_grad():
        classifier(torch.ones(2, 1, 4, 4))
    assert found(iterates) == [None, None, None]


def test_an_attack_ends_when_its_passes_are_spent():
    classifier, _ = observed()
    classifier.observer.limit = 8
    leaf = pixels(0.1, 0.2, 0.3, 0.4).requires_grad_()
    torch.autograd.grad(classifier(leaf).sum(), leaf)
    assert classifier.observer.passes.total == 8
    with pytest.raises(PassesSpentError):
        query(classifier, 0.9)
    assert classifier.observer.passes.total == 8
    assert not issubclass(PassesSpentError, Exception)


@pytest.mark.usefixtures("both_ways")
def test_a_query_outside_the_bounds_is_no_iterate():
    classifier, iterates = observed()
    query(classifier, 1.2, float("inf"), 1 + 1e-6, 0.9)
    assert finished(iterates, 0.1, 0.1, 0.1, 0.1) == approx(0.1, 0.1, 1.0, 0.9)
    assert float(iterates.images.max()) == 1.0


@pytest.mark.usefixtures("both_ways")
def test_a_query_outside_the_eps_ball_is_no_iterate():
    classifier, iterates = observed(eps=0.35)
    query(classifier, 0.8, 0.6, 0.55, 0.9)
    query(classifier, 0.7, 0.6, 0.54, 0.9)
    assert finished(iterates, 0.4, 0.3, 0.2, 0.1) == approx(0.7, 0.6, 0.55, 0.1)


@pytest.mark.usefixtures("both_ways")
def test_what_the_attack_does_to_its_query_later_does_not_reach_the_iterate():
    classifier, iterates = observed()
    images = pixels(0.9, 0.9, 0.9, 0.9)
    with torch.no_grad():
        classifier(images)
    images.zero_()
    assert finished(iterates, 0.0, 0.0, 0.0, 0.0) == approx(0.9, 0.9, 0.9, 0.9)


@pytest.mark.usefixtures("both_ways")
def test_logits_overwritten_by_the_attack_were_judged_before():
    classifier, iterates = observed()
    query(classifier, 0.9, 0.4, 0.9, 0.4).fill_(-torch.inf)
    assert finished(iterates, 0.0, 0.0, 0.0, 0.0) == approx(0.9, 0.0, 0.9, 0.0)


def test_passes_are_counted_in_images():
    classifier, _ = observed()
    passes = classifier.observer.passes
    query(classifier, 0.9, 0.4, 0.9, 0.4)
    query(classifier[torch.tensor([1, 2])], 0.4, 0.9)
    assert (passes.forward, passes.backward) == (6, 0)
    leaf = pixels(0.1, 0.2, 0.3).requires_grad_()
    logits = classifier(leaf)
    assert (passes.forward, passes.backward) == (9, 0)
    torch.autograd.grad(logits[:, 0].sum(), leaf, retain_graph=True)
    torch.autograd.grad(logits[:2, 1].sum(), leaf)
    assert (passes.forward, passes.backward) == (9, 6)


def test_a_first_hit_that_is_not_confirmed_leaves_the_sample_open():
    asked = []

    def confirm(images, rows):
        asked.append(rows.tolist())
        return images.flatten(1).mean(1) > 0.55

    goal = torch.ones(3, dtype=torch.int64)
    criterion = LabelCriterion(goal, targeted=True, goal=goal)
    iterates = Iterates(PAIRS, criterion, select="first-hit", threat=ThreatModel("l2"), confirm=confirm)
    classifier = ObservedClassifier(threshold_classifier().eval(), Observer(iterates=iterates))
    query_pairs(classifier, (0.99, 0.02), (0.3, 0.9), (0.45, 0.45))
    assert found(iterates) == [None, approx(0.3, 0.9), None]
    with pytest.raises(AllHitError):
        query_pairs(classifier, (1.0, 0.2), (0.0, 0.9), (0.6, 0.7))
    assert found(iterates) == [approx(1.0, 0.2), approx(0.3, 0.9), approx(0.6, 0.7)]
    assert asked == [[0, 1], [0, 2]]


def test_an_attack_may_differentiate_with_torch_func():
    network, images = conv_classifier().eval(), random_images(5)
    classifier = ObservedClassifier(network, Observer())
    leaf = images.clone().requires_grad_()
    (expected,) = torch.autograd.grad(network(leaf).square().sum(), leaf)
    found = torch.func.grad(lambda some: classifier(some).square().sum())(images)
    torch.testing.assert_close(found, expected)


@pytest.mark.usefixtures("both_ways")
@pytest.mark.parametrize(("select", "expected"), [("first-hit", 0.9), ("min-norm", 0.6)])
def test_of_a_sample_that_stands_twice_in_a_view_the_first_or_the_nearest_counts(select, expected):
    classifier, iterates = observed(select)
    query(classifier[torch.tensor([1, 3, 1])], 0.9, 0.8, 0.6)
    assert finished(iterates, 0.0, 0.0, 0.0, 0.0) == approx(0.0, expected, 0.0, 0.8)


@pytest.mark.usefixtures("both_ways")
@pytest.mark.parametrize("dtype", [torch.float16, torch.float64])
def test_a_query_in_another_precision_is_kept_in_the_images_own(dtype):
    classifier, iterates = observed("min-norm")
    classifier(pixels(0.75, 0.25, 0.875, 0.5).to(dtype))
    assert iterates.images.dtype == iterates.norms.dtype == torch.float32
    assert finished(iterates, 0.0, 0.0, 0.0, 0.0) == approx(0.75, 0.0, 0.875, 0.0)


def random_query(draws):
    """Return a view's rows or None, images around some samples, some of them useless, and their labels."""
    kind = int(torch.randint(6, (), generator=draws))
    picked = {
        1: torch.randperm(6, generator=draws)[:4],
        2: torch.randint(6, (7,), generator=draws),
        3: torch.tensor([5]),
    }
    rows = picked.get(kind)
    count = {0: 6, 1: 4, 2: 7, 3: 1, 4: 9, 5: 0}[kind]
    images = torch.rand(count, 1, 2, 2, generator=draws) * 1.2 - 0.1
    images[torch.rand(count, generator=draws) < 0.1] = torch.nan
    return rows, images, torch.randint(2, (count,), generator=draws)


@pytest.mark.parametrize("select", ["first-hit", "min-norm"])
@pytest.mark.parametrize(("norm", "eps"), [("l0", 4), ("l1", 1.5), ("l2", 0.9), ("linf", 0.6)])
@pytest.mark.parametrize("seed", range(3))
def test_without_waiting_for_the_device_the_same_iterates_count(select, norm, eps, seed):
    draws = torch.Generator().manual_seed(seed)
    originals, goal = torch.rand(6, 1, 2, 2, generator=draws), torch.ones(6, dtype=torch.int64)
    criterion = LabelCriterion(goal, targeted=True, goal=goal)
    both = [Iterates(originals, criterion, select=select, threat=ThreatModel(norm, eps=eps)) for _ in range(2)]
    for iterates, may_wait in zip(both, (True, False), strict=True):
        iterates.may_wait = may_wait
    one, other = both
    for number in range(16):
        rows, images, labels = random_query(draws)
        for iterates in both:
            iterates.passes.forward = 6 * number
            iterates.offer(images, torch.nn.functional.one_hot(labels, 2).float(), rows)
        for name in ("images", "norms", "hit", "hit_after"):
            torch.testing.assert_close(getattr(one, name), getattr(other, name), rtol=0, atol=0)
    assert one.hit.any()
    assert select == "min-norm" or not one.hit_after[one.hit].eq(one.hit_after[one.hit][0]).all()
    returned, met = torch.rand(6, 1, 2, 2, generator=draws), torch.rand(6, generator=draws) < 0.5
    assert torch.equal(*(iterates.finish(returned, met) for iterates in both))
    assert torch.equal(*(iterates.told(met) for iterates in both))
