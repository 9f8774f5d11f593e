"""ONNX and torch.export: every family, run where it will be run; and MMAction2's own inferencers on a video."""

import copy
import json

import onnx
import onnxruntime
import pytest
import torch
from mmengine.config import Config
from mmengine.dataset import Compose, pseudo_collate
from mmengine.registry import init_default_scope

from mmnas_video import export
from mmnas_video.entangle import find_searchable
from mmnas_video.errors import RunError, StackError
from mmnas_video.export import Exporter, check_packages
from mmnas_video.launch import load_config
from mmnas_video.registry import MODELS
from mmnas_video.search.extraction import pinned_config
from mmnas_video.space import arch_to_json
from mmnas_video.testing.compare import randomise

STAGES = (((8, 16, 8), (1, 1)), ((16, 24, 8), (1,)))
VIT = dict(embed_dims=(24, 32), depths=(1, 2), heads=(2,), qkv_dims=(16, 24), mlp_ratios=(1.0, 2.0))
TUBES = [
    dict(kernels=('1x8x8',), strides=('4x8x8',)),
    dict(kernels=('4x5x7', '2x4x4'), strides=('4x8x8',), offsets=('0x0x0', '1x2x3')),
]
MBCONV = dict(
    stages=STAGES, kernels=('t1_s3', 't3_s3'), expansions=(1.5,), attentions=('none', 'glore'),
    spatial_strides=(2, 2), glore_nodes=(5, 7), nonlocal_widths=(3, 3),
)  # fmt: skip
STREAM = dict(stages=STAGES, out_channels=19, glore_nodes=(5, 7), nonlocal_widths=(3, 3))
POOLED = dict(num_classes=11, spatial_type='avg', dropout_ratio=0.5)
#: Family to backbone, head, what the architecture must have, and frames.
FAMILIES = {
    'mbconv3d': (
        dict(type='SuperMBConv3D', stem_channels=8, out_channels=13, **MBCONV),
        dict(type='X3DHead', in_channels=13, fc1_bias=False, **POOLED),
        {'s1.g2.attention': 'glore', 's1.g1.kernel': 't3_s3'},
        5,
    ),
    'tsnet': (
        dict(
            type='SuperTSNet', sparse=STREAM, dense=STREAM, sparse_frames=2, dense_frames=6, kernels=('t3_s3',),
            expansions=(1.5,), attentions=('none',), attention_sites=(), spatial_strides=(2, 2),
        ),
        dict(type='X3DHead', in_channels=38, fc1_bias=False, **POOLED),
        {'fusion.s1.g1': 'time_to_channel', 'fusion.s1.g2': 'time_strided_conv'},
        6,
    ),
    'vit': (
        dict(type='SuperViT', table=VIT, tubes=TUBES, space_name='tiny'),
        dict(type='TimeSformerHead', in_channels=32, num_classes=11),
        {'depth': 2, 'embed_dim': 24, 'tube2.kernel': '4x5x7', 'tube2.offset': '1x2x3'},
        7,
    ),
    'p3d': (
        dict(type='SuperP3D', nodes=2, cells=2, channels=3, reductions=(1,)),
        dict(type='I3DHead', in_channels=12, **POOLED),
        {'cell.n0.e0': 'max_pool_3', 'cell.n0.e1': 'spe_conv_3', 'cell.n1.e0': 'skip', 'cell.n1.e2': 'dil_conv_3'},
        3,
    ),
}  # fmt: skip
ANY_FRAMES = {'mbconv3d', 'p3d'}


@pytest.fixture(autouse=True)
def in_mmaction():
    """Look names up as a Runner with ``default_scope = 'mmaction'`` does."""
    init_default_scope('mmaction')


def network(family, head=None):
    """A found network with weights that are no defaults; ``head`` takes the place of the family's."""
    backbone, own, values, _ = FAMILIES[family]
    head = head or own
    preprocessor = dict(type='ActionDataPreprocessor', mean=[1, 2, 3], std=[4, 5, 7], format_shape='NCTHW')
    cfg = Config(
        dict(model=dict(type='Recognizer3D', backbone=backbone, cls_head=head, data_preprocessor=preprocessor))
    )
    model = MODELS.build(cfg.model)
    space = find_searchable(model)[1].space
    pinned = MODELS.build(pinned_config(cfg, model, space.check({**space.smallest, **values})).model)
    randomise(pinned, seed=2)
    return pinned.float().eval()


