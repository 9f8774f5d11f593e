"""The demo of two streams, end to end on a few clips."""

import json
import re
from pathlib import Path

import pytest


@pytest.mark.slow
def test_the_demo(process, tmp_path):
    """Rejects a network made by hand at another cost, one of its streams missing, stages that are not run, a table that
    is not the file's, and a report without the stages."""
    work_dir = tmp_path / 'w'
    done = process('tools/demo_tsnet.py', '--smoke', '--work-dir', work_dir, '--data', tmp_path / 'd').ok()
    found, by_hand = json.loads((work_dir / 'search/table.json').read_text())['rows']
    assert (found['name'], by_hand['name']) == ('searched', 'two streams by hand')
    assert abs(by_hand['macs'] / found['macs'] - 1) <= 0.05 and by_hand['params'] != found['params']
    assert {name.split('.')[0] for name in found['arch']} == {'sparse', 'dense', 'fusion'}
    stages = json.loads((work_dir / 'search/stages.json').read_text())
    assert len(stages['stages'] if isinstance(stages, dict) else stages) == 3
    for row in (found, by_hand):
        shown = re.search(rf'^{row["name"]} +([\d,]+) +([\d.]+) +([\d.]+)$', done.out, re.M)
        assert shown[1] == f'{row["params"]:,}' and shown[3] == f'{100 * row["top1"]:.1f}'
    assert all(phase in done.out for phase in ('data ', 'search ', 'training ', 'report '))
    report = Path(re.search(r'^report: (.+)$', done.out, re.M)[1]).read_text()
    assert '<svg' in report and 'two streams by hand' in report
