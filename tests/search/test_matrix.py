"""Every method on every backbone: what changes is the config."""

import copy
import json
from pathlib import Path

import pytest
import torch
from mmaction.structures import ActionDataSample
from mmengine.config import Config
from mmengine.registry import init_default_scope
from torch.utils.data import Dataset

from mmnas_video.entangle import find_searchable
from mmnas_video.registry import DATASETS, MODELS
from mmnas_video.testing import toy

MODEL_CONFIGS = Path(__file__).parents[2] / 'configs' / '_base_' / 'models'
BACKBONES = {
    'SuperMBConv3D': 'super_mbconv3d_demo.py',
    'SuperTSNet': 'super_tsnet_demo.py',
    'SuperViT': 'super_vit_demo.py',
    'SuperP3D': 'super_p3d_demo.py',
}
HOOKS = {
    'PARSEC': dict(type='PARSECSearchHook', num_archs=2),
    'DARTS': dict(type='DARTSSearchHook', score_batches=1, arch_optimizer=dict(type='Adam', lr=0.1)),
    'entanglement': dict(
        type='EntanglementSearchHook',
        selection='argmax',
        score_batches=1,
        arch_optimizer=dict(type='Adam', lr=0.1),
    ),
    'uniform': dict(type='UniformSearchHook', candidates=2, score_batches=1),
    'conflict-aware': dict(type='ConflictAwareSearchHook', num_archs=1, distill=True, candidates=2, score_batches=1),
    'evolution': dict(type='EvolutionSearchHook', population=2, top_k=2, eval_batches=1),
}


@DATASETS.register_module(force=True)
class NoiseClips(Dataset):
    """Bytes of noise with two labels in turn."""

    reproducible = True
    metainfo = {}  # noqa: RUF012 - as MMEngine's datasets have it

    def __init__(self, shape, size=4, seed=0):
        generator = torch.Generator().manual_seed(seed)
        self.clips = torch.randint(0, 256, (size, 1, *shape), generator=generator, dtype=torch.uint8)

    def __len__(self):
        return len(self.clips)

    def __getitem__(self, item):
        index = item[1] if isinstance(item, tuple) else item
        return {'inputs': self.clips[index], 'data_samples': ActionDataSample().set_gt_label(index % 2)}


def runner_of(cfg, hook, work_dir, supernet=None, **changes):
    """A Runner of a search with the model of ``cfg`` on clips of noise; an evolution's ``supernet`` is a new one, or
    this."""
    data = dict(type='NoiseClips', shape=cfg.cost_shape)
    if hook['type'] == 'EvolutionSearchHook':
        work_dir.mkdir(exist_ok=True)
        hook = dict(hook, checkpoint=str(work_dir / 'supernet.pth'))
        torch.save({'meta': {}, 'state_dict': (supernet or MODELS.build(cfg.model)).state_dict()}, hook['checkpoint'])
    held_out = dict(batch_size=2, num_workers=0, dataset=dict(data, seed=1))
    return toy.runner(
        dict(arch_dataloader=held_out, calibration_clips=2, **hook),
        model=cfg.model,
        train_dataloader=dict(batch_size=2, num_workers=0, sampler=dict(type='SeededSampler'), dataset=data),
        train_cfg=dict(type='EpochBasedTrainLoop', max_epochs=1),
        cost_shape=cfg.cost_shape,
        work_dir=str(work_dir),
        **changes,
    )


def search(backbone, hook, work_dir):
    """Two steps of a search through the Runner; returns it and the weights that it began with."""
    init_default_scope('mmaction')
    cfg = Config.fromfile(MODEL_CONFIGS / BACKBONES[backbone])
    supernet = MODELS.build(cfg.model)
    runner = runner_of(cfg, hook, work_dir, supernet, experiment_name=work_dir.name)
    before = supernet if hook['type'] == 'EvolutionSearchHook' else copy.deepcopy(runner.model)
    runner.train()
    return runner, dict(before.named_parameters())


@pytest.mark.parametrize('backbone', BACKBONES)
@pytest.mark.parametrize('method', HOOKS)
def test_a_method_on_a_backbone(method, backbone, tmp_path):
    """Rejects a method that knows one kind of network (names, channels, tubes), a search that leaves the weights as
    they were or breaks them (evolution: one that moves them), and a cost that is not the named architecture's."""
    runner, before = search(backbone, HOOKS[method], tmp_path / f'{method}_{backbone}')
    found = json.loads((tmp_path / f'{method}_{backbone}' / 'search' / 'arch.json').read_text())
    _, searchable = find_searchable(runner.model)
    assert found['space'] == searchable.space.identity and found['arch'] in searchable.space
    backbone_only = searchable.cost(found['arch'], tuple(found['cost']['shape']))
    assert 0 < backbone_only.macs <= found['cost']['macs'] <= 1.05 * backbone_only.macs, 'the head has a few'
    after = dict(runner.model.named_parameters())
    assert all(value.isfinite().all() for value in after.values())
    moved = sum(not torch.equal(after[name], value) for name, value in before.items())
    assert moved == 0 if method == 'evolution' else moved > len(before) / 20, 'of one operator an edge few are run'