@pytest.mark.parametrize('family', FAMILIES)
def test_every_family_leaves_the_library(family, tmp_path):
    """Rejects an export of one batch size or number of frames only, in training mode (dropout), with an operator that
    onnxruntime does not know, without the architecture, and a check that looks at nothing: the files are run here, on
    clips of their own."""
    model, frames = network(family), FAMILIES[family][3]
    exporter = Exporter(model, (3, frames, 16, 24))
    files = tmp_path / 'net.onnx', tmp_path / 'net.pt2'
    assert exporter.write_onnx(files[0]) <= 1e-4 and exporter.write_program(files[1]) <= 1e-4
    session = onnxruntime.InferenceSession(str(files[0]), providers=['CPUExecutionProvider'])
    program = torch.export.load(str(files[1])).module()
    for batch, length in ((1, frames), (5, frames), (2, frames + 4 * (family in ANY_FRAMES))):
        clips = torch.randn(batch, 3, length, 16, 24, generator=torch.Generator().manual_seed(batch))
        with torch.no_grad():
            expected = model.cls_head(model.backbone(clips))
        assert expected.shape == (batch, 11) and expected.std() > 1e-3
        for found in (torch.from_numpy(session.run(None, {'clips': clips.numpy()})[0]), program(clips)[0]):
            torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4 * float(expected.abs().max()))
    shape = session.get_inputs()[0].shape
    assert isinstance(shape[0], str) and isinstance(shape[2], str) == (family in ANY_FRAMES)
    stored = onnx.load(files[0])
    assert {node.domain for node in stored.graph.node} <= {'', 'ai.onnx'}
    about = {entry.key: entry.value for entry in stored.metadata_props}
    assert json.loads(about['arch']) == dict(find_searchable(model)[1].arch)
    assert json.loads(about['mean']) == [1, 2, 3] and json.loads(about['std']) == [4, 5, 7]


def test_a_clip_of_one_frame(tmp_path):
    """Rejects torch's error about a size that was to be free and is 1."""
    exporter = Exporter(network('p3d'), (3, 1, 16, 24))
    assert exporter.write_onnx(tmp_path / 'net.onnx') <= 1e-4 and exporter.about()['clips'] == ['batch', 3, 1, 16, 24]


def test_every_head_of_a_joint_network_is_an_output(tmp_path):
    """Rejects an export that keeps the default head only, or gives two datasets each other's scores."""
    common = dict(type='TimeSformerHead', in_channels=32)
    heads = dict(image=dict(num_classes=5), motion=dict(num_classes=11))
    model = network('vit', dict(type='MultiTaskHead', heads=heads, default='motion', common=common))
    assert Exporter(model, (3, 7, 16, 24)).write_onnx(tmp_path / 'net.onnx') <= 1e-4
    session = onnxruntime.InferenceSession(str(tmp_path / 'net.onnx'), providers=['CPUExecutionProvider'])
    assert [output.name for output in session.get_outputs()] == [*heads]
    clips = torch.randn(3, 3, 7, 16, 24, generator=torch.Generator().manual_seed(5))
    for name, found in zip(heads, session.run(None, {'clips': clips.numpy()}), strict=True):
        with torch.no_grad():
            expected = model.cls_head.heads[name](model.backbone(clips))
        torch.testing.assert_close(
            torch.from_numpy(found), expected, rtol=1e-4, atol=1e-4 * float(expected.abs().max())
        )


def test_a_file_with_other_scores_does_not_stay(tmp_path, monkeypatch):
    """Rejects a check that is made and not minded: the network learns after it was traced."""
    exporter = Exporter(network('p3d'), (3, 3, 16, 24))
    assert exporter.program is exporter.program
    exporter.scorer = copy.deepcopy(exporter.scorer)
    exporter.scorer.head.fc_cls.bias.data += 0.1
    with pytest.raises(RunError, match='other scores'):
        exporter.write_program(tmp_path / 'net.pt2')
    assert not list(tmp_path.iterdir())


