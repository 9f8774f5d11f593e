"""Accuracy of each dataset and their mean, against counts by hand; over ranks that have unequal numbers of clips."""

import numpy as np
import pytest
import torch
from mmaction.evaluation import top_k_accuracy
from mmaction.structures import ActionDataSample
from mmengine.evaluator import Evaluator

from mmnas_video.datasets import JointAccMetric
from mmnas_video.errors import ConfigError


def sample(task, scores, label):
    made = ActionDataSample().set_gt_label(label).set_pred_score(torch.tensor(scores))
    made.set_metainfo(dict(task=task))
    return made


def evaluate(samples, size=0, **options):
    evaluator = Evaluator(JointAccMetric(**options))
    evaluator.process(samples)
    return evaluator.evaluate(size)


def test_against_counts_by_hand():
    """Rejects the mean over clips in the place of the mean over datasets, a top-k of k + 1, results cut off at the
    dataset's length (which counts bad files too), and classes counted from 1."""
    samples = [
        sample('a', [0.1, 0.5, 0.4], 1),  # rank 0
        sample('a', [0.1, 0.5, 0.4], 2),  # 1
        sample('b', [0.1, 0.2, 0.3, 0.4, 0.0], 0),  # 3
        sample('b', [0.1, 0.2, 0.3, 0.4, 0.0], 3),  # 0
        sample('b', [0.1, 0.2, 0.3, 0.4, 0.0], 1),  # 2
        sample('b', [0.1, 0.2, 0.3, 0.4, 0.0], 3),  # 0
        sample('b', [0.1, 0.2, 0.3, 0.4, 0.0], 4),  # 4
    ]
    expected = {
        'a/top1': 1 / 2, 'a/top2': 1, 'a/top4': 1, 'b/top1': 2 / 5, 'b/top2': 2 / 5, 'b/top4': 4 / 5,
        'mean/top1': 0.45, 'mean/top2': 0.7, 'mean/top4': 0.9,
    }  # fmt: skip
    assert evaluate(samples, size=3, topk=(1, 2, 4)) == pytest.approx(expected)


def test_it_is_mmactions_accuracy():
    """Rejects another order of scores than AccMetric's, on 307 random clips without ties."""
    rng = np.random.default_rng(0)
    scores, labels = rng.random((307, 13)), rng.integers(13, size=307)
    found = evaluate([sample('k', row, int(label)) for row, label in zip(scores.tolist(), labels, strict=True)], 307)
    assert [found['k/top1'], found['k/top5']] == pytest.approx(top_k_accuracy(list(scores), labels.tolist(), (1, 5)))


def test_a_network_that_says_nothing_scores_nothing():
    """Rejects ties in the clip's favour: constant scores, or NaN, would be 100 %."""
    nan = float('nan')
    for scores in ([0.2] * 5, [nan] * 5, [0.1, nan, 0.1, 0.1, 0.1]):
        assert evaluate([sample('k', scores, 1)], 1, topk=(1, 4)) == {
            'k/top1': 0, 'k/top4': 0, 'mean/top1': 0, 'mean/top4': 0
        }  # fmt: skip


def test_unequal_ranks_are_counted_in_full(monkeypatch):
    """Rejects MMEngine's own way to gather, which cuts all ranks to the shortest: here one has 3 clips, one 1."""
    parcels = [[('a', 0), ('a', 1), ('b', 0)], [('b', 7)]]
    monkeypatch.setattr('mmnas_video.datasets.joint_metric.get_world_size', lambda: 2)
    gathered = []

    def collect(part, size, device, tmpdir=None):
        gathered.append((len(part), size))
        return [part[0], parcels[1]][:size]

    monkeypatch.setattr('mmengine.evaluator.metric.collect_results', collect)
    metric = JointAccMetric(topk=(1,))
    metric.results = list(parcels[0])
    assert metric.evaluate(4) == {'a/top1': 0.5, 'b/top1': 0.5, 'mean/top1': 0.5}
    assert gathered == [(1, 2)] and metric.results == []


def test_what_is_wrong_is_named():
    """Rejects clips of a single dataset's loader counted under the name None."""
    lone = ActionDataSample().set_gt_label(1).set_pred_score(torch.tensor([0.1, 0.9]))
    with pytest.raises(ConfigError, match='expected a JointDataset under JointAccMetric'):
        evaluate([lone])
    with pytest.raises(ConfigError, match=r'JointAccMetric\.topk: found \(0,\)'):
        JointAccMetric(topk=(0,))


def test_several_labels_are_refused():
    """Rejects a bare ValueError of torch, after the first epochs of a training that takes such labels."""
    several = sample('k', [0.1, 0.4, 0.2, 0.2, 0.1], 1)
    several.set_field(torch.tensor([0, 1, 0, 1, 0]), 'gt_label')
    with pytest.raises(ConfigError, match='found 5 labels for a sample of k under JointAccMetric, expected one class'):
        evaluate([several])
