"""SuperTSNet: two streams on one clip, their shared weights, and what it refuses."""

import random

import av
import numpy as np
import pytest
import torch
from mmengine.registry import init_default_scope
from torch import nn

from mmnas_video.entangle import copy_slices, extract_state
from mmnas_video.errors import ConfigError
from mmnas_video.models.backbones import SuperMBConv3D, SuperTSNet
from mmnas_video.registry import DATASETS, MODELS
from mmnas_video.space import ATTENTION_SITES, arch_to_json
from mmnas_video.testing import check_mixture, check_searchable
from mmnas_video.testing.compare import randomise
from tests.models.two_streams import SMALL, build, clip, covering, some_archs

ONE = {'streams': ('sparse',)}


def with_values(arch, **patterns):
    """``arch`` with other values: by the end of the choice's name, or its first part."""
    changed = dict(arch)
    for name in arch:
        for pattern, value in patterns.items():
            if name.split('.')[0] == pattern or name.endswith(f'.{pattern}'):
                changed[name] = value
    return changed


# ---------------------------------------------------------------- shared weights
@pytest.mark.parametrize(('sharing', 'merge'), [('fair', 'concat'), ('prefix', 'concat'), ('fair', 'sum')])
def test_the_supernet_at_an_arch_is_the_extracted_network(merge, sharing):
    """Rejects input slices that follow the dense windows but not the fusion, or only one stream's windows; statistics
    or gradients of other channels; a pinned network with more or fewer parameters; a closed form that is not torch's
    count. Smallest, largest and archs that cover all values, eval and training, in double precision to 1e-10.
    """
    cfg = dict(SMALL, sharing=sharing, fusion=dict(type='TSFusion', merge=merge))
    archs = covering(SuperTSNet(**cfg).space)
    assert len({arch[f'fusion.{site}'] for arch in archs for site in ('s1.g1', 's1.g2')}) == 4
    check_searchable(lambda **pins: SuperTSNet(**cfg, **pins), clip(), archs)


@pytest.mark.parametrize(
    'cfg',
    [
        dict(fixed={'fusion.*': 'time_to_channel'}),
        dict(fixed={'sparse.*': None}),  # replaced below: a whole stream
        dict(fusions=('none', 'time_strided_conv'), depth_scale=2.0, se_ratio=None),
        dict(streams=('dense',)),
        ONE,
    ],
    ids=['one fusion', 'a pinned stream', 'two fusions, deep', 'dense alone', 'sparse alone'],
)
def test_other_configs_obey_it(cfg):
    """Rejects joined weights that are left over where a choice is fixed, and single streams with parts of both."""
    if cfg.get('fixed') == {'sparse.*': None}:
        arch = build().space.smallest
        cfg = dict(fixed={name: value for name, value in arch.items() if name.startswith('sparse.')})
    cfg = {**SMALL, 'attentions': ('none', 'glore'), **cfg}
    check_searchable(lambda **pins: SuperTSNet(**cfg, **pins), clip(), covering(SuperTSNet(**cfg).space))


@pytest.mark.parametrize('merge', ['concat', 'sum'])
def test_a_mixture_obeys_the_law_of_mixtures(merge):
    """Rejects a mixture that runs fusions of weight 0, joins at whole width, moves joined channels along the identity
    shortcut, or through which a fusion's weight does not reach the output.
    """
    cfg = dict(SMALL, fusion=dict(merge=merge), kernels=('t1_s3', 't3_s3'), attentions=('none',), expansions=(1.5, 3.0))
    check_mixture(lambda: SuperTSNet(**cfg), clip(), some_archs(SuperTSNet(**cfg).space, 3, seed=2))


def test_what_is_joined_is_not_passed_on():
    """Rejects an identity shortcut where own and joined channels happen to be as many as the block's: 3 + 3 x 2 = 9."""
    model = build()
    arch = model.space.smallest.replace({'sparse.s1.g2.channels': 9, 'fusion.s1.g1': 'time_to_channel'})
    used = {part.name for part in model.slices(arch)}
    assert {f'sparse.groups.1.blocks.0.shortcut.{p}' for p in ('weight', 'joined.time_to_channel')} <= used
    alone = {part.name for part in model.slices(arch.replace({'fusion.s1.g1': 'none', 'sparse.s1.g2.channels': 3}))}
    assert not any('groups.1.blocks.0.shortcut' in name for name in alone if name.startswith('sparse'))


