"""Test a config with a checkpoint; prints the metrics and writes them to WORK_DIR/test.json.

python tools/test.py configs/autox3d/s_k400.py work_dirs/s_k400/epoch_300.pth

What a search has found is tested by its WORK_DIR/search/extracted.py and extracted.pth; tools/extract.py makes the
same of a checkpoint of the search. The search's own config is refused: its network is all architectures.
"""

import argparse
import json
import sys
from pathlib import Path

from mmengine.dist import is_main_process
from mmengine.runner import Runner

from mmnas_video.building import building
from mmnas_video.command import AGAIN, run_tool
from mmnas_video.command_line import add_arguments, read_config
from mmnas_video.entangle import bare_model, find_searchable
from mmnas_video.errors import ConfigError
from mmnas_video.launch import build_runner
from mmnas_video.search import SearchHook, check_weights, read_checkpoint
from mmnas_video.space import write_text_atomic


def check_chosen(runner: Runner) -> None:
    """Refuse a search's network with choices that are open: a test would be of the largest architecture.

    Raises:
        ConfigError: a search hook in the config, and no architecture.
    """
    if not any(isinstance(hook, SearchHook) for hook in runner.hooks):
        return
    name, searchable = find_searchable(bare_model(runner.model))
    if searchable.space.open:
        raise ConfigError(
            f'model.{name}: found a search with {len(searchable.space.open)} open choices, expected one network. Test '
            'what the search has found, WORK_DIR/search/extracted.py with extracted.pth beside it, or what '
            'python tools/extract.py CONFIG CHECKPOINT makes of this checkpoint'
        )


def main() -> None:
    """Load the weights and run the config's test loop."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_arguments(parser, trains=False)
    parser.add_argument('checkpoint', help='weights (.pth)')
    args = parser.parse_args()
    cfg = read_config(args.config, args)
    cfg.load_from, cfg.resume = args.checkpoint, False
    data = read_checkpoint(args.checkpoint)
    with building(cfg) as first_step:
        runner = build_runner(cfg)
        runner.register_hook(first_step)
        check_chosen(runner)
        check_weights(bare_model(runner.model), data, args.checkpoint)
        metrics = runner.test()
    if not is_main_process():
        return  # the first speaks for all
    text = json.dumps({k: float(v) for k, v in metrics.items()}, indent=1) + '\n'
    write_text_atomic(Path(cfg.work_dir) / 'test.json', text)
    print(text)


if __name__ == '__main__':
    sys.exit(run_tool(main, AGAIN))
