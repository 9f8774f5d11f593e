"""Frames from all over a video: some from each of its equal parts, as one clip.

Source: P3D-DARTS (Peng et al., ICIP 2019), Sec. 2, after TSN (Wang et al., ECCV 2016).
"""

from itertools import pairwise
from typing import Any

import numpy as np
from mmcv.transforms import BaseTransform

from mmnas_video.errors import check_number
from mmnas_video.registry import TRANSFORMS


@TRANSFORMS.register_module()
class SegmentSampleFrames(BaseTransform):
    """Cut a video into N_s equal parts, take N_r frames of each, and regroup them in order: a clip of N_s · N_r.

    In training the frames of a part are drawn without repetition, from numpy's global generator, which
    ``SeededDataset`` seeds for the sample. In tests they are the centres of N_r equal parts of the part. A video of
    exactly N_s · N_r frames is taken whole. A shorter one is stretched, in training too: its frames are repeated
    evenly, so that the clip still runs from the first to the last in order.

    Takes ``total_frames`` and ``start_index``; gives ``frame_inds`` (N_s · N_r,), ``clip_len``, ``num_clips`` (1) and
    ``frame_interval`` (None), as MMAction2's own samplers do.

    Args:
        num_segments: N_s.
        frames_per_segment: N_r.
        test_mode: the same frames every time.

    Raises:
        ConfigError: a number below 1.
    """

    def __init__(self, num_segments: int = 4, frames_per_segment: int = 2, test_mode: bool = False) -> None:
        for key, value in (('num_segments', num_segments), ('frames_per_segment', frames_per_segment)):
            check_number(f'SegmentSampleFrames.{key}', value, 1)
        self.num_segments, self.frames_per_segment, self.test_mode = num_segments, frames_per_segment, test_mode

    def indices(self, frames: int) -> np.ndarray:
        """Numbers of the frames to take from a video of ``frames``, from 0 on and in order.

        Raises:
            ValueError: a video without frames.
        """
        if frames < 1:
            raise ValueError(f'found a video of {frames} frames, expected at least 1')
        segments, taken = self.num_segments, self.frames_per_segment
        if frames < segments * taken:
            return _centres(frames, segments * taken)
        ends = [s * frames // segments for s in range(segments + 1)]
        parts = []
        for start, end in pairwise(ends):
            if self.test_mode:
                parts.append(start + _centres(end - start, taken))
            else:
                parts.append(start + np.sort(np.random.choice(end - start, taken, replace=False)))
        return np.concatenate(parts)

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Add the keys of one clip."""
        found = self.indices(results['total_frames']) + results['start_index']
        results.update(frame_inds=found.astype(np.int32), clip_len=len(found), frame_interval=None, num_clips=1)
        return results

    def __repr__(self) -> str:
        return (
            f'{type(self).__name__}(num_segments={self.num_segments}, frames_per_segment={self.frames_per_segment}, '
            f'test_mode={self.test_mode})'
        )


def _centres(length: int, parts: int) -> np.ndarray:
    """The middle of each of ``parts`` equal parts of ``length`` frames, rounded down."""
    return (2 * np.arange(parts) + 1) * length // (2 * parts)
