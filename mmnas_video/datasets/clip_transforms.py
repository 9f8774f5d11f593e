"""Pipeline steps that MMAction2 has not: an image as a clip of one frame, and random erasing of a whole clip.

RandAugment that is the same for all frames of a clip needs no step of ours:
``dict(type='TorchVisionWrapper', op='RandAugment')`` draws once for the stack of frames.

As every step of a pipeline, these draw from numpy's global generator, which ``SeededDataset`` seeds for the
sample and gives back.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from mmcv.transforms import BaseTransform

from mmnas_video.errors import ConfigError
from mmnas_video.registry import TRANSFORMS


@TRANSFORMS.register_module()
class ImageAsClip(BaseTransform):
    """Hand an image that mmpretrain's steps have loaded on to MMAction2's as a clip with T = 1.

    Takes ``img`` (H, W, C) and ``gt_label``; gives ``imgs`` (one frame, RGB, as decord's are), ``label`` and
    what ``FormatShape`` asks for, which with ``input_format='NCTHW'`` makes it 1 × C × 1 × H × W.

    Args:
        to_rgb: reverse the channels; OpenCV, which ``LoadImageFromFile`` uses, gives BGR.
    """

    def __init__(self, to_rgb: bool = True) -> None:
        self.to_rgb = to_rgb

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Add the keys of a clip."""
        image = results['img']
        frame = np.ascontiguousarray(image[..., ::-1]) if self.to_rgb else image
        results.update(imgs=[frame], img_shape=frame.shape[:2], num_clips=1, clip_len=1, modality='RGB')
        if 'gt_label' in results:
            results['label'] = results['gt_label']
        return results


@TRANSFORMS.register_module()
class ClipRandomErasing(BaseTransform):
    """Fill one rectangle of a clip, in all its frames the same, with noise (Zhong et al. 2017).

    Rectangle and noise do not change over time: drawn anew for each frame they would be a motion of their own.
    For ``imgs``, frames of H × W × C, uint8, before ``FormatShape``.

    Args:
        prob: share of the clips that it is done to.
        area: least and greatest share of the picture that is filled; the share is uniform between them.
        aspect: least and greatest height / width; uniform in the logarithm.
        fill: ``'noise'`` (each value uniform in 0..255) or ``'mean'`` (mid grey).

    Raises:
        ConfigError: a number out of range, or an unknown filling.
    """

    ATTEMPTS = 10  # to find a rectangle that fits into the picture; none is drawn if all are too long

    def __init__(
        self,
        prob: float = 0.25,
        area: Sequence[float] = (0.02, 1 / 3),
        aspect: Sequence[float] = (0.3, 1 / 0.3),
        fill: str = 'noise',
    ) -> None:
        _demand(0 <= prob <= 1, 'prob', prob, 'a number from 0 to 1')
        _demand(len(area) == 2 and 0 < area[0] <= area[1] <= 1, 'area', area, 'two growing shares from 0 to 1')
        _demand(len(aspect) == 2 and 0 < aspect[0] <= aspect[1], 'aspect', aspect, 'two growing positive numbers')
        _demand(fill in ('noise', 'mean'), 'fill', repr(fill), "'noise' or 'mean'")
        self.prob, self.area, self.aspect, self.fill = prob, tuple(area), tuple(aspect), fill

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Erase in place of ``imgs``; the frames that came in are not written to."""
        if np.random.random() >= self.prob:
            return results
        frames = results['imgs']
        height, width, channels = frames[0].shape
        box = self._box(height, width)
        if box is None:
            return results
        top, left, h, w = box
        size = (h, w, channels)
        filling = np.random.randint(0, 256, size, np.uint8) if self.fill == 'noise' else np.full(size, 128, np.uint8)
        erased = [frame.copy() for frame in frames]
        for frame in erased:
            frame[top : top + h, left : left + w] = filling
        results['imgs'] = erased
        return results

    def _box(self, height: int, width: int) -> tuple[int, int, int, int] | None:
        for _ in range(self.ATTEMPTS):
            pixels = height * width * np.random.uniform(*self.area)
            ratio = np.exp(np.random.uniform(*np.log(self.aspect)))
            h, w = round(float(np.sqrt(pixels * ratio))), round(float(np.sqrt(pixels / ratio)))
            if 1 <= h <= height and 1 <= w <= width:
                return np.random.randint(height - h + 1), np.random.randint(width - w + 1), h, w
        return None


def _demand(holds: bool, key: str, found: object, expected: str) -> None:
    if not holds:
        raise ConfigError(f'ClipRandomErasing.{key}: found {found}, expected {expected}.')
