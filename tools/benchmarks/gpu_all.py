"""All that is to be measured on a GPU, in one command and within ten minutes; for the day when there is one.

    python tools/benchmarks/gpu_all.py --folder gpu_results
    python tools/benchmarks/gpu_all.py --list        # the commands, without running them

First everything is compiled, by many processes at once (Triton keeps what it has compiled), while the kernels' tests
run. Then, one after the other and alone on the GPU, the benchmarks, the most important first; what no time is left for
is named at the end. As each ends, its tables are printed and go into results.md in the folder, its figures into
results.json; all that it said is NAME.txt. vit_step.py also needs timm (pip install --no-deps timm), and says so.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import torch

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]


class Step(NamedTuple):
    """A command: a script of this folder, or a module with ``-m``; its options; seconds that it may take."""

    name: str
    command: tuple[str, ...]
    limit: int
    figures: bool = True


def script(name: str, file: str, limit: int, *options: str) -> Step:
    """A benchmark of this folder."""
    return Step(name, (str(HERE / file), *options), limit)


AMP = ('--dtype', 'bf16', '--rounds', '5')
CHECKS = (
    Step('doctor', ('-m', 'mmnas_video'), 90, figures=False),
    Step(
        # One line for each test: of a run that is stopped it says which have passed.
        'tests',
        ('-m', 'pytest', 'tests/kernels', '-m', 'gpu', '-v', '-n', '6', '-p', 'no:cacheprovider'),
        240,
        False,
    ),
)
#: Spaces without kernels of ours, and of AutoX3D's and Auto-TSNet's one: it has 265, 13 minutes of a core to compile.
WITHOUT, SUPERNET = ('vimnas-t', 'autoformer-t', 'p3d'), 'autox3d-s'
#: Compiled before anything is timed: one layer of kernels.py a process, and the whole step.
WARM = (
    *(
        script(f'warm {number}', 'kernels.py', 240, '--rounds', '1', '--only', f'depthwise {layer}*')
        for number, layer in enumerate(
            ('54x13x80', '54x13x40', '108x13x20² 3', '216', '432', '108x13x20² 5', '108x13x20² 1x5', '108x13x20² 1x3')
        )
    ),
    script('warm norms', 'kernels.py', 240, '--rounds', '1', '--only', 'BN*'),
    script('warm step', 'train_step.py', 240, '--dtype', 'bf16', '--rounds', '1', '--inference'),
    script('warm fp32', 'train_step.py', 240, '--dtype', 'fp32', '--rounds', '1'),
    script('warm compiled', 'train_step.py', 240, '--dtype', 'bf16', '--rounds', '1', '--compile'),
    script('warm vit', 'vit_step.py', 240, '--rounds', '1'),
    *(
        script(
            f'warm supernet {n}', 'sampled_vs_extracted.py', 240, *f'--only {SUPERNET} --batch 2 --share {n}/8'.split()
        )
        for n in range(8)
    ),
)
TIMED = (
    script('train_step', 'train_step.py', 150, *AMP, '--graph', '--channels-last', '--inference'),
    script('kernels', 'kernels.py', 150),
    script('train_step_compiled', 'train_step.py', 150, *AMP, '--compile'),
    script('roofline', 'roofline.py', 60, '--picture', '{folder}/roofline.svg'),
    # At the size of the steps above: for any other, kernels would be compiled now, longer than it may take.
    script('loss', 'train_step.py', 100, '--dtype', 'bf16', '--loss-steps', '200', '--batch', '8'),
    script('vit_step', 'vit_step.py', 80, '--rounds', '5'),
    # The largest network of all keeps 0.63 GB a clip for its backward pass: 20 GB.
    script('sampled_vs_extracted', 'sampled_vs_extracted.py', 90, '--batch', '32', '--only', *WITHOUT, SUPERNET),
    script('host_time', 'host_time.py', 45),
    script('train_step_fp32', 'train_step.py', 60, '--dtype', 'fp32', '--rounds', '5'),
)


def argv(step: Step, folder: Path) -> list[str]:
    """What is run, from the root of the repository."""
    written = ('--json', str(folder / f'{step.name}.json')) if step.figures and not step.name.startswith('warm') else ()
    return [sys.executable, *(part.format(folder=folder) for part in step.command), *written]


def start(step: Step, folder: Path) -> subprocess.Popen:
    """Begin it; its output goes into the folder."""
    (folder / f'{step.name}.json').unlink(missing_ok=True)  # of a run before
    with (folder / f'{step.name}.txt').open('w') as out:
        # What lies on the path already stays there: packages of a machine where nothing can be installed.
        path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get('PYTHONPATH'))))
        # Unbuffered: what a step that is stopped has said is not lost.
        environment = {**os.environ, 'PYTHONPATH': path, 'PYTHONUNBUFFERED': '1'}
        return subprocess.Popen(
            argv(step, folder),
            cwd=ROOT,
            stdout=out,
            stderr=subprocess.STDOUT,
            env=environment,
            start_new_session=True,  # what it starts itself can be ended with it
        )


def stop(process: subprocess.Popen) -> None:
    """End what is left of it: workers of tests and of compilers would disturb what is timed next."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def finish(step: Step, process: subprocess.Popen, until: float) -> str:
    """Wait for it, at most until then; how it ended. Nothing that it started is left."""
    try:
        code = process.wait(max(until - time.monotonic(), 0.1))
    except subprocess.TimeoutExpired:
        return 'stopped: out of time'
    finally:
        stop(process)
    return 'done' if code == 0 else f'exit code {code}: see {step.name}.txt'


