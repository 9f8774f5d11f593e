"""A joint run that is killed in an epoch goes on as if it had not been, in both of MMEngine's loops."""

import pytest
import torch
from mmengine.registry import init_default_scope

from mmnas_video.datasets import JointDataset
from mmnas_video.errors import ConfigError

from .joint import CLASSES, run, run_config


@pytest.fixture(scope='module')
def whole(demo_root, tmp_path_factory):
    """The run that nothing stops, without workers: (batches, state) by kind of loop."""
    init_default_scope('mmaction')
    first = dict(dataset='image', steps=9)
    return {
        by_epoch: run(run_config(tmp_path_factory.mktemp('whole'), demo_root, by_epoch=by_epoch, first=first))[:2]
        for by_epoch in (True, False)
    }


@pytest.mark.parametrize(
    ('by_epoch', 'workers', 'kill_at'), [(True, 0, 16), (True, 1, 16), (True, 2, 9), (False, 0, 16), (False, 2, 16)]
)
def test_killed_and_resumed_equals_uninterrupted(tmp_path, demo_root, whole, monkeypatch, by_epoch, workers, kill_at):
    """Rejects an epoch that starts anew, an iteration that is left out or done twice at the seam, pixels, masks or
    blendings that depend on what the process did before, and an order that depends on the number of workers.

    The checkpoint is at 14 (of 11 steps an epoch) or 7, two steps before the kill. The batches before the seam are
    compared too: with 1 or 2 workers they are those of the run without.
    """
    batches, state = whole[by_epoch]
    assert len(batches) == 22 and {task for task, *_ in batches.values()} == set(CLASSES)
    options = dict(workers=workers, by_epoch=by_epoch, first=dict(dataset='image', steps=9))
    killed, *_ = run(run_config(tmp_path, demo_root, kill_at=kill_at, **options))
    assert killed == {step: batch for step, batch in batches.items() if step <= kill_at}
    decoded = []
    load = JointDataset.__getitem__
    monkeypatch.setattr(JointDataset, '__getitem__', lambda self, key: decoded.append(key) or load(self, key))
    resumed, end, _ = run(run_config(tmp_path, demo_root, resume=True, **options))
    at = kill_at - 2
    assert resumed == {step: batch for step, batch in batches.items() if step >= at}
    assert [name for name in state if not torch.equal(state[name], end[name])] == []
    if workers == 0 and by_epoch:
        assert len(decoded) == sum(len(names) for _, names, _ in resumed.values())


@pytest.mark.parametrize('hook', ['CheckpointHook', 'AtomicCheckpointHook'])
def test_a_checkpoint_of_the_last_step_of_an_epoch(tmp_path, demo_root, whole, hook):
    """Rejects an epoch that is trained again because its checkpoint was written before it was counted."""
    for kill_at in (12, None):
        cfg = run_config(tmp_path, demo_root, kill_at=kill_at, resume=not kill_at, first=dict(dataset='image', steps=9))
        cfg.default_hooks.checkpoint.update(type=hook, interval=11)
        resumed, end, runner = run(cfg)
    batches, state = whole[True]
    assert resumed == {step: batch for step, batch in batches.items() if step >= 11}
    assert [name for name in state if not torch.equal(state[name], end[name])] == []
    assert runner.epoch == 2


@pytest.mark.parametrize('workers', [0, 1])
def test_iterations_at_step_one_million_start_at_once(tmp_path, demo_root, monkeypatch, workers):
    """Rejects "Advance dataloader", which decodes a million batches: about 9 hours of this toy."""
    run(run_config(tmp_path, demo_root, workers, by_epoch=False, kill_at=7))
    file = tmp_path / 'iter_7.pth'
    checkpoint = torch.load(file, weights_only=True)
    checkpoint['meta']['iter'] = 1_000_003
    torch.save(checkpoint, file)
    cfg = run_config(tmp_path, demo_root, workers, by_epoch=False, kill_at=1_000_005, resume=True)
    cfg.train_cfg.max_iters = 2_000_000
    cfg.load_from = str(file)
    decoded, load = [], JointDataset.__getitem__

    def counted(self, key):
        decoded.append(key)
        assert len(decoded) < 200, 'decodes what lies behind'
        return load(self, key)

    monkeypatch.setattr(JointDataset, '__getitem__', counted)
    seen, _, runner = run(cfg)
    assert sorted(seen) == [1_000_003, 1_000_004, 1_000_005]
    schedule = runner.train_dataloader.batch_sampler.schedule
    assert [task for task, *_ in seen.values()] == [schedule.task(step) for step in sorted(seen)]


def test_other_schedules_are_not_resumed(tmp_path, demo_root):
    """Rejects a resume that goes on with other batches in silence; weights alone may be loaded."""
    run(run_config(tmp_path, demo_root, kill_at=8))
    cfg = run_config(tmp_path, demo_root, resume=True)
    cfg.train_dataloader.batch_sampler.batch_sizes.scene = 5
    with pytest.raises(ConfigError, match='resume: found a checkpoint whose joint schedule has batch = '):
        run(cfg)
    cfg.resume, cfg.load_from, cfg.work_dir = False, str(tmp_path / 'iter_7.pth'), str(tmp_path / 'other')
    cfg.custom_hooks[-1].kill_at = 0
    assert sorted(run(cfg)[0]) == [0]