# ---------------------------------------------------------------- one stream and two
def test_without_fusion_the_sparse_stream_is_a_network_of_its_own():
    """Rejects a sparse path that the dense stream touches: pinned at no fusion it is a SuperMBConv3D on every third
    frame, bit for bit, in training too; and so is the dense one on all frames.
    """
    model = build(fixed={'fusion.*': 'none'}, pooled=False)
    randomise(model)
    shared = {k: v for k, v in SMALL.items() if k not in ('sparse', 'dense', 'sparse_frames', 'dense_frames')}
    x = clip()
    for arch in some_archs(model.space, 4):
        pinned = copy_slices(model, arch, build(arch=arch, pooled=False))
        for name, frames in (('sparse', x[:, :, ::3]), ('dense', x)):
            own = {k.removeprefix(f'{name}.'): v for k, v in arch.items() if k.startswith(name)}
            alone = SuperMBConv3D(**shared, **SMALL[name], stem_temporal_kernel=3, arch=own).double()
            state = {
                k.removeprefix(f'{name}.'): v.clone() for k, v in pinned.state_dict().items() if k.startswith(name)
            }
            alone.load_state_dict(state, strict=True)
            for training in (False, True):
                pinned.train(training), alone.train(training)
                assert torch.equal(pinned(x)[name == 'dense'], alone(frames))


def test_a_stream_alone_has_the_names_of_the_whole():
    """Rejects a one-stream search that cannot be inherited: parameters and choices of the sparse stream alone must be
    those of the two-stream network, by name, shape and values, whatever may join it there.
    """
    both, shapes = build(), {name: tuple(p.shape) for name, p in build().state_dict().items()}
    for stream in ('sparse', 'dense'):
        alone = build(streams=(stream,))
        assert {name: tuple(p.shape) for name, p in alone.state_dict().items()}.items() <= shapes.items()
        assert {name.split('.')[0] for name in alone.space.names} == {stream}
        assert all(both.space[choice.name] == choice for choice in alone.space)
    new = {name.split('.')[0] for name in set(shapes) - set(build(**ONE).state_dict()) if 'joined' not in name}
    assert new == {'dense', 'fusion'}


def test_a_stream_inherited_at_no_fusion_computes_what_it_did():
    """Rejects weights that mean something else in the two-stream network."""
    alone, both = build(seed=1, **ONE).eval(), build(seed=2).eval()
    randomise(alone), randomise(both)
    arch = alone.space.sample(random.Random(3))
    both.load_state_dict({**both.state_dict(), **alone.state_dict()})
    with torch.no_grad(), alone.use(arch), both.use(with_values({**both.space.largest, **arch}, fusion='none')):
        assert torch.equal(both(clip())[:, :11], alone(clip()))


def test_a_sparse_stream_alone_takes_its_frames_or_the_whole_clip():
    """Rejects every n-th frame taken twice, and a pipeline that must decode 32 frames to use 4."""
    model, x = build(**ONE).eval(), clip()
    assert torch.equal(model(x), model(x[:, :, ::3])) and not torch.equal(model(x), model(x[:, :, 1::3]))
    costs = [model.cost(model.arch, (3, t, 13, 11)) for t in (2, 6)]
    assert costs[0] == costs[1]


def test_output_is_pooled_or_the_pair():
    """Rejects an output whose order of streams depends on the config's, and a mean over something else."""
    model = build().eval()
    model.pooled = False
    sparse, dense = model(clip())
    assert sparse.shape == (2, 11, 2, 4, 3) and dense.shape == (2, 13, 6, 4, 3)
    model.pooled = True
    assert torch.allclose(model(clip())[..., 0, 0, 0], torch.cat([sparse.mean((2, 3, 4)), dense.mean((2, 3, 4))], 1))
    assert build(streams=('dense', 'sparse')).streams == ('sparse', 'dense')


def test_it_feeds_the_hosts_slowfast_head_through_the_neck():
    """Rejects features that only our own head can read."""
    init_default_scope('mmaction')
    model = MODELS.build(
        dict(
            type='Recognizer3D',
            backbone=dict(type='SuperTSNet', pooled=False, **SMALL),
            neck=dict(type='TSFusion', in_channels=[(11, 13)], ratio=3, fusions='time_strided_sampling'),
            cls_head=dict(type='SlowFastHead', in_channels=11 + 13 + 13, num_classes=17),
        )
    ).eval()
    assert model(clip()[:, None].float(), stage='head', mode='tensor').shape == (2, 17)


# ---------------------------------------------------------------- the frames of one clip
@pytest.fixture(scope='module')
def numbered(tmp_path_factory):
    """A video whose frame n has the grey value 3 n."""
    root = tmp_path_factory.mktemp('numbered')
    with av.open(str(root / 'video.mp4'), 'w') as container:
        stream = container.add_stream('libx264', rate=30, options={'crf': '0'})
        stream.height, stream.width, stream.pix_fmt = 34, 46, 'yuv444p'
        for number in range(80):
            frame = np.full((34, 46, 3), 3 * number, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format='rgb24')))
        container.mux(stream.encode())
    (root / 'list.txt').write_text('video.mp4 0\n')
    return root


