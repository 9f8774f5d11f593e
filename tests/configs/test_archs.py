"""docs/archs.md: published architectures build, and cost what the table says, by two counts, and what papers say."""

import json
import re
from pathlib import Path
from typing import NamedTuple

import pytest
import torch

from mmnas_video.cost import Cost, count
from mmnas_video.entangle import find_searchable
from mmnas_video.space import read_arch_file
from tests.models.test_vit_published import AUTOFORMER, subnet

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / 'docs' / 'archs.md').read_text(encoding='utf-8')


class Row(NamedTuple):
    """A line of the table."""

    network: str
    config: str
    arch: str
    shape: tuple[int, ...]
    params: int
    macs: int
    published: str


def read_row(line):
    """The cells of a line, as what they mean."""
    network, config, arch, clip, params, macs, published = (cell.strip().strip('`') for cell in line.split('|')[1:-1])
    shape = tuple(int(n) for n in clip.split(' × '))
    return Row(network, config, arch, shape, *(int(n.replace(',', '')) for n in (params, macs)), published)


ROWS = {row.network: row for row in map(read_row, (line for line in TEXT.split('\n') if '.json` |' in line))}
#: One of each kind of network that torch counts too, which takes its time.
COUNTED = ('X3D-S', 'Manual-TSNet-85 %', 'AutoFormer-T', 'TubeViT-B')
#: What others count, as they do: params, MACs (X3D by MMAction2's networks; millions and G of the rest, as printed).
EXACT = {
    'X3D-S': (3_794_322, 1_962_892_112),
    'X3D-M': (3_794_322, 4_732_468_736),
    'X3D-L': (6_153_432, 18_367_710_176),
}


@pytest.mark.parametrize('row', ROWS.values(), ids=ROWS)
def test_a_published_arch_builds_and_costs_what_the_table_says(row, load, build):
    """Rejects an arch file of another space than its config's, a network pinned to another architecture than the
    file's, and figures of another head, clip or depth: by the closed form, and by torch's count of the network."""
    cfg = load(row.config.removeprefix('configs/'))
    cfg.model.backbone.arch = str(ROOT / row.arch)
    model = build(cfg)
    _, searchable = find_searchable(model)
    values = read_arch_file(ROOT / row.arch)['arch']
    assert not searchable.space.open and {**searchable.arch, **values} == searchable.arch
    linears = [m for m in model.cls_head.modules() if isinstance(m, torch.nn.Linear)]
    head = Cost(sum(m.weight.numel() for m in linears), sum(p.numel() for p in model.cls_head.parameters()))
    assert searchable.cost(searchable.arch, row.shape) + head == (row.macs, row.params)
    if row.network in COUNTED:
        clip = torch.zeros(1, 1, *row.shape, device='meta')
        counted, _ = count(model, clip, forward=lambda twin, x: twin(x, mode='tensor', stage='head'))
        assert counted == (row.macs, row.params)
    if row.network != 'X3D-XS':  # which is X3D-S on fewer frames
        assert row.shape == (*cfg.cost_shape,)


@pytest.mark.parametrize('network', ['X3D-XS', *EXACT, 'Manual-TSNet-70 %'])
def test_costs_are_those_of_the_sources(network):
    """Rejects a table that agrees with our networks only: X3D's figures are MMAction2's to the last digit (of XS those
    that pytorchvideo prints), those of Manual-TSNet-70 % the paper's within 2 %."""
    row = ROWS[network]
    if network in EXACT:
        assert (row.params, row.macs) == EXACT[network]
    printed = [float(number) for number in re.findall(r'([\d.]+) [MG]', row.published)]
    near = 0.02 if 'TSNet' in network else 2e-3
    assert [row.params / 1e6, row.macs / 1e9] == pytest.approx(printed, rel=near)


@pytest.mark.parametrize('size', AUTOFORMER)
def test_autoformers_subnets_are_the_published_ones(size):
    """Rejects a file with a layer of another subnet: that test shows these to be AutoFormer's, to the parameter."""
    row = ROWS[f'AutoFormer-{size[0].upper()}']
    values = read_arch_file(ROOT / row.arch)['arch']
    expected, heads = subnet(size)
    assert {**values, **expected} == values and values['depth'] == len(heads)
    params, macs = AUTOFORMER[size][3:]
    assert row.published == f'{params / 1e6:.2f} M, {macs:.3f} G'


def test_every_arch_file_stands_in_the_document():
    """Rejects an arch that is shipped and nowhere said what it is."""
    files = {str(path.relative_to(ROOT)) for path in ROOT.glob('configs/*/archs/*.json')}
    named = {row.arch for row in ROWS.values()}
    assert named <= files
    patterns = [re.escape(p).replace(r'\*', r'\w*') for p in re.findall(r'`(configs/\S+?\.json)`', TEXT)]
    assert not [file for file in files if not any(re.fullmatch(p, file) for p in patterns)]
    for file in named:
        assert json.loads((ROOT / file).read_text())['source']
