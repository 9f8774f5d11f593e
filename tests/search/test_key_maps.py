"""Pretrained weights of other libraries, named in a config: a training and a search that start from them."""

import pickle

import pytest
import torch
from mmengine.registry import init_default_scope
from mmengine.runner import Runner
from mmpretrain.models import ImageClassifier

import mmnas_video
from mmnas_video.errors import ConfigError
from mmnas_video.registry import MODELS
from mmnas_video.testing import toy

#: 3 layers of 5 heads of 12, on images of 5 x 4 patches of 8 x 8, for 17 classes.
VIT = dict(
    type='VisionTransformer',
    arch=dict(embed_dims=60, num_layers=3, num_heads=5, feedforward_channels=90),
    img_size=(40, 32),
    patch_size=8,
)
TUBES = [
    dict(kernels=('1x8x8',), strides=('4x8x8',)),
    dict(kernels=('3x6x10',), strides=('2x8x8',), offsets=('1x0x2',)),
]
PINNED = dict(
    type='SuperViT',
    table=dict(embed_dims=(60,), depths=(3,), heads=(5,), mlp_ratios=(1.5,), head_dim=12),
    tubes=TUBES,
    patch_grid=(5, 4),
)
WIDE = {
    **PINNED,
    'table': dict(embed_dims=(30, 60, 66), depths=(2, 3, 4), heads=(3, 5, 7), mlp_ratios=(1.0, 1.5), head_dim=12),
    'tubes': [{**TUBES[0], 'kernels': ('1x8x8', '1x12x10')}, TUBES[1]],
}
POINT = {'embed_dim': 60, 'depth': 3, 'layer*.heads': 5, 'layer*.mlp_ratio': 1.5, 'tube1.kernel': '1x8x8'}
KEYS = 'mmpretrain.VisionTransformer'


@pytest.fixture(autouse=True)
def in_mmaction():
    mmnas_video.register()
    init_default_scope('mmaction')


@pytest.fixture(scope='module')
def host():
    """mmpretrain's classifier with no weight at its default."""
    init_default_scope('mmpretrain')
    torch.manual_seed(0)
    model = ImageClassifier(VIT, head=dict(type='VisionTransformerClsHead', num_classes=17, in_channels=60))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if 'ln' in name and name.endswith('weight'):
                parameter.uniform_(0.5, 1.5)
            else:
                parameter.normal_(0, 0.2)
    model.eval()
    return model


@pytest.fixture(scope='module')
def file(host, tmp_path_factory):
    path = tmp_path_factory.mktemp('vit') / 'vit.pth'
    torch.save({'state_dict': host.state_dict(), 'meta': {}}, path)
    return str(path)


def started(load_from, folder, hook, backbone, width=60, classes=17):
    """A Runner of a recognizer that stands before its first step."""
    head = dict(type='TimeSformerHead', num_classes=classes, in_channels=width, dropout_ratio=0.3)
    cfg = dict(
        model=dict(type='Recognizer3D', backbone=backbone, cls_head=head),
        work_dir=str(folder),
        custom_hooks=[hook],
        load_from=load_from,
        log_level='ERROR',
        default_scope='mmaction',
        experiment_name=folder.name,
        train_cfg=dict(by_epoch=True, max_epochs=1),
        train_dataloader=toy.loader(0),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1)),
    )
    runner = Runner.from_cfg(cfg)
    runner._train_loop = runner.build_train_loop(runner._train_loop)
    runner.call_hook('before_run')
    runner.load_or_resume()
    return runner.model.eval() or runner.model


def image():
    return torch.randn(2, 3, 40, 32, generator=torch.Generator().manual_seed(1))


def logits(model):
    with torch.no_grad():
        return model(image()[:, None, :, None], mode='tensor', stage='head')


@pytest.fixture
def expected(host):
    with torch.no_grad():
        found = host(image(), mode='tensor')
    assert found.shape == (2, 17) and found.std() > 0.3
    return found


