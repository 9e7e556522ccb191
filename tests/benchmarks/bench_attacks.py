"""Time the native correctors against Foolbox's attacks: same classifier, images, steps and eps, one run. `make bench`.

Ratios within one run are what counts; success is asserted, so that an attack that does nothing cannot win.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import pytest
import torch

from harness.api import NoOptions
from harness.contract import InputShape
from harness.engine.attacking import Corrector
from harness.engine.networks import PixelClassifier
from harness_classifiers.cifar_resnet import CifarResNet20
from harness_paper.bim import BIM, BIMOptions
from harness_paper.ddn import DDN, DDNOptions

if TYPE_CHECKING:
    from harness.criteria import Objective, Select

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import foolbox

COUNT = 64


@pytest.fixture(scope="module")
def case():
    """A ResNet-20 with fixed random weights and images whose given labels are not the predicted ones."""
    torch.manual_seed(0)
    net = CifarResNet20(NoOptions()).build(InputShape(channels=3, image_size=32, num_classes=10))
    network = PixelClassifier(net, mean=[0.5] * 3, std=[0.25] * 3, num_classes=10)
    network.train()
    with torch.no_grad():
        for _ in range(20):
            network(torch.rand(64, 3, 32, 32))
    network.eval()
    images = torch.rand(COUNT, 3, 32, 32)
    with torch.no_grad():
        second = network(images).topk(2).indices[:, 1]
    return network, images, second


def native(attack, network, images, labels, *, objective: Objective = "toward-true", select: Select = "first-hit"):
    corrector = Corrector(attack, network, name="bench", objective=objective, select=select, seed=0)
    return lambda: corrector.correct(images, labels, torch.arange(len(images)))


def library(attack, network, images, labels, *, epsilons):
    model = foolbox.PyTorchModel(network, bounds=(0, 1), device="cpu")
    criterion = foolbox.criteria.TargetedMisclassification(labels)
    return lambda: attack(model, images, criterion, epsilons=epsilons)


@pytest.mark.benchmark(group="VBI, 5 steps, linf 8/255")
@pytest.mark.parametrize("who", ["native", "foolbox"])
def test_vbi(benchmark, case, who):
    network, images, labels = case
    if who == "native":
        result = benchmark(native(BIM(BIMOptions(steps=5)), network, images, labels))
        assert result.corrected.float().mean() > 0.5
    else:
        attack = foolbox.attacks.LinfBasicIterativeAttack(abs_stepsize=1 / 255, steps=5)
        _, _, success = benchmark(library(attack, network, images, labels, epsilons=8 / 255))
        assert success.float().mean() > 0.5


@pytest.mark.benchmark(group="DDN, 100 steps")
@pytest.mark.parametrize("who", ["native", "foolbox"])
def test_ddn(benchmark, case, who):
    network, images, labels = case
    if who == "native":
        run = native(DDN(DDNOptions()), network, images, labels, select="min-norm")
        assert benchmark.pedantic(run, rounds=3).corrected.float().mean() > 0.9
    else:
        run = library(foolbox.attacks.DDNAttack(), network, images, labels, epsilons=None)
        assert benchmark.pedantic(run, rounds=3)[2].float().mean() > 0.9
