"""Run by test_joint_ranks.py in one or two processes: an epoch of joint training, then validation; what came out is
written to a file per rank."""

import json
import os
import sys

import torch

from mmnas_video import compat
from mmnas_video.launch import build_runner

from . import joint


def main(work_dir: str, root: str, ranks: int, find_unused: bool) -> None:
    cfg = joint.run_config(work_dir, root)
    cfg.model = joint.model()
    cfg.model['backbone']['drop'] = 0.0
    cfg.train_cfg = dict(by_epoch=True, max_epochs=1)
    cfg.train_dataloader.update(
        batch_size=6 // ranks,
        batch_sampler=dict(type='JointBatchSampler', batch_sizes=dict(image=4 // ranks, scene=6 // ranks)),
    )
    cfg.val_dataloader = dict(
        dataset=dict(
            type='JointDataset', datasets=joint.parts(root, 'val'), seed=5, config_key='val_dataloader.dataset'
        ),
        sampler=dict(type='SeededSampler', shuffle=False),
        batch_sampler=dict(type='TaskByTaskBatchSampler'),
        collate_fn=dict(type='skip_bad_collate'),
        batch_size=2,
        num_workers=0,
    )
    cfg.val_cfg, cfg.val_evaluator = {}, dict(type='JointAccMetric', topk=(1, 2))
    cfg.find_unused_parameters = find_unused
    cfg.launcher = 'pytorch' if 'RANK' in os.environ else 'none'
    runner = build_runner(cfg)
    metrics = {}
    next(h for h in runner.hooks if isinstance(h, joint.NoteHook)).after_val_epoch = lambda runner, metrics=None: (
        found.update(metrics)
    )
    found = metrics
    runner.train()
    weights = {name.removeprefix('module.'): value.tolist() for name, value in runner.model.state_dict().items()}
    with open(os.path.join(work_dir, f'rank{os.environ.get("RANK", 0)}.json'), 'w') as file:
        json.dump({'weights': weights, 'seen': joint.noted(runner), 'metrics': metrics}, file)


if __name__ == '__main__':
    torch.set_num_threads(1)
    compat.apply()
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4] == 'True')
