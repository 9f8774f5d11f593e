"""Write a video anew so that a few frames of it are decoded fast: small, short groups of pictures, no B frames.

Decoding a clip costs what lies between the key frame before it and its last frame. At x264's defaults a key frame
comes every 250 frames, so a clip of 13 frames costs several hundred.
"""

import errno
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.video.reformatter import ColorRange

from mmnas_video.errors import ConfigError

from .file_jobs import StopJobs
from .video_check import BadVideo
from .video_ids import id_hash

PRESETS = ('ultrafast', 'superfast', 'veryfast', 'faster', 'fast', 'medium', 'slow', 'slower', 'veryslow')
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM)  # not the fault of one file


@dataclass(frozen=True)
class Recipe:
    """How videos are written; ``gop`` and ``short_side`` decide how fast they are decoded.

    Raises:
        ConfigError: a number out of range or an unknown preset.
    """

    #: Pixels of the shorter side; a smaller video keeps its size, and 0 keeps every size (made even).
    short_side: int = 256
    #: Most frames from one key frame to the next. Readers pay for the frames before a clip; decord also for every key
    #: frame that a clip goes across, since it seeks to it.
    gop: int = 48
    #: N: the new file has the frames 0, N, 2N … of the old, for pipelines that use no others; ``gop`` counts these.
    every: int = 1
    #: x264's constant rate factor, 0 (lossless) to 51.
    crf: int = 23
    #: x264's preset: how long the encoder may search. It does not change what decoding costs.
    preset: str = 'medium'
    #: Leave out what costs the decoder most (CABAC, deblocking, weighted prediction): larger files, more blocks.
    fast_decode: bool = True

    def __post_init__(self) -> None:
        for key, least, most in (('short_side', 0, 8192), ('gop', 1, 1000), ('every', 1, 1000), ('crf', 0, 51)):
            value = getattr(self, key)
            if not least <= value <= most:
                raise ConfigError(f'{key}: found {value}, expected {least} to {most}.')
        if self.preset not in PRESETS:
            raise ConfigError(f"preset: found '{self.preset}', expected one of {', '.join(PRESETS)}.")

    def size(self, width: int, height: int) -> tuple[int, int]:
        """Width and height of the new file, even, for those of the old."""
        short = min(width, height)
        scale = Fraction(self.short_side, short) if 0 < self.short_side < short else Fraction(1)
        return _even(width * scale), _even(height * scale)

    def options(self) -> dict[str, str]:
        """Options of libx264. One thread: files run side by side, and the same video gives the same bytes."""
        tune = {'tune': 'fastdecode'} if self.fast_decode else {}
        return {'preset': self.preset, 'crf': str(self.crf), 'g': str(self.gop), 'bf': '0', 'threads': '1', **tune}


def _even(length: Fraction | int) -> int:
    return max(2, 2 * round(length / 2))


def transcode(source: str | Path, target: str | Path, recipe: Recipe) -> dict[str, int]:
    """Write the video of ``source`` (no sound) as the H.264 mp4 ``target``, whole or not at all.

    The k-th frame is that of number k · ``recipe.every`` of the old file, at its time after the first; a rotation that
    the old file asks its players for is carried out.

    Returns:
        ``frames``, ``width`` and ``height`` of the new file, and its ``bytes``.

    Raises:
        BadVideo: no video stream, no frame, or fewer than the file declares.
        av.FFmpegError: the file cannot be opened or decoded.
        OSError: of this file alone, such as a name that is too long.
        StopJobs: nothing can be written: no space, no permission.
    """
    target = Path(target)
    # One name for all runs, so that killed ones leave no heap; short, since the target's may be as long as any can be.
    fresh = target.with_name(f'.{id_hash(target.name):016x}.new')
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        fresh.open('wb').close()
    except OSError as error:
        _stop_if_full(error, target)
        raise
    try:
        with av.open(str(source), metadata_errors='replace') as old, fresh.open('wb') as file:
            with av.open(file, 'w', format='mp4') as new:
                written = _copy_frames(old, new, recipe)
            file.flush()
            os.fsync(file.fileno())
            written['bytes'] = file.tell()
        os.replace(fresh, target)
    except OSError as error:
        if os.access(source, os.R_OK):
            _stop_if_full(error, target)
        raise
    finally:
        fresh.unlink(missing_ok=True)
    return written


def _stop_if_full(error: OSError, target: Path) -> None:
    if error.errno in FULL:
        raise StopJobs(f"--out: cannot write '{target}' ({error.strerror})") from error


