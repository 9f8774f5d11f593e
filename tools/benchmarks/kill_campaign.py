"""Kill searches at random moments, resume them, and compare what they leave with an uninterrupted run, bit for bit.

    python tools/benchmarks/kill_campaign.py                        20 kills of each method on generated videos
    python tools/benchmarks/kill_campaign.py --methods parsec staged --kills 4
    python tools/benchmarks/kill_campaign.py --data toy             the same on vectors: a minute, without decoding

Kills are SIGKILL, to the process and its workers: at a random moment of the run; while a file is being written (half of
it is on the disk, and its name is not yet its own); of one rank of two. Besides, SIGTERM at random moments, to a single
process and to one rank of two (--terms). Each run is a fork of this process, so that only the search itself takes time.
Prints per method and kind how many were tried and how many survived: arch.json, history, space, the last checkpoint
(weights, EMA, optimisers, α, generators, positions in the data) and the extracted weights must be those of the
uninterrupted run, no other checkpoint may lie there, and nothing half-written.
"""

import argparse
import copy
import os
import random
import shutil
import signal
import socket
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from common import add_json, show
from mmengine.config import Config
from mmengine.registry import init_default_scope

from mmnas_video.datasets import DemoOptions, join_demo, make_demo
from mmnas_video.launch import load_config
from mmnas_video.pipeline import run_search
from mmnas_video.registry import MODELS
from mmnas_video.search import is_search_hook
from mmnas_video.search.config_text import unformatted
from mmnas_video.search.preemption import STATUS, Preemption
from mmnas_video.space import UNFINISHED
from mmnas_video.testing import toy
from mmnas_video.visualization import report

#: In this order, as many as are asked for.
KINDS, TERMS = ('moment', 'writing', 'moment', 'rank'), ('term', 'term rank')
#: Longest time for one run (s), and for a rank whose peer is gone.
PATIENCE, ALONE = 900.0, 20.0
#: Exit status of a run that has heard a SIGTERM and went on to its end.
LOST = 99
#: Method to its hook; on videos it takes the place of the hook in ``CONFIGS``.
HOOKS = {
    'parsec': dict(type='PARSECSearchHook', num_archs=2, mode='joint'),
    'parsec alternating': dict(type='PARSECSearchHook', num_archs=2, mode='alternating', warmup_epochs=1),
    'parsec accuracy': dict(type='PARSECSearchHook', num_archs=2, indicator=dict(type='VideoAccuracy')),
    'darts 1': dict(type='DARTSSearchHook', order=1, score_batches=1, init_std=0.5),
    'darts 2': dict(type='DARTSSearchHook', order=2, score_batches=1, init_std=0.5),
    'darts perturbation': dict(type='DARTSSearchHook', selection='perturbation', score_batches=1, tune_iters=2),
    'entanglement': dict(type='EntanglementSearchHook', score_batches=1, init_std=0.5),
    'entanglement sampled': dict(type='EntanglementSearchHook', arch_mode='sampled', sampling='alpha', score_batches=1),
    'uniform': dict(type='UniformSearchHook', candidates=3, score_batches=1),
    'conflict': dict(type='ConflictAwareSearchHook', candidates=3, score_batches=1),
    'staged': None,
    'evolution': dict(type='EvolutionSearchHook', population=3, top_k=2, eval_batches=1),
    'evolution pareto': dict(type='EvolutionSearchHook', population=3, top_k=2, eval_batches=1, pareto='macs'),
}
EVOLUTION = 'configs/demo/autox3d_evolution.py'
CONFIGS = {'staged': 'configs/demo/tsnet_progressive.py', 'evolution': EVOLUTION, 'evolution pareto': EVOLUTION}


# ---------------------------------------------------------------------- what is run
def toy_config(method: str, folder: Path) -> Config:
    """A search on vectors, with dropout and momentum, so that generators and optimisers count."""
    hook = copy.deepcopy(HOOKS[method] or HOOKS['parsec'])
    if method.startswith('evolution'):
        hook['checkpoint'] = str(folder / 'supernet.pth')
    cfg = toy.config(
        hook,
        epochs=4,
        model=dict(type='ToyRecognizer', backbone=dict(type='ToyBackbone'), dropout=0.3),
        optim_wrapper=dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=0.1, momentum=0.9)),
        log_level='ERROR',
    )
    if method == 'darts perturbation':  # checkpoints after every step, and between the choices of the selection
        cfg.default_hooks.checkpoint.max_minutes = 0
    if method == 'staged':
        cfg.stages = [dict(name='a', opens=['scale'], fixes={'width': 3}), dict(name='b', opens=['width'], epochs=3)]
    return cfg


