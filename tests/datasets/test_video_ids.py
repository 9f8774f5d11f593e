"""The same clip has one id in every list; lists of every kind are read."""

import numpy as np
import pytest

from mmnas_video.datasets import read_list, shared_ids, video_id
from mmnas_video.datasets.video_ids import among, id_hash
from mmnas_video.errors import ConfigError


@pytest.mark.parametrize(
    ('path', 'expected'),
    [
        ('train/abseiling/-3B32lodo2M_000059_000069.mp4', '-3B32lodo2M_000059'),
        ('/data/k600/val/-3B32lodo2M_000059_000070.mkv', '-3B32lodo2M_000059'),
        ('a_b-c_d-e_f_000001_000011', 'a_b-c_d-e_f_000001'),  # a folder of frames; the id itself has underscores
        ('-3B32lodo2M_000060_000069.mp4', '-3B32lodo2M_000060'),
        ('sthv2/74225.webm', '74225'),
        ('v_ApplyEyeMakeup_g01_c01.avi', 'v_ApplyEyeMakeup_g01_c01'),
        ('a.b/no_suffix', 'no_suffix'),
        ('dir/.hidden', '.hidden'),
        ('my holiday 3.1.mp4', 'my holiday 3.1'),
        ('short_000001_000011.mp4', 'short_000001_000011'),
        ('train/red_rows/0003.jpg', 'train/red_rows/0003.jpg'),
        ('val/red_rows/0003.JPEG', 'val/red_rows/0003.JPEG'),
    ],
)
def test_ids(path, expected):
    """Rejects ids with folder or suffix, ids that keep the end time, starts that are left out, names that end at their
    first dot, and numbered image files of different folders taken for one."""
    assert video_id(path) == expected


def test_hashes_differ_and_last():
    """Rejects Python's salted hash: held-out parts would differ between processes."""
    assert id_hash('74225') == 9031241729361643973
    assert len({id_hash(f'video{n}') for n in range(10_007)}) == 10_007


def test_lists_of_every_kind(tmp_path):
    """Rejects labels or frame counts that stay on the path, blank lines as clips, and unpadded times."""
    (tmp_path / 'videos.txt').write_text('a/b c.mp4 3\n\nd.mp4 -1\n')
    (tmp_path / 'frames.txt').write_text('a/b 301 3\nc 17 2\n')
    (tmp_path / 'k.csv').write_text('label,youtube_id,time_start,time_end,split\nyoga,-3B32lodo2M,59,69,train\n')
    (tmp_path / 's.json').write_text('[{"id": "74225", "label": "x"}, {"id": 7}]')
    assert read_list(tmp_path / 'videos.txt', 'k') == ['a/b c.mp4', 'd.mp4']
    assert read_list(tmp_path / 'frames.txt', 'k') == ['a/b', 'c']
    assert read_list(tmp_path / 'k.csv', 'k') == ['-3B32lodo2M_000059_000069']
    assert read_list(tmp_path / 's.json', 'k') == ['74225', '7']


@pytest.mark.parametrize(
    ('name', 'text', 'words'),
    [
        ('none.txt', None, 'k: found no file'),
        ('empty.txt', '\n\n', 'k: found no clip'),
        ('a.csv', 'label,youtube_id\nx,y\n', 'k: found no column time_start, time_end'),
        ('b.csv', 'youtube_id,time_start,time_end\nx,a,1\n', 'k: found a time'),
        ('a.json', '{"id": 3}', 'k: cannot read'),
        ('b.json', 'no json', 'k: cannot read'),
        ('latin.txt', 'caf\xe9.mp4 0\n', 'k: cannot read .* expected text in UTF-8'),
        ('latin.csv', 'youtube_id,time_start,time_end\n\xe9,1,2\n', 'k: cannot read .* expected text in UTF-8'),
    ],
)
def test_bad_lists_are_named(tmp_path, name, text, words):
    """Rejects a traceback from a reader, and an empty list that checks nothing."""
    if text is not None:
        (tmp_path / name).write_text(text, encoding='latin-1')
    with pytest.raises(ConfigError, match=words) as info:
        read_list(tmp_path / name, 'k')
    assert name in str(info.value)


def test_ids_that_are_among_others():
    """Rejects the neighbour of an id in the order for the id itself, one that is larger than all others, and none."""
    ids = np.array([7, 2, 2**64 - 1, 0, 5, 7], np.uint64)
    for others in ([], [7], [3, 7, 2, 7, 11], [2**64 - 1, 1], [0]):
        assert among(ids, np.array(others, np.uint64)).tolist() == [one in others for one in ids.tolist()]


def test_every_training_list_against_every_validation_list():
    """Rejects list i against list i only, and comparison by path."""
    train = {'k400': ['a/AAAAAAAAAAA_000001_000011.mp4'], 'k600': ['x/BBBBBBBBBBB_000002_000012.mp4', 'x/7.mp4']}
    val = {'k400': ['v/BBBBBBBBBBB_000002_000011.mp4'], 'k600': ['v/AAAAAAAAAAA_000001_000011.mp4'], 's': ['8.webm']}
    assert shared_ids(train, val) == {
        ('k400', 'k600'): ['a/AAAAAAAAAAA_000001_000011.mp4'],
        ('k600', 'k400'): ['x/BBBBBBBBBBB_000002_000012.mp4'],
    }
