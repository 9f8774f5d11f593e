"""Parameters and multiply-adds of a config's network, exact and without a forward pass.

    python tools/cost.py configs/autox3d/x3d_s.py
    python tools/cost.py configs/autox3d/s_k200.py --arch work_dirs/s_k200/search/arch.json --shape 3 13 160 160 --json

For a supernet also the size of the space and its cheapest and dearest architectures.
"""

import argparse
import json
import sys
from typing import Any

from mmengine.config import Config

from mmnas_video.building import building
from mmnas_video.command import AGAIN, run_tool
from mmnas_video.command_line import add_cfg_options
from mmnas_video.cost import RestCost
from mmnas_video.entangle import find_searchable
from mmnas_video.errors import ConfigError
from mmnas_video.launch import load_config
from mmnas_video.registry import MODELS
from mmnas_video.search import fit_readers


def cost_of(cfg: Config, arch_file: str | None, shape: tuple[int, ...] | None) -> dict[str, Any]:
    """What the tool prints, as data."""
    shape = tuple(shape or cfg.get('cost_shape') or ())
    if not shape:
        raise ConfigError(
            '--shape: found none, and no cost_shape in the config; expected C T H W, such as 3 13 160 160'
        )
    fit_readers(cfg)
    model = MODELS.build(cfg.model)
    _, searchable = find_searchable(model)
    rest, space = RestCost(model, searchable, shape), searchable.space
    found: dict[str, Any] = {'shape': list(shape), 'space': {**space.identity, 'size': space.size}}
    if arch_file or not space.open:
        arch = space.read(arch_file, '--arch') if arch_file else space.smallest
        return {**(searchable.cost(arch, shape) + rest(arch))._asdict(), **found}
    for quantity, ends in searchable.cost_range(shape).items():
        for name, (_, arch) in zip(('cheapest', 'dearest'), ends, strict=True):
            if quantity == 'macs':
                found[name] = {**(searchable.cost(arch, shape) + rest(arch))._asdict(), 'arch': dict(arch)}
    return found


def main() -> None:
    """Print the cost as text or JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', help='config file (.py)')
    parser.add_argument('--arch', help='arch.json; without it a supernet shows its range')
    parser.add_argument(
        '--shape', type=int, nargs=4, metavar=('C', 'T', 'H', 'W'), help='one clip (default: cost_shape)'
    )
    parser.add_argument('--json', action='store_true', help='print JSON: params, macs, shape, space')
    add_cfg_options(parser, 'model.backbone.sharing=prefix')
    args = parser.parse_args()
    cfg = load_config(args.config, args.cfg_options)
    with building(cfg):
        found = cost_of(cfg, args.arch, args.shape)
    if args.json:
        print(json.dumps(found))
        return
    print(f'clip        {" x ".join(map(str, found["shape"]))} (C x T x H x W)')
    if 'macs' in found:
        print(f'params      {found["params"]:,}\nMACs        {found["macs"]:,}')
        return
    print(f'space       {found["space"]["name"]}, {found["space"]["size"]:.4g} architectures')
    for name in ('cheapest', 'dearest'):
        print(f'{name:<12}{found[name]["macs"]:,} MACs, {found[name]["params"]:,} params')


if __name__ == '__main__':
    sys.exit(run_tool(main, AGAIN))
