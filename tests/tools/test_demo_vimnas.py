"""The demo of images and videos together, end to end on a few clips."""

import json
import re
from pathlib import Path

import pytest

SETS = ('image', 'scene', 'motion')


@pytest.mark.slow
def test_the_demo(process, tmp_path):
    """Rejects a table of one network under several names, random networks of another cost, an evolution that ignores
    its budget, a mean that is not that of the sets, and a report without the tubes."""
    work_dir = tmp_path / 'w'
    args = ('--smoke', '--work-dir', work_dir, '--data', tmp_path / 'd', '--random', 2)
    done = process('tools/demo_vimnas.py', *args).ok()
    rows = json.loads((work_dir / 'search/table.json').read_text())['rows']
    assert [row['name'] for row in rows] == ['searched', 'evolved, half the MACs', 'random 1', 'random 2']
    searched, evolved, *others = rows
    assert len({json.dumps(row['arch'], sort_keys=True) for row in rows}) == 4
    assert evolved['macs'] <= searched['macs'] / 2
    assert all(abs(row['macs'] / searched['macs'] - 1) <= 0.03 for row in others)
    for row in rows:
        assert row['top1'] == pytest.approx(sum(row['sets'][name] for name in SETS) / 3)
        assert all(0 <= row['sets'][name] <= 1 for name in SETS)
    assert json.loads((work_dir / 'search/arch.json').read_text())['arch'] == searched['arch']
    shown = re.search(r'^searched +([\d,]+) +([\d.]+)((?: +[\d.]+){4})$', done.out, re.M)
    assert shown[1] == f'{searched["params"]:,}'
    assert shown[3].split() == [f'{100 * searched["sets"][name]:.1f}' for name in (*SETS, 'mean')]
    report = Path(re.search(r'^report: (.+)$', done.out, re.M)[1])
    assert report.is_file() and 'tube' in report.read_text()
