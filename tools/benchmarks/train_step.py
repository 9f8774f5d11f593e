"""A training step and inference: ours against MMAction2's own model with the same weights, in one run, in turn.

    python tools/benchmarks/train_step.py                                       # X3D-S, 13 x 160 x 160
    python tools/benchmarks/train_step.py --dtype bf16 --compile --graph --channels-last --inference   # on a GPU
    python tools/benchmarks/train_step.py configs/autox3d/x3d_m.py --clip 16x224
    python tools/benchmarks/train_step.py --loss-steps 200 --batch 8 --clip 4x64  # the loss of both, and of two seeds

A step is forward, cross-entropy, backward and SGD with momentum, on one random batch that stays on the device; dtypes
other than fp32 by autocast. A config whose network is X3D has a counterpart in MMAction2, which is given the same
weights; of any other network only ours is timed. Goals on an H200 (X3D-S, batch 32, bf16): 5 times MMAction2's clips a
second, 3.5 times its compiled ones, at most 0.6 of its memory. Without a GPU the CPU is timed.
"""

import argparse
import copy
import statistics
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import NamedTuple
from unittest import mock

import torch
import torch.nn.functional as F
from common import Interleaved, add_json, said, show, write_json
from mmengine.config import Config
from mmengine.logging import MMLogger
from mmengine.registry import init_default_scope
from torch import Tensor, nn

import mmnas_video
from mmnas_video.cpu_memory import keep_freed_memory
from mmnas_video.errors import ConfigError
from mmnas_video.kernels.choose import SWITCH
from mmnas_video.models import x3d_state_dict
from mmnas_video.registry import MODELS
from mmnas_video.search import fit_readers

ROOT = Path(__file__).resolve().parents[2]
DEVICE = 'cuda' if torch.cuda.is_available() else 'cpu'
DTYPES = {'fp32': None, 'bf16': torch.bfloat16, 'fp16': torch.float16}
#: Steps between two looks at the clock: on a GPU the host runs ahead, as it does in a training.
STEPS = 10 if DEVICE == 'cuda' else 1
#: Depths of MMAction2's X3D: S and M, and L.
DEPTHS = (2.2, 5.0)


class Setting(NamedTuple):
    """What all candidates have in common: clips (B, 1, 3, T, H, W), their classes (B,), the dtype of autocast."""

    clips: Tensor
    labels: Tensor
    dtype: torch.dtype | None

    def autocast(self):
        """The context that a step runs in."""
        return torch.autocast(DEVICE, self.dtype) if self.dtype else nullcontext()


class Candidate(NamedTuple):
    """One row: a model, and how it is run."""

    name: str
    model: nn.Module
    compiled: bool = False
    graph: bool = False
    kernels: str | None = None


# ------------------------------------------------------------------ models
def build_pair(config: str) -> tuple[nn.Module, nn.Module | None]:
    """Our recognizer of ``config``, and MMAction2's with the same weights; None where it has no such network."""
    whole = Config.fromfile(config)
    fit_readers(whole)
    cfg = whole.model
    cfg.pop('data_preprocessor', None)
    ours = MODELS.build(copy.deepcopy(cfg))
    for depth in DEPTHS:
        backbone = dict(type='X3D', gamma_w=1, gamma_b=2.25, gamma_d=depth)
        theirs = MODELS.build({**copy.deepcopy(cfg), 'backbone': backbone})
        theirs.init_weights()
        try:
            ours.load_state_dict(x3d_state_dict(theirs.state_dict(), ours.backbone), strict=True)
        except (ConfigError, RuntimeError, AttributeError):  # another depth, other layers, no MBConv3D at all
            continue
        return ours.to(DEVICE), theirs.to(DEVICE)
    return ours.to(DEVICE), None


def scores(model: nn.Module, clips: Tensor) -> Tensor:
    """(B, classes), without the accuracies that a head's own loss takes to the host in every step."""
    return model.cls_head(model.extract_feat(clips)[0])


def candidates(config: str, args: argparse.Namespace) -> Iterator[Candidate]:
    """What is compared; each with a model of its own, so that nothing is compiled or laid out twice."""
    ours, theirs = build_pair(config)
    models = {'ours': ours} if theirs is None else {"MMAction2's": theirs, 'ours': ours}
    if theirs is not None and args.channels_last:
        models["MMAction2's, channels last"] = copy.deepcopy(theirs).to(memory_format=torch.channels_last_3d)
    for name, model in models.items():
        yield Candidate(name, copy.deepcopy(model))
        if args.compile:
            yield Candidate(f'{name}, compiled', copy.deepcopy(model), compiled=True)
        if args.graph:
            yield Candidate(f'{name}, CUDA graph', copy.deepcopy(model), graph=True)
    if DEVICE == 'cuda':
        yield Candidate('ours, without our kernels', copy.deepcopy(ours), kernels='off')


