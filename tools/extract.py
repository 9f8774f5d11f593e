"""Turn a search's checkpoint and an arch.json into a network of its own: a config and weights, and files to deploy.

    python tools/extract.py configs/autox3d/s_k200.py work_dirs/s_k200/epoch_600.pth --arch
    work_dirs/s_k200/search/arch.json
    python tools/extract.py configs/autox3d/s_k400.py work_dirs/s_k400/epoch_300.pth --onnx autox3d_s.onnx

extracted.py trains and tests with our tools and with MMAction2's own; with inference.py, MMAction2's
inference_recognizer and its inferencer run the network on a video. Of a supernet, BatchNorm statistics are recomputed
on training clips unless --calibration-clips 0 is given; the outputs then are exactly those of the supernet at this
architecture. A config that pins its architecture (a retraining's) needs no --arch, and its statistics stay.

--onnx and --export write the network for onnxruntime and for torch.export.load: normalised clips (B, C, T, H, W) to
logits, checked against PyTorch on other clips and batch sizes. Mean, standard deviation and architecture stand in the
file.
"""

import argparse
import sys
from pathlib import Path

from mmengine.config import Config
from mmengine.logging import MMLogger

from mmnas_video.building import building
from mmnas_video.command import AGAIN, run_tool
from mmnas_video.command_line import add_arguments, check_work_dir, read_config
from mmnas_video.entangle import find_searchable
from mmnas_video.errors import ConfigError, check_number
from mmnas_video.export import check_packages, export_files
from mmnas_video.search import Calibration, extract_model, fit_readers, load_supernet, save_extracted


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_arguments(parser, runs=False)
    parser.add_argument('checkpoint', help='a checkpoint of the search, or of the network that the config pins (.pth)')
    parser.add_argument('--arch', help='arch.json (default: what the config pins)')
    parser.add_argument('--out', type=Path, help='folder (default: next to arch.json, or to the checkpoint)')
    parser.add_argument(
        '--calibration-clips', type=int, default=64, help='training clips for BatchNorm (default: 64; 0: none)'
    )
    parser.add_argument('--onnx', type=Path, metavar='FILE', help='write an ONNX model too (.onnx)')
    parser.add_argument('--export', type=Path, metavar='FILE', help='write a torch.export program too (.pt2)')
    parser.add_argument(
        '--shape', type=int, nargs=4, metavar=('C', 'T', 'H', 'W'), help='clip of these (default: cost_shape)'
    )
    return parser.parse_args()


def check_arguments(args: argparse.Namespace, shape: tuple[int, ...]) -> None:
    """Refuse what would end the tool after its work.

    Raises:
        ConfigError: a number out of its range, a file or folder that cannot be written, or no shape for a file.
    """
    check_number('--calibration-clips', args.calibration_clips)
    for size in args.shape or ():
        check_number('--shape', size, 1)
    if args.out:
        check_work_dir(args.out, '--out')
    for key, file in (('--onnx', args.onnx), ('--export', args.export)):
        if file and file.is_dir():
            raise ConfigError(f'{key}: found the folder {str(file)!r}, expected a file')
        if file:
            check_work_dir(file.parent, key)
    if args.onnx:
        check_packages()
    if (args.onnx or args.export) and not shape:
        raise ConfigError('--shape: found none, and no cost_shape in the config; expected C T H W of a clip')


def main() -> None:
    """Load, slice, recalibrate, save, export."""
    args = arguments()
    cfg = read_config(args.config, args)
    shape = tuple(args.shape or cfg.get('cost_shape') or ())
    check_arguments(args, shape)
    with building(cfg):
        extract(args, cfg, shape)


def extract(args: argparse.Namespace, cfg: Config, shape: tuple[int, ...]) -> None:
    """Write what was asked for, and print where."""
    fit_readers(cfg)
    model = load_supernet(cfg, args.checkpoint)
    space = find_searchable(model)[1].space
    if not args.arch and space.open:
        raise ConfigError('--arch: found none for a supernet, expected an arch.json such as WORK_DIR/search/arch.json')
    arch = space.read(args.arch, '--arch') if args.arch else space.smallest
    pinned, pinned_cfg = extract_model(cfg, model, arch)
    seed = (cfg.get('randomness') or {}).get('seed') or 0
    if args.calibration_clips and space.open:
        Calibration(pinned, cfg, args.calibration_clips, seed, MMLogger.get_current_instance()).run()
    folder = args.out or Path(args.arch or args.checkpoint).parent
    for path in save_extracted(folder, pinned, pinned_cfg, {'arch': dict(arch), 'config': args.config}):
        print(path)
    if args.onnx or args.export:
        files = {'onnx': args.onnx, 'program': args.export}
        for path, error in export_files(pinned, shape, files).items():
            print(f'{path} (differs from PyTorch by at most {error:.1e} of the largest score)')


if __name__ == '__main__':
    sys.exit(run_tool(main, AGAIN))
