"""Labels of lists against the classes of their heads, before a run's first step."""

from contextlib import nullcontext

import pytest
import torch
from mmaction.evaluation import AccMetric
from mmaction.models.heads import I3DHead
from mmaction.structures import ActionDataSample
from mmengine.dataset import BaseDataset, RepeatDataset
from mmengine.evaluator import DumpResults
from mmengine.registry import init_default_scope
from torch import nn

from mmnas_video.datasets import LabelHook, check_labels, only_written
from mmnas_video.datasets.labels import _place, check_averaged, label_ends
from mmnas_video.errors import ConfigError
from mmnas_video.registry import DATASETS


@pytest.fixture(autouse=True)
def mmaction_scope():
    init_default_scope('mmaction')


class Head(nn.Module):
    def __init__(self, num_classes):
        super().__init__()
        self.num_classes = num_classes


def stock(tmp_path, *rows, name='train.txt', **options):
    """A stock data set of these lines, whose videos are there (and empty)."""
    (tmp_path / name).write_text(''.join(f'{row}\n' for row in rows))
    for row in rows:
        (tmp_path / row.split(' ')[0]).touch()
    return dict(
        type='VideoDataset',
        ann_file=str(tmp_path / name),
        data_prefix=dict(video=str(tmp_path)),
        pipeline=[],
        **options,
    )


def seeded(cfg):
    return dict(type='SeededDataset', dataset=cfg)


@pytest.mark.parametrize(
    'wrap', [lambda cfg: cfg, seeded, lambda cfg: dict(type='RepeatDataset', dataset=cfg, times=3)]
)
def test_a_label_without_a_class_is_named_with_its_line(wrap, tmp_path):
    """Rejects a list that is not looked at because it stands in no SeededDataset, or in another data set, and a label
    equal to the number of classes let pass."""
    key = 'val_dataloader.dataset' + '.dataset' * (wrap(stock(tmp_path, 'a 0'))['type'] != 'VideoDataset')
    cfg = wrap(stock(tmp_path, 'a.mp4 0', 'b.mp4 5', 'c.mp4 2', 'd.mp4 5'))
    dataset = DATASETS.build(cfg)
    check_labels(Head(6), {'val_dataloader.dataset': dataset})
    with pytest.raises(ConfigError) as refused:
        check_labels(dict(type='TSNHead', num_classes=5), {'val_dataloader.dataset': dataset})
    assert str(refused.value) == (
        f"{key}.ann_file: found the label 5 in line 2 ('b.mp4 5') of '{tmp_path}/train.txt', whose labels go from 0 to "
        '5; expected 0 to 4: model.cls_head.num_classes is 5'
    )


class Rows(list):
    """As many as a data set has."""


def test_empty_lines_are_counted_where_rows_are_lines(tmp_path):
    """Rejects a number of the row that leaves out the empty lines, and a line of a file in which a row is none."""
    rows = Rows('ab')
    rows.ann_file = str(tmp_path / 'train.txt')
    (tmp_path / 'train.txt').write_text('a.mp4 0\n\n \nb.mp4 7\n')
    assert _place(rows, 1) == "line 4 ('b.mp4 7')"
    rows.append('c')
    assert _place(rows, 1) == 'entry 2'
    # To MMAction2 an empty line is a clip without a label.
    dataset = DATASETS.build(stock(tmp_path, 'a.mp4 0', '', 'b.mp4 1'))
    with pytest.raises(ConfigError, match=r'label -1 \(that of a line without one\) in entry 2 of '):
        check_labels(Head(3), {'val_dataloader.dataset': dataset})


def test_a_line_without_a_label_is_named(tmp_path):
    """Rejects MMAction2's −1 for it, which a metric counts as a wrong answer."""
    dataset = DATASETS.build(stock(tmp_path, 'a.mp4 0', 'b.mp4'))
    with pytest.raises(ConfigError, match=r"label -1 \(that of a line without one\) in line 2 \('b.mp4'\) of "):
        check_labels(Head(3), {'val_dataloader.dataset': dataset})


@pytest.mark.parametrize(('rows', 'label'), [(('a 0 2', 'b 1 3 0'), 3), (('a 0 2', 'b 1 -1'), -1)])
def test_each_of_several_labels_is_looked_at(rows, label, tmp_path):
    """Rejects the vector of zeros and ones, in which −1 is the last class and 3 of 3 an IndexError without a list."""
    cfg = stock(tmp_path, *rows, multi_class=True, num_classes=3, delimiter=' ')
    with pytest.raises(
        ConfigError, match=rf'train_dataloader.dataset.dataset.ann_file: found the label {label} .*line 2'
    ):
        DATASETS.build(seeded(cfg))
    with pytest.raises(ConfigError, match=rf'val_dataloader.dataset.ann_file: found the label {label} .*line 2'):
        check_labels(Head(3), {'val_dataloader.dataset': DATASETS.build(cfg)})
    fitting = DATASETS.build(seeded(stock(tmp_path, *rows[:1], multi_class=True, num_classes=3)))
    check_labels(Head(3), {'val_dataloader.dataset': fitting})
    with pytest.raises(ConfigError, match='found the label 2 in line 1'):
        check_labels(Head(2), {'val_dataloader.dataset': fitting})