# ------------------------------------------------------------------ what is timed
def training_step(model: nn.Module, setting: Setting) -> Callable[[], None]:
    """One step of training."""
    model.train()
    optimiser = torch.optim.SGD(model.parameters(), lr=1e-4, momentum=0.9, weight_decay=5e-5)

    def step() -> None:
        optimiser.zero_grad(set_to_none=True)
        with setting.autocast():
            loss = F.cross_entropy(scores(model, setting.clips).float(), setting.labels)
        loss.backward()
        optimiser.step()

    return step


def inference_step(model: nn.Module, setting: Setting) -> Callable[[], None]:
    """One batch in eval mode."""
    for module in (model, model.backbone):  # MMAction2's recognizer and X3D return nothing from eval()
        module.eval()

    def step() -> None:
        with torch.no_grad(), setting.autocast():
            scores(model, setting.clips)

    return step


def prepare(candidate: Candidate, make: Callable, setting: Setting) -> Callable[[], None]:
    """The candidate's step, compiled or captured where it says so."""
    if 'channels last' in candidate.name:
        clips = setting.clips[:, 0].contiguous(memory_format=torch.channels_last_3d)
        setting = setting._replace(clips=clips[:, None])
    if candidate.compiled:
        candidate.model.backbone.compile()
    with switched(candidate.kernels):
        step = make(candidate.model, setting)
        step = captured(step) if candidate.graph else step
        step()

    def several() -> None:
        with switched(candidate.kernels):
            for _ in range(STEPS):
                step()
            if DEVICE == 'cuda':
                torch.cuda.synchronize()

    return several


@contextmanager
def switched(kernels: str | None) -> Iterator[None]:
    """The environment's switch of our kernels set for a block; None leaves it alone."""
    with mock.patch.dict('os.environ', {SWITCH: kernels} if kernels else {}):
        yield


def captured(step: Callable[[], None]) -> Callable[[], None]:
    """``step`` as one CUDA graph: warmed up on another stream, as capture asks for."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            step()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step()
    return graph.replay


def peak(step: Callable[[], None]) -> float:
    """GB that a step allocates beyond what lies there already, on a GPU."""
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    step()
    return (torch.cuda.max_memory_allocated() - before) / 1e9


def compare(title: str, make: Callable, args: argparse.Namespace, setting: Setting) -> dict:
    """Time all candidates in turn and print their table. One that fails is a row that says so."""
    steps, failed, memory = {}, {}, {}
    for candidate in candidates(args.config, args):
        print(f'preparing: {candidate.name}', file=sys.stderr, flush=True)
        try:
            steps[candidate.name] = prepare(candidate, make, setting)
            # A graph's memory is its own pool, and there before the step.
            memory[candidate.name] = (
                f'{peak(steps[candidate.name]):.2f}' if DEVICE == 'cuda' and not candidate.graph else ''
            )
        except Exception as error:
            failed[candidate.name] = said(error)
    timer = Interleaved(steps, 'cpu' if args.cpu_time else 'wall')
    found = {name: seconds / STEPS for name, seconds in timer.run(args.rounds, 2 * args.rounds).items()}
    header, rows = table_of(found, memory, failed, len(setting.labels))
    table = show(f'{title}: {described(args, setting)}{", CPU time" if args.cpu_time else ""}', header, rows)
    print(f'\nrounds: {args.rounds} wanted, {timer.dropped} dropped or only counted because other work ran')
    return table | {'dropped': timer.dropped}


def described(args: argparse.Namespace, setting: Setting) -> str:
    """What was run, for a title."""
    shape = 'x'.join(map(str, setting.clips.shape[3:]))
    return f'{Path(args.config).stem}, batch {len(setting.labels)}, {shape}, {args.dtype}, {DEVICE}'


def table_of(found: dict, memory: dict, failed: dict, clips: int) -> tuple[Sequence[str], list[Sequence[str]]]:
    """Header and rows; each candidate also against each of MMAction2's, as a ratio of their times."""
    rivals = [name for name in found if name.startswith('MMAction2')]
    rows = [
        (
            name,
            f'{1e3 * seconds:.1f}',
            f'{clips / seconds:.1f}',
            memory[name],
            *(f'{found[rival] / seconds:.2f}' for rival in rivals),
        )
        for name, seconds in found.items()
    ]
    rows += [(name, reason, '', '', *[''] * len(rivals)) for name, reason in failed.items()]
    return ('network', 'ms', 'clips/s', 'GB', *(f'to {rival}' for rival in rivals)), rows


