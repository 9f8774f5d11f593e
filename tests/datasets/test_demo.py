"""The demo data has the properties that a search is judged by, and is the same whenever it is made."""

import json
import os
import subprocess
import time
from functools import cache

import av
import cv2
import decord
import numpy as np
import pytest

from mmnas_video.datasets import DemoOptions, SeededDataset, check_disjoint, demo, make_demo
from mmnas_video.datasets.demo_motion import PAIRS, render_motion
from mmnas_video.datasets.demo_scene import render_scene
from mmnas_video.datasets.demo_video import write_video
from mmnas_video.errors import ConfigError

FRAMES, SIZE = 16, (32, 36)
SMALL = DemoOptions(
    seed=3, height=18, width=22, min_frames=2, max_frames=3, motion_classes=2, scene_classes=2,
    motion_clips=(2, 1, 1), scene_clips=(1, 1, 1), image_clips=(1, 1, 1),
)  # fmt: skip


def decode(path) -> np.ndarray:
    reader = decord.VideoReader(str(path), num_threads=1)
    return reader.get_batch(range(len(reader))).asnumpy()


@cache
def grids(label, split, count) -> np.ndarray:
    """``count`` fresh motion clips of a class, seen as N × T × 7 × 7 × 3."""
    clips = [render_motion(np.random.default_rng([label, split, n]), label, FRAMES, SIZE, 4.0) for n in range(count)]
    cells = [[cv2.resize(frame, (7, 7), interpolation=cv2.INTER_AREA) for frame in clip] for clip in clips]
    return np.array(cells, dtype=float)


def greys(grid):
    """T × 49, still background taken away."""
    z = grid.mean(3).reshape(FRAMES, -1)
    z = z - z.mean(0)
    return z / z.std()


def averaged(grid):
    """Forgets the order: the mean picture."""
    return grid.mean(0).ravel()


def one_frame(grid):
    """One frame at a known place in time, a quarter of a cycle after the start; bright or dark alike."""
    frame = grid[4]
    return np.concatenate([frame.ravel(), np.abs(frame - np.median(frame, (0, 1))).ravel()])


def shuffled(grid):
    """Forgets the order, keeps more than the mean: how often each cell is how bright, what goes with what."""
    z = greys(grid)
    return np.concatenate([np.sort(z, 0).ravel(), (z.T @ z)[np.triu_indices(49)], (z**3).mean(0)])


def ordered(grid):
    """Antisymmetric covariance of neighbouring frames: changes sign when time runs backwards."""
    z = greys(grid)
    lagged = z[:-1].T @ z[1:]
    return (lagged - lagged.T)[np.triu_indices(49, 1)]


def ridge_accuracy(x, y, x_test, y_test) -> float:
    """Test accuracy of ridge regression on the classes, in its dual form (more features than clips)."""
    mean, std = x.mean(0), x.std(0) + 1e-6
    x, x_test, target = (x - mean) / std, (x_test - mean) / std, np.eye(y.max() + 1)[y]
    dual = np.linalg.solve(x @ x.T + len(x) * np.eye(len(x)), target - target.mean(0))
    return float(((x_test @ x.T @ dual).argmax(1) == y_test).mean())


def pair_accuracy(features, pair) -> float:
    """Accuracy within a pair, on 2 × 80 clips after 2 × 120."""
    data = []
    for split, count in enumerate((120, 80)):
        both = [*grids(2 * pair, split, count), *grids(2 * pair + 1, split, count)]
        data += [np.array([features(grid) for grid in both]), np.repeat([0, 1], count)]
    return ridge_accuracy(*data)


@pytest.mark.parametrize('features', [averaged, one_frame, shuffled])
def test_motion_pairs_are_at_chance_without_order(features):
    """Rejects films that start at a fixed phase (one frame tells), whose wrap shows, or whose looks
    differ.

    800 test clips: one standard deviation of chance is 1.8 %.
    """
    scores = [pair_accuracy(features, pair) for pair in range(len(PAIRS))]
    assert abs(np.mean(scores) - 0.5) < 0.055, scores
    assert max(scores) < 0.65, scores


