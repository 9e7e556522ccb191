"""Images per second by a clock that is told what to say, and bytes counted by hand."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn
from toys import conv_classifier, random_images

from harness.engine.throughput import LEAST_PASSES, WARM_UP, images_per_second, state_bytes


class Clock:
    """Tells the time that its networks say has passed."""

    def __init__(self, *durations):
        self.durations = list(durations)
        self.now = 100.0

    def __call__(self):
        return self.now


class Lasting(nn.Module):
    """A network whose every pass takes what comes next of the durations, the last again and again; seconds at first."""

    def __init__(self, clock):
        super().__init__()
        self.clock = clock
        self.passes = 0

    def forward(self, images):
        assert torch.is_inference_mode_enabled()
        timed = self.passes - WARM_UP
        self.clock.now += 7.0 if timed < 0 else self.clock.durations[min(timed, len(self.clock.durations) - 1)]
        self.passes += 1
        return images


@pytest.mark.parametrize(
    ("durations", "seconds", "passes", "expected"),
    [
        ((0.25,), 0.0, LEAST_PASSES, 10 / 0.25),
        ((0.25, 0.25, 8.0, 0.5, 0.5), 0.0, LEAST_PASSES, 10 / 0.5),  # one pass was held up: the median does not mind
        ((0.25,), 2.0, 8, 10 / 0.25),  # as many as two seconds hold
        ((0.5, 1.0, 0.5, 1.0, 0.5, 1.0), 4.5, 6, 10 / 0.75),  # between the two in the middle
    ],
)
def test_the_median_pass_after_warming_up_counts(durations, seconds, passes, expected):
    clock = Clock(*durations)
    network = Lasting(clock)
    assert images_per_second(network, torch.zeros(10, 1), seconds=seconds, clock=clock) == pytest.approx(expected)
    assert network.passes == WARM_UP + passes


def test_a_clock_that_stands_still_gives_a_number_and_an_end():
    clock = Clock(0.0)
    assert math.isfinite(images_per_second(Lasting(clock), torch.zeros(10, 1), seconds=1e-9, clock=clock))


def test_a_real_network_has_a_speed_and_stays_as_it_was():
    network = conv_classifier()
    state = {name: value.clone() for name, value in network.state_dict().items()}
    threads = torch.get_num_threads()
    speed = images_per_second(network, random_images(4), seconds=0.0)
    assert 0 < speed < math.inf
    assert torch.get_num_threads() == threads
    assert all(torch.equal(value, state[name]) for name, value in network.state_dict().items())


def test_the_bytes_are_those_of_parameters_and_buffers_each_once():
    shared = nn.Linear(3, 3, bias=False)
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), shared, shared)
    # Convolution: 18 weights, 2 biases. Batch-norm: 4 times 2, and a count of batches as int64. Linear: 9.
    assert state_bytes(net) == 4 * (18 + 2 + 8 + 9) + 8
    assert state_bytes(conv_classifier()) == state_bytes(conv_classifier().net)  # means are no part of the state
    assert state_bytes(net.half()) == 2 * (18 + 2 + 8 + 9) + 8
