"""Write a clip as an mp4 file whose every frame is coded by itself.

All-intra at a constant quantiser: a decoded frame is then a function of the frame alone, not of its
neighbours or its place in the clip. With predicted frames the coding error would trail behind what moves, so
a single decoded frame would tell the direction of time, which the motion set must not.
"""

from pathlib import Path

import numpy as np

from mmnas_video.errors import StackError

QUANTISER = '16'  # of x264, 0 (lossless) to 51; at 16 the error is below the demo's own noise


def write_video(path: str | Path, frames: np.ndarray, fps: int) -> None:
    """Write ``frames`` as H.264 in ``path``, at ``fps`` frames a second.

    ``frames`` is T × H × W × 3, uint8, RGB, with H and W even. The same
    frames give the same bytes: one thread, no rate control.

    Raises:
        StackError: PyAV is not installed.
    """
    try:
        import av
    except ImportError as error:
        raise StackError('av: not installed, needed to write demo videos. Run: pip install av') from error
    with av.open(str(path), 'w') as container:
        options = {'preset': 'ultrafast', 'qp': QUANTISER, 'g': '1', 'bf': '0', 'threads': '1'}
        stream = container.add_stream('libx264', rate=fps, options=options)
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = 'yuv420p'
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format='rgb24')))
        container.mux(stream.encode())