def test_motion_pairs_are_told_apart_by_order():
    """Rejects a pair that is the same film twice, motion that is drowned in noise, or too fast to follow."""
    scores = [pair_accuracy(ordered, pair) for pair in range(len(PAIRS))]
    assert min(scores) > 0.85 and np.mean(scores) > 0.95, scores


def colours_and_slopes(clip):
    """Of the mean picture: share of each colour, and how much it changes along rows, columns and both
    diagonals."""
    mean = clip.astype(float).mean(0)
    grey = mean.mean(2)
    diagonals = grey[1:, 1:] - grey[:-1, :-1], grey[1:, :-1] - grey[:-1, 1:]
    steps = [np.diff(grey, axis=0), np.diff(grey, axis=1), *diagonals]
    slopes = [np.abs(step).mean() for step in steps]
    return np.concatenate([mean.mean((0, 1)) / mean.mean(), slopes, np.log(slopes)])


def test_scenes_are_told_apart_by_the_mean_picture():
    """Rejects scenes that need motion, and scenes that colour alone tells apart (it tells 2 groups of 4)."""
    data = []
    for split, count in enumerate((40, 20)):
        keys = [(label, split, n) for label in range(8) for n in range(count)]
        clips = [render_scene(np.random.default_rng(key), key[0], FRAMES, SIZE, 4.0) for key in keys]
        data += [np.array([colours_and_slopes(clip) for clip in clips]), np.array([key[0] for key in keys])]
    x, y, x_test, y_test = data
    assert ridge_accuracy(*data) > 0.85
    assert 0.4 < ridge_accuracy(x[:, :3], y, x_test[:, :3], y_test) < 0.6


def test_a_reversed_clip_decodes_to_the_reversed_frames(tmp_path):
    """Rejects predicted frames: the coding error would trail behind what moves, and one frame would tell the
    class."""
    frames = render_motion(np.random.default_rng(5), 0, 11, (34, 46), 4.0)
    write_video(tmp_path / 'a.mp4', frames, 13)
    write_video(tmp_path / 'b.mp4', frames[::-1], 13)
    forward, backward = decode(tmp_path / 'a.mp4'), decode(tmp_path / 'b.mp4')
    assert forward.shape == (11, 34, 46, 3)
    assert (forward == backward[::-1]).all()
    assert np.abs(forward.astype(float) - frames).mean() < 8  # colours are stored at half the resolution
    assert decord.VideoReader(str(tmp_path / 'a.mp4')).get_avg_fps() == 13
    assert (tmp_path / 'a.mp4').read_bytes()[4:8] == b'ftyp'
    with av.open(str(tmp_path / 'a.mp4')) as container:
        assert all(packet.is_keyframe for packet in container.demux(video=0) if packet.size)


def lists(root, path):
    return [line.rsplit(' ', 1) for line in (root / path).read_text().splitlines()]


def test_layout_and_lists(demo_root):
    """Rejects lists that name other files than there are, splits that share one, and a class without
    clips."""
    for name, clips, classes in (('motion', (7, 2, 3), 4), ('scene', (5, 1, 2), 3), ('image', (3, 1, 2), 3)):
        listed = {}
        for split, count in zip(('train', 'val', 'test'), clips, strict=True):
            path = f'{name}/meta/{split}.txt' if name == 'image' else f'{name}/{split}.txt'
            rows = lists(demo_root, path)
            assert sorted(label for _, label in rows) == sorted(count * [str(c) for c in range(classes)])
            folder = demo_root / name / (split if name == 'image' else 'videos')
            listed[split] = [str(folder / file) for file, _ in rows]
        check_disjoint(listed)
        suffix = '*.jpg' if name == 'image' else '*.mp4'
        assert sorted(map(str, (demo_root / name).rglob(suffix))) == sorted(
            file for part in listed.values() for file in part
        )
    names = (demo_root / 'motion/classes.txt').read_text().split()
    assert names == ['right', 'left', 'grow', 'shrink']
    assert lists(demo_root, 'motion/train.txt')[7] == ['train_left_0000.mp4', '1']
    image = cv2.imread(str(demo_root / 'image/test/red_columns/0001.jpg'))
    assert image.shape == (34, 46, 3) and image[..., 2].mean() > 1.3 * image[..., 0].mean()  # red, in OpenCV's order


