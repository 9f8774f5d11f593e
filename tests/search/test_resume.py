"""A search that is killed and resumed ends as if it had never stopped, bit for bit (CPU)."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from mmnas_video.datasets import DemoOptions, make_demo

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope='module')
def videos(tmp_path_factory):
    """A small motion set of real mp4 files."""
    folder = tmp_path_factory.mktemp('data')
    make_demo(folder, DemoOptions(motion_classes=4, motion_clips=(8, 2, 2)), sets=('motion',))
    return folder / 'motion'


#: Config to its own options.
SEARCHES = {
    'autox3d': ('custom_hooks.0.num_archs=2', 'custom_hooks.0.mode=joint'),
    'autox3d_darts': ('custom_hooks.0.order=2', 'custom_hooks.0.score_batches=1', 'custom_hooks.0.init_std=0.5'),
}


def command(config: str, videos: Path, work_dir: Path) -> list[str]:
    """tools/search.py with two persistent workers, EMA, and validation every epoch."""
    data = [f'{loader}_dataloader.dataset.dataset.data_root={videos}/' for loader in ('train', 'val', 'test')]
    options = [
        'train_cfg.max_epochs=3',
        'train_cfg.val_interval=1',
        'train_dataloader.num_workers=2',
        'train_dataloader.batch_size=4',
        'model.cls_head.num_classes=4',
        *SEARCHES[config],
        'custom_hooks.0.warmup_epochs=0',
        'custom_hooks.0.calibration_clips=4',
        'val_dataloader.num_workers=2',
        'default_hooks.ema.type=EMAHook',
        *data,
    ]
    return [
        sys.executable,
        'tools/search.py',
        f'configs/demo/{config}.py',
        '--work-dir',
        str(work_dir),
        '--no-retrain',
        '--cfg-options',
        *options,
    ]


def run(cmd: list[str]) -> None:
    done = subprocess.run(cmd, cwd=ROOT, capture_output=True, text=True, env={**os.environ, 'OMP_NUM_THREADS': '1'})
    assert done.returncode == 0, done.stderr[-3000:]


def run_and_kill(cmd: list[str], history: Path, steps: int) -> None:
    """SIGKILL the process and its workers once the history has ``steps`` lines."""
    process = subprocess.Popen(
        cmd,
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        env={**os.environ, 'OMP_NUM_THREADS': '1'},
    )
    try:
        deadline = time.time() + 120
        while time.time() < deadline and process.poll() is None:
            if history.exists() and history.read_bytes().count(b'\n') >= steps:
                break
            time.sleep(0.02)
        assert process.poll() is None, 'the search ended before it could be killed'
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@pytest.mark.slow
@pytest.mark.parametrize('config', SEARCHES)
def test_killed_and_resumed_equals_uninterrupted(config, videos, tmp_path):
    """Rejects a resume that draws other architectures, decodes other frames, forgets α's optimiser, leaves lines of the
    killed epoch in the history, or lets validation move the training's random numbers."""
    whole, killed = tmp_path / 'whole', tmp_path / 'killed'
    run(command(config, videos, whole))
    run_and_kill(
        command(config, videos, killed), killed / 'search' / 'history.jsonl', steps=9
    )  # in the second of 3 x 6 steps
    assert (killed / 'last_checkpoint').read_text().endswith('epoch_1.pth')
    run([*command(config, videos, killed), '--resume'])

    for name in ('history.jsonl', 'space.json'):
        assert (whole / 'search' / name).read_bytes() == (killed / 'search' / name).read_bytes(), name
    assert json.loads((whole / 'search/arch.json').read_text()) == json.loads((killed / 'search/arch.json').read_text())
    one, two = (torch.load(folder / 'epoch_3.pth', weights_only=True) for folder in (whole, killed))
    for key in ('state_dict', 'ema_state_dict'):
        assert all(torch.equal(one[key][name], two[key][name]) for name in one[key]), key
    state, other = one['search']['state'], two['search']['state']
    assert torch.equal(state['alpha'], other['alpha'])
    assert all(
        torch.equal(state['optimizer']['state'][0][k], other['optimizer']['state'][0][k])
        for k in ('exp_avg', 'exp_avg_sq')
    )
    assert one['search']['rng'] == two['search']['rng'] and one['search']['held_out'] == two['search']['held_out']
    weights = [
        torch.load(folder / 'search/extracted.pth', weights_only=True)['state_dict'] for folder in (whole, killed)
    ]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
