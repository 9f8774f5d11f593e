"""Search an architecture; then extract it and, if the config names how, retrain and test it.

    python tools/search.py configs/autox3d/s_k200.py

Leaves in WORK_DIR/search: arch.json (the found architecture), history.jsonl, space.json, report.html, and the found
network with inherited weights (extracted.py, extracted.pth). A config with stages is searched stage by stage, each in
WORK_DIR/<number>_<name>; stages.json in WORK_DIR/search then says what each ended with. A killed search goes on with
--resume, in the stage that it was in, and ends as if it had never stopped.
"""

import argparse
import sys

from mmengine.dist import is_main_process

from mmnas_video.command import run_tool
from mmnas_video.command_line import add_arguments, describe_plan, read_config
from mmnas_video.only_run import only_run
from mmnas_video.pipeline import dry_search, run_search
from mmnas_video.search import stage_table, use_checkpoint


def main() -> None:
    """Train the supernet, select, extract, retrain, test."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_arguments(parser)
    parser.add_argument('--checkpoint', help='of the supernet, where the search only evolves what is trained (.pth)')
    parser.add_argument('--dry-run', action='store_true', help='two steps of every phase, and what the full run costs')
    parser.add_argument(
        '--no-retrain', action='store_true', help='stop after extraction even if the config names a retrain'
    )
    args = parser.parse_args()
    cfg = read_config(args.config, args)
    if args.checkpoint:
        use_checkpoint(cfg, args.checkpoint)
    if args.dry_run:
        plans = dry_search(cfg, retrain=not args.no_retrain)
        if is_main_process():
            print('dry run passed')
            print(*(f'full {phase}: {describe_plan(plan)}' for phase, plan in plans.items()), sep='\n')
        return
    with only_run(cfg):
        found = run_search(cfg, retrain=not args.no_retrain)
    if not is_main_process():
        return  # the first speaks for all
    if stages := found.pop('stages', None):
        print('\n'.join(stage_table(stages)))
    for what, where in found.items():
        print(f'{what}: {where}')


if __name__ == '__main__':
    sys.exit(run_tool(main))
