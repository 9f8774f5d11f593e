"""Freed memory that is kept: in a process of its own, since it holds for the whole of one."""

import subprocess
import sys

import pytest
import torch

from mmnas_video.cpu_memory import SWITCH, keep_freed_memory
from mmnas_video.errors import ConfigError

#: Page faults of filling 80 MB again and again, after twice that often as a warm-up.
FAULTS = """
import resource, torch
from mmnas_video.cpu_memory import keep_freed_memory
print(keep_freed_memory())
faults = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(6):
    torch.empty(20_000_003).fill_(1)
before = faults()
for _ in range(3):
    torch.empty(20_000_003).fill_(1)
print(faults() - before)
"""
gpu_here = pytest.mark.skipif(torch.cuda.is_available(), reason='a machine with a GPU: memory is left as it is')


def counted(monkeypatch, value):
    """What :data:`FAULTS` prints under a value of the switch."""
    monkeypatch.setenv(SWITCH, value)
    done = subprocess.run([sys.executable, '-c', FAULTS], capture_output=True, text=True, check=True)
    kept, faults = done.stdout.split()
    return kept == 'True', int(faults)


@gpu_here
def test_memory_is_not_asked_for_anew(monkeypatch):
    """Rejects options that glibc does not take, a threshold at which it still trims, and a switch that is ignored."""
    kept, few = counted(monkeypatch, 'keep')
    assert kept
    kept, many = counted(monkeypatch, 'system')
    assert not kept and many > 10 * few + 30  # 80 MB three times, in pages of 2 MB at most


#: The same of a process that is forked after memory has been kept.
FORKED = FAULTS.replace(
    'faults = lambda',
    """import os
if os.fork():
    os._exit(os.waitstatus_to_exitcode(os.wait()[1]))
faults = lambda""",
).replace('print(keep_freed_memory())', 'print(keep_freed_memory(), flush=True)')


@gpu_here
def test_a_forked_process_gives_memory_back(monkeypatch):
    """Rejects workers of a DataLoader that keep what their decoders leave, and grow."""
    monkeypatch.setattr(sys.modules[__name__], 'FAULTS', FORKED)
    kept, many = counted(monkeypatch, 'keep')
    assert kept and many > 100  # 80 MB three times: kept, it is a handful


def test_another_value(monkeypatch):
    """Rejects a switch whose mistakes pass unseen."""
    monkeypatch.setenv(SWITCH, 'off')
    with pytest.raises(ConfigError, match="MMNAS_MEMORY: found 'off', expected keep or system"):
        keep_freed_memory()
