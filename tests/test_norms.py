"""Norms per sample against hand computation and numpy."""

import numpy as np
import pytest
import torch

from harness.engine.norms import per_sample, per_sample_norm


@pytest.mark.parametrize(("norm", "expected"), [("l0", [2, 0]), ("l1", [7, 0]), ("l2", [5, 0]), ("linf", [4, 0])])
def test_norms_are_those_worked_out_by_hand(norm, expected):
    perturbations = torch.tensor([[3.0, -4.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0]]).reshape(2, 1, 2, 2)
    assert per_sample_norm(perturbations, norm).tolist() == expected


@pytest.mark.parametrize(("norm", "order"), [("l0", 0), ("l1", 1), ("l2", 2), ("linf", np.inf)])
def test_norms_agree_with_numpys(norm, order):
    perturbations = torch.randn(7, 3, 4, 5, generator=torch.Generator().manual_seed(0))
    expected = [np.linalg.norm(one.ravel().astype(np.float64), order) for one in perturbations.numpy()]
    np.testing.assert_allclose(per_sample_norm(perturbations, norm).numpy(), expected, rtol=1e-6)


def test_values_per_sample_broadcast_against_images():
    images = torch.ones(2, 3, 4, 5)
    scaled = images * per_sample(torch.tensor([2.0, 3.0]), images)
    assert scaled.flatten(1).amax(1).tolist() == scaled.flatten(1).amin(1).tolist() == [2.0, 3.0]
