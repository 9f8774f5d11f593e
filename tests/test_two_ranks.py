"""Two processes with one work dir: who touches files before there is a Runner, and what the best checkpoint holds."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from mmnas_video import compat

ROOT = Path(__file__).parents[1]

#: Runs a search in stages by itself, then forks two ranks that go on from its end, begin it anew as far as a Runner,
#: and train a network.
SCRIPT = """
import json, os, socket, sys
from pathlib import Path
from mmengine.dist import get_rank
from mmengine.hooks import Hook
from mmnas_video import compat, staged
from mmnas_video.launch import build_runner
from mmnas_video.pipeline import run_search
from mmnas_video.testing.toy import config, loader

folder, touched = Path(sys.argv[1]), []


def noting(name):
    whole = getattr(staged, name)

    def noted(*args):
        touched.append(name)
        return whole(*args)

    setattr(staged, name, noted)


def search(launcher, resume):
    touched.clear()
    cfg = config(dict(type='PARSECSearchHook', num_archs=2, calibration_clips=0), 1, str(folder / 'run'))
    cfg.stages = [dict(name='all', opens=['scale', 'width'])]
    cfg.launcher, cfg.resume = launcher, resume
    run_search(cfg)
    return [get_rank(), *touched]


class Means(Hook):
    def after_train_epoch(self, runner):
        self.trained = runner.model.module.backbone.norm.running_mean.tolist()

    def after_val_epoch(self, runner, metrics=None):
        self.validated = runner.model.module.backbone.norm.running_mean.tolist()


def best():
    # No checkpoint is due before the end but the best.
    cfg = config(
        {},
        1,
        str(folder / 'best'),
        model=dict(type='ToyRecognizer', backbone=dict(type='ToyBackbone', arch=dict(scale=2.0, width=3))),
        default_hooks=dict(
            checkpoint=dict(
                type='AtomicCheckpointHook', interval=3, save_last=False, save_best='top1', rule='greater'
            ),
            reproducible=dict(type='ReproducibleHook'),
        ),
        val_dataloader=dict(loader(2, sampler=False), sampler=dict(type='DefaultSampler', shuffle=False)),
        val_cfg=dict(),
        val_evaluator=dict(type='ToyMetric'),
    )
    cfg.custom_hooks, cfg.launcher = [], 'pytorch'
    runner, means = build_runner(cfg), Means()
    runner.register_hook(means)
    runner.train()
    return vars(means)


def rank_main(rank):
    os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank))
    found = {'resumed': search('pytorch', 'auto')}
    staged._run_stage = lambda *args: sys.exit()  # enough has been seen
    try:
        search('pytorch', False)
    except SystemExit:
        found['new'] = [get_rank(), *touched]
    found['best'] = best()
    (folder / f'{rank}.json').write_text(json.dumps(found))


compat.apply()
for name in ('set_aside', '_collect', 'leave_report'):
    noting(name)
with socket.socket() as free:
    free.bind(('127.0.0.1', 0))
    os.environ.update(MASTER_ADDR='127.0.0.1', MASTER_PORT=str(free.getsockname()[1]), WORLD_SIZE='2')
for tasks in ([lambda: search('none', False)], [lambda: rank_main(0), lambda: rank_main(1)]):
    children = []
    for task in tasks:
        children.append(os.fork())
        if not children[-1]:
            task()
            sys.stdout.flush()
            os._exit(0)
    assert not any([os.waitpid(child, 0)[1] for child in children])
"""


@pytest.fixture(scope='module')
def ended(tmp_path_factory):
    """The folder, and what each rank has found."""
    folder = tmp_path_factory.mktemp('two_ranks')
    done = subprocess.run(
        [sys.executable, '-W', 'ignore', '-c', SCRIPT, str(folder)],
        capture_output=True,
        text=True,
        timeout=240,
        env={**os.environ, 'OMP_NUM_THREADS': '1', 'PYTHONPATH': str(ROOT), 'CUDA_VISIBLE_DEVICES': ''},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return folder, [json.loads((folder / f'{rank}.json').read_text()) for rank in range(2)]


def test_one_rank_alone_touches_the_files_of_a_staged_search(ended):
    """Rejects a process group that is joined only in the first Runner: until then every rank is the main process and
    none waits, so that a resume with all stages finished collected on all of them at once, and a new start set folders
    aside that another rank had already moved."""
    folder, ranks = ended
    assert [rank['resumed'] for rank in ranks] == [[0, '_collect', 'leave_report'], [1]]
    assert [rank['new'] for rank in ranks] == [[0, 'set_aside', 'set_aside'], [1]]
    assert sorted(path.name for path in (folder / 'run').iterdir()) == ['1_all-1', 'search-1']


def test_the_best_checkpoint_is_what_all_ranks_have_validated(ended):
    """Between two checkpoints by epochs. Rejects ranks that each validate a network with statistics of their own, and a
    best checkpoint with those of rank 0."""
    one, other = (rank['best'] for rank in ended[1])
    assert max(abs(a - b) for a, b in zip(one['trained'], other['trained'], strict=True)) > 1e-3
    mean = [(a + b) / 2 for a, b in zip(one['trained'], other['trained'], strict=True)]
    assert one['validated'] == other['validated'] == pytest.approx(mean, abs=1e-12)
    saved = compat.safe_load(ended[0] / 'best/best_top1_epoch_1.pth')['state_dict']
    assert saved['backbone.norm.running_mean'].tolist() == one['validated']
