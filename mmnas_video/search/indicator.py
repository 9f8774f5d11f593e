"""Performance indicators: how well an architecture does on a batch, and what weight that gives it.

An indicator is named in a config (``indicator=dict(type='Likelihood', reduction='sum')``; registered in TASK_UTILS).
It scores one architecture on this rank's part of a batch as a (sum, count) pair; pairs are added over the ranks
before they become weights. A sum may be a scalar tensor that is still being computed: see :func:`read`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from mmnas_video.errors import check_number, check_one_of
from mmnas_video.registry import TASK_UTILS

#: (bare model, preprocessed batch) to the loss and the values to log.
BatchLoss = Callable[[nn.Module, dict[str, Any]], tuple[Tensor, dict[str, Tensor]]]


def batch_loss(model: nn.Module, batch: dict[str, Any]) -> tuple[Tensor, dict[str, Tensor]]:
    """Mean loss of a preprocessed batch and the values to log; ``model`` is the bare (unwrapped) recognizer."""
    return model.parse_losses(model(**batch, mode='loss'))


def read(pairs: Sequence[tuple[Tensor | float, int]]) -> list[tuple[float, int]]:
    """The (sum, count) pairs of several architectures or batches as numbers.

    Read together, a GPU is waited for once and not after each forward pass: meanwhile the next ones are queued.
    """
    found = [total.detach() for total, _ in pairs if isinstance(total, Tensor)]
    numbers = iter(torch.stack(found).tolist() if found else ())
    return [(next(numbers) if isinstance(total, Tensor) else float(total), count) for total, count in pairs]


@TASK_UTILS.register_module()
class Likelihood:
    """log p(y|X, ω, A): minus the loss, summed or averaged over the batch.

    ``'sum'`` is the likelihood of Eq. 1 (AutoX3D). Over a large batch its weights are as good as one-hot; the logged
    effective sample size shows it. ``'mean'`` is the likelihood per clip, with weights closer to uniform.
    """

    #: The same weights also fall out of the training batch itself, in one pass.
    from_training_loss = True

    def __init__(self, reduction: str = 'sum') -> None:
        check_one_of('indicator.reduction', reduction, ('sum', 'mean'))
        self.reduction = reduction

    def measure(self, model: nn.Module, batch: dict[str, Any]) -> tuple[Tensor, int]:
        """(sum of log-likelihoods, clips) of the active architecture."""
        loss, _ = batch_loss(model, batch)
        size = len(batch['data_samples'])
        return -loss.detach().double() * size, size

    def score(self, total: float, count: int) -> float:
        """The log-likelihood that weights are made of."""
        return total if self.reduction == 'sum' else total / count

    def scale(self, count: int) -> int:
        """How many clips' loss a score holds: a cost term per clip is counted as often."""
        return count if self.reduction == 'sum' else 1

    def log_weights(self, scores: Sequence[float]) -> Tensor:
        """Unnormalised log-weights, (K,)."""
        return torch.tensor(scores, dtype=torch.float64)


@TASK_UTILS.register_module()
class VideoAccuracy:
    """Top-1 accuracy on the batch, each video the mean of its clips; w_k = acc_k / Σ acc, uniform if all are 0.

    Source: Auto-TSNet, Sec. 4.1. The clips of a video are averaged as the head does (``average_clips``), or as
    probabilities where the head leaves them apart. A video of several labels (``multi_class=True`` of MMAction2's
    datasets) is right if the class that scores highest is one of them (hit@1; a mean average precision is no sum over
    videos).

    Args:
        num_clips: clips of each held-out video, put into the ``SampleFrames`` step of its pipeline; None leaves the
            pipeline as it is.

    Raises:
        ConfigError: ``num_clips`` is no positive number.
    """

    from_training_loss = False

    def __init__(self, num_clips: int | None = None) -> None:
        if num_clips is not None:
            check_number('indicator.num_clips', num_clips, 1)
        self.num_clips = num_clips

    def measure(self, model: nn.Module, batch: dict[str, Any]) -> tuple[Tensor, int]:
        """(videos that are right, videos) of the active architecture."""
        samples = model(**batch, mode='predict')
        right = [_is_right(_video_score(sample.pred_score), sample.gt_label) for sample in samples]
        return torch.stack(right).double().sum(), len(samples)

    def score(self, total: float, count: int) -> float:
        """Accuracy in 0..1."""
        return total / count

    def scale(self, count: int) -> int:
        """A share does not grow with the batch."""
        return 1

    def log_weights(self, scores: Sequence[float]) -> Tensor:
        """Unnormalised log-weights, (K,)."""
        accuracy = torch.tensor(scores, dtype=torch.float64)
        return accuracy.log() if accuracy.any() else torch.zeros_like(accuracy)


def _video_score(scores: Tensor) -> Tensor:
    """(classes,) of one video, from that or from (clips, classes)."""
    return scores if scores.ndim == 1 else scores.flatten(0, -2).softmax(-1).mean(0)


def _is_right(scores: Tensor, label: Any) -> Tensor:
    """Whether the highest of (classes,) is the label (a class, or 1 for each of several in (classes,)): a scalar."""
    best, label = scores.argmax(), torch.as_tensor(label, device=scores.device).flatten()
    return best == label[0] if label.numel() == 1 else label.take(best) > 0
