"""DeepJDOT against all pairings tried out, the transport of the library POT, hand-worked costs and finite differences."""

from itertools import permutations

import numpy as np
import ot
import pytest
import torch
from adapter_toys import batch, draw, toy_loop
from torch.nn.functional import cross_entropy

from harness_adaptation.deep_jdot import DeepJdot, DeepJdotOptions, pair_costs, transport_plan


def adapter(batch_size=8, **options):
    made = DeepJdot(DeepJdotOptions(**options))
    made.loop = toy_loop(batch_size=batch_size)
    return made


def two_batches(n=4, m=4):
    labels = torch.arange(n) % 3
    return batch(draw(n, 3), draw(n, 5, seed=1), labels), batch(draw(m, 3, seed=2), draw(m, 5, seed=3))


def written_out(source, target, i, j):
    """Return ‖f_i − f_j‖² and the cross-entropy of z_j on y_i."""
    logits = target.logits[j].numpy()
    surprise = np.log(np.exp(logits).sum()) - logits[source.labels[i]]
    return ((source.features[i] - target.features[j]) ** 2).sum().item(), surprise


def test_the_costs_are_the_squared_distances_and_the_targets_cross_entropies_on_the_sources_labels():
    source, target = two_batches(3, 5)
    distances, surprises = pair_costs(source, target)
    for i in range(3):
        for j in range(5):
            assert (distances[i, j].item(), surprises[i, j].item()) == pytest.approx(written_out(source, target, i, j))


def test_the_loss_is_the_cheapest_of_all_pairings():
    source, target = two_batches()
    losses = adapter(alpha=0.5, beta=2).losses(source, target)
    costs = {
        pairing: np.sum([written_out(source, target, i, j) for i, j in enumerate(pairing)], axis=0) / 4
        for pairing in permutations(range(4))
    }
    distance, surprise = min(costs.values(), key=lambda cost: 0.5 * cost[0] + 2 * cost[1])
    assert list(losses) == ["cross-entropy", "feature-transport", "label-transport"]
    assert torch.equal(losses["cross-entropy"], cross_entropy(source.logits, source.labels))
    assert losses["feature-transport"].item() == pytest.approx(0.5 * distance)
    assert losses["label-transport"].item() == pytest.approx(2 * surprise)
    figures = adapter(alpha=0.5, beta=2).diagnostics(source, target)
    assert figures["pair-distance"] == pytest.approx(distance)
    assert figures["pair-cross-entropy"] == pytest.approx(surprise)


def test_the_plan_is_the_optimal_transport_of_the_library_pot():
    costs = draw(40, 40).square()
    plan = transport_plan(costs.float())
    assert plan.numpy() == pytest.approx(ot.emd([], [], costs.float().double().numpy()), abs=1e-7)
    assert plan.dtype == torch.float32


def test_the_gradient_is_that_of_the_costs_along_the_plan():
    features, logits = draw(4, 5, seed=3).requires_grad_(), draw(4, 3, seed=2).requires_grad_()
    source, _ = two_batches()

    def along(theirs, predicted):
        losses = adapter(alpha=0.5, beta=2).losses(source, batch(predicted, theirs))
        return losses["feature-transport"] + losses["label-transport"]

    # By the envelope theorem this is the gradient of the least cost too: the plan stays the same nearby.
    assert torch.autograd.gradcheck(along, (features, logits))


def test_how_much_of_the_plan_joins_a_label_with_the_same_prediction():
    # Labels 0, 0, 1; predictions 0, 1, 1 at the same places in the same order: two of three pairs agree, 4 of all 9 do.
    places = torch.tensor([[0.0], [10.0], [20.0]])
    predictions = 5 * torch.eye(2)[torch.tensor([0, 1, 1])]
    source = batch(predictions, places, torch.tensor([0, 0, 1]))
    figures = adapter(alpha=1).diagnostics(source, batch(predictions, places))
    assert figures["pair-distance"] == pytest.approx(0, abs=1e-5)
    assert figures["same-label"] == pytest.approx(2 / 3)
    assert figures["same-label-noise-floor"] == pytest.approx(4 / 9)


def test_costs_that_are_not_finite_give_a_loss_that_is_not_instead_of_an_error():
    source, target = two_batches()
    target.features[2, 0] = torch.nan
    losses = adapter().losses(source, target)
    assert not losses["feature-transport"].isfinite()


def test_fewer_samples_than_classes_are_remarked_upon():
    (remark,) = adapter(batch_size=16).remarks(512, 100)
    assert "batches of 16 samples have few of 100 classes in common" in remark
    assert not list(adapter(batch_size=16).remarks(512, 10))


def test_the_defaults_are_the_papers():
    assert DeepJdotOptions().model_dump() == {"alpha": 1e-3, "beta": 1e-4}
