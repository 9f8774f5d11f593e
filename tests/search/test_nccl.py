"""Every search as one of two ranks on GPUs: what they tell each other lies on the GPU, and comes in the same order."""

from unittest import mock

import pytest
import torch
from mmengine.hooks import SyncBuffersHook
from torch import nn

from mmnas_video.entangle import has_synced_norms
from mmnas_video.entangle.sync_norm import convert_norms
from mmnas_video.search import AtomicCheckpointHook
from mmnas_video.search.ranks import before_checkpoint
from mmnas_video.testing.toy import ToyBackbone
from tests.fake_cuda import FakeCuda
from tests.fake_nccl import be_rank

from .test_cuda_placement import CASES, DARTS, kernels, on_gpu

__all__ = ['kernels']
OWN = dict(type='PARSECSearchHook', num_archs=3, rank_archs='own')
#: Hook and changes in the backbone, and how often a step sends something of all parameters: their gradients, of DARTS's
#: virtual step and its slopes too, and which of them there are.
SEARCHES = {
    'PARSEC': (*CASES['PARSEC'][:2], 1),
    'PARSEC, own architectures': (OWN, {}, 2),
    'PARSEC alternating, own architectures': (dict(OWN, num_archs=2, mode='alternating'), {}, 2),
    'DARTS, second order': (*CASES['DARTS, second order'][:2], 3),
    'DARTS, perturbation': (dict(DARTS, selection='perturbation', tune_iters=1), {}, 1),
    'entanglement, distribution gap': (*CASES['entanglement, distribution gap'][:2], 1),
    'conflict-aware': (*CASES['conflict-aware'][:2], 1),
    'evolution': (*CASES['evolution'][:2], 0),
}


def collectives(name, rank, work_dir):
    """What one of two ranks sends in a step, before a checkpoint, and at the end of the search."""
    hook, changes, _ = SEARCHES[name]
    if 'score_batches' in hook or hook['type'].startswith('Conflict'):
        hook = dict(hook, score_batches=2)  # one for each rank to decode
    if 'eval_batches' in hook:
        hook = dict(hook, eval_batches=2)
    gpu = FakeCuda()
    made, search = on_gpu(gpu, hook, changes, work_dir)
    with gpu.use(), be_rank(rank, 2) as group:
        if hook['type'] == 'EvolutionSearchHook':
            group.others = torch.ones_like  # the other has scored what this one has not
        made.model.train_step(next(iter(made.train_dataloader)), made.optim_wrapper)
        group.notes.append(('a checkpoint',))
        checkpoints = next(hook for hook in made.hooks if isinstance(hook, AtomicCheckpointHook))
        group.others = torch.clone
        assert checkpoints.preemption._ask(made, False) == (False, False)
        checkpoints.preemption._save = lambda runner, meta: before_checkpoint(runner)
        checkpoints.preemption._write(made, {}, 0)
        SyncBuffersHook().after_train_epoch(made)
        group.notes.append(('the end',))
        group.others = torch.ones_like
        search.after_train_epoch(made)
        search.select(made)
    return group.notes


@pytest.mark.parametrize('name', SEARCHES)
def test_what_two_ranks_send(name, tmp_path):
    """Rejects numbers of the host that NCCL would be given, tensors of the GPU in objects (another rank would unpickle
    them on this one's), a collective, or a size of one, that only one of the ranks has (both would wait for ever), and
    one for each parameter."""
    one, other = (collectives(name, rank, tmp_path / str(rank)) for rank in range(2))
    assert one == other
    step = one[: one.index(('a checkpoint',))]
    assert sum(torch.float32 in tensor for _, *tensors in step for tensor in tensors) == SEARCHES[name][2]


def test_a_supernet_of_plain_layers_is_synced_by_ours():
    """With ``sync_bn='torch'`` on a GPU. Rejects torch's layers there: they wait for all ranks in recalibration too, of
    which each rank has as many as it has candidates."""
    with FakeCuda().use() as gpu:
        for model, ours in ((ToyBackbone(), True), (nn.Sequential(nn.BatchNorm1d(5)), False)):
            stock = mock.Mock(side_effect=lambda model, implementation: model)
            assert has_synced_norms(convert_norms(gpu.move(model), 'torch', stock)) is ours
            assert stock.called is not ours
