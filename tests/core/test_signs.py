"""Signs and their gradients, beside finite differences of what stands for them."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from prefixbank.core.signs import codes_of, straight_through_sign


def test_signs_are_one_above_zero_and_minus_one_elsewhere():
    values = torch.tensor([-3.0, -0.3, 0.0, 0.3, 3.0])
    assert straight_through_sign(values).tolist() == [-1.0, -1.0, -1.0, 1.0, 1.0]


def test_gradient_of_signs_is_that_of_clipped_values_by_finite_differences():
    generator = torch.Generator().manual_seed(0)
    values = 2 * torch.randn(40, generator=generator, dtype=torch.float64)
    weights = torch.randn(40, generator=generator, dtype=torch.float64)

    def surrogate(given: torch.Tensor) -> float:
        return float((given.clamp(-1, 1) * weights).sum())

    leaf = values.clone().requires_grad_()
    (straight_through_sign(leaf) * weights).sum().backward()
    assert leaf.grad is not None
    for index in range(40):
        step = torch.zeros(40, dtype=torch.float64)
        step[index] = 1e-6
        difference = (surrogate(values + step) - surrogate(values - step)) / 2e-6
        assert float(leaf.grad[index]) == pytest.approx(difference, abs=1e-6)


@pytest.mark.parametrize("size", [1e-3, 1.0, 1e3])
def test_codes_are_signs_whatever_the_size_of_vectors(size):
    values = size * torch.randn(6, 9, generator=torch.Generator().manual_seed(1))
    assert np.array_equal(codes_of(values).numpy(), np.where(values.numpy() > 0, 1.0, -1.0))
    half = values.half().clamp(-6e4, 6e4)
    assert np.array_equal(codes_of(half).float().numpy(), np.where(half.numpy() > 0, 1.0, -1.0))
    assert codes_of(torch.zeros(2, 3)).tolist() == [[-1.0] * 3] * 2


@pytest.mark.parametrize("size", [1e-3, 1e3])
def test_gradient_of_codes_is_that_of_clipped_vectors_of_their_size(size):
    values = size * torch.randn(4, 7, generator=torch.Generator().manual_seed(2)).double()
    weights = torch.randn(4, 7, generator=torch.Generator().manual_seed(3)).double()
    scale = np.sqrt((values.numpy() ** 2).mean(axis=1, keepdims=True))

    def surrogate(given: np.ndarray) -> float:
        return float((np.clip(given / scale, -1, 1) * weights.numpy()).sum())

    leaf = values.clone().requires_grad_()
    (codes_of(leaf) * weights).sum().backward()
    assert leaf.grad is not None
    for row in range(4):
        for column in range(7):
            step = np.zeros((4, 7))
            step[row, column] = 1e-6 * size
            change = surrogate(values.numpy() + step) - surrogate(values.numpy() - step)
            assert float(leaf.grad[row, column]) * size == pytest.approx(change / 2e-6, abs=1e-5)
    assert 0.4 < float((leaf.grad != 0).double().mean()) < 0.95
