"""Torchcodec's frames are decord's, bit for bit, through MMAction2's own steps."""

import ctypes
import importlib
import struct
import sys
from pathlib import Path

import numpy as np
import pytest

from mmnas_video.datasets import ffmpeg_libs
from mmnas_video.datasets.ffmpeg_libs import alias_library, load_torchcodec
from mmnas_video.errors import ConfigError, StackError
from mmnas_video.registry import TRANSFORMS

from .videos import rotate, write

try:
    load_torchcodec()
    MISSING = ''
except StackError as error:
    MISSING = str(error)
needed = pytest.mark.skipif(bool(MISSING), reason=MISSING)

KINDS = {
    'long_with_b_frames': dict(g='250', bf='3'),
    'long_without': dict(g='250', bf='0'),
    'short_with_b_frames': dict(g='12', bf='3'),
    'short_without': dict(g='12', bf='0'),
    'variable': dict(times=np.cumsum(np.random.default_rng(3).integers(20, 97, 61)).tolist()),
    'rotated': {},
}
#: Frame numbers as the samplers give them: spread, in clips (with an axis too many), backwards, repeated at the end.
INDICES = {
    'spread': [3, 11, 19, 27, 60],
    'clips': [[5, 7, 9, 31, 33, 35]],
    'backwards': [58, 1, 30],
    'repeated': [59, 60, 0, 1, 60, 60],
}


def read(filename, init, decode, indices):
    """The results of MMAction2's steps, with ``indices`` where a sampler would put them."""
    results = TRANSFORMS.build(init).transform(dict(filename=str(filename)))
    results['frame_inds'] = np.array(indices)
    return TRANSFORMS.build(decode).transform(results)


@needed
@pytest.mark.parametrize('kind', KINDS)
def test_frames_are_those_of_decord(tmp_path, kind):
    """Rejects frames found by time or by guessing from the rate, key frames instead of the sampled ones, a neighbour
    where B frames are reordered, channels in another order, and a rotation that one reader carries out alone."""
    path = write(tmp_path / 'x.mp4', **KINDS[kind])
    if kind == 'rotated':
        path = rotate(path, tmp_path / 'turned.mp4', 90)
    for indices in INDICES.values():
        ours = read(path, dict(type='TorchcodecInit'), dict(type='TorchcodecDecode'), indices)
        theirs = read(path, dict(type='DecordInit'), dict(type='DecordDecode'), indices)
        assert np.array_equal(ours['imgs'], theirs['imgs'])
        assert ours['imgs'][0].shape == ((94, 66, 3) if kind == 'rotated' else (66, 94, 3))
        for key in ('total_frames', 'img_shape', 'original_shape'):
            assert ours[key] == theirs[key], key
        # Of a variable rate they average differently: for how long the last frame stays, no file says.
        assert ours['avg_fps'] == pytest.approx(theirs['avg_fps'], rel=0.03 if kind == 'variable' else 1e-6)
        assert ours['video_reader'] is None  # let go after the clip
        assert np.array_equal(ours['frame_inds'], theirs['frame_inds'])


@needed
def test_it_fits_between_the_same_steps(tmp_path):
    """Rejects a drop-in that needs another pipeline around it, or names without suffix that only decord's finds."""
    write(tmp_path / 'x.mp4')
    samples = []
    for name in ('Torchcodec', 'Decord'):
        steps = [dict(type=f'{name}Init'), dict(type='SampleFrames', clip_len=5, frame_interval=3, test_mode=True)]
        steps += [dict(type=f'{name}Decode'), dict(type='Resize', scale=(29, 23), keep_ratio=False)]
        results = dict(filename=str(tmp_path / 'x'), start_index=0, modality='RGB')
        for step in steps:
            results = TRANSFORMS.build(step)(results)
        samples.append(results['imgs'])
    assert np.array_equal(*samples)


@needed
def test_efficient_mode_is_refused():
    """Rejects the mode that gives key frames in place of the sampled frames."""
    with pytest.raises(ConfigError, match=r"mode: found 'efficient'"):
        TRANSFORMS.build(dict(type='TorchcodecDecode', mode='efficient'))


def test_what_is_missing_is_said(monkeypatch):
    """Rejects an ImportError from the depths, or from the first worker, for a package that is not there, and a second
    try (with PyAV's libraries) whose failure hides what to install."""
    monkeypatch.setitem(sys.modules, 'torchcodec', None)
    monkeypatch.setitem(sys.modules, 'torchcodec.decoders', None)
    with pytest.raises(StackError, match=r'torchcodec: not installed.*pip install torchcodec'):
        load_torchcodec.__wrapped__()

    def broken():
        raise RuntimeError('Could not load\n libavutil.so.60: cannot open shared object file\n and so on')

    monkeypatch.setattr(ffmpeg_libs, '_import', broken)
    monkeypatch.setattr(ffmpeg_libs, '_forget', lambda: None)
    monkeypatch.setattr(ffmpeg_libs, 'use_ffmpeg_of_pyav', lambda: None)
    with pytest.raises(StackError, match=r'does not load \(libavutil.so.60: cannot open.*apt install ffmpeg'):
        load_torchcodec.__wrapped__()
    monkeypatch.setattr('mmnas_video.datasets.torchcodec_transforms.load_torchcodec', load_torchcodec.__wrapped__)
    with pytest.raises(StackError, match='apt install ffmpeg'):
        TRANSFORMS.build(dict(type='TorchcodecInit'))


@pytest.mark.skipif(sys.platform != 'linux', reason='ELF libraries')
def test_an_alias_leads_to_the_real_library(tmp_path):
    """Rejects a library that the linker refuses, and one through which the symbols of the real one are not found."""
    header = Path(sys.executable).read_bytes()[:64]
    alias = tmp_path / 'libother-name.so.7'
    alias.write_bytes(alias_library('libother-name.so.7', 'libm.so.6', header))
    library = ctypes.CDLL(str(alias))
    library.cbrt.restype, library.cbrt.argtypes = ctypes.c_double, [ctypes.c_double]
    assert library.cbrt(343.0) == pytest.approx(7.0)
    assert struct.unpack_from('<H', alias.read_bytes(), 16)[0] == 3  # a shared object
    other = tmp_path / 'libnone.so.7'  # another file: one that is loaded must not be written to
    other.write_bytes(alias_library('libnone.so.7', 'libnot-there.so.1', header))
    with pytest.raises(OSError, match=r'libnot-there\.so\.1'):
        ctypes.CDLL(str(other))


def test_a_torchcodec_that_misses_ffmpeg_only_when_it_decodes(monkeypatch):
    """As from 0.17 on. Rejects one that is taken for loaded, and then ends every clip in torchcodec's own error."""
    seen = []

    def load():
        seen.append('load')
        if 'PyAV' not in seen:
            raise RuntimeError('Could not load libtorchcodec')

    utils = importlib.import_module('torchcodec._internally_replaced_utils')
    monkeypatch.setattr(utils, 'load_core_libraries', load, raising=False)
    monkeypatch.setattr(ffmpeg_libs, 'use_ffmpeg_of_pyav', lambda: seen.append('PyAV'))
    monkeypatch.setattr(ffmpeg_libs, '_forget', lambda: None)
    ffmpeg_libs.load_torchcodec.__wrapped__()
    assert seen == ['load', 'PyAV', 'load']
