"""Data as it is: each odd file is decoded, or skipped with its name and a reason, and counted."""

from types import SimpleNamespace

import av
import cv2
import numpy as np
import pytest
from PIL import Image

from mmnas_video.datasets import BadSample, BadSampleCounter, SeededDataset, skip_bad_collate, video_check
from mmnas_video.datasets.ffmpeg_libs import load_torchcodec
from mmnas_video.errors import ConfigError, StackError

from .videos import rotate, sound, two_sizes, write

try:
    load_torchcodec()
    READERS = ('Decord', 'Torchcodec')
except StackError:
    READERS = ('Decord',)
CUTS = 20
#: Kind → whether a clip comes of it, by reader if they differ.
VIDEOS = {
    'whole.mp4': True,
    **{f'cut_{place:02}.mp4': {'Decord': False, 'Torchcodec': None} for place in range(CUTS)},
    'cut_between_frames.mp4': {'Decord': True, 'Torchcodec': None},  # a shorter video, to the one who reads it
    'cut_index.mp4': False,
    'cut.webm': True,  # has no index that says how long it ought to be: the frames that are there are taken
    'empty.mp4': False,
    'text.mp4': False,
    'sound.mp4': False,
    'one_frame.mp4': True,
    'two_sizes.mp4': {'Decord': True, 'Torchcodec': False},
    'rotated.mp4': True,
    'large.mp4': True,
    'ünïcödé 影片 and blanks.mp4': True,
    'missing.mp4': False,
}
IMAGES = {
    'whole.jpg': True,
    **{f'cut_{place:02}.{suffix}': None for place in range(CUTS) for suffix in ('jpg', 'png')},
    'empty.jpg': False,
    'text.jpg': False,
    'cmyk.jpg': True,
    'grey.jpg': True,
    'palette.png': True,
    'sixteen_bits.png': True,
    'transparent.png': True,
    'turned.jpg': True,
    'ünïcödé 图片 and blanks.png': True,
    'missing.jpg': False,
}


