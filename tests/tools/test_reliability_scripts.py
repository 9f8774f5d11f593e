"""The campaign of kills, the mutated files and what is measured over days, in short: the scripts say how many, these
that all of them pass."""

import json
import os
import random
import re
import runpy
import signal
import time

import pytest
import torch
from mmengine.config import Config

from mmnas_video.search.preemption import Preemption

from .conftest import ROOT, SEARCH

SCRIPTS = 'tools/benchmarks'


@pytest.mark.slow
@pytest.mark.parametrize(('method', 'kills', 'terms'), [('parsec', 4, 1), ('entanglement', 2, 0)])
def test_a_search_survives_its_kills(method, kills, terms, tool):
    """A search on vectors: killed at a random moment, with half a file written, one rank of two (from the fourth kill
    on); told to end. Rejects whatever makes a resumed search another one; what it is, the script names."""
    counts = ('--kills', kills, '--terms', terms)
    done = tool(f'{SCRIPTS}/kill_campaign.py', '--data', 'toy', '--methods', method, *counts)
    assert f'survived {kills + terms} of {kills + terms}' in done.ok().out, done.out


@pytest.mark.slow
def test_a_worker_that_decodes_is_measured(tool, tmp_path):
    """Rejects a script that has fallen behind the library, and a bound that so short a run can break."""
    table = tmp_path / 'table.json'
    done = tool(f'{SCRIPTS}/decode_memory.py', '--decodes', 3, 7, '--json', table).ok()
    assert 'does not count: 3 decodes' in done.out
    row = json.loads(table.read_text())['rows'][0]
    assert row[0] == 'Decord' and all(float(value) > 50 for value in row[1:3])


def test_a_long_search_is_measured(tool):
    """As above; a row for each tenth."""
    done = tool(f'{SCRIPTS}/long_run.py', '--method', 'uniform', '--steps', 20).ok()
    assert len(re.findall(r'^\| \d+ \|', done.out, re.M)) == 10
    assert 'does not count: 20 steps' in done.out


@pytest.mark.slow
def test_a_plan_is_held_against_its_run(tool, tiny):
    """As above; the steps are exact in a short run too."""
    options = [*tiny(epochs=2), *SEARCH]
    done = tool(f'{SCRIPTS}/plan_check.py', '--measured-epochs', 1, '--cfg-options', *options).ok()
    assert '| steps | 8 | 8 | 1.000 |' in done.out and 'within the bounds: steps' in done.out  # 18 clips, 4 a step
    assert 'does not count: 8 steps' in done.out


@pytest.mark.slow
def test_an_evolution_is_timed(tool, videos):
    """As above; with one process, because starting two takes longer than all the rest."""
    hook = dict(population=3, top_k=2, eval_batches=1, calibration_clips=4)
    options = [f'custom_hooks.0.{key}={value}' for key, value in hook.items()]
    options += ['custom_hooks.0.arch_dataloader.batch_size=4', 'train_dataloader.batch_size=4']
    few = ('--ranks', 1, '--generations', 2, '--rounds', 1)
    done = tool(f'{SCRIPTS}/evolution_ranks.py', *few, '--data', f'{videos}/', '--cfg-options', *options).ok()
    assert 'same history: True' in done.out and re.search(r'^\| 1 \| [\d.]+ \| 1.00 \|', done.out, re.M)


@pytest.mark.parametrize(
    ('found', 'size', 'status', 'words'),
    [
        (1.05, 1000, 0, 'within the bounds: memory'),
        (1.06, 1000, 1, 'out of bounds: memory 1.060, expected 0.8 to 1.05'),
        (0.7, 1001, 1, 'out of bounds: memory 0.700'),
        (float('nan'), 1000, 1, 'out of bounds'),
        (1.06, 999, 0, '(does not count: 999 steps, bounds count from 1,000)'),
    ],
)
def test_a_bound_that_is_broken_is_a_status(found, size, status, words, capsys):
    """Rejects a benchmark that prints its failure and ends well."""
    verdict = runpy.run_path(f'{ROOT}/{SCRIPTS}/common.py')['verdict']
    assert verdict({'memory': (0.8, found, 1.05)}, size, 1000, 'steps') == status
    assert words in capsys.readouterr().out


