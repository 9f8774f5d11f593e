"""The one-pass weighted gradient against plain autograd."""

import pytest
import torch
from torch import nn

from mmnas_video.search.weighted import WeightedGradient, effective_sample_size


def losses(weight: torch.Tensor, spread: float) -> list[torch.Tensor]:
    """Five different losses of one parameter, as five architectures would give."""
    targets = torch.linspace(-1, 2, 5, dtype=torch.float64)
    return [spread * ((weight - target) ** 2).sum() for target in targets]


@pytest.mark.parametrize('order', [(0, 1, 2, 3, 4), (4, 3, 2, 1, 0), (2, 0, 4, 1, 3)])
@pytest.mark.parametrize('spread', [0.1, 30.0, 4000.0])
def test_equals_the_gradient_of_the_log_of_the_mean_likelihood(order, spread):
    """Rejects two-pass weights that are not normalised, a running maximum that forgets to shrink what was gathered, and
    weights computed outside log space (at spread 4000 every likelihood underflows)."""
    weight = nn.Parameter(torch.tensor([0.3, -0.7, 1.1], dtype=torch.float64))
    chosen = [losses(weight, spread)[i] for i in order]
    (-torch.logsumexp(-torch.stack(chosen), 0)).backward()
    exact, weight.grad = weight.grad.clone(), None

    held = torch.tensor([5.0, 7.0, -11.0], dtype=torch.float64)
    weight.grad = held.clone()  # what gradient accumulation has gathered before
    gradient = WeightedGradient([weight])
    for i in order:
        loss = losses(weight, spread)[i]
        (loss * gradient.add(-float(loss.detach()))).backward()
    weights = gradient.finish()
    torch.testing.assert_close(weight.grad - held, exact, rtol=1e-9, atol=1e-9 * spread)
    assert float(weights.sum()) == pytest.approx(1, abs=1e-12)


def test_parameters_that_no_architecture_used_keep_no_gradient():
    """Rejects zeros in place of None, which momentum and decay would act on."""
    used, unused = (nn.Parameter(torch.ones(3)) for _ in range(2))
    gradient = WeightedGradient([used, unused])
    (used.sum() * gradient.add(0.0)).backward()
    gradient.finish()
    assert unused.grad is None
    assert used.grad.tolist() == [1, 1, 1]


def test_effective_sample_size():
    """K for equal weights, 1 for one-hot, and 1 / sum w² between."""
    assert effective_sample_size(torch.full((13,), 1 / 13)) == pytest.approx(13)
    assert effective_sample_size(torch.tensor([0.0, 1.0, 0.0])) == 1
    assert effective_sample_size(torch.tensor([0.75, 0.25])) == pytest.approx(1.6)
