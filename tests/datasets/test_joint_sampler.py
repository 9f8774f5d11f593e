"""Every batch is of one dataset; ranks share it; the steps are those of the schedule wherever one begins."""

import time
from collections import Counter
from itertools import islice

import pytest
from mmengine.config import Config
from mmengine.runner import Runner

from mmnas_video.datasets import (
    JointBatchSampler,
    JointDataset,
    SeededSampler,
    TaskByTaskBatchSampler,
    joint_sampler,
    seeded_sampler,
)
from mmnas_video.errors import ConfigError
from mmnas_video.launch import shortened
from mmnas_video.plan import read_clips, steps_of

from .joint import joint_loader, parts, run, run_config

SIZES = {'image': 37, 'scene': 101, 'motion': 211}
MOTION = {'image': 0.0, 'scene': 0.0, 'motion': 1.0}


class Parts(JointDataset):
    """A joint dataset of which only the lengths are real."""

    def __init__(self, sizes=SIZES):
        self.parts = {task: range(size) for task, size in sizes.items()}
        self.key, self._own_seed = 'train_dataloader.dataset', dict.fromkeys(sizes, True)
        self.seed = 0


@pytest.fixture
def on(monkeypatch):
    """A batch sampler as rank ``rank`` of ``ranks`` makes it."""

    def make(rank=0, ranks=1, size=6, seed=7, kind=JointBatchSampler, sizes=SIZES, shuffle=True, **options):
        for module in (seeded_sampler, joint_sampler):
            monkeypatch.setattr(module, 'get_dist_info', lambda: (rank, ranks))
        return kind(SeededSampler(Parts(sizes), shuffle=shuffle, seed=seed), size, **options)

    return make


