"""A search in three stages of the two-stream demo, killed in its second stage: real processes, workers and videos."""

import json

import pytest
import torch

from mmnas_video.datasets import DemoOptions, join_demo, make_demo

from .test_resume import command as stock_command
from .test_resume import run, run_and_kill


@pytest.fixture(scope='module')
def videos(tmp_path_factory):
    """Small motion and scene sets of real mp4 files, and the lists of their union."""
    folder = tmp_path_factory.mktemp('data')
    options = DemoOptions(motion_classes=4, scene_classes=4, motion_clips=(6, 2, 2), scene_clips=(6, 2, 2))
    make_demo(folder, options, sets=('motion', 'scene'), report=lambda line: None)
    return join_demo(folder)


def command(videos, work_dir):
    """tools/search.py on the demo, two epochs in the second stage, with persistent workers."""
    cmd = stock_command('autox3d', videos, work_dir)
    cmd[2] = 'configs/demo/tsnet_progressive.py'
    drop = (
        'train_cfg.',
        'default_hooks.ema',
        'model.cls_head',
        'train_dataloader.num_workers',
    )
    cmd = [word for word in cmd if not word.startswith(drop)]
    stages = [f'stages.{i}.epochs={epochs}' for i, epochs in enumerate((1, 3, 1))]
    return [*cmd, 'custom_hooks.0.arch_dataloader.batch_size=4', *stages]


@pytest.mark.slow
def test_killed_in_its_second_stage_equals_uninterrupted(videos, tmp_path):
    """Rejects a resume that runs the first stage again, starts the second from the inherited weights anew, or lets the
    third inherit other ones; and held-out videos of another number of clips after the resume."""
    whole, killed = tmp_path / 'whole', tmp_path / 'killed'
    run(command(videos, whole))
    run_and_kill(command(videos, killed), killed / '2_dense/search/history.jsonl', steps=12)
    assert (killed / '2_dense/last_checkpoint').is_file() and not (killed / '3_attention').exists()
    first = (killed / '1_sparse/finished.json').stat().st_mtime_ns
    run([*command(videos, killed), '--resume'])
    assert (killed / '1_sparse/finished.json').stat().st_mtime_ns == first
    for stage in ('1_sparse', '2_dense', '3_attention', ''):
        for name in ('history.jsonl', 'space.json', 'arch.json', 'extracted.pth', 'stages.json'):
            one, two = (folder / stage / 'search' / name for folder in (whole, killed))
            assert one.is_file() == two.is_file(), (stage, name)
            if name.endswith('.pth'):
                weights = [torch.load(file, weights_only=True)['state_dict'] for file in (one, two)]
                assert all(torch.equal(weights[0][key], weights[1][key]) for key in weights[0]), stage
            elif one.is_file():
                assert one.read_bytes() == two.read_bytes(), (stage, name)
    names = [stage['name'] for stage in json.loads((killed / 'search/stages.json').read_text())['stages']]
    assert names == ['sparse', 'dense', 'attention']
