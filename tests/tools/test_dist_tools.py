"""tools/dist_*.sh: real searches in several processes, and what they say when they cannot start."""

import json
import os
import re
import shutil
import subprocess
import sys

import pytest
import torch
from mmengine.registry import init_default_scope

from mmnas_video import launch
from mmnas_video.datasets import seeded_sampler

from ..search.toy import config, loader
from .conftest import ENV, ROOT, SEARCH

BASH = shutil.which('bash')
#: Stands for srun: says what it is given.
RUN = 'printf "%s\\n" "$NNODES $MASTER_ADDR $MASTER_PORT $RDZV_ID" "$@"'


def script(name: str, *args: object, **env: str) -> subprocess.CompletedProcess:
    """Run a script of ``tools/`` from another folder than the repository's."""
    return subprocess.run(
        [BASH, str(ROOT / 'tools' / name), *map(str, args)],
        cwd=os.environ.get('TMPDIR', '/tmp'),
        env={**ENV, 'PYTHON': shutil.which('python') or 'python', **env},
        capture_output=True,
        text=True,
        timeout=900,
    )


@pytest.mark.slow
def test_a_search_in_two_processes(videos, tiny, tmp_path):
    """The demo's search, as a user starts it, with synced BatchNorm. Rejects a launcher that asks for a GPU or for
    find_unused_parameters, one that runs two searches side by side (twice the steps of half the clips each), a script
    that runs in the repository only, and options that do not reach the tool."""
    options = ['--no-retrain', '--cfg-options', 'sync_bn=torch', *tiny(), *SEARCH]
    demo = ROOT / 'configs/demo/autox3d.py'
    done = script('dist_search.sh', demo, 2, '--work-dir', tmp_path / 'run', *options, PYTHON=sys.executable)
    assert done.returncode == 0, done.stderr[-3000:]
    lines = [json.loads(line) for line in (tmp_path / 'run/search/history.jsonl').read_text().splitlines()]
    # 24 training clips, a quarter of them held out: 9 a rank, and 4 a batch of one rank.
    assert [line['step'] for line in lines if line['kind'] == 'step'] == [1, 2]
    assert json.loads((tmp_path / 'run/search/arch.json').read_text())['search']['final']
    assert (tmp_path / 'run/search/extracted.pth').is_file()
    assert done.stdout.count('\narch: ') == 1, 'one rank speaks for all'


