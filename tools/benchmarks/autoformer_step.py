"""A supernet's training step against MMRazor's AutoFormer, at the same architectures: forward + backward.

    pip install --no-deps --target razor mmrazor==1.0.0 joblib
    python tools/benchmarks/autoformer_step.py --mmrazor razor

MMRazor 1.0.0 cannot be imported beside today's torch, nor MMClassification, which it needs, beside today's mmcv: here
the packages of it that fail are left out, and MMPretrain stands in for MMClassification. Its AutoFormer has relative
positions, as the paper's; ours has fixed ones. What that adds to a step is part of the ratio.
"""

import argparse
import importlib
import random
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from common import Interleaved, add_json, add_timing, show
from torch import nn

from mmnas_video.models.backbones import SuperViT
from mmnas_video.space import Arch

#: Packages whose own __init__ imports what fails; their modules import one by one.
HOLLOW = (
    '',
    '.models',
    '.models.architectures',
    '.models.architectures.backbones',
    '.models.architectures.dynamic_ops',
)
#: Packages that registering everything would import, and that nothing here needs.
EMPTY = ('.engine', '.datasets', '.implementations', '.structures')
STAND_INS = ('', '.models', '.models.backbones', '.models.backbones.base_backbone', '.models.utils')
#: AutoFormer-T's choices, as of MMRazor's supernet.
SETTING = dict(mlp_ratios=[3.5, 4.0], num_heads=[3, 4], depth=[12, 13, 14], embed_dims=[192, 216, 240])


def import_autoformer(folder: Path) -> Callable[..., nn.Module]:
    """MMRazor's backbone from a folder that nothing else is imported from."""
    for name in HOLLOW:
        module = sys.modules['mmrazor' + name] = ModuleType('mmrazor' + name)
        module.__path__ = [str(folder.joinpath('mmrazor', *name.split('.')[1:]))]
    for name in EMPTY:
        sys.modules['mmrazor' + name] = ModuleType('mmrazor' + name)
    for name in STAND_INS:
        sys.modules['mmcls' + name] = importlib.import_module('mmpretrain' + name)
    sys.path.append(str(folder))
    importlib.import_module('mmrazor.models.architectures.dynamic_ops.bricks')
    return importlib.import_module('mmrazor.models.architectures.backbones.searchable_autoformer').AutoformerBackbone


def set_arch(model: Any, arch: Arch) -> None:
    """Activate an architecture of ours in MMRazor's supernet."""
    model.mutable_depth.current_choice = arch['depth']
    model.mutable_embed_dims.current_choice = arch['embed_dim']
    for i, (heads, ratio) in enumerate(zip(model.mutable_num_heads, model.mutable_mlp_ratios, strict=True), start=1):
        heads.current_choice, ratio.current_choice = arch[f'layer{i}.heads'], arch[f'layer{i}.mlp_ratio']


def training_pass(model: nn.Module, forward: Callable[[], torch.Tensor]) -> Callable[[], None]:
    """Forward, mean square, backward."""

    def once() -> None:
        model.zero_grad(set_to_none=True)
        forward().square().mean().backward()

    return once


def main() -> None:
    """Measure the smallest, the largest and some random architectures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--mmrazor', type=Path, required=True, help='the folder that pip installed it into')
    parser.add_argument('--batch', type=int, default=8, help='clips or images in a batch (default: 8)')
    parser.add_argument('--archs', type=int, default=3, help='random ones')
    add_timing(parser)
    add_json(parser)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    theirs, ours = import_autoformer(args.mmrazor)(arch_setting=SETTING), SuperViT(table='autoformer-tiny')
    x, rng = torch.randn(args.batch, 3, 224, 224), random.Random(0)
    archs = {'smallest': ours.space.smallest, 'largest': ours.space.largest}
    archs |= {f'random {i}': ours.space.sample(rng) for i in range(args.archs)}
    rows = []
    for name, arch in archs.items():
        set_arch(theirs, arch)
        width = theirs(x[:1])[0].shape[-1]
        if width != arch['embed_dim']:
            raise RuntimeError(f'MMRazor: found features of {width} channels, expected {arch["embed_dim"]}')

        def sampled(arch: Arch = arch) -> torch.Tensor:
            with ours.use(arch):
                return ours(x)

        passes = {'mmrazor': training_pass(theirs, lambda: theirs(x)[0]), 'ours': training_pass(ours, sampled)}
        timer = Interleaved(passes, args.clock)
        found = timer.run(args.rounds)
        macs = ours.cost(arch, (3, 1, 224, 224)).macs / 1e9
        times = [f'{1e3 * found[key]:.0f}' for key in passes]
        rows.append((name, f'{macs:.2f}', *times, f'{timer.ratio("ours", "mmrazor"):.3f}', timer.dropped))
    show(
        f'AutoFormer-T supernet, {args.batch} images of 224x224, forward + backward, {args.clock} time',
        ('arch', 'GMACs (ours)', 'mmrazor ms', 'ours ms', 'ratio', 'rounds dropped'),
        rows,
        args.out,
    )


if __name__ == '__main__':
    main()
