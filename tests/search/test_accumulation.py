"""Accumulated gradients: a search whose checkpoints would lose some is refused, any other is not."""

import re

import pytest

from mmnas_video.errors import ConfigError

from .toy import checkpoint, loader, prepared

UNIFORM = dict(type='UniformSearchHook', candidates=2, score_batches=1)
BY_STEPS = dict(train_cfg=dict(by_epoch=False, max_iters=18, val_interval=6))
VALIDATED = dict(val_dataloader=loader(2), val_cfg={}, val_evaluator=dict(type='ToyMetric'))


def started(count, hook=UNIFORM, more=None, **saved):
    """A search of epochs of 6 steps up to its first, that updates after every ``count``."""
    wrapper = dict(type='OptimWrapper', accumulative_counts=count, optimizer=dict(type='SGD', lr=0.1))
    hooks = dict(checkpoint=dict(type='AtomicCheckpointHook', max_keep_ckpts=2, **saved))
    return prepared(hook, optim_wrapper=wrapper, default_hooks=hooks, **(more or {}))


@pytest.mark.parametrize(
    ('count', 'more', 'saved', 'found'),
    [
        (4, {}, dict(interval=1), '4 with epochs of 6 steps'),
        (7, {}, dict(interval=2), '7 with epochs of 6 steps'),
        (3, {}, dict(interval=4, by_epoch=False), '3 with a checkpoint every 4 steps'),
        (4, BY_STEPS, dict(interval=6, by_epoch=False), '4 with a checkpoint every 6 steps'),
        (
            4,
            BY_STEPS,
            dict(interval=8, by_epoch=False, save_begin=2),
            '4 with a checkpoint every 8 steps from save_begin=2 on',
        ),
        (4, {**BY_STEPS, **VALIDATED}, dict(save_best='top1', rule='greater'), '4 with save_best every 6 steps'),
    ],
)
def test_a_checkpoint_between_two_updates_is_refused(count, more, saved, found):
    """Rejects a search whose resume silently is not the undisturbed one: half a gradient would be lost at every end of
    an epoch (SIGTERM, or the search itself, may end it at any), at every so many steps, or with the best so far."""
    message = f'optim_wrapper.accumulative_counts: found {found}, expected a number that divides these'
    with pytest.raises(ConfigError, match=re.escape(message)):
        started(count, more=more, **saved)


@pytest.mark.parametrize(
    ('count', 'hook', 'more', 'saved'),
    [
        (3, UNIFORM, {}, dict(interval=1)),
        (4, UNIFORM, dict(epochs=1), dict(interval=1)),
        (4, UNIFORM, BY_STEPS, dict(interval=12, by_epoch=False)),
        (4, UNIFORM, BY_STEPS, dict(interval=18, by_epoch=False)),
        (4, UNIFORM, {**BY_STEPS, **VALIDATED}, dict(interval=-1)),
        (4, dict(type='EvolutionSearchHook', population=2, top_k=2, checkpoint='SUPERNET'), {}, dict(interval=1)),
    ],
)
def test_any_other_is_not(count, hook, more, saved):
    """The last step of all always updates, a validation saves nothing, and an evolution updates no weights. Rejects a
    check that demands more than a resume needs."""
    started(count, {k: checkpoint() if v == 'SUPERNET' else v for k, v in hook.items()}, more, **saved)
