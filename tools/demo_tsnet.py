"""The demo of two streams: a search in three stages on generated videos, and the network beside one made by hand.

    python tools/demo_tsnet.py            about 5 minutes on 2 CPU cores
    python tools/demo_tsnet.py --smoke    the same path in under a minute, with nothing learned

Makes the demo videos (motion: only the order of the frames tells the classes apart; scene: one frame does), searches
the sparse stream, then the dense stream and the fusions, then the places of attention, and trains what was found. Then
it trains a two-stream network as made by hand, with the same multiply-adds, in the same way.
"""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from demo import Phases, arguments, leave_report, nearest_width, network_cost, quiet, say, shipped, table, train_rows
from mmengine.config import Config

from mmnas_video.command import AGAIN, run_tool
from mmnas_video.cost import total_cost
from mmnas_video.datasets import DemoOptions, join_demo, make_demo
from mmnas_video.entangle import find_searchable
from mmnas_video.launch import load_config
from mmnas_video.pipeline import run_search
from mmnas_video.registry import MODELS
from mmnas_video.search import stage_table
from mmnas_video.space import read_arch_file

CONFIG = shipped('configs/demo/tsnet_progressive.py')
#: Share of the multiply-adds that the sparse stream takes in the network made by hand (Auto-TSNet, Tab. 4).
SPARSE_SHARE = 0.7
SMOKE = {
    'search': {
        **{f'stages.{i}.epochs': 1 for i in range(3)},
        'custom_hooks.0.num_archs': 2,
        'custom_hooks.0.mode': 'joint',
        'custom_hooks.0.warmup_epochs': 0,
        'custom_hooks.0.calibration_clips': 8,
        'custom_hooks.0.arch_dataloader.batch_size': 8,
    },
    'retrain': {'train_cfg.max_epochs': 1, 'train_cfg.val_interval': 1},
}


def manual_backbone(cfg: Config, macs: int) -> dict[str, Any]:
    """Two uniform streams as hand-made (Sec. 5.4): one kernel, expansion 2.25, widths doubling by stage, joined by
    time-strided convolutions at every second site, scaled to the cost; the sparse stream takes 70 % of it.

    Its widths need not be offered by the space: it is no point of it, but what one would build without a search.
    """
    model = MODELS.build(cfg.model)
    sites = [name for name in find_searchable(model)[1].space.names if name.startswith('fusion.')]
    joined = {name: 'time_strided_conv' if i % 2 else 'none' for i, name in enumerate(sites)}

    def backbone(sparse: float, dense: float) -> dict[str, Any]:
        made = {**cfg.model.backbone, 'kernels': ('t3_s3',), 'expansions': (2.25,), 'attentions': ('none',)}
        for stream, width in (('sparse', sparse), ('dense', dense)):
            stages = tuple(
                ('values', (max(1, round(width * 2**s)),), stage[-1]) for s, stage in enumerate(made[stream].stages)
            )
            made[stream] = {**made[stream], 'stages': stages}
        return {**made, 'fixed': joined, 'space_name': 'manual', 'arch': None}

    def alone(width: float) -> int:
        made = {**backbone(width, 1), 'streams': ('sparse',), 'fixed': None}
        head = {**cfg.model.cls_head, 'in_channels': cfg.model.backbone.sparse.out_channels}
        return network_cost({**cfg.model, 'backbone': made, 'cls_head': head}, cfg.cost_shape).macs

    sparse = nearest_width(alone, SPARSE_SHARE * macs)

    def both(width: float) -> int:
        return network_cost({**cfg.model, 'backbone': backbone(sparse, width)}, cfg.cost_shape).macs

    return backbone(sparse, nearest_width(both, macs))


def search_config(work_dir: Path, data: Path, seed: int, smoke: bool) -> Config:
    """The demo's config for these folders, with a progress line for each stage."""
    paths = {f'{k}_dataloader.dataset.dataset.data_root': f'{data}/motion_scene/' for k in ('train', 'val', 'test')}
    cfg = load_config(CONFIG, {**paths, 'randomness.seed': seed, **(SMOKE['search'] if smoke else {})})
    cfg.work_dir = str(work_dir)
    cfg.retrain['cfg_options'] = {**paths, **(SMOKE['retrain'] if smoke else {})}
    cfg = quiet(cfg, 'search')
    for stage in cfg.stages:
        line = {f'custom_hooks.{len(cfg.custom_hooks) - 1}.name': stage.name}
        stage.cfg_options = {**(stage.get('cfg_options') or {}), **line}
    return cfg


def make_data(data: Path, smoke: bool) -> None:
    """The motion and the scene set, and the lists of their union."""
    clips = dict(motion_clips=(6, 2, 3), scene_clips=(6, 2, 3)) if smoke else {}
    make_demo(data, DemoOptions(**clips), sets=('motion', 'scene'))
    join_demo(data)


def run(
    work_dir: Path, data: Path, seed: int, smoke: bool
) -> tuple[list[dict[str, Any]], list[Mapping[str, Any]], dict[str, float]]:
    """Everything; returns the rows of the table, what each stage ended with, and the seconds of each phase."""
    phases = Phases()
    phases.begin('data')
    make_data(data, smoke)
    phases.begin('search')
    cfg = search_config(work_dir, data, seed, smoke)
    found = run_search(cfg, retrain=False)
    arch = read_arch_file(found['arch'])['arch']
    model, base = MODELS.build(cfg.model), {**cfg.model.backbone}
    macs = total_cost(model, find_searchable(model)[1], arch, tuple(cfg.cost_shape)).macs
    phases.begin('training')
    searched = {**base, 'arch': dict(arch)}
    rows = train_rows(
        cfg,
        [
            ('searched', searched, work_dir / 'retrain'),
            ('two streams by hand', manual_backbone(cfg, macs), work_dir / 'manual'),
        ],
    )
    phases.begin('report')
    leave_report(work_dir, rows)
    phases.begin('')
    return rows, found['stages'], phases.seconds


def main() -> None:
    """Run the demo and print its tables."""
    args = arguments(__doc__, 'demo_tsnet')
    rows, stages, seconds = run(args.work_dir, args.data, args.seed, args.smoke)
    print('\n' + '\n'.join(stage_table(stages)))
    say(table(rows), args.work_dir, seconds)


if __name__ == '__main__':
    sys.exit(run_tool(main, AGAIN))
