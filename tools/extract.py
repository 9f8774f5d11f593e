"""Turn a search's checkpoint and an arch.json into a network of its own: a config and weights.

    python tools/extract.py configs/autox3d/s_k200.py work_dirs/s_k200/epoch_600.pth --arch
    work_dirs/s_k200/search/arch.json

The config trains and tests with our tools and with MMAction2's own. BatchNorm statistics are recomputed on training
clips unless --calibration-clips 0 is given; the outputs then are exactly those of the supernet at this architecture.
"""

import argparse
import sys
from pathlib import Path

from mmengine.logging import MMLogger

from mmnas_video.entangle import find_searchable
from mmnas_video.launch import add_arguments, read_config, run_tool
from mmnas_video.search import Calibration, extract_model, load_supernet, save_extracted


def main() -> None:
    """Load, slice, recalibrate, save."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_arguments(parser)
    parser.add_argument('checkpoint', help='a checkpoint of the search (.pth)')
    parser.add_argument('--arch', required=True, help='arch.json')
    parser.add_argument('--out', type=Path, help='folder (default: next to arch.json)')
    parser.add_argument(
        '--calibration-clips', type=int, default=64, help='training clips for BatchNorm (default: 64; 0: none)'
    )
    args = parser.parse_args()
    cfg = read_config(args.config, args)
    model = load_supernet(cfg, args.checkpoint)
    arch = find_searchable(model)[1].space.read(args.arch, '--arch')
    pinned, pinned_cfg = extract_model(cfg, model, arch)
    seed = (cfg.get('randomness') or {}).get('seed') or 0
    if args.calibration_clips:
        Calibration(pinned, cfg.train_dataloader, args.calibration_clips, seed, MMLogger.get_current_instance()).run()
    folder = args.out or Path(args.arch).parent
    for path in save_extracted(folder, pinned, pinned_cfg, {'arch': dict(arch), 'config': args.config}):
        print(path)


if __name__ == '__main__':
    sys.exit(run_tool(main))