def test_splits_differ_in_content(demo_root):
    """Rejects a seed that forgets the split, the class or the number: clips with other names but the same
    frames."""
    clips = [decode(path) for path in sorted((demo_root / 'motion/videos').glob('*.mp4'))]
    assert {len(clip) for clip in clips} == set(range(11, 18)), 'lengths vary over all that was asked for'
    assert len({clip[:11].tobytes() for clip in clips}) == len(clips) == 48


def test_mmaction_reads_them(demo_root, video_cfg):
    """Rejects files that only our own reader knows."""
    cfg = {**video_cfg, 'ann_file': str(demo_root / 'scene/val.txt')}
    cfg['data_prefix'] = dict(video=str(demo_root / 'scene/videos'))
    assert SeededDataset(cfg)[0]['inputs'].shape == (1, 3, 5, 23, 29)


def files(root):
    return {str(p.relative_to(root)): p.read_bytes() for p in sorted(root.rglob('*')) if p.is_file()}


def test_the_same_seed_gives_the_same_bytes(tmp_path):
    """Rejects global generators and an order of files that matters; a longer set must keep what the shorter
    one had."""
    quiet = dict(report=lambda line: None)
    np.random.seed(1)
    make_demo(tmp_path / 'a', SMALL, **quiet)
    np.random.seed(2)
    make_demo(tmp_path / 'b', SMALL, sets=('image', 'motion', 'scene'), **quiet)
    assert files(tmp_path / 'a') == files(tmp_path / 'b')
    longer = DemoOptions(**{**vars(SMALL), 'motion_clips': (3, 1, 1)})
    make_demo(tmp_path / 'c', longer, sets=('motion',), **quiet)
    short, long = files(tmp_path / 'a/motion/videos'), files(tmp_path / 'c/motion/videos')
    assert len(long) == len(short) + 2 and short.items() <= long.items()
    other = DemoOptions(**{**vars(SMALL), 'seed': 4})
    make_demo(tmp_path / 'd', other, sets=('motion',), **quiet)
    assert not set(files(tmp_path / 'd/motion/videos').values()) & set(short.values())


def test_a_set_is_made_once(tmp_path):
    """Rejects work that is done again, options that are not compared, and a set with a lost file that is left
    so."""
    lines = []
    assert make_demo(tmp_path, SMALL, report=lines.append) == dict(motion=True, scene=True, image=True)
    before = time.time_ns()
    assert make_demo(tmp_path, SMALL, report=lines.append) == dict(motion=False, scene=False, image=False)
    assert max(p.stat().st_mtime_ns for p in tmp_path.rglob('*')) < before
    assert lines[0].startswith('motion: 8 of 8 clips') and 'same options' in lines[-1]
    changed = DemoOptions(**{**vars(SMALL), 'scene_clips': (2, 1, 1)})
    assert make_demo(tmp_path, changed, report=lines.append) == dict(motion=False, scene=True, image=False)
    faster = DemoOptions(**{**vars(changed), 'fps': changed.fps + 1, 'max_frames': changed.max_frames + 2})
    assert faster.of_set('image') == changed.of_set('image')  # which has no frames
    next((tmp_path / 'motion/videos').iterdir()).unlink()
    assert make_demo(tmp_path, changed, report=lines.append)['motion']
    assert {p.name for p in tmp_path.iterdir()} == {'motion', 'scene', 'image'}
    manifest = json.loads((tmp_path / 'scene/manifest.json').read_text())
    assert manifest['format'] == demo.FORMAT and manifest['options']['scene_clips'] == [2, 1, 1]


