"""Run by test_stages_ranks.py in one or two processes: a search in two stages, whose end is written per rank."""

import json
import os
import sys
from pathlib import Path

import torch

from mmnas_video import compat
from mmnas_video.pipeline import run_search

from .toy import config, loader


def main(work_dir: str, batch: int) -> None:
    hook = dict(
        type='PARSECSearchHook', num_archs=3, calibration_clips=0, arch_dataloader=loader(1, batch, sampler=False)
    )
    cfg = config(
        hook,
        work_dir=work_dir,
        model=dict(type='ToyRecognizer', backbone=dict(type='ToyBackbone', norm=False)),
        train_dataloader=loader(0, batch),
        stages=[dict(name='scale', opens=['scale'], fixes={'width': 3}), dict(name='width', opens=['width'])],
    )
    cfg.launcher = 'pytorch' if 'RANK' in os.environ else 'none'
    found = run_search(cfg)
    weights = torch.load(Path(work_dir) / '2_width/weights.pth', weights_only=True)['state_dict']
    rank = os.environ.get('RANK', '0')
    Path(work_dir, f'rank{rank}.json').write_text(
        json.dumps({'stages': found['stages'], 'weight': weights['backbone.weight'].tolist()})
    )


if __name__ == '__main__':
    torch.set_num_threads(1)
    compat.apply()
    main(sys.argv[1], int(sys.argv[2]))
