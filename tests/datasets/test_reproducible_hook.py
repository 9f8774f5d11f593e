"""A killed and resumed run equals the one that was not, bit for bit; what would spoil that is warned of."""

import copy
import itertools
import multiprocessing
import random
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.model import BaseModel
from mmengine.runner import Runner
from torch import nn

from mmnas_video.datasets import ReproducibleHook, check_drawn_anew, close_runner_workers, reproducible_hook
from mmnas_video.errors import ConfigError
from mmnas_video.registry import HOOKS, MODELS
from tests.conftest import forget_runs


@MODELS.register_module()
class DroppingNet(BaseModel):
    """As small as it can be with dropout, batch statistics and real clips (B × 1 × 3 × T × H × W)."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv3d(3, 5, (3, 7, 7), stride=(1, 5, 5))
        self.norm = nn.BatchNorm3d(5)
        self.head = nn.Linear(5, 4)

    def forward(self, inputs, data_samples, mode):
        x = torch.stack(inputs).float().flatten(0, 1) / 255
        x = self.head(nn.functional.dropout(self.norm(self.conv(x)).relu().mean((2, 3, 4)), 0.5, self.training))
        if mode == 'loss':
            return dict(loss=nn.functional.cross_entropy(x, torch.cat([s.gt_label for s in data_samples])))
        return data_samples


class Kill(BaseException):
    """Nothing catches it."""


@HOOKS.register_module()
class KillHook(Hook):
    """End the run in the middle of an iteration."""

    def __init__(self, at):
        self.at = at

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        if runner.iter == self.at:
            raise Kill


def config(work_dir, video_cfg, by_epoch=True, kill_at=None, resume=False):
    loader = dict(
        dataset=dict(type='SeededDataset', dataset=copy.deepcopy(video_cfg)),
        sampler=dict(type='SeededSampler'),
        collate_fn=dict(type='skip_bad_collate'),
        batch_size=7,  # 4 iterations an epoch
        num_workers=2,
        persistent_workers=True,
    )
    interval = 1 if by_epoch else 4
    loop = dict(max_epochs=3) if by_epoch else dict(max_iters=11)
    hooks = [dict(type='ReproducibleHook'), dict(type='EMAHook'), dict(type='BadSampleHook')]
    if kill_at is not None:
        hooks.append(dict(type='KillHook', at=kill_at))
    return Config(
        dict(
            model=dict(type='DroppingNet'),
            work_dir=str(work_dir),
            train_dataloader=loader,
            val_dataloader={**copy.deepcopy(loader), 'sampler': dict(type='SeededSampler', shuffle=False)},
            train_cfg=dict(by_epoch=by_epoch, val_interval=interval, **loop),
            val_cfg={},
            val_evaluator=dict(type='DumpResults', out_file_path=str(work_dir / 'out.pkl')),
            optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1, momentum=0.9)),
            default_hooks=dict(
                checkpoint=dict(type='CheckpointHook', interval=interval, by_epoch=by_epoch),
                logger=dict(type='LoggerHook', interval=100),
            ),
            custom_hooks=hooks,
            randomness=dict(seed=7),
            resume=resume,
            default_scope='mmaction',
        )
    )


def run(cfg) -> dict:
    """Train; return all tensors that a resume has to reproduce."""
    rubbish = int.from_bytes(random.SystemRandom().randbytes(3), 'big')  # whatever the process did before
    random.seed(rubbish), np.random.seed(rubbish), torch.manual_seed(rubbish)
    forget_runs()  # a run of the same second, also the one that is resumed here, would share its log and its numbers
    runner = Runner.from_cfg(cfg)
    try:
        runner.train()
    finally:
        close_runner_workers(runner)  # a killed run does not get to its end
    state = {f'model.{k}': v.clone() for k, v in runner.model.state_dict().items()}
    momentum = runner.optim_wrapper.optimizer.state_dict()['state']
    return {**state, **{f'momentum.{k}': v['momentum_buffer'].clone() for k, v in momentum.items()}}


@pytest.mark.parametrize('by_epoch, kill_at', [(True, 5), (False, 6)])
def test_killed_and_resumed_equals_uninterrupted(tmp_path, video_cfg, monkeypatch, by_epoch, kill_at):
    """Rejects a hook that does not re-seed, DataLoaders on the global generator, and seeds that workers get
    too late.

    Two persistent workers, validation at every checkpoint, EMA and momentum; killed in the iteration after
    next of a checkpoint (one iteration later with epochs).
    """
    # MMEngine sleeps 2 s whenever an iteration-based loop comes to the end of its data.
    monkeypatch.setattr('mmengine.runner.loops.time', SimpleNamespace(sleep=lambda seconds: None))
    whole = run(config(tmp_path / 'whole', video_cfg, by_epoch))
    with pytest.raises(Kill):
        run(config(tmp_path / 'killed', video_cfg, by_epoch, kill_at))
    resumed = run(config(tmp_path / 'killed', video_cfg, by_epoch, resume=True))
    assert whole.keys() == resumed.keys() and len(whole) > 10
    assert [name for name in whole if not torch.equal(whole[name], resumed[name])] == []


def test_the_seed_matters(tmp_path, video_cfg):
    """Rejects a run that ignores its seed: the equality above would then hold for no reason."""
    results = []
    for seed in (7, 8):
        cfg = config(tmp_path, video_cfg)
        cfg.train_cfg, cfg.randomness = dict(by_epoch=True, max_epochs=1), dict(seed=seed)
        results.append(run(cfg))
    assert not torch.equal(results[0]['model.conv.weight'], results[1]['model.conv.weight'])


@pytest.mark.parametrize('by_epoch, persistent', [(True, True), (False, True), (False, False)])
def test_workers_end_with_the_run(tmp_path, video_cfg, by_epoch, persistent):
    """Rejects workers that outlive their run: the next one in the same process then waits 5 s for each of
    them."""
    cfg = config(tmp_path, video_cfg, by_epoch)
    cfg.train_cfg.update(dict(max_epochs=1) if by_epoch else dict(max_iters=4))
    cfg.train_dataloader.persistent_workers = persistent
    runner = Runner.from_cfg(cfg)
    runner.train()
    assert multiprocessing.active_children() == []


@HOOKS.register_module()
class WatchHook(Hook):
    """Note torch's global generator before and after DataLoaders are iterated."""

    priority = 'LOWEST'

    def __init__(self):
        self.states = {}

    def note(self, name):
        self.states.setdefault(name, torch.get_rng_state())

    def before_train_epoch(self, runner):
        self.note('epoch begins')

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        self.note('first batch is there')

    def before_val_epoch(self, runner):
        self.note('validation begins')

    def after_val_epoch(self, runner, metrics=None):
        self.note('validation ends')


