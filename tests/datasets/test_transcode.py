"""A transcoded video shows what the old one showed, at the same times, and is decoded faster by its structure."""

import av
import cv2
import decord
import numpy as np
import pytest
from mmaction.datasets.transforms import SampleFrames

from mmnas_video.datasets.file_jobs import StopJobs
from mmnas_video.datasets.transcode import Recipe, transcode
from mmnas_video.datasets.video_check import BadVideo
from mmnas_video.errors import ConfigError

from .videos import rotate, sound, two_sizes, write

TIMES = np.cumsum(np.random.default_rng(3).integers(20, 97, 61)).tolist()  # ms, of a variable frame rate
KINDS = {
    'b_frames': dict(name='b.mp4'),
    'variable': dict(name='v.mp4', times=TIMES),
    'vp9': dict(name='w.webm', codec='libvpx-vp9', **{'cpu-used': '8'}),
    'full_range': dict(name='f.mp4', pix_fmt='yuvj420p'),
    'odd_sizes': dict(name='o.mp4', height=67, width=91, pix_fmt='yuv444p'),
}


def decoded(path):
    reader = decord.VideoReader(str(path), num_threads=1)
    return reader.get_batch(range(len(reader))).asnumpy()


def times(path):
    """Seconds of each frame after the first and, behind these, of the last one's end; and of the first."""
    with av.open(str(path)) as container:
        frames = list(container.decode(video=0))
    found = [frame.time for frame in frames]
    found.append(found[-1] + float(frames[-1].duration * frames[-1].time_base))
    return np.array(found) - found[0], found[0]


def psnr(one, other):
    return 10 * np.log10(255**2 / np.square(one.astype(float) - other).mean(axis=(1, 2, 3)))


def same_size(frames, like):
    return np.stack([cv2.resize(frame, like.shape[2:0:-1], interpolation=cv2.INTER_AREA) for frame in frames])


@pytest.mark.parametrize('kind', KINDS)
def test_the_kth_frame_is_the_kth_frame(tmp_path, kind):
    """Rejects frames that are dropped, doubled or reordered, a constant rate forced on variable times, a first frame
    that is late, a last one that stays as long as the one before, and colours in another range: each neighbour is a
    worse match than the frame itself."""
    options = dict(KINDS[kind])
    source = write(tmp_path / options.pop('name'), **options)
    found = transcode(source, tmp_path / 'new.mp4', Recipe(short_side=0, crf=8))
    old, new = decoded(source), decoded(tmp_path / 'new.mp4')
    old = same_size(old, new)
    assert found['frames'] == len(new) == len(old) == 61
    match = psnr(new, old)
    assert match.min() > 32
    assert (match[1:] > psnr(new[1:], old[:-1]) + 3).all() and (match[:-1] > psnr(new[:-1], old[1:]) + 3).all()
    (written, begin), (expected, _) = times(tmp_path / 'new.mp4'), times(source)
    assert np.allclose(written, expected, atol=1e-6) and begin == 0
    # A variable rate's average depends on how long the last frame stays, which the old file's muxer did not write.
    rates = [decord.VideoReader(str(path)).get_avg_fps() for path in (source, tmp_path / 'new.mp4')]
    assert rates[0] == pytest.approx(rates[1], rel=0.03 if kind == 'variable' else 1e-6)


@pytest.mark.parametrize('every', [3, 7, 67])
@pytest.mark.parametrize('kind', ['b_frames', 'variable', 'vp9'])
def test_every_so_manieth_frame(tmp_path, kind, every):
    """Rejects other frames than 0, N, 2N …, times that are numbered anew, and a last frame that stays as long as it did
    (or to the old end): the rate that readers report, and by which ``target_fps`` samples, would not be the N-th."""
    options = dict(KINDS[kind])
    source = write(tmp_path / options.pop('name'), **options)
    found = transcode(source, tmp_path / 'new.mp4', Recipe(short_side=0, crf=0, gop=5, every=every, preset='ultrafast'))
    assert found['frames'] == len(range(0, 61, every))
    assert np.array_equal(decoded(tmp_path / 'new.mp4'), decoded(source)[::every])
    (written, begin), (old, _) = times(tmp_path / 'new.mp4'), times(source)
    kept, last = old[:61:every], old[-1] - old[-2]
    end = old[-1] + (every * len(kept) - 61) * last
    assert np.allclose(written, [*kept, end], atol=1e-6) and begin == 0
    if kind != 'variable':
        assert decord.VideoReader(str(tmp_path / 'new.mp4')).get_avg_fps() == pytest.approx(25 / every, rel=1e-6)


