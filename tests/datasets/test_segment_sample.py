"""TSN-like sampling: which frames of short, exact and long videos, in which order, under which seed."""

from itertools import pairwise

import numpy as np
import pytest

from mmnas_video.datasets import seeded
from mmnas_video.errors import ConfigError
from mmnas_video.registry import TRANSFORMS


def sample(frames, test_mode, segments=4, taken=2, start=0):
    step = TRANSFORMS.build(
        dict(type='SegmentSampleFrames', num_segments=segments, frames_per_segment=taken, test_mode=test_mode)
    )
    return step.transform({'total_frames': frames, 'start_index': start})


@pytest.mark.parametrize('test_mode', [False, True])
def test_a_video_of_exactly_the_clip_is_taken_whole(test_mode):
    """Rejects drawing with repetition, and centres that miss the ends of two-frame parts."""
    assert sample(8, test_mode)['frame_inds'].tolist() == list(range(8))


@pytest.mark.parametrize(
    ('frames', 'expected'),
    [
        (1, [0] * 8),
        (3, [0, 0, 0, 1, 1, 2, 2, 2]),
        (5, [0, 0, 1, 2, 2, 3, 4, 4]),
        (7, [0, 1, 2, 3, 3, 4, 5, 6]),
    ],
)
@pytest.mark.parametrize('test_mode', [False, True])
def test_a_short_video_is_stretched(frames, expected, test_mode):
    """Rejects an index out of the video, padding with the last frame alone, and looping (order would break)."""
    assert sample(frames, test_mode)['frame_inds'].tolist() == expected


def test_centres_of_a_long_video():
    """Rejects the centre of the segment N_r times, its first frames, and one grid over the video's ends."""
    # Parts of 101 frames: [0, 25), [25, 50), [50, 75), [75, 101); centres of halves at 1/4 and 3/4.
    assert sample(101, True)['frame_inds'].tolist() == [6, 18, 31, 43, 56, 68, 81, 94]
    assert sample(101, True, segments=3, taken=1)['frame_inds'].tolist() == [16, 50, 84]


@pytest.mark.parametrize('frames', [9, 11, 13, 101, 997])
def test_random_frames_are_drawn_inside_their_parts_in_order(frames):
    """Rejects frames of a neighbouring part, one frame twice, frames in the order drawn, and parts of which some frame
    is never drawn."""
    ends = [s * frames // 4 for s in range(5)]
    seen = set()
    for seed in range(40):
        with seeded(seed):
            found = sample(frames, False)['frame_inds'].tolist()
        assert all(a < b for a, b in pairwise(found)), found
        assert [sum(a <= i < b for i in found) for a, b in pairwise(ends)] == [2] * 4
        seen.update(found)
    assert frames > 13 or seen == set(range(frames))


def test_it_is_uniform_over_a_part():
    """Rejects one frame from each half of the part (the pairs of neighbours within a half would never come)."""
    pairs = set()
    for seed in range(200):
        with seeded(seed):
            pairs.add(tuple(sample(16, False)['frame_inds'][:2].tolist()))
    assert pairs == {(a, b) for a in range(4) for b in range(a + 1, 4)}


def test_the_seed_decides():
    """Rejects a generator of its own: SeededDataset could not repeat a sample."""
    with seeded(3):
        first = sample(101, False)['frame_inds']
    with seeded(3):
        again = sample(101, False)['frame_inds']
    with seeded(5):
        other = sample(101, False)['frame_inds']
    assert np.array_equal(first, again) and not np.array_equal(first, other)
    state = str(np.random.get_state())
    sample(101, True)
    assert str(np.random.get_state()) == state, 'a test draws nothing'


def test_it_gives_what_decoders_and_formatters_ask_for():
    """Rejects a start index that is forgotten (raw frames count from 1), and N_s clips in the place of one."""
    found = sample(8, True, start=1)
    assert found['frame_inds'].tolist() == list(range(1, 9)) and found['frame_inds'].dtype == np.int32
    assert (found['clip_len'], found['num_clips'], found['frame_interval']) == (8, 1, None)


@pytest.mark.parametrize('key', ['num_segments', 'frames_per_segment'])
@pytest.mark.parametrize('value', [0, -1, 1.5, True])
def test_a_wrong_number_is_one_clear_error(key, value):
    """Rejects a ZeroDivisionError in a worker in the place of an error with the key."""
    with pytest.raises(ConfigError, match=f'{key}: found {value!r}'):
        TRANSFORMS.build({'type': 'SegmentSampleFrames', key: value})


def test_a_video_without_frames():
    """Rejects indices into nothing: such a file is to be reported as bad, like any other that cannot be read."""
    with pytest.raises(ValueError, match='0 frames'):
        sample(0, True)
