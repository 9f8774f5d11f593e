"""Train any config with its hooks: a searched network, a baseline, or a supernet.

python tools/train.py configs/autox3d/s_k400.py --cfg-options model.backbone.arch=work_dirs/s_k200/search/arch.json
"""

import argparse
import sys

from mmengine.dist import is_main_process

from mmnas_video.command import run_tool
from mmnas_video.command_line import add_arguments, describe_plan, read_config
from mmnas_video.launch import dry_run, train
from mmnas_video.only_run import only_run


def main() -> None:
    """Train, or with ``--dry-run`` run two steps of every phase and say what the whole run costs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_arguments(parser)
    parser.add_argument('--dry-run', action='store_true', help='two steps of every phase, and what the full run costs')
    args = parser.parse_args()
    cfg = read_config(args.config, args)
    if args.dry_run:
        plan = dry_run(cfg)
        if is_main_process():
            print(f'dry run passed\nfull training: {describe_plan(plan)}')
    else:
        with only_run(cfg):
            train(cfg)


if __name__ == '__main__':
    sys.exit(run_tool(main))