def _copy_frames(old: Any, new: Any, recipe: Recipe) -> dict[str, int]:
    stream = old.streams.best('video')
    if stream is None:
        raise BadVideo('no video stream')
    stream.codec_context.thread_count = 1
    writer, count = None, 0
    lasting: dict[int, int] = {}  # time → duration: the encoder forgets it, and that of the last frame tells the rate
    for frame, time, duration in _kept(old, stream, recipe.every):
        if writer is None:
            writer, picture_of = _open_stream(new, stream, frame, recipe)
        picture = picture_of(frame)
        picture.pts, picture.time_base, picture.pict_type = time, stream.time_base, 0  # type: the encoder decides
        lasting[time] = duration
        _mux(new, writer.encode(picture), lasting)
        count += 1
    if writer is None:
        raise BadVideo('no frame can be decoded')
    _mux(new, writer.encode(None), lasting)
    return {'frames': count, 'width': writer.width, 'height': writer.height}


def _kept(old: Any, stream: Any, every: int) -> Iterator[tuple[Any, int, int]]:
    """The frames to keep, when each begins after the first, and how long it stays, in ticks of the stream.

    The last one stays as if none were missing behind it, so that the average rate is the old one / ``every``.
    """
    step = round(1 / (stream.average_rate * stream.time_base)) if stream.average_rate else 1
    kept, time = None, -1
    for number, frame in enumerate(_whole(old, stream)):
        if number == 0:
            start = frame.pts or 0
        # Old containers (AVI) give no times or the same twice; an encoder wants them to grow.
        time = max(time + 1, frame.pts - start if frame.pts is not None else time + step)
        if number % every == 0:
            if kept:
                yield *kept, time - kept[1]
            kept = (frame, time)
    if kept:
        yield *kept, time - kept[1] + (every - number % every) * (frame.duration or step)


def _mux(new: Any, packets: list[Any], lasting: dict[int, int]) -> None:
    for packet in packets:
        packet.duration = lasting.pop(packet.pts, packet.duration)
        new.mux(packet)


def _whole(old: Any, stream: Any) -> Iterator[Any]:
    """The frames of a file; an error if it ends before its index (mp4, mov, AVI have one) says so."""
    packets = 0
    for packet in old.demux(stream):
        if stream.frames and packet.is_corrupt:
            break  # the last bytes of a file that was cut off
        packets += packet.size > 0
        yield from packet.decode()
    if packets < stream.frames:
        raise BadVideo(f'cut off: {packets} of {stream.frames} frames are there')


def _open_stream(new: Any, stream: Any, frame: Any, recipe: Recipe) -> tuple[Any, Callable[[Any], Any]]:
    """The stream to write, and what makes its pictures of frames; both are fixed by the first frame."""
    full = frame.format.name.startswith('yuvj') or frame.color_range == ColorRange.JPEG
    pixels, values = ('yuvj420p', ColorRange.JPEG) if full else ('yuv420p', ColorRange.MPEG)
    turns = frame.rotation // 90 % 4
    width, height = recipe.size(frame.width, frame.height)
    rate = Fraction(stream.average_rate or 25, recipe.every).limit_denominator(1 << 20)  # FFmpeg keeps 32 bits
    writer = new.add_stream('libx264', rate=rate, options=recipe.options())
    writer.width, writer.height = (height, width) if turns % 2 else (width, height)
    writer.pix_fmt = pixels
    context, like = writer.codec_context, stream.codec_context
    context.time_base = stream.time_base
    for name in ('colorspace', 'color_primaries', 'color_trc'):
        setattr(context, name, getattr(like, name))

    def picture_of(frame: Any) -> Any:
        scaled = frame.reformat(
            width, height, pixels, interpolation='BICUBIC', src_color_range=values, dst_color_range=values
        )
        return _rotated(scaled, turns)

    return writer, picture_of


def _rotated(frame: Any, turns: int) -> Any:
    """The picture turned by ``turns`` quarters, counter-clockwise as numpy's ``rot90``."""
    if not turns:
        return frame
    planes = frame.to_ndarray().ravel()  # Y, then U and V of a quarter of its size
    height, width = frame.height, frame.width
    luma, chroma = np.split(planes, [height * width])
    parts = [luma.reshape(1, height, width), chroma.reshape(2, height // 2, width // 2)]
    turned = [np.rot90(part, turns, (1, 2)).ravel() for part in parts]
    return av.VideoFrame.from_ndarray(
        np.concatenate(turned).reshape(-1, height if turns % 2 else width), format=frame.format.name
    )
