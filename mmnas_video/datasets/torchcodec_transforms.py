"""``TorchcodecInit`` and ``TorchcodecDecode`` in place of ``DecordInit`` and ``DecordDecode``: the same frames, faster.

What stands between the two in a pipeline (``SampleFrames`` and its kin) stays as it is: it reads ``total_frames`` and
``avg_fps``, which both readers give.
"""

import os
from typing import Any

import numpy as np
from mmaction.datasets.transforms import DecordDecode, DecordInit
from mmengine.fileio import FileClient

from mmnas_video.errors import ConfigError
from mmnas_video.registry import TRANSFORMS

from .ffmpeg_libs import load_torchcodec


@TRANSFORMS.register_module()
class TorchcodecInit(DecordInit):
    """Open a video with torchcodec; takes and gives what ``DecordInit`` does.

    Frames are counted and found by reading the whole index (``seek_mode='exact'``), as decord does, never by guessing
    from the frame rate. ``avg_fps`` of a variable rate is not decord's: ``target_fps`` may sample other frames.

    Args:
        io_backend: where files are read from, as in ``DecordInit``.
        num_threads: of the decoder.
        kwargs: of the file backend.

    Raises:
        StackError: torchcodec or the FFmpeg under it is missing: what to install.
    """

    def __init__(self, io_backend: str = 'disk', num_threads: int = 1, **kwargs: Any) -> None:
        super().__init__(io_backend=io_backend, num_threads=num_threads, **kwargs)
        load_torchcodec()  # a missing library is said when the pipeline is built, not by the first worker

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Add ``video_reader``, ``total_frames`` and ``avg_fps``."""
        reader = self._get_video_reader(results['filename'])
        # Frames by duration; what the header says of a variable rate (a fixed grid's, such as 2000) is no average.
        results.update(video_reader=reader, total_frames=len(reader), avg_fps=float(reader.metadata.average_fps))
        return results

    def _get_video_reader(self, filename: str) -> Any:
        if not os.path.splitext(filename)[1]:
            filename += '.mp4'  # as DecordInit
        if self.file_client is None:
            self.file_client = FileClient(self.io_backend, **self.kwargs)
        data = bytes(self.file_client.get(filename))
        return load_torchcodec().VideoDecoder(
            data, dimension_order='NHWC', num_ffmpeg_threads=self.num_threads, seek_mode='exact'
        )


@TRANSFORMS.register_module()
class TorchcodecDecode(DecordDecode):
    """Decode the sampled frames of a ``TorchcodecInit`` reader, and let the reader go; as ``DecordDecode``.

    Raises:
        ConfigError: ``mode='efficient'``, which gives key frames instead of the sampled ones.
    """

    def __init__(self, mode: str = 'accurate') -> None:
        if mode != 'accurate':
            raise ConfigError(f"TorchcodecDecode.mode: found '{mode}', expected 'accurate'.")
        super().__init__(mode)

    def _decord_load_frames(self, container: Any, frame_inds: np.ndarray) -> list[np.ndarray]:
        indices = [int(index) for index in np.ravel(frame_inds)]  # it would read past the end of a nested list
        return list(container.get_frames_at(indices=indices).data.numpy())
