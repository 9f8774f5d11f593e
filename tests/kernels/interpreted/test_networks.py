"""Whole networks on the kernels, by Triton's interpreter: bit for bit, and under DistributedDataParallel."""

import pytest
import torch
from mmengine.runner import set_random_seed
from torch import multiprocessing
from torch.nn.parallel import DistributedDataParallel

from mmnas_video.kernels import batch_norm_tiles, depthwise_launch
from mmnas_video.kernels import depthwise_plan as plans
from mmnas_video.models.backbones import SuperMBConv3D
from tests.kernels.batch_norm_oracle import DEVICE, Operators, clip
from tests.kernels.depthwise_oracle import forget_plans

#: Two widths and two kernels of one group of one block.
TINY = dict(
    stages=(((5, 7, 2), (1,)),),
    spatial_strides=(2,),
    kernels=('t1_s3', 't3_s3'),
    expansions=(1.5,),
    attentions=('none',),
    stem_channels=3,
    out_channels=11,
    se_ratio=0.5,
    zero_init_residual=False,
)


@pytest.fixture(autouse=True)
def few_programs(monkeypatch):
    """The interpreter takes the same time for one lane as for thousands."""
    for name, value in {'LANES': 4096, 'WANTED_PROGRAMS': 1, 'GRADIENT_STRIPS': 32, 'GRADIENT_CHANNELS': 512}.items():
        monkeypatch.setattr(plans, name, value)
    for name, value in {'PROGRAMS': 4, 'ELEMENTS': 2**14, 'MERGED': ((16, 512),)}.items():
        monkeypatch.setattr(batch_norm_tiles, name, value)
    monkeypatch.setattr(depthwise_launch, 'PACK_BLOCK', 16384)
    monkeypatch.setattr(depthwise_launch, 'REDUCE_BLOCK', 16384)
    forget_plans()
    yield
    forget_plans()


@pytest.fixture
def deterministic(monkeypatch):
    """What MMEngine makes of ``randomness=dict(seed=0, deterministic=True)``."""
    monkeypatch.setenv('CUBLAS_WORKSPACE_CONFIG', ':4096:8')  # torch asks for it on a GPU
    monkeypatch.setattr(torch.backends.cudnn, 'deterministic', False)
    set_random_seed(0, deterministic=True)
    yield
    torch.use_deterministic_algorithms(False)


def build():
    torch.manual_seed(0)
    return SuperMBConv3D(**TINY).to(DEVICE).train()


def trained(net, x, run=None):
    """Output, gradients (None of what the architecture does not use) and statistics of one step."""
    with net.use(net.space.smallest):
        y = (run or net)(x)
        y.square().sum().backward()
    return {'y': y.detach(), **{name: p.grad for name, p in net.named_parameters()}, **dict(net.named_buffers())}


def test_deterministic_and_twice_the_same_bit_for_bit(deterministic):
    """Rejects a kernel whose order of summation changes from run to run, and one that leaves a part of what it returns
    unwritten: in this mode torch fills new memory with NaN."""
    with Operators() as operators:
        first = trained(build(), clip((2, 3, 3, 6, 4)))
    assert {'depthwise_conv3d_weight_gradient', 'batch_norm_excited', 'batch_norm_input'} <= set(operators.counts)
    with Operators():  # what is watched goes by Conv3d on a CPU too, whose sums have another order
        second = trained(build(), clip((2, 3, 3, 6, 4)))
    assert torch.are_deterministic_algorithms_enabled()
    for name, value in first.items():
        assert value is second[name] is None or torch.equal(value, second[name]), name
        assert value is None or value.isfinite().all(), name


def one_rank(rank, folder):
    """Of two: a step on its own clips, under DistributedDataParallel."""
    store = f'file://{folder}/store'
    torch.distributed.init_process_group('gloo', init_method=store, rank=rank, world_size=2)
    net = build()
    wrapped = DistributedDataParallel(net, find_unused_parameters=True)
    torch.save(trained(net, clip((2, 3, 3, 6, 4), seed=rank), wrapped), folder / f'{rank}.pth')
    torch.distributed.destroy_process_group()


def test_under_distributed_data_parallel(tmp_path):
    """Rejects gradients that reach a parameter without DistributedDataParallel's hook seeing them (they would stay each
    rank's own), or that are written on after it has: both ranks have the mean of what the bare network has."""
    multiprocessing.start_processes(one_rank, args=(tmp_path,), nprocs=2, start_method='fork')
    ranks = [torch.load(tmp_path / f'{rank}.pth', weights_only=True) for rank in (0, 1)]
    bare = [trained(build(), clip((2, 3, 3, 6, 4), seed=rank)) for rank in (0, 1)]
    used = [name for name, _ in build().named_parameters() if bare[0][name] is not None]
    assert len(used) > 15 and not all(torch.equal(bare[0][name], bare[1][name]) for name in used)
    for found, own in zip(ranks, bare, strict=True):
        assert torch.equal(found['y'], own['y'])
        for name in used:
            assert torch.equal(found[name], (bare[0][name] + bare[1][name]) / 2), name
