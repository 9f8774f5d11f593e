"""Search methods on the cell space of P3D-DARTS: the config changes, no code does."""

import json
import random

import pytest
import torch
from mmaction.structures import ActionDataSample
from torch.utils.data import Dataset

from mmnas_video.entangle import Mixture
from mmnas_video.models.backbones import SuperP3D
from mmnas_video.registry import DATASETS
from mmnas_video.space import OPERATORS, cell_space, read_cell
from mmnas_video.testing import toy

SHAPE = (3, 3, 7, 5)


@DATASETS.register_module(force=True)
class CellClips(Dataset):
    """Noise on which class 1 brightens over time and class 0 darkens."""

    reproducible = True
    metainfo = {}  # noqa: RUF012 - as MMEngine's datasets have it

    def __init__(self, size=12, seed=0):
        generator = torch.Generator().manual_seed(seed)
        self.labels = [i % 2 for i in range(size)]
        ramp = torch.linspace(-1, 1, SHAPE[1]).view(1, -1, 1, 1)
        self.clips = [torch.randn(1, *SHAPE, generator=generator) + (2 * y - 1) * ramp for y in self.labels]

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, item):
        index = item[1] if isinstance(item, tuple) else item
        return {'inputs': self.clips[index], 'data_samples': ActionDataSample().set_gt_label(self.labels[index])}


def searched(hook, work_dir, **backbone):
    """The files of a search of two epochs of three steps, and what ran."""
    backbone = dict(type='SuperP3D', nodes=2, channels=2, cells=2, reductions=(1,), stem_channels=3, **backbone)
    data = dict(type='CellClips')
    loader = dict(batch_size=4, num_workers=0, sampler=dict(type='SeededSampler'), dataset=data)
    runner = toy.runner(
        dict(
            arch_dataloader=dict(batch_size=4, num_workers=0, dataset=dict(data, seed=1)), calibration_clips=4, **hook
        ),
        model=dict(
            type='Recognizer3D',
            backbone=backbone,
            cls_head=dict(type='I3DHead', num_classes=2, in_channels=8, dropout_ratio=0.0),
            data_preprocessor=dict(type='ActionDataPreprocessor', mean=[0.0] * 3, std=[1.0] * 3, format_shape='NCTHW'),
        ),
        train_dataloader=loader,
        cost_shape=SHAPE,
        work_dir=str(work_dir),
        experiment_name=work_dir.name,
    )
    active = []

    def note(module, _):
        if module.training:  # not while it is counted or scored
            active.append(module.arch)

    runner.model.backbone.register_forward_pre_hook(note)
    runner.train()
    folder = work_dir / 'search'
    history = [json.loads(line) for line in (folder / 'history.jsonl').read_text().splitlines()]
    return json.loads((folder / 'arch.json').read_text()), history, active


@pytest.mark.parametrize(
    'hook',
    [
        dict(type='UniformSearchHook', num_archs=2, candidates=3, score_batches=1),
        dict(type='PARSECSearchHook', num_archs=3),
    ],
    ids=lambda hook: hook['type'],
)
def test_a_sampling_method(hook, tmp_path):
    """Rejects a search that runs one operator everywhere, ends with an arch of another space, or with a cost that is
    not that arch's."""
    found, history, active = searched(hook, tmp_path / hook['type'])
    space = cell_space(2)
    assert found['space'] == space.identity and found['arch'] in space and read_cell(found['arch'])
    assert all(arch in space for arch in active) and len(set(active)) > 4
    assert {op for arch in active for op in arch.values()} >= set(OPERATORS) - {'zero'}
    assert [line['epoch'] for line in history if line['kind'] == 'epoch'] == [1, 2]
    assert found['cost']['macs'] > 0


@pytest.mark.parametrize('order', [1, 2])
def test_darts(order, tmp_path):
    """Rejects a derivation by the strongest value of each edge (all 5 edges of the cell, or zero on any), skips that
    are not counted, and a network that runs sampled operators in the place of the mixture."""
    hook = dict(type='DARTSSearchHook', order=order, score_batches=1, watch=('skip',), init_std=0.5)
    found, history, active = searched(hook, tmp_path / f'order{order}', norm_affine=False, pool_norm=True)
    cell = read_cell(found['arch'])
    assert [len(pairs) for pairs in cell.nodes] == [2, 2]
    assert len(active) >= 6 and all(isinstance(arch, Mixture) for arch in active)
    steps = [line for line in history if line['kind'] == 'step']
    assert len(steps) == 6 and all(0 <= line['counts']['skip'] <= 4 for line in steps)


def test_darts_follows_the_kept_inputs_of_the_network(tmp_path):
    """Rejects a hook with a rule of its own."""
    hook = dict(type='DARTSSearchHook', score_batches=1)
    found, _, _ = searched(hook, tmp_path / 'kept', kept_inputs=1)
    assert [len(pairs) for pairs in read_cell(found['arch']).nodes] == [1, 1]


def test_a_budget_is_that_of_the_cell_that_is_found(tmp_path):
    """Rejects a budget that is held by the cell with all its edges, of which two of five are kept afterwards: what is
    found would cost less than the lower bound."""
    rng, costs = random.Random(0), []
    net = SuperP3D(nodes=2, channels=2, cells=2, reductions=(1,), stem_channels=3, kept_inputs=1)
    for _ in range(200):
        arch = net.derive({choice.name: [rng.random() for _ in choice.values] for choice in net.space})
        costs.append(net.cost(arch, SHAPE).macs)
    low = sorted(costs)[185]
    hook = dict(type='DARTSSearchHook', score_batches=1, budget=dict(macs=(low, None)))
    hook |= dict(selection='perturbation', tune_iters=0)
    found, _, _ = searched(hook, tmp_path / 'budget', kept_inputs=1)
    assert net.cost(found['arch'], SHAPE).macs >= low
