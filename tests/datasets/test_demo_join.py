"""The union of the demo's video sets."""

import pytest

from mmnas_video.datasets import DemoOptions, SeededDataset, join_demo, make_demo
from mmnas_video.errors import ConfigError


@pytest.fixture(scope='module')
def root(tmp_path_factory):
    """Two small sets of 4 and 3 classes."""
    folder = tmp_path_factory.mktemp('data')
    options = DemoOptions(motion_classes=4, scene_classes=3, motion_clips=(3, 1, 2), scene_clips=(2, 1, 1))
    make_demo(folder, options, sets=('motion', 'scene'), report=lambda line: None)
    return folder


def test_every_clip_is_listed_once_under_its_own_class(root):
    """Rejects labels of the second set that fall onto the first one's classes, lists that lose a split, and paths that
    a dataset does not find; joining again changes nothing."""
    folder = join_demo(root)
    classes = (folder / 'classes.txt').read_text().split()
    assert len(classes) == 7
    seen = set()
    for split, count in (('train', 4 * 3 + 3 * 2), ('val', 4 + 3), ('test', 4 * 2 + 3)):
        data = SeededDataset(
            dict(
                type='VideoDataset',
                ann_file=f'{split}.txt',
                data_root=f'{folder}/',
                data_prefix=dict(video=''),
                pipeline=[],
            )
        )
        infos = [data.get_data_info(i) for i in range(len(data))]
        assert len(infos) == count and {info['label'] for info in infos} == set(range(7))
        for info in infos:
            name = 'motion' if info['label'] < 4 else 'scene'
            assert f'/{name}/videos/{split}_{classes[info["label"]]}_' in info['filename'], info
        files = set(data.file_ids())
        assert len(files) == count and not files & seen
        seen |= files
    before = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    assert join_demo(root) == folder and before == {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}


def test_a_set_that_is_not_there_is_refused(tmp_path):
    """Rejects an empty list that a search would fail on later."""
    with pytest.raises(ConfigError, match=r"found no demo set 'motion'.*make_demo\.py"):
        join_demo(tmp_path)
