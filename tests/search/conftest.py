"""The data of searches on several datasets, made once."""

import pytest

from mmnas_video.datasets import DemoOptions, make_demo


@pytest.fixture(scope='session')
def root(tmp_path_factory):
    """Folder with the three demo sets; sizes that differ, so that a swapped axis shows."""
    options = DemoOptions(
        seed=3, height=34, width=46, min_frames=11, max_frames=17, motion_classes=4, scene_classes=3,
        motion_clips=(11, 2, 3), scene_clips=(7, 1, 2), image_clips=(5, 1, 2),
    )  # fmt: skip
    folder = tmp_path_factory.mktemp('demo')
    make_demo(folder, options, report=lambda line: None)
    return folder