@pytest.fixture(scope='module')
def videos(tmp_path_factory):
    """A folder with every kind but the missing one."""
    root = tmp_path_factory.mktemp('odd videos')
    write(root / 'whole.mp4', count=41)
    front = write(root / 'front.mp4', count=41, muxer={'movflags': 'faststart'}).read_bytes()
    with av.open(str(root / 'front.mp4')) as container:
        ends = [packet.pos + packet.size for packet in container.demux(video=0) if packet.size]
    for place in range(CUTS):
        cut = len(front) * place // CUTS
        # The encoder's bytes differ from file to file of a process: a cut may meet the end of a frame.
        (root / f'cut_{place:02}.mp4').write_bytes(front[: cut - (cut in ends)])
    (root / 'cut_between_frames.mp4').write_bytes(front[: ends[28]])
    data = (root / 'whole.mp4').read_bytes()
    (root / 'cut_index.mp4').write_bytes(data[: len(data) // 2])  # the index stands at the end, and is gone
    data = write(
        root / 'whole.webm', count=41, codec='libvpx-vp9', deadline='realtime', **{'cpu-used': '8'}
    ).read_bytes()
    (root / 'cut.webm').write_bytes(data[: len(data) // 2])
    (root / 'empty.mp4').touch()
    (root / 'text.mp4').write_text('not a video ' * 99)
    sound(root / 'sound.mp4')
    write(root / 'one_frame.mp4', count=1)
    two_sizes(root / 'two_sizes.mp4')
    rotate(root / 'whole.mp4', root / 'rotated.mp4', 90)
    write(root / 'large.mp4', count=1, height=2160, width=3840, preset='ultrafast')
    (root / 'ünïcödé 影片 and blanks.mp4').write_bytes((root / 'whole.mp4').read_bytes())
    return root


@pytest.fixture(scope='module')
def images(tmp_path_factory):
    """A folder with every kind but the missing one; 61 × 83."""
    root = tmp_path_factory.mktemp('odd images')
    noise = np.random.default_rng(3).integers(0, 256, (61, 83, 3), np.uint8)
    picture = Image.fromarray(cv2.GaussianBlur(noise, (0, 0), 2))
    for suffix in ('jpg', 'png'):
        picture.save(root / f'whole.{suffix}')
        data = (root / f'whole.{suffix}').read_bytes()
        for place in range(CUTS):
            (root / f'cut_{place:02}.{suffix}').write_bytes(data[: len(data) * place // CUTS])
    (root / 'empty.jpg').touch()
    (root / 'text.jpg').write_text('not an image ' * 99)
    modes = {'cmyk.jpg': 'CMYK', 'grey.jpg': 'L', 'palette.png': 'P', 'transparent.png': 'RGBA'}
    for name, mode in modes.items():
        picture.convert(mode).save(root / name)
    Image.fromarray(noise[..., 0].astype(np.uint16) * 257).save(root / 'sixteen_bits.png')
    turned = Image.Exif()
    turned[274] = 6  # orientation: a quarter clockwise
    picture.save(root / 'turned.jpg', exif=turned)
    picture.save(root / 'ünïcödé 图片 and blanks.png')
    return root


def video_dataset(root, names, reader, tmp_path):
    steps = [dict(type=f'{reader}Init'), dict(type='SampleFrames', clip_len=5, frame_interval=2, num_clips=1)]
    steps += [dict(type=f'{reader}Decode'), dict(type='Resize', scale=(29, 23), keep_ratio=False)]
    steps += [dict(type='FormatShape', input_format='NCTHW'), dict(type='PackActionInputs')]
    (tmp_path / 'list.txt').write_text(''.join(f'{name}\t1\n' for name in names), encoding='utf-8')
    return SeededDataset(
        dict(
            type='VideoDataset',
            ann_file=str(tmp_path / 'list.txt'),
            data_prefix=dict(video=str(root)),
            delimiter='\t',  # paths have blanks
            pipeline=steps,
        )
    )


def image_dataset(root, names, tmp_path):
    steps = [dict(type='LoadImageFromFile'), dict(type='Resize', scale=(29, 23))]
    steps += [dict(type='mmaction.ImageAsClip'), dict(type='mmaction.FormatShape', input_format='NCTHW')]
    steps += [dict(type='mmaction.PackActionInputs', meta_keys=('img_path',))]
    (tmp_path / 'list.txt').write_text(''.join(f'{name} 1\n' for name in names), encoding='utf-8')
    return SeededDataset(
        dict(
            type='CustomDataset',
            _scope_='mmpretrain',
            ann_file=str(tmp_path / 'list.txt'),
            data_prefix=str(root),
            pipeline=steps,
        )
    )


def check(dataset, names, expected, frames, root):
    """Look at every sample; returns how many were skipped."""
    samples = [dataset[0, index] for index in range(len(names))]
    for name, sample, decodes in zip(names, samples, expected, strict=True):
        if isinstance(sample, BadSample):
            assert decodes in (False, None), f'{name}: {sample.reason}'
            assert sample.path == f'{root}/{name}'
            assert 5 < len(sample.reason) < 250 and sample.reason.isprintable() and '/src/' not in sample.reason[:30]
            assert (sample.reason == 'no such file') == (name.startswith('missing'))
        else:
            assert decodes in (True, None), f'{name}: was decoded'
            assert sample['inputs'].shape == (1, 3, frames, 23, 29)
            assert sample['inputs'].float().std() > 5, f'{name}: blank pictures'
    batch = skip_bad_collate(samples)
    skipped = sum(isinstance(sample, BadSample) for sample in samples)
    assert len(batch['inputs']) == len(names) - skipped and len(batch['bad_samples']) == skipped
    counter = BadSampleCounter('train_dataloader', len(names), skipped / len(names))
    counter.take(dict(batch))
    assert len(counter.bad) == skipped
    strict = BadSampleCounter('train_dataloader', len(names), (skipped - 0.5) / len(names))
    with pytest.raises(ConfigError, match=rf'found {skipped} of {len(names)} clips.*cut_00'):
        strict.take(dict(batch))
    return skipped


@pytest.mark.parametrize('reader', READERS)
def test_videos(videos, tmp_path, reader):
    """Rejects a file that ends the run, is replaced by another, or is skipped without a word or a count; and one that
    is skipped although it can be read (blanks in the name, one frame, pictures of 4K, turned)."""
    names = list(VIDEOS)
    expected = [kind[reader] if isinstance(kind, dict) else kind for kind in VIDEOS.values()]
    dataset = video_dataset(videos, names, reader, tmp_path)
    skipped = check(dataset, names, expected, 5, videos)
    assert skipped >= 5 + (CUTS if reader == 'Decord' else 1)


def test_images(images, tmp_path):
    """Rejects the same for images, and a colour mode, depth or orientation that ends the run."""
    names = list(IMAGES)
    dataset = image_dataset(images, names, tmp_path)
    assert check(dataset, names, list(IMAGES.values()), 1, images) >= 5


@pytest.mark.skipif(int(cv2.__version__.split('.')[0]) < 5, reason='OpenCV 4 fills what is missing with grey')
def test_images_that_were_cut_off_are_skipped(images, tmp_path):
    """Rejects images of which a part is grey, wherever they were cut."""
    names = [name for name, decodes in IMAGES.items() if decodes is None]
    dataset = image_dataset(images, names, tmp_path)
    assert all(isinstance(dataset[0, index], BadSample) for index in range(len(names)))


class Reader:
    """A video of 61 frames, and which of them are read."""

    def __init__(self):
        self.read = []

    def build(self, cfg):
        return SimpleNamespace(transform=self.open if cfg['type'] == 'DecordInit' else self.decode)

    def open(self, results):
        return {**results, 'total_frames': 61}

    def decode(self, results):
        self.read += results['frame_inds'].tolist()
        return {'img_shape': (66, 94)}


@pytest.mark.parametrize(
    ('frames', 'read'), [(5, [0, 15, 30, 45, 60]), (2, [0, 60]), (1, [0]), (0, [*range(61)]), (99, [*range(61)])]
)
def test_frames_are_looked_at_from_the_first_to_the_last(frames, read, monkeypatch):
    """Rejects frames of the beginning alone, which a video that was cut off has, and one that is decoded twice."""
    reader = Reader()
    monkeypatch.setattr(video_check, 'TRANSFORMS', reader)
    assert video_check.VideoCheck(frames)('a.mp4') == {'frames': 61, 'width': 94, 'height': 66}
    assert reader.read == read