def tables(text: str) -> str:
    """What a report needs of what a benchmark has said: from its first table on; without one all, or its end."""
    at = f'\n{text}'.find('\n## ')
    return text[at:] if at >= 0 else text[-20_000:]


def report(step: Step, end: str, folder: Path) -> None:
    """Print what a step has found and add it to the results, so that they are there whatever comes next."""
    text = (folder / f'{step.name}.txt').read_text(errors='replace')
    said = f'\n# {step.name}: {end}\n\n{tables(text).rstrip()}\n'
    print(said, flush=True)
    with (folder / 'results.md').open('a') as out:
        out.write(said)
    with suppress(OSError, ValueError):  # none was written, or half of one
        figures = json.loads((folder / f'{step.name}.json').read_text())
        file = folder / 'results.json'
        before = json.loads(file.read_text()) if file.exists() else {}
        file.write_text(json.dumps({**before, step.name: figures}, indent=1) + '\n')


def measure(folder: Path, budget: float) -> list[tuple[str, str, float]]:
    """Run everything; (name, how it ended, seconds)."""
    begun, ends = time.monotonic(), []
    together = (*CHECKS, *WARM)
    processes = [start(step, folder) for step in together]
    try:
        for step, process in zip(together, processes, strict=True):
            until = begun + min(step.limit, budget / 2)
            ends.append((step.name, finish(step, process, until), time.monotonic() - begun))
            print(f'{ends[-1][0]}: {ends[-1][1]}', flush=True)
            if step in CHECKS:
                report(step, ends[-1][1], folder)
    finally:
        for process in processes:  # of an interrupt they hear nothing
            stop(process)
    for step in TIMED:
        left, before = budget - (time.monotonic() - begun), time.monotonic()
        if left < 20:
            ends.append((step.name, 'not run: no time left', 0.0))
            continue
        end = finish(step, start(step, folder), before + min(step.limit, left))
        ends.append((step.name, end, time.monotonic() - before))
        report(step, f'{end}, {ends[-1][2]:.0f} s; {left - ends[-1][2]:.0f} s left', folder)
    return ends


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print the tables, and say what failed; exit code 1 where something did."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        '--folder', type=Path, default=Path('gpu_results'), help='for the figures and logs (default: gpu_results)'
    )
    parser.add_argument('--budget', type=float, default=570, help='seconds for everything (570)')
    parser.add_argument('--list', action='store_true', help='print the commands and end')
    args = parser.parse_args(arguments)
    folder = args.folder.resolve()
    if args.list:
        for step in (*CHECKS, *WARM, *TIMED):
            print(f'{step.name} (at most {step.limit} s): {" ".join(map(repr, argv(step, args.folder)[1:]))}')
        return 0
    if not torch.cuda.is_available():
        print('No GPU here: nothing to measure. The benchmarks in this folder each run their CPU part by themselves.')
        return 1
    folder.mkdir(parents=True, exist_ok=True)
    for name in ('results.md', 'results.json'):
        (folder / name).unlink(missing_ok=True)
    ends = measure(folder, args.budget)
    print('\n'.join(f'{name}: {end}, {seconds:.0f} s' for name, end, seconds in ends))
    return 0 if all(end == 'done' for name, end, _ in ends if not name.startswith('warm')) else 1


if __name__ == '__main__':
    sys.exit(main())