def test_a_training_starts_with_the_classifiers_logits(host, file, expected, tmp_path):
    """mmpretrain's ImageClassifier and our Recognizer3D say the same of images. Rejects a head whose bias or rows are
    lost, weights that are mapped and then not loaded, and a file of the backbone alone that is not found in."""
    ours = started(file, tmp_path, dict(type='FineTuneHook', keys=KEYS), PINNED)
    torch.testing.assert_close(logits(ours), expected, rtol=1e-4, atol=1e-4)
    torch.save(host.backbone.state_dict(), tmp_path / 'backbone.pth')
    hook = dict(type='FineTuneHook', keys=KEYS, new=['cls_head.*'])
    other = started(str(tmp_path / 'backbone.pth'), tmp_path, hook, PINNED, classes=7)
    with torch.no_grad():
        features = other.extract_feat(image()[:, None, :, None])[0]
        torch.testing.assert_close(features, host.backbone(image())[0], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize('fixed', [{}, {'depth': POINT['depth']}])
def test_a_search_starts_with_the_classifiers_logits(fixed, file, expected, tmp_path):
    """The same through the slices of a supernet. Rejects windows that are not those of ``arch``, weights of the head's
    unused columns in the way, and a pattern that fits layers which a pinned depth has taken away."""
    hook = dict(type='InheritHook', keys=KEYS, arch=POINT)
    model = started(file, tmp_path, hook, {**WIDE, 'fixed': fixed, 'local_weights': dict(groups=2)}, width=66)
    space = model.backbone.space
    with model.backbone.use(model.backbone.canonical({**space.largest, **space.match(POINT)})):
        torch.testing.assert_close(logits(model), expected, rtol=1e-4, atol=1e-4)
    assert not torch.allclose(logits(model), expected, atol=0.1)


def test_a_new_head_keeps_its_initialisation(file, tmp_path):
    """Rejects a head of other classes that cannot be begun with, and a file's head that is forced into it."""
    hook = dict(type='InheritHook', keys=KEYS, arch=POINT, new=['cls_head.*'])
    model = started(file, tmp_path, hook, WIDE, width=66, classes=7)
    assert model.cls_head.fc_cls.weight.shape == (7, 66) and model.cls_head.fc_cls.weight.std() < 0.15
    assert model.backbone.norm.weight.std() > 0.1


class RunsCode:
    def __reduce__(self):
        return (print, ('run',))


FILES = {
    'resnet': dict(state_dict={'backbone.conv1.weight': torch.zeros(7, 3, 3, 3)}),
    'code': RunsCode(),
}
FINE_TUNE = dict(type='FineTuneHook', keys=KEYS)
INHERIT = dict(type='InheritHook', keys=KEYS, arch=POINT)


@pytest.mark.parametrize(
    ('name', 'hook', 'backbone', 'parts'),
    [
        ('resnet', FINE_TUNE, PINNED, ['resnet.pth', "no 'patch_embed.projection.weight'", 'FineTuneHook.keys']),
        ('resnet', INHERIT, WIDE, ['resnet.pth', "no 'patch_embed.projection.weight'", 'InheritHook.keys']),
        ('code', INHERIT, WIDE, ['code.pth']),
        ('gone', INHERIT, WIDE, ['gone.pth', 'no such file']),
        ('vit', FINE_TUNE, WIDE, ['SuperViT with something to choose', 'InheritHook']),
        ('vit', {**FINE_TUNE, 'keys': 'mmaction.X3D'}, PINNED, ['SuperViT', 'expected a SuperMBConv3D']),
        ('vit', {**FINE_TUNE, 'keys': 'timm'}, PINNED, ["FineTuneHook.keys: found 'timm'", KEYS]),
        ('vit', {**INHERIT, 'arch': {**POINT, 'depth': 2}}, WIDE, ['vit.pth', 'layers.2', '2 layers']),
        ('vit', {**INHERIT, 'arch': {**POINT, 'layers*': 5}}, WIDE, ['InheritHook.arch', 'layers*']),
        ('vit', {**INHERIT, 'arch': {**POINT, 'depth': 12}}, WIDE, ['InheritHook.arch', 'depth', '12']),
    ],
)
def test_files_that_do_not_fit(name, hook, backbone, parts, file, tmp_path):
    """Rejects a KeyError from inside of a key map, MMEngine's loading of what happens to fit, and a file whose code is
    run: one error that names file or option."""
    path = file
    if name in FILES:
        path = str(tmp_path / f'{name}.pth')
        torch.save(FILES[name], path, pickle_module=pickle)
    elif name == 'gone':
        path = str(tmp_path / 'gone.pth')
    with pytest.raises(ConfigError) as error:
        started(path, tmp_path, hook, backbone, width=60 if backbone is PINNED else 66)
    for part in parts:
        assert part in str(error.value)


def test_what_an_inheritance_lacks_is_named(host, tmp_path):
    """Rejects a head that is left as it was initialised without a word."""
    torch.save(host.backbone.state_dict(), tmp_path / 'backbone.pth')
    with pytest.raises(ConfigError, match=r'cls_head\.fc_cls'):
        started(str(tmp_path / 'backbone.pth'), tmp_path, INHERIT, WIDE, width=66)


def test_the_heads_own_layers_are_not_left_out(host):
    """Rejects a classifier with a hidden layer in its head whose last one is taken for all of it."""
    state = {**host.state_dict(), 'head.layers.pre_logits.weight': torch.zeros(60, 60)}
    with pytest.raises(ConfigError, match=r"found the key 'head\.layers\.pre_logits\.weight'"):
        mmnas_video.models.vit_state_dict(state, MODELS.build(PINNED))