@pytest.mark.slow
def test_a_training_in_two_processes(tmp_path):
    """A network on vectors. Rejects two trainings side by side (6 steps an epoch, not 3), ranks whose updates are their
    own (synced BatchNorm: the weights of one process with the whole batch), and a script that starts another tool; of a
    test, ranks that each print the figures of all."""
    tested = dict(
        test_dataloader=dict(loader(2, sampler=False), sampler=dict(type='SeededSampler', shuffle=False)),
        test_cfg={},
        test_evaluator=dict(type='ToyMetric', collect_device='gpu'),  # of the backend, not by files
    )
    model = dict(type='ToyRecognizer', backbone=dict(type='ToyBackbone', arch=dict(scale=2.0, width=3)))
    saved = {}
    for ranks in (1, 2):
        cfg = config({}, 1, str(tmp_path / str(ranks)), model=model, train_dataloader=loader(0, 10 // ranks), **tested)
        cfg.custom_hooks, cfg.sync_bn = [], 'torch'
        cfg.custom_imports = dict(imports=['mmnas_video.testing.toy'])
        cfg.dump(tmp_path / f'{ranks}.py')
        if ranks == 1:
            launch.train(cfg)
        else:
            done = script('dist_train.sh', tmp_path / '2.py', 2, PYTHON=sys.executable)
            assert done.returncode == 0, done.stderr[-3000:]
        saved[ranks] = torch.load(tmp_path / str(ranks) / 'epoch_1.pth', weights_only=True)
    assert [saved[ranks]['meta']['iter'] for ranks in saved] == [3, 3]
    for name, value in saved[1]['state_dict'].items():
        torch.testing.assert_close(saved[2]['state_dict'][name], value, rtol=0, atol=1e-9, msg=name)
    done = script('dist_run.sh', 'test.py', tmp_path / '2.py', 2, tmp_path / '2/epoch_1.pth', PYTHON=sys.executable)
    assert done.returncode == 0 and done.stdout.count('top1') == 1, done.stderr[-3000:]


@pytest.mark.parametrize(
    ('name', 'args', 'env', 'words'),
    [
        ('dist_train.sh', ('configs/x.py',), {}, 'usage: tools/dist_train.sh CONFIG PROCESSES'),
        ('dist_search.sh', ('configs/x.py', 'eight'), {}, "PROCESSES: found 'eight'"),
        ('dist_train.sh', ('configs/x.py', 2), {'NNODES': '2'}, 'MASTER_ADDR: found none with NNODES=2'),
        ('slurm_search.sh', (), {}, 'usage:'),
        ('slurm_search.sh', ('--seed', 3), {}, 'usage:'),
    ],
)
def test_what_is_missing_is_said(name, args, env, words):
    """Rejects torchrun's own words for a wrong command line, or a wait for machines that nobody named."""
    done = script(name, *args, **env)
    assert done.returncode == 2 and words in done.stderr, done.stderr


@pytest.mark.parametrize('name', ['dist_search.sh', 'dist_train.sh', 'slurm_search.sh'])
def test_a_script_explains_itself(name):
    """Rejects ``--help`` that is taken for a config (a job in Slurm's queue), and the name of the script below."""
    done = script(name, '--help')
    assert done.returncode == 0 and f'tools/{name} CONFIG' in done.stdout, done.stderr
    assert not re.search('^#|dist_run|set -', done.stdout, re.M)


def test_several_machines_find_each_other(tmp_path):
    """What torchrun is started with. Rejects a rendezvous that each machine has by itself, and one without the job's
    name or the machine's number."""
    fake = tmp_path / 'python'
    fake.write_text('#!/usr/bin/env bash\necho "$@"\n')
    fake.chmod(0o755)
    place = {'PYTHON': str(fake), 'NNODES': '3', 'MASTER_ADDR': 'first'}
    by_number = script('dist_train.sh', 'c.py', 4, '--seed', 1, NODE_RANK='2', MASTER_PORT='31', **place).stdout
    assert '--nnodes=3 --nproc-per-node=4 --node-rank=2 --master-addr=first --master-port=31 ' in by_number
    assert by_number.rstrip().endswith('tools/train.py c.py --launcher pytorch --seed 1')
    by_name = script('dist_search.sh', 'c.py', 4, RDZV_ID='job7', **place).stdout
    assert '--rdzv-backend=c10d --rdzv-endpoint=first:29500 --rdzv-id=job7' in by_name


def test_the_slurm_job(tmp_path):
    """What is asked for, and what the job then runs, with stand-ins for Slurm's own commands. Rejects a job that begins
    anew after a preemption, is not queued again or is told too late to save, one launcher a GPU (each starts all of a
    node's processes), nodes that do not know of each other, a port that another job or any connection may have, a
    config that falls apart at its space, and one core for all of a node (since Slurm 22.05 ``srun`` does not take over
    what the job has asked for)."""
    done = script('slurm_search.sh', 'my config.py', '--seed', 3, DRY_RUN='1', NODES='2', GPUS_PER_NODE='4')
    asked = [line.removeprefix('#SBATCH ') for line in done.stdout.splitlines() if line.startswith('#SBATCH')]
    assert {'--nodes=2', '--ntasks-per-node=1', '--gres=gpu:4', '--cpus-per-task=32'} <= {*asked}
    assert {'--requeue', '--signal=TERM@60'} <= {*asked}
    for name, text in (('scontrol', "printf '%s\\n' first second"), ('srun', RUN)):
        (tmp_path / name).write_text(f'#!/usr/bin/env bash\n{text}\n')
        (tmp_path / name).chmod(0o755)
    (job := tmp_path / 'job.sh').write_text(done.stdout)
    place = {'PATH': f'{tmp_path}:{os.environ["PATH"]}', 'SLURM_JOB_ID': '1234567', 'SLURM_JOB_NODELIST': 'n[1-2]'}
    ran = subprocess.run([BASH, str(job)], env=place, capture_output=True, text=True)
    tool = ROOT / 'tools/dist_search.sh'
    command = ['--kill-on-bad-exit=1', '--cpus-per-task=32', str(tool), 'my config.py', '4', '--resume', '--seed', '3']
    assert ran.stdout.splitlines() == ['2 first 24567 1234567', *command], ran.stderr
    assert tool.stat().st_mode & 0o111


def test_names_with_blanks_in_the_slurm_job(tmp_path):
    """Rejects half a path of an interpreter, words of a config's name that Slurm takes for options, and an empty last
    argument that is lost."""
    python = f'{tmp_path}/my py/$x'
    done = script('slurm_search.sh', "my 'c.py", '--work-dir', '', DRY_RUN='1', PYTHON=python)
    assert {'#SBATCH --job-name=my__c', '#SBATCH --output=my__c-%j.log'} <= {*done.stdout.splitlines()}
    (tmp_path / 'srun').write_text('#!/usr/bin/env bash\nprintf "%s\\n" "$PYTHON" "${@:4}"\n')
    (tmp_path / 'srun').chmod(0o755)
    place = {'PATH': f'{tmp_path}:{os.environ["PATH"]}', 'SLURM_JOB_ID': '7', 'SLURM_JOB_NODELIST': 'n'}
    ran = subprocess.run([BASH, '-c', done.stdout], env=place, capture_output=True, text=True)
    assert ran.stdout.split('\n') == [python, "my 'c.py", '8', '--resume', '--work-dir', '', '']


@pytest.mark.parametrize(
    ('ended', 'preempted', 'queued'), [(1, '2026-11-30T17:37:48', True), (143, 'None', False), (0, '2026-11-30', False)]
)
def test_a_slurm_job_that_ends_within_its_grace_time_is_queued_again(ended, preempted, queued, tmp_path):
    """Rejects a job that Slurm takes for failed, because it ended before it was taken away, and one that is begun again
    and again after an error, scancel or the end of its time."""
    job = script('slurm_search.sh', 'c.py', DRY_RUN='1').stdout
    show = f'[ $1 = requeue ] || printf "   PreemptEligibleTime=2026-11-30T17:37:33 PreemptTime={preempted}\\n"'
    for name, text in (('scontrol', f'echo "$@" >> calls; {show}'), ('srun', f'exit {ended}')):
        (tmp_path / name).write_text(f'#!/usr/bin/env bash\n{text}\n')
        (tmp_path / name).chmod(0o755)
    place = {'PATH': f'{tmp_path}:{os.environ["PATH"]}', 'SLURM_JOB_ID': '7', 'SLURM_JOB_NODELIST': 'n'}
    assert subprocess.run([BASH, '-c', job], env=place, cwd=tmp_path).returncode == ended
    assert ('requeue 7' in (tmp_path / 'calls').read_text().splitlines()) is queued


def test_a_dry_run_counts_the_steps_of_several_ranks(tmp_path, monkeypatch):
    """How many there are is known once they have joined. Rejects the hours of one rank for all, and the list's batches
    counted for one rank."""
    init_default_scope('mmaction')
    ranks, short, build = [1], [], launch.build_runner
    monkeypatch.setattr(seeded_sampler, 'get_dist_info', lambda: (0, ranks[-1]))
    monkeypatch.setattr(launch, 'get_world_size', lambda: ranks[-1])
    monkeypatch.setattr(launch, 'join_ranks', lambda cfg: ranks.append(3))

    def built(cfg):
        short.append(cfg.train_dataloader.num_batch_per_epoch)
        monkeypatch.setattr(launch, 'join_ranks', lambda cfg: ranks.append(1))  # what is run is one
        return build(cfg)

    monkeypatch.setattr(launch, 'build_runner', built)
    hook = dict(type='UniformSearchHook', candidates=1, score_batches=1)
    cfg = config(hook, 7, str(tmp_path), train_dataloader=loader(0, 7))  # 30 clips: of one rank 5 steps, the last short
    plan = launch.dry_run(cfg)
    assert (plan['steps_per_epoch'], plan['epochs'], short) == (2, 7, [1])
