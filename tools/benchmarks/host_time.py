"""What a call of our operators costs the host, beside the same by PyTorch: whether a step is bound by its launches.

    python tools/benchmarks/host_time.py

The process's own time a call, forward and with backward, on a tensor so small that the work itself is nothing; the
least of some repeats. X3D-S has 84 BatchNorms, 15 of them with squeeze-and-excitation, and 27 depthwise convolutions.
On a GPU with the launches; without one they are left out (Triton's own part, some 10 µs each), PyTorch's operators run,
and the table says how many launches there are.
"""

import argparse
import time
from collections.abc import Callable
from unittest import mock

import torch
import torch.nn.functional as F
from common import add_json, show
from torch import Tensor

from mmnas_video.kernels import batch_norm, batch_norm_launch, choose, depthwise, depthwise_launch
from mmnas_video.kernels.batch_norm_reference import excite, finish

DEVICE = 'cuda' if torch.cuda.is_available() else 'cpu'
IN_X3D_S = {'BatchNorm + ReLU': 69, 'BatchNorm + SE + swish': 15, 'depthwise 3x3x3': 27}


def cases() -> dict[str, tuple[Callable[[], Tensor], Callable[[], Tensor]]]:
    """Name to ours and PyTorch's, called without arguments."""
    x = torch.randn(2, 54, 2, 4, 4, device=DEVICE).contiguous(memory_format=torch.channels_last_3d).requires_grad_()
    kernel = torch.randn(54, 1, 3, 3, 3, device=DEVICE, requires_grad=True)
    weight, bias = (torch.rand(54, device=DEVICE, requires_grad=True) for _ in range(2))
    running = (torch.zeros(54, device=DEVICE), torch.ones(54, device=DEVICE))

    sizes = ((8, 54), (8,), (54, 8), (54,))
    squeeze = [torch.randn(size, device=DEVICE, requires_grad=True) for size in sizes]

    def norm() -> Tensor:
        return batch_norm.normalise(x, batch_norm.statistics(x, running, 0, 0.1), weight, bias, 1e-5, 'relu')

    def excited() -> Tensor:
        by = batch_norm.statistics(x, running, 0, 0.1, by_sample=True)
        return batch_norm.excited(x, by, weight, bias, squeeze, 1e-5)

    def plain_norm() -> Tensor:
        return F.batch_norm(x, *running, weight, bias, True, 0.1, 1e-5)

    def plain_excited() -> Tensor:
        z = plain_norm()
        return finish(z, 'swish', gate=excite(z.mean((2, 3, 4)), *squeeze))

    return {
        'BatchNorm + ReLU': (norm, lambda: torch.relu(plain_norm())),
        'BatchNorm + SE + swish': (excited, plain_excited),
        'depthwise 3x3x3': (
            lambda: depthwise.depthwise_conv3d(x, kernel),
            lambda: F.conv3d(x, kernel, None, 1, 1, 1, 54),
        ),
    }


def host_seconds(work: Callable[[], Tensor], backward: bool, calls: int, repeats: int) -> float:
    """Least process time of a call."""
    times = []
    for _ in range(repeats):
        start = time.process_time()
        for _ in range(calls):
            y = work()
            if backward:
                y.backward(y.detach())
        times.append((time.process_time() - start) / calls)
    return min(times)


def main() -> None:
    """The table, by itself or with the launches left out."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--calls', type=int, default=50, help='calls that are timed together (default: 50)')
    parser.add_argument('--repeats', type=int, default=6, help='times each is timed; the fastest counts (default: 6)')
    add_json(parser)
    args = parser.parse_args()
    torch.set_num_threads(1)
    launches, rows = [], []
    patches = [mock.patch.object(module, 'INTERPRETED', True) for module in (choose, depthwise)]
    patches += [
        mock.patch.object(module, 'launch', lambda kernel, *rest, **options: launches.append(kernel))
        for module in (batch_norm_launch, depthwise_launch)
    ]
    if DEVICE == 'cpu':
        print('No GPU here: launches are left out.\n')
        for patch in patches:
            patch.start()
    for name, (ours, theirs) in cases().items():
        for backward in (False, True):
            host = [host_seconds(work, backward, args.calls, args.repeats) for work in (ours, theirs)]
            count = len(launches) // (args.calls * args.repeats) if DEVICE == 'cpu' else ''
            launches.clear()
            total = [f'{1e3 * IN_X3D_S[name] * seconds:.1f}' for seconds in host]
            what = f'{name}, forward' + (' and backward' if backward else '')
            rows.append((what, count, *(f'{1e6 * seconds:.0f}' for seconds in host), *total))
    header = ('operator', 'launches', 'ours µs', 'PyTorch µs', 'all of X3D-S: ours ms', 'PyTorch ms')
    show(f'Host time of a call, {DEVICE}', header, rows, args.out)


if __name__ == '__main__':
    main()