def test_ranks_share_the_batches_of_one_schedule(on):
    """Rejects a dataset drawn by each rank for itself, ranks that repeat each other's clips, and p_i that depend on
    the number of ranks: with 1, 2 and 3 ranks a step's clips are the same 6, from the same dataset."""
    one = list(on())
    for ranks in (2, 3):
        each = [list(on(rank, ranks, 6 // ranks)) for rank in range(ranks)]
        assert {len(batches) for batches in each} == {len(one)}
        for step, batch in enumerate(one):
            parts_ = [batches[step] for batches in each]
            assert {len(part) for part in parts_} == {6 // ranks}
            assert sorted(key for part in parts_ for key in part) == sorted(batch)
            assert len({task for part in parts_ for task, _, _ in part}) == 1
    assert len(one) == 37 // 6 + 101 // 6 + 211 // 6


def test_each_pass_is_a_new_order_of_the_whole_set(on):
    """Rejects clips that come twice in a pass, the same order in every pass, and clips that are never drawn because
    the tail which fills no batch is always the same."""
    sampler = on()
    passes = {}
    for epoch in range(40):
        sampler.sampler.set_epoch(epoch)
        for batch in sampler:
            for task, number, index in batch:
                passes.setdefault((task, number), []).append(index)
    full = {key: found for key, found in passes.items() if (key[0], key[1] + 1) in passes}
    for (task, _), found in full.items():
        assert len(found) == len(set(found)) == SIZES[task] // 6 * 6
    images = [found for (task, _), found in sorted(full.items()) if task == 'image']
    assert len(images) > 25 and images[0] != images[1]
    assert {index for found in images for index in found} == set(range(37))


def test_equal_sizes_do_not_make_equal_orders(on):
    """Rejects one order for all datasets of a size."""
    found = {'a': [], 'b': []}
    for batch in on(sizes={'a': 41, 'b': 41}, weights=dict(a=0.5, b=0.5), steps_per_epoch=40):
        for task, number, index in batch:
            found[task] += [index] if number == 0 else []
    assert len(found['a']) == len(found['b']) == 36 and found['a'] != found['b']


def test_shuffle_off_keeps_the_lists_order(on):
    """Rejects a flag that is ignored."""
    motions = [key for batch in on(shuffle=False) for key in batch if key[0] == 'motion']
    assert [index for _, number, index in motions if number == 0] == list(range(len(motions)))[: 35 * 6]


def test_probabilities_are_shares_of_steps(on):
    """Rejects shares of clips: with own batch sizes these are others."""
    sampler = on(batch_sizes=dict(motion=29))
    steps = {'image': 6, 'scene': 16, 'motion': 7}
    assert len(sampler) == 29 and sampler.weights == {task: count / 29 for task, count in steps.items()}
    drawn = Counter()
    for epoch in range(200):
        sampler.sampler.set_epoch(epoch)
        drawn.update(batch[0][0] for batch in sampler)
    chi2 = sum((drawn[task] - 200 * count) ** 2 / (200 * count) for task, count in steps.items())
    assert chi2 < 13.8, chi2  # 0.999 of χ² with 2 degrees of freedom
    assert {len(batch) for batch in sampler} == {6, 29}


@pytest.mark.parametrize('begin', [(0, 0), (0, 13), (1, 57), (3, 228)])
def test_an_epoch_goes_on_at_any_step(on, begin):
    """Rejects an epoch that starts anew, one that is off by a step, and a set_epoch (which MMEngine's hook calls next)
    that takes the position back."""
    epoch, step = begin
    whole = on()
    assert len(whole) == 57
    whole.sampler.set_epoch(epoch)
    resumed = on()
    resumed.go_to(step, epoch)
    resumed.sampler.set_epoch(epoch)
    assert list(resumed) == list(whole)[step - 57 * epoch :]
    resumed.sampler.set_epoch(epoch + 1)
    whole.sampler.set_epoch(epoch + 1)
    assert list(resumed) == list(whole)


def test_at_the_end_of_an_epoch_nothing_is_left_of_it(on):
    """Rejects an epoch that is trained twice, because its checkpoint was written in its last iteration."""
    sampler = on()
    sampler.go_to(57, 0)
    assert list(sampler) == []
    sampler.go_to(57)  # a loop without epochs
    assert len(list(sampler)) == 57
    with pytest.raises(ConfigError, match='resume: found step 58 in epoch 0, expected 0 to 57'):
        sampler.go_to(58, 0)


def test_the_first_epochs_are_of_one_dataset(on):
    """Rejects a phase that counts the dataset's own passes as epochs, and batches that come again when it is over."""
    sampler = on(first=dict(dataset='image', epochs=1.5))
    batches = []
    for epoch in range(3):
        sampler.sampler.set_epoch(epoch)
        batches += list(sampler)
    assert {batch[0][0] for batch in batches[:86]} == {'image'}
    assert {batch[0][0] for batch in batches[86:]} == set(SIZES)
    images = [key for batch in batches for key in batch if key[0] == 'image']
    assert len(set(images)) == len(images)
    assert on(first=dict(dataset='image', steps=11)).schedule.first_steps == 11


@pytest.mark.parametrize(('epochs', 'alone'), [(3, 57), (7, 133)])
def test_a_share_follows_the_length_of_the_training(on, epochs, alone):
    """Rejects a share of an epoch, a first time that a shorter training does not shorten, and one of a length that
    nobody has told: images alone for ever."""
    sampler = on(first=dict(dataset='image', share=1 / 3))
    with pytest.raises(ConfigError, match=r"first\.share: found 0\.33.*dict\(type='JointHook'\)"):
        iter(sampler)
    sampler.of_steps(57 * epochs)
    drawn = [task for task, _ in islice(sampler.schedule.walk(0), 57 * epochs)]
    assert set(drawn[:alone]) == {'image'} and set(drawn[alone : alone + 40]) == set(SIZES)
    on(first=dict(dataset='image', steps=9)).of_steps(7, trains=False)  # an evolution does not look at the batches


@pytest.mark.parametrize('first', [dict(epochs=2), dict(steps=22), dict(share=1), dict(epochs=500 / 3)])
def test_a_first_time_that_leaves_nothing_to_the_others(first, demo_root, tmp_path):
    """Rejects a run of 2 epochs of 11 steps (a long one made shorter) that never trains what is not the first dataset,
    without a word."""
    (unit,) = first
    cfg = run_config(tmp_path, demo_root, first=dict(dataset='image', **first))
    with pytest.raises(
        ConfigError, match=rf'train_dataloader\.batch_sampler\.first\.{unit}: found .* of image alone'
    ) as error:
        Runner.from_cfg(cfg).train()
    assert 'in a training of 22' in str(error.value)
    with pytest.raises(ConfigError, match=rf'first\.{unit}: found'):
        steps_of(cfg, read_clips(cfg), 1)


def test_a_run_tells_its_length(demo_root, tmp_path):
    """Rejects a hook that leaves a share as it is, and one that tells the steps of an epoch."""
    seen, *_ = run(run_config(tmp_path, demo_root, first=dict(dataset='image', share=0.7)))
    assert {seen[step][0] for step in range(15)} == {'image'} and {seen[step][0] for step in range(15, 22)} != {'image'}


def test_step_one_million_starts_at_once(on):
    """Rejects a start that draws, or decodes, all that lies before it."""
    start = time.perf_counter()
    sampler = on(sizes={'in1k': 1_281_167, 'k400': 240_436, 'k600': 392_622, 'ssv2': 168_913}, size=256)
    sampler.go_to(1_000_003)
    batch = next(iter(sampler))
    assert time.perf_counter() - start < 5  # 0.1 s on an idle core
    assert len(batch) == 256 and batch[0][1] > 50


def test_state_is_of_one_schedule(on):
    """Rejects a resume with other weights, clips, batch or seed; the same batch over other ranks is the same."""
    state = on().state_dict()
    on(rank=1, ranks=2, size=3).check_state(state)
    others = [
        (dict(size=5), 'batch'),
        (dict(seed=8), 'seed'),
        (dict(sizes={**SIZES, 'image': 38}), 'clips'),
        (dict(weights=dict(image=0.5, scene=0.25, motion=0.25)), 'weights'),
        (dict(first=dict(dataset='scene', steps=3)), 'first'),
        (dict(steps_per_epoch=50), 'steps_per_epoch'),
    ]
    for options, name in others:
        with pytest.raises(ConfigError, match=f'has {name} = '):
            on(**options).check_state(state)


@pytest.mark.parametrize(
    ('options', 'words'),
    [
        (dict(batch_sizes=dict(video=3)), "batch_sampler.batch_sizes: found the name 'video', expected one of image"),
        (dict(batch_sizes=dict(image=0)), 'batch_sizes.image: found 0'),
        (dict(weights=dict(image=1)), 'batch_sampler.weights: found no weight for scene, motion'),
        (dict(first=dict(dataset='x', epochs=1)), "batch_sampler.first.dataset: found the name 'x'"),
        (dict(first=dict(dataset='image')), 'batch_sampler.first: found'),
        (dict(first=dict(dataset='image', epochs=-1)), 'first.epochs: found -1'),
        (dict(first=dict(dataset='image', share='half')), "first.share: found 'half', expected a number"),
        (dict(first=dict(dataset='image', share=0.5, steps=3)), 'batch_sampler.first: found .*share.*steps'),
        (dict(steps_per_epoch=0), 'steps_per_epoch: found 0'),
        (dict(size=41), r'datasets.image: found 37 clips, expected at least the 41 of a batch on 1 rank'),
    ],
)
def test_wrong_options_are_named(on, options, words):
    """Rejects an option that is misspelt and then ignored, and a dataset that never fills a batch."""
    with pytest.raises(ConfigError, match=words):
        on(**options)


def test_only_over_a_joint_dataset_and_a_seeded_sampler(demo_root):
    """Rejects an AttributeError from the Runner's depths."""
    cfg = joint_loader(demo_root)
    with pytest.raises(ConfigError, match='sampler: found DefaultSampler'):
        Runner.build_dataloader({**cfg, 'sampler': dict(type='DefaultSampler')})
    with pytest.raises(ConfigError, match='dataset: found SeededDataset'):
        Runner.build_dataloader({**cfg, 'dataset': dict(type='SeededDataset', dataset=parts(demo_root)['scene'])})


def test_validation_sees_every_clip_once(on):
    """Rejects batches across datasets, clips that are padded or lost on several ranks, and own sizes ignored."""
    for ranks in (1, 2, 3):
        keys = []
        for rank in range(ranks):
            sampler = on(rank, ranks, 5, kind=TaskByTaskBatchSampler, batch_sizes=dict(scene=11))
            batches = list(sampler)
            assert len(batches) == len(sampler)
            assert all(len({task for task, _, _ in batch}) == 1 for batch in batches)
            assert max(len(batch) for batch in batches) == 11
            keys += [key for batch in batches for key in batch]
        assert sorted(keys) == sorted((task, 0, i) for task, size in SIZES.items() for i in range(size))


def test_a_trial_run_goes_through_every_dataset(demo_root, tmp_path):
    """Rejects a trial of two steps, both of the first phase's dataset: pipelines and heads of the others would fail
    hours later."""
    cfg = run_config(tmp_path, demo_root, first=dict(dataset='image', epochs=1))
    cfg.val_dataloader = {**joint_loader(demo_root), 'batch_sampler': dict(type='TaskByTaskBatchSampler')}
    short = shortened(cfg)
    assert short.train_dataloader.num_batch_per_epoch == 2
    train = Runner.build_dataloader(short.train_dataloader, seed=3)
    assert [batch[0][0] for batch in train.batch_sampler] == ['image', 'scene', 'motion']
    val = Runner.build_dataloader(short.val_dataloader, seed=3)
    assert {batch[0][0] for batch in val.batch_sampler} == {'image', 'scene', 'motion'}
    assert Counter(batch[0][0] for batch in val.batch_sampler).most_common(1)[0][1] == 2


@pytest.mark.parametrize(
    ('options', 'fixed'),
    [
        (dict(steps_per_epoch=1, weights=MOTION, first=dict(dataset='image', epochs=5)), None),
        (dict(weights=MOTION, first=dict(dataset='scene', share=0.37)), None),
        (dict(first=dict(dataset='scene', share=0.37)), 5),
        (dict(first=dict(dataset='scene', epochs=6.97)), 1),
        ({}, 5),
        (dict(weights=MOTION, first=dict(dataset='image', epochs=1.3)), None),
    ],
)
def test_a_plan_has_the_steps_that_are_drawn(demo_root, options, fixed):
    """Seven epochs, each dataset's steps. Rejects a plan that does not know num_batch_per_epoch or steps_per_epoch,
    one that takes a share of an epoch, and one that does not round as the sampler does."""
    loader = joint_loader(demo_root, **options)
    loader |= dict(num_batch_per_epoch=fixed) if fixed else {}
    cfg = Config(dict(train_dataloader=loader, train_cfg=dict(max_epochs=7)))
    planned = steps_of(cfg, read_clips(cfg), 1)
    sampler = Runner.build_dataloader(loader, seed=3).batch_sampler
    sampler.of_steps(7 * len(sampler))
    drawn = sampler.schedule.counts(7 * len(sampler))
    assert {name: round(7 * steps, 6) for name, steps in planned.items()} == drawn


def test_a_plan_refuses_the_ranks_that_the_sampler_refuses(demo_root, on):
    """Rejects a division by zero, and a plan with steps of a dataset that fills no batch."""
    cfg = Config(dict(train_dataloader=joint_loader(demo_root), train_cfg=dict(max_epochs=7)))
    for make in (
        lambda: steps_of(cfg, read_clips(cfg), 4),
        lambda: on(ranks=4, size=5, sizes=dict(image=9, scene=15, motion=28), batch_sizes=dict(image=3, scene=4)),
    ):
        with pytest.raises(ConfigError, match=r'datasets\.image: found 9 clips, expected at least the 12 of a batch'):
            make()