# ------------------------------------------------------------------ the same network learns the same
def batches(setting: Setting, classes: int, steps: int) -> Iterator[tuple[Tensor, Tensor]]:
    """The same learnable batches for everyone: each class has a blurred moving pattern, under as much noise."""
    made = dict(generator=torch.Generator(DEVICE).manual_seed(0), device=DEVICE)  # a CPU takes longer than the step
    size = setting.clips.shape[3:]
    coarse = torch.randn(classes, 3, *(max(n // 8, 2) for n in size), **made)
    patterns = F.interpolate(coarse, size=tuple(size), mode='trilinear')
    for _ in range(steps):
        labels = torch.randint(classes, (len(setting.labels),), **made)
        noise = torch.randn(len(labels), 3, *size, **made)
        yield (patterns[labels] + noise)[:, None], labels


def losses(model: nn.Module, setting: Setting, steps: int, name: str) -> list[float]:
    """The loss of each step of a training."""
    model.train()
    optimiser = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, weight_decay=5e-5)
    found = []
    for step, (clips, labels) in enumerate(batches(setting, 8, steps)):
        torch.manual_seed(step)  # of dropout
        with setting.autocast():
            loss = F.cross_entropy(scores(model, clips).float(), labels)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        found.append(loss.item())
        if step % 20 == 19:
            print(f'{name}: step {step + 1} of {steps}, loss {loss.item():.3f}', file=sys.stderr, flush=True)
    return found


def compare_losses(args: argparse.Namespace, setting: Setting) -> dict:
    """Ours against MMAction2's with the same weights and data, beside MMAction2's with other initial weights."""
    curves, keep = {}, {}
    for seed in (0, 1):
        torch.manual_seed(seed)
        ours, theirs = build_pair(args.config)
        if theirs is None:
            raise ConfigError(f'{args.config}: found a network that MMAction2 has not, expected X3D for --loss-steps')
        keep[f"MMAction2's, seed {seed}"] = theirs
        if seed == 0:
            keep['ours, seed 0'] = ours
    for name, model in keep.items():
        curves[name] = losses(model, setting, args.loss_steps, name)
    ours, theirs, other = (curves[n] for n in ('ours, seed 0', "MMAction2's, seed 0", "MMAction2's, seed 1"))
    part, rows = max(args.loss_steps // 10, 1), []
    for start in range(0, args.loss_steps, part):
        means = [statistics.fmean(curve[start : start + part]) for curve in (theirs, ours, other)]
        row = (
            f'{start + 1} to {min(start + part, args.loss_steps)}',
            *means,
            abs(means[1] - means[0]),
            abs(means[2] - means[0]),
        )
        rows.append([row[0], *(f'{value:.4f}' for value in row[1:])])
    header = ('steps', "MMAction2's, seed 0", 'ours, seed 0', "MMAction2's, seed 1", 'ours - seed 0', 'seed 1 - seed 0')
    first = next((i for i, (a, b) in enumerate(zip(ours, theirs, strict=True)) if abs(a - b) > 1e-3), None)
    table = show(f'Mean loss: {described(args, setting)}', header, rows)
    print(f'\nfirst step at which both of seed 0 differ by more than 0.001: {"none" if first is None else first + 1}')
    return table | {'curves': curves, 'first_difference': first}


def main() -> None:
    """The tables that were asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        'config',
        nargs='?',
        default=str(ROOT / 'configs/autox3d/x3d_s.py'),
        help='a network (default: configs/autox3d/x3d_s.py)',
    )
    parser.add_argument('--batch', type=int, default=32 if DEVICE == 'cuda' else 4, help='clips (GPU 32, CPU 4)')
    parser.add_argument('--clip', default='13x160', help='frames x height = width')
    parser.add_argument(
        '--dtype',
        choices=list(DTYPES),
        default='bf16' if DEVICE == 'cuda' else 'fp32',
        help='of autocast (GPU bf16, CPU fp32)',
    )
    parser.add_argument('--compile', action='store_true', help='each network also under torch.compile')
    parser.add_argument('--graph', action='store_true', help='each network also as a CUDA graph; on a GPU')
    parser.add_argument('--inference', action='store_true', help='inference too')
    parser.add_argument('--channels-last', action='store_true', help="MMAction2's network also in that layout")
    parser.add_argument('--rounds', type=int, default=5, help='measurements of each; the median counts (default: 5)')
    parser.add_argument('--cpu-time', action='store_true', help="count the process's own time: for a busy machine")
    parser.add_argument('--loss-steps', type=int, default=0, help='instead: the loss over so many steps of training')
    add_json(parser)
    args = parser.parse_args()
    keep_freed_memory()  # as our tools do
    frames, size = map(int, args.clip.split('x'))
    args.graph &= DEVICE == 'cuda'
    if DEVICE == 'cpu':
        print('No GPU here: the CPU is timed, and memory is not.\n')
    mmnas_video.register()
    init_default_scope('mmaction')
    MMLogger.get_current_instance().setLevel('ERROR')  # else a line for every weight that is initialised
    torch.manual_seed(0)
    clips = torch.randn(args.batch, 1, 3, frames, size, size, device=DEVICE)
    labels = torch.randint(2, (args.batch,), device=DEVICE)  # classes that every head has
    setting = Setting(clips, labels, DTYPES[args.dtype])
    if args.loss_steps:
        tables = [compare_losses(args, setting)]
    else:
        tables = [compare('Training step', training_step, args, setting)]
        if args.inference:
            tables.append(compare('Inference', inference_step, args, setting))
    write_json(args.out, tables)


if __name__ == '__main__':
    main()
