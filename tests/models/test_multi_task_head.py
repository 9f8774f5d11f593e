"""A step trains its own dataset's head; targets and losses against closed forms."""

import math

import pytest
import torch
from mmaction.structures import ActionDataSample
from mmengine.registry import init_default_scope
from torch import nn

from mmnas_video.errors import ConfigError
from mmnas_video.models.heads import dense_targets
from mmnas_video.registry import MODELS

CLASSES = {'in1k': 11, 'k400': 5, 'ssv2': 3}


@pytest.fixture(autouse=True)
def in_mmaction():
    init_default_scope('mmaction')


def samples(task, labels):
    made = [ActionDataSample().set_gt_label(label) for label in labels]
    for sample in made:
        if task:
            sample.set_metainfo(dict(task=task))
    return made


def head(default=None, common=None, **changes):
    common = {'type': 'TimeSformerHead', 'in_channels': 7, **(common or {})}
    heads = {name: dict(num_classes=count, **changes.get(name, {})) for name, count in CLASSES.items()}
    return MODELS.build(dict(type='MultiTaskHead', heads=heads, common=common, default=default))


class Net(nn.Module):
    """A shared layer, then the heads."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.trunk, self.cls_head = nn.Linear(13, 7), head()

    def step(self, optimizer, task, labels):
        torch.manual_seed(len(task))
        losses = self.cls_head.loss(self.trunk(torch.randn(len(labels), 13)), samples(task, labels))
        optimizer.zero_grad()
        sum(value for name, value in losses.items() if 'loss' in name).backward()
        optimizer.step()


@pytest.mark.parametrize('kind', [torch.optim.SGD, torch.optim.AdamW])
def test_the_other_heads_do_not_move(kind):
    """Rejects a gradient of zero in the place of none: momentum and weight decay, gathered in earlier steps of these
    heads, would move them. Weights and the optimiser's state stay bit-identical; the own head does move."""
    net = Net()
    optimizer = kind(
        net.parameters(), lr=0.3, weight_decay=0.2, **({'momentum': 0.9} if kind is torch.optim.SGD else {})
    )
    for task in CLASSES:
        net.step(optimizer, task, [0, 1, 2])

    def state(task):
        parameters = list(net.cls_head.heads[task].parameters())
        kept = [value for p in parameters for value in optimizer.state[p].values() if torch.is_tensor(value)]
        return [value.detach().clone() for value in (*parameters, *kept)]

    before = {task: state(task) for task in CLASSES}
    net.step(optimizer, 'k400', [4, 0, 2, 1])
    for task in CLASSES:
        same = [torch.equal(one, other) for one, other in zip(before[task], state(task), strict=True)]
        assert all(same) == (task != 'k400'), task
        assert all((p.grad is None) == (task != 'k400') for p in net.cls_head.heads[task].parameters())


def test_bce_on_one_hot_labels_without_smoothing():
    """Against Σ log(1 + e^x) - x_y, by hand. Rejects class numbers as targets (which MMAction2's heads give a BCE loss
    without smoothing), a softmax, and a sum over classes in the place of the mean."""
    net = head()
    feats = torch.randn(4, 7)
    losses = net.loss(feats, samples('k400', [4, 0, 0, 3]))
    scores = net.heads['k400'](feats)
    expected = torch.stack(
        [(torch.log1p(torch.exp(row)).sum() - row[label]) / 5 for row, label in zip(scores, (4, 0, 0, 3), strict=True)]
    ).mean()
    torch.testing.assert_close(losses['k400/loss_cls'], expected)
    assert set(losses) == {'k400/loss_cls', 'k400/top1_acc', 'k400/top5_acc'}


def test_smoothing_is_of_each_head():
    """With all scores 0 every class costs log 2 whatever its target; with scores s, K classes and smoothing ε the mean
    is log(1 + e^s) - s/K. Rejects smoothing of another head, targets that do not sum to 1, and a shift of ε / (K-1)."""
    net = head(ssv2=dict(label_smooth_eps=0.3), in1k=dict(label_smooth_eps=0.1))
    for module in net.heads.values():
        nn.init.zeros_(module.fc_cls.weight), nn.init.constant_(module.fc_cls.bias, 0.7)
    for task, count in CLASSES.items():
        loss = net.loss(torch.randn(2, 7), samples(task, [1, 0]))[f'{task}/loss_cls']
        assert loss.item() == pytest.approx(math.log1p(math.exp(0.7)) - 0.7 / count, rel=1e-5)
    targets = dense_targets(samples('ssv2', [1, 0]), 3, 0.3, torch.device('cpu'))
    torch.testing.assert_close(targets, torch.tensor([[0.1, 0.8, 0.1], [0.8, 0.1, 0.1]]))