def test_data_loaders_leave_the_global_generator_alone(tmp_path, video_cfg):
    """Rejects DataLoaders without a generator: one validation more would change what is drawn after it."""
    cfg = config(tmp_path, video_cfg)
    cfg.train_cfg = dict(by_epoch=True, max_epochs=1)
    cfg.custom_hooks.append(dict(type='WatchHook'))
    runner = Runner.from_cfg(cfg)
    runner.train()
    states = next(hook for hook in runner.hooks if isinstance(hook, WatchHook)).states
    assert torch.equal(states['epoch begins'], states['first batch is there'])
    assert torch.equal(states['validation begins'], states['validation ends'])


def test_epochs_iterations_and_ranks_draw_apart(monkeypatch):
    """What is drawn first after each seeding. Rejects one seed for all epochs or iterations (every dropout mask comes
    again), one for all ranks, and one for the workers of all loops."""
    loop = SimpleNamespace(dataloader=SimpleNamespace(batch_sampler=SimpleNamespace(resumes_within_epoch=True)))
    hook, drawn, workers = ReproducibleHook(), {}, set()
    loaders = {mode: SimpleNamespace() for mode in ('train', 'val', 'test')}
    monkeypatch.setattr(reproducible_hook, 'loader_of', lambda runner, mode: loaders[mode])
    for _ in range(2):  # the second time the same
        for rank, step in itertools.product((0, 1, 2), repeat=2):
            monkeypatch.setattr(reproducible_hook, 'get_rank', lambda rank=rank: rank)
            runner = SimpleNamespace(seed=7, epoch=step, iter=step, train_loop=loop, _train_loop=loop)
            hook.before_run(runner)
            workers.update(loader.generator.initial_seed() for loader in loaders.values())
            for seed in (hook.before_train_epoch, lambda runner: hook.before_train_iter(runner, 0)):
                seed(runner)
                drawn.setdefault(torch.rand(1, dtype=torch.float64).item(), []).append((rank, step))
    assert len(drawn) == 2 * 3 * 3 and {len(places) for places in drawn.values()} == {2}
    assert len(workers) == 3 * 3


