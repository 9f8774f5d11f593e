"""The held-out data of a search: through which pipeline candidates are scored on it, and α learns on it."""

import copy

import pytest
from mmengine.registry import init_default_scope

from mmnas_video.errors import ConfigError
from mmnas_video.search.candidates import held_out_batches
from mmnas_video.search.held_out import held_out_config, with_clips

from .test_entangled import BACKBONES, begun, joint_config

VIEW = [
    dict(type='DecordInit'),
    dict(type='SampleFrames', clip_len=3, frame_interval=2, num_clips=1, test_mode=True),
    dict(type='DecordDecode'),
    dict(type='Resize', scale=(31, 37), keep_ratio=False),
    dict(type='FormatShape', input_format='NCTHW'),
    dict(type='PackActionInputs', meta_keys=('filename',)),
]


@pytest.fixture(autouse=True)
def in_mmaction():
    init_default_scope('mmaction')


def searching(root, folder, **held_out):
    """The hook of a joint search about to begin, whose motions hold out with these options of their own."""
    cfg = joint_config(root, folder, dict(calibration_clips=0), *BACKBONES['SuperMBConv3D'])
    cfg.train_dataloader.dataset.datasets.motion.held_out = held_out
    return begun(cfg)


def test_candidates_are_scored_through_the_pipeline_of_what_is_held_out(root, tmp_path):
    """Rejects scores through the augmentation of the training, α's batches through the other pipeline, other clips than
    before, and a pipeline that reaches the datasets beside it."""
    plain, search = (searching(root, tmp_path, **own) for own in ({}, dict(pipeline=VIEW)))
    before, found = held_out_batches(plain, 1), held_out_batches(search, 1)
    sizes = {name: {tuple(clip.shape) for clip in batch['inputs']} for name, (batch,) in found.items()}
    assert sizes == {'image': {(1, 3, 1, 23, 29)}, 'scene': {(1, 3, 5, 23, 29)}, 'motion': {(1, 3, 3, 37, 31)}}
    names = [[sample.filename for sample in batches['motion'][0]['data_samples']] for batches in (before, found)]
    assert names[0] == names[1]
    again = held_out_batches(search, 1)['motion'][0]
    assert all(one.equal(other) for one, other in zip(found['motion'][0]['inputs'], again['inputs'], strict=True))
    assert {tuple(clip.shape) for clip in search.held_out.next('motion')['inputs']} == {(1, 3, 5, 23, 29)}


def test_a_pipeline_that_cannot_be_built_stops_the_search_before_it_begins(root, tmp_path):
    """Rejects an error after the first epoch, when something is scored for the first time, and a table of pipelines in
    the place of one."""
    with pytest.raises(Exception, match='NoSuchStep'):
        searching(root, tmp_path, pipeline=[*VIEW, dict(type='NoSuchStep')])
    with pytest.raises(ConfigError, match=r'datasets\.motion\.held_out\.pipeline: found \{.*expected a list of steps'):
        searching(root, tmp_path, pipeline=dict(motion=VIEW))


@pytest.mark.parametrize('joint', [True, False])
def test_which_pipeline_is_meant(joint):
    """Rejects a pipeline that a wrapper hides, one that changes the training's own config, clips of a video set in the
    other pipeline, and one for all datasets that an own one does not overrule."""
    inner = dict(type='VideoDataset', pipeline=[dict(type='SampleFrames', clip_len=5), dict(type='Flip')])
    held, view = dict(part='train', fraction=0.2), [dict(type='SampleFrames', clip_len=5, test_mode=True)]
    wrapped = dict(type='SeededDataset', dataset=copy.deepcopy(inner), held_out=dict(held, pipeline=view))
    if joint:
        own = {'a': wrapped, 'b': dict(inner, held_out=dict(pipeline=None)), 'c': copy.deepcopy(inner)}
        dataset = dict(type='JointDataset', datasets=own, held_out=dict(held, pipeline=[dict(type='Resize')]))
    else:
        dataset = wrapped
    train = dict(batch_size=2, dataset=dataset)
    before = copy.deepcopy(train)
    learned, scored = (held_out_config(train, {}, None, 'x', scored)['dataset'] for scored in (False, True))
    assert train == before and learned['held_out']['part'] == scored['held_out']['part'] == 'held_out'
    if joint:
        pipelines = [
            [part.get('dataset', part)['pipeline'] for part in d['datasets'].values()] for d in (learned, scored)
        ]
        assert pipelines == [[inner['pipeline']] * 3, [view, inner['pipeline'], [dict(type='Resize')]]]
    else:
        assert (learned['dataset']['pipeline'], scored['dataset']['pipeline']) == (inner['pipeline'], view)
        clips = held_out_config(train, {}, 4, 'x', True)['dataset']['dataset']['pipeline']
        assert (
            clips == [dict(type='SampleFrames', clip_len=5, test_mode=True, num_clips=4)] and 'num_clips' not in view[0]
        )
        assert with_clips(train, 4, 'x')['dataset']['dataset']['pipeline'][1] == dict(type='Flip')
