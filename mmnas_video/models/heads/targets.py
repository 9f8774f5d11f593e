"""Class labels as vectors: one-hot, blended, smoothed."""

from collections.abc import Sequence
from typing import Any

import torch
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
    # On the device: that is where the preprocessor has put the labels, and to read them back each would be waited for.
    targets = _dense([sample.gt_label for sample in samples], num_classes, device)
    if 'blended_label' in samples[0]:
        share = torch.tensor([sample.blended_share for sample in samples])[:, None].to(device, non_blocking=True)
        blended = _dense([sample.blended_label for sample in samples], num_classes, device)
        targets = (1 - share) * targets + share * blended
    return (1 - smoothing) * targets + smoothing / num_classes


def _dense(labels: Sequence[Tensor], num_classes: int, device: torch.device) -> Tensor:
    stacked = torch.stack(list(labels)).to(device)
    if stacked.shape[1] == 1:
        targets = torch.zeros(len(labels), num_classes, device=device)
        return targets.scatter_(1, stacked.long(), 1.0)  # F.one_hot may ask whether all of them are in range
    return stacked.float()