def test_of_a_joint_data_set_each_is_held_against_its_own_head(tmp_path):
    """Rejects all held against one head, and the key of another data set."""
    lists = {name: stock(tmp_path, 'a.mp4 0', f'b.mp4 {last}', name=name) for name, last in (('x', 6), ('y', 2))}
    joint = DATASETS.build(dict(type='JointDataset', datasets=lists))
    for x, y, words in ((7, 3, None), (7, 2, 'datasets.y.ann_file: found the label 2'), (3, 7, 'datasets.x.ann_file')):
        head = dict(type='MultiTaskHead', heads=dict(x=dict(num_classes=x), y=dict(num_classes=y)))
        if words is None:
            check_labels(head, {'train_dataloader.dataset': joint})
        else:
            with pytest.raises(ConfigError, match=rf'^train_dataloader\.dataset\.{words}.*model\.cls_head\.heads\.'):
                check_labels(head, {'train_dataloader.dataset': joint})


def test_what_is_not_known_is_passed_over(tmp_path):
    """Rejects an AttributeError for a head or a data set of a user's."""

    class Own(BaseDataset):
        def load_data_list(self):
            return [{'filename': 'a', 'target': 9}]

    dataset = DATASETS.build(stock(tmp_path, 'a.mp4 9'))
    for head in (None, nn.Identity(), dict(type='OwnHead'), Head(None)):
        check_labels(head, {'train_dataloader.dataset': dataset})
    for other in ([(1, 2)], Own(pipeline=[]), RepeatDataset(Own(pipeline=[]), 2), object()):
        check_labels(Head(3), {'train_dataloader.dataset': other})
    assert label_ends([0.5, 1]) is label_ends(['a']) is label_ends([]) is label_ends([[0, 1.0]]) is None


@pytest.mark.parametrize(('average', 'refused'), [(None, True), ('prob', False), ('score', False)])
def test_scores_of_every_clip_are_not_counted_as_those_of_videos(average, refused):
    """MMAction2's heads hand them on by default, and its AccMetric answers: here of two right answers, another
    top-1 than 1. Rejects such a run, unless nothing counts them."""
    head = I3DHead(num_classes=11, in_channels=2, average_clips=average)
    samples = [ActionDataSample().set_gt_label(label) for label in (0, 3)]
    scores = 5 * torch.eye(11)[[0, 3]]
    metric = AccMetric('top_k_accuracy')
    metric.process({}, [sample.to_dict() for sample in head.predict_by_feat(scores, samples)])
    top = metric.compute_metrics(metric.results)['top1']
    assert top != 1 if refused else top == 1
    check_averaged(head, [object()], 'val_evaluator')
    with pytest.raises(ConfigError, match=r'cls_head\.average_clips: found None') if refused else nullcontext():
        check_averaged(head, [metric], 'val_evaluator')


@pytest.mark.parametrize('metrics', [[DumpResults('out.pkl')], [DumpResults('out.pkl'), object()]])
def test_a_test_that_only_writes_its_results_needs_no_label(metrics, tmp_path):
    """Rejects MMAction2's lists without labels, and their −1 where an accuracy is wanted."""

    class Part:
        def __init__(self, **parts):
            self.__dict__.update(parts)

    loader = Part(dataset=DATASETS.build(stock(tmp_path, 'a.mp4', 'b.mp4')))
    model = nn.Module()
    model.cls_head = Head(3)
    runner = Part(
        model=model,
        _train_loop=None,
        _val_loop=dict(type='ValLoop'),
        _test_loop=Part(dataloader=loader, evaluator=Part(metrics=metrics)),
    )
    if len(metrics) == 1:
        LabelHook().before_run(runner)
    else:
        with pytest.raises(ConfigError, match=r'test_dataloader\.dataset\.ann_file: found the label -1'):
            LabelHook().before_run(runner)


@pytest.mark.parametrize(
    ('evaluator', 'written'),
    [
        (dict(type='DumpResults', out_file_path='out.pkl'), True),
        (dict(metrics=[dict(type='mmengine.DumpResults', out_file_path='out.pkl')]), True),
        ([dict(type='AccMetric'), dict(type='DumpResults', out_file_path='out.pkl')], False),
        ([], False),
        (None, False),
    ],
)
def test_an_evaluator_that_only_writes_is_known_by_its_config(evaluator, written):
    """Rejects a search that demands labels of a test list whose results are only written."""
    assert only_written(evaluator) == written
