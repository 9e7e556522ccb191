"""The training loop against loops written out, and a run that was cut off against one that was not."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from toys import adaptation_training, baseline_training, states_equal

from harness.adapting import WeightAveraging
from harness.engine.training import DivergedError, Trainer, validated_steps
from harness.store import Partial

STEPS, SAMPLES = 9, 5


class Regression:
    """Mean squared error of a linear layer on batches fixed beforehand; validations as scripted."""

    def __init__(self, network, *, valid=(), dtype=torch.float32, fail_at=None, phases=None):
        draws = torch.Generator().manual_seed(0)
        self.network = network
        self.images = torch.randn(STEPS, SAMPLES, 3, generator=draws, dtype=dtype)
        self.labels = torch.randn(STEPS, SAMPLES, generator=draws, dtype=dtype)
        self.valid = list(valid)
        self.fail_at = fail_at
        self.phases = phases
        self.weights = []

    def losses(self, step):
        if step == self.fail_at:
            raise KeyboardInterrupt
        self.network.train()
        errors = self.network(self.images[step]).flatten() - self.labels[step]
        return {"squares": errors.square().mean(), "sum": 0.1 * errors.sum()}

    def trained(self, step):
        return None if self.phases is None else self.phases[step % len(self.phases)]

    def validate(self, network):
        self.weights.append({name: value.clone() for name, value in network.state_dict().items()})
        return self.valid.pop(0) if self.valid else 0.5

    def diagnostics(self):
        return {"seen": float(len(self.weights))}


def linear(dtype=torch.float32):
    layer = nn.Linear(3, 1, bias=False, dtype=dtype)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[0.5, -1.0, 2.0]]))
    return layer


def trainer(
    task,
    *,
    validate_after=(3, 6, 9),
    partial=None,
    extra=None,
    progress=None,
    averaging=None,
    kind=baseline_training,
    **training,
):
    options = kind(**{"lr": 0.1, "momentum": 0.9, "weight_decay": 0.01, **training})
    return Trainer(
        task.network,
        task,
        options,
        steps=STEPS,
        validate_after=validate_after,
        seed=1,
        extra_modules=extra or {},
        averaging=averaging,
        partial=partial,
        progress=progress,
    )


def test_sgd_is_momentum_and_weight_decay_as_written_out_by_hand():
    task = Regression(linear(torch.float64), dtype=torch.float64)
    trainer(task, validate_after=range(1, STEPS + 1)).fit()
    weight, velocity = np.array([0.5, -1.0, 2.0]), np.zeros(3)
    for step in range(STEPS):
        inputs, labels = task.images[step].numpy(), task.labels[step].numpy()
        gradient = 2 / SAMPLES * inputs.T @ (inputs @ weight - labels) + 0.1 * inputs.sum(0)
        velocity = 0.9 * velocity + gradient + 0.01 * weight
        weight = weight - 0.1 * velocity
        np.testing.assert_allclose(task.weights[step]["weight"][0].numpy(), weight, rtol=1e-12)


@pytest.mark.parametrize(("name", "peer"), [("adam", torch.optim.Adam), ("adamw", torch.optim.AdamW)])
def test_adam_is_torchs_with_its_own_defaults(name, peer):
    task, network = Regression(linear()), linear()
    trainer(task, optimizer=name).fit()
    other = Regression(network)
    optimizer = peer(network.parameters(), lr=0.1, weight_decay=0.01)
    for step in range(STEPS):
        optimizer.zero_grad()
        sum(other.losses(step).values()).backward()
        optimizer.step()
    assert torch.equal(task.network.weight, network.weight)


def test_the_best_checkpoint_is_kept_and_of_equals_the_first():
    task = Regression(linear(), valid=[0.5, 0.75, 0.75])
    fit = trainer(task).fit()
    assert fit.best_step == 6
    assert states_equal(fit.best_state, task.weights[1])
    assert not states_equal(fit.best_state, task.weights[2])
    assert [entry["valid"] for entry in fit.history] == [0.5, 0.75, 0.75]


def test_history_has_the_mean_losses_since_the_last_checkpoint_and_the_diagnostics():
    task = Regression(linear())
    shown = []
    fit = trainer(task, lr=1e-30, weight_decay=0, progress=lambda done, total: shown.append((done, total))).fit()
    errors = (task.images @ torch.tensor([0.5, -1.0, 2.0]) - task.labels).numpy()
    for number, entry in enumerate(fit.history):
        seen = errors[3 * number : 3 * number + 3]
        assert entry["step"] == 3 * number + 3
        assert entry["losses"]["squares"] == pytest.approx(np.mean(seen**2), rel=1e-5)
        assert entry["losses"]["sum"] == pytest.approx(0.1 * np.mean(seen.sum(1)), rel=1e-4)
        assert entry["diagnostics"] == {"seen": number}
    assert shown == [(3, 9), (6, 9), (9, 9)]


class Falling:
    """A loss that is the weight itself, so that a step of plain SGD is the learning rate."""

    def __init__(self, network):
        self.network = network
        self.seen = []

    def losses(self, step):
        self.seen.append(self.network.weight.item())
        return {"weight": self.network.weight.sum()}

    def trained(self, step):
        """Every parameter."""

    def validate(self, network):
        return 0.5

    def diagnostics(self):
        return {}


@pytest.mark.parametrize("schedule", ["constant", "cosine"])
def test_the_learning_rate_follows_its_schedule(schedule):
    network = nn.Linear(1, 1, bias=False, dtype=torch.float64)
    task = Falling(network)
    trainer(task, schedule=schedule, lr=0.2, momentum=0.0, weight_decay=0.0).fit()
    rates = -np.diff([*task.seen, network.weight.item()])
    half_cosine = [0.2 * (1 + math.cos(math.pi * step / STEPS)) / 2 for step in range(STEPS)]
    np.testing.assert_allclose(rates, half_cosine if schedule == "cosine" else [0.2] * STEPS, rtol=1e-12)


def test_modules_of_an_adapters_own_are_trained_along_and_stay_out_of_the_best_state():
    head = linear()

    class WithHead(Regression):
        def losses(self, step):
            return {"head": head(self.images[step]).square().mean(), **super().losses(step)}

    fit = trainer(WithHead(linear()), extra={"head": head}).fit()
    assert not torch.equal(head.weight, linear().weight)
    assert set(fit.best_state) == {"weight"}


def test_a_step_changes_what_its_phase_names_and_nothing_else():
    network, own = nn.Sequential(nn.Linear(3, 1), nn.Linear(1, 1)), linear()
    phases = [list(network[0].parameters()), list(own.parameters()), None]

    class Phased(Regression):
        def losses(self, step):
            self.weights.append([part.weight.detach().clone() for part in (network[0], network[1], own)])
            return {"own": own(self.images[step]).square().mean(), **super().losses(step)}

        def validate(self, network):
            return 0.5

    task = Phased(network, phases=phases)
    trainer(task, extra={"own": own}, momentum=0.9, weight_decay=0.1).fit()
    changed = [
        [not torch.equal(old, new) for old, new in zip(before, after, strict=True)]
        for before, after in zip(task.weights, task.weights[1:], strict=False)
    ]
    # Momentum and weight decay move nothing either that is not of the phase.
    assert changed == (3 * [[True, False, False], [False, False, True], [True, True, True]])[: STEPS - 1]
    assert all(parameter.requires_grad for parameter in [*network.parameters(), *own.parameters()])


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw"])
def test_steps_are_those_of_torchs_plain_optimizers(optimizer):
    how = {"lr": 0.05, "weight_decay": 0.1}
    ours, theirs = Regression(linear()), Regression(linear())
    trainer(ours, optimizer=optimizer, **how, momentum=0.9).fit()
    kind = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[optimizer]
    more = {"momentum": 0.9} if optimizer == "sgd" else {}
    plain = kind(theirs.network.parameters(), **how, **more, foreach=False, fused=False)
    for step in range(STEPS):
        plain.zero_grad()
        sum(theirs.losses(step).values()).backward()
        plain.step()
    torch.testing.assert_close(ours.network.state_dict(), theirs.network.state_dict(), rtol=1e-6, atol=1e-7)


def test_gradients_longer_than_the_norm_allowed_are_scaled_down_to_it():
    free, clipped = Falling(nn.Linear(1, 1, bias=False)), Falling(nn.Linear(1, 1, bias=False))
    for task, norm in ((free, 5.0), (clipped, 0.25)):
        trainer(task, lr=0.1, momentum=0.0, weight_decay=0.0, clip_norm=norm).fit()
    # The gradient is 1 in every step.
    assert free.seen[0] - free.network.weight.item() == pytest.approx(0.1 * STEPS, rel=1e-5)
    assert clipped.seen[0] - clipped.network.weight.item() == pytest.approx(0.1 * 0.25 * STEPS, rel=1e-5)


def test_the_backbone_learns_at_its_own_rate_and_the_head_and_an_adapters_modules_at_the_whole_one():
    class Sum:
        def __init__(self, network, own):
            self.network, self.own = network, own

        def losses(self, step):
            return {"sum": sum(part.weight.sum() for part in (self.network[0], self.network[1], self.own))}

        def trained(self, step):
            """Every parameter."""

        def validate(self, network):
            return 0.5

        def diagnostics(self):
            return {}

    network, own = nn.Sequential(nn.Linear(1, 1, bias=False), nn.Linear(1, 1, bias=False)), nn.Linear(1, 1, bias=False)
    before = [part.weight.item() for part in (*network, own)]
    how = {"lr": 0.1, "momentum": 0.0, "weight_decay": 0.0, "schedule": "cosine", "backbone_lr_factor": 0.25}
    trainer(Sum(network, own), extra={"own": own}, kind=adaptation_training, **how).fit()
    whole = sum(0.1 * (1 + math.cos(math.pi * step / STEPS)) / 2 for step in range(STEPS))
    moved = [old - part.weight.item() for old, part in zip(before, (*network, own), strict=True)]
    assert moved == pytest.approx([0.25 * whole, whole, whole], rel=1e-5)


class Counting(Falling):
    """Weights 0, -1, -2, … and a buffer that counts the steps: what is validated is told by hand."""

    def __init__(self, *, fail_at=None):
        super().__init__(nn.Linear(1, 1, bias=False, dtype=torch.float64))
        nn.init.zeros_(self.network.weight)
        self.network.register_buffer("mean", torch.zeros((), dtype=torch.float64))
        self.network.register_buffer("count", torch.zeros((), dtype=torch.int64))
        self.validated = []
        self.fail_at = fail_at

    def losses(self, step):
        if step == self.fail_at:
            raise KeyboardInterrupt
        self.network.mean += 10
        self.network.count += 1
        return super().losses(step)

    def validate(self, network):
        self.validated.append([network.weight.item(), network.mean.item(), network.count.item()])
        return 0.1 * len(self.validated)


PLAIN = {"lr": 1.0, "momentum": 0.0, "weight_decay": 0.0}


def test_equal_weights_begin_where_they_are_to_and_are_what_is_validated_and_kept():
    task = Counting()
    averaging = WeightAveraging(decay=None, start=4 / 9)
    fit = trainer(task, averaging=averaging, **PLAIN).fit()
    # Weights after the steps: -1 … -9. Before the average begins, at step 5, the weights themselves are validated.
    assert task.validated[0] == [-3, 30, 3]
    assert task.validated[1] == pytest.approx([-5.5, 55, 6])
    assert task.validated[2] == pytest.approx([-7, 70, 9])
    assert [point["candidate"] for point in fit.history] == [False, True, True]
    assert fit.best_state["weight"].item() == pytest.approx(-7)
    assert task.network.weight.item() == -9


def test_an_exponential_average_starts_with_a_low_decay():
    task = Counting()
    trainer(task, averaging=WeightAveraging(decay=0.3), **PLAIN).fit()
    average = -1.0
    expected = [average]
    for count in range(1, STEPS):
        decay = min(0.3, (1 + count) / (10 + count))
        average = decay * average + (1 - decay) * -(count + 1)
        expected.append(average)
    assert [row[0] for row in task.validated] == pytest.approx([expected[step - 1] for step in (3, 6, 9)])


@pytest.mark.parametrize("cut_at", [3, 5, 8])
def test_an_average_is_resumed_too(tmp_path, cut_at):
    averaging = WeightAveraging(decay=0.8, start=2 / 9)
    undisturbed = Counting()
    trainer(undisturbed, averaging=averaging, **PLAIN).fit()
    with pytest.raises(KeyboardInterrupt):
        trainer(
            Counting(fail_at=cut_at), averaging=averaging, partial=Partial(tmp_path, every_seconds=0), **PLAIN
        ).fit()
    resumed = Counting()
    fit = trainer(resumed, averaging=averaging, partial=Partial(tmp_path, every_seconds=0), **PLAIN).fit()
    assert resumed.validated == undisturbed.validated[cut_at // 3 :]
    assert len(fit.seconds) == 3
    assert fit.seconds == sorted(fit.seconds)


def test_a_loss_that_is_not_finite_ends_the_training_and_says_when():
    with pytest.raises(DivergedError) as caught:
        trainer(Regression(linear()), lr=1e30).fit()
    assert str(caught.value).startswith("the loss is not finite by step 3 (squares ")
    assert str(caught.value).endswith("try a learning rate below 1e+30")
    assert caught.value.exit_code == 1


def global_states():
    return torch.get_rng_state().tolist(), np.random.get_state()[1].tolist(), random.getstate()  # noqa: NPY002 (the global one)


def test_the_global_generators_are_left_as_they_were():
    loop = trainer(Regression(nn.Sequential(linear(), nn.Dropout(0.5))))
    before = global_states()
    loop.fit()
    assert global_states() == before


# -- a run that was cut off -----------------------------------------------------------------------------------------------


def wide_network():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(3, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.4), nn.Linear(8, 1))


@pytest.mark.parametrize("cut_at", [2, 3, 5, 6, 8])
@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw"])
def test_a_resumed_run_ends_bit_for_bit_where_an_undisturbed_one_does(tmp_path, optimizer, cut_at):
    def run(fail_at, partial, valid):
        task = Regression(wide_network(), fail_at=fail_at, valid=valid)
        how = {"optimizer": optimizer, "schedule": "cosine"}
        return task, trainer(task, partial=partial, extra={"own": linear()}, **how)

    undisturbed, loop = run(None, None, [0.75, 0.5, 0.25])
    expected = loop.fit()
    partial = Partial(tmp_path, every_seconds=0)
    with pytest.raises(KeyboardInterrupt):
        run(cut_at, partial, [0.75, 0.5, 0.25])[1].fit()
    torch.rand(100)
    resumed, loop = run(None, Partial(tmp_path, every_seconds=0), [0.75, 0.5, 0.25][cut_at // 3 :])
    fit = loop.fit()
    assert states_equal(resumed.network.state_dict(), undisturbed.network.state_dict())
    assert states_equal(fit.best_state, expected.best_state)
    assert fit.best_step == expected.best_step == 3
    losses = [(entry["step"], entry["valid"], entry["losses"]) for entry in fit.history]
    assert losses == [(entry["step"], entry["valid"], entry["losses"]) for entry in expected.history]
    assert len(resumed.weights) == 3 - cut_at // 3


class Tied(nn.Module):
    """A network that uses one weight under two names."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(3, 3, bias=False), nn.Linear(3, 3, bias=False)
        self.second.weight = self.first.weight

    def forward(self, inputs):
        return self.second(self.first(inputs)).sum(1)