def warnings_of(tmp_path, cfg) -> str:
    cfg.work_dir = str(tmp_path)
    with pytest.raises(Kill):
        run(cfg)
    return next(tmp_path.rglob('*.log')).read_text()


def test_stock_parts_are_warned_of(tmp_path, video_cfg):
    """Rejects a hook that lets a stock sampler, a stock dataset or a missing seed pass in silence."""
    cfg = config(tmp_path, video_cfg, kill_at=0)
    loader = cfg.train_dataloader
    loader.num_workers, loader.persistent_workers = 0, False
    assert 'not be bit for bit' not in warnings_of(tmp_path / 'ours', cfg)
    loader.sampler, loader.dataset = dict(type='DefaultSampler', shuffle=True), loader.dataset.dataset
    cfg.randomness = dict(seed=None)
    log = warnings_of(tmp_path / 'stock', cfg)
    assert log.count('not be bit for bit') == 3
    assert 'DefaultSampler' in log and 'VideoDataset' in log and 'randomness.seed' in log


def test_a_sampler_that_tells_no_epoch_is_refused(tmp_path, video_cfg):
    """Rejects a training that draws each clip alike in all epochs (plain indices are those of epoch 0), a word about
    it that does not say what to write, and validation or a stock dataset refused with it."""
    cfg = config(tmp_path, video_cfg, kill_at=0)
    seeded = cfg.train_dataloader.dataset
    stock = dict(cfg.train_dataloader, num_workers=0, persistent_workers=False, sampler=dict(type='DefaultSampler'))
    joint = dict(type='JointDataset', datasets=dict(one=seeded.dataset))
    wrapped = dict(type='RepeatDataset', times=2, dataset=seeded)
    for loader, words in (
        (stock, r"sampler: found DefaultSampler with a SeededDataset, expected sampler=dict\(_delete_=True, type='S"),
        ({**stock, 'num_batch_per_epoch': 1}, 'sampler: found DefaultSampler'),
        ({**stock, 'sampler': dict(type='InfiniteSampler')}, 'sampler: found InfiniteSampler'),
        ({**stock, 'dataset': joint}, 'sampler: found DefaultSampler with a JointDataset'),
        ({**stock, 'dataset': wrapped}, 'dataset: found a RepeatDataset around a SeededDataset'),
    ):
        with pytest.raises(ConfigError, match=f'^train_dataloader.{words}'):
            check_drawn_anew(Runner.build_dataloader(copy.deepcopy(loader), seed=3))
    for loader in ({**stock, 'sampler': dict(type='SeededSampler')}, {**stock, 'dataset': seeded.dataset}):
        check_drawn_anew(Runner.build_dataloader(copy.deepcopy(loader), seed=3))
    cfg.train_dataloader = stock
    cfg.work_dir = str(tmp_path)
    with pytest.raises(ConfigError, match='found DefaultSampler'):
        run(cfg)
