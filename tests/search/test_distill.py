"""Soft labels from the largest network: the students' losses against closed forms, for one head and for several."""

import pytest
import torch
from mmaction.structures import ActionDataSample
from mmengine.model import BaseModel
from mmengine.registry import init_default_scope
from torch import nn

from mmnas_video.errors import ConfigError
from mmnas_video.registry import MODELS
from mmnas_video.search.distill import SoftLabels
from mmnas_video.search.indicator import batch_loss

CLASSES = {'image': 5, 'motion': 3}


@pytest.fixture(autouse=True)
def in_mmaction():
    init_default_scope('mmaction')


class Net(BaseModel):
    """(B, 11) through a layer and an element of it, which is the 'architecture', to a head: CE, or BCE on two tasks."""

    def __init__(self, joint: bool, **head):
        super().__init__()
        common = dict(type='TimeSformerHead', in_channels=7, topk=(1,), **head)
        heads = {task: dict(num_classes=count) for task, count in CLASSES.items()}
        common.pop('topk') if joint else None
        torch.manual_seed(0)
        self.trunk, self.gain = nn.Linear(11, 7), 1.0
        self.cls_head = MODELS.build(
            dict(type='MultiTaskHead', heads=heads, common=common, topk=(1,)) if joint else dict(common, num_classes=5)
        )
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, std=0.7)

    def forward(self, inputs, data_samples, mode='loss'):
        return self.cls_head.loss(self.trunk(inputs) * self.gain, data_samples)

    def scores(self, inputs, gain, task):
        """(B, K), past every hook."""
        head = self.cls_head.heads[task] if task else self.cls_head
        return nn.functional.linear(self.trunk(inputs) * gain, head.fc_cls.weight, head.fc_cls.bias)


def batch(task=None, size=13):
    samples = [ActionDataSample().set_gt_label(index % 3) for index in range(size)]
    for sample in samples:
        if task:
            sample.set_metainfo(dict(task=task))
    return dict(inputs=torch.randn(size, 11, generator=torch.Generator().manual_seed(5)), data_samples=samples)


def expected(model, data, task):
    """Loss of the network of gain 0.3 by what that of gain 2 says, from the formulas."""
    with torch.no_grad():
        teacher = model.scores(data['inputs'], 2.0, task)
    student = model.scores(data['inputs'], 0.3, task)
    if not task:  # -Σ_k p_k log q_k, mean over clips
        return -(teacher.softmax(1) * student.log_softmax(1)).sum(1).mean()
    p, q = teacher.sigmoid(), student.sigmoid()
    return -(p * q.log() + (1 - p) * (1 - q).log()).mean()


@pytest.mark.parametrize('weight', [1.0, 3.0])
@pytest.mark.parametrize('task', [None, 'image', 'motion'])
def test_students_loss_and_gradient(task, weight):
    """Rejects a gradient that goes on into the teacher, softmax labels for a binary loss (and the reverse), labels of
    the clips beside the teacher's, a lost loss weight, and another dataset's head."""
    model = Net(
        joint=task is not None,
        loss_cls=dict(type='BCELossWithLogits' if task else 'CrossEntropyLoss', loss_weight=weight),
    )
    labels, data = SoftLabels(model), batch(task)
    model.gain = 2.0
    loss, _ = labels.teach(model, data)
    torch.testing.assert_close(loss, batch_loss(model, data)[0])
    model.gain = 0.3
    loss, logged = labels.learn(model, data)
    wanted = weight * expected(model, data, task)
    torch.testing.assert_close(loss, wanted, rtol=1e-6, atol=1e-7)
    assert float(logged['loss'].detach()) == float(loss.detach()) != float(batch_loss(model, data)[0].detach())
    one, other = (torch.autograd.grad(value, list(model.parameters()), allow_unused=True) for value in (loss, wanted))
    for (name, _), first, second in zip(model.named_parameters(), one, other, strict=True):
        if task and 'heads' in name and f'heads.{task}' not in name:
            assert first is None
        else:
            torch.testing.assert_close(first, second, rtol=1e-5, atol=1e-6)
    assert not any(module._forward_hooks for module in model.modules()), 'left behind'


def test_the_teacher_has_nothing_to_learn_from_itself():
    """A network that says what the teacher said has no gradient. Rejects temperatures or weights on one side only."""
    for task in (None, 'image'):
        model = Net(joint=task is not None, **({} if task else {'loss_cls': dict(type='CrossEntropyLoss')}))
        labels, data = SoftLabels(model), batch(task)
        labels.teach(model, data)
        loss, _ = labels.learn(model, data)
        grads = torch.autograd.grad(loss, list(model.parameters()), allow_unused=True)
        assert all(grad is None or grad.abs().max() < 1e-6 for grad in grads)
        hard = torch.autograd.grad(batch_loss(model, data)[0], list(model.parameters()), allow_unused=True)
        assert max(grad.abs().max() for grad in hard if grad is not None) > 1e-3


def test_every_batch_has_its_own_teacher():
    """Rejects labels that stay from the batch (or the dataset) before."""
    model = Net(joint=True)
    labels = SoftLabels(model)
    for task, size in (('image', 13), ('motion', 7), ('image', 2)):
        data = batch(task, size)
        model.gain = 2.0
        labels.teach(model, data)
        model.gain = 0.3
        torch.testing.assert_close(labels.learn(model, data)[0], expected(model, data, task), rtol=1e-6, atol=1e-7)


def test_heads_that_cannot_be_distilled_are_named():
    """Rejects a loss whose targets are no probabilities, and a model without a head, found out in the first step."""
    with pytest.raises(ConfigError, match=r'distill: found model\.cls_head\.heads\.image with the loss HVULoss'):
        SoftLabels(Net(joint=True, loss_cls=dict(type='HVULoss')))
    with pytest.raises(ConfigError, match=r'distill: found model\.cls_head with the loss None'):
        SoftLabels(nn.Linear(2, 3))
