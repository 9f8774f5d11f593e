"""Run by test_ranks.py in one or two processes: a short search, whose end is written to a file per rank."""

import json
import os
import sys

import torch

from mmnas_video import compat
from mmnas_video.launch import build_runner

from .test_conflict import settled
from .toy import config, loader


def main(work_dir: str, method: str, batch: int) -> None:
    hook = {
        'PARSECSearchHook': dict(num_archs=3),
        'UniformSearchHook': dict(num_archs=2, candidates=2, score_batches=1),
        'ConflictAwareSearchHook': dict(candidates=2, score_batches=1),
        'EntanglementSearchHook': dict(distribution_gap=0.7, selection='argmax', score_batches=1, init_std=0.5),
        'DARTSSearchHook': dict(order=2, score_batches=1, init_std=0.5, budget=dict(macs=40)),
    }
    local = dict(groups=2, names='weight') if method == 'EntanglementSearchHook' else None
    model = dict(type='ToyRecognizer', backbone=dict(type='ToyBackbone', norm=False, local_weights=local))
    cfg = config(
        dict(type=method, calibration_clips=0, arch_dataloader=loader(1, batch, sampler=False), **hook[method]),
        epochs=2,
        work_dir=work_dir,
        model=model,
        train_dataloader=loader(0, batch),
        # With momentum and decay, so that a virtual step has them too.
        optim_wrapper=dict(
            type='OptimWrapper', optimizer=dict(type='SGD', lr=0.1, momentum=0.9 * (method == 'DARTSSearchHook'))
        ),
    )
    weights = settled() if method == 'ConflictAwareSearchHook' else {}  # else no gradients would be in conflict
    cfg.launcher = 'pytorch' if 'RANK' in os.environ else 'none'
    runner = build_runner(cfg)
    counts, conflicts = [], []
    bare = runner.model.module if cfg.launcher != 'none' else runner.model
    bare.load_state_dict(weights, strict=bool(weights))
    backbone = bare.backbone
    search = next(h for h in runner.hooks if type(h).__name__ == method)
    step = search.step

    def counted(*args):
        before = backbone.forwards
        out = step(*args)
        counts.append(backbone.forwards - before)
        conflicts.append(float(out.get('conflict', 0)))
        return out

    search.step = counted
    runner.train()
    alpha = search.distribution.alpha.tolist() if hasattr(search, 'distribution') else None
    rank = os.environ.get('RANK', '0')
    with open(os.path.join(work_dir, f'rank{rank}.json'), 'w') as file:
        json.dump(
            {
                'forwards': counts,
                'conflicts': conflicts,
                'alpha': alpha,
                'weight': backbone.weight.tolist(),
                'local': [p.flatten().tolist() for p in backbone.local_weights.parameters()] if local else [],
                'arch': dict(search.chosen),
            },
            file,
        )


if __name__ == '__main__':
    torch.set_num_threads(1)
    compat.apply()
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
