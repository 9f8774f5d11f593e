"""The campaign of kills and the mutated files, in short: the scripts say how many, these that all of them pass."""

import re

import pytest

SCRIPTS = 'tools/benchmarks'


@pytest.mark.slow
def test_a_search_survives_its_kills(tool):
    """A search on vectors: killed at a random moment, with half a file written, one rank of two; told to end. Rejects
    whatever makes a resumed search another one; what it is, the script names."""
    done = tool(f'{SCRIPTS}/kill_campaign.py', '--data', 'toy', '--methods', 'parsec', '--kills', 4, '--terms', 1)
    assert 'survived 5 of 5' in done.ok().out, done.out


@pytest.mark.slow
def test_mutated_files_are_taken_or_refused(tool):
    """Rejects a TypeError, KeyError or hang for a file or config that someone has mangled."""
    done = tool(f'{SCRIPTS}/fuzz.py', '--archs', 300, '--configs', 30)
    assert done.code == 0, done.out[-3000:]
    assert re.search(r'arch files \| 300 \| 0', done.out) and re.search(r'configs \| 30 \| 0', done.out)
