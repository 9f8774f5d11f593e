"""tools/latency.py: a table of this machine, that a killed measurement goes on with, and that says what it is worth."""

import json
import re

import pytest

from tools.latency import meets

CONFIG = 'configs/demo/p3d_darts.py'
#: Small and few: what is measured here is not looked at.
TINY = ['--shape', 3, 2, 16, 16, '--networks', 8, '--repeats', 1]


@pytest.mark.parametrize(('tau', 'error', 'enough'), [(0.9, 0.1, True), (0.89, 0.1, False), (0.9, 0.11, False)])
def test_a_table_has_to_rank_and_to_predict(tau, error, enough):
    """Rejects one of the two for both."""
    assert meets({'tau': tau, 'mean_error': error}) is enough


@pytest.fixture(scope='module')
def measured(tool, tmp_path_factory):
    """A measurement with its check: its file, content and output."""
    file = tmp_path_factory.mktemp('latency') / 'table.json'
    done = tool('tools/latency.py', CONFIG, *TINY, '--out', file, '--check', 4).ok()
    return file, json.loads(file.read_text()), done.out


def test_a_table_says_what_it_is_of(measured):
    """Rejects a table without its machine and setting, times that do not add up, and a check that prints no
    figures."""
    _, data, out = measured
    assert data['setting'] | {'machine': ''} == {
        'device': 'cpu', 'dtype': 'fp32', 'batch': 1, 'threads': 1, 'machine': '',
    }  # fmt: skip
    assert data['setting']['machine'] and data['versions']['torch'] and data['shape'] == [3, 2, 16, 16]
    assert len(data['measured']) == 8 and len({tuple(m['arch']) for m in data['measured']}) == 8
    assert all(0 < sum(m['blocks']) < m['ms'] for m in data['measured'])
    assert all(min(row['ms']) >= 0 and row['samples'] for row in data['rates'].values())
    assert re.search(r'Kendall tau -?[\d.]+, mean error [\d.]+% .* over 4 random architectures', out)
    assert re.search(r'measured again, the same networks agree with themselves to tau -?[\d.]+ and [\d.]+%', out)
    assert 'table: 8/8 networks' in out and 's left' in out


def test_a_killed_measurement_goes_on(measured, tool, tmp_path):
    """Rejects a start from the beginning, and rates of the networks before the kill only."""
    _, data, _ = measured
    file = tmp_path / 'table.json'
    begun = {**data, 'measured': data['measured'][:4]}
    del begun['rates']
    file.write_text(json.dumps(begun))
    done = tool('tools/latency.py', CONFIG, *TINY, '--out', file).ok()
    found = json.loads(file.read_text())
    assert found['measured'][:4] == data['measured'][:4] and 'table: 4/8' not in done.out
    assert [m['arch'] for m in found['measured']] == [m['arch'] for m in data['measured']]
    assert sum(row['samples'] for row in found['rates'].values()) == sum(
        len(m['blocks']) + 1 for m in found['measured']
    )


def test_a_table_of_another_setting_is_refused(measured, tool):
    """Rejects a table that mixes two batch sizes, spaces or machines."""
    file, data, _ = measured
    text = file.read_text()
    tool('tools/latency.py', CONFIG, *TINY, '--out', file, '--batch', 2).refused('setting: batch', 'found 1')
    tool('tools/latency.py', 'configs/demo/autox3d.py', *TINY, '--out', file).refused('space', 'autox3d-demo')
    other = {**data, 'setting': {**data['setting'], 'machine': 'another'}}
    file.write_text(json.dumps(other))
    tool('tools/latency.py', CONFIG, *TINY, '--out', file).refused('machine', "'another'")
    file.write_text(text)


def test_what_cannot_be_measured(tool, tmp_path):
    """Rejects a measurement that starts without a device, on a network without choices, or on nothing."""
    tool('tools/latency.py', CONFIG, '--device', 'tpu').refused('--device', "'tpu'")
    tool('tools/latency.py', CONFIG, '--batch', 0).refused('--batch')
    tool('tools/latency.py', CONFIG, '--networks', 2).refused('--networks')
    pinned = 'configs/p3d/train_ucf101_example.py'
    tool('tools/latency.py', pinned, '--out', tmp_path / 't.json').refused('nothing to choose')
