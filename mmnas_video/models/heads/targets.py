"""Class labels as vectors: one-hot, blended, smoothed."""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor


def dense_targets(samples: Sequence[Any], num_classes: int, smoothing: float, device: torch.device) -> Tensor:
    """Targets of a batch, (B, K) float32: (1 - ε) · label + ε / K.

    The label of a sample is one-hot, or a vector if the annotation has several classes. Where ``TaskBlending`` has
    blended it with another clip, it is (1 - s) times its own label plus s times the other's.

    Args:
        samples: with ``gt_label``, and ``blended_label`` and ``blended_share`` where blended.
        num_classes: K.
        smoothing: ε, 0 for none.
        device: of the result.
    """
    targets = _dense([sample.gt_label for sample in samples], num_classes)
    if 'blended_label' in samples[0]:
        share = torch.tensor([sample.blended_share for sample in samples])[:, None]
        targets = (1 - share) * targets + share * _dense([sample.blended_label for sample in samples], num_classes)
    return ((1 - smoothing) * targets + smoothing / num_classes).to(device)


def _dense(labels: Sequence[Tensor], num_classes: int) -> Tensor:
    stacked = torch.stack([label.cpu() for label in labels])
    if stacked.shape[1] == 1:
        return F.one_hot(stacked[:, 0].long(), num_classes).float()
    return stacked.float()
