"""tools/benchmarks/kernels.py on a machine without a GPU."""

import importlib.util
import json
import sys
from pathlib import Path

import pytest
import torch

FILE = Path(__file__).parents[2] / 'tools/benchmarks/kernels.py'


@pytest.fixture
def benchmark(monkeypatch):
    """The script as a module."""
    monkeypatch.syspath_prepend(str(FILE.parent))
    spec = importlib.util.spec_from_file_location('benchmarks_kernels', FILE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_bounds_of_the_eight_layers(benchmark):
    """Rejects a bound that counts inputs instead of outputs under a stride, bytes of one tensor only, or FLOPs where
    multiply-adds are meant. By hand: B C T H W k of the output at 132 x 128 x 1.75 GHz; both maps once at 4.2 TB/s.
    """
    floors = (0.0328, 0.0328, 0.0164, 0.0082, 0.0041, 0.0760, 0.0152, 0.0055)
    roofs = (0.0856, 0.0342, 0.0171, 0.0086, 0.0043, 0.0171, 0.0171, 0.0171)
    for layer, floor, roof in zip(benchmark.LAYERS, floors, roofs, strict=True):
        for case in benchmark.depthwise(layer):
            assert round(case.macs / benchmark.FMA_A_SECOND * 1e3, 4) == floor, case.name
            assert round(case.bytes(2) / benchmark.BANDWIDTH * 1e3, 4) == roof, case.name
            assert case.bound(2) == pytest.approx(max(floor, roof) / 1e3, rel=0.1)


@pytest.mark.skipif(torch.cuda.is_available(), reason='with a GPU it would measure')
def test_without_a_gpu_it_says_so(benchmark, monkeypatch, capsys, tmp_path):
    """Rejects a script that fails there, or prints times that nobody measured."""
    out = tmp_path / 'kernels.json'
    monkeypatch.setattr(sys, 'argv', ['kernels.py', '--only', 'depthwise*', '--out', str(out)])
    benchmark.main()
    assert 'No GPU here' in capsys.readouterr().out
    table = json.loads(out.read_text())
    assert len(table['rows']) == 8 * 3
    assert table['header'] == ['kernel', 'MB', 'MMACs', 'bound µs', 'goal']