def test_blended_and_multi_label_targets():
    """Rejects the shares turned round, and a multi-label vector taken for a class number."""
    made = samples('ssv2', [1, 0])
    for sample, other in zip(made, (0, 0), strict=True):
        sample.set_field(torch.tensor([other]), 'blended_label'), sample.set_field(0.25, 'blended_share')
    targets = dense_targets(made, 3, 0.0, torch.device('cpu'))
    torch.testing.assert_close(targets, torch.tensor([[0.25, 0.75, 0.0], [1.0, 0.0, 0.0]]))
    assert set(head().loss(torch.randn(2, 7), made)) == {'ssv2/loss_cls'}
    many = samples('ssv2', [torch.tensor([1, 0, 1]), torch.tensor([0, 0, 1])])
    torch.testing.assert_close(dense_targets(many, 3, 0.0, torch.device('cpu')), torch.tensor([[1.0, 0, 1], [0, 0, 1]]))


def test_training_accuracy_by_hand():
    """Rejects top-5 of another head's classes, and ties in the clip's favour."""
    net = head()
    net.heads['ssv2'].forward = lambda x: x
    scores = torch.tensor([[0.1, 0.5, 0.4], [0.1, 0.5, 0.4], [0.3, 0.3, 0.3]])
    losses = net.loss(scores, samples('ssv2', [1, 2, 0]))
    assert float(losses['ssv2/top1_acc']) == pytest.approx(1 / 3) and float(losses['ssv2/top5_acc']) == 1


def test_prediction_is_of_the_own_head_with_its_classes():
    """Rejects scores of the first head for all, and scores in bfloat16, which numpy does not know."""
    net = head(common=dict(average_clips='prob')).to(torch.bfloat16)
    for task, count in CLASSES.items():
        predicted = net.predict(torch.randn(2 * 3, 7).bfloat16(), samples(task, [1, 0]))  # three views
        assert [len(sample.pred_score) for sample in predicted] == [count, count]
        assert all(abs(float(sample.pred_score.sum()) - 1) < 1e-3 for sample in predicted)
        predicted[0].pred_score.detach().numpy()


def test_tensor_mode_and_default():
    """Rejects a forward without a task that fails (the cost counter has none), and a default that is ignored."""
    x = torch.randn(2, 7)
    assert head()(x).shape == (2, 11) and head('ssv2')(x).shape == (2, 3) and head()(x, 'k400').shape == (2, 5)
    assert head('ssv2').predict(x, samples(None, [1, 0]))[0].num_classes == 3


def test_initial_weights_are_those_of_each_head():
    """Rejects a plain ModuleDict, through which MMEngine's init_weights does not reach."""
    net = head(common=dict(init_std=1e-9))
    net.init_weights()
    assert all(module.fc_cls.weight.abs().max() < 1e-7 for module in net.heads.values())


@pytest.mark.parametrize(
    ('tasks', 'words'),
    [
        (('in1k', 'k400'), 'found a batch of the datasets in1k, k400, expected one of in1k, k400, ssv2'),
        (('k600', 'k600'), 'found a batch of the datasets k600'),
        ((None, None), 'found a batch of the datasets None'),
    ],
)
def test_a_batch_of_no_head_or_of_two_is_refused(tasks, words):
    """Rejects a batch that is trained on the head of its first sample."""
    batch = [sample for task in tasks for sample in samples(task, [1])]
    with pytest.raises(ConfigError, match=words):
        head().loss(torch.randn(2, 7), batch)


def test_wrong_options_are_named():
    """Rejects a name that only fails as a module's, and a default that is never found."""
    with pytest.raises(ConfigError, match=r"cls_head\.default: found 'k600'"):
        head('k600')
    with pytest.raises(ConfigError, match=r'cls_head\.heads: found none'):
        MODELS.build(dict(type='MultiTaskHead', heads={}))
    with pytest.raises(ConfigError, match="found the name 'gloss', expected one without 'loss'"):
        MODELS.build(dict(type='MultiTaskHead', heads=dict(gloss=dict(num_classes=3)), common=dict(in_channels=7)))
    with pytest.raises(ConfigError, match=r"found the name 'a\.b'"):
        MODELS.build(dict(type='MultiTaskHead', heads={'a.b': dict(num_classes=3)}))