def test_a_killed_run_leaves_the_old_set(tmp_path, monkeypatch):
    """Rejects writing in place: half a set would be taken for one, or the old one would be gone."""
    make_demo(tmp_path, SMALL, sets=('motion',), report=lambda line: None)
    before = files(tmp_path)
    monkeypatch.setattr(demo, 'write_video', lambda *a: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        make_demo(tmp_path, DemoOptions(**{**vars(SMALL), 'seed': 9}), sets=('motion',), report=lambda line: None)
    assert files(tmp_path) == before


@pytest.mark.parametrize('lost', ['motion/train.txt', 'motion/classes.txt', 'image/meta/val.txt'])
def test_a_set_with_a_lost_list_is_made_again(lost, tmp_path):
    """Rejects a look at the clips alone: the tool ended in a traceback where it joins the lists."""
    sets = dict(sets=(lost.split('/')[0],), report=lambda line: None)
    make_demo(tmp_path, SMALL, **sets)
    whole = files(tmp_path)
    (tmp_path / lost).unlink()
    assert make_demo(tmp_path, SMALL, **sets) == {sets['sets'][0]: True}
    assert files(tmp_path) == whole


def test_a_linked_set_is_made_again_where_it_lies(tmp_path):
    """Rejects a folder in the place of the link, beside which the link stays under a hidden name."""
    options = dict(sets=('motion',), report=lambda line: None)
    make_demo(tmp_path / 'large', SMALL, **options)
    (tmp_path / 'demo').mkdir()
    (tmp_path / 'demo/motion').symlink_to(tmp_path / 'large/motion')
    make_demo(tmp_path / 'demo', DemoOptions(**{**vars(SMALL), 'seed': 9}), **options)
    assert (
        [p.name for p in (tmp_path / 'demo').iterdir()]
        == [p.name for p in (tmp_path / 'large').iterdir()]
        == ['motion']
    )
    assert (tmp_path / 'demo/motion').is_symlink()
    assert json.loads((tmp_path / 'large/motion/manifest.json').read_text())['options']['seed'] == 9


def test_what_a_killed_run_has_left_goes(tmp_path):
    """Rejects half a set for every run that SIGKILL has ended, and taking away what another run is writing."""
    options = dict(sets=('motion',), report=lambda line: None)
    make_demo(tmp_path, SMALL, **options)
    gone = subprocess.Popen(['true'])
    gone.wait()
    for number, kind in ((gone.pid, 'new'), (gone.pid, 'old'), (os.getppid(), 'new')):
        (tmp_path / f'.motion.{number}.{kind}').mkdir()
    (tmp_path / f'.motion.{gone.pid}.old').rmdir()
    (tmp_path / f'.motion.{gone.pid}.old').symlink_to(tmp_path / 'motion')
    assert make_demo(tmp_path, SMALL, **options) == {'motion': False}
    assert {p.name for p in tmp_path.iterdir()} == {'motion', f'.motion.{os.getppid()}.new'}
    assert (tmp_path / 'motion/manifest.json').is_file()


def test_a_folder_of_somebody_else_is_left_alone(tmp_path):
    """Rejects deleting a folder that happens to be called 'motion'."""
    (tmp_path / 'motion').mkdir()
    (tmp_path / 'motion/thesis.txt').write_text('mine')
    with pytest.raises(ConfigError, match=r'motion: found a folder that is no demo data'):
        make_demo(tmp_path, SMALL, report=lambda line: None)
    assert files(tmp_path) == {'motion/thesis.txt': b'mine'}


@pytest.mark.parametrize(
    "option, value",
    [("height", 33), ("width", 8), ("min_frames", 1), ("max_frames", 3), ("fps", 0), ("noise", -1.0),
     ("motion_classes", 3), ("motion_classes", 12), ("scene_classes", 25), ("motion_clips", (1, 0, 1)),
     ("image_clips", (1, 1))],
)  # fmt: skip
def test_bad_options_are_named(option, value):
    """Rejects sizes that H.264 refuses in a worker, an odd class without its reverse, and empty splits."""
    with pytest.raises(ConfigError, match=f'^{option}: found'):
        DemoOptions(**{option: value})
    with pytest.raises(ConfigError, match="sets: found 'films'"):
        make_demo('nowhere', SMALL, sets=('films',))
