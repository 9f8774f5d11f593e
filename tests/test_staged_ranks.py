"""Two processes of a search in stages before there is a Runner: one of them alone touches files."""

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]

#: Runs the search once by itself, then forks two ranks that go on from its end, and begin it anew as far as a Runner.
SCRIPT = """
import json, os, socket, sys
from pathlib import Path
from mmengine.dist import get_rank
from mmnas_video import compat, staged
from mmnas_video.pipeline import run_search
from mmnas_video.testing.toy import config

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


def rank_main(rank):
    os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank))
    found = [search('pytorch', 'auto')]
    staged._run_stage = lambda *args: sys.exit()  # enough has been seen
    try:
        search('pytorch', False)
    except SystemExit:
        found.append([get_rank(), *touched])
    (folder / f'{rank}.json').write_text(json.dumps(found))


compat.apply()
for name in ('set_aside', '_collect', '_report'):
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


def test_one_rank_alone_touches_the_files_of_a_staged_search(tmp_path):
    """Rejects a process group that is joined only in the first Runner: until then every rank is the main process and
    none waits, so that a resume with all stages finished collected on all of them at once, and a new start set folders
    aside that another rank had already moved."""
    done = subprocess.run(
        [sys.executable, '-W', 'ignore', '-c', SCRIPT, str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=240,
        env={**os.environ, 'OMP_NUM_THREADS': '1', 'PYTHONPATH': str(ROOT), 'CUDA_VISIBLE_DEVICES': ''},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    first, second = (json.loads((tmp_path / f'{rank}.json').read_text()) for rank in range(2))
    assert first == [[0, '_collect', '_report'], [0, 'set_aside', 'set_aside']]
    assert second == [[1], [1]]
    assert sorted(path.name for path in (tmp_path / 'run').iterdir()) == ['1_all-1', 'search-1']
