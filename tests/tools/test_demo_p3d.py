"""The demo of the cell space, end to end on a few clips."""

import json
import re
from pathlib import Path

import pytest

from mmnas_video.space import KEPT_INPUTS, cell_space, read_cell, read_genotype


@pytest.mark.slow
def test_the_demo(process, tmp_path):
    """Rejects random cells of another size or with other numbers of inputs than the searched one, one that is trained
    twice, a table of the search network in the place of the trained one, and a report without the cells."""
    work_dir = tmp_path / 'w'
    done = process('tools/demo_p3d.py', '--smoke', '--work-dir', work_dir, '--data', tmp_path / 'd', '--random', 2).ok()
    rows = json.loads((work_dir / 'search/table.json').read_text())['rows']
    assert [row['name'] for row in rows] == ['searched', 'random 1', 'random 2']
    assert all(abs(row['params'] / rows[0]['params'] - 1) <= 0.06 for row in rows)  # 5 % of the backbone's
    cells = [read_cell(row['arch']) for row in rows]
    assert len(set(cells)) == 3 and all(row['arch'] in cell_space(2) for row in rows)
    assert all(len(pairs) == KEPT_INPUTS for cell in cells for pairs in cell.nodes)
    assert read_genotype(work_dir / 'search/genotype.json') == cells[0]
    found = json.loads((work_dir / 'search/arch.json').read_text())
    assert found['arch'] == rows[0]['arch'] and found['cost']['params'] < rows[0]['params'], 'a network of more cells'
    shown = re.search(r'^searched +([\d,]+) +([\d.]+) +([\d.]+)$', done.out, re.M)
    assert shown[1] == f'{rows[0]["params"]:,}' and shown[3] == f'{100 * rows[0]["top1"]:.1f}'
    assert 'Node 1 = ' in done.out and all(phase in done.out for phase in ('search ', 'training ', 'report '))
    report = Path(re.search(r'^report: (.+)$', done.out, re.M)[1]).read_text()
    assert report.count('C{t-2}') >= 3 and (work_dir / 'search/figures/arch_2.svg').is_file()
