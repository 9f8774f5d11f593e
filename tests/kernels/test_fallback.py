"""A kernel that cannot be launched: PyTorch's numbers, one warning, and no error of the input hidden by it."""

import copy
import warnings
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F

from mmnas_video.entangle import SuperBatchNorm3d, Window
from mmnas_video.kernels import choose, depthwise, depthwise_conv3d, fallback
from mmnas_video.kernels.fallback import CannotLaunch, failed

pytest.importorskip('triton', reason='needs triton')
WINDOW = Window(5, 4, 7)


class Broken:
    """A kernel of which every launch fails."""

    def __init__(self, kernel, error):
        self.fn, self.error, self.launches = kernel.fn, error, 0

    def __getitem__(self, grid):
        def launch(*args, **options):
            self.launches += 1
            raise self.error

        return launch


@pytest.fixture
def broken(monkeypatch):
    """Kernels in use on a CPU, of which the first of each family is made to fail with an error of choice."""
    from mmnas_video.kernels import batch_norm_launch, depthwise_launch

    monkeypatch.setattr(fallback, '_failed', {})
    monkeypatch.delenv(choose.SWITCH, raising=False)
    for module in (choose, depthwise):
        monkeypatch.setattr(module, 'INTERPRETED', True)

    def make(error):
        kernels = {'pack_weight_kernel': depthwise_launch, 'moments_kernel': batch_norm_launch}
        made = {name: Broken(getattr(module, name), error) for name, module in kernels.items()}
        for name, module in kernels.items():
            monkeypatch.setattr(module, name, made[name])
        return made

    return make


REFUSED = RuntimeError('Failed to find C compiler.\nPlease specify via CC environment variable.\n')


def convolution():
    torch.manual_seed(0)
    x = torch.randn(2, 3, 2, 5, 7).contiguous(memory_format=torch.channels_last_3d).requires_grad_()
    return x, torch.randn(3, 1, 1, 3, 3, requires_grad=True)


def test_a_convolution_goes_on(broken):
    """Rejects a run that ends, a warning each call or one without name and reason, a launch that is tried again, and
    another result than PyTorch's."""
    kernels = broken(REFUSED)
    results = []
    for convolve in (depthwise_conv3d, lambda x, w: F.conv3d(x, w, None, 1, (0, 1, 1), 1, 3)):
        x, weight = convolution()
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter('always')
            for _ in range(2):
                y = convolve(x, weight)
                y.square().sum().backward()
        results.append((y, x.grad, weight.grad, [str(each.message) for each in said]))
    ours, theirs = results
    assert all(torch.allclose(a, b, atol=1e-5) for a, b in zip(ours[:3], theirs[:3], strict=True))
    (warning,) = ours[3]
    assert 'pack_weight_kernel: RuntimeError: Please specify via CC' in warning and 'MMNAS_KERNELS=off' in warning
    assert theirs[3] == [] and kernels['pack_weight_kernel'].launches == 1
    assert failed('depthwise') and not failed('batch_norm')


def test_a_norm_goes_on_and_its_statistics_move_once(broken):
    """Rejects running statistics that move twice (by what failed and by what took its place) or not at all, and a
    fallback that stays on the slow plain pieces instead of PyTorch's own operator."""
    kernels = broken(REFUSED)
    ours = SuperBatchNorm3d(7)
    theirs = copy.deepcopy(ours).double()
    for step in range(2):
        x = torch.randn(2, 4, 3, 5, 2).contiguous(memory_format=torch.channels_last_3d).requires_grad_()
        other = x.detach().double().requires_grad_()
        if step:
            assert not ours.fuses(x)
            y = ours(x, WINDOW, 'swish')
        else:
            with pytest.warns(RuntimeWarning, match='moments_kernel'):
                y = ours(x, WINDOW, 'swish')
        expected = theirs(other, WINDOW, 'swish')
        (y * y.detach().cos()).sum().backward(), (expected * expected.detach().cos()).sum().backward()
        assert torch.allclose(y.double(), expected, atol=1e-5) and torch.allclose(
            x.grad.double(), other.grad, atol=1e-4
        )
    for name, value in ours.state_dict().items():
        assert torch.allclose(value.double(), theirs.state_dict()[name].double(), atol=1e-5), name
    assert kernels['moments_kernel'].launches == 1


@pytest.mark.parametrize('error', [ValueError('pointer'), TypeError('dtype'), torch.OutOfMemoryError('no memory')])
def test_other_errors_stay_errors(broken, error):
    """Rejects a fallback that hides wrong input, or that turns a full GPU into a slower program."""
    broken(error)
    with pytest.raises(type(error), match=str(error)):
        depthwise_conv3d(*convolution())
    x, _ = convolution()
    with pytest.raises(ValueError, match='not enough values to unpack'):
        torch.ops.mmnas_video.depthwise_conv3d(x, torch.randn(3, 3), 0, (1, 3, 3), 1)
    assert not failed('depthwise')


def test_on_means_on(broken, monkeypatch):
    """Rejects a fallback where the kernels were asked for by name."""
    broken(REFUSED)
    monkeypatch.setenv(choose.SWITCH, 'on')
    for _ in range(2):
        with pytest.raises(CannotLaunch, match='pack_weight_kernel'):
            depthwise_conv3d(*convolution())
    assert not failed('depthwise')


def test_launches_on_the_tensors_own_device(monkeypatch):
    """Rejects a launch on the current GPU for a tensor on another one; and a block that changes devices for nothing."""
    monkeypatch.setattr(torch.cuda, 'current_device', lambda: 2)
    for index, changes in ((2, False), (3, True)):
        device = torch.device('cuda', index)
        block = fallback.device_of(SimpleNamespace(is_cuda=True, device=device, get_device=lambda index=index: index))
        assert isinstance(block, torch.cuda.device_of) is changes
        assert not changes or block.idx == index
    assert not isinstance(fallback.device_of(torch.ones(1)), torch.cuda.device_of)
