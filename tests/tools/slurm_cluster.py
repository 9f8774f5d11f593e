"""A Slurm cluster of two nodes on this machine, without a GPU. Its daemons run in namespaces, which end with the
process that has started them, however that ends."""

import os
import secrets
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

INSTALL = 'apt-get install slurmctld slurmd slurm-client munge'
PROGRAMS = ('munged', 'slurmctld', 'slurmd', 'sbatch', 'scontrol', 'sinfo', 'setpriv', 'unshare')
#: What runs in a PID namespace is ended with its first process, that with unshare, and that with this process.
SPACE = ('setpriv', '--pdeathsig=KILL', 'unshare', '--mount', '--pid', '--fork', '--kill-child', '--mount-proc')
#: Seconds for whatever is waited for.
PATIENCE = 120.0

HOSTS = '127.0.0.1 localhost {host}\n127.0.0.2 n1\n127.0.0.3 n2\n'
GPUS = 'Name=gpu File=/dev/null,/dev/zero\n'  # files that every machine has
CONFIG = """
ClusterName=two
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmUser=root
FirstJobId={first}
AuthInfo=socket={folder}/munge.socket
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/%n.log
SlurmdParameters=config_overrides
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
GresTypes=gpu
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
JobRequeue=0
SchedulerParameters=bf_interval=1,sched_interval=1,batch_sched_delay=0
NodeName=n1 NodeAddr=127.0.0.1 Port={ports[1]} CPUs=4 Gres=gpu:2
NodeName=n2 NodeAddr=127.0.0.1 Port={ports[2]} CPUs=4 Gres=gpu:2
PartitionName=low Nodes=n[1-2] PriorityTier=1 GraceTime=60
PartitionName=high Nodes=n[1-2] PriorityTier=2 PreemptMode=OFF
"""
START = """
set -e
mount --bind hosts /etc/hosts
munged --force --key-file="$PWD/munge.key" --socket="$PWD/munge.socket" --pid-file="$PWD/munge.pid" \
    --seed-file="$PWD/munge.seed" --log-file="$PWD/munge.log"
slurmctld
for node in n1 n2; do unshare --uts sh -c "hostname $node; exec slurmd -N $node"; done
sleep infinity & wait
"""


@contextmanager
def cluster(folder: Path) -> Iterator[Callable[..., str]]:
    """Nodes n1 and n2 of two GPUs each; jobs of the partition low make way for those of high. Skips the test where
    Slurm is not installed, or namespaces are not allowed.

    Args:
        folder: for all of its files; a short path, as it has sockets.

    Yields:
        Runs a command (words, and options of ``subprocess.run``), and returns what it prints.
    """
    path = f'{os.environ["PATH"]}:/usr/sbin'  # of daemons; a user need not have it
    if missing := [name for name in PROGRAMS if not shutil.which(name, path=path)]:
        pytest.skip(f'found no {", ".join(missing)}: {INSTALL}')
    if os.getuid() or subprocess.run([*SPACE, 'true'], capture_output=True).returncode:
        pytest.skip('needs root with the right to make namespaces (unshare --mount --pid)')
    _write_files(folder)
    env = {**os.environ, 'PATH': path, 'SLURM_CONF': str(folder / 'slurm.conf')}

    def run(*words: object, more: dict[str, str] | None = None, check: bool = True) -> str:
        done = subprocess.run(
            [*map(str, words)], cwd=folder, env={**env, **(more or {})}, capture_output=True, text=True, check=False
        )
        assert not check or done.returncode == 0, f'{words}: {done.stdout}{done.stderr}'
        return done.stdout

    with ExitStack() as at_end, open(folder / 'start.log', 'w') as log:
        daemons = subprocess.Popen([*SPACE, 'bash', '-c', START], cwd=folder, env=env, stdout=log, stderr=log)
        at_end.callback(daemons.wait)
        at_end.callback(daemons.kill)
        wait_for(
            lambda: run('sinfo', '-h', '-p', 'low', '-o', '%t %D', check=False) == 'idle 2\n',
            lambda: ''.join(f'\n{log.name}: {log.read_text()[-2000:]}' for log in folder.glob('*.log')),
        )
        yield run


def wait_for(done: Callable[[], object], found: Callable[[], object]) -> None:
    """Wait until ``done()``; what is ``found()`` if that never comes fails the test."""
    until = time.monotonic() + PATIENCE
    while not done():
        assert time.monotonic() < until, found()
        time.sleep(0.1)


def _write_files(folder: Path) -> None:
    with ExitStack() as bound:
        sockets = [bound.enter_context(socket.socket()) for _ in range(3)]
        for one in sockets:
            one.bind(('127.0.0.1', 0))
        ports = [one.getsockname()[1] for one in sockets]
    host, first = socket.gethostname(), 1 + secrets.randbelow(9999)  # the job's port is made of its number
    for name in ('state', 'n1', 'n2'):
        (folder / name).mkdir()
    (folder / 'hosts').write_text(HOSTS.format(host=host))
    (folder / 'gres.conf').write_text(GPUS)
    (folder / 'slurm.conf').write_text(CONFIG.format(host=host, ports=ports, folder=folder, first=first))
    (folder / 'munge.key').write_bytes(secrets.token_bytes(1024))
    (folder / 'munge.key').chmod(0o600)
