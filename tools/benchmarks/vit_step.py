"""A VIM-NAS transformer against timm's ViT-B at equal multiply-adds: training step and inference, compiled on a GPU.

    pip install --no-deps timm                   # for this script alone
    python tools/benchmarks/vit_step.py          # on a GPU: both compiled and not, batch 64, bf16
    python tools/benchmarks/vit_step.py --rounds 1    # on a CPU: both as they are, batch 1, fp32

Ours is the architecture of VIM-NAS's Base space, of 20,000 drawn ones, whose multiply-adds for a clip of 32 x 224 x 224
are nearest to those of timm's for an image: one clip against one image, of about the same work. Goal on a GPU: at least
as many clips a second as timm's compiled network has images. "Of bf16 peak" is the share of an H200's 989 TFLOPS of
dense bf16 (--peak for another GPU) that the multiply-adds of convolutions, linears and attention take, backward counted
as two forwards. Without a GPU the CPU is timed, nothing is compiled and no share is given.
"""

import argparse
import functools
import random
import sys

import torch
from common import Interleaved, add_json, said, show, write_json
from mmengine.registry import init_default_scope
from roofline import TENSOR_MACS_A_SECOND
from torch import Tensor, nn
from train_step import DEVICE, DTYPES, STEPS, Candidate, Setting, inference_step, peak, prepare, training_step

import mmnas_video
from mmnas_video.command import AGAIN, run_tool
from mmnas_video.cost import count
from mmnas_video.cpu_memory import keep_freed_memory
from mmnas_video.errors import ConfigError
from mmnas_video.registry import MODELS
from mmnas_video.space import Arch

#: The Base space as configs/_base_/models/super_vit_base.py has it.
SPACE = dict(type='SuperViT', table='vimnas-base', max_kernel_volume=1024, clamp_offsets=True)
CLIP, CLASSES, DRAWS = (3, 32, 224, 224), 400, 20_000
#: Title to (what is timed, forward passes' worth of multiply-adds in it).
WORK = {'Training step': (training_step, 3), 'Inference': (inference_step, 1)}


class TimmRecognizer(nn.Module):
    """timm's ViT-B/16 with the parts that a recognizer is timed by; an image is the first frame of a clip."""

    def __init__(self, size: int) -> None:
        super().__init__()
        try:
            import timm
        except ImportError as error:
            raise ConfigError(
                f'timm: found none that can be imported ({error}), expected it beside this library for this benchmark: '
                'pip install --no-deps timm'
            ) from None
        self.backbone = timm.create_model('vit_base_patch16_224', num_classes=CLASSES, img_size=size)
        self.cls_head = nn.Identity()

    def extract_feat(self, clips: Tensor) -> tuple[Tensor]:
        """Clips ``(B, 1, 3, T, H, W)`` to scores ``(B, classes)``."""
        return (self.backbone(clips[:, 0, :, 0]),)


@functools.cache  # it takes seconds
def nearest(macs: int) -> tuple[Arch, int]:
    """The drawn architecture whose multiply-adds for a clip are nearest to ``macs``, and what these are."""
    with torch.device('meta'):
        supernet = MODELS.build(SPACE)
    rng = random.Random(0)
    drawn = (supernet.space.sample(rng) for _ in range(DRAWS))
    found, arch = min(((supernet.cost(arch, CLIP).macs, arch) for arch in drawn), key=lambda pair: abs(pair[0] - macs))
    return arch, found


def networks(size: int) -> dict[str, tuple[nn.Module, tuple[int, ...], int]]:
    """Name to network, the (C, T, H, W) that it is given, and its multiply-adds for one."""
    theirs, image = TimmRecognizer(size), (3, 1, size, size)
    theirs_macs = count(theirs.backbone, torch.empty(1, 3, size, size))[0].macs
    arch, macs = nearest(theirs_macs)
    ours = MODELS.build(
        dict(
            type='Recognizer3D',
            backbone={**SPACE, 'arch': dict(arch)},
            cls_head=dict(type='TimeSformerHead', num_classes=CLASSES, in_channels=arch['embed_dim'], dropout_ratio=0),
        )
    )
    return {"timm's ViT-B/16": (theirs, image, theirs_macs), 'VIM-NAS, Base space': (ours, CLIP, macs)}


