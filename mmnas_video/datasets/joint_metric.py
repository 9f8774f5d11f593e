"""Top-k accuracy of each dataset of a joint validation, and their mean."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from mmengine.dist import get_world_size
from mmengine.evaluator import BaseMetric

from mmnas_video.errors import ConfigError
from mmnas_video.registry import METRICS


@METRICS.register_module()
class JointAccMetric(BaseMetric):
    """``NAME/top1`` and ``NAME/top5`` for each dataset, and ``mean/top1``, ``mean/top5``: means over datasets.

    ``mean/top1`` is the joint score: each dataset counts alike, whatever its size (the mean over clips would be
    ImageNet's). A class that scores as high as the right one counts against it, and so does a score that is no
    number: a network that says the same of all classes has an accuracy of 0, not of 1.

    Args:
        topk: the k.
        collect_device: over which ranks' results are gathered, ``'cpu'`` or ``'gpu'``.
    """

    def __init__(self, topk: Sequence[int] = (1, 5), collect_device: str = 'cpu') -> None:
        super().__init__(collect_device=collect_device)
        if not topk or any(not isinstance(k, int) or k < 1 for k in topk):
            raise ConfigError(f'JointAccMetric.topk: found {topk}, expected whole numbers of at least 1.')
        self.topk = tuple(topk)

    def process(self, data_batch: Any, data_samples: Sequence[Mapping[str, Any]]) -> None:
        """Note each sample's dataset, and how many other classes score as high as the right one or higher.

        Raises:
            ConfigError: a sample that names no dataset, or has several labels.
        """
        for sample in data_samples:
            task = sample.get('task')
            if task is None:
                raise ConfigError(
                    'val_evaluator: found a sample that says no dataset, expected a JointDataset under JointAccMetric; '
                    'AccMetric is for a single dataset.'
                )
            label, score = torch.as_tensor(sample['gt_label']), sample['pred_score'].float()
            if label.numel() != 1:
                raise ConfigError(
                    f'val_evaluator: found {label.numel()} labels for a sample of {task} under JointAccMetric, '
                    'expected one class for each. Validate a dataset of several labels by itself, with '
                    "dict(type='AccMetric', metric_list=('mean_average_precision',))."
                )
            below = score < score[int(label)]
            self.results.append((task, len(score) - 1 - int(below.sum())))

    def evaluate(self, size: int) -> dict[str, float]:
        """The figures over all ranks, which may have unequal numbers of clips: none is padded, none cut off.

        Args:
            size: of the dataset; not asked for, because clips that cannot be read are not scored.
        """
        self.results = [self.results]  # one parcel per rank: MMEngine would cut unequal lists to the shortest
        return super().evaluate(get_world_size())

    def compute_metrics(self, results: list[list[tuple[str, int]]]) -> dict[str, float]:
        """Shares from 0 to 1, datasets in the order in which they come."""
        ranks = defaultdict(list)
        for task, rank in (result for parcel in results for result in parcel):
            ranks[task].append(rank)
        metrics = {
            f'{task}/top{k}': float((torch.tensor(found) < k).double().mean())
            for task, found in ranks.items()
            for k in self.topk
        }
        for k in self.topk if ranks else ():
            metrics[f'mean/top{k}'] = sum(metrics[f'{task}/top{k}'] for task in ranks) / len(ranks)
        return metrics
