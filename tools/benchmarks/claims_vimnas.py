"""Claims of the VIM-NAS paper, on the demo sets: reported as they come out.

    python tools/benchmarks/claims_vimnas.py --seeds 3
    python tools/benchmarks/claims_vimnas.py --seeds 1 --tables 7 8b

1. Tab. 9: what each part of the method adds, and other ways to train the supernet: top-1 on each test set of the
   network that the joint search ends with, with its inherited weights.
2. Tab. 7: the network of the whole method (with the distribution gap of Eq. 3) with inherited weights, fine-tuned, and
   trained from scratch.
3. Tab. 8b: searched on one set alone, searched on images and fine-tuned on videos with 3-D tubes from scratch, and
   searched on all sets together; all with the distribution gap.

Every search is as long as the demo's, in steps; a search on one set has as many steps as that set has in the joint one.
A killed run goes on where it was.
"""

import argparse
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).parents[1]))
from common import add_seeds, show, spread
from demo_vimnas import CONFIG, SETS, SMOKE, SMOKE_CLIPS, config
from mmengine.config import Config

from mmnas_video.datasets import DemoOptions, make_demo
from mmnas_video.entangle import find_searchable
from mmnas_video.launch import build_runner, load_config
from mmnas_video.pipeline import run_search
from mmnas_video.registry import MODELS
from mmnas_video.space import read_arch_file, write_text_atomic

#: A transformer and tubes as made by hand: TubeViT's kinds of tubes in the small space.
BY_HAND = {
    'depth': 3,
    'embed_dim': 48,
    'layer*.heads': 3,
    'layer*.qkv': 48,
    'layer*.mlp_ratio': 2.0,
}
TUBES_BY_HAND = (
    dict(kernels=('1x8x8',), strides=('4x8x8',), offsets=('0x0x0',)),
    dict(kernels=('4x8x8',), strides=('4x8x8',), offsets=('0x0x0',)),
    dict(kernels=('8x4x4',), strides=('4x8x8',), offsets=('0x4x4',)),
)
UNIFORM = dict(type='UniformSearchHook', candidates=100, score_batches=3, freeze_unsampled=True)
#: The distribution gap (Eq. 3): options of the config, and of the demo's hook. The paper's method has it (Sec. 4.2).
LOCAL = {
    'model.backbone.local_weights': dict(groups=2),
    'optim_wrapper.paramwise_cfg': dict(custom_keys={'local_weights': dict(decay_mult=0.0)}),
}
GAP = dict(distribution_gap=1.0)
#: Rows of Tab. 9: what the config has other than the demo's, and the hook in the place of the demo's (None: that one).
KINDS: dict[str, tuple[dict[str, Any], dict[str, Any] | None]] = {
    'No NAS': (
        {
            'model.backbone.tubes': TUBES_BY_HAND,
            'model.backbone.fixed': BY_HAND,
            'model.cls_head.common.in_channels': BY_HAND['embed_dim'],
        },
        {},
    ),
    'NAS on ViT': ({'model.backbone.tubes': TUBES_BY_HAND}, None),
    'NAS on ViT & tubes': ({}, None),
    'with DG (Eq. 3)': (LOCAL, GAP),
    'AutoFormer': ({}, UNIFORM),
    'ViTAS': ({'model.backbone.sharing': 'fair'}, UNIFORM),
    'GraViT-E': ({}, dict(weight_mode='mixed')),
    'NASViT': ({}, dict(UNIFORM, type='ConflictAwareSearchHook', num_archs=2, distill=True)),
}
#: The row that Tab. 7 and the last column of Tab. 8b are of.
WHOLE = 'with DG (Eq. 3)'
TABLES = ('9', '7', '8b')
#: Shares of the search's steps for fine-tuning and for training from scratch: 40 and 300 of 500 epochs (Tab. 7).
FINE_TUNED, RETRAINED = 40 / 500, 300 / 500


def joint(folder: Path, kind: str, seed: int, args: argparse.Namespace) -> dict[str, float]:
    """A row of Tab. 9: search on all sets, and top-1 (%) of what it found with its inherited weights."""
    options, hook = KINDS[kind]
    cfg = demo_config(folder, seed, args, options)
    if hook == {}:
        cfg.custom_hooks = cfg.custom_hooks[1:]
    elif hook:
        theirs = cfg.custom_hooks[0] if 'type' not in hook else {'arch_dataloader': cfg.custom_hooks[0].arch_dataloader}
        cfg.custom_hooks[0] = {**theirs, **hook}
    return searched(cfg) if hook != {} else trained(cfg)