def compare(title: str, args: argparse.Namespace) -> dict:
    """Time all candidates in turn and print their table. One that fails is a row that says so."""
    make, passes = WORK[title]
    steps, memory, macs, failed = {}, {}, {}, {}
    for compiled in (False, True) if DEVICE == 'cuda' else (False,):
        for name, (model, shape, cost) in networks(args.image).items():
            clips = torch.randn(args.batch, 1, *shape, device=DEVICE)
            setting = Setting(clips, torch.randint(CLASSES, (args.batch,), device=DEVICE), DTYPES[args.dtype])
            label = f'{name}{", compiled" if compiled else ""}'
            print(f'preparing: {label}', file=sys.stderr, flush=True)
            macs[label] = cost
            try:
                steps[label] = prepare(Candidate(label, model.to(DEVICE), compiled), make, setting)
                memory[label] = f'{peak(steps[label]):.2f}' if DEVICE == 'cuda' else ''
            except Exception as error:
                failed[label] = said(error)
    timer = Interleaved(steps, 'cpu' if args.cpu_time else 'wall')
    found = {name: seconds / STEPS for name, seconds in timer.run(args.rounds, 2 * args.rounds).items()}
    rivals = [name for name in found if name.startswith('timm')]
    rows = [
        (
            name,
            f'{macs[name] / 1e9:.2f}',
            f'{1e3 * seconds:.1f}',
            f'{args.batch / seconds:.1f}',
            f'{passes * macs[name] * args.batch / seconds / (args.peak * 1e12 / 2):.3f}' if DEVICE == 'cuda' else '',
            memory[name],
            *(f'{found[rival] / seconds:.2f}' for rival in rivals),
        )
        for name, seconds in found.items()
    ]
    rows += [
        (name, f'{macs[name] / 1e9:.2f}', reason, '', '', '', *[''] * len(rivals)) for name, reason in failed.items()
    ]
    header = ('network', 'GMACs', 'ms', 'clips or images/s', 'of bf16 peak', 'GB', *(f'to {rival}' for rival in rivals))
    table = show(f'{title}: batch {args.batch}, {args.dtype}, {DEVICE}', header, rows)
    print(f'\nrounds: {args.rounds} wanted, {timer.dropped} dropped or only counted because other work ran\n')
    return table | {'dropped': timer.dropped}


def main() -> None:
    """Both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    gpu = DEVICE == 'cuda'
    parser.add_argument('--batch', type=int, default=64 if gpu else 1, help='clips, and images (GPU 64, CPU 1)')
    parser.add_argument('--image', type=int, default=224, help="height = width of timm's images (default: 224)")
    parser.add_argument(
        '--dtype', choices=list(DTYPES), default='bf16' if gpu else 'fp32', help='of autocast (GPU bf16, CPU fp32)'
    )
    parser.add_argument(
        '--peak',
        type=float,
        default=2 * TENSOR_MACS_A_SECOND / 1e12,
        help="the GPU's dense bf16 TFLOPS (default: an H200's 989)",
    )
    parser.add_argument('--only', choices=list(WORK), help='one of the two')
    parser.add_argument('--rounds', type=int, default=5, help='measurements of each; the median counts (default: 5)')
    parser.add_argument('--cpu-time', action='store_true', help="count the process's own time: for a busy machine")
    add_json(parser)
    args = parser.parse_args()
    keep_freed_memory()  # as our tools do
    if not gpu:
        print('No GPU here: the CPU is timed, as the networks are, and nothing says what share of its peak that is.\n')
    mmnas_video.register()
    init_default_scope('mmaction')
    torch.manual_seed(0)
    write_json(args.out, [compare(title, args) for title in WORK if args.only in (None, title)])


if __name__ == '__main__':
    sys.exit(run_tool(main, AGAIN))