def video_config(method: str, folder: Path) -> Config:
    """A demo config on a few generated videos, with two persistent workers, validation and EMA."""
    cfg = load_config(CONFIGS.get(method, 'configs/demo/autox3d.py'))
    cfg = unformatted(Config(_moved(cfg.to_dict(), f'{folder}/')))
    number = next(i for i, hook in enumerate(cfg.custom_hooks) if is_search_hook(hook))
    kept = {'budget': cfg.custom_hooks[number].get('budget')} if method.startswith('evolution') else {}
    hook = {**copy.deepcopy(HOOKS[method] or HOOKS['parsec']), **kept}
    if method.startswith('evolution'):
        hook['checkpoint'] = str(folder / 'supernet.pth')
    cfg.custom_hooks = [dict(**hook, calibration_clips=4, arch_dataloader=dict(batch_size=4))]
    cfg.merge_from_dict(
        {'train_dataloader.batch_size': 4, 'train_dataloader.num_workers': 2, 'val_dataloader.num_workers': 1}
    )
    cfg.merge_from_dict({'train_cfg.max_epochs': 3, 'train_cfg.val_interval': 1, 'log_level': 'ERROR'})
    if method == 'staged':
        for stage, epochs in zip(cfg.stages, (1, 2, 1), strict=True):
            stage.epochs = epochs
    elif not method.startswith('evolution'):
        cfg.default_hooks.ema = dict(type='EMAHook')
    cfg.pop('retrain', None)
    return cfg


def _moved(part: Any, folder: str) -> Any:
    """The same config with the demo's data in another folder."""
    if isinstance(part, Mapping):
        return {key: _moved(value, folder) for key, value in part.items()}
    if isinstance(part, (list, tuple)):
        return type(part)(_moved(value, folder) for value in part)
    return part.replace('data/demo/', folder, 1) if isinstance(part, str) and part.startswith('data/demo/') else part


def prepare(data: str, folder: Path) -> Callable[[str, Path], Config]:
    """Make what the searches need, and say what makes their configs."""
    init_default_scope('mmaction')
    if data == 'toy':
        shutil.copyfile(toy.checkpoint(), folder / 'supernet.pth')
        return toy_config
    options = DemoOptions(motion_clips=(4, 1, 1), scene_clips=(4, 1, 1))
    make_demo(folder, options, sets=('motion', 'scene'), report=lambda line: None)
    join_demo(folder)
    supernet = MODELS.build(load_config(EVOLUTION).model)
    torch.save({'state_dict': supernet.state_dict()}, folder / 'supernet.pth')
    return video_config