def test_a_network_with_tied_weights_is_checkpointed_and_resumed(tmp_path):
    torch.manual_seed(0)
    network = Tied()
    start = {name: value.clone() for name, value in network.state_dict().items()}
    trainer(Regression(network), partial=Partial(tmp_path, every_seconds=0), lr=0.01).fit()
    other = Tied()
    other.load_state_dict(start)
    trainer(Regression(other), partial=Partial(tmp_path, every_seconds=0), lr=0.01).fit()
    assert states_equal(other.state_dict(), network.state_dict())


def test_a_damaged_checkpoint_is_not_resumed_from(tmp_path):
    task = Regression(linear(), fail_at=7)
    with pytest.raises(KeyboardInterrupt):
        trainer(task, partial=Partial(tmp_path, every_seconds=0)).fit()
    (file,) = tmp_path.glob("*.checkpoint")
    damaged = bytearray(file.read_bytes())
    damaged[-3] ^= 1
    file.write_bytes(damaged)
    again = Regression(linear())
    assert len(trainer(again, partial=Partial(tmp_path, every_seconds=1e9)).fit().history) == 3
    assert len(again.weights) == 3


@settings(deadline=None)
@given(steps=st.integers(1, 500), validations=st.integers(1, 60))
def test_validations_are_evenly_spaced_distinct_and_end_with_the_last_step(steps, validations):
    after = validated_steps(steps, validations)
    assert len(after) == min(steps, validations)
    assert after[-1] == steps
    gaps = np.diff([0, *after])
    assert gaps.min() >= 1
    assert gaps.max() - gaps.min() <= 1