def test_both_streams_see_the_frames_of_one_clip(numbered):
    """Rejects two clips drawn apart, another offset, and a stride in the wrong place: by frames that carry their
    number, through decord, where the streams take them in.
    """
    init_default_scope('mmaction')
    pipeline = [
        dict(type='DecordInit'),
        dict(type='SampleFrames', clip_len=32, frame_interval=2, num_clips=1),
        dict(type='DecordDecode'),
        dict(type='FormatShape', input_format='NCTHW'),
        dict(type='PackActionInputs', meta_keys=('frame_inds',)),
    ]
    dataset = DATASETS.build(
        dict(type='VideoDataset', ann_file=str(numbered / 'list.txt'), data_prefix=dict(video=str(numbered)),
             pipeline=pipeline)
    )  # fmt: skip
    model = SuperTSNet(sparse=dict(stages=SMALL['sparse']['stages']), dense=dict(stages=SMALL['dense']['stages']),
                       attention_sites=(), spatial_strides=(1, 2)).eval()  # fmt: skip
    seen = {}
    for name in ('sparse', 'dense'):
        stem = getattr(model, name).stem
        stem.register_forward_pre_hook(lambda _, x, name=name: seen.__setitem__(name, x[0]))
    starts = set()
    for seed in range(4):
        np.random.seed(seed)
        sample = dataset[0]
        drawn = list(sample['data_samples'].metainfo['frame_inds'])
        with torch.no_grad():
            model(sample['inputs'].float())
        numbers = {name: (x.mean((0, 1, 3, 4)) / 3).round().int().tolist() for name, x in seen.items()}
        start = numbers['dense'][0]
        assert numbers['dense'] == drawn == list(range(start, start + 64, 2))
        assert numbers['sparse'] == [start, start + 16, start + 32, start + 48]
        starts.add(start)
    assert len(starts) > 1


# ---------------------------------------------------------------- as a module
def test_it_is_built_from_a_config_and_from_an_arch_file(tmp_path):
    """Rejects a class that is not in the registry, names without the stream, and an arch of one stream or of another
    space that is taken for the whole.
    """
    model = MODELS.build(dict(type='SuperTSNet', **SMALL))
    assert model.space.name == 'tsnet' and {'sparse.s1.g1.kernel', 'dense.s2.g1.channels'} < set(model.space.names)
    assert model.space.names[-2:] == ('fusion.s1.g1', 'fusion.s1.g2')
    arch = model.space.sample(random.Random(1))
    path = tmp_path / 'arch.json'
    path.write_text(arch_to_json(arch, model.space.identity))
    pinned = build(arch=str(path))
    assert pinned.arch == arch and pinned.space.size == 1
    assert set(extract_state(model, arch)) == set(pinned.state_dict())
    with pytest.raises(ConfigError, match=r'backbone\.arch.*dense\.s1\.g1\.kernel'):
        build(arch=build(**ONE).space.smallest)


def test_options_reach_both_streams(monkeypatch):
    """Rejects an option that one stream ignores, and norm_eval that the fusions ignore."""
    model = SuperTSNet(**SMALL, norm_eval=True, depth_scale=2.0, drop_path=0.3, with_cp=True, sharing='prefix').train()
    norms = [m for m in model.fusion.modules() if isinstance(m, nn.BatchNorm3d)]
    assert norms and model.training and model.fusion.training and not any(norm.training for norm in norms)
    for stream in (model.sparse, model.dense):
        assert not any(m.training for m in stream.modules() if isinstance(m, nn.BatchNorm3d)) and stream.training
        blocks = [block for group in stream.groups for block in group.blocks]
        assert blocks[-1].drop_path == 0.3 and all(group.with_cp for group in stream.groups)
        assert all(window.start == 0 for group in stream.groups for window in group.outputs.values())
        assert all((block.project_norm.weight == 0).all() for block in blocks)
    assert model.describe() == {
        'blocks': {'sparse.s1.g1': 2, 'sparse.s1.g2': 4, 'sparse.s2.g1': 4, 'dense.s1.g1': 4, 'dense.s1.g2': 2,
                   'dense.s2.g1': 2},
        'frames': {'sparse': 2, 'dense': 6},
    }  # fmt: skip
    assert build(dense=dict(SMALL['dense'], se_ratio=None)).dense.groups[0].blocks[0].se is None
    fused = build(sharing='prefix').fusion.sites[0].windows['time_to_channel']
    assert all(window.start == 0 for window in fused.values())


