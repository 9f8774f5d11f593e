"""What ``python -m mmnas_video`` says of the kernels: right, wrong and failing ones."""

import pytest
import torch

from mmnas_video import __main__ as report
from mmnas_video.kernels import batch_norm_launch, batch_norm_tiles, depthwise_launch, self_check
from mmnas_video.kernels import depthwise_plan as plans
from mmnas_video.kernels.choose import SWITCH
from tests.kernels.depthwise_oracle import forget_plans


@pytest.fixture(autouse=True)
def few_programs(monkeypatch):
    """The interpreter takes the same time for one lane as for thousands."""
    for name, value in {'LANES': 4096, 'WANTED_PROGRAMS': 1, 'GRADIENT_STRIPS': 32, 'GRADIENT_CHANNELS': 512}.items():
        monkeypatch.setattr(plans, name, value)
    for name, value in {'PROGRAMS': 4, 'ELEMENTS': 2**14, 'MERGED': ((16, 512),)}.items():
        monkeypatch.setattr(batch_norm_tiles, name, value)
    monkeypatch.setattr(depthwise_launch, 'PACK_BLOCK', 16384)
    monkeypatch.setattr(depthwise_launch, 'REDUCE_BLOCK', 16384)
    monkeypatch.setattr(self_check, 'DTYPES', (torch.bfloat16,))
    forget_plans()
    yield
    forget_plans()


def test_right_wrong_and_failing_kernels(monkeypatch):
    """Rejects a check that always says ok, one that a wrong kernel passes by its size (3 % off, NaN), one that the
    first failure ends, and exit code 0 for a wrong result."""
    monkeypatch.delenv(SWITCH, raising=False)
    apply, statistics, convolve = batch_norm_launch.apply, batch_norm_launch.statistics, depthwise_launch.convolve

    def refuse(*args):
        raise RuntimeError('no compiler')

    def spoilt(x, weight, start, kernel, stride):
        y = convolve(x, weight, start, kernel, stride)
        return y * 1.03 if stride == 2 else y

    monkeypatch.setattr(batch_norm_launch, 'statistics', lambda x, mean, *rest: (
        lambda found: (found[0].fill_(float('nan')), *found[1:]))(statistics(x, mean, *rest)))  # fmt: skip
    monkeypatch.setattr(batch_norm_launch, 'apply', refuse)
    monkeypatch.setattr(depthwise_launch, 'convolve', spoilt)
    note, rows = report.kernels()
    states = {row['name'].removesuffix(', bfloat16, cpu'): row['state'] for row in rows}
    assert note == '' and len(rows) == 10
    wrong = {'depthwise forward, stride 2': 'differs', 'BatchNorm statistics': 'differs', 'BatchNorm apply': 'failed'}
    assert states == dict.fromkeys(states, 'ok') | wrong, rows
    said = '\n'.join(report._kernel_lines({'kernels_note': note, 'kernels': rows}))
    assert 'DIFFERS depthwise forward, stride 2' in said and 'RuntimeError: no compiler' in said
    assert 'MMNAS_KERNELS=off' in said
    monkeypatch.setattr(batch_norm_launch, 'apply', apply)
    assert self_check.check_kernels(torch.device('cpu'))[-3].state == 'ok'
    monkeypatch.setenv(SWITCH, 'off')
    assert report.kernels() == ('off by MMNAS_KERNELS', [])
