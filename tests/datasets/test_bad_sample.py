"""Bad files are named, skipped, counted, and too many of them are an error."""

import shutil

import av
import pytest
import torch
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.fileio import load
from mmengine.hooks import IterTimerHook
from mmengine.model import BaseModel
from mmengine.runner import Runner
from torch.utils.data import DataLoader

from mmnas_video.datasets import (
    MAX_SHARE,
    BadSample,
    BadSampleCounter,
    BadSampleHook,
    JointDataset,
    SeededDataset,
    bad_share,
    skip_bad_collate,
)
from mmnas_video.errors import ConfigError

BAD = {
    'missing.mp4': 'no such file',
    'empty.mp4': 'empty file',
    'cut.mp4': '',
    'front.mp4': '',
    'text.mp4': '',
}


def index_in_front(source, target):
    """Copy a video with its index before the pictures: cut short, such a file still opens in many readers."""
    with av.open(str(source)) as old, av.open(str(target), 'w', options={'movflags': 'faststart'}) as new:
        stream = new.add_stream_from_template(old.streams.video[0])
        for packet in old.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                new.mux(packet)


@pytest.fixture
def bad_cfg(tmp_path, demo_root, video_cfg):
    """Two good videos, five bad ones, five good ones."""
    good = sorted((demo_root / 'motion/videos').glob('train_*'))[:7]
    for path in good:
        shutil.copy(path, tmp_path)
    data = good[0].read_bytes()
    (tmp_path / 'empty.mp4').touch()
    (tmp_path / 'cut.mp4').write_bytes(data[: len(data) // 2])
    (tmp_path / 'text.mp4').write_bytes(b'not a video ' * 999)
    index_in_front(good[1], tmp_path / 'front.mp4')
    data = (tmp_path / 'front.mp4').read_bytes()
    (tmp_path / 'front.mp4').write_bytes(data[: len(data) // 2])
    names = [p.name for p in good]
    lines = [f'{name} 1\n' for name in [*names[:2], *BAD, *names[2:]]]
    (tmp_path / 'list.txt').write_text(''.join(lines))
    return {**video_cfg, 'ann_file': str(tmp_path / 'list.txt'), 'data_prefix': dict(video=str(tmp_path))}


def test_each_kind_is_named(bad_cfg):
    """Rejects an error that stops the run, a sample of another file, and decord's message of a whole file's
    length."""
    dataset = SeededDataset(bad_cfg)
    samples = [dataset[0, i] for i in range(12)]
    for sample, (name, reason) in zip(samples[2:7], BAD.items(), strict=True):
        assert isinstance(sample, BadSample)
        assert sample.path.endswith(f'/{name}') and sample.reason.startswith(reason)
        assert 5 < len(sample.reason) < 250 and sample.reason.isprintable()
    assert not any(isinstance(s, BadSample) for s in samples[:2] + samples[7:])


def test_long_messages_are_cut(bad_cfg):
    """Rejects a log that is flooded by what some decoders put into their message: bytes of the file."""
    dataset = SeededDataset(bad_cfg)

    def broken(results):
        raise OSError('\0\x1b[31m' * 500 + '\nand more')

    dataset.dataset.pipeline.transforms.insert(0, broken)
    reason = dataset[0].reason
    assert reason.startswith('OSError: ?') and reason.isprintable() and len(reason) < 250


def test_mistakes_are_not_bad_files(bad_cfg):
    """Rejects a wrong pipeline or a bug in a later transform that is counted as a bad file."""
    dataset = SeededDataset(bad_cfg)
    steps = dataset.dataset.pipeline.transforms

    def broken(results):
        raise RuntimeError('a bug behind the decoder')

    steps.insert(4, broken)
    with pytest.raises(RuntimeError, match='behind the decoder'):
        dataset[0]
    steps[1] = None  # not callable: a TypeError before the decoder
    with pytest.raises(TypeError):
        dataset[0]


def test_collate_takes_them_out(bad_cfg):
    """Rejects a batch that is filled up with other samples, or that loses the names."""
    dataset = SeededDataset(bad_cfg)
    batch = skip_bad_collate([dataset[0, i] for i in range(5)])
    assert len(batch['inputs']) == len(batch['data_samples']) == 2
    assert [path.rsplit('/', 1)[1] for path, _ in batch['bad_samples']] == [
        'missing.mp4',
        'empty.mp4',
        'cut.mp4',
    ]
    assert torch.equal(batch['inputs'][1], dataset[0, 1]['inputs'])
    assert 'bad_samples' not in skip_bad_collate([dataset[0, 0]])
    stacked = skip_bad_collate([dataset[0, 0], dataset[0, 2], dataset[0, 1]], collate='default_collate')
    assert stacked['inputs'].shape == (2, 1, 3, 5, 23, 29)
    nothing = skip_bad_collate([dataset[0, 2], dataset[0, 3]])
    assert nothing['inputs'] == [] and len(nothing['bad_samples']) == 2
    counter = BadSampleCounter('train_dataloader', total=12, max_share=1)
    with pytest.raises(ConfigError, match=r'no file can be read.*missing\.mp4.*no such file.*empty\.mp4'):
        counter.take(nothing)


def batches(cfg, keys, **options):
    """What a DataLoader gives for batches of (epoch, index)."""
    dataset = SeededDataset(cfg, seed=5)
    return list(DataLoader(dataset, batch_sampler=keys, collate_fn=skip_bad_collate, **options))


def test_a_batch_of_bad_ones_draws_another(bad_cfg):
    """Rejects a run that ends with such a batch, a clip that depends on the worker or on what came before (a resumed
    run would get another), one that is the same in every epoch, and names that are lost."""
    keys = [[(0, 2), (0, 3)], [(0, 0), (0, 4)], [(3, 2), (3, 3)], [(4, 2)], [(5, 2)]]
    found = batches(bad_cfg, keys)
    dataset = SeededDataset(bad_cfg, seed=5)
    good = [index for index in range(12) if not 2 <= index < 7]
    drawn = []
    for (key, *_), batch in zip(keys, found, strict=True):
        assert len(batch['inputs']) == 1
        drawn += [i for i in good if torch.equal(dataset[key[0], i]['inputs'], batch['inputs'][0])]
    assert len(drawn) == 5 and drawn[1] == 0 and len({drawn[0], *drawn[2:]}) > 1
    assert [path.rsplit('/', 1)[1] for path, _ in found[0]['bad_samples']][:2] == ['missing.mp4', 'empty.mp4']
    again = batches(bad_cfg, keys[2:], num_workers=2)
    for one, other in zip(found[2:], again, strict=True):
        assert torch.equal(one['inputs'][0], other['inputs'][0]) and one['bad_samples'] == other['bad_samples']


def test_no_clip_counts_twice_in_a_validation(bad_cfg, video_cfg):
    """Rejects a metric over clips that were drawn in place of bad ones, of one dataset or of several joined."""
    (batch,) = batches(dict(bad_cfg, test_mode=True), [[(0, 2), (0, 3)]])
    assert batch['inputs'] == [] and len(batch['bad_samples']) == 2
    joint = JointDataset(dict(bad=dict(bad_cfg, test_mode=True), whole=video_cfg), seed=5)
    samples = joint.__getitems__([('bad', 0, 2), ('bad', 0, 3)])
    assert len(samples) == 2 and all(isinstance(sample, BadSample) for sample in samples)


def test_what_is_drawn_is_of_the_same_dataset(bad_cfg, video_cfg):
    """Rejects a batch of one task that is filled from another."""
    dataset = JointDataset(dict(bad=bad_cfg, whole=video_cfg), seed=5)
    samples = dataset.__getitems__([('bad', 2, 3), ('bad', 2, 4)])
    assert [isinstance(sample, BadSample) for sample in samples] == [True] * (len(samples) - 1) + [False]
    assert samples[-1]['data_samples'].task == 'bad'
    part = dataset.parts['bad']
    assert any(torch.equal(samples[-1]['inputs'], part[2, i]['inputs']) for i in (0, 1, *range(7, 12)))


@pytest.mark.parametrize('place', [0, 1])
def test_another_collate_function_is_told(bad_cfg, place):
    """Rejects a bad sample that the stock collate function passes on to the model."""
    dataset = SeededDataset(bad_cfg)
    samples = [dataset[0, 0]]
    samples.insert(place, dataset[0, 3])
    with pytest.raises(ConfigError, match=r'empty\.mp4.*skip_bad_collate'):
        pseudo_collate(samples)


def test_counter():
    """Rejects counting a file twice, a share of the batches instead of the clips, and names that stay in the
    batch."""
    counter = BadSampleCounter('train_dataloader', total=200, max_share=0.01)
    for _ in range(3):
        batch = dict(inputs=[1], bad_samples=[('a.mp4', 'empty file'), ('b.mp4', 'no such file')])
        counter.take(batch)
        assert batch == dict(inputs=[1])
    counter.take(dict(inputs=[1]))
    assert counter.bad == {'a.mp4': 'empty file', 'b.mp4': 'no such file'}
    with pytest.raises(ConfigError, match=r'train_dataloader: found 3 of 200.*a\.mp4.*b\.mp4.*c\.mp4'):
        counter.take(dict(bad_samples=[('c.mp4', '')]))
    for share in (-0.1, 1.1):
        with pytest.raises(ConfigError, match='max_bad_share'):
            BadSampleHook(max_bad_share=share)


class Counting(BaseModel):
    """Counts what it is given, and demands the keys that MMAction2's models take."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.seen = dict(loss=0, predict=0)

    def forward(self, inputs, data_samples, mode):
        self.seen[mode] += len(inputs)
        return dict(loss=self.weight.square()) if mode == 'loss' else data_samples


def build_runner(tmp_path, cfg, share, batch_size=6):
    loader = dict(
        dataset=dict(type='SeededDataset', dataset=cfg, seed=1),
        sampler=dict(type='SeededSampler', shuffle=False),
        collate_fn=dict(type='skip_bad_collate'),
        batch_size=batch_size,
        num_workers=1,
    )
    held = {**loader, 'dataset': {**loader['dataset'], 'dataset': dict(cfg, test_mode=True)}}
    runner = Runner(
        model=Counting(),
        work_dir=str(tmp_path / 'run'),
        train_dataloader=loader,
        val_dataloader=held,
        test_dataloader=held,
        train_cfg=dict(by_epoch=True, max_epochs=2),
        val_cfg={},
        test_cfg={},
        val_evaluator=dict(type='DumpResults', out_file_path=str(tmp_path / 'out.pkl')),
        test_evaluator=dict(type='DumpResults', out_file_path=str(tmp_path / 'out.pkl')),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1)),
        custom_hooks=[dict(type='BadSampleHook', max_bad_share=share)],
        default_hooks=dict(checkpoint=None, logger=None),
        default_scope='mmaction',
        cfg=Config({}),
    )
    return runner


def test_a_run_skips_and_counts_them(tmp_path, bad_cfg):
    """Rejects a hook that comes after the model, that counts the two epochs twice, or that skips
    validation."""
    runner = build_runner(tmp_path, bad_cfg, share=5 / 12)
    runner.train()
    assert runner.model.seen == dict(loss=14, predict=14)
    hook = next(h for h in runner.hooks if isinstance(h, BadSampleHook))
    assert {mode: len(counter.bad) for mode, counter in hook.counters.items()} == dict(train=5, val=5)
    log = next((tmp_path / 'run').rglob('*.log')).read_text()
    assert log.count("skipped '") == 10 and 'cut.mp4' in log and '5 of 12 clips skipped so far' in log


def test_the_share_is_found_whatever_names_a_hook():
    """Rejects a search that ends with an error about a hook that is named by its class, which MMEngine takes."""
    timer = dict(type=IterTimerHook)
    ours = dict(type=BadSampleHook, max_bad_share=0.3)
    assert bad_share(dict(default_hooks=dict(timer=timer, none=None), custom_hooks=[timer, ours])) == 0.3
    assert bad_share(dict(custom_hooks=[BadSampleHook(), timer, dict(type='BadSampleHook', max_bad_share=0.2)])) == 0.2
    assert bad_share(dict(default_hooks=dict(timer=timer))) == MAX_SHARE


def test_a_run_with_too_many_ends(tmp_path, bad_cfg):
    """Rejects a share that is never looked at."""
    with pytest.raises(ConfigError, match=r'found 4 of 12 clips.*0\.3.*missing\.mp4.*empty\.mp4'):
        build_runner(tmp_path, bad_cfg, share=0.3).train()


def test_a_run_of_batches_of_one(tmp_path, bad_cfg):
    """Rejects a run that a single bad file ends, however many are allowed; a validation or test in which the model is
    handed an empty batch, or another clip; and a model that keeps the changed step."""
    runner = build_runner(tmp_path, bad_cfg, share=5 / 12, batch_size=1)
    runner.train()
    assert runner.model.seen == dict(loss=24, predict=14)
    runner.test()
    assert runner.model.seen == dict(loss=24, predict=21)
    assert len(load(tmp_path / 'out.pkl')) == 7
    assert not {'val_step', 'test_step'} & set(vars(runner.model))


def test_a_run_of_bad_files_only_ends(tmp_path, bad_cfg):
    """Rejects an endless search for a clip that can be read."""
    (tmp_path / 'list.txt').write_text(''.join(f'{name} 1\n' for name in BAD))
    with pytest.raises(ConfigError, match=r'nor any of those drawn in its place: .*missing\.mp4.*text\.mp4'):
        build_runner(tmp_path, bad_cfg, share=1, batch_size=1).train()