def demo_config(folder: Path, seed: int, args: argparse.Namespace, options: Mapping[str, Any]) -> Config:
    """The demo's search with other options."""
    return config(CONFIG, folder, args.data, seed, {**(SMOKE['search'] if args.smoke else {}), **options})


def searched(cfg: Config) -> dict[str, float]:
    """Search, then test what was found as it is."""
    found = run_search(cfg, retrain=False)
    extracted = load_config(str(found['config']))
    extracted.load_from, extracted.work_dir, extracted.log_level = str(found['weights']), cfg.work_dir, 'ERROR'
    return top1(build_runner(extracted).test())


def trained(cfg: Config) -> dict[str, float]:
    """Train a network that has nothing to choose, and test it."""
    runner = build_runner(cfg)
    runner.train()
    return top1(runner.test())


def top1(metrics: Mapping[str, float]) -> dict[str, float]:
    """Top-1 (%) of each set, and their mean."""
    return {name.split('/')[0]: 100 * float(value) for name, value in metrics.items() if name.endswith('/top1')}


def after_search(folder: Path, found: Path, epochs: int, seed: int, weights: bool) -> dict[str, float]:
    """Train what was found on the whole training lists: from its weights at a tenth of the rate, or from scratch."""
    cfg = load_config(str(found / 'search' / 'extracted.py'), {'randomness.seed': seed})
    cfg.work_dir, cfg.log_level = str(folder), 'ERROR'
    shorten(cfg, epochs)
    cfg.train_dataloader.batch_sampler.first = None
    cfg.custom_hooks = [dict(type='ProgressHook', name=folder.name)]
    if weights:
        cfg.load_from = str(found / 'search' / 'extracted.pth')
        cfg.custom_hooks.append(dict(type='FineTuneHook'))
        cfg.optim_wrapper.optimizer.lr /= 10
    else:
        cfg.load_from = None
    return trained(cfg)