def test_attention_is_offered_where_it_is_told():
    """Rejects attention after every group: 4096 = 2^12 needs six of the eleven places in each stream."""
    with torch.device('meta'):
        model = SuperTSNet()
    for stream in ('sparse', 'dense'):
        open_at = [c.name for c in model.space.open if c.name.startswith(stream) and c.name.endswith('attention')]
        assert open_at == [f'{stream}.{site}.attention' for site in ATTENTION_SITES]


@pytest.mark.parametrize(
    ('change', 'parts'),
    [
        (dict(dense_frames=7), ['backbone.dense_frames', '7', 'sparse_frames=2', 'multiple']),
        (dict(sparse_frames=0), ['backbone.dense_frames', 'sparse_frames=0']),
        (dict(sparse_frames=12), ['backbone.dense_frames', 'sparse_frames=12']),
        (dict(streams=()), ['backbone.streams', 'sparse']),
        (dict(streams=('sparse', 'slow')), ['backbone.streams', 'slow', 'dense']),
        (dict(streams=('sparse', 'sparse')), ['backbone.streams']),
        (dict(sparse=dict(stem_chanels=3)), ['backbone.sparse', 'stem_chanels', "mean 'stem_channels'"]),
        (dict(dense=dict(arch='x.json')), ['backbone.dense', 'arch']),
        (
            dict(attention_sites=None, dense=dict(SMALL['dense'], stages=(((2, 4, 2), (2,)),))),
            ['backbone.dense.stages', 's2.g1', 'same'],
        ),
        (dict(sparse=dict(SMALL['sparse'], glore_nodes=(3,))), ['backbone.sparse', 'glore_nodes', '2 stages']),
        (dict(dense=dict(stages=(((2, 5, 2), (2,)),))), ['backbone.dense', 'stages[0]', '5']),
        (dict(attention_sites=('s9.g1',)), ['attention_sites', 's9.g1', 's1.g2']),
        (dict(fusions=('none', 'max')), ['backbone.fusions', 'max', 'time_to_channel']),
        (dict(fusions=()), ['backbone.fusions']),
        (dict(fusion=dict(merge='add')), ['fusion.merge', 'add']),
        (dict(fusion=dict(kernel=5)), ['backbone.fusion', 'kernel']),
        (dict(fixed={'fusion.s2.g1': 'none'}), ['backbone.fixed', 'fusion.s2.g1']),
        (dict(replaced={'*.attention': 'none'}), ['backbone.replaced', 'backbone.arch']),
        (dict(replaced={'*.atention': 'none'}, arch=build().space.smallest), ['backbone.replaced', '*.atention']),
        (dict(sharing='fare'), ['sharing', 'fare']),
    ],
)
def test_a_wrong_config_is_one_clear_error(change, parts):
    """Rejects a KeyError, TypeError or silence; the message names the key, what was found, and what fits. The last
    group has no site: nothing reads what would join there.
    """
    with pytest.raises(ConfigError) as error:
        SuperTSNet(**{**SMALL, **change})
    for part in parts:
        assert part in str(error.value)


def test_an_arch_is_built_as_its_file_says():
    """Rejects ``fixed`` in the place of an arch's own values without a word; ``replaced`` says that it is meant."""
    arch = build().space.smallest
    pins = {'sparse.*.kernel': 't3_s3'}
    other = arch.replace({name: 't3_s3' for name in arch if name.startswith('sparse.') and name.endswith('.kernel')})
    assert arch != other
    with pytest.raises(ConfigError, match=r"backbone\.arch: .*'sparse\.s1\.g1\.kernel'.*expected one of \['t3_s3'\]"):
        build(arch=arch, fixed=pins)
    assert build(arch=other, fixed=pins).arch == build(arch=arch, replaced=pins).arch == other


@pytest.mark.parametrize('frames', [1, 2, 5, 7, 12])
def test_a_clip_of_another_length_is_refused(frames):
    """Rejects a network that runs on other frames than it says, in a forward pass or in a cost."""
    model = build()
    shape = (3, frames, 13, 11)
    for ask in (lambda: model(clip(shape)), lambda: model.cost(model.arch, shape), lambda: model.cost_range(shape)):
        with pytest.raises(ConfigError, match=rf'clip: found {frames} frames, expected 6 .*dense_frames.*clip_len'):
            ask()
    with pytest.raises(ConfigError, match=r'cost_shape: found \(6, 13, 11\)'):
        model.cost(model.arch, (6, 13, 11))
    with pytest.raises(ConfigError, match='crop size'):
        model(clip((3, 6, 3, 11)))
