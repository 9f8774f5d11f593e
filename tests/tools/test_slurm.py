"""tools/slurm_search.sh on a real Slurm."""

import sys

import pytest

from mmnas_video.testing.toy import config

from .conftest import ROOT
from .slurm_cluster import cluster, wait_for

#: From the seventh step on, a second a step until the test says otherwise.
SLOW = """
import time
from pathlib import Path
from mmengine.hooks import Hook
from mmengine.registry import HOOKS

@HOOKS.register_module()
class Slow(Hook):
    def before_train_iter(self, runner, batch_idx, data_batch=None):
        if runner.iter >= 6 and not Path('fast').exists():
            time.sleep(1)
"""


def write_config(folder):
    """A search of 24 steps, with dropout and momentum."""
    (folder / 'slow.py').write_text(SLOW)
    cfg = config(
        dict(type='PARSECSearchHook', num_archs=2),
        epochs=8,
        model=dict(type='ToyRecognizer', backbone=dict(type='ToyBackbone'), dropout=0.3),
        optim_wrapper=dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=0.1, momentum=0.9)),
        custom_imports=dict(imports=['mmnas_video.testing.toy', 'slow']),
    )
    cfg.custom_hooks.append(dict(type='Slow'))
    cfg.dump(folder / 'toy.py')


@pytest.mark.slow
def test_a_preempted_search_on_two_nodes_goes_on(tmp_path):
    """Rejects nodes that do not find each other, a job that is not queued again (Slurm does not by itself, if the job
    ends within its time of grace) or begins anew, ranks that are not told, and another end than that of two ranks on
    one node that nothing has disturbed."""
    write_config(tmp_path)
    with cluster(tmp_path) as run:

        def submit(nodes):
            asked = dict(PARTITION='low', NODES=nodes, GPUS_PER_NODE=2 // nodes, CPUS_PER_GPU=1, JOB_NAME='toy')
            place = dict(PYTHON=sys.executable, PYTHONPATH=tmp_path, OMP_NUM_THREADS=1)
            words = (ROOT / 'tools/slurm_search.sh', 'toy.py', '--work-dir', f'on_{nodes}')
            return run(*words, more={key: str(value) for key, value in {**asked, **place}.items()}).split()[-1]

        def log(job):
            file = tmp_path / f'toy-{job}.log'
            return file.read_text() if file.exists() else ''

        def reach(job, *words):
            def there():
                now = run('scontrol', 'show', 'job', '--oneliner', job)
                assert 'JobState=FAILED' not in now, now + log(job)
                return {*words} <= {*now.split()}

            wait_for(there, lambda: run('scontrol', 'show', 'job', job) + log(job))

        def steps():
            file = tmp_path / 'on_2/search/history.jsonl'
            return file.read_text().count('"step"') if file.exists() else 0

        job = submit(2)
        wait_for(lambda: steps() > 6, lambda: log(job))
        run('sbatch', '--partition=high', '--nodelist=n2', '--gres=gpu:2', '--output=high.log', '--wrap=true')
        reach(job, 'JobState=PENDING', 'Restarts=1')
        (tmp_path / 'fast').touch()
        run('scontrol', 'update', f'JobId={job}', 'StartTime=now+3')  # Slurm's own time is after two minutes
        reach(job, 'JobState=COMPLETED')
        assert log(job).count('Told to end (SIGTERM): the same command with --resume goes on from') == 1
        assert not (tmp_path / 'on_2/search-1').exists(), 'begun anew'
        reach(submit(1), 'JobState=COMPLETED')
    for name in ('arch.json', 'history.jsonl'):
        assert (tmp_path / 'on_2/search' / name).read_bytes() == (tmp_path / 'on_1/search' / name).read_bytes(), name


def test_without_slurm_the_test_is_skipped(tmp_path, monkeypatch):
    """Rejects an error where it is not installed, and a reason that does not say what to install."""
    monkeypatch.setattr('shutil.which', lambda name, path=None: None)
    with pytest.raises(pytest.skip.Exception, match=r'no munged, slurmctld, .*: apt-get install slurmctld'):
        cluster(tmp_path).__enter__()