@pytest.mark.slow
def test_mutated_files_are_taken_or_refused(tool):
    """Rejects a TypeError, KeyError or hang for a file or config that someone has mangled."""
    done = tool(f'{SCRIPTS}/fuzz.py', '--archs', 300, '--configs', 120)
    assert done.code == 0, done.out[-3000:]
    assert re.search(r'arch files \| 300 \| 0', done.out) and re.search(r'configs \| 120 \| 0', done.out)


@pytest.fixture
def campaign(monkeypatch):
    """The names of the script of kills."""
    monkeypatch.syspath_prepend(f'{ROOT}/{SCRIPTS}')
    return runpy.run_path(f'{ROOT}/{SCRIPTS}/kill_campaign.py')


@pytest.mark.parametrize('kind', ['moment', 'writing', 'term', 'term rank'])
@pytest.mark.parametrize('status', [0, 1])
def test_a_run_that_fails_by_itself_has_not_survived(campaign, kind, status, monkeypatch):
    """Rejects a campaign that takes a run that broke down for one that ended before its kill, and tries another."""
    interrupted = campaign['interrupted']

    def start(*args, **options):
        child = os.fork()
        if not child:
            os._exit(status)
        return child

    monkeypatch.setitem(interrupted.__globals__, 'start', start)
    whole = campaign['Whole'](None, 60.0, 5)
    killed, _, failed = interrupted(None, None, kind, whole, random.Random(0))
    assert (killed, failed) == ((False, '') if status == 0 else (True, 'run ended with 1'))


@pytest.mark.parametrize('ends', [143, 3])
def test_a_run_that_is_told_to_end_says_so(campaign, ends, monkeypatch):
    """Rejects a campaign to which any end after a SIGTERM is one: 143 is what is promised."""
    interrupted = campaign['interrupted']
    read, write = os.pipe()

    def start(*args, **options):
        child = os.fork()
        if not child:
            signal.signal(signal.SIGTERM, lambda *_: os._exit(ends))
            os.write(write, b'!')
            time.sleep(60)
            os._exit(0)
        os.read(read, 1)
        return child

    monkeypatch.setitem(interrupted.__globals__, 'start', start)
    killed, _, failed = interrupted(None, None, 'term', campaign['Whole'](None, 0.01, 5), random.Random(0))
    assert (killed, failed) == (True, '' if ends == 143 else 'run ended with 3')


def test_a_signal_that_is_lost_is_counted(campaign, tmp_path, monkeypatch):
    """Rejects a campaign that takes a run which was told to end, and went on, for one that had ended before."""
    told = Preemption(None)
    monkeypatch.setattr(Preemption, '_receive', lambda self, *args: None)
    for heard in (True, False):
        run = (lambda *args, **options: told._receive(15, None)) if heard else (lambda *args, **options: None)
        monkeypatch.setitem(campaign['start'].__globals__, 'run_search', run)
        child = campaign['start'](Config(), tmp_path / 'run', False)
        assert campaign['wait'](child, 60.0) == (campaign['LOST'] if heard else 0)


def test_a_number_that_is_none_differs(campaign):
    """Rejects a comparison that takes NaN for the zero it replaces it by."""
    nan, zero = torch.tensor([2.0, float('nan')]), torch.tensor([2.0, 0.0])
    assert campaign['equal'](nan, nan.clone()) and not campaign['equal'](nan, zero) and not campaign['equal'](zero, nan)
    assert not campaign['equal'](torch.tensor([float('inf')]), torch.tensor([torch.finfo(torch.float32).max]))
