"""What the tests of shared weights are checked with: gathering by explicit indices, the plain way."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from mmnas_video.entangle import Window


def indices(window: Window) -> torch.Tensor:
    """Channels of a window, by its definition: ``start, start + 1, ...`` modulo ``total``."""
    return torch.tensor([(window.start + i) % window.total for i in range(window.length)])


def gather(tensor: torch.Tensor, *windows: Window | None) -> torch.Tensor:
    """A copy of ``tensor`` with ``windows[d]`` taken along dimension d."""
    for dim, window in enumerate(windows):
        if window is not None:
            tensor = tensor.index_select(dim, indices(window))
    return tensor.detach().clone()


def scatter(part: torch.Tensor, shape, *windows: Window | None, centre=None) -> torch.Tensor:
    """Zeros of ``shape`` with ``part`` at the windows; ``centre`` = (t, k) places it in the middle of a
    kernel.
    """
    grid = [range(n) for n in shape]
    for dim, window in enumerate(windows):
        if window is not None:
            grid[dim] = indices(window).tolist()
    if centre is not None:
        for dim, size in zip((-3, -2, -1), (centre[0], centre[1], centre[1]), strict=True):
            first = (shape[dim] - size) // 2
            grid[dim] = range(first, first + size)
    out = np.zeros(tuple(shape))
    out[np.ix_(*map(list, grid))] = part.detach().numpy()
    return torch.from_numpy(out).to(part.dtype)


@pytest.fixture
def plain():
    """``indices``, ``gather`` and ``scatter``."""
    return SimpleNamespace(indices=indices, gather=gather, scatter=scatter)
