"""What test_ranks.py has each rank compute beside the searches: layers and sums over ranks against one process."""

from __future__ import annotations

import copy

import torch
import torch.distributed as dist
from torch import nn

from mmnas_video.entangle import SuperBatchNorm3d, lay_windows, mix_windows, rank_statistics, sync_norms
from mmnas_video.entangle.window import whole
from mmnas_video.search.over_ranks import average_over_ranks, fill_gradients

#: Clips of each rank: uneven, one has a single clip, the last none.
SHARDS = {2: (4, 1), 3: (2, 3, 0)}


def run() -> dict[str, float]:
    """Name → largest difference to one process with all clips; or a number that test_ranks.py knows."""
    windows = lay_windows([3, 5, 7])
    wrapping = next(window for window in windows if window.wraps)
    cases = {
        'plain': (nn.BatchNorm3d(7), ()),
        'without weights': (nn.BatchNorm3d(7, affine=False), ()),
        'plain mean of batches': (nn.BatchNorm3d(7, momentum=None), ()),
        'window': (SuperBatchNorm3d(7), (whole(7),)),
        'wrapping window': (SuperBatchNorm3d(7), (wrapping,)),
        'mixed': (SuperBatchNorm3d(7), (mix_windows(windows, torch.tensor([0.25, 0.4, 0.35], dtype=torch.float64)),)),
    }
    found = {name: difference(norm.double(), args) for name, (norm, args) in cases.items()}
    found['large mean, float32'] = difference(nn.BatchNorm3d(7).float(), (), dtype=torch.float32, mean=1e4)
    return {**found, **gradients(), **one_rank()}


def clips(dtype: torch.dtype, channels: int, mean: float = 0.0) -> tuple[torch.Tensor, slice]:
    """The whole batch, and where this rank's part of it stands."""
    sizes = SHARDS[dist.get_world_size()]
    low = sum(sizes[: dist.get_rank()])
    generator = torch.Generator().manual_seed(17)
    x = mean + 3 * torch.randn(sum(sizes), channels, 2, 3, 5, generator=generator, dtype=torch.float64)
    return x.to(dtype), slice(low, low + sizes[dist.get_rank()])


def difference(norm: nn.Module, args: tuple, dtype: torch.dtype = torch.float64, mean: float = 0.0) -> float:
    """Of outputs, input gradients, summed parameter gradients and running statistics, over two batches."""
    with torch.no_grad():
        for number, parameter in enumerate(norm.parameters()):
            parameter.copy_(torch.linspace(0.5, 1.5, parameter.numel()) - number)
    synced = sync_norms(copy.deepcopy(norm))
    x, part = clips(dtype, args[0].length if args else 7, mean)
    worst = 0.0
    for batch in (x, x.flip(2) * 2 - mean):
        ours, theirs = batch[part].clone().requires_grad_(), batch.clone().requires_grad_()
        y, expected = synced(ours, *args), norm(theirs, *args)
        slope = torch.linspace(-1, 2, batch.numel(), dtype=dtype).view_as(batch)
        (y.sin() * slope[part]).sum().backward()
        (expected.sin() * slope).sum().backward()
        pairs = [(y, expected[part]), (ours.grad, theirs.grad[part])]
        for one, other in zip(synced.parameters(), norm.parameters(), strict=True):
            dist.all_reduce(one.grad)
            pairs.append((one.grad, other.grad))
        pairs += list(zip(synced.buffers(), norm.buffers(), strict=True))
        worst = max(worst, *(float((a - b).abs().max()) / float(b.abs().max() + 1) for a, b in pairs if a.numel()))
        synced.zero_grad(), norm.zero_grad()
    norm.eval(), synced.eval()
    return max(worst, float((norm(x, *args) - synced(x, *args)).abs().max()))


def gradients() -> dict[str, float]:
    """Gradients that only one rank has are averaged with zeros; those of nobody stay None."""
    first, second, nobody = (nn.Parameter(torch.zeros(2)) for _ in range(3))
    first.grad = torch.full((2,), 3.0)
    if dist.get_rank() == 1:
        second.grad = torch.full((2,), 6.0)
    fill_gradients([first, second, nobody])
    average_over_ranks([p.grad for p in (first, second, nobody)])
    return {'one rank alone': float(second.grad[0]), 'all': float(first.grad[0]), 'nobody': float(nobody.grad is None)}


def one_rank() -> dict[str, float]:
    """In a block for ranks that run different networks, a synced layer is a plain one and waits for nobody."""
    x, part = clips(torch.float64, 7)
    norm = nn.BatchNorm3d(7).double()
    synced = sync_norms(copy.deepcopy(norm))
    if dist.get_rank():
        return {'by itself': 0.0}
    with rank_statistics():
        return {'by itself': float((synced(x[part]) - norm(x[part])).abs().max())}