def test_missing_packages_are_named(monkeypatch):
    """Rejects a traceback from torch that names one package after the other."""
    monkeypatch.setattr(export.importlib.util, 'find_spec', lambda name: None if name != 'onnx' else object())
    with pytest.raises(StackError, match=r'onnxruntime, onnxscript.*mmnas-video\[export\]'):
        check_packages()


@pytest.fixture(scope='module')
def extracted(tool, tiny, tmp_path_factory):
    """Folder in which tools/extract.py has left a network of the demo, in all formats, and what it printed."""
    folder = tmp_path_factory.mktemp('extracted')
    model = MODELS.build(load_config('configs/demo/autox3d.py', {'model.cls_head.num_classes': 4}).model)
    randomise(model, seed=3)
    torch.save({'state_dict': model.state_dict()}, folder / 'supernet.pth')
    space = find_searchable(model)[1].space
    (folder / 'arch.json').write_text(arch_to_json(space.smallest, space.identity))
    args = ['--arch', folder / 'arch.json', '--calibration-clips', 0]
    files = ['--onnx', folder / 'net.onnx', '--export', folder / 'net.pt2', '--shape', 3, 8, 32, 32]
    config = ['tools/extract.py', 'configs/demo/autox3d.py', folder / 'supernet.pth']
    done = tool(*config, *args, *files, '--cfg-options', *tiny()).ok()
    tool(*config, *args[2:], '--cfg-options', *tiny()).refused('--arch', 'supernet')
    return folder, done.out, done.err


def test_the_tool_writes_what_it_says(extracted, tool, tiny):
    """Rejects files that are not there; torch's warnings about its own parts on the screen; and a retrained network,
    whose config pins its architecture, that can be extracted only with what it knows already, or whose statistics are
    thrown away."""
    folder, out, err = extracted
    assert 'Warning' not in err, err[-2000:]
    assert all(
        str(folder / name) in out for name in ('net.onnx', 'net.pt2', 'extracted.py', 'extracted.pth', 'inference.py')
    )
    again = folder / 'again'
    args = ['--out', again]
    tool('tools/extract.py', folder / 'extracted.py', folder / 'extracted.pth', *args).ok()
    weights = [torch.load(f / 'extracted.pth', weights_only=True)['state_dict'] for f in (folder, again)]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


def test_mmaction2s_own_inference_runs_a_found_network(extracted, videos):
    """Rejects a config that only our tools can read: MMAction2's function and its inferencer, on a video file, with
    the scores that the network has for the clip that the test pipeline cuts."""
    from mmaction.apis import inference_recognizer, init_recognizer
    from mmaction.apis.inferencers import MMAction2Inferencer

    folder, *_ = extracted
    video = str(sorted((videos / 'videos').glob('*.mp4'))[0])
    config, weights = str(folder / 'inference.py'), str(folder / 'extracted.pth')
    model = init_recognizer(config, weights, device='cpu')
    found = inference_recognizer(model, video).pred_score
    assert found.shape == (4,) and float(found.sum()) == pytest.approx(1, abs=1e-5)
    inferencer = MMAction2Inferencer(rec=config, rec_weights=weights, device='cpu', input_format='video')
    (prediction,) = inferencer(video)['predictions']
    assert prediction['rec_scores'][0] == pytest.approx(found.tolist(), abs=1e-5)
    session = onnxruntime.InferenceSession(str(folder / 'net.onnx'), providers=['CPUExecutionProvider'])
    data = Compose(model.cfg.test_pipeline)(dict(filename=video, label=-1, start_index=0, modality='RGB'))
    clips = model.data_preprocessor(pseudo_collate([data]))['inputs'][0]
    logits = torch.from_numpy(session.run(None, {'clips': clips.numpy()})[0])
    torch.testing.assert_close(logits.softmax(1)[0], found, rtol=1e-3, atol=1e-5)
