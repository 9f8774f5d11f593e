"""Videos as they come: with and without B frames, rotated, of changing size, cut off, and what is no video at all."""

import io
import struct
from fractions import Fraction

import av
import numpy as np


def pictures(count, height=66, width=94):
    """A smooth pattern that moves, so that every frame differs and the encoder loses little; (H, W, 3) uint8."""
    y, x = np.mgrid[:height, :width] / 11.0
    for t in range(count):
        waves = [np.sin(x + 0.3 * t + k) + np.cos(y - 0.2 * t + 2 * k) for k in range(3)]
        yield (127 + 60 * np.stack(waves, -1)).astype(np.uint8)


def write(path, count=61, height=66, width=94, codec='libx264', times=None, muxer=None, pix_fmt='yuv420p', **options):
    """Write a video at 25 frames a second, or with ``times`` in milliseconds; returns the path."""
    with av.open(str(path), 'w', options=muxer or {}) as container:
        stream = container.add_stream(codec, rate=25, options={'threads': '1', **options})
        stream.height, stream.width, stream.pix_fmt = height, width, pix_fmt
        if times:
            stream.codec_context.time_base = Fraction(1, 1000)
        for number, picture in enumerate(pictures(count, height, width)):
            frame = av.VideoFrame.from_ndarray(picture, format='rgb24')
            if times:
                frame.pts, frame.time_base = times[number], Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def rotate(source, target, degrees):
    """Ask players to turn the video, by the matrix in the track's header, as telephones do."""
    data = bytearray(source.read_bytes())
    start = data.index(b'tkhd') + 44
    a, b, c, d = {90: (0, 1, -1, 0), 180: (-1, 0, 0, -1), 270: (0, -1, 1, 0)}[degrees]
    data[start : start + 36] = struct.pack('>9i', a << 16, b << 16, 0, c << 16, d << 16, 0, 0, 0, 1 << 30)
    target.write_bytes(data)
    return target


def sound(path):
    """An mp4 file without pictures."""
    with av.open(str(path), 'w') as container:
        stream = container.add_stream('aac', rate=16000, layout='mono')
        for number in range(11):
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format='fltp', layout='mono')
            frame.sample_rate, frame.pts = 16000, number * 1024
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def two_sizes(path):
    """A transport stream whose pictures become larger in the middle."""
    parts = []
    for start, (height, width) in ((0, (66, 94)), (23, (98, 130))):
        part = io.BytesIO()
        with av.open(part, 'w', format='mpegts') as container:
            stream = container.add_stream('libx264', rate=25, options={'threads': '1'})
            stream.height, stream.width, stream.pix_fmt = height, width, 'yuv420p'
            for number, picture in enumerate(pictures(23, height, width)):
                frame = av.VideoFrame.from_ndarray(picture, format='rgb24')
                frame.pts = start + number
                container.mux(stream.encode(frame))
            container.mux(stream.encode())
        parts.append(part.getvalue())
    path.write_bytes(b''.join(parts))
    return path
