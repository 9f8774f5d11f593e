"""One classification head per dataset behind a shared backbone (VIM-NAS, Sec. 3.2 and Supp. A)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from mmengine.model import BaseModule, ModuleDict
from torch import Tensor

from mmnas_video.errors import ConfigError, check_dataset_names
from mmnas_video.registry import MODELS

from .targets import dense_targets


@MODELS.register_module()
class MultiTaskHead(BaseModule):
    """Sends a batch to the head of the dataset that it is of, as ``data_samples.task`` says.

    The other heads have no part in the step: their gradients stay None, so neither momentum nor weight decay moves
    them. (Under DistributedDataParallel that takes ``find_unused_parameters=True``.)

    By default the loss is binary cross-entropy against one-hot labels, as VIM-NAS trains; MMAction2's own heads give a
    BCE loss class numbers unless labels are smoothed. It is the mean over clips and classes; a ``loss_weight`` of K in
    ``loss_cls`` makes it the sum over the K classes. The views of a clip are averaged as probabilities.

    Args:
        heads: dataset name → config of a MMAction2 head (``num_classes``, ``label_smooth_eps``, ``loss_cls``, ...).
        common: what all these configs have in common (``type``, ``in_channels``, ``average_clips``, ...).
        default: name of the head for samples that name no dataset, such as those of a stock ``VideoDataset`` when
            a found network is tested on one; None refuses them.
        topk: accuracies that are logged in training, where no labels are blended.
        init_cfg: as in every MMEngine module.

    Raises:
        ConfigError: no head, a bad name, an unknown default; in use a batch of several datasets or of one without
            a head.
    """

    def __init__(
        self,
        heads: Mapping[str, Mapping[str, Any]],
        common: Mapping[str, Any] | None = None,
        default: str | None = None,
        topk: Sequence[int] = (1, 5),
        init_cfg: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        check_dataset_names('cls_head.heads', heads)
        if not heads or (default is not None and default not in heads):
            key, found = ('heads', 'none') if not heads else ('default', repr(default))
            raise ConfigError(f'cls_head.{key}: found {found}, expected a head (one of {", ".join(heads) or "any"}).')
        shared = {'loss_cls': {'type': 'BCELossWithLogits'}, 'average_clips': 'prob', **(common or {})}
        self.heads = ModuleDict({name: MODELS.build({**shared, **cfg}) for name, cfg in heads.items()})
        self.default, self.topk = default, tuple(topk)

    @property
    def tasks(self) -> tuple[str, ...]:
        """The names of the datasets, in the order of the config."""
        return tuple(self.heads)

    def task_of(self, data_samples: Sequence[Any]) -> str:
        """The dataset that all samples of a batch are of.

        Raises:
            ConfigError: they are of several, or of one that has no head.
        """
        found = {getattr(sample, 'task', self.default) for sample in data_samples}
        if len(found) != 1 or not found <= set(self.heads):
            names = ', '.join(sorted(map(str, found)))
            raise ConfigError(
                f'model.cls_head.heads: found a batch of the datasets {names}, expected one of '
                f'{", ".join(self.heads)}. '
                'JointDataset names a sample its dataset, and its batch samplers make batches of one; '
                'model.cls_head.default is for samples that name none.'
            )
        return found.pop()

    def forward(self, x: Tensor, task: str | None = None, **kwargs: Any) -> Tensor:
        """Scores, (B, K), of one head: that of ``task``, else the default, else the first."""
        return self.heads[task or self.default or self.tasks[0]](x, **kwargs)

    def loss(self, feats: Any, data_samples: Sequence[Any], **kwargs: Any) -> dict[str, Tensor]:
        """Loss and accuracies of the batch's own head, each under the dataset's name."""
        task = self.task_of(data_samples)
        head = self.heads[task]
        scores = head(feats, **kwargs).float()
        targets = dense_targets(data_samples, head.num_classes, head.label_smooth_eps, scores.device)
        loss = head.loss_cls(scores, targets)
        losses = loss if isinstance(loss, dict) else {'loss_cls': loss}
        return {f'{task}/{name}': value for name, value in {**losses, **self._accuracy(scores, data_samples)}.items()}

    def predict(self, feats: Any, data_samples: Sequence[Any], **kwargs: Any) -> Sequence[Any]:
        """The samples with ``pred_score`` (K,) and ``pred_label``, of the head of their dataset."""
        head = self.heads[self.task_of(data_samples)]
        return head.predict_by_feat(head(feats, **kwargs).float(), data_samples)  # numpy knows no bfloat16

    @torch.no_grad()
    def _accuracy(self, scores: Tensor, samples: Sequence[Any]) -> dict[str, Tensor]:
        if 'blended_label' in samples[0] or samples[0].gt_label.numel() != 1:
            return {}
        labels = torch.cat([sample.gt_label for sample in samples]).to(scores.device)
        above = (scores >= scores.gather(1, labels[:, None])).sum(1)  # itself, and what scores as high or higher
        return {f'top{k}_acc': (above <= k).float().mean() for k in self.topk}