# ---------------------------------------------------------------------- running it
class Writes:
    """Counts what this process flushes to the disk; there it dies, with half of a file that is to be renamed.

    Args:
        die_at: number of that flush, from 1; 0 for none.
    """

    def __init__(self, die_at: int = 0) -> None:
        self.count, self.die_at, self._fsync = 0, die_at, os.fsync
        os.fsync = self

    def __call__(self, descriptor: int) -> None:
        self.count += 1
        if self.count == self.die_at:
            if os.readlink(f'/proc/self/fd/{descriptor}').endswith(UNFINISHED):  # not the history, nor a folder
                os.ftruncate(descriptor, os.fstat(descriptor).st_size // 2)
            os.killpg(0, signal.SIGKILL)
        self._fsync(descriptor)


def start(cfg: Config, work_dir: Path, resume: bool, rank: int = 0, ranks: int = 1, port: int = 0, die_at: int = 0):
    """Fork a process that runs a search to its end; returns its id, which is that of its group too."""
    child = os.fork()
    if child:
        return child
    os.setsid()
    status = 1
    try:
        log = os.open(work_dir.with_name(f'{work_dir.name}.{rank}.log'), os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(log, 1), os.dup2(log, 2)
        torch.set_num_threads(1)
        cfg = unformatted(copy.deepcopy(cfg))
        cfg.work_dir, cfg.resume = str(work_dir), resume
        if ranks > 1:
            place = dict(RANK=rank, LOCAL_RANK=rank, WORLD_SIZE=ranks, MASTER_ADDR='127.0.0.1', MASTER_PORT=port)
            os.environ.update({key: str(value) for key, value in place.items()})
            cfg.launcher = 'pytorch'
        # It reads what the search has left and takes longer than one on vectors: the kills are to hit the search.
        report.write_report = lambda *args, **options: None
        writes, heard = Writes(die_at), []
        receive = Preemption._receive
        Preemption._receive = lambda self, *args: (heard.append(args), receive(self, *args))
        run_search(cfg, retrain=False)
        work_dir.with_name(f'{work_dir.name}.{rank}.writes').write_text(str(writes.count))
        status = LOST if heard else 0
    except SystemExit as end:
        status = end.code
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(status)


def wait(child: int, seconds: float) -> int | None:
    """Exit status of a child that ends within so many seconds, negative for a signal; else None."""
    end = time.monotonic() + seconds
    while True:
        found, status = os.waitpid(child, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() >= end:
            return None
        time.sleep(0.002)


def kill(child: int) -> None:
    """SIGKILL to a child, its workers, and whatever else is in its group; waits for it."""
    try:
        os.killpg(child, signal.SIGKILL)
    except ProcessLookupError:  # it has not made its group yet
        os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)


def free_port() -> int:
    """A port that nothing listens at."""
    with socket.socket() as one:
        one.bind(('127.0.0.1', 0))
        return one.getsockname()[1]


def run_whole(cfg: Config, work_dir: Path, resume: bool, ranks: int) -> str:
    """A run to its end; empty, or how it failed."""
    port = free_port()
    children = [start(cfg, work_dir, resume, rank, ranks, port) for rank in range(ranks)]
    statuses = [wait(child, PATIENCE) for child in children]
    for child, status in zip(children, statuses, strict=True):
        if status is None:
            kill(child)
    return '' if statuses == [0] * ranks else f'{"resume" if resume else "run"} ended with {statuses}'


class Whole(NamedTuple):
    """An uninterrupted run: its folder, its time (s) and how often it has flushed."""

    folder: Path
    seconds: float
    writes: int


def interrupted(cfg: Config, work_dir: Path, kind: str, whole: Whole, rng: random.Random) -> tuple[bool, str, str]:
    """Run and kill; whether it was killed before its end, when, and how it failed by itself (empty if it did not)."""
    ranks, port = (2, free_port()) if kind.endswith('rank') else (1, 0)
    die_at = rng.randint(1, whole.writes) if kind == 'writing' else 0
    share = rng.random()
    victim = rng.randrange(ranks)
    children = [start(cfg, work_dir, False, rank, ranks, port, die_at) for rank in range(ranks)]
    if kind == 'writing':
        status = wait(children[0], PATIENCE)
        if status is None:
            kill(children[0])
        return status != 0, f'flush {die_at} of {whole.writes}', _failure(status, -signal.SIGKILL)
    status = wait(children[victim], share * whole.seconds)
    told = status is None and kind in TERMS
    if told:
        os.kill(children[victim], signal.SIGTERM)
        status = wait(children[victim], PATIENCE)
    if status is None:
        kill(children[victim])
    ended = status == 0  # also where the signal came when there was nothing left to do
    for rank, child in enumerate(children):
        if rank != victim and wait(child, PATIENCE if ended else ALONE) is None:
            kill(child)  # as torchrun does with the peers of a rank that has gone
    when = f'at {share:.2f} of its time' + (f', rank {victim}' if ranks > 1 else '')
    # By the signal itself before a search takes it over.
    return not ended, when, _failure(status, *((STATUS, -signal.SIGTERM) if told else (None,)))


def _failure(status: int | None, *allowed: int) -> str:
    """Empty for a run that came to its end, or that was ended with one of these statuses; else how it ended."""
    return '' if status in (0, *allowed) else f'run ended with {status}'


# ---------------------------------------------------------------------- comparing
def equal(one: Any, other: Any) -> bool:
    """Whether two parts of checkpoints are the same bits."""
    if isinstance(one, torch.Tensor):
        same = isinstance(other, torch.Tensor) and one.dtype == other.dtype and one.shape == other.shape
        return same and bool(((one == other) | ((one != one) & (other != other))).all())  # NaN is NaN
    if isinstance(one, Mapping):
        return isinstance(other, Mapping) and one.keys() == other.keys() and all(equal(one[k], other[k]) for k in one)
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(equal(a, b) for a, b in zip(one, other, strict=True))
    return type(one) is type(other) and (one == other or one != one)


def differences(whole: Path, killed: Path) -> list[str]:
    """What a resumed run has left that differs from the uninterrupted one."""
    found = []
    for folder in sorted(path.parent for path in whole.rglob('search') if path.is_dir()):
        part = folder.relative_to(whole)
        names = {path.name for path in folder.glob('*.pth')}
        if names != {path.name for path in (killed / part).glob('*.pth')}:
            found.append(f'{part}/*.pth')
        for name in sorted(names):
            found += [f'{part / name}:{key}' for key in _parts(folder / name, killed / part / name)]
        for name in ('history.jsonl', 'space.json', 'arch.json', 'stages.json'):
            one, other = folder / 'search' / name, killed / part / 'search' / name
            if one.is_file() and (not other.is_file() or one.read_bytes() != other.read_bytes()):
                found.append(str(part / name))
        weights = Path('search') / 'extracted.pth'
        found += [f'{part / weights}:{key}' for key in _parts(folder / weights, killed / part / weights)]
    return found + [str(path.relative_to(killed)) for path in killed.rglob('.*.writing')]


def _parts(one: Path, other: Path) -> list[str]:
    """Keys in which two checkpoints differ; what holds times, folders and the names of runs is left out."""
    if not one.is_file() and not other.is_file():
        return []
    if not one.is_file() or not other.is_file():
        return ['is missing']
    first, second = (torch.load(path, map_location='cpu', weights_only=True) for path in (one, other))
    keys = (set(first) | set(second)) - {'meta', 'message_hub'}
    wrong = [key for key in sorted(keys) if not (key in first and key in second and equal(first[key], second[key]))]
    place = [{key: data['meta'].get(key) for key in ('epoch', 'iter')} for data in (first, second)]
    return wrong + ([] if place[0] == place[1] else ['meta'])


# ---------------------------------------------------------------------- the campaign
def campaign(method: str, cfg: Config, folder: Path, kinds: Sequence[str], rng: random.Random) -> list[dict[str, Any]]:
    """All kills of one method; a line of each."""
    wholes: dict[int, Whole] = {}
    lines: list[dict[str, Any]] = []
    for number, kind in enumerate(kinds):
        ranks = 2 if kind.endswith('rank') else 1
        if ranks not in wholes:
            target, begin = folder / f'whole{ranks}', time.monotonic()
            failed = run_whole(cfg, target, False, ranks)
            if failed:
                raise SystemExit(f'{method}: the uninterrupted {failed}; see {target}.*.log')
            writes = int(target.with_name(f'{target.name}.0.writes').read_text())
            wholes[ranks] = Whole(target, time.monotonic() - begin, writes)
        work_dir = folder / f'killed{number}'
        for _ in range(5):  # a moment after the end of the run was none
            shutil.rmtree(work_dir, ignore_errors=True)
            was_killed, when, failed = interrupted(cfg, work_dir, kind, wholes[ranks], rng)
            if was_killed:
                break
        wrong = failed or run_whole(cfg, work_dir, True, ranks)
        wrong = wrong or ', '.join(differences(wholes[ranks].folder, work_dir))
        lines.append({'kind': kind, 'killed': was_killed, 'when': when, 'wrong': wrong})
        state = 'equal' if not wrong else f'DIFFERS: {wrong}'
        print(f'{method}, {kind}, {when}: {state if was_killed else "ended before it was killed"}', flush=True)
        if not wrong:
            shutil.rmtree(work_dir, ignore_errors=True)
    return lines


def main() -> int:
    """Run the campaign and print its table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--kills', type=int, default=20, help='SIGKILLs of each method')
    parser.add_argument('--terms', type=int, default=4, help='SIGTERMs of each method')
    parser.add_argument(
        '--methods',
        nargs='+',
        choices=HOOKS,
        default=list(HOOKS),
        metavar='METHOD',
        help=f'kinds of search (default: all): {", ".join(HOOKS)}',
    )
    parser.add_argument(
        '--data',
        choices=('videos', 'toy'),
        default='videos',
        help='video files, or vectors (toy), which are quick (default: videos)',
    )
    parser.add_argument('--seed', type=int, default=0, help='of the moments')
    parser.add_argument('--folder', help='for data and runs (default: a temporary one, removed if all survive)')
    add_json(parser)
    args = parser.parse_args()
    folder = Path(args.folder or tempfile.mkdtemp()).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    make, rows = prepare(args.data, folder), []
    late = 0
    for method in args.methods:
        (folder / method).mkdir(exist_ok=True)
        rng = random.Random(f'{args.seed} {method}')
        kinds = [
            many[i % len(many)] for many, count in ((KINDS, args.kills), (TERMS, args.terms)) for i in range(count)
        ]
        lines = campaign(method, make(method, folder), folder / method, kinds, rng)
        late += sum(not line['killed'] for line in lines)
        for kind in dict.fromkeys(kinds):
            tried = [line for line in lines if line['kind'] == kind and line['killed']]
            if tried:
                rows.append([method, kind, sum(not line['wrong'] for line in tried), len(tried)])
    survived, tried = sum(row[2] for row in rows), sum(row[3] for row in rows)
    rows.append(['all', '', survived, tried])
    show(f'Kills and resumes ({args.data})', ['method', 'killed', 'survived', 'tried'], rows, args.out)
    print(f'survived {survived} of {tried}' + (f'; {late} more came after the end of their run' if late else ''))
    if survived < tried:
        print(f'what the others left: {folder}')
        return 1
    if not args.folder:
        shutil.rmtree(folder, ignore_errors=True)
    return 0


if __name__ == '__main__':
    sys.exit(main())
