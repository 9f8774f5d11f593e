"""Masked weights and LayerNorm against the same formulas left to autograd."""

import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck
from torch.utils.checkpoint import checkpoint

from mmnas_video.entangle.masked import masked, masked_layer_norm


def leaves(*sizes):
    generator = torch.Generator().manual_seed(5)
    return [torch.randn(size, generator=generator, dtype=torch.float64).requires_grad_() for size in sizes]


def share_of(width):
    values = torch.linspace(1, 2, width, dtype=torch.float64)
    return (values / values.sum()).requires_grad_()


def plain_norm(x, share, eps):
    centred = x - (x * share).sum(-1, keepdim=True)
    return centred * ((centred.square() * share).sum(-1, keepdim=True) + eps).rsqrt()


def test_masked_is_the_product_and_so_are_its_derivatives():
    """Rejects rows for columns, and a gradient that cannot be derived again (the exact second order of DARTS needs
    it)."""
    weight, rows, columns = leaves((5, 7), 5, 7)
    torch.testing.assert_close(masked(weight, rows, columns), weight * rows[:, None] * columns)
    assert gradcheck(masked, (weight, rows, columns))
    assert gradgradcheck(masked, (weight, rows, columns))


def test_both_can_be_computed_again_in_the_backward_pass():
    """Rejects a backward pass that reads what it has saved twice: under activation checkpointing that is an error."""
    x, weight, rows, columns = leaves((2, 3, 7), (5, 7), 5, 7)
    share = share_of(7)

    def layer(x, weight, rows, columns, share):
        return masked_layer_norm(x, share, 0.1) @ masked(weight, rows, columns).mT

    given = (x, weight, rows, columns, share)
    expected = torch.autograd.grad(layer(*given).square().sum(), given)
    again = checkpoint(layer, *given, use_reentrant=False)
    for one, other in zip(torch.autograd.grad(again.square().sum(), given), expected, strict=True):
        torch.testing.assert_close(one, other)


def test_weights_that_are_frozen_get_no_gradient():
    weight, rows, columns = leaves((5, 7), 5, 7)
    masked(weight.detach(), rows, columns).sum().backward()
    assert weight.grad is None
    torch.testing.assert_close(rows.grad, (weight * columns).sum(1))


def test_masked_layer_norm_is_its_formula_and_so_are_its_derivatives():
    """Rejects a share without its part in the mean or in the variance, and eps outside the root. A share that does not
    sum to one is told apart too: the derivative must hold there as well."""
    (x,) = leaves((2, 3, 5))
    for share in (share_of(5), (0.7 * share_of(5)).detach().requires_grad_()):
        torch.testing.assert_close(masked_layer_norm(x, share, 0.1), plain_norm(x, share, 0.1))
        assert gradcheck(lambda *given: masked_layer_norm(*given, 0.1), (x, share))
        assert gradgradcheck(lambda *given: masked_layer_norm(*given, 0.1), (x, share))


@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16])
def test_under_autocast_moments_are_taken_in_single_precision(dtype):
    """Channels around 300 with a spread of 4: rounded to 16 bits, mean and spread would be wrong in the first digit."""
    x = (300 + 4 * torch.randn(7, 61, generator=torch.Generator().manual_seed(2))).to(dtype).requires_grad_()
    share = torch.full((61,), 1 / 61, requires_grad=True)
    with torch.autocast('cpu', torch.bfloat16):
        y = masked_layer_norm(x, share, 1e-6)
    wide = x.detach().float().requires_grad_()
    torch.testing.assert_close(y, plain_norm(wide, share, 1e-6), atol=2e-4, rtol=1e-4)
    y[:, 3].sum().backward()
    (expected,) = torch.autograd.grad(plain_norm(wide, share, 1e-6)[:, 3].sum(), wide)
    torch.testing.assert_close(x.grad, expected.to(dtype), atol=2e-4, rtol=2e-2 if dtype == torch.bfloat16 else 1e-3)
