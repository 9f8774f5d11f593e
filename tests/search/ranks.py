"""Run by test_ranks.py: short searches in one, two and three processes that share every batch.

Imports once and forks: importing torch and MMAction2 takes longer than all of these searches. Each process runs the
whole table in one process group, and writes what each search ended with to a file.
"""

from __future__ import annotations

import json
import math
import os
import signal
import sys
from pathlib import Path

import torch
import torch.distributed as dist
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.registry import init_default_scope
from mmengine.runner import Runner

from mmnas_video import compat
from mmnas_video.errors import ConfigError, RunError
from mmnas_video.launch import build_runner
from mmnas_video.pipeline import run_search
from mmnas_video.registry import DATASETS, HOOKS, MODELS
from mmnas_video.search import SearchHook
from mmnas_video.testing.method import Killed, Killer

from . import rank_layers
from .forked import fork_worlds, join_world
from .test_conflict import settled
from .test_matrix import BACKBONES, MODEL_CONFIGS
from .toy import ToyDataset, checkpoint, config, loader

#: Clips of a batch over all ranks; divisible by all of them.
BATCH, WORLDS = 6, (1, 2, 3)
SGD = dict(type='SGD', lr=0.1, momentum=0.9)
DARTS = dict(type='DARTSSearchHook', score_batches=1, init_std=0.5, arch_optimizer=dict(type='Adam', lr=0.1))
ENTANGLED = dict(type='EntanglementSearchHook', selection='argmax', score_batches=1, init_std=0.5)

#: Name → search hook (None for plain training), and what differs from :func:`toy.config`. All with BatchNorm, synced,
#: but where it says otherwise.
CASES = {
    'plain training': (None, dict(arch=dict(scale=2.0, width=3))),
    'PARSEC': (dict(type='PARSECSearchHook', num_archs=3), {}),
    'PARSEC alternating, accumulated': (
        dict(type='PARSECSearchHook', num_archs=2, mode='alternating'),
        dict(optim_wrapper=dict(accumulative_counts=2), epochs=1),  # of 5 steps: the last updates by itself
    ),
    'PARSEC by accuracy': (dict(type='PARSECSearchHook', num_archs=3, indicator=dict(type='VideoAccuracy')), {}),
    'DARTS': (DARTS, dict(optim_wrapper=dict(clip_grad=dict(max_norm=0.3)))),
    'DARTS of second order': (dict(DARTS, order=2, budget=dict(macs=40)), dict(optim_wrapper=dict(optimizer=SGD))),
    'perturbation': (dict(DARTS, selection='perturbation', tune_iters=2), {}),
    'entanglement': (dict(ENTANGLED, distribution_gap=0.7), dict(local_weights=dict(groups=2, names='weight'))),
    'entanglement, sampled': (dict(ENTANGLED, arch_mode='sampled', sampling='alpha'), {}),
    'uniform': (dict(type='UniformSearchHook', num_archs=2, candidates=4, score_batches=1), {}),
    'conflict-aware': (
        dict(type='ConflictAwareSearchHook', candidates=4, score_batches=1),
        dict(settled=True, norm=False, sync_bn=None),  # not settled, no gradients would be in conflict
    ),
    'conflict-aware, synced': (
        dict(type='ConflictAwareSearchHook', candidates=4, score_batches=1),
        dict(settled=True),
    ),
    'stages': (
        dict(type='PARSECSearchHook', num_archs=3),
        dict(stages=[dict(name='scale', opens=['scale'], fixes={'width': 3}), dict(name='width', opens=['width'])]),
    ),
    'PARSEC on SuperMBConv3D': (dict(type='PARSECSearchHook', num_archs=2), dict(backbone='SuperMBConv3D')),
    'DARTS of second order on SuperP3D': (
        dict(DARTS, order=2),
        dict(
            backbone='SuperP3D',
            smaller=dict(backbone=dict(nodes=2), cls_head=dict(in_channels=16)),
            optim_wrapper=dict(optimizer=SGD, clip_grad=dict(max_norm=0.5)),
        ),
    ),
    # --- not the same on other numbers of ranks by design
    'statistics of each rank': (dict(type='PARSECSearchHook', num_archs=3), dict(sync_bn=None)),
    'own architectures': (
        dict(
            type='PARSECSearchHook',
            num_archs=6,
            rank_archs='own',
            indicator=dict(type='Likelihood', reduction='mean'),
            arch_dataloader=dict(batch_size=2, num_workers=0, dataset=dict(type='OneClip', size=12, seed=1)),
        ),
        dict(norm=False, sync_bn=None, alike=True, optim_wrapper=dict(accumulative_counts=2)),
    ),
    'own architectures, alternating': (
        dict(type='PARSECSearchHook', num_archs=6, rank_archs='own', mode='alternating', freeze_unsampled=True),
        dict(norm=False, sync_bn=None),
    ),
    'own architectures, a bad loss on rank 1': (
        dict(type='PARSECSearchHook', num_archs=6, rank_archs='own', mode='alternating'),
        dict(norm=False, sync_bn=None, corrupt='clips', epochs=1),
    ),
    'one architecture, a bad loss on rank 1': (
        dict(type='PARSECSearchHook', num_archs=6, mode='alternating'),
        dict(norm=False, sync_bn=None, corrupt='clips', epochs=1),
    ),
    'own architectures, synced': (dict(type='PARSECSearchHook', num_archs=6, rank_archs='own'), {}),
    'DARTS, exact': (dict(DARTS, order=2, hessian='exact', virtual_lr=0.05), dict(norm=False, sync_bn=None)),
    'DARTS, exact and synced': (dict(DARTS, order=2, hessian='exact', virtual_lr=0.05), {}),
    'too few own architectures': (dict(type='PARSECSearchHook', num_archs=2, rank_archs='own'), dict(sync_bn=None)),
    'another alpha on rank 1': (dict(type='PARSECSearchHook', num_archs=3), dict(corrupt='alpha')),
    'other draws on rank 1': (dict(type='UniformSearchHook', candidates=2, score_batches=1), dict(corrupt='rng')),
}
#: Evolution has the same config on any number of ranks: its clips do not come in one batch per rank.
EVOLUTION = dict(type='EvolutionSearchHook', population=5, top_k=2, eval_batches=3, calibration_clips=10)


