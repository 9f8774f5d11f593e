"""What every benchmark prints beside its figures: machine, versions, commit, and how busy the machine was."""

import argparse
import json
import math
import os
import platform
import statistics
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import torch


def machine() -> dict[str, Any]:
    """Processor, cores, GPU, versions and commit."""
    model = (
        next(
            (
                line.split(':')[1].strip()
                for line in Path('/proc/cpuinfo').read_text().splitlines()
                if line.startswith('model name')
            ),
            platform.processor(),
        )
        if Path('/proc/cpuinfo').exists()
        else ''
    )
    commit = subprocess.run(['git', 'rev-parse', '--short', 'HEAD'], capture_output=True, text=True).stdout.strip()
    return {
        'cpu': model,
        'cores': os.cpu_count(),
        'threads': torch.get_num_threads(),
        'gpu': torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        'python': platform.python_version(),
        **{name: metadata.version(name) for name in ('torch', 'mmengine', 'mmaction2')},
        'commit': commit,
        'date': time.strftime('%Y-%m-%d'),
    }


def cpu_times() -> tuple[float, float]:
    """(busy seconds of the whole machine, busy seconds of this process and its children)."""
    fields = [int(x) for x in Path('/proc/stat').read_text().splitlines()[0].split()[1:]]
    idle = fields[3] + fields[4]
    own = os.times()
    return (sum(fields[:8]) - idle) / os.sysconf(
        'SC_CLK_TCK'
    ), own.user + own.system + own.children_user + own.children_system


def resident(pid: int | str = 'self') -> float:
    """MiB of memory that a process holds (VmRSS)."""
    lines = Path(f'/proc/{pid}/status').read_text().splitlines()
    return int(next(line for line in lines if line.startswith('VmRSS')).split()[1]) / 1024


#: What is timed by, and the share of a core that other processes may take in a round before it is dropped: of our own
#: CPU seconds they take none.
CLOCKS = {'wall': (time.perf_counter, 0.25), 'cpu': (time.process_time, math.inf)}


def add_timing(parser: argparse.ArgumentParser) -> None:
    """``--rounds``, ``--threads`` and ``--clock`` of a benchmark that times candidates in turn."""
    parser.add_argument('--rounds', type=int, default=7, help='measurements of each candidate (default: 7)')
    parser.add_argument('--threads', type=int, default=2, help="torch's threads (default: 2)")
    parser.add_argument('--clock', choices=CLOCKS, default='wall', help='what is timed (default: wall)')


class Interleaved:
    """Times several candidates in turn, so that a busy moment meets all of them; drops rounds in which others ran.

    Args:
        candidates: name to a function that does one unit of work.
        clock: what a unit of work is timed by, of :data:`CLOCKS`; ``'cpu'`` on a machine with other work on it.
    """

    def __init__(self, candidates: Mapping[str, Callable[[], object]], clock: str = 'wall') -> None:
        self.candidates = candidates
        self.clock, self.busy = CLOCKS[clock]
        self.dropped = 0
        self.rounds: list[dict[str, float]] = []  # seconds of each candidate

    def run(self, rounds: int, most: int | None = None) -> dict[str, float]:
        """Median seconds of each candidate over ``rounds`` clean rounds (at most ``most`` rounds in all, and over all
        of them where none was clean)."""
        for work in self.candidates.values():
            work()
        everything: list[dict[str, float]] = []
        self.rounds = []
        for _ in range(most or 3 * rounds):
            machine_0, own_0 = cpu_times()
            start, taken = time.perf_counter(), {}
            for name, work in self.candidates.items():
                before = self.clock()
                work()
                taken[name] = self.clock() - before
            machine_1, own_1 = cpu_times()
            others = ((machine_1 - machine_0) - (own_1 - own_0)) / (time.perf_counter() - start)
            everything.append(taken)
            if others > self.busy:
                self.dropped += 1
                continue
            self.rounds.append(taken)
            if len(self.rounds) == rounds:
                break
        self.rounds = self.rounds or everything
        return {name: statistics.median(taken[name] for taken in self.rounds) for name in self.candidates}

    def ratio(self, one: str, other: str) -> float:
        """How many times ``other``'s seconds ``one`` takes: the median of the rounds' own ratios."""
        return statistics.median(taken[one] / taken[other] for taken in self.rounds)


def add_seeds(parser: argparse.ArgumentParser, seeds: int, name: str) -> None:
    """``--seeds`` and ``--work-dir`` of a benchmark that searches and trains."""
    parser.add_argument('--seeds', type=int, default=seeds, help=f'how many (default: {seeds})')
    folder = Path('work_dirs', name)
    parser.add_argument('--work-dir', type=Path, default=folder, help=f'results (default: {folder})')


def spread(values: Sequence[float], digits: int = 1) -> str:
    """Mean and standard deviation over the seeds."""
    deviation = f' ± {statistics.stdev(values):.{digits}f}' if len(values) > 1 else ''
    return f'{statistics.mean(values):.{digits}f}{deviation}'


def said(error: Exception) -> str:
    """The first line of an error, for a cell of a table: on another machine the other figures are still wanted."""
    return f'{type(error).__name__}: {str(error).partition(chr(10))[0]}'[:200]


def add_json(parser: argparse.ArgumentParser) -> None:
    """The option under which every benchmark writes what it prints."""
    parser.add_argument('--json', '--out', dest='out', metavar='FILE', help='write the figures as JSON too')


def show(title: str, header: Sequence[str], rows: Sequence[Sequence[Any]], out: str | None = None) -> dict[str, Any]:
    """Print a Markdown table and the machine; with ``out`` also write both as JSON. Returns what is written."""
    print(f'## {title}\n')
    print('| ' + ' | '.join(header) + ' |\n|' + '---|' * len(header))
    for row in rows:
        print('| ' + ' | '.join(str(x) for x in row) + ' |')
    found = machine()
    print('\n' + ', '.join(f'{k} {v}' for k, v in found.items() if v is not None))
    table = {'title': title, 'header': list(header), 'rows': [list(r) for r in rows], 'machine': found}
    write_json(out, table)
    return table


def verdict(ratios: Mapping[str, tuple[float, float, float]], size: int, least: int, unit: str) -> int:
    """Print whether what was found is within its bounds; the status of the benchmark: 1 if it is not.

    Args:
        ratios: name to the lowest that is good, what was found, and the highest.
        size: length of the run.
        least: length from which the bounds count: what a shorter run finds is start-up and noise.
        unit: what length is counted in.
    """
    wrong = [
        f'{name} {found:.3f}, expected {low:g} to {high:g}'
        for name, (low, found, high) in ratios.items()
        if not low <= found <= high
    ]
    counts = size >= least
    short = '' if counts else f' (does not count: {size:,} {unit}, bounds count from {least:,})'
    print(f'{"out of bounds" if wrong else "within the bounds"}: {"; ".join(wrong or ratios)}{short}')
    return int(counts and bool(wrong))


def write_json(out: str | None, found: Any) -> None:
    """What a run has found, as a file where one is wanted."""
    if out:
        Path(out).write_text(json.dumps(found, indent=1) + '\n')
