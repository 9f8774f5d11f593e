"""What BatchNorm's kernels are held to: PyTorch's own in float64, within rounding. On a GPU where there is one."""

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from mmnas_video.kernels.batch_norm import Statistics

DEVICE = 'cuda' if torch.cuda.is_available() else 'cpu'
EPS = 1e-3
EPS32 = torch.finfo(torch.float32).eps
SHAPE = (2, 7, 5, 13, 11)


def last(x):
    return x.contiguous(memory_format=torch.channels_last_3d)


def clip(shape=SHAPE, dtype=torch.float32, seed=0, trend=3.0):
    """Values whose mean differs between channels and drifts through each clip and from clip to clip: parts of it have
    other means than the whole."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(shape, generator=generator) * 2 + torch.arange(shape[1]).view(1, -1, 1, 1, 1) % 5
    x += trend * torch.linspace(-1, 1, shape[2]).view(1, 1, -1, 1, 1)
    x += torch.arange(shape[0]).view(-1, 1, 1, 1, 1)
    return last(x.to(dtype).to(DEVICE))


def numbers(*shape, seed=1, dtype=torch.float32):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(dtype).to(DEVICE)


def leaves(tensors, wide=False):
    return [None if t is None else (t.double() if wide else t.clone()).requires_grad_() for t in tensors]


def assert_close(found, expected, what, terms=1):
    """Within rounding: once to the storage dtype (its eps), and float32 arithmetic on the way.

    ``terms``: how many values are summed up; errors of a sum grow with the root of their number.
    """
    expected = expected.detach()
    scale = expected.abs().max().clamp(min=1)
    bound = (2 * torch.finfo(found.dtype).eps + 64 * EPS32 * terms**0.5) * scale
    error = (found.detach().double() - expected).abs().max()
    assert error <= bound, f'{what}: off by {error:.2e}, allowed {bound:.2e}'


def by_constants(channels):
    return Statistics(numbers(channels, seed=5), numbers(channels, seed=6).abs() + 0.5, 0)


class Operators(TorchDispatchMode):
    """Counts how often each of our operators runs."""

    def __init__(self):
        super().__init__()
        self.counts = {}

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        namespace, _, name = func._schema.name.partition('::')
        if namespace == 'mmnas_video':
            self.counts[name] = self.counts.get(name, 0) + 1
        return func(*args, **(kwargs or {}))