@MODELS.register_module()
class DoubleRecognizer(MODELS.get('mmaction.Recognizer3D')):
    """A stock recognizer in float64."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.double()

    def extract_feat(self, inputs, **kwargs):
        return super().extract_feat(inputs.double(), **kwargs)


@DATASETS.register_module()
class OneClip(ToyDataset):
    """The same clip everywhere, or (``repeat``) every clip so often in a row: all ranks see the same."""

    def __init__(self, size, seed, repeat=0):
        super().__init__(size, seed)
        self.repeat = repeat

    def __len__(self):
        return super().__len__() * max(self.repeat, 1)

    def __getitem__(self, item):
        epoch, index = item
        return super().__getitem__((epoch, index // self.repeat if self.repeat else 0))


@HOOKS.register_module()
class Watch(Hook):
    """Notes forward passes and statistics; spoils the state of rank 1 after the first epoch, or the clips of its third
    batch, if it is to."""

    priority = 'LOW'  # before checkpoints are written

    def __init__(self, corrupt=None):
        self.corrupt, self.forwards, self.means = corrupt, [], []

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        self.before = getattr(backbone_of(runner), 'forwards', 0)
        if self.corrupt == 'clips' and runner.iter == 2 and dist.get_rank() == 1:
            data_batch['inputs'] = [clip * math.nan for clip in data_batch['inputs']]

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        self.forwards.append(getattr(backbone_of(runner), 'forwards', 0) - self.before)

    def after_train_epoch(self, runner):
        norm = getattr(backbone_of(runner), 'norm', None)
        self.means.append(norm.running_mean.clone() if hasattr(norm, 'running_mean') else None)
        if self.corrupt and runner.epoch == 1 and dist.get_rank() == 1:
            hook = next(hook for hook in runner.hooks if isinstance(hook, SearchHook))
            if self.corrupt == 'alpha':
                hook.distribution.alpha.data[1, 2] += 1e-3
            else:
                hook.rng.random()


def backbone_of(runner: Runner):
    return getattr(runner.model, 'module', runner.model).backbone


def make(name: str, folder: Path, ranks: int) -> Config:
    """The config of one case on so many ranks."""
    hook, options = CASES[name]
    options = {'norm': True, 'sync_bn': 'torch', **options}
    batch = BATCH // ranks
    held_out = loader(1, batch, sampler=False)
    backbone = dict(type='ToyBackbone', norm=options['norm'], arch=options.get('arch'))
    if 'local_weights' in options:
        backbone['local_weights'] = options['local_weights']
    changes = dict(model=dict(type='ToyRecognizer', backbone=backbone), train_dataloader=loader(0, batch))
    if options.get('alike'):
        data = dict(type='OneClip', size=12, seed=0, repeat=ranks)
        changes['train_dataloader'] = dict(
            batch_size=3, num_workers=0, sampler=dict(type='SeededSampler', shuffle=False), dataset=data
        )
    if 'backbone' in options:
        base = Config.fromfile(MODEL_CONFIGS / BACKBONES[options['backbone']])
        clips = dict(type='NoiseClips', shape=base.cost_shape, size=6)
        held_out = dict(batch_size=batch, num_workers=0, dataset=dict(clips, seed=1))
        train = dict(batch_size=batch, num_workers=0, sampler=dict(type='SeededSampler'), dataset=clips)
        base.merge_from_dict(dict(model=options.get('smaller', {})))
        model = dict(base.model, type='DoubleRecognizer')
        changes = dict(model=model, train_dataloader=train, cost_shape=base.cost_shape)
    hook = hook and {'arch_dataloader': held_out, 'calibration_clips': 0, **hook}
    if hook and 'score_batches' in hook:
        hook['score_batches'] *= ranks  # as many clips
    epochs = options.get('epochs', 1 if 'backbone' in options else 2)
    cfg = config(hook or {}, epochs, str(folder), **changes)
    cfg.custom_hooks = [*([hook] if hook else []), dict(type='Watch', corrupt=options.get('corrupt'))]
    cfg.merge_from_dict({'optim_wrapper': options.get('optim_wrapper', {}), 'sync_bn': options['sync_bn']})
    if 'stages' in options:
        cfg.stages = options['stages']
    cfg.launcher = 'pytorch' if ranks > 1 else 'none'
    cfg.experiment_name = folder.name
    return cfg


def run(name: str, folder: Path, ranks: int, weights: dict) -> dict:
    """What a case ends with on this rank."""
    cfg = make(name, folder, ranks)
    if cfg.get('stages'):
        found = run_search(cfg)
        weights = torch.load(folder / '2_width/weights.pth', weights_only=True)['state_dict']
        kept = ('arch', 'chosen', 'space', 'entropy')
        return {'weights': weights, 'stages': [{key: stage[key] for key in kept} for stage in found['stages']]}
    runner = build_runner(cfg)
    bare = getattr(runner.model, 'module', runner.model)
    if CASES[name][1].get('settled'):
        bare.load_state_dict(weights[CASES[name][1].get('norm', True)])
    runner.train()
    end = {'weights': {key: value.clone() for key, value in bare.state_dict().items()}}
    watch = next(hook for hook in runner.hooks if isinstance(hook, Watch))
    end |= {'forwards': watch.forwards, 'own mean': watch.means[-1]}
    search = next((hook for hook in runner.hooks if isinstance(hook, SearchHook)), None)
    if search:
        end |= {'arch': dict(search.chosen), 'dropped': search.finite.dropped}
        end['alpha'] = getattr(search, 'distribution', None) and search.distribution.alpha.detach().clone()
    if search and search.record:
        lines = map(json.loads, (folder / 'search/history.jsonl').read_text().splitlines())
        end['lines'] = [line for line in lines if line['kind'] == 'dropped']
    if name == 'statistics of each rank':
        end['saved'] = torch.load(folder / 'epoch_2.pth', weights_only=True)['state_dict']
    return end


def evolve(folder: Path, ranks: int) -> dict:
    """An evolution; its whole history, and the candidates that this rank has scored."""
    hook = dict(EVOLUTION, checkpoint=str(folder.parent / 'supernet.pth'))
    cfg = config(hook, epochs=3, work_dir=str(folder), train_dataloader=dict(loader(0), num_batch_per_epoch=1))
    cfg.launcher = 'pytorch' if ranks > 1 else 'none'
    cfg.experiment_name = folder.name
    runner = build_runner(cfg)
    search = next(hook for hook in runner.hooks if isinstance(hook, SearchHook))
    scored, inherited = [], search.inherited
    search.inherited = lambda arch: (scored.append(dict(arch)), inherited(arch))[1]
    runner.train()
    history = (folder / 'search/history.jsonl').read_text()
    return {'history': history, 'scored': scored, 'arch': dict(search.chosen)}


class Told(Hook):
    """Sends SIGTERM to the second rank after so many steps."""

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        if runner.iter + 1 == 8 and dist.get_rank() == 1:
            os.kill(os.getpid(), signal.SIGTERM)


def preempt(folder: Path, ranks: int) -> dict:
    """This rank's running means at the end of each epoch of a search, undisturbed, and of one that was told to end
    after 3 of 5 steps of its second epoch and has gone on, and the steps that it then had done; each rank has its own
    statistics. Then the same of one with a checkpoint every three steps that was killed after 8, and of one that leaves
    a checkpoint after every step."""
    means = {}
    stops = {'told': Told(), 'killed': Killer(8)}
    for name, work_dir in (
        ('whole', 'whole'),
        ('told', 'told'),
        ('resumed', 'told'),
        ('by steps', 'steps'),
        ('killed', 'killed'),
        ('gone on', 'killed'),
        ('timed', 'timed'),
    ):
        cfg = make('statistics of each rank', folder / work_dir, ranks)
        cfg.experiment_name, cfg.resume = f'{folder.name}-{name}', name in ('resumed', 'gone on')
        if work_dir in ('steps', 'killed'):
            cfg.default_hooks.checkpoint.update(by_epoch=False, interval=3)
        if name == 'timed':
            cfg.default_hooks.checkpoint.update(max_minutes=0)
        runner = build_runner(cfg)
        if name in stops:
            runner.register_hook(stops[name])
        try:
            runner.train()
        except SystemExit as end:
            assert name == 'told' and end.code == 143
            means['steps'] = runner.iter + 1
        except Killed:
            assert name == 'killed'
        means[name] = next(hook for hook in runner.hooks if isinstance(hook, Watch)).means
    return means


def rank_main(folder: Path, rank: int, ranks: int) -> None:
    """Everything, on one rank."""
    init_default_scope('mmaction')
    weights = {norm: settled(norm) for norm in (False, True)}  # before there are other ranks: of the whole data
    join_world(folder, rank, ranks)
    found = {'layers': rank_layers.run()} if ranks > 1 else {}
    own = [name for name, (_, options) in CASES.items() if ranks > 1 or 'corrupt' not in options]
    for number, name in enumerate([*own, 'evolution']):
        work_dir = folder / f'{number}-{ranks}'
        try:
            found[name] = evolve(work_dir, ranks) if name == 'evolution' else run(name, work_dir, ranks, weights)
        except (ConfigError, RunError) as error:
            found[name] = {'error': f'{type(error).__name__}: {error}'}
    if ranks == 2:
        found['within_epoch'] = preempt(folder / 'within_epoch', ranks)
    torch.save(found, folder / f'{ranks}-{rank}.pt')
    if ranks > 1:
        dist.destroy_process_group()


if __name__ == '__main__':
    torch.set_num_threads(1)
    torch.set_default_dtype(torch.float64)
    compat.apply()
    os.replace(checkpoint(), Path(sys.argv[1]) / 'supernet.pth')
    sys.exit(fork_worlds(rank_main, Path(sys.argv[1]), WORLDS) != [{0}] * len(WORLDS))