def shorten(cfg: Config, epochs: int) -> None:
    """Train for so many epochs: warm-up of at most the demo's two, then the cosine."""
    warmup = min(2, epochs // 2)
    cfg.train_cfg.max_epochs = cfg.train_cfg.val_interval = epochs
    cfg.param_scheduler[0].end = cfg.param_scheduler[1].begin = warmup
    cfg.param_scheduler[1].T_max, cfg.param_scheduler[1].end = epochs - warmup, epochs
    cfg.param_scheduler = cfg.param_scheduler[0 if warmup else 1 :]


def alone(cfg: Config, name: str) -> Config:
    """The config on one of its sets, with as many steps as that set has on average in a joint run."""
    sampler, steps = cfg.train_dataloader.batch_sampler, joint_steps(cfg)
    first = sampler.first.share if sampler.get('first') else 0.0
    share = (1 - first) * sampler.weights[name] + first * (name == 'image')
    for key in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
        cfg[key].dataset.datasets = {name: cfg[key].dataset.datasets[name]}
    cfg.train_dataloader.batch_sampler = dict(type=sampler.type, steps_per_epoch=max(1, round(share * steps)))
    cfg.model.cls_head.heads = {name: cfg.model.cls_head.heads[name]}
    cfg.model.cls_head.default = name
    return cfg


def joint_steps(cfg: Config) -> int:
    """Steps of an epoch of the joint search: whole batches of each set's training part."""
    part = 1 - cfg.train_dataloader.dataset.held_out.fraction
    lists = (Path(d.data_root) / d.ann_file for d in cfg.train_dataloader.dataset.datasets.values())
    return sum(int(part * len(path.read_text().splitlines())) // cfg.train_dataloader.batch_size for path in lists)


def single(folder: Path, name: str, seed: int, args: argparse.Namespace) -> dict[str, float]:
    """Tab. 8b, column 1: search on one set alone. An image takes the 2-D tube alone, so its search offers no other."""
    tube = demo_config(folder, seed, args, {}).model.backbone.tubes[0]
    options = {**LOCAL, **({'model.backbone.tubes': (tube,)} if name == 'image' else {})}
    cfg = alone(demo_config(folder, seed, args, options), name)
    cfg.custom_hooks[0].update(GAP)
    return searched(cfg)


def from_images(
    folder: Path, name: str, images: Path, epochs: int, seed: int, args: argparse.Namespace
) -> dict[str, float]:
    """Tab. 8b, column 2: the network that was found on images, fine-tuned from its weights on another set, with 3-D
    tubes by hand from scratch. At the search's own rate: the tubes and the head start from nothing."""
    cfg = alone(demo_config(folder, seed, args, {}), name)
    shorten(cfg, epochs)
    cfg.model.backbone.tubes = (cfg.model.backbone.tubes[0], *TUBES_BY_HAND[1:])
    values = read_arch_file(images / 'search' / 'arch.json')['arch']
    space = find_searchable(MODELS.build(cfg.model))[1].space
    cfg.model.backbone.arch = {choice.name: values.get(choice.name, choice.values[0]) for choice in space}
    cfg.train_dataloader.dataset.held_out = None
    cfg.load_from = str(images / 'search' / 'extracted.pth')
    hook = dict(type='FineTuneHook', new=['backbone.tokenizer.tubes.[12].*', 'cls_head.*'])
    cfg.custom_hooks = [hook, dict(type='ProgressHook', name=folder.name)]
    return trained(cfg)


def measure(result: Path, work: Any) -> dict[str, float]:
    """``work()``, or what it gave before."""
    if not result.is_file():
        write_text_atomic(result, json.dumps(work(), indent=1) + '\n')
    return json.loads(result.read_text())


def seed_scores(seed: int, args: argparse.Namespace) -> dict[str, dict[str, dict[str, float]]]:
    """All rows of one seed: table to row to top-1 by set."""
    root = args.work_dir / f'seed_{seed}'

    def row(name: str, work: Any) -> dict[str, float]:
        folder = root / folder_name(name)
        return measure(folder / 'claims.json', lambda: work(folder))

    def whole() -> dict[str, float]:
        return row(WHOLE, lambda folder: joint(folder, WHOLE, seed, args))

    def after(name: str, share: float, weights: bool) -> dict[str, float]:
        found = root / folder_name(WHOLE)
        epochs = shortened(load_config(str(found / 'search' / 'extracted.py')), share)
        return row(f'{name} {WHOLE}', lambda folder: after_search(folder, found, epochs, seed, weights))

    def images_first(name: str) -> dict[str, float]:
        images = root / folder_name('alone image')
        epochs = shortened(demo_config(root, seed, args, {}), FINE_TUNED)
        return row(f'from images {name}', lambda folder: from_images(folder, name, images, epochs, seed, args))

    tables: dict[str, dict[str, dict[str, float]]] = {}
    if '9' in args.tables:
        tables['Tab. 9'] = {
            kind: row(kind, lambda folder, kind=kind: joint(folder, kind, seed, args)) for kind in KINDS
        }
    if '7' in args.tables:
        tables['Tab. 7'] = {
            'inherited': whole(),
            'fine-tuned': after('finetune', FINE_TUNED, weights=True),
            'retrained': after('retrain', RETRAINED, weights=False),
        }
    if '8b' in args.tables:
        one = {n: row(f'alone {n}', lambda folder, n=n: single(folder, n, seed, args))[n] for n in SETS}
        tables['Tab. 8b'] = {
            'searched on the set alone': one,
            'searched on images, fine-tuned': {'image': one['image'], **{n: images_first(n)[n] for n in SETS[1:]}},
            'searched on all together': whole(),
        }
    return tables


def folder_name(row: str) -> str:
    """Where a row's files are."""
    return ''.join(c if c.isalnum() else '_' for c in row.lower())


def shortened(cfg: Config, share: float) -> int:
    """Epochs of a share of a config's training."""
    return max(1, round(share * cfg.train_cfg.max_epochs))


def main() -> None:
    """Run what is missing, and print the tables after each seed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_seeds(parser, 3, 'claims_vimnas')
    parser.add_argument(
        '--data', type=Path, default=Path('data/demo'), help='demo data; made if it is not there (default: data/demo)'
    )
    parser.add_argument('--tables', nargs='+', choices=TABLES, default=TABLES, help='which (default: all)')
    parser.add_argument('--smoke', action='store_true', help='one epoch each on tiny data: shows that it runs')
    args = parser.parse_args()
    torch.set_num_threads(1)
    make_demo(args.data, DemoOptions(**(SMOKE_CLIPS if args.smoke else {})), sets=SETS)
    scores = []
    for seed in range(args.seeds):
        scores.append(seed_scores(seed, args))
        for table, rows in scores[0].items():
            columns = [n for n in (*SETS, 'mean') if all(n in row for row in rows.values())]
            cells = [
                (name, *(spread([found[table][name][column] for found in scores]) for column in columns))
                for name in rows
            ]
            show(f'{table}: top-1 (%), {seed + 1} seeds', (table, *columns), cells)


if __name__ == '__main__':
    main()
