"""The demo of P3D-DARTS: a cell searched on generated motion videos, and the network of it beside random cells.

    python tools/demo_p3d.py            about 6 minutes on 2 CPU cores
    python tools/demo_p3d.py --smoke    the same path in under a minute, with nothing learned

Makes the demo videos, searches (search, extract, retrain, test), then trains five random cells of two inputs a node and
like parameters in the same way, prints cell and table, and writes the report with the cells drawn.
"""

import copy
import random
import sys
from pathlib import Path
from typing import Any

from demo import MAX_DRAWS, Phases, arguments, leave_report, quiet, say, shipped, table, train_rows
from mmengine.config import Config

from mmnas_video.command import AGAIN, run_tool
from mmnas_video.cost import Budget
from mmnas_video.datasets import DemoOptions, derive_seed, make_demo
from mmnas_video.entangle import find_searchable
from mmnas_video.launch import load_config
from mmnas_video.pipeline import run_search
from mmnas_video.registry import MODELS
from mmnas_video.space import Arch, genotype_to_json, read_arch_file, read_cell, write_text_atomic
from mmnas_video.visualization import describe_cell

CONFIG = shipped('configs/demo/p3d_darts.py')
#: How far the random cells' parameters may be from those of the searched one: few cells have exactly as many.
TOLERANCE = 0.05
SMOKE = {
    'search': {
        'epochs': 1,
        'train_cfg.max_epochs': 1,
        'train_dataloader.batch_size': 8,
        'model.backbone.nodes': 2,
        'model.cls_head.in_channels': 16,
        'custom_hooks.0.warmup_epochs': 0,
        'custom_hooks.0.score_batches': 1,
        'custom_hooks.0.calibration_clips': 8,
    },
    'retrain': {
        'train_cfg.max_epochs': 1,
        'train_cfg.val_interval': 1,
        'model.backbone.nodes': 2,
        'model.cls_head.in_channels': 64,
    },
}


def similar_cells(model: Any, shape: tuple[int, ...], arch: Arch, count: int, seed: int) -> list[Arch]:
    """Random cells that keep as many inputs as the searched one, of like parameters (within 5 %), none twice.

    Every connection and operator is equally probable: the cell that random weights stand for.
    """
    _, searchable = find_searchable(model)
    params = searchable.cost(arch, shape).params
    budget = Budget(params=(params * (1 - TOLERANCE), params * (1 + TOLERANCE)))
    rng, found = random.Random(derive_seed(seed, 'demo')), dict[Arch, None]()
    for _ in range(MAX_DRAWS):
        if len(found) == count:
            break
        drawn = searchable.derive({choice.name: [rng.random() for _ in choice.values] for choice in searchable.space})
        if drawn != arch and budget.admits(params=searchable.cost(drawn, shape).params):
            found[drawn] = None
    return list(found)


def configs(work_dir: Path, data: Path, seed: int, smoke: bool) -> tuple[Config, Config]:
    """The search's config, and the same with the network that is trained in the place of the search network."""
    paths = {f'{k}_dataloader.dataset.dataset.data_root': f'{data}/motion/' for k in ('train', 'val', 'test')}
    cfg = load_config(CONFIG, {**paths, 'randomness.seed': seed, **(SMOKE['search'] if smoke else {})})
    cfg.work_dir = str(work_dir)
    cfg.retrain['cfg_options'] = {**paths, **(SMOKE['retrain'] if smoke else {})}
    cfg = quiet(cfg, 'search')
    trained = copy.deepcopy(cfg)
    trained.model = load_config(cfg.retrain.config, cfg.retrain.cfg_options).model
    return cfg, trained


def run(
    work_dir: Path, data: Path, seed: int, smoke: bool, count: int
) -> tuple[list[dict[str, Any]], dict[str, float]]:
    """Everything; returns the rows of the table and the seconds of each phase."""
    phases = Phases()
    phases.begin('data')
    make_demo(data, DemoOptions(motion_clips=(6, 2, 3) if smoke else DemoOptions().motion_clips), sets=('motion',))
    phases.begin('search')
    cfg, trained = configs(work_dir, data, seed, smoke)
    arch = read_arch_file(run_search(cfg, retrain=False)['arch'])['arch']
    write_text_atomic(work_dir / 'search' / 'genotype.json', genotype_to_json(read_cell(arch)))
    model, base = MODELS.build(trained.model), {**trained.model.backbone}
    phases.begin('training')
    networks = [('searched', {**base, 'arch': dict(arch)}, work_dir / 'retrain')]
    for i, other in enumerate(similar_cells(model, tuple(trained.cost_shape), arch, count, seed), start=1):
        networks.append((f'random {i}', {**base, 'arch': dict(other)}, work_dir / f'random_{i}'))
    rows = train_rows(trained, networks)
    phases.begin('report')
    leave_report(work_dir, rows)
    phases.begin('')
    return rows, phases.seconds


def main() -> None:
    """Run the demo and print its cell and its table."""
    args = arguments(__doc__, 'demo_p3d', 'random cells')
    rows, seconds = run(args.work_dir, args.data, args.seed, args.smoke, args.random)
    print(f'\n{describe_cell(read_cell(rows[0]["arch"]))}')
    say(table(rows), args.work_dir, seconds)


if __name__ == '__main__':
    sys.exit(run_tool(main, AGAIN))
