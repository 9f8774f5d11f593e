"""How many kernels Triton would compile for a search, counted by launchers that only note down what they are given."""

from collections import Counter

import pytest
import torch

pytest.importorskip('triton', reason='needs triton, which torch brings along on Linux')

from mmnas_video.kernels import batch_norm_launch, depthwise_launch
from mmnas_video.kernels import depthwise_plan as plans
from mmnas_video.models.backbones import SuperMBConv3D
from mmnas_video.space import KERNELS

DEPTHWISE = ('slide_kernel', 'weight_gradient_kernel', 'reduce_weight_gradient_kernel', 'pack_weight_kernel')
BATCH_NORM = ('moments_kernel', 'merge_kernel', 'merge_samples_kernel', 'apply_kernel', 'sums_kernel', 'input_kernel')
#: Kernel extents; strides 1 and 2; patches; channels one by one or in pairs.
EXTENTS, STRIDES, PATCHES, PAIRS = 6, 2, 2, 2
#: How often each kernel may be compiled for a whole search: the sliding one runs forward and backward.
EACH = EXTENTS * STRIDES * PATCHES * PAIRS
MOST = dict(zip(DEPTHWISE, (2 * EACH, EACH, EXTENTS, EXTENTS), strict=True))


class Launcher:
    """Stands for a kernel and compiles nothing: notes what Triton would tell compiled kernels apart by."""

    def __init__(self, kernel, keys):
        self.kernel, self.keys = kernel, keys

    def __getitem__(self, grid):
        return self._launch

    def _launch(self, *args, **more):
        given = {**dict(zip(self.kernel.arg_names, args, strict=False)), **more}
        self.keys.add((self.kernel.fn.__name__, *(self._key(p, given[p.name]) for p in self.kernel.params)))

    @staticmethod
    def _key(parameter, value):
        if parameter.is_constexpr or value is None:
            return value
        if isinstance(value, torch.Tensor):
            return value.dtype
        if parameter.do_not_specialize or isinstance(value, float):
            return type(value)
        return value == 1, value % 16 == 0  # Triton's own specialisations of integers


@pytest.fixture
def keys(monkeypatch):
    """What would have been compiled."""
    found = set()
    for module, names in ((depthwise_launch, DEPTHWISE), (batch_norm_launch, BATCH_NORM)):
        for name in names:
            monkeypatch.setattr(module, name, Launcher(getattr(module, name), found))
    monkeypatch.setattr(depthwise_launch, '_baked', set())
    return found


def search(groups, step):
    """Forward and both gradients of what AutoX3D's groups may be at 13 x 160 x 160: every ``step``-th middle width."""
    net = SuperMBConv3D()
    for group, size in zip(net.groups[groups], net.sizes((3, 13, 160, 160))[groups], strict=False):
        kernels = [KERNELS[name] for name in group.spec.kernels]
        largest = (max(t for t, _ in kernels), *[max(k for _, k in kernels)] * 2)
        windows = sorted(set(group.mids.values()), key=lambda w: -w.length)[::step]  # the full one among them
        weight = torch.empty(windows[0].total, 1, *largest, device='meta')
        for window in windows:
            for t, k in kernels:
                convolve(window, weight, (t, k, k), net.groups[groups][0].blocks[0].depthwise.stride[1], size)


def convolve(window, weight, kernel, stride, size):
    x = torch.empty(2, window.length, *size, device='meta')
    y = depthwise_launch.convolve(x, weight, window.start, kernel, stride)
    depthwise_launch.input_gradient(y, weight, window.start, kernel, stride, x.shape[3:])
    depthwise_launch.weight_gradient(x, y, weight, window.start, kernel, stride)


def test_a_supernets_widths_share_compiled_convolutions(keys):
    """Rejects a channel count, a start of a window, a number of programs or a resolution that is compiled in (or told
    apart by being 1 or a multiple of 16) for each of a search's widths; and the full width baked with every kernel."""
    search(slice(0, 5), 5)
    general = [key for key in keys if not any(isinstance(part, tuple) and len(part) == 5 for part in key)]
    counts = Counter(key[0] for key in general)
    assert set(counts) == set(DEPTHWISE)
    assert {name: count for name, count in counts.items() if count > MOST[name]} == {}
    baked = {key for key in keys if key not in general}
    assert {key[key.index(shape) + 1] for key in baked for shape in key if isinstance(shape, tuple)} == {5}


def test_pinned_networks_bake_so_many_shapes_and_no_more(keys):
    """Rejects a bound that only holds for one kernel, or a process that runs many found networks and compiles for every
    layer of each."""
    for channels in range(2, 2 + 2 * plans.BAKED_SHAPES):
        weight = torch.empty(channels, 1, 3, 3, 3, device='meta')
        x = torch.empty(2, channels, 5, 7, 7, device='meta')
        depthwise_launch.convolve(x, weight, 0, (3, 3, 3), 1)
    shapes = {part for key in keys for part in key if isinstance(part, tuple) and len(part) == 5}
    assert len(shapes) == plans.BAKED_SHAPES
    general = [key for key in keys if key[0] == 'slide_kernel' and not shapes.intersection(p for p in key if p)]
    assert 1 <= len(general) <= PAIRS


def test_batch_norm_is_compiled_for_alignments_and_not_for_widths(keys):
    """Rejects C, a number of rows or of programs as a constant: AutoX3D has hundreds of each."""
    for name in BATCH_NORM:
        parameters = getattr(batch_norm_launch, name).kernel.params
        constants = {p.name for p in parameters if p.is_constexpr}
        assert constants <= {'ALIGN', 'BLOCK_M', 'BLOCK_C', 'BLOCK_P', 'ACTIVATION'}, name
        told_apart = {p.name for p in parameters if not (p.is_constexpr or p.do_not_specialize)}
        assert {key for key in told_apart if not key.endswith('_ptr')} <= {'eps', 'momentum'}, name
    seen = []
    for channels in (*range(3, 130, 3), *range(130, 800, 17)):
        for frames, size in ((13, 80), (13, 5), (7, 11)):
            x = torch.empty(2, channels, frames, size, size, device='meta', memory_format=torch.channels_last_3d)
            running = torch.empty(channels + 6, device='meta')
            for by_sample in (False, True):
                batch_norm_launch.statistics(x, running, running, channels % 7, 0.1, by_sample)
        seen.append(len(keys))
    assert {key[0] for key in keys} == {'moments_kernel', 'merge_kernel', 'merge_samples_kernel'}
    assert seen[-1] <= 4 * 6 * 3, 'more than alignments (1 to 8) and widths of a block (4 to 128), for each kernel'
    assert seen[-1] == seen[len(seen) // 2], 'still growing with the widths'