def test_a_file_that_names_no_rate(tmp_path):
    """Rejects the N-th part of a rate that is assumed as a float, which the encoder cannot take."""
    assert transcode(write(tmp_path / 'one.ts', count=1), tmp_path / 'new.mp4', Recipe(every=7))['frames'] == 1


@pytest.mark.parametrize(('every', 'rate', 'same'), [(3, None, True), (2, None, True), (3, 25, False), (2, 25, False)])
def test_a_clip_of_every_so_manieth_frame(tmp_path, every, rate, same):
    """Rejects a clip that is N times as long, or short: with ``frame_interval`` / N it is one that the old file has;
    with ``target_fps`` and nothing else changed its pictures are at most 2N - 2 frames earlier than in the old."""
    source = write(tmp_path / 'old.mp4')
    transcode(source, tmp_path / 'new.mp4', Recipe(short_side=0, crf=0, every=every))

    def sampled(path, interval):
        reader = decord.VideoReader(str(path), num_threads=1)
        step = SampleFrames(clip_len=5, frame_interval=interval, test_mode=True, target_fps=rate)
        results = dict(total_frames=len(reader), avg_fps=reader.get_avg_fps(), start_index=0)
        return step(results)['frame_inds']

    new, old = sampled(tmp_path / 'new.mp4', 6 // every if same else 6), sampled(source, 6)
    moved, back = every * (new - new[0]), old - old[0]
    assert 0 <= every * new[0] - old[0] < every
    if same:
        assert np.array_equal(moved, back)
    else:
        assert len(set(new)) == 5 and (moved <= back).all() and (back <= moved + 2 * every - 2).all()
    assert np.array_equal(decoded(tmp_path / 'new.mp4')[new], decoded(source)[every * new])


@pytest.mark.parametrize('degrees', [90, 180, 270])
def test_rotation_is_carried_out(tmp_path, degrees):
    """Rejects a rotation that is lost, done twice, or the other way round: readers carry it out when they decode."""
    source = rotate(write(tmp_path / 'b.mp4', count=7), tmp_path / 'turned.mp4', degrees)
    transcode(source, tmp_path / 'new.mp4', Recipe(short_side=0, crf=8))
    old, new = decoded(source), decoded(tmp_path / 'new.mp4')
    assert new.shape == old.shape == ((7, 66, 94, 3) if degrees == 180 else (7, 94, 66, 3))
    assert psnr(new, old).min() > 32
    with av.open(str(tmp_path / 'new.mp4')) as container:
        assert next(container.decode(video=0)).rotation == 0


def test_structure(tmp_path):
    """Rejects B frames, a group of pictures that is longer than asked, sound that is kept, and an enlarged video."""
    with av.open(str(write(tmp_path / 'b.mp4'))) as container:
        assert any(frame.pict_type == av.video.frame.PictureType.B for frame in container.decode(video=0))
    found = transcode(tmp_path / 'b.mp4', tmp_path / 'new.mp4', Recipe(short_side=46, gop=7))
    assert (found['width'], found['height']) == (66, 46)  # 94 × 46 / 66 = 65.5, even
    with av.open(str(tmp_path / 'new.mp4')) as container:
        assert [stream.type for stream in container.streams] == ['video']
        frames = list(container.decode(video=0))
    keys = [number for number, frame in enumerate(frames) if frame.key_frame]
    assert max(np.diff([*keys, 61])) <= 7
    assert all(frame.pict_type != av.video.frame.PictureType.B for frame in frames)
    assert Recipe(short_side=256).size(94, 66) == (94, 66) and Recipe(short_side=0).size(1921, 1081) == (1920, 1080)
    assert transcode(tmp_path / 'b.mp4', tmp_path / 'large.mp4', Recipe(gop=12))['height'] == 66
    assert found['bytes'] == (tmp_path / 'new.mp4').stat().st_size


def test_same_video_same_bytes(tmp_path):
    """Rejects threads or times of day in the output: what was prepared twice could not be compared."""
    write(tmp_path / 'b.mp4', count=11)
    for name in ('one.mp4', 'two.mp4'):
        transcode(tmp_path / 'b.mp4', tmp_path / name, Recipe())
    assert (tmp_path / 'one.mp4').read_bytes() == (tmp_path / 'two.mp4').read_bytes()


def test_changing_size(tmp_path):
    """Rejects an encoder that is handed a picture of another size than it was opened for."""
    found = transcode(two_sizes(tmp_path / 'two.ts'), tmp_path / 'new.mp4', Recipe(short_side=46))
    assert found['frames'] == 46 and decoded(tmp_path / 'new.mp4').shape == (46, 46, 66, 3)


@pytest.mark.parametrize('kind', ['cut', 'sound', 'text', 'empty', 'missing'])
def test_nothing_is_left_of_a_bad_one(tmp_path, kind):
    """Rejects half a video under the final name, one that is shorter than its index says, and left-over files."""
    source = tmp_path / 'old' / 'x.mp4'
    source.parent.mkdir()
    if kind == 'cut':
        data = write(tmp_path / 'b.mp4', muxer={'movflags': 'faststart'}).read_bytes()
        source.write_bytes(data[: len(data) * 2 // 3])
    elif kind == 'sound':
        sound(source)
    elif kind != 'missing':
        source.write_bytes(b'' if kind == 'empty' else b'no video ' * 99)
    expected = {'cut': (BadVideo, 'cut off: .* of 61 frames'), 'sound': (BadVideo, 'no video stream')}
    kind_of_error, text = expected.get(kind, (av.FFmpegError, 'Invalid data|No such file'))
    for every in (1, 67):
        with pytest.raises(kind_of_error, match=text):
            transcode(source, tmp_path / 'new' / 'x.mp4', Recipe(every=every))
    assert list((tmp_path / 'new').iterdir()) == []


def test_a_full_disk_is_not_the_files_fault(tmp_path, monkeypatch):
    """Rejects a run that calls every video bad because its own disk is full or closed to it."""
    source = write(tmp_path / 'b.mp4', count=7)

    def closed(*args, **options):
        raise OSError(30, 'Read-only file system')

    def full(descriptor):
        raise OSError(28, 'No space left on device')

    with monkeypatch.context() as patch, pytest.raises(StopJobs, match=r'--out: cannot write .*Read-only'):
        patch.setattr('pathlib.Path.mkdir', closed)
        transcode(source, tmp_path / 'shut' / 'x.mp4', Recipe())
    monkeypatch.setattr('os.fsync', full)
    with pytest.raises(StopJobs, match='No space left'):
        transcode(source, tmp_path / 'new.mp4', Recipe())
    assert [path.name for path in tmp_path.iterdir() if 'new' in path.name] == []


def test_a_name_is_the_files_fault(tmp_path):
    """Rejects a run that a file with the longest name there can be stops, or that a folder in one file's way does."""
    source = write(tmp_path / 'b.mp4', count=7)
    target = tmp_path / 'new' / f'{"x" * 251}.mp4'
    assert transcode(source, target, Recipe(preset='ultrafast'))['frames'] == 7
    assert [path.name for path in (tmp_path / 'new').iterdir()] == [target.name]
    for place in (target / 'y.mp4', target.with_name(f'{"x" * 252}.mp4')):
        with pytest.raises(OSError, match='xxxx'):
            transcode(source, place, Recipe(preset='ultrafast'))
    assert [path.name for path in (tmp_path / 'new').iterdir()] == [target.name]


@pytest.mark.parametrize(
    'option', [dict(gop=0), dict(every=0), dict(every=1001), dict(crf=52), dict(short_side=-1), dict(preset='quick')]
)
def test_recipes_are_checked(option):
    """Rejects a number that x264 would take for something else."""
    with pytest.raises(ConfigError, match=f'{next(iter(option))}: found .*{next(iter(option.values()))}.*expected'):
        Recipe(**option)
