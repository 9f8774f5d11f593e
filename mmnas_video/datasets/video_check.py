"""Look whether a video can be read as training reads it, without training."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from mmnas_video.errors import ConfigError
from mmnas_video.registry import TRANSFORMS

READERS = {'decord': ('DecordInit', 'DecordDecode'), 'torchcodec': ('TorchcodecInit', 'TorchcodecDecode')}


class BadVideo(Exception):
    """The file is no video, or not a whole one."""


@dataclass(frozen=True)
class VideoCheck:
    """Opens a video with a pipeline's own reader and decodes frames of it.

    Args:
        frames: how many, evenly spread, the first and the last among them; 0 decodes all.
        reader: ``'decord'`` or ``'torchcodec'``.

    Raises:
        ConfigError: a negative number, or another reader.
    """

    frames: int = 5
    reader: str = 'decord'

    def __post_init__(self) -> None:
        if self.frames < 0:
            raise ConfigError(f'frames: found {self.frames}, expected 0 (all) or more.')
        if self.reader not in READERS:
            raise ConfigError(f"reader: found '{self.reader}', expected one of {', '.join(READERS)}.")

    def __call__(self, path: str) -> dict[str, int]:
        """Return ``frames``, ``width`` and ``height`` of the video.

        Raises:
            BadVideo: no frames. Any other exception is the decoder's.
        """
        results: dict[str, Any] = {'filename': str(path)}
        first, second = (TRANSFORMS.build({'type': name}) for name in READERS[self.reader])
        results = first.transform(results)
        total = results['total_frames']
        if total < 1:
            raise BadVideo('no frame')
        results['frame_inds'] = np.unique(np.linspace(0, total - 1, self.frames or total).astype(int))
        height, width = second.transform(results)['img_shape']
        return {'frames': total, 'width': width, 'height': height}
