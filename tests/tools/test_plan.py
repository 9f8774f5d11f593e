"""tools/plan.py: what runs of published configs cost, against counts by hand."""

import json
import random

import pytest
import torch
from mmengine.config import Config
from mmengine.hooks import EMAHook, LoggerHook
from mmengine.registry import init_default_scope
from mmengine.runner import Runner

from mmnas_video.cost import counter
from mmnas_video.cost.counter import meta_twin
from mmnas_video.launch import load_config
from mmnas_video.plan import Networks, Plan, read_clips, steps_of
from mmnas_video.search import SearchHook, Work, build_hook, search_hook_of
from mmnas_video.search.sandwich import Sandwich
from tools.plan import timed

from ..search.toy import config, loader

#: Config, GPUs, and (epochs, steps an epoch, training clips a step).
PUBLISHED = [
    ('autox3d/s_k200.py', 64, (600, 64_000 // 512, 512)),
    ('autox3d/s_k200_train.py', 64, (300, 80_000 // 512, 512)),
    ('tsnet/progressive_k100.py', 64, (800, 48_000 // 512, 512)),
    ('vimnas/tiny_joint.py', 8, (500, 7_322, 256)),
    ('vimnas/base_joint.py', 4, (500, 14_645, 128)),
    *((f'vimnas/{size}_evolution.py', 8, (20, 1, 256)) for size in ('tiny', 'small', 'base', 'large')),
]


@pytest.fixture(autouse=True)
def in_mmaction():
    init_default_scope('mmaction')


@pytest.mark.parametrize(('name', 'gpus', 'expected'), PUBLISHED)
def test_steps_of_published_configs(name, gpus, expected):
    """The numbers that stand in the configs. Rejects held-out clips that train the weights, a batch of one GPU, a last
    batch that is not full, (joint) passes that are not each dataset's own, and several generations an epoch."""
    cfg = load_config(f'configs/{name}')
    data = read_clips(cfg)
    steps = sum(steps_of(cfg, data, gpus).values())
    assert (cfg.train_cfg.max_epochs, round(steps), data[0].batch * gpus) == expected


def test_steps_of_each_dataset_of_a_joint_run():
    """4,504 + 845 + 1,380 + 593 steps an epoch, images alone in the first third. Rejects shares of a run in which no
    dataset comes first (the others are videos, whose steps cost more), and a trial of fewer steps than datasets."""
    cfg = load_config('configs/vimnas/tiny_joint.py')
    data = read_clips(cfg)
    passes = dict(in1k=4504, k400=845, k600=1380, ssv2=593)
    expected = {name: 2 / 3 * steps + (name == 'in1k') * 7322 / 3 for name, steps in passes.items()}
    assert steps_of(cfg, data, 8) == pytest.approx(expected, rel=1e-6)
    for fixed, steps in ((1, 1.0), (5, 5 / 4)):
        cfg.train_dataloader.num_batch_per_epoch = fixed
        assert steps_of(cfg, data, 8) == dict.fromkeys(passes, steps)


def toy_plan(hook: dict | None, ranks: int = 1, **changes) -> dict:
    """Of the toy search: 30 clips, 5 a batch, 2 epochs; the plan needs a list, so the data is said to have one."""
    cfg = config(hook or {}, **changes)
    cfg.custom_hooks = [cfg.custom_hooks[0]] if hook else []
    cfg.train_dataloader.dataset = dict(
        type='SeededDataset', dataset=dict(ann_file='toy.txt', pipeline=[dict(type='SampleFrames', clip_len=8)])
    )
    cfg.train_dataloader.dataset.held_out = dict(fraction=0.25, part='train')
    cfg.train_dataloader.drop_last = True
    return Plan(cfg, {'toy.txt': 40}).on(ranks)


MEAN = sum(7 * width + 15 for width in (2, 3, 5)) / 3
LARGEST, SMALLEST = 7 * 5 + 15, 7 * 2 + 15
HOOKS = {
    'PARSEC': (dict(type='PARSECSearchHook', num_archs=3), 12 * 5 * (3 * 3 + 3) * MEAN),
    'PARSEC alternating': (
        dict(type='PARSECSearchHook', num_archs=3, mode='alternating', warmup_epochs=1),
        (12 * 5 * 3 + 6 * 5) * MEAN,
    ),
    'DARTS': (dict(type='DARTSSearchHook', score_batches=2), (12 * 5 * (3 + 3) + 2 * 2 * 5) * LARGEST),
    'DARTS 2': (
        dict(type='DARTSSearchHook', order=2, score_batches=2),
        (12 * 5 * (3 + 3 * 3 + 3) + 2 * 2 * 5) * LARGEST,
    ),
    'uniform': (
        dict(type='UniformSearchHook', num_archs=2, candidates=7, score_batches=3),
        (12 * 5 * 6 + 21 * 5) * MEAN,
    ),
    'conflict-aware': (
        dict(type='ConflictAwareSearchHook', num_archs=2, candidates=7, score_batches=3),
        12 * 5 * 3 * (2 * MEAN + LARGEST + SMALLEST) + 21 * 5 * MEAN,
    ),
    'evolution': (dict(type='EvolutionSearchHook', population=11, top_k=2, eval_batches=3), 12 * 11 * 3 * 5 * MEAN),
    'training': (None, 12 * 5 * 3 * MEAN),
}


@pytest.mark.parametrize('method', HOOKS)
def test_work_of_each_method_by_hand(method):
    """12 steps of 5 clips. Rejects forward passes counted as training ones, held-out passes before the architecture is
    learned, a second order that costs as the first, scores of candidates that are forgotten, clips and frames of the
    training alone, and multiply-adds of a held-out clip taken for those of a training clip."""
    hook, expected = HOOKS[method]
    found = toy_plan(hook)
    assert found['steps'] == 12 and found['clips'] == 60
    assert found['decoded_frames'] == 8 * (60 + found['held_out_clips'])
    # Of an evolution every generation sees the same.
    held = {'PARSEC': 12, 'PARSEC alternating': 6, 'DARTS': 12, 'DARTS 2': 12, 'evolution': 3}.get(method, 0)
    assert found['held_out_clips'] == 5 * held
    assert found['kept_frames'] == (8 * 15 if method == 'evolution' else 0)
    assert found['reference_macs'] == pytest.approx(LARGEST if 'DARTS' in method else MEAN, rel=0.06)
    assert found['gradient_bytes'] == (0 if method == 'evolution' else 4 * found['params'])
    # A mixed network is counted; what is sampled is a mean over some draws.
    assert found['rank_macs'] == pytest.approx(expected, rel=1e-9 if 'DARTS' in method else 0.06)


def test_held_out_batches_and_views_are_those_of_the_search():
    """Rejects held-out batches of the training's size, and a candidate that is scored on one view of each video."""
    given = dict(type='PARSECSearchHook', num_archs=3, arch_dataloader=dict(batch_size=7))
    assert toy_plan(given)['held_out_clips'] == 12 * 7
    hook, expected = HOOKS['evolution']
    views = dict(hook, indicator=dict(type='VideoAccuracy', num_clips=3))
    assert toy_plan(views)['rank_macs'] == pytest.approx(3 * expected, rel=0.06)


def test_the_priority_of_a_hook_costs_nothing():
    """Rejects a TypeError for what every Runner takes."""
    hook = HOOKS['uniform'][0]
    assert toy_plan(dict(hook, priority='LOW')) == toy_plan(hook)


def test_layers_that_are_computed_twice_cost_twice():
    """Rejects a plan of VIM-NAS Base and Large, whose layers are computed again in the backward pass, that forgets
    this."""
    plans = [
        Plan(load_config('configs/autox3d/x3d_s.py', {'model.backbone.with_cp': cp})).on(32)['rank_macs']
        for cp in (False, True)
    ]
    assert plans[1] == pytest.approx(4 / 3 * plans[0])


def test_the_mean_is_of_the_space_and_the_target_of_the_budget():
    """Rejects a mean over the ends of the space, a search whose networks cost at its end what they did at first, one
    that costs more than its largest network, and a stage after it that goes on from its cheapest."""
    cfg = config(dict(type='PARSECSearchHook', num_archs=2, budget=dict(macs=30)))
    networks = Plan(_listed(cfg), {'toy.txt': 40}).networks
    drawn = [7 * arch['width'] + 15 for arch in networks._drawn]
    assert networks.macs('sampled', (7,)) == pytest.approx(sum(drawn) / len(drawn))
    assert networks.macs('searched', (7,)) == pytest.approx((sum(drawn) / len(drawn) + 30) / 2)
    assert networks.macs('largest', (7,)) == LARGEST and networks.macs('smallest', (7,)) == SMALLEST
    assert networks.nearest(41, (7,))['width'] == 3  # 36, beside 29 and 50
    cfg.custom_hooks[0].budget.macs = 70
    assert Plan(cfg, {'toy.txt': 40}).networks.macs('target', (7,)) == LARGEST


def test_the_ends_of_a_sandwich_are_those_that_are_trained():
    """Against the networks that a search draws, 2,000 times. Rejects a smallest network with all strides of its tubes
    at their least (in VIM-NAS-S a hundred times the work of what is trained), and a largest with the fewest tokens."""
    cfg = load_config('configs/demo/vimnas_joint.py')
    networks, shape, rng = Networks(cfg), tuple(cfg.cost_shape), random.Random(3)
    sandwich = Sandwich(networks.part)
    drawn = [sandwich.draw(rng, 0) for _ in range(2000)]
    for end, archs in zip(('largest', 'smallest'), zip(*drawn, strict=True), strict=True):
        trained = sum(networks._cost(arch, shape) for arch in archs) / len(archs)
        assert networks.macs(end, shape) == pytest.approx(trained, rel=0.1), end


def test_mixtures_are_counted_on_one_copy_of_the_network(monkeypatch):
    """Twelve mixtures, whose mean is that of each counted by itself. Rejects a copy of the network for each, which of a
    large one is a fifth of a plan's time, and a sum for the mean."""
    cfg, copies = load_config('configs/demo/vimnas_joint.py'), []
    networks, shape = Networks(cfg, build_hook(search_hook_of(cfg))), tuple(cfg.cost_shape)
    alone = [networks._count([mixture], shape) for mixture in networks._mixtures]
    rest = networks._cost(networks.space.largest, shape) - networks.part.cost(networks.space.largest, shape).macs
    monkeypatch.setattr(counter, 'meta_twin', lambda *args: copies.append(args) or meta_twin(*args))
    assert networks.macs('mixed', shape) == pytest.approx(rest + sum(alone) / 12, rel=1e-12)
    assert len(alone) == 12 and len(set(alone)) > 1 and len(copies) == 1


def _listed(cfg: Config) -> Config:
    cfg.train_dataloader.dataset = dict(type='SeededDataset', dataset=dict(ann_file='toy.txt', pipeline=[]))
    return cfg


@pytest.mark.parametrize('name', ['uniform', 'DARTS'])
def test_ranks_share_what_can_be_shared(name):
    """Rejects candidates that every rank scores, and training steps that do not get fewer."""
    hook = HOOKS[name][0]
    one, four = toy_plan(hook), toy_plan(hook, 3)
    assert one['steps'] == 12 and four['steps'] == 4
    assert one['held_out_clips'] == four['held_out_clips'] and one['decoded_frames'] == four['decoded_frames']
    assert 0.9 < four['rank_macs'] * 3 / one['rank_macs'] <= 1.0


def test_candidates_of_a_generation_are_dealt_out():
    """A generation is one step on any number of ranks. Rejects an evolution whose every rank scores them all."""
    changes = dict(train_dataloader=dict(loader(0), num_batch_per_epoch=1))
    one, three = (toy_plan(HOOKS['evolution'][0], ranks, **changes) for ranks in (1, 3))
    assert one['steps'] == three['steps'] == 2
    assert three['rank_macs'] == pytest.approx(one['rank_macs'] / 3)


def test_what_is_kept_is_decoded_once_on_each_machine():
    """2 generations, each on the same 3 held-out batches of 5 clips, and a training batch of which nothing is used.
    Rejects held-out clips that are decoded anew in each generation and on each rank, and machines that share them."""
    changes = dict(train_dataloader=dict(loader(0), num_batch_per_epoch=1))
    found = toy_plan(HOOKS['evolution'][0], 3, **changes)
    assert (found['held_out_clips'], found['decoded_frames']) == (15, 8 * (15 + 2 * 3 * 5))
    for node, frames in ((1, 8 * (15 + 2 * 5)), (3, 8 * (15 + 2 * 3 * 5)), (8, 8 * (15 + 2 * 3 * 5))):
        assert timed(found, found['rank_macs'], node, 1.0)['node_frames_per_second'] == pytest.approx(frames)


def test_a_joint_candidate_is_scored_on_every_dataset():
    """6 generations of 20 candidates, each on 2 batches of three sets, one of images. Rejects a plan of the step's own
    dataset alone, which in the first epochs is the images, and one of negative work."""
    known = {'image/meta/train.txt': 960, 'scene/train.txt': 480, 'motion/train.txt': 800}
    plan = Plan(load_config('configs/demo/vimnas_evolution.py'), known)
    image, scene, motion = (plan.networks.macs('sampled', part.shape) for part in plan.data)
    assert image < scene == motion and plan.on(4)['steps'] == 6
    assert plan.on(4)['rank_macs'] == pytest.approx(6 * 20 * 2 * 16 / 4 * (image + scene + motion))


def clips_of(step: dict, **options):
    cfg = _listed(config({}))
    cfg.custom_hooks = []
    cfg.train_dataloader.dataset.dataset.update(pipeline=[dict(type='DecordInit'), step], **options)
    return cfg, lambda: read_clips(cfg, {'toy.txt': 40})[0]


@pytest.mark.parametrize(
    ('step', 'frames'),
    [
        (dict(type='SampleFrames', clip_len=13, num_clips=3), 39),
        (dict(type='UniformSample', clip_len=17), 17),
        (dict(type='SegmentSampleFrames', num_segments=5, frames_per_segment=3), 15),
        (dict(type='mmaction.SegmentSampleFrames'), 8),
        (dict(type='LoadImageFromFile'), 0),
    ],
)
def test_frames_are_those_that_the_pipeline_samples(step, frames):
    """Rejects a plan that knows SampleFrames alone: nothing is decoded then, and a joint video is an image."""
    cfg, read = clips_of(step)
    assert read().frames == frames
    cfg.train_dataloader.dataset = dict(type='JointDataset', datasets=dict(one=cfg.train_dataloader.dataset))
    cfg.cost_shape = (3, 99, 32, 32)
    assert read().shape == (3, frames or 1, 32, 32)


def test_a_repeated_list_is_as_many_times_as_long():
    """Rejects steps of one pass of a RepeatDataset, and clips that are held out within it trained on."""
    cfg, read = clips_of(dict(type='SampleFrames', clip_len=8))
    cfg.train_dataloader.dataset.held_out = dict(fraction=0.25, part='train')
    cfg.train_dataloader.dataset = dict(type='RepeatDataset', times=7, dataset=cfg.train_dataloader.dataset)
    found = read()
    assert (found.listed, found.train, found.held_out) == (40, 7 * 30, 10)
    assert steps_of(cfg, [found], 2) == {'': 7 * 30 / 2 / 5}
    assert steps_of(cfg, [found], 4) == {'': 11}  # of 53 clips of a rank
    cfg.train_dataloader.drop_last = True
    assert steps_of(cfg, [found], 4) == {'': 10}


def test_a_list_that_is_there_is_counted(tmp_path):
    """Rejects the published size of a list that somebody has shortened, blank lines that are clips, a name with one of
    Unicode's line ends that is two, and a list that is counted where its size is given."""
    folder, name = tmp_path / 'kinetics400', 'mini200_train.txt'
    cfg, _ = clips_of(dict(type='SampleFrames', clip_len=8), data_root=str(folder), ann_file=name)
    assert read_clips(cfg)[0].listed == 80_000
    folder.mkdir()
    (folder / name).write_text('a.mp4 0\n\nb\u2028b.mp4 1\nc.mp4 1\n \n', encoding='utf-8')
    assert [(part.listed, part.source) for part in read_clips(cfg)] == [(3, 'counted')]
    assert [(part.listed, part.source) for part in read_clips(cfg, {name: 7})] == [(7, 'given')]


def test_joined_lists_are_counted_together():
    """Rejects a ConcatDataset, whose datasets have no names, that ends in a traceback, and a part of it left out."""
    cfg, read = clips_of(dict(type='SampleFrames', clip_len=8))
    one = cfg.train_dataloader.dataset
    held = dict(type='SeededDataset', dataset=one.dataset, held_out=dict(fraction=0.25, part='train'))
    cfg.train_dataloader.dataset = dict(type='ConcatDataset', datasets=[one, held])
    found = read()
    assert (found.name, found.listed, found.train, found.held_out) == ('', 80, 70, 10)


@pytest.mark.parametrize('listed', [False, True])
def test_what_a_dataset_holds_out_is_as_joint_dataset_reads_it(listed):
    """Rejects a dataset's own entries in the place of all common ones (an error: no part), a share of its own where
    nothing is split, and a list of named datasets that ends in a traceback."""
    cfg, _ = clips_of(dict(type='SampleFrames', clip_len=8))
    one = cfg.train_dataloader.dataset
    parts = dict(a=one, b=dict(one, held_out=dict(fraction=0.5)), c=dict(one, held_out=dict(seed=3)))
    if listed:
        parts = [dict(name=name, **part) for name, part in parts.items()]
    cfg.train_dataloader.dataset = dict(type='JointDataset', datasets=parts)
    assert [(part.name, part.train, part.held_out) for part in read_clips(cfg, {'toy.txt': 40})] == [
        ('a', 40, 0),
        ('b', 40, 0),
        ('c', 40, 0),
    ]
    cfg.train_dataloader.dataset.held_out = dict(fraction=0.25, part='train')
    assert [(part.name, part.held_out) for part in read_clips(cfg, {'toy.txt': 40})] == [
        ('a', 10),
        ('b', 20),
        ('c', 10),
    ]


def test_checkpoint_size_is_that_of_the_file(tmp_path):
    """A tiny search's real checkpoint. Rejects a plan that forgets the optimiser's moments or the buffers."""
    hook = dict(type='PARSECSearchHook', num_archs=2)
    cfg = config(hook, 1, str(tmp_path), optim_wrapper=dict(optimizer=dict(type='Adam', lr=0.1)))
    Runner.from_cfg(cfg).train()
    saved = torch.load(tmp_path / 'epoch_1.pth', weights_only=True)

    def size(value):
        if isinstance(value, torch.Tensor):
            return value.numel() * value.element_size()
        return (
            sum(map(size, value.values() if isinstance(value, dict) else value))
            if isinstance(value, (dict, list))
            else 0
        )

    planned = Plan(_listed(cfg), {'toy.txt': 40}).on(1)['checkpoint_bytes']
    # The toy is in float64, its moments too; the plan counts moments in float32 as those of every real network.
    moments = size(saved['optimizer']['state']) / 2
    assert planned == pytest.approx(size(saved['state_dict']) + moments, rel=0.05)


@pytest.mark.parametrize('kinds', [('mmengine.Adam', 'mmengine.EMAHook'), (torch.optim.Adam, EMAHook)])
def test_what_stands_by_class_or_scope_costs_as_much(kinds):
    """Rejects a traceback over an optimiser that is no text, averaged weights that are in no checkpoint, and moments of
    an SGD that has none."""

    def planned(optimizer, hook, **options):
        cfg = _listed(config({}, optim_wrapper=dict(optimizer=dict(type=optimizer, lr=0.1, **options))))
        cfg.custom_hooks = [dict(type=hook)]
        return Plan(cfg, {'toy.txt': 40}).on(1)

    found = planned(*kinds)
    assert found == planned('Adam', 'EMAHook')
    averaged, plain = (planned('SGD', kind)['checkpoint_bytes'] for kind in (EMAHook, LoggerHook))
    assert averaged == 2 * plain and found['checkpoint_bytes'] == averaged + 2 * 4 * found['params']
    one_moment = planned('SGD', LoggerHook, momentum=0.9)['checkpoint_bytes']
    assert one_moment == plain + 4 * found['params']


def test_the_tool_prints_both(tool):
    """Rejects JSON with text around it, hours without a rate, hours that are not work / rate, decoding of another
    number of GPUs than a machine has of the run's, gradients that a ring does not move, and many hours that run into
    the column beside them."""
    args = ('tools/plan.py', 'configs/autox3d/x3d_s.py', '--gpus', 32)
    plain = json.loads(tool(*args, '--json').ok().out)
    assert 'hours' not in plain['phases'][0]
    plan = json.loads(tool(*args, '--clips-per-second', 100, '--json').ok().out)
    (phase,) = plan['phases']
    assert phase['hours'] == pytest.approx(phase['clips'] / 32 / 100 / 3600, rel=1e-6)
    seconds, frames = 3600 * phase['hours'], phase['decoded_frames']
    expected = dict(
        gpu_hours=32 * phase['hours'],
        seconds_per_step=seconds / phase['steps'],
        node_frames_per_second=frames / seconds / 4,  # 8 of 32 GPUs
        node_decoding_cores=frames / seconds / 4 / 205,
    )
    assert {key: phase[key] for key in expected} == pytest.approx(expected)
    few = timed({**phase, 'ranks': 2}, phase['rank_macs'] / seconds, 8, 205)
    assert few['node_frames_per_second'] == pytest.approx(frames / seconds)
    measured = ('--clips-per-second', 100, '--measured-macs', phase['reference_macs'] / 7)
    slower = json.loads(tool(*args[:2], *measured, '--json').ok().out)
    assert slower['gpus'] == 512 // 8 and 64 * slower['phases'][0]['hours'] == pytest.approx(
        7 * 32 * phase['hours'], rel=0.01
    )
    for row in plan['growth']:
        moved = 2 * (1 - 1 / row['ranks']) * row['gradient_bytes'] / (8 / 100)  # of a step: 8 clips on each GPU
        assert row['gradient_bytes_per_second'] == pytest.approx(moved, rel=1e-3)
        assert row['clips_per_step'] == 8 * row['ranks']
    assert [row['ranks'] for row in plan['growth']] == [8, 16, 32, 64, 128, 256]
    text = tool(*args, '--clips-per-second', 100).ok().out
    assert f'{phase["steps"]:,} = ' in text and f'{phase["gpu_hours"]:,.0f} GPU-hours' in text
    assert f'{32 * phase["rank_macs"] / 1e18:,.3f} EMACs' in text
    assert f'{phase["checkpoint_bytes"] / 1e6:,.1f} MB; ' in text
    slow = tool(*args, '--clips-per-second', 1e-4).ok().out.splitlines()[-1].replace(',', '').split()
    row = plan['growth'][-1]
    assert [int(cell) for cell in slow[:3]] == [row['ranks'], row['steps_per_epoch'], row['clips_per_step']]
    assert float(slow[3]) == pytest.approx(1e6 * row['hours'], rel=1e-3)


@pytest.mark.parametrize(
    ('options', 'words'),
    [
        (('--clips-per-second', '-1'), ('--clips-per-second', '-1.0', 'positive')),
        (('--clips-per-second', 'inf'), ('--clips-per-second', 'inf', 'positive')),
        (('--clips', 'mini200_train.txt=many'), ('--clips mini200_train.txt', "'many'")),
        (('--clips', 'mini200_train.txt'), ('--clips mini200_train.txt', "''", 'LIST=NUMBER')),
        (('--cfg-options', 'train_dataloader.dataset.dataset.ann_file=x.txt'), ('ann_file', 'x.txt', '--clips')),
        (('--gpus', '100000'), ('batch_size', '100000 ranks', 'no step')),
        (('--cfg-options', 'train_cfg.max_epochs=None'), ('train_cfg.max_epochs', 'None', 'EpochBasedTrainLoop')),
    ],
)
def test_wrong_input_is_one_error(tool, options, words):
    """Rejects a traceback, and a plan of no step."""
    tool('tools/plan.py', 'configs/autox3d/s_k200.py', *options).refused(*words)


@pytest.mark.parametrize('name', ['cost', 'latency', 'plan'])
def test_a_mistake_in_the_config_is_one_error(tool, name):
    """Rejects a traceback from the network's own code, and a message without the key of the network."""
    options = ('--cfg-options', 'model.backbone.expansions=2.25')
    tool(f'tools/{name}.py', 'configs/autox3d/s_k200.py', *options).refused('model.backbone (SuperMBConv3D)', 'float')


def test_the_table_of_growth_says_where_it_ends(tool):
    """80,000 clips in batches of 8. Rejects a table that ends without a word, and one that ends in a traceback."""
    text = tool('tools/plan.py', 'configs/autox3d/s_k200.py', '--gpus', 8000).ok().out
    assert '\n 16000  none: train_dataloader.batch_size: found 8 on 16000 ranks' in text


class SaysNothing(SearchHook):
    """A method of another package, as a first draft has it."""


class TwiceTheLargest(SaysNothing):
    """The same, which says what it runs."""

    def step_work(self, ranks):
        return [Work('largest', 2)]

    def selection_work(self, space, ranks, epochs):
        return [Work('largest', 7 * epochs / ranks, held_out=True, backward=False)]

    def summed_values(self, space):
        return 11


def test_a_method_of_another_package_says_its_work():
    """Rejects a table of the methods that are ours (a TypeError for any other), and a part that is not asked for."""
    found, draft = (toy_plan(dict(type=hook), ranks=3) for hook in (TwiceTheLargest, SaysNothing))
    assert found['rank_macs'] == pytest.approx((4 * 5 * 2 * 3 + 7 * 2 / 3 * 5) * LARGEST)
    assert found['alpha_bytes'] == 8 * 11 and draft['alpha_bytes'] == 0
    assert draft['rank_macs'] == pytest.approx(4 * 5 * 3 * MEAN, rel=0.06)
