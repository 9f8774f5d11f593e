"""Mixup and CutMix, for each dataset of a joint run its own, or none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mmnas_video.errors import ConfigError
from mmnas_video.registry import MODELS

OPTIONS = {'mixup': 0.0, 'cutmix': 0.0, 'prob': 1.0, 'cutmix_share': 0.5}


@MODELS.register_module()
class TaskBlending:
    """Blend the clips of a batch as its dataset asks; for ``blending`` of MMAction2's ``ActionDataPreprocessor``.

    ``TaskBlending(tasks=dict(in1k=dict(mixup=0.8, cutmix=1.0), ssv2=dict(mixup=0.3)))``. A dataset that is not named
    is not blended. Options of a dataset: ``mixup`` and ``cutmix``, the α of Beta(α, α), 0 for none; ``prob``, the
    share of its batches that are blended; ``cutmix_share``, that of CutMix among them where both are on.

    No class count is needed: a sample keeps ``gt_label`` and gets ``blended_label`` and ``blended_share``, which
    ``MultiTaskHead`` makes targets of.

    All is drawn under a seed made of the batch's own samples (``data_samples.draw``), so a batch is blended alike
    after a resume, and no global generator is touched. A rectangle of CutMix is the same in all frames.

    Source: Zhang et al. 2018 (mixup), Yun et al. 2019 (CutMix).

    Raises:
        ConfigError: an unknown option, or a number out of range.
    """

    def __init__(self, tasks: Mapping[str, Mapping[str, float]]) -> None:
        self.tasks = {name: _read(options, f'blending.tasks.{name}') for name, options in tasks.items()}

    def __call__(self, imgs: Tensor, batch_data_samples: Sequence[Any], **kwargs: Any) -> tuple[Tensor, Sequence[Any]]:
        """Blend ``imgs``, (B, views, C, T, H, W), each clip with another of the batch; the input is not written to."""
        options = self.tasks.get(getattr(batch_data_samples[0], 'task', None))
        if options is None:
            return imgs, batch_data_samples
        seeds = [sample.draw % 2**63 for sample in batch_data_samples]
        rng = np.random.default_rng([*seeds, len(seeds)])
        blended = rng.random() < options['prob']
        cut = rng.random() < options['cutmix_share']
        if not options['mixup'] or not options['cutmix']:
            cut = bool(options['cutmix'])
        alpha = options['cutmix' if cut else 'mixup']
        if not blended or not alpha:
            return imgs, batch_data_samples
        share, other = float(rng.beta(alpha, alpha)), rng.permutation(len(seeds))
        partner = imgs[torch.from_numpy(other).to(imgs.device, non_blocking=True)]
        imgs, share = _cutmix(imgs, partner, share, rng) if cut else ((1 - share) * imgs + share * partner, share)
        labels = [sample.gt_label for sample in batch_data_samples]
        for sample, index in zip(batch_data_samples, other, strict=True):
            sample.set_field(labels[index], 'blended_label')
            sample.set_field(share, 'blended_share')
        return imgs, batch_data_samples


def _cutmix(imgs: Tensor, partner: Tensor, share: float, rng: np.random.Generator) -> tuple[Tensor, float]:
    """Put a rectangle of ``partner`` in; returns also the share of the picture that it has taken.

    Its sides are √share of the picture's, its centre anywhere, so that at an edge less than ``share`` is taken.
    """
    sides = []
    for size in imgs.shape[-2:]:
        length, centre = int(size * np.sqrt(share)), int(rng.integers(size))
        sides.append((max(centre - length // 2, 0), min(centre + length - length // 2, size)))
    (top, bottom), (left, right) = sides
    imgs = imgs.clone()
    imgs[..., top:bottom, left:right] = partner[..., top:bottom, left:right]
    return imgs, (bottom - top) * (right - left) / (imgs.shape[-2] * imgs.shape[-1])


def _read(options: Mapping[str, float], key: str) -> dict[str, float]:
    for name, value in options.items():
        most = float('inf') if name in ('mixup', 'cutmix') else 1
        if name not in OPTIONS:
            raise ConfigError(f'{key}: found the option {name!r}, expected one of {", ".join(OPTIONS)}.')
        if not isinstance(value, (int, float)) or not 0 <= value <= most:
            raise ConfigError(f'{key}.{name}: found {value!r}, expected a number from 0 to {most}.')
    return {**OPTIONS, **options}
