"""What a long run keeps of its log, and the line that says how far it is."""

import re
from types import SimpleNamespace

import pytest
import torch
from mmengine.hooks import Hook

from mmnas_video.errors import ConfigError
from mmnas_video.visualization import LogWindowHook, ProgressHook, log_window_hook
from tests.search.toy import config, runner

UNIFORM = dict(type='UniformSearchHook', candidates=2, score_batches=1)


def trained(folder, *hooks, **changes):
    """A search of 3 epochs of 6 steps."""
    made = type(runner(UNIFORM)).from_cfg(config(UNIFORM, epochs=3, work_dir=str(folder), **changes))
    for hook in hooks:
        made.register_hook(hook)
    made.train()
    return made


@pytest.mark.parametrize(('keep', 'expected'), [(1, 6), (7, 7), (10000, 18)])
def test_the_last_values_are_kept(keep, expected, tmp_path, monkeypatch):
    """Rejects a buffer that grows by every step of the run, one that is cut within an epoch (its means would be of
    less), one in the checkpoint that is not cut, and a window over everything that loses its beginning."""
    monkeypatch.setattr(log_window_hook, 'EVERY', 2)
    whole = dict(data_src='grad_norm', method_name='mean', window_size='global')
    clipped = dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=0.1), clip_grad=dict(max_norm=9))
    made = trained(
        tmp_path,
        LogWindowHook(keep),
        optim_wrapper=clipped,
        log_processor=dict(type='LogProcessor', custom_cfg=[whole]),
    )
    saved = torch.load(tmp_path / 'epoch_3.pth', weights_only=True)['message_hub']['log_scalars']
    for buffers in (made.message_hub.log_scalars, saved):
        assert len(buffers['train/loss'].data[0]) == expected
        assert len(buffers['train/grad_norm'].data[0]) == 18


@pytest.mark.parametrize('keep', [0, 1.5, 'all', None])
def test_keeping_no_number_of_values_is_refused(keep):
    """Rejects a buffer without a length."""
    with pytest.raises(ConfigError, match=r'LogWindowHook.keep: found .*, expected a whole number from 1'):
        LogWindowHook(keep)


class Losses(Hook):
    """Notes the loss of every step."""

    def __init__(self):
        self.found = []

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        self.found.append(float(outputs['loss']))


def test_the_line_of_an_epoch_has_its_loss(tmp_path, capsys):
    """Rejects the mean over the whole run so far, which falls ever more slowly."""
    losses = Losses()
    trained(tmp_path, losses, ProgressHook('toy'))
    lines = re.findall(r'toy  epoch (\d)/3  (\d+)/18 steps  loss (\S+)', capsys.readouterr().err)
    means = [sum(losses.found[i : i + 6]) / 6 for i in (0, 6, 12)]
    assert lines == [(str(i + 1), str(6 * i + 6), f'{mean:.3f}') for i, mean in enumerate(means)]


def test_the_time_that_is_left_is_told_by_the_steps_of_this_run(monkeypatch, capsys):
    """Resumed after 600 of 703 steps; 13 of them in 26 s leave 90, 180 s. Rejects a speed of the steps that the run
    before has done, and seconds that are told as minutes."""
    run = SimpleNamespace(iter=600, max_iters=703, epoch=6, max_epochs=7, train_dataloader=range(103))
    run.message_hub = SimpleNamespace(log_scalars={})
    times = iter([50.0, 76.0])
    monkeypatch.setattr('time.monotonic', lambda: next(times))
    hook = ProgressHook('toy')
    hook.before_train(run)
    run.iter = 613
    hook.after_train_epoch(run)
    assert '613/703 steps  3:00 left' in capsys.readouterr().err
